"""What a result tells by itself: whether it is plausible, how to draw it, what to say of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.semantic.model import Unit
from agent.values import Chart, ChartKind, RuleNote

_NUMERIC = re.compile(r"(tinyint|smallint|integer|bigint|real|double|decimal)\b")
_FRACTIONAL = re.compile(r"(real|double|decimal)\b")
_TEMPORAL = re.compile(r"(date|timestamp)\b")
_MANY_BARS = 40
_MANY_LINES = 12
_SHOWN_ROWS = 5
_SUM_OFF = 0.001


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A result with what is known of its columns. ``units`` by column, for measures whose unit is known;
    ``grain`` of a first column that is a time."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool = False
    units: Mapping[str, str] | None = None
    shares: tuple[str, ...] = ()
    grain: str | None = None

    def numeric(self) -> list[int]:
        """Places of columns that hold numbers."""
        return [place for place, kind in enumerate(self.types) if _NUMERIC.match(kind.lower())]

    def temporal(self) -> list[int]:
        """Places of columns that hold dates or times."""
        return [place for place, kind in enumerate(self.types) if _TEMPORAL.match(kind.lower())]

    def measures(self) -> list[int]:
        """Places of the numbers that are results, where that is known; else of all numbers after the first
        column that is none."""
        if self.units is not None:
            return [place for place, name in enumerate(self.columns) if name in self.units]
        numeric = self.numeric()
        groups = [place for place in range(len(self.columns)) if place not in numeric]
        if not groups and len(numeric) > 1 and len(self.rows) > 1:
            return numeric[1:]
        return numeric


def number_of(value: Any) -> float | None:
    """A value as number; exact decimals come as text."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def implausible(shape: Shape) -> list[str]:
    """What is odd about a result, as notes for the user; empty when nothing is."""
    if not shape.rows:
        return ["No row matches."]
    notes = []
    measures = shape.measures()
    for place in measures:
        values = [row[place] for row in shape.rows]
        if all(value is None for value in values):
            notes.append(f"Every value of {shape.columns[place]!r} is empty.")
    for place in range(len(shape.columns)):
        if place in measures:
            continue
        empty = sum(row[place] is None for row in shape.rows)
        if empty:
            rows = "row has" if empty == 1 else "rows have"
            notes.append(f"{empty} {rows} no {shape.columns[place]!r}.")
    for name in shape.shares:
        place = shape.columns.index(name)
        numbers = [number for row in shape.rows if (number := number_of(row[place])) is not None]
        if numbers and not shape.truncated and abs(sum(numbers) - 1) > _SUM_OFF:
            notes.append(f"The values of {name!r} make {sum(numbers):.1%} of the whole.")
    if shape.truncated:
        notes.append(f"There are more rows than the first {len(shape.rows)}, which are all that was read.")
    return notes


def rule_notes(rules: Sequence[RuleNote]) -> list[str]:
    """How the access rules shaped the rows, in words."""
    notes = []
    filtered = [rule for rule in rules if rule.filters]
    if filtered:
        tables = _listed([rule.table for rule in filtered])
        names = list(dict.fromkeys(name for rule in filtered for name in rule.filters))
        word = "rule" if len(names) == 1 else "rules"
        notes.append(f"Of {tables} these are the rows that you may see ({word} {_listed(names)}).")
    notes += [f"Masked for you in {rule.table}: {_listed(rule.masked)}." for rule in rules if rule.masked]
    return notes


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def chart_of(shape: Shape, title: str) -> Chart:
    """A drawing that suits the result."""
    measures = shape.measures()
    formats = dict(shape.units or {})
    names = shape.columns
    others = [place for place in range(len(names)) if place not in measures]
    if not shape.rows or not measures:
        return Chart(kind=ChartKind.TABLE, title=title, formats=formats)
    y = tuple(names[place] for place in measures)
    if not others:
        kind = ChartKind.BIG_NUMBER if len(shape.rows) == 1 else ChartKind.SCATTER
        x = names[measures[0]] if kind is ChartKind.SCATTER and len(measures) > 1 else None
        return Chart(kind=kind, title=title, x=x, y=y if x is None else y[1:], formats=formats)
    if len(shape.rows) == 1 and len(measures) == 1:
        return Chart(kind=ChartKind.BIG_NUMBER, title=title, x=names[others[0]], y=y, formats=formats)
    if len(others) == 1 and _FRACTIONAL.match(shape.types[others[0]].lower()):
        return Chart(kind=ChartKind.SCATTER, title=title, x=names[others[0]], y=y, formats=formats)
    times = [place for place in shape.temporal() if place in others]
    first = times[0] if times else others[0]
    rest = [place for place in others if place != first]
    series = names[rest[0]] if len(rest) == 1 else None
    drawn = tuple(name for name in y if name not in shape.shares) or y
    if len(rest) > 1 or (series and len({row[rest[0]] for row in shape.rows}) > _MANY_LINES):
        return Chart(kind=ChartKind.TABLE, title=title, formats=formats)
    if times:
        return Chart(
            kind=ChartKind.LINE, title=title, x=names[first], y=drawn, series=series, formats=formats
        )
    if len(shape.rows) > _MANY_BARS:
        return Chart(kind=ChartKind.TABLE, title=title, formats=formats)
    return Chart(kind=ChartKind.BAR, title=title, x=names[first], y=drawn, series=series, formats=formats)


def shown(value: Any, unit: str | None = None) -> str:
    """A value in a sentence."""
    number = number_of(value)
    if value is None:
        return "none"
    if number is None or (isinstance(value, str) and unit is None):
        return str(value)
    if unit == Unit.RATIO.value:
        return f"{number:.1%}"
    if unit == Unit.MONEY.value:
        return f"{number:,.2f}"
    if unit == Unit.MILLISECONDS.value:
        return f"{number:,.0f} ms"
    if unit == Unit.DAYS.value:
        return f"{number:,.0f} days"
    if number == int(number):
        return f"{int(number):,}"
    return f"{number:,.4g}" if abs(number) < 1 else f"{number:,.2f}"


def described(shape: Shape, reading: str) -> str:
    """One or two sentences about a result, made from it alone."""
    units = shape.units or {}
    measures = shape.measures()
    subject = reading[:1].upper() + reading[1:]
    if not shape.rows:
        return f"{subject}: nothing matches."

    def cell(row: Sequence[Any], place: int) -> str:
        text = shown(row[place], units.get(shape.columns[place]))
        return _period(text, shape.grain) if place in shape.temporal() else text

    if len(shape.rows) == 1 and measures and len(measures) == len(shape.columns):
        values = ", ".join(
            cell(shape.rows[0], place)
            if len(measures) == 1
            else f"{_words(shape.columns[place])} {cell(shape.rows[0], place)}"
            for place in measures
        )
        return f"{subject}: {values}."
    others = [place for place in range(len(shape.columns)) if place not in measures]

    def row_text(row: Sequence[Any]) -> str:
        name = ", ".join(cell(row, place) for place in others)
        values = ", ".join(cell(row, place) for place in measures)
        return f"{name} {values}" if values else name

    several = "; ".join(row_text(row) for row in shape.rows[:_SHOWN_ROWS])
    more = len(shape.rows) - _SHOWN_ROWS
    count = f"{len(shape.rows):,}{' or more' if shape.truncated else ''}"
    rows = "row" if len(shape.rows) == 1 else "rows"
    tail = f"; and {more:,} more." if more > 0 else "."
    return f"{subject} ({count} {rows}): {several}{tail}"


def _period(text: str, grain: str | None) -> str:
    """A date as the stretch that it begins."""
    cut = {"year": 4, "month": 7, "quarter": 7}.get(
        grain or "", 10 if text.endswith("T00:00:00") else len(text)
    )
    return text[:cut]


def _words(name: str) -> str:
    return name.replace("_", " ")


_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?%?")


def ungrounded(text: str, shape: Shape, also: Iterable[str]) -> list[str]:
    """Numbers in a text that stand neither in the result nor in one of ``also`` (question, SQL): what a model
    made up. Rounded numbers, thousands and percentages of a result's numbers are grounded."""
    known = {number for row in shape.rows for value in row if (number := number_of(value)) is not None}
    known |= {float(len(shape.rows))}
    for other in (*also, *(str(value) for row in shape.rows for value in row if isinstance(value, str))):
        known |= {_parsed(match[0]) for match in _NUMBER.finditer(other)}
    return [match[0] for match in _NUMBER.finditer(text) if not _grounded(match[0], known)]


def _parsed(text: str) -> float:
    return float(text.rstrip("%").replace(",", "") or "0")


def _grounded(text: str, known: set[float]) -> bool:
    number = _parsed(text)
    digits = len(text.partition(".")[2].rstrip("%"))
    if number == int(number) and abs(number) <= 10 and not text.endswith("%"):
        return True
    margin = 0.5 * 10.0**-digits
    factors = (1.0, 100.0) if text.endswith("%") else (1.0, 1e-3, 1e-6, 1e-9)
    return any(abs(value * factor - number) <= margin * (1 + 1e-9) for value in known for factor in factors)
