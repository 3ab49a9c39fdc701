"""What SQL the agent runs at all: one query that only reads, from tables of the lab. Pure.

The user's token decides what may be read. This keeps a query that a model or a planted row came up with from
writing with the rights of somebody who may. A statement of Trino's that begins as a query can do nothing but
read, so that the text itself is run as it was checked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp

from contracts.errors import LabError

_QUERIES = (exp.Select, exp.SetOperation, exp.Values, exp.Subquery)
_SOURCES = (exp.Table, exp.Subquery, exp.Values, exp.Unnest, exp.Lateral, exp.SetOperation, exp.Paren)
_WRITING = (
    exp.DML,
    exp.DDL,
    exp.Command,
    exp.Into,
    exp.Lock,
    exp.Drop,
    exp.Alter,
    exp.Set,
    exp.Use,
    exp.Merge,
    exp.Delete,
    exp.Update,
)
MAX_CHARS = 20_000
MAX_TABLES = 30
INFORMATION_SCHEMA = "information_schema"


class SqlRefusedError(LabError):
    """The agent does not run this statement, whoever asks."""


@dataclass(frozen=True, kw_only=True)
class CheckedSql:
    """A statement that may be run. ``tables`` are ``namespace.table``, each once."""

    sql: str
    tables: tuple[str, ...]


def check_sql(text: str, *, catalog: str, namespace: str | None = None) -> CheckedSql:
    """Checks a statement.

    Args:
        catalog: the one catalog whose tables may be read.
        namespace: that of tables which are named alone, if there is one.

    Raises:
        SqlRefusedError: it is no single query, writes, calls a table function or reads another catalog.
    """
    sql = text.strip().rstrip(";").strip()
    if not sql or len(sql) > MAX_CHARS:
        raise SqlRefusedError(
            "there is no statement" if not sql else "the statement is too long",
            permitted=f"one query of at most {MAX_CHARS} characters",
        )
    tree = _parsed(sql)
    for node in tree.walk():
        if isinstance(node, _WRITING):
            raise _refused(f"it holds {node.key.upper()}", sql)
    tables = tuple(dict.fromkeys(_tables(tree, catalog, namespace, sql)))
    if len(tables) > MAX_TABLES:
        raise _refused(f"it reads {len(tables)} tables", sql, permitted=f"at most {MAX_TABLES}")
    return CheckedSql(sql=sql, tables=tables)


def columns_told(sql: str) -> frozenset[str]:
    """Names of columns whose values a query's result tells something of: all but those that only join tables.
    Lower case."""
    tree = _parsed(sql)
    joining = {
        id(column)
        for join in tree.find_all(exp.Join)
        for column in (join.args["on"].find_all(exp.Column) if join.args.get("on") else ())
    }
    return frozenset(one.name.lower() for one in tree.find_all(exp.Column) if id(one) not in joining)


def _parsed(sql: str) -> exp.Expr:
    # It warns of what it does not know, which is refused below.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        trees: list[Any] = [tree for tree in sqlglot.parse(sql, read="trino") if tree is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        said = (str(error).splitlines() or ["too deeply nested"])[0]
        raise _refused(f"it is not understood: {said[:200]}", sql) from error
    if len(trees) != 1:
        raise _refused(f"it is {len(trees)} statements", sql)
    tree: exp.Expr = trees[0]
    if not isinstance(tree, _QUERIES):
        raise _refused(f"it is {tree.key.upper()}, not a query", sql)
    return tree


def _tables(tree: exp.Expr, catalog: str, namespace: str | None, sql: str) -> Iterator[str]:
    named = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    for source in tree.find_all(exp.From, exp.Join):
        if not isinstance(source.this, _SOURCES):
            raise _refused(f"it reads from {source.this.key.upper()}", sql)
    for table in tree.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise _refused(f"it reads from the function {table.this.sql(dialect='trino')[:60]}", sql)
        if table.catalog and table.catalog.lower() != catalog.lower():
            raise _refused(f"it reads catalog {table.catalog!r}", sql, permitted=f"tables of {catalog!r}")
        if not table.db:
            if table.name.lower() in named:
                continue
            if not namespace:
                raise _refused(f"table {table.name!r} has no namespace", sql, permitted="namespace.table")
        yield f"{table.db or namespace}.{table.name}".lower()


def _refused(why: str, sql: str, permitted: str = "one query that only reads (SELECT …)") -> SqlRefusedError:
    return SqlRefusedError(f"this SQL is not run: {why}", value=sql[:300], permitted=permitted)
