"""Queries under way: started as their user, listened to, canceled when nobody listens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import anyio.to_thread
import orjson

from contracts.errors import LabError
from control_plane.api.queries.columns import safe_rows
from control_plane.api.queries.spool import Result, ResultFullError, Spool
from control_plane.api.queries.trino import CanceledError, DeniedError, Execution, Page, TrinoError
from control_plane.api.schemas.common import Column, Row
from control_plane.api.schemas.queries import (
    ColumnsEvent,
    EndEvent,
    Query,
    QueryError,
    QueryOrigin,
    QueryState,
    StartQuery,
    StateEvent,
    Statistics,
)
from governance.parameters import Rendered

log = logging.getLogger(__name__)

PATIENCE_S = 30.0
"""How long a query runs on after somebody asked for it and does not listen."""
_AFTER_LAST_LISTENER_S = 3.0
_SAY_EVERY_S = 0.25
_KEEP_ALIVE_S = 10.0
_MAX_WARNINGS = 50


class RunningQuery:
    """One query from its start until its rows are taken away."""

    def __init__(
        self,
        query_id: UUID,
        owner: str,
        origin: QueryOrigin,
        given: StartQuery,
        rendered: Rendered,
        result: Result,
    ) -> None:
        self.id, self.owner, self.origin, self.given = query_id, owner, origin, given
        self.rendered, self.result = rendered, result
        self.state = QueryState.QUEUED
        self.trino_query_id: str | None = None
        self.columns: tuple[Column, ...] | None = None
        self.statistics: Statistics | None = None
        self.update_type: str | None = None
        self.update_count: int | None = None
        self.warnings: list[str] = []
        self.error: QueryError | None = None
        self.truncated = False
        self.cut = False
        self.created_at = datetime.now(tz=UTC)
        self.ended_at: datetime | None = None
        self.task: asyncio.Task[None] | None = None
        self.stop_as: QueryState | None = None
        self._listeners = 0
        self._abandoned_at = time.monotonic() + PATIENCE_S
        self._changed = asyncio.Event()

    @property
    def abandoned(self) -> bool:
        """Whether it runs and nobody cares."""
        return not self.state.ended and not self._listeners and time.monotonic() > self._abandoned_at

    def seen(self) -> None:
        """Somebody asked for it."""
        self._abandoned_at = max(self._abandoned_at, time.monotonic() + PATIENCE_S)

    def changed(self) -> None:
        """Wakes those who listen."""
        self._changed.set()
        self._changed = asyncio.Event()

    def as_query(self) -> Query:
        """As the API shows it."""
        return Query(
            id=self.id,
            trino_query_id=self.trino_query_id,
            state=self.state,
            origin=self.origin,
            statement=self.given.statement,
            catalog=self.given.catalog,
            namespace=self.given.namespace,
            parameters=self.given.parameters,
            saved_query_id=self.given.saved_query_id,
            columns=None if self.columns is None else list(self.columns),
            row_count=self.result.rows,
            truncated=self.truncated,
            available=True,
            update_type=self.update_type,
            update_count=self.update_count,
            statistics=self.statistics,
            warnings=self.warnings,
            error=self.error,
            created_at=self.created_at,
            ended_at=self.ended_at,
        )

    async def events(self, offset: int, max_rows: int | None) -> AsyncIterator[bytes]:
        """What happens, a JSON document a line, from row ``offset`` on."""
        self._listeners += 1
        try:
            async for line in self._events(offset, max_rows):
                yield line
        finally:
            self._listeners -= 1
            self._abandoned_at = time.monotonic() + _AFTER_LAST_LISTENER_S

    async def _events(self, offset: int, max_rows: int | None) -> AsyncIterator[bytes]:
        row = offset
        end = None if max_rows is None else offset + max_rows
        told_columns = False
        said_at = 0.0
        while True:
            changed = self._changed
            ended = self.state.ended
            if not told_columns and self.columns is not None:
                told_columns = True
                yield _line(ColumnsEvent(columns=list(self.columns)).model_dump(mode="json"))
            while row < self.result.rows and (end is None or row < end):
                first, count, line = await anyio.to_thread.run_sync(self._rows_line, row, end)
                row = first + count
                yield line
            if ended:
                yield _line(EndEvent(query=self.as_query()).model_dump(mode="json"))
                return
            now = time.monotonic()
            # It may have ended while rows were read: that is for the end's own event to tell.
            if now - said_at >= _SAY_EVERY_S and not self.state.ended:
                said_at = now
                yield _line(self._state_event().model_dump(mode="json"))
            try:
                async with asyncio.timeout(_KEEP_ALIVE_S):
                    await changed.wait()
            except TimeoutError:
                said_at = 0.0

    def _rows_line(self, row: int, end: int | None) -> tuple[int, int, bytes]:
        """The rest of the block that has ``row``: its first row, how many, and the event."""
        first, count, encoded = self.result.block(self.result.block_of(row))
        if first < row or (end is not None and first + count > end):
            rows = orjson.loads(encoded)[row - first : None if end is None else end - first]
            first, count, encoded = row, len(rows), orjson.dumps(rows)
        return first, count, b'{"type":"rows","offset":%d,"rows":%b}\n' % (first, encoded)

    def _state_event(self) -> StateEvent:
        return StateEvent(
            state=self.state,
            trino_query_id=self.trino_query_id,
            row_count=self.result.rows,
            statistics=self.statistics,
        )


class Runner:
    """Runs one query into its result.

    Args:
        ended: notes the end; it is told exactly once.
    """

    def __init__(self, spool: Spool, ended: Callable[[RunningQuery], Awaitable[None]]) -> None:
        self._spool, self._ended = spool, ended

    async def run(self, query: RunningQuery, execution: Execution) -> None:
        """All of it; never raises."""
        state = QueryState.FAILED
        try:
            state = await self._fetch(query, execution)
        except asyncio.CancelledError:
            state = query.stop_as or QueryState.CANCELED
        except CanceledError as error:
            state, query.error = QueryState.CANCELED, _error(query, error)
        except LabError as error:
            query.error = _error(query, error)
        except OSError as error:
            log.warning("query %s: the result can't be written: %s", query.id, error)
            query.error = QueryError(message=f"the console can't keep the result: {error.strerror}")
        except Exception:
            log.exception("query %s failed", query.id)
            query.error = QueryError(message="the console failed at this query")
        finally:
            await self._finish(query, execution, state)

    async def _fetch(self, query: RunningQuery, execution: Execution) -> QueryState:
        make_safe: Callable[[list[Row]], None] | None = None
        while (page := await execution.next()) is not None:
            query.state = QueryState.QUEUED if page.statistics.queued else QueryState.RUNNING
            self._note(query, page)
            if page.columns is not None:
                query.columns = page.columns
                make_safe = safe_rows(page.columns)
            if page.rows and make_safe is not None:
                rows, most = page.rows, query.given.max_rows
                if most is not None and query.result.rows + len(rows) >= most:
                    query.truncated = query.result.rows + len(rows) > most
                    rows = rows[: most - query.result.rows]
                try:
                    await anyio.to_thread.run_sync(self._keep, query.result, rows, make_safe)
                except ResultFullError as full:
                    query.truncated = query.cut = True
                    query.warnings.append(f"the result was cut: {full}; download it to have all of it")
                    return QueryState.FINISHED
                if most is not None and query.result.rows >= most:
                    # One page more tells whether there was more.
                    query.truncated = query.truncated or await _has_more(execution)
                    return QueryState.FINISHED
            query.changed()
        return QueryState.FINISHED

    def _keep(self, result: Result, rows: list[Row], make_safe: Callable[[list[Row]], None]) -> None:
        make_safe(rows)
        self._spool.append(result, orjson.dumps(rows), len(rows))

    @staticmethod
    def _note(query: RunningQuery, page: Page) -> None:
        query.trino_query_id = page.query_id
        query.statistics = page.statistics
        query.update_type = page.update_type or query.update_type
        query.update_count = page.update_count if page.update_count is not None else query.update_count
        new = [w for w in page.warnings if w not in query.warnings]
        query.warnings += new[: max(0, _MAX_WARNINGS - len(query.warnings))]

    async def _finish(self, query: RunningQuery, execution: Execution, state: QueryState) -> None:
        query.trino_query_id = execution.query_id or query.trino_query_id
        query.result.close()
        query.ended_at = datetime.now(tz=UTC)
        query.state = state
        query.changed()
        # Whoever canceled this task must not cancel these, too.
        await asyncio.shield(asyncio.gather(execution.cancel(), self._ended(query), return_exceptions=True))


async def _has_more(execution: Execution) -> bool:
    while (page := await execution.next()) is not None:
        if page.rows:
            return True
    return False


def _error(query: RunningQuery, error: LabError) -> QueryError:
    if not isinstance(error, TrinoError):
        return QueryError(message=error.what)
    line, column = query.rendered.position(error.line, error.column)
    return QueryError(
        message=error.what,
        name=error.error_name,
        kind=error.kind,
        line=line,
        column=column,
        denied=isinstance(error, DeniedError),
    )


def _line(document: object) -> bytes:
    return orjson.dumps(document) + b"\n"
