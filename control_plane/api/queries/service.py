"""The worksheet's use cases."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError

from contracts.identity import Audience
from control_plane.api.access import Caller
from control_plane.api.problems import AbsentServiceError, BusyError, GoneError, NotFoundError
from control_plane.api.queries.running import Runner, RunningQuery
from control_plane.api.queries.spool import Spool
from control_plane.api.queries.trino import Trino
from control_plane.api.schemas.common import Parameter
from control_plane.api.schemas.queries import (
    History,
    HistoryEntry,
    Query,
    QueryOrigin,
    QueryState,
    RowsPage,
    StartQuery,
)
from control_plane.api.storage.models import QueryRow
from control_plane.api.storage.queries import QueryStore
from governance.parameters import render

log = logging.getLogger(__name__)

_WATCH_EVERY_S = 1.0
_STOP_TIMEOUT_S = 4.0


@dataclass(frozen=True, kw_only=True)
class SpoolSettings:
    """Where results are kept, and how much of them: all together, and of one."""

    folder: Path
    limit_mib: int
    result_mib: int


class Queries:
    """All queries of this console.

    Args:
        trino: None where the lab has none.
        per_user: how many one person may have running.
        kept_s: how long rows are kept after somebody last read them.
    """

    def __init__(
        self,
        trino: Trino | None,
        store: QueryStore,
        spool: SpoolSettings,
        *,
        per_user: int,
        kept_s: float,
    ) -> None:
        self._trino, self._store = trino, store
        self.spool = Spool(
            spool.folder,
            limit_bytes=spool.limit_mib << 20,
            result_bytes=spool.result_mib << 20,
            evicted=self.forget,
        )
        self._per_user, self._kept_s = per_user, kept_s
        self._queries: dict[UUID, RunningQuery] = {}
        self.wrote: Callable[[], None] = lambda: None
        """Called after a statement that changed something."""
        self._runner = Runner(self.spool, self._note_end)

    @property
    def trino(self) -> Trino:
        """The engine. Raises AbsentServiceError."""
        if self._trino is None:
            raise AbsentServiceError("this lab runs without Trino", next_command="lab up trino")
        return self._trino

    async def start(self, caller: Caller, given: StartQuery, origin: QueryOrigin) -> Query:
        """Starts a statement as the caller.

        Raises:
            UsageError (parameters), BusyError, AbsentServiceError, SignInEndedError.
        """
        trino = self.trino
        rendered = render(given.statement, given.parameters)
        running = [q for q in self._queries.values() if q.owner == caller.username and not q.state.ended]
        if len(running) >= self._per_user:
            raise BusyError(
                f"{len(running)} queries of yours are running",
                permitted=str(self._per_user),
                next_command="cancel one",
            )
        query_id = uuid4()
        query = RunningQuery(query_id, caller.username, origin, given, rendered, self.spool.create(query_id))
        self._queries[query_id] = query
        try:
            # Who has no sign-in any more hears it now, not from the query.
            await caller.token(Audience.TRINO)
            await to_thread.run_sync(
                partial(
                    self._store.add,
                    id=query_id,
                    owner=caller.username,
                    origin=origin.value,
                    statement=given.statement,
                    catalog=given.catalog,
                    namespace=given.namespace,
                    parameters=[p.model_dump(mode="json") for p in given.parameters],
                    saved_query_id=given.saved_query_id,
                    created_at=query.created_at,
                )
            )
        except BaseException:
            query.result.close()
            self.spool.remove(query_id)
            raise
        execution = trino.start(
            rendered.text,
            partial(caller.token, Audience.TRINO),
            catalog=given.catalog,
            namespace=given.namespace,
            tags=(f"console-{origin.value}",),
        )
        query.task = asyncio.create_task(self._runner.run(query, execution))
        return query.as_query()

    def live(self, caller: Caller, query_id: UUID) -> RunningQuery | None:
        """One of the caller's whose rows are here."""
        found = self._queries.get(query_id)
        if found is None or found.owner != caller.username:
            return None
        found.seen()
        return found

    async def get(self, caller: Caller, query_id: UUID) -> Query:
        """One of the caller's queries. Raises NotFoundError."""
        found = self.live(caller, query_id)
        if found is not None:
            return found.as_query()
        row = await to_thread.run_sync(self._store.get, caller.username, query_id)
        if row is None:
            raise NotFoundError("there is no query of that id", value=query_id)
        return _past_query(row)

    async def readable(self, caller: Caller, query_id: UUID) -> RunningQuery:
        """One whose rows can be read. Raises NotFoundError, GoneError."""
        found = self.live(caller, query_id)
        if found is None:
            await self.get(caller, query_id)
            raise _gone(query_id)
        return found

    async def rows(self, caller: Caller, query_id: UUID, offset: int, limit: int) -> RowsPage:
        """A page of a result. Raises NotFoundError, GoneError."""
        query = await self.readable(caller, query_id)
        complete = query.state.ended
        try:
            rows = await to_thread.run_sync(query.result.read, offset, limit)
        except OSError as error:
            # They were taken away in between.
            raise _gone(query_id) from error
        return RowsPage(
            columns=list(query.columns or ()),
            offset=offset,
            rows=rows,
            row_count=query.result.rows,
            complete=complete,
        )

    async def cancel(self, caller: Caller, query_id: UUID) -> Query:
        """Cancels a query of the caller's; waits until Trino has heard of it. Raises NotFoundError."""
        found = self.live(caller, query_id)
        if found is not None:
            await self._stop(found, QueryState.CANCELED)
        return await self.get(caller, query_id)

    async def history(
        self,
        caller: Caller,
        *,
        text: str,
        state: QueryState | None,
        saved_query_id: UUID | None,
        limit: int,
        cursor: str | None,
    ) -> History:
        """The caller's past queries."""
        rows, following = await to_thread.run_sync(
            partial(
                self._store.page,
                caller.username,
                text=text,
                state=state,
                saved_query_id=saved_query_id,
                limit=limit,
                cursor=cursor,
            )
        )
        return History(queries=[self._entry(row) for row in rows], next=following)

    async def watch(self) -> None:
        """Cancels what nobody listens to; runs until it is canceled."""
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            for query in [q for q in self._queries.values() if q.abandoned]:
                await self._stop(query, QueryState.ABANDONED)

    def lose_running(self) -> None:
        """Notes that what an earlier process ran is lost."""
        self._store.lose_running()

    async def tidy(self) -> None:
        """Takes away rows that nobody read for long, and history past its time."""
        await to_thread.run_sync(self.spool.remove_unused, self._kept_s)
        await to_thread.run_sync(self._store.remove_old)

    async def close(self) -> None:
        """Cancels all that runs, in Trino too, and takes all rows away."""
        running = [q for q in self._queries.values() if not q.state.ended]
        stopping = asyncio.gather(
            *(self._stop(query, QueryState.LOST) for query in running), return_exceptions=True
        )
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await stopping
        except TimeoutError:
            log.warning("not every query could be canceled in %s s", _STOP_TIMEOUT_S)
        self.spool.clear()

    def forget(self, query_id: UUID) -> None:
        """Its rows were taken away."""
        self._queries.pop(query_id, None)

    async def _stop(self, query: RunningQuery, state: QueryState) -> None:
        if query.task is None or query.task.done():
            return
        query.stop_as = query.stop_as or state
        query.task.cancel()
        await asyncio.wait([query.task])

    async def _note_end(self, query: RunningQuery) -> None:
        outcome = query.as_query().model_dump(
            mode="json",
            include={
                "columns",
                "truncated",
                "update_type",
                "update_count",
                "statistics",
                "warnings",
                "error",
            },
        )
        if query.update_type is not None:
            self.wrote()
        try:
            await to_thread.run_sync(
                partial(
                    self._store.end,
                    query.id,
                    state=query.state,
                    trino_query_id=query.trino_query_id,
                    row_count=query.result.rows,
                    outcome=outcome,
                    ended_at=query.ended_at or datetime.now(tz=UTC),
                )
            )
        except SQLAlchemyError as error:
            log.warning("the end of query %s is not noted: %s", query.id, str(error).splitlines()[0])

    def _entry(self, row: QueryRow) -> HistoryEntry:
        live = self._queries.get(row.id)
        past = _past_query(row) if live is None else live.as_query()
        return HistoryEntry.model_validate(past.model_dump(include=set(HistoryEntry.model_fields)))


def _gone(query_id: UUID) -> GoneError:
    return GoneError(
        "the rows of this query are not kept any more", value=query_id, next_command="run it again"
    )


def _past_query(row: QueryRow) -> Query:
    outcome = {
        "columns": None,
        "truncated": False,
        "update_type": None,
        "update_count": None,
        "statistics": None,
        "warnings": [],
        "error": None,
        **row.outcome,
    }
    return Query(
        id=row.id,
        trino_query_id=row.trino_query_id,
        state=QueryState(row.state),
        origin=QueryOrigin(row.origin),
        statement=row.statement,
        catalog=row.catalog,
        namespace=row.namespace,
        parameters=[Parameter.model_validate(p) for p in row.parameters],
        saved_query_id=row.saved_query_id,
        row_count=row.row_count,
        available=False,
        created_at=row.created_at,
        ended_at=row.ended_at,
        **outcome,
    )
