"""Statements of a job in Trino.

A query's `nextUri` is noted before it is asked for, and Trino begins a query only when it is asked for the
first time: so whoever takes an attempt up goes on with the very query that was sent, or sends one that never
began.
https://trino.io/docs/476/develop/client-protocol.html
"""

from __future__ import annotations

import asyncio
from functools import partial

from anyio import to_thread

from contracts.identity import Audience
from control_plane.api.jobs.attempts import ENGINE_PAUSE_S, Ground, LostError
from control_plane.api.problems import UnavailableError
from control_plane.api.queries.sql import spans
from control_plane.api.queries.trino import Execution, Page, Trino, TrinoError, text
from control_plane.api.schemas.jobs import SqlWork
from governance.parameters import Rendered, render

GONE = "QUERY_GONE"
_FATE_TIMEOUT_S = 30.0
_UNDER_WAY = (
    "QUEUED",
    "WAITING_FOR_RESOURCES",
    "DISPATCHING",
    "PLANNING",
    "STARTING",
    "RUNNING",
    "FINISHING",
)


class StatementError(Exception):
    """Trino refused or failed a statement: which one, counted from 1, and where in the job's text."""

    def __init__(self, cause: TrinoError, statement: int, line: int | None, column: int | None) -> None:
        self.cause, self.statement, self.line, self.column = cause, statement, line, column
        super().__init__(cause.what)


class SqlEngine:
    """One attempt."""

    def __init__(self, trino: Trino, work: SqlWork, ground: Ground) -> None:
        self._trino, self._work, self._ground = trino, work, ground
        self._progress = ground.run.progress
        self._execution: Execution | None = None
        self._token = partial(ground.identity.token, Audience.TRINO)

    async def execute(self) -> None:
        """See :class:`Engine`; also raises StatementError."""
        places = await to_thread.run_sync(spans, self._work.statement)
        self._progress["statements"] = len(places)
        for index in range(self._progress.get("statement", 0), len(places)):
            start, end = places[index]
            rendered = render(self._work.statement[start:end], self._ground.run.parameters)
            try:
                await self._statement(index, rendered)
            except TrinoError as error:
                raise self._located(error, index, rendered, start) from error

    async def cancel(self) -> None:
        """Ends the query under way, also one that an earlier worker began."""
        sealed = self._progress.get("uri")
        if self._execution is None and sealed is not None:
            self._execution = self._trino.resume(self._ground.unseal(sealed), self._token, None)
        if self._execution is not None:
            await self._execution.cancel()

    async def _statement(self, index: int, rendered: Rendered) -> None:
        progress, ground = self._progress, self._ground
        sealed = progress.get("uri")
        if sealed is not None:
            query_id = progress["trino_query_ids"][-1]
            execution = self._trino.resume(ground.unseal(sealed), self._token, query_id)
            await ground.say(f"query {query_id} goes on")
        else:
            execution = self._trino.start(
                rendered.text,
                self._token,
                catalog=self._work.catalog,
                namespace=self._work.namespace,
                tags=("console-job", f"run-{ground.run.run_id}"),
            )
        self._execution = execution
        await ground.note()
        last: Page | None = None
        rows = 0
        while True:
            page = await self._next(execution)
            if page is None:
                break
            last, rows = page, rows + len(page.rows)
            if page.query_id not in progress.setdefault("trino_query_ids", []):
                progress["trino_query_ids"].append(page.query_id)
                await ground.say(f"statement {index + 1}: query {page.query_id}", "trino")
            for warning in page.warnings:
                await self._warn(warning)
            progress["fraction"] = page.statistics.progress
            if execution.next_uri is None:
                break
            progress["uri"] = ground.seal(execution.next_uri)
            await ground.note()
        self._execution = None
        progress["statement"] = index + 1
        progress.pop("uri", None)
        progress.pop("fraction", None)
        await ground.say(f"statement {index + 1} is done{_told(last, rows)}", "trino")
        await ground.note()

    async def _next(self, execution: Execution) -> Page | None:
        """The next page, once Trino answers; None after the last, and when Trino knows only that it
        finished."""
        said = False
        while True:
            try:
                return await execution.next()
            except UnavailableError as error:
                # A statement that was posted has not begun, so that posting it again does it no second time.
                if not said:
                    await self._ground.say(f"{error.what}: waiting for it")
                said = True
                await asyncio.sleep(ENGINE_PAUSE_S)
                await self._ground.note()
            except TrinoError as error:
                if error.error_name != GONE:
                    raise
                await self._require_finished(execution.query_id or error.query_id)
                return None

    async def _require_finished(self, query_id: str | None) -> None:
        """Asks Trino what became of a query that it gives no page of. Raises LostError unless it finished."""
        asked = f"SELECT state FROM system.runtime.queries WHERE query_id = {text(query_id or '')}"  # noqa: S608 - the value is quoted
        try:
            found = await self._trino.rows(asked, self._token, timeout_s=_FATE_TIMEOUT_S)
        except (TrinoError, UnavailableError) as error:
            raise LostError(f"nobody knows what became of query {query_id}: {error.what}") from error
        state = str(found.rows[0][0]) if found.rows else None
        if state == "FINISHED":
            await self._ground.say(f"query {query_id} had finished", "trino")
            return
        if state in _UNDER_WAY:
            await self._kill(str(query_id))
        raise LostError(
            f"Trino does not know query {query_id} any more"
            if state is None
            else f"Trino gave query {query_id} up: it is {state}"
        )

    async def _kill(self, query_id: str) -> None:
        call = f"CALL system.runtime.kill_query(query_id => {text(query_id)}, message => 'its job lost it')"
        try:
            await self._trino.rows(call, self._token, timeout_s=_FATE_TIMEOUT_S)
        except (TrinoError, UnavailableError) as error:
            await self._ground.say(f"query {query_id} could not be ended: {error.what}")

    async def _warn(self, warning: str) -> None:
        seen = self._progress.setdefault("warnings", [])
        if warning and warning not in seen and len(seen) < 20:
            seen.append(warning)
            await self._ground.say(f"warning: {warning}", "trino")

    def _located(self, error: TrinoError, index: int, rendered: Rendered, start: int) -> StatementError:
        line, column = rendered.position(error.line, error.column)
        if line is not None and column is not None:
            before = self._work.statement[:start]
            if line == 1:
                column += len(before) - (before.rfind("\n") + 1)
            line += before.count("\n")
        return StatementError(error, index + 1, line, column)


def _told(last: Page | None, rows: int) -> str:
    if last is None:
        return ""
    if last.update_type is not None:
        count = "" if last.update_count is None else f", {last.update_count} rows"
        return f": {last.update_type}{count}"
    return f": {rows} rows, which are not kept"
