"""A plan as Trino SQL, built as a syntax tree: no text of a question becomes SQL. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from agent.semantic.layer import SemanticLayer
from agent.semantic.model import AGGREGATE_LABELS, Aggregate, Dimension, Kind, Unit
from agent.semantic.plan import (
    COUNT,
    Comparison,
    Condition,
    DimensionUse,
    Grain,
    MeasureUse,
    Order,
    Plan,
)

LISTED_ROWS = 200
"""Rows of a list, when no number was asked for."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the answer. ``unit`` for measures, None for what is grouped by."""

    name: str
    label: str
    unit: Unit | None
    grain: Grain | None = None
    is_time: bool = False


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The SQL and what its columns are; ``reads`` maps each table of the catalog to the columns it reads."""

    sql: str
    columns: tuple[Column, ...]
    reads: Mapping[str, frozenset[str]]


class _Builder:
    def __init__(self, layer: SemanticLayer, plan: Plan, catalog: str) -> None:
        self.layer, self.plan, self.catalog = layer, plan, catalog
        self.reads: dict[str, set[str]] = {}
        self.joined: dict[str, None] = {plan.base: None}

    def column(self, table: str, sql: str) -> exp.Expr:
        """An expression of the layer with its columns bound to the table's alias."""
        for step, index in self.layer.reach(self.plan.base)[table].steps:
            self.joined[step] = None
            self.joined[self.layer.tables[step].joins[index].to] = None
        parsed = sqlglot.parse_one(f"SELECT {sql}", read="trino").expressions[0]
        owner = self.layer.tables[table]
        for node in list(parsed.find_all(exp.Column)):
            self._read(owner.table, node.name)
            node.set("table", exp.to_identifier(owner.name))
        found: exp.Expr = parsed
        return found

    def _read(self, table: str, column: str) -> None:
        self.reads.setdefault(table, set()).add(column.lower())

    def dimension(self, use: DimensionUse) -> exp.Expr:
        dimension = self.layer.dimension(use.table, use.name)
        column = self.column(use.table, dimension.sql)
        if use.grain is None:
            return column
        if dimension.kind is Kind.TIMESTAMP:
            column = exp.cast(column, "date")
        return exp.Anonymous(this="date_trunc", expressions=[exp.Literal.string(use.grain.value), column])

    def measure(self, use: MeasureUse) -> exp.Expr:
        if use.name == COUNT:
            return exp.Count(this=exp.Star())
        measure = self.layer.measure(use.table, use.name)
        assert measure is not None  # noqa: S101  # only the count has none
        column = self.column(use.table, measure.sql)
        if use.aggregate is None:
            return column
        if use.aggregate is Aggregate.MEDIAN:
            return exp.Anonymous(this="approx_percentile", expressions=[column, exp.Literal.number("0.5")])
        return exp.Anonymous(this=use.aggregate.value, expressions=[column])

    def condition(self, condition: Condition) -> exp.Expr:
        if condition.of_measure:
            measure = self.layer.measure(condition.table, condition.name)
            assert measure is not None  # noqa: S101  # conditions are made of columns
            sql, kind = measure.sql, Kind.NUMBER
        else:
            dimension = self.layer.dimension(condition.table, condition.name)
            sql, kind = dimension.sql, dimension.kind
        column = self.column(condition.table, sql)
        if condition.comparison is Comparison.RANGE:
            return _within(column, kind, str(condition.values[0]), str(condition.values[1]))
        values = [_literal(value, kind) for value in condition.values]
        if condition.comparison in (Comparison.IN, Comparison.NOT_IN):
            found = _among(column, values)
            if condition.comparison is Comparison.IN:
                return found
            # A row without a value is none of the excluded ones.
            return exp.not_(exp.Coalesce(this=found, expressions=[exp.false()]))
        node = {
            Comparison.ABOVE: exp.GT,
            Comparison.AT_LEAST: exp.GTE,
            Comparison.BELOW: exp.LT,
            Comparison.AT_MOST: exp.LTE,
        }[condition.comparison]
        return node(this=column, expression=values[0])

    def source(self, select: exp.Select) -> exp.Select:
        """FROM and the joins, each table by its role's name."""
        base = self.layer.tables[self.plan.base]
        select = select.from_(self._table(base.table, base.name))
        for name in self._in_order():
            step, index = self.layer.reach(self.plan.base)[name].steps[-1]
            here, join = self.layer.tables[step], self.layer.tables[step].joins[index]
            there = self.layer.tables[name]
            on = [
                exp.EQ(this=exp.column(left, table=here.name), expression=exp.column(right, table=there.name))
                for left, right in join.columns.items()
            ]
            for left, right in join.columns.items():
                self._read(here.table, left)
                self._read(there.table, right)
            select = select.join(
                self._table(there.table, there.name), on=exp.and_(*on), join_type="LEFT", copy=False
            )
        return select

    def _in_order(self) -> Iterable[str]:
        reach = self.layer.reach(self.plan.base)
        return sorted((n for n in self.joined if n != self.plan.base), key=lambda n: len(reach[n].steps))

    def _table(self, table: str, alias: str) -> exp.Expr:
        namespace, _, name = table.rpartition(".")
        found = exp.table_(name, db=namespace, catalog=self.catalog)
        self.reads.setdefault(table, set())
        return exp.alias_(found, alias, table=True)


def statement_of(layer: SemanticLayer, plan: Plan, *, catalog: str) -> Statement:
    """The SQL of a plan, with the columns of its result in order."""
    builder = _Builder(layer, plan, catalog)
    names = _Names()
    columns = [_dimension_column(layer, use, names) for use in plan.dimensions]
    select = exp.Select()
    groups: list[exp.Expr] = []
    for use, column in zip(plan.dimensions, columns, strict=True):
        expression = builder.dimension(use)
        groups.append(expression)
        select = select.select(exp.alias_(expression.copy(), column.name), copy=False)
    for measure in plan.measures:
        column = _measure_column(layer, measure, names)
        expression = builder.measure(measure)
        columns.append(column)
        select = select.select(exp.alias_(expression, column.name), copy=False)
        if plan.share and measure is plan.measures[0]:
            columns.append(_share_column(column, names))
            select = select.select(exp.alias_(_share(expression), columns[-1].name), copy=False)
    conditions = [builder.condition(one) for one in plan.conditions]
    select = builder.source(select)
    if conditions:
        select = select.where(exp.and_(*conditions), copy=False)
    if plan.measures and groups:
        select = select.group_by(*[exp.Literal.number(i + 1) for i in range(len(groups))], copy=False)
    elif plan.distinct:
        select = select.distinct(copy=False)
    select = _ordered(select, plan, columns)
    reads = {table: frozenset(found) for table, found in builder.reads.items()}
    return Statement(sql=select.sql(dialect="trino", pretty=True), columns=tuple(columns), reads=reads)


def _ordered(select: exp.Select, plan: Plan, columns: list[Column]) -> exp.Select:
    """By rank where that was asked, else by time, else the largest first; ties always by name."""
    dimensions = columns[: len(plan.dimensions)]
    keys: list[exp.Expr] = []
    ranked = plan.order is not None or (plan.measures and dimensions and not dimensions[0].is_time)
    if plan.measures and dimensions and ranked:
        first = columns[len(dimensions)]
        keys.append(_key(first.name, descending=plan.order is not Order.ASCENDING))
    elif plan.order is not None and dimensions:
        keys.append(_key(dimensions[0].name, descending=plan.order is Order.DESCENDING))
    named = {key.this.name for key in keys}
    keys += [_key(column.name, descending=False) for column in dimensions[:4] if column.name not in named]
    if keys:
        select = select.order_by(*keys, copy=False)
    limit = plan.limit or (None if plan.measures else LISTED_ROWS)
    return select if limit is None else select.limit(limit, copy=False)


def _key(name: str, *, descending: bool) -> exp.Expr:
    return exp.Ordered(this=exp.column(name), desc=descending, nulls_first=False)


def _share(expression: exp.Expr) -> exp.Expr:
    whole = exp.Window(this=exp.Sum(this=expression.copy()))
    return exp.Div(
        this=exp.cast(expression.copy(), "double"),
        expression=exp.Nullif(this=whole, expression=exp.Literal.number(0)),
    )


def _among(column: exp.Expr, values: list[exp.Expr]) -> exp.Expr:
    if len(values) == 1:
        return exp.EQ(this=column, expression=values[0])
    return exp.In(this=column, expressions=values)


def _within(column: exp.Expr, kind: Kind, start: str, end: str) -> exp.Expr:
    parts: list[exp.Expr] = []
    for text, node in ((start, exp.GTE), (end, exp.LT)):
        if text:
            parts.append(node(this=column.copy(), expression=_moment(text, kind)))
    return exp.and_(*parts)


def _moment(text: str, kind: Kind) -> exp.Expr:
    if kind is Kind.TIMESTAMP:
        return exp.cast(exp.Literal.string(f"{text} 00:00:00 UTC"), "timestamp with time zone")
    return exp.cast(exp.Literal.string(text), "date")


def _literal(value: str | float, kind: Kind) -> exp.Expr:
    if isinstance(value, int | float) and kind is Kind.NUMBER:
        return exp.Literal.number(int(value) if value == int(value) else value)
    return exp.Literal.string(str(value))


class _Names:
    """Names for the columns of a result, each once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, label: str) -> str:
        name = re.sub(r"\W+", "_", label.lower()).strip("_") or "value"
        number = 1
        unique = name
        while unique in self._given:
            number += 1
            unique = f"{name}_{number}"
        self._given.add(unique)
        return unique


def _dimension_column(layer: SemanticLayer, use: DimensionUse, names: _Names) -> Column:
    dimension: Dimension = layer.dimension(use.table, use.name)
    label = f"{use.grain.value} of {dimension.label}" if use.grain else dimension.label
    return Column(name=names.new(label), label=label, unit=None, grain=use.grain, is_time=dimension.is_time)


def measure_label(layer: SemanticLayer, use: MeasureUse) -> str:
    """What a measure is called, with how it was aggregated."""
    table = layer.tables[use.table]
    measure = layer.measure(use.table, use.name)
    if measure is None:
        return f"number of {table.plural}"
    return measure.label if use.aggregate is None else f"{AGGREGATE_LABELS[use.aggregate]} {measure.label}"


def _measure_column(layer: SemanticLayer, use: MeasureUse, names: _Names) -> Column:
    measure = layer.measure(use.table, use.name)
    label = measure_label(layer, use)
    return Column(name=names.new(label), label=label, unit=Unit.NUMBER if measure is None else measure.unit)


def _share_column(of: Column, names: _Names) -> Column:
    label = f"share of {of.label}"
    return Column(name=names.new(label), label=label, unit=Unit.RATIO)
