"""Trino's client protocol, asynchronously, with a token of the asking user.

https://trino.io/docs/476/develop/client-protocol.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
import httpx
import orjson

from contracts.errors import LabError
from contracts.queues import PAGES_SOURCE, workspace_tag
from control_plane.api.problems import UnavailableError
from control_plane.api.queries.columns import column, safe_rows
from control_plane.api.schemas.common import Column, Row, Rows
from control_plane.api.schemas.queries import Statistics
from governance.trino import with_cause

Token = Callable[[], Awaitable[str]]

SOURCE = "console"
_ASK_AGAIN = (429, 502, 503, 504)
_ASK_AGAIN_FOR_S = 30.0
_GONE = (404, 410)
_OPA_AWAY = "io.trino.plugin.opa.OpaQueryException.QueryFailed"
_PAUSE_S = 0.1
_LARGE_BYTES = 1 << 16
_NOT_FOUND = ("CATALOG_NOT_FOUND", "SCHEMA_NOT_FOUND", "TABLE_NOT_FOUND", "NOT_FOUND", "MISSING_SCHEMA_NAME")


class TrinoError(LabError):
    """Trino refused or failed a statement. ``line`` and ``column`` count from 1 in what Trino was sent."""

    http_status = 422

    def __init__(
        self,
        what: str,
        *,
        error_name: str | None = None,
        kind: str | None = None,
        line: int | None = None,
        column: int | None = None,
        query_id: str | None = None,
        **facts: Any,
    ) -> None:
        self.error_name, self.kind, self.line, self.column = error_name, kind, line, column
        self.query_id = query_id
        super().__init__(what, **facts)


class DeniedError(TrinoError):
    """The access rules don't let the user do that."""

    http_status = 403


class NoSuchObjectError(TrinoError):
    """The catalog, namespace or table is not there, or not the user's to see."""

    http_status = 404


class BrokenError(TrinoError):
    """The engine or what it needs failed, not the statement."""

    http_status = 502


class CanceledError(TrinoError):
    """The query was canceled."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """One answer of the protocol. ``columns`` come with the first page that knows them."""

    query_id: str
    columns: tuple[Column, ...] | None
    rows: list[Row] = field(repr=False)
    statistics: Statistics
    update_type: str | None
    update_count: int | None
    warnings: tuple[str, ...]


class Trino:
    """Runs statements.

    Args:
        http: not closed here.
        url: the coordinator; answers that lead elsewhere are not followed.
        catalog: whose tables a statement means that comes with no catalog of its own.
    """

    def __init__(self, http: httpx.AsyncClient, url: str, catalog: str | None = None) -> None:
        self.http, self.url, self.catalog = http, url.rstrip("/"), catalog

    def start(
        self,
        statement: str,
        token: Token,
        *,
        catalog: str | None = None,
        namespace: str | None = None,
        tags: tuple[str, ...] = (),
        source: str = SOURCE,
    ) -> Execution:
        """A statement about to run; nothing is sent before the first :meth:`Execution.next`. In a workspace's
        namespace it waits in that workspace's queue."""
        headers = {
            "Content-Type": "text/plain; charset=utf-8",
            "X-Trino-Source": source,
            # Otherwise times come with milliseconds at most.
            "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME",
        }
        if (used := catalog or self.catalog) is not None:
            headers["X-Trino-Catalog"] = _header(used)
        if namespace is not None:
            headers["X-Trino-Schema"] = _header(namespace)
            # A tag that is no workspace's of the user's means nothing to Trino; a comma would be two.
            tags = (*tags, workspace_tag(namespace)) if "," not in namespace else tags
        if tags:
            headers["X-Trino-Client-Tags"] = ",".join(tags)
        return Execution(self, statement, token, headers)

    def resume(self, uri: str, token: Token, query_id: str | None) -> Execution:
        """A statement that an earlier :class:`Execution` began, from its ``next_uri`` on."""
        execution = Execution(self, "", token, {})
        execution.go_on(uri, query_id)
        return execution

    async def rows(
        self,
        statement: str,
        token: Token,
        *,
        catalog: str | None = None,
        namespace: str | None = None,
        limit: int = 100_000,
        timeout_s: float = 60.0,
        source: str = PAGES_SOURCE,
    ) -> Rows:
        """A small result for a page, whole; no more than ``limit`` rows of it.

        Raises:
            TrinoError (DeniedError, NoSuchObjectError), UnavailableError, and what ``token`` raises.
        """
        execution = self.start(statement, token, catalog=catalog, namespace=namespace, source=source)
        found: list[Row] = []
        columns: tuple[Column, ...] = ()
        try:
            async with asyncio.timeout(timeout_s):
                while (page := await execution.next()) is not None:
                    columns = page.columns or columns
                    found += page.rows
                    if len(found) > limit:
                        break
        except TimeoutError as error:
            raise UnavailableError(
                f"Trino did not answer in {timeout_s:.0f} s", next_command="lab logs trino"
            ) from error
        finally:
            await execution.cancel()
        safe_rows(columns)(found)
        return Rows(columns=list(columns), rows=found[:limit], truncated=len(found) > limit)


class Execution:
    """One statement under way."""

    def __init__(self, trino: Trino, statement: str, token: Token, headers: dict[str, str]) -> None:
        self._trino, self._statement, self._token, self._headers = trino, statement, token, headers
        self._next: str | None = f"{trino.url}/v1/statement"
        self._started = False
        self._columns_seen = False
        self.query_id: str | None = None

    @property
    def next_uri(self) -> str | None:
        """Where its next page is; None before the statement is sent, and after the last page. Who has it and
        the user's token can go on with the query: it is a secret."""
        return self._next if self._started else None

    def go_on(self, uri: str, query_id: str | None) -> None:
        """Takes up a query that is under way at the page ``uri``."""
        self._next, self._started, self.query_id = self._own(uri), True, query_id

    async def next(self) -> Page | None:
        """The next page; None after the last.

        Raises:
            TrinoError, UnavailableError, and what the token raises.
        """
        if self._next is None:
            return None
        if self._started:
            response = await self._ask("GET", self._next)
        else:
            content = self._statement.encode()
            response = await self._ask("POST", self._next, headers=self._headers, content=content)
            self._started = True
        answer = await _parsed(response)
        self.query_id = str(answer.get("id") or "")
        following = answer.get("nextUri")
        self._next = None if following is None else self._own(str(following))
        if "error" in answer:
            self._next = None
            raise trino_error(answer["error"], self.query_id)
        columns = None
        if not self._columns_seen and answer.get("columns"):
            self._columns_seen = True
            columns = tuple(column(c["name"], c["type"]) for c in answer["columns"])
        return Page(
            query_id=self.query_id,
            columns=columns,
            rows=answer.get("data") or [],
            statistics=statistics(answer.get("stats") or {}),
            update_type=answer.get("updateType"),
            update_count=answer.get("updateCount"),
            warnings=tuple(str(w.get("message", "")) for w in answer.get("warnings") or ()),
        )

    async def cancel(self) -> None:
        """Ends the query in Trino, if it has begun and not ended. Never raises but for cancellation."""
        following, self._next = self._next, None
        if following is None or not self._started:
            return
        try:
            headers = {"Authorization": f"Bearer {await self._token()}"}
            await self._trino.http.delete(following, headers=headers)
        except (httpx.HTTPError, LabError):
            # Trino ends a query by itself when nobody asks for it any more.
            return

    async def _ask(self, method: str, url: str, **given: Any) -> httpx.Response:
        deadline = time.monotonic() + _ASK_AGAIN_FOR_S
        headers = given.pop("headers", {})
        while True:
            sent = {**headers, "Authorization": f"Bearer {await self._token()}"}
            problem: Exception | None = None
            try:
                response = await self._trino.http.request(method, url, headers=sent, **given)
                if response.status_code not in _ASK_AGAIN:
                    break
            except httpx.HTTPError as error:
                problem = error
            # A statement that may have reached Trino must not be sent twice.
            unsafe = problem is not None and method == "POST"
            if unsafe or time.monotonic() > deadline:
                raise UnavailableError("Trino does not answer", next_command="lab status") from problem
            await asyncio.sleep(_PAUSE_S)
        if response.status_code in _GONE and method == "GET":
            self._next = None
            raise TrinoError(
                "Trino does not know this query any more: it was restarted, or nobody asked for too long",
                error_name="QUERY_GONE",
                query_id=self.query_id,
            )
        if response.is_error:
            self._next = None
            # Trino fails statements in its protocol; with this status it does itself, as while it starts.
            kind = BrokenError if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else TrinoError
            raise kind(
                f"Trino answered {response.status_code}",
                value=response.text.partition("\n")[0].strip()[:200] or None,
                query_id=self.query_id,
                next_command="lab logs trino",
            )
        return response

    def _own(self, url: str) -> str:
        ours, given = urlsplit(self._trino.url), urlsplit(url)
        if (ours.scheme, ours.netloc) != (given.scheme, given.netloc):
            # The user's token goes with each request.
            raise TrinoError(
                "Trino leads to another address",
                value=f"{given.scheme}://{given.netloc}",
                permitted=self._trino.url,
            )
        return url


async def _parsed(response: httpx.Response) -> dict[str, Any]:
    content = response.content
    try:
        if len(content) > _LARGE_BYTES:
            answer = await anyio.to_thread.run_sync(orjson.loads, content)
        else:
            answer = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UnavailableError("Trino's answer is not understood", next_command="lab logs trino") from error
    if not isinstance(answer, dict):
        raise UnavailableError("Trino's answer is not understood", next_command="lab logs trino")
    return answer


def trino_error(error: dict[str, Any], query_id: str | None) -> TrinoError:
    """The protocol's error as one of ours."""
    location = (error.get("failureInfo") or {}).get("errorLocation") or error.get("errorLocation") or {}
    name = error.get("errorName")
    facts: dict[str, Any] = {
        "error_name": name,
        "kind": error.get("errorType"),
        "line": location.get("lineNumber"),
        "column": location.get("columnNumber"),
        "query_id": query_id,
    }
    message = str(error.get("message") or "the query failed")
    if name == "PERMISSION_DENIED":
        return DeniedError(
            f"denied: {message.removeprefix('Access Denied: ')}",
            permitted="what your groups are granted",
            next_command="ask a lab admin for a grant",
            **facts,
        )
    failure = error.get("failureInfo") or {}
    if failure.get("type") == _OPA_AWAY:
        return BrokenError(
            with_cause("OPA does not answer, so that Trino allows nothing", failure),
            next_command="lab status",
            **facts,
        )
    if facts["kind"] in ("INTERNAL_ERROR", "EXTERNAL", "INSUFFICIENT_RESOURCES"):
        return BrokenError(message, next_command="lab logs trino", **facts)
    kind = (
        CanceledError if name == "USER_CANCELED" else NoSuchObjectError if name in _NOT_FOUND else TrinoError
    )
    return kind(message, **facts)


def statistics(stats: dict[str, Any]) -> Statistics:
    """The protocol's numbers as ours."""

    def number(name: str) -> int:
        return int(stats.get(name) or 0)

    percent = stats.get("progressPercentage")
    return Statistics(
        state=str(stats.get("state") or "UNKNOWN"),
        queued=bool(stats.get("queued")),
        progress=None if percent is None else float(percent) / 100,
        elapsed_s=number("elapsedTimeMillis") / 1000,
        queued_s=number("queuedTimeMillis") / 1000,
        cpu_s=number("cpuTimeMillis") / 1000,
        wall_s=number("wallTimeMillis") / 1000,
        processed_rows=number("processedRows"),
        processed_bytes=number("processedBytes"),
        physical_input_bytes=number("physicalInputBytes"),
        peak_memory_bytes=number("peakMemoryBytes"),
        spilled_bytes=number("spilledBytes"),
        nodes=number("nodes"),
        splits=number("totalSplits"),
        completed_splits=number("completedSplits"),
    )


def quoted(name: str) -> str:
    """``name`` as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """``value`` as a literal."""
    return "'" + value.replace("'", "''") + "'"


def _header(name: str) -> str:
    if not name.isascii() or not name.isprintable():
        raise TrinoError("a name of a catalog or namespace has to be plain", value=name, permitted="ASCII")
    return name
