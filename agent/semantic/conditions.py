"""Which rows a question is about: values, numbers, texts in quotes and stretches of time. Pure."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Sequence
from dataclasses import replace

from agent.semantic.asking import Form, Limit
from agent.semantic.bases import BaseChoice
from agent.semantic.layer import SemanticLayer
from agent.semantic.matching import Span, value_beside
from agent.semantic.model import Kind
from agent.semantic.plan import Comparison, Condition, Decline, DimensionUse, Grain
from agent.semantic.times import Stretch, Times
from agent.semantic.undecided import Undecided
from agent.semantic.words import Token, TokenKind

_EXCLUDES_WITHIN = 3
"""Tokens between "excluding" and the value that it is about."""


class Conditions:
    """Reads them for one base. ``used`` takes the places of all tokens that are understood."""

    def __init__(
        self,
        layer: SemanticLayer,
        choice: BaseChoice,
        found: Sequence[Token],
        spans: Sequence[Span],
        form: Form,
        times: Times,
        used: set[int],
    ) -> None:
        self._layer, self._choice = layer, choice
        self._tokens, self._spans, self._form, self._times = found, spans, form, times
        self._used = used

    def on_rows(
        self, grouped: Sequence[DimensionUse]
    ) -> tuple[tuple[Condition, ...], tuple[DimensionUse, ...]]:
        """Conditions on values and numbers, and the columns whose values are told apart ("in A and B").
        Raises Undecided."""
        named: dict[tuple[str, str, bool], list[str]] = {}
        separate: dict[tuple[str, str], int] = {}
        for span in self._spans:
            if not span.of("value") or self._used.intersection(span.places):
                continue
            meaning = self._choice.value_of(span, grouped)
            if meaning is None:
                continue
            excluded = any(0 < span.start - at <= _EXCLUDES_WITHIN for at in self._form.excluding)
            named.setdefault((meaning.table, meaning.name, excluded), []).extend(meaning.values)
            key = (meaning.table, meaning.name)
            separate[key] = separate.get(key, 0) + (0 if excluded else 1)
            self._used.update(span.places)
            beside = value_beside(self._spans, span)
            self._used.update(beside.places if beside else ())
        found = [
            Condition(
                table=table,
                name=name,
                comparison=Comparison.NOT_IN if excluded else Comparison.IN,
                values=tuple(dict.fromkeys(values)),
            )
            for (table, name, excluded), values in named.items()
        ]
        found += [self._limit(limit) for limit in self._form.limits]
        found += self._literals()
        told_apart = tuple(DimensionUse(table=t, name=n) for (t, n), count in separate.items() if count > 1)
        return tuple(found), told_apart

    def _limit(self, limit: Limit) -> Condition:
        """A number belongs to the column named nearest to it."""
        near = sorted(
            (span for span in self._spans if span.of("measure", "dimension")),
            key=lambda span: min(abs(span.end - limit.places.start), abs(span.start - limit.places.stop)),
        )
        for span in near[:2]:
            for meaning in span.meanings:
                column = self._choice.numeric_column(meaning)
                if column is not None:
                    self._used.update(span.places)
                    return replace(column, comparison=limit.comparison, values=(limit.value,))
        raise Undecided(
            Decline(why=f"I don't know what is to be compared with {limit.value:g}: name a column beside it.")
        )

    def _literals(self) -> list[Condition]:
        """``job title "Data Engineer"``, ``order number 7``: a column and a value that nobody declared."""
        found = []
        for span in self._spans:
            at = literal_after(self._tokens, span)
            meaning = None if at is None or at in self._used else self._choice.dimension_of(span)
            if at is None or meaning is None:
                continue
            token = self._tokens[at]
            kind = self._layer.dimension(meaning.table, meaning.name).kind
            value = token.number if kind is Kind.NUMBER and token.number is not None else token.text
            self._used.update({at, *span.places})
            found.append(
                Condition(table=meaning.table, name=meaning.name, comparison=Comparison.IN, values=(value,))
            )
        return found

    def on_time(self, *, grouping: bool = True) -> tuple[tuple[Condition, ...], tuple[DimensionUse, ...]]:
        """Conditions on the date that is named, else on the base's own, and the date to group by. Raises
        Undecided."""
        if not (self._times.stretches or self._times.grain):
            return (), ()
        mentioned = [span for span in self._spans if self._choice.time_of(span) is not None]
        base = self._choice.base
        named = next((self._choice.time_of(span) for span in mentioned), None) or self._layer.time_of(base)
        if named is None:
            things = self._layer.tables[base].plural
            raise Undecided(Decline(why=f"{things.capitalize()} have no date in what I know of them."))
        for span in mentioned:
            self._used.update(span.places)
        table, name = named
        conditions = [_range(table, name, stretch) for stretch in _joined(self._times.stretches)]
        grain = self._times.grain
        if grain is None and len(self._times.stretches) > 1 and grouping:
            grain = _common_grain(self._times.stretches)
        use = () if grain is None or not grouping else (DimensionUse(table=table, name=name, grain=grain),)
        return tuple(conditions), use


def literal_after(found: Sequence[Token], span: Span) -> int | None:
    """Where the quoted text or number stands that follows a column's name; None when none does."""
    if not span.of("dimension"):
        return None
    for at in (span.end, span.end + 1):
        if at < len(found) and found[at].kind in (TokenKind.QUOTED, TokenKind.NUMBER):
            between = found[span.end : at]
            if all(token.text.lower() in ("is", "=", "number", "no", "called", "named") for token in between):
                return at
    return None


def _joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Several stretches as one, which they are when they follow each other. Raises Undecided."""
    if len(stretches) < 2:
        return list(stretches)
    ordered = sorted(stretches, key=lambda one: one.start or dt.date.min)
    for one, two in itertools.pairwise(ordered):
        if one.end is None or two.start is None or one.end < two.start:
            raise Undecided(
                Decline(why="These times lie apart; ask for one range, such as 'from 1994 to 1996'.")
            )
    return [Stretch(start=ordered[0].start, end=ordered[-1].end)]


def _range(table: str, name: str, stretch: Stretch) -> Condition:
    values = tuple("" if day is None else day.isoformat() for day in (stretch.start, stretch.end))
    return Condition(table=table, name=name, comparison=Comparison.RANGE, values=values)


def _common_grain(stretches: Sequence[Stretch]) -> Grain:
    days = [(one.end - one.start).days for one in stretches if one.start and one.end]
    longest = max(days, default=365)
    sizes = ((1, Grain.DAY), (7, Grain.WEEK), (31, Grain.MONTH), (92, Grain.QUARTER))
    return next((grain for size, grain in sizes if longest <= size), Grain.YEAR)
