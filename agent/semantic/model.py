"""What a model of the semantic layer says: tables, how they join, what they measure and by what. Pure.

A model is a YAML document::

    model: sales
    description: Targets of the sales teams
    tables:
      target:
        table: raw.targets            # namespace.table in the catalog
        synonyms: [goal]
        time: month                   # the dimension that "in 1995" and "by month" mean
        joins:                        # many to one: each row here has one row there
          - {to: retail.nation, columns: {nation_key: n_nationkey}}
        dimensions:
          month: {column: month, type: date}
          team: {column: team, values: {north: [northern], south: []}}
        measures:
          amount: {column: amount, aggregate: sum, aggregates: [avg, max], unit: money}
          attainment: {sql: "sum(reached) / sum(amount)", unit: ratio}

Expressions name columns of their own table alone; an aggregate may not be nested in a subquery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlglot
from sqlglot import exp

from contracts.errors import UsageError, unknown_name

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TABLE = re.compile(r"[^.\s\"]+(\.[^.\s\"]+)+")
_LONGEST = 200


class Kind(StrEnum):
    """How a dimension's values are compared and grouped."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    TIMESTAMP = "timestamp"
    BOOLEAN = "boolean"


class Aggregate(StrEnum):
    """How a column's values become one."""

    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    MEDIAN = "median"


AGGREGATE_LABELS: Mapping[Aggregate, str] = {
    Aggregate.SUM: "total",
    Aggregate.AVG: "average",
    Aggregate.MIN: "lowest",
    Aggregate.MAX: "highest",
    Aggregate.MEDIAN: "median",
}


class Unit(StrEnum):
    """What a measure counts; for its presentation."""

    NUMBER = "number"
    MONEY = "money"
    RATIO = "ratio"
    MILLISECONDS = "milliseconds"
    DAYS = "days"


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A column or expression to group and filter by.

    ``values`` maps values of it to what else they are called; ``groups`` names sets of values. With
    ``lookup`` the values there are may be read from the table, with the asking user's rights.
    """

    name: str
    label: str
    sql: str
    kind: Kind
    synonyms: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lookup: bool = False
    description: str = ""

    @property
    def is_time(self) -> bool:
        return self.kind in (Kind.DATE, Kind.TIMESTAMP)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number: ``sql`` is an aggregate already when ``aggregate`` is None, else the expression that
    ``aggregate`` or one of ``aggregates`` is taken of. ``counts``: it is also the number of that table's
    rows, for questions about both tables together."""

    name: str
    label: str
    sql: str
    aggregate: Aggregate | None = None
    aggregates: tuple[Aggregate, ...] = ()
    synonyms: tuple[str, ...] = ()
    unit: Unit = Unit.NUMBER
    counts: str | None = None
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Join:
    """Each row of the table has one row of ``to`` where the columns are equal; ``to`` is
    ``model.table`` of the layer."""

    to: str
    columns: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LogicalTable:
    """A table in one role. ``id`` is ``model.name``; ``entity`` says whether its rows are things that
    people count and list by ``label``."""

    id: str
    name: str
    table: str
    label: str
    plural: str
    synonyms: tuple[str, ...]
    entity: bool
    title: str | None
    time: str | None
    show: tuple[str, ...]
    joins: tuple[Join, ...]
    dimensions: Mapping[str, Dimension]
    measures: Mapping[str, Measure]
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class SemanticModel:
    """One document."""

    name: str
    description: str
    tables: Mapping[str, LogicalTable]


def parse_model(document: Any, *, where: str = "the model") -> SemanticModel:
    """Reads a document.

    Raises:
        UsageError: names the place, what it holds and what is permitted.
    """
    top = _Part(document, where, {"model", "description", "tables"})
    name = top.name("model")
    tables = top.mapping("tables")
    if not tables:
        raise UsageError(f"{where} has no table", permitted="tables: {order: {table: retail.orders, …}}")
    found = {key: _table(name, str(key), value, f"{where}: {key}") for key, value in tables.items()}
    return SemanticModel(name=name, description=top.text("description", ""), tables=found)


def _table(model: str, name: str, document: Any, where: str) -> LogicalTable:
    from agent.semantic.words import plural

    part = _Part(
        document,
        where,
        {"table", "label", "plural", "synonyms", "entity", "title", "time", "show", "joins", "dimensions"}
        | {"measures", "description"},
    )
    part.check_name(name)
    table = part.text("table")
    if not _TABLE.fullmatch(table):
        raise UsageError(f"{where}: table is not a table", value=table, permitted="namespace.table")
    label = part.text("label", name.replace("_", " "))
    dimensions = {
        str(key): _dimension(str(key), value, f"{where}.dimensions.{key}")
        for key, value in part.mapping("dimensions").items()
    }
    measures = {
        str(key): _measure(model, str(key), value, f"{where}.measures.{key}")
        for key, value in part.mapping("measures").items()
    }
    title, time = part.text("title", ""), part.text("time", "")
    show = part.names("show")
    for named in filter(None, (title, *show)):
        if named not in dimensions:
            raise unknown_name(f"dimension of {where}", named, dimensions)
    return LogicalTable(
        id=f"{model}.{name}",
        name=name,
        table=table,
        label=label,
        plural=part.text("plural", plural(label)),
        synonyms=part.names("synonyms"),
        entity=part.flag("entity", True),
        title=title or None,
        time=time or None,
        show=show,
        joins=tuple(_join(model, value, where) for value in part.items("joins")),
        dimensions=dimensions,
        measures=measures,
        description=part.text("description", ""),
    )


def _join(model: str, document: Any, where: str) -> Join:
    part = _Part(document, f"{where}.joins", {"to", "columns"})
    to = part.text("to")
    columns = {str(key): str(value) for key, value in part.mapping("columns").items()}
    if not columns:
        raise UsageError(
            f"{where}: a join needs 'columns'", value=to, permitted="columns: {column here: column there}"
        )
    return Join(to=to if "." in to else f"{model}.{to}", columns=columns)


def _dimension(name: str, document: Any, where: str) -> Dimension:
    part = _Part(
        document,
        where,
        {"column", "sql", "label", "type", "synonyms", "values", "groups", "lookup", "description"},
    )
    part.check_name(name)
    sql = part.text("sql", part.text("column", name))
    check_expression(sql, where, aggregate=False)
    values = {str(key): _words(words, f"{where}.values") for key, words in part.mapping("values").items()}
    groups = {str(key): _words(words, f"{where}.groups") for key, words in part.mapping("groups").items()}
    for group, members in groups.items():
        for member in members:
            if member not in values:
                raise unknown_name(f"value in group {group!r} of {where}", member, values)
    return Dimension(
        name=name,
        label=part.text("label", name.replace("_", " ")),
        sql=sql,
        kind=part.choice(Kind, "type", Kind.TEXT),
        synonyms=part.names("synonyms"),
        values=values,
        groups=groups,
        lookup=part.flag("lookup", False),
        description=part.text("description", ""),
    )


def _measure(model: str, name: str, document: Any, where: str) -> Measure:
    part = _Part(
        document,
        where,
        {"column", "sql", "label", "aggregate", "aggregates", "synonyms", "unit", "counts", "description"},
    )
    part.check_name(name)
    counts = part.text("counts", "")
    plain = part.text("column", "")
    sql = part.text("sql", plain)
    if bool(plain) == bool(part.text("sql", "")):
        raise UsageError(
            f"{where} needs either 'column' with 'aggregate', or 'sql'",
            permitted='{column: amount, aggregate: sum} or {sql: "sum(amount) / count(*)"}',
        )
    aggregate = part.choice(Aggregate, "aggregate", None)
    more = tuple(_member(Aggregate, one, where) for one in part.names("aggregates"))
    if plain and aggregate is None:
        raise UsageError(f"{where} needs 'aggregate'", permitted=", ".join(Aggregate))
    check_expression(sql, where, aggregate=aggregate is None)
    return Measure(
        name=name,
        label=part.text("label", name.replace("_", " ")),
        sql=sql,
        aggregate=aggregate,
        aggregates=more,
        synonyms=part.names("synonyms"),
        unit=part.choice(Unit, "unit", Unit.NUMBER),
        counts=(counts if "." in counts else f"{model}.{counts}") if counts else None,
        description=part.text("description", ""),
    )


def check_expression(sql: str, where: str, *, aggregate: bool) -> exp.Expr:
    """Parses an expression over one table's columns. Raises UsageError when it is none, reads another
    table, or is an aggregate where it must not be one (and the reverse)."""
    try:
        found = sqlglot.parse_one(f"SELECT {sql}", read="trino")
    except sqlglot.errors.SqlglotError as error:
        raise UsageError(f"{where} is no expression: {_first_line(error)}", value=sql) from None
    if not isinstance(found, exp.Select) or len(found.expressions) != 1 or len(found.args) < 1:
        raise UsageError(f"{where} is not one expression", value=sql, permitted="sum(price * quantity)")
    if found.args.get("from_") or found.args.get("from") or found.find(exp.Subquery, exp.Window):
        raise UsageError(f"{where} reads more than its own table's row", value=sql)
    if any(column.table for column in found.find_all(exp.Column)):
        raise UsageError(f"{where} names a table", value=sql, permitted="plain columns of its own table")
    expression: exp.Expr = found.expressions[0]
    if (expression.find(exp.AggFunc) is not None) != aggregate:
        permitted = "an aggregate, such as sum(amount)" if aggregate else "no aggregate"
        raise UsageError(f"{where} is not what belongs there", value=sql, permitted=permitted)
    return expression


class _Part:
    """One mapping of the document, read with its place in mind."""

    def __init__(self, document: Any, where: str, known: set[str]) -> None:
        if not isinstance(document, Mapping):
            raise UsageError(f"{where} is not a mapping", value=document, permitted=", ".join(sorted(known)))
        for key in document:
            if key not in known:
                raise unknown_name(f"key of {where}", str(key), known)
        self._document, self._where = document, where

    def text(self, key: str, default: str | None = None) -> str:
        value = self._document.get(key, default)
        if not isinstance(value, str | int | float) or (default is None and value == ""):
            raise UsageError(f"{self._where} needs {key!r}, a text", value=value)
        if len(str(value)) > 10 * _LONGEST:
            raise UsageError(f"{self._where}: {key!r} is too long", permitted=f"{10 * _LONGEST} characters")
        return str(value)

    def name(self, key: str) -> str:
        return self.check_name(self.text(key))

    def check_name(self, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise UsageError(
                f"{self._where}: this is no name", value=value, permitted="a letter, then a-z, 0-9 and _"
            )
        return value

    def mapping(self, key: str) -> Mapping[Any, Any]:
        value = self._document.get(key) or {}
        if not isinstance(value, Mapping):
            raise UsageError(f"{self._where}: {key!r} is not a mapping", value=value)
        for name in value:
            if not isinstance(name, str | int | float) or isinstance(name, bool):
                # YAML reads NO, ON and YES as truth values, and 2024-01-01 as a date.
                raise UsageError(
                    f"{self._where}: a key of {key!r} is no text", value=name, permitted='"NO": […]'
                )
        return value

    def items(self, key: str) -> list[Any]:
        value = self._document.get(key) or []
        if not isinstance(value, list):
            raise UsageError(f"{self._where}: {key!r} is not a list", value=value)
        return value

    def names(self, key: str) -> tuple[str, ...]:
        return _words(self._document.get(key) or [], f"{self._where}: {key!r}")

    def flag(self, key: str, default: bool) -> bool:
        value = self._document.get(key, default)
        if not isinstance(value, bool):
            raise UsageError(f"{self._where}: {key!r} is not true or false", value=value)
        return value

    def choice(self, kind: type[Any], key: str, default: Any) -> Any:
        value = self._document.get(key)
        return default if value is None else _member(kind, value, f"{self._where}: {key!r}")


def _member(kind: type[Any], value: Any, where: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise unknown_name(f"value of {where}", str(value), [one.value for one in kind]) from None


def _words(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str | int | float) for one in value):
        raise UsageError(f"{where} is not a list of words", value=value, permitted="[one, another]")
    return tuple(str(one)[:_LONGEST] for one in value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
