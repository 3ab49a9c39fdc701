"""The sample tables in DuckDB, as each sample user sees them: Trino's place in tests of the agent.

Rows are the seeds' own, at the smallest scale; row filters, masks and grants are those of ``policies/data``,
applied as ``governance.effects`` reads them. SQL is Trino's, rewritten for DuckDB.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from agent.engine import EngineError, Estimate, QueryResult, VisibleColumn, plain
from agent.values import RuleNote
from contracts.identity import PERSONAS
from governance.documents import read_access
from governance.effects import Effects, Reader
from governance.reports import TableView, Visibility
from seed.catalogue import seed_tables_for
from seed.model import SeedOptions

ROOT = Path(__file__).resolve().parents[2]
SCALE_FACTOR = 0.001
_MASKS = {
    "email_domain": "regexp_replace({c}, '^[^@]*', '***')",
    "last_4": "concat('***', right({c}, 4))",
    "null": "CAST(NULL AS {type})",
}
_GROUPS = {persona.username: frozenset(persona.groups) for persona in PERSONAS}


class Lake:
    """All rows, and one database of views for each user."""

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("ATTACH ':memory:' AS base")
        self.tables: dict[str, tuple[tuple[str, str], ...]] = {}
        self.added: dict[str, frozenset[str]] = {}
        for table in seed_tables_for(SeedOptions(scale_factor=SCALE_FACTOR)):
            chunks = [chunk for batch in table.batches() for chunk in batch.chunks()]
            self._fill(table.name, chunks)
        access = read_access(ROOT / "policies" / "data")
        self._effects = Effects(access, {}, catalog="base", now=datetime.now(tz=UTC))
        self._made: set[str] = set()

    def _fill(self, name: str, chunks: Sequence[Any]) -> None:
        namespace = name.partition(".")[0]
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS base.{namespace}")
        for number, chunk in enumerate(chunks):
            self.connection.register("chunk", chunk)
            how = f"CREATE TABLE base.{name} AS" if number == 0 else f"INSERT INTO base.{name}"
            self.connection.execute(f"{how} FROM chunk")
            self.connection.unregister("chunk")
        described = self.connection.execute(f"DESCRIBE base.{name}").fetchall()
        self.tables[name] = tuple((str(row[0]), str(row[1])) for row in described)

    def plant(self, name: str, sql: str, *readers: str) -> None:
        """Makes a table that these users may read, from a query of DuckDB's."""
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS base.{name.partition('.')[0]}")
        self.connection.execute(f"CREATE OR REPLACE TABLE base.{name} AS {sql}")
        described = self.connection.execute(f"DESCRIBE base.{name}").fetchall()
        self.tables[name] = tuple((str(row[0]), str(row[1])) for row in described)
        self.added[name] = frozenset(readers)
        for user in self._made:
            self.connection.execute(f"DETACH as_{user}")
        self._made.clear()

    def view(self, user: str, table: str) -> TableView:
        """What the access rules make of a table for a user."""
        reader = Reader(username=user, groups=_GROUPS[user])
        return self._effects.view(reader, table, [name for name, _ in self.tables[table]])

    def readable(self, user: str, table: str) -> bool:
        return user in self.added[table] if table in self.added else self.view(user, table).readable

    def database(self, user: str) -> str:
        """The user's database of views, made when it is first asked for."""
        name = f"as_{user}"
        if user not in self._made:
            self.connection.execute(f"ATTACH ':memory:' AS {name}")
            for table in self.tables:
                if self.readable(user, table):
                    self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name}.{table.partition('.')[0]}")
                    self.connection.execute(f"CREATE VIEW {name}.{table} AS {self._select(user, table)}")
            self._made.add(user)
        return name

    def _select(self, user: str, table: str) -> str:
        if table in self.added:
            return f"FROM base.{table}"
        view = self.view(user, table)
        types = dict(self.tables[table])
        columns = []
        for column in view.columns:
            if column.visibility is Visibility.PLAIN:
                columns.append(column.column)
            elif column.visibility is Visibility.MASKED and column.mask == "hash":
                kind = types[column.column]
                hashed = f"hash({column.column})"
                text = f"sha256(CAST({column.column} AS VARCHAR))"
                columns.append(
                    f"{text if kind == 'VARCHAR' else f'CAST({hashed} >> 1 AS {kind})'} AS {column.column}"
                )
            elif column.visibility is Visibility.MASKED:
                mask = _MASKS[str(column.mask)].format(c=column.column, type=types[column.column])
                columns.append(f"{mask} AS {column.column}")
        rows = duck(view.predicate, "base")
        return f"SELECT {', '.join(columns)} FROM base.{table} WHERE {rows}"  # noqa: S608 - of the seeds alone


@functools.cache
def lake() -> Lake:
    """The one lake of a test run."""
    return Lake()


def duck(sql: str, database: str, *, catalog: str = "lake") -> str:
    """Trino's SQL as DuckDB's, with tables of ``database``."""
    tree = sqlglot.parse_one(sql, read="trino")
    for table in tree.find_all(exp.Table):
        if table.db and (not table.catalog or table.catalog == catalog):
            table.set("catalog", exp.to_identifier(database))
    return tree.sql(dialect="duckdb")


class LakeEngine:
    """Implements :class:`agent.engine.Engine` for one user. ``ran`` are the statements that were run."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.ran: list[str] = []
        self._namespace = ""
        self._ids = itertools.count(1)

    async def close(self) -> None:
        """There is nothing to close."""

    def use(self, namespace: str) -> None:
        self._namespace = namespace

    async def tables(self) -> Mapping[str, str]:
        return {name: "BASE TABLE" for name in sorted(lake().tables) if lake().readable(self.user, name)}

    async def columns(self, tables: Sequence[str]) -> Mapping[str, tuple[VisibleColumn, ...]]:
        found = {}
        for table in tables:
            if table in lake().tables and lake().readable(self.user, table):
                rows = self._fetch(f"DESCRIBE {lake().database(self.user)}.{table}")[2]
                found[table] = tuple(
                    VisibleColumn(name=str(row[0]), type=str(row[1]).lower()) for row in rows
                )
        return found

    async def search(self, text: str) -> Mapping[str, tuple[str, ...]]:
        found = await self.columns(list(await self.tables()))
        named = {
            table: tuple(one.name for one in columns if text.lower() in one.name)
            for table, columns in found.items()
        }
        return {table: columns for table, columns in named.items() if columns or text.lower() in table}

    async def comments(self, table: str) -> Mapping[str, str]:
        return {"": f"the table {table}"}

    async def estimate(self, sql: str) -> Estimate:
        self._fetch(f"EXPLAIN {self._rewritten(sql)}")
        return Estimate(scanned_bytes=1000, widest_rows=10)

    async def run(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        self.ran.append(sql)
        limit = max_rows or 1000
        columns, types, rows = self._fetch(self._rewritten(sql), limit + 1)
        return QueryResult(
            columns=columns,
            types=types,
            rows=tuple(tuple(plain(value) for value in row) for row in rows[:limit]),
            truncated=len(rows) > limit,
            query_id=f"q{next(self._ids)}_{self.user}",
            elapsed_s=0.0,
        )

    def _rewritten(self, sql: str) -> str:
        tree = sqlglot.parse_one(sql, read="trino")
        named = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
        for table in tree.find_all(exp.Table):
            if self._namespace and not table.db and table.name not in named:
                table.set("db", exp.to_identifier(self._namespace))
            name = f"{table.db}.{table.name}".lower()
            if table.db and name in lake().tables and not lake().readable(self.user, name):
                raise EngineError(f"denied: Cannot select from table lake.{name}", denied=True)
        return duck(tree.sql(dialect="trino"), lake().database(self.user))

    def _fetch(self, sql: str, limit: int = 1000) -> tuple[tuple[str, ...], tuple[str, ...], list[Any]]:
        cursor = lake().connection.cursor()
        try:
            cursor.execute(sql)
            described = cursor.description or []
            rows = cursor.fetchmany(limit)
        except duckdb.Error as error:
            raise EngineError(f"SYNTAX_ERROR: {str(error).splitlines()[0]}") from error
        finally:
            cursor.close()
        return tuple(str(c[0]) for c in described), tuple(_type(str(c[1])) for c in described), rows


def _type(name: str) -> str:
    return {"hugeint": "bigint", "float": "real"}.get(name.lower(), name.lower())


async def explain(user: str, tables: Sequence[str]) -> tuple[tuple[RuleNote, ...], str | None]:
    """How the access rules shape tables for a user, as the governor says it."""
    notes = []
    for table in tables:
        if table in lake().tables and table not in lake().added:
            view = lake().view(user, table)
            masked = tuple(c.column for c in view.columns if c.visibility is Visibility.MASKED)
            hidden = sum(c.visibility is Visibility.DENIED for c in view.columns)
            filters = tuple(use.rule for use in view.filters)
            notes.append(RuleNote(table=table, filters=filters, masked=masked, hidden=hidden))
    return tuple(notes), None
