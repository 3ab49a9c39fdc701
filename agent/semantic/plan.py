"""What a question was understood as, before it is SQL. Plain values: they go into checkpoints as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from agent.semantic.model import Aggregate

COUNT = "count"
"""The measure that every entity has: the number of its rows."""


class Grain(StrEnum):
    """A stretch of time that results are grouped by."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class Comparison(StrEnum):
    """How a condition compares; ``RANGE`` is from the first value on and before the second."""

    IN = "in"
    NOT_IN = "not in"
    ABOVE = ">"
    AT_LEAST = ">="
    BELOW = "<"
    AT_MOST = "<="
    RANGE = "range"


class Order(StrEnum):
    """By the first measure, or by time in lists."""

    ASCENDING = "asc"
    DESCENDING = "desc"


@dataclass(frozen=True, kw_only=True)
class MeasureUse:
    """A measure of the plan's base table. ``aggregate`` is None where the measure is one already."""

    table: str
    name: str
    aggregate: Aggregate | None = None


@dataclass(frozen=True, kw_only=True)
class DimensionUse:
    """A column of a table that the base reaches; ``grain`` for dates."""

    table: str
    name: str
    grain: Grain | None = None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Only rows where it holds. ``of_measure``: ``name`` is a measure's column, not a dimension."""

    table: str
    name: str
    comparison: Comparison
    values: tuple[str | float, ...]
    of_measure: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Rows of ``base``: its measures grouped by dimensions; without a measure, the dimensions row by row, or
    what different ones there are (``distinct``). ``share``: each group's part of the whole, too."""

    base: str
    measures: tuple[MeasureUse, ...] = ()
    dimensions: tuple[DimensionUse, ...] = ()
    conditions: tuple[Condition, ...] = ()
    order: Order | None = None
    limit: int | None = None
    share: bool = False
    distinct: bool = False


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to take a question. ``id`` is what a choice is kept as."""

    id: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Ambiguity:
    """A question that has to be asked back. ``key`` is what the choice is about."""

    key: str
    question: str
    options: tuple[Option, ...]


@dataclass(frozen=True, kw_only=True)
class NeedsValues:
    """Words that may be values of columns: which have to be looked up first (table, dimension)."""

    dimensions: tuple[tuple[str, str], ...]
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Decline:
    """What was asked can't be answered this way; ``why`` is for the user, ``hints`` say what can."""

    why: str
    hints: tuple[str, ...] = ()


Outcome = Plan | Ambiguity | NeedsValues | Decline

_PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """The plan as it goes into checkpoints."""
    document: dict[str, Any] = _PLAN.dump_python(plan, mode="json")
    return document


def plan_from_json(document: Any) -> Plan:
    """The reverse. Raises pydantic.ValidationError."""
    return _PLAN.validate_python(document)
