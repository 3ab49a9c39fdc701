"""Trino with the rights of one user, for one run: what is there, what a query would cost, its rows.

Each statement carries the run (source ``agent``, client tags ``run=…``), so that Trino's own audit and the
agent's join. The user's token is asked for anew while a result is read: it may outlive one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from anyio import to_thread

from contracts.errors import LabError

if TYPE_CHECKING:
    from governance.query import TrinoSession

SOURCE = "agent"
MAX_CELL_CHARS = 2_000
_MAX_COLUMNS_READ = 20_000


class EngineError(LabError):
    """Trino refused or failed a statement. ``denied``: the access rules did; ``repairable``: another
    statement may do better."""

    def __init__(
        self,
        what: str,
        *,
        denied: bool = False,
        repairable: bool = True,
        query_id: str | None = None,
        **facts: Any,
    ) -> None:
        self.denied, self.repairable, self.query_id = denied, repairable, query_id
        super().__init__(what, **facts)


@dataclass(frozen=True, kw_only=True)
class VisibleColumn:
    """One column as the user sees it."""

    name: str
    type: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What Trino expects of a query: bytes from tables, and rows of the step that makes most."""

    scanned_bytes: int
    widest_rows: int


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    """Rows as plain values (numbers, text, truth values, None). ``truncated``: there were more."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool
    query_id: str
    elapsed_s: float


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one query may take."""

    max_rows: int = 1000
    max_scan_mib: int = 2048
    max_query_s: int = 60


class Engine(Protocol):
    """A user's view of the tables. What asks Trino raises EngineError."""

    async def close(self) -> None:
        """Closes the connection."""
        ...

    def use(self, namespace: str) -> None:
        """Sets, before the first query, what tables that are named alone belong to."""
        ...

    async def tables(self) -> Mapping[str, str]:
        """``namespace.table`` → its kind (``BASE TABLE``, ``VIEW``), those that the user may know of."""
        ...

    async def columns(self, tables: Sequence[str]) -> Mapping[str, tuple[VisibleColumn, ...]]:
        """The columns of those of ``tables`` that the user may read, by table."""
        ...

    async def search(self, text: str) -> Mapping[str, tuple[str, ...]]:
        """Tables whose name or a column's contains a text, with those columns."""
        ...

    async def comments(self, table: str) -> Mapping[str, str]:
        """Comments of a table's columns; the table's own under the empty name."""
        ...

    async def estimate(self, sql: str) -> Estimate:
        """Plans a query without running it."""
        ...

    async def run(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        """Runs a query; a task that is cancelled meanwhile ends it on the server."""
        ...


class TrinoEngine:
    """Implements :class:`Engine`.

    Args:
        token: gives a current access token for Trino; called from worker threads.
        tags: what is noted with each query, such as ``run=…``.
    """

    def __init__(
        self,
        *,
        url: str,
        ca_certificate: str,
        catalog: str,
        token: Callable[[], str],
        tags: Sequence[str],
        limits: Limits,
    ) -> None:
        self._url, self._ca, self._catalog = url, ca_certificate, catalog
        self._token, self._tags, self._limits = token, tuple(tags), limits
        self._namespace: str | None = None
        self._session: TrinoSession | None = None

    def use(self, namespace: str) -> None:
        """Sets, before the first query, what tables that are named alone belong to."""
        self._namespace = namespace

    async def close(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            session, self._session = self._session, None
            await to_thread.run_sync(session.__exit__, None, None, None)

    async def tables(self) -> Mapping[str, str]:
        sql = (
            f"SELECT table_schema, table_name, table_type FROM {self._catalog}.information_schema.tables "  # noqa: S608 - the catalog's name is a setting
            "WHERE table_schema <> 'information_schema' ORDER BY 1, 2"
        )
        found = await self.run(sql, max_rows=_MAX_COLUMNS_READ)
        return {f"{namespace}.{table}": kind for namespace, table, kind in found.rows}

    async def columns(self, tables: Sequence[str]) -> Mapping[str, tuple[VisibleColumn, ...]]:
        if not tables:
            return {}
        parts = [table.rpartition(".") for table in tables]
        namespaces = ", ".join(sorted({_literal(namespace) for namespace, _, _ in parts}))
        names = ", ".join(sorted({_literal(name) for _, _, name in parts}))
        sql = (
            "SELECT table_schema, table_name, column_name, data_type "  # noqa: S608 - literals are quoted
            f"FROM {self._catalog}.information_schema.columns "
            f"WHERE table_schema IN ({namespaces}) AND table_name IN ({names}) "
            "ORDER BY 1, 2, ordinal_position"
        )
        found: dict[str, list[VisibleColumn]] = {}
        for namespace, table, column, kind in (await self.run(sql, max_rows=_MAX_COLUMNS_READ)).rows:
            found.setdefault(f"{namespace}.{table}", []).append(VisibleColumn(name=column, type=kind))
        wanted = {table.lower() for table in tables}
        return {table: tuple(columns) for table, columns in found.items() if table.lower() in wanted}

    async def search(self, text: str) -> Mapping[str, tuple[str, ...]]:
        pattern = _literal(f"%{text.lower().replace('!', '!!').replace('%', '!%').replace('_', '!_')}%")
        sql = (
            "SELECT table_schema, table_name, column_name, lower(column_name) LIKE "  # noqa: S608 - literals are quoted
            f"{pattern} ESCAPE '!' FROM {self._catalog}.information_schema.columns "
            "WHERE table_schema <> 'information_schema' AND (lower(column_name) LIKE "
            f"{pattern} ESCAPE '!' OR lower(table_schema || '.' || table_name) LIKE {pattern} ESCAPE '!') "
            "ORDER BY 1, 2, ordinal_position"
        )
        found: dict[str, list[str]] = {}
        for namespace, table, column, matches in (await self.run(sql, max_rows=_MAX_COLUMNS_READ)).rows:
            columns = found.setdefault(f"{namespace}.{table}", [])
            if matches:
                columns.append(column)
        return {table: tuple(columns) for table, columns in found.items()}

    async def comments(self, table: str) -> Mapping[str, str]:
        namespace, _, name = table.rpartition(".")
        sql = (
            "SELECT '' AS name, comment FROM system.metadata.table_comments "  # noqa: S608 - literals are quoted
            f"WHERE catalog_name = {_literal(self._catalog)} AND schema_name = {_literal(namespace)} "
            f"AND table_name = {_literal(name)}"
        )
        found = {str(column): str(text) for column, text in (await self.run(sql)).rows if text}
        described = await self.run(f"DESCRIBE {self._catalog}.{_name(namespace)}.{_name(name)}")
        return found | {str(row[0]): str(row[3]) for row in described.rows if row[3]}

    async def estimate(self, sql: str) -> Estimate:
        found = await self.run(f"EXPLAIN (TYPE DISTRIBUTED, FORMAT JSON) {sql}")
        return read_estimate(str(found.rows[0][0]) if found.rows else "{}")

    async def run(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        session = self._session = self._session or self._open()
        work = asyncio.ensure_future(
            to_thread.run_sync(self._run, session, sql, max_rows or self._limits.max_rows)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.shield(to_thread.run_sync(session.cancel))
            await asyncio.gather(work, return_exceptions=True)
            raise

    def _open(self) -> TrinoSession:
        from governance.query import TrinoSession  # its time and memory are the first query's

        limits = self._limits
        return TrinoSession(
            self._url,
            self._token,
            self._ca,
            source=SOURCE,
            namespace=self._namespace,
            client_tags=self._tags,
            properties={
                "query_max_execution_time": f"{limits.max_query_s}s",
                "query_max_run_time": f"{2 * limits.max_query_s}s",
                "query_max_scan_physical_bytes": f"{limits.max_scan_mib}MB",
            },
        )

    def _run(self, session: TrinoSession, sql: str, max_rows: int) -> QueryResult:
        from governance.query import DeniedError, QueryError

        began = time.monotonic()
        try:
            found = session.run(sql)
            rows = []
            for row in found.rows:
                rows.append(tuple(plain(value) for value in row))
                if len(rows) > max_rows:
                    break
        except QueryError as error:
            raise EngineError(
                error.what,
                denied=isinstance(error, DeniedError),
                query_id=error.query_id,
                permitted=error.permitted,
                next_command=error.next_command,
            ) from error
        except LabError as error:
            raise EngineError(error.what, repairable=False, next_command=error.next_command) from error
        return QueryResult(
            columns=found.columns,
            types=found.types,
            rows=tuple(rows[:max_rows]),
            truncated=len(rows) > max_rows,
            query_id=found.query_id,
            elapsed_s=round(time.monotonic() - began, 3),
        )


def plain(value: Any) -> Any:
    """A value of Trino's as JSON has it: decimals as numbers where those hold them, times as ISO 8601."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, decimal.Decimal):
        number = int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)
        # As text where a reader of JSON would lose digits.
        return number if decimal.Decimal(repr(number)) == value else str(value)
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()[:MAX_CELL_CHARS]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)[:MAX_CELL_CHARS]


def read_estimate(text: str) -> Estimate:
    """What ``EXPLAIN (TYPE DISTRIBUTED, FORMAT JSON)`` expects. What has no statistics counts nothing."""
    try:
        fragments = json.loads(text)
    except ValueError:
        return Estimate(scanned_bytes=0, widest_rows=0)
    scanned, widest = 0.0, 0.0
    waiting = list(fragments.values()) if isinstance(fragments, dict) else []
    while waiting:
        node = waiting.pop()
        waiting += node.get("children") or []
        for estimate in node.get("estimates") or []:
            widest = max(widest, _finite(estimate.get("outputRowCount")))
            if "table" in (node.get("descriptor") or {}):
                scanned += _finite(estimate.get("outputSizeInBytes"))
    return Estimate(scanned_bytes=int(scanned), widest_rows=int(widest))


def _finite(value: Any) -> float:
    """A number of a plan, 0 where Trino does not know it (``NaN``, as text)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
