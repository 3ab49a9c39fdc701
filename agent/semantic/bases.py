"""Which table a question is about, and which of its columns the phrases mean; what is open is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agent.semantic.layer import Meaning, SemanticLayer
from agent.semantic.matching import Span, value_beside
from agent.semantic.model import Kind
from agent.semantic.plan import (
    COUNT,
    Ambiguity,
    Comparison,
    Condition,
    Decline,
    DimensionUse,
    MeasureUse,
    Option,
)
from agent.semantic.undecided import Undecided

_NEAR = 3
"""Tokens between a thing and a value that belong together ("European customers")."""


class Ask:
    """Picks one of several meanings: by the choices that were made already, else by asking."""

    def __init__(self, layer: SemanticLayer, choices: Mapping[str, str]) -> None:
        self.layer, self._choices = layer, choices

    def one(self, key: str, question: str, options: Sequence[tuple[Option, Meaning]]) -> Meaning:
        """The chosen meaning. Raises Undecided with the question when nothing was chosen yet."""
        chosen = self._choices.get(key)
        for option, meaning in options:
            if option.id == chosen:
                return meaning
        raise Undecided(Ambiguity(key=key, question=question, options=tuple(option for option, _ in options)))

    def option(self, meaning: Meaning) -> Option:
        """How a meaning is offered."""
        table = self.layer.tables[meaning.table]
        if meaning.kind == "entity":
            return Option(id=f"{table.id}.{COUNT}", label=f"number of {table.plural}")
        if meaning.kind == "measure":
            measure = table.measures[meaning.name]
            about = measure.description or f"of {table.plural}"
            return Option(id=f"{table.id}.{measure.name}", label=f"{measure.label} ({about})")
        dimension = table.dimensions[meaning.name]
        return Option(id=f"{table.id}.{dimension.name}", label=dimension.label)


@dataclass(frozen=True, kw_only=True)
class BaseChoice:
    """The base table, its measures in the order they were asked for, and what the other phrases mean."""

    ask: Ask
    base: str
    measures: tuple[MeasureUse, ...]
    grouped: tuple[Span, ...]
    listed: tuple[Span, ...] = ()
    shown: tuple[DimensionUse, ...] = ()
    spans: tuple[Span, ...] = ()

    @classmethod
    def after(
        cls, ask: Ask, base: str, spans: Sequence[Span], measures: tuple[MeasureUse, ...]
    ) -> BaseChoice:
        """For a question that goes on from another: every column that is named is grouped by."""
        reach = ask.layer.reach(base)
        grouped = tuple(
            span
            for span in spans
            if not span.of("value") and any(m.table in reach for m in span.of("dimension", "entity"))
        )
        return cls(ask=ask, base=base, measures=measures, grouped=grouped, spans=tuple(spans))

    def _reached(self, meanings: Iterable[Meaning]) -> list[Meaning]:
        reach = self.ask.layer.reach(self.base)
        return [meaning for meaning in meanings if meaning.table in reach]

    def grouped_by(self, span: Span) -> DimensionUse:
        """The column that a span to group by means: a dimension, or what a thing is called by."""
        options = self._reached(span.of("dimension"))
        titled = [
            Meaning(kind="dimension", table=meaning.table, name=title)
            for meaning in self._reached(span.of("entity"))
            if (title := self.ask.layer.tables[meaning.table].title) is not None
        ]
        options = options or titled
        if not options:
            things = [self.ask.layer.tables[meaning.table].plural for meaning in span.of("entity")]
            named = f"{things[0].capitalize()} have" if things else "That column has"
            raise Undecided(Decline(why=f"{named} nothing that rows of this question could be grouped by."))
        meaning = self._decide(options, span)
        return DimensionUse(table=meaning.table, name=meaning.name)

    def _decide(self, options: list[Meaning], span: Span) -> Meaning:
        unique = list(dict.fromkeys(options))
        for narrower in (
            [one for one in unique if one.exact],
            [one for one in unique if one.table == self.base and one.kind == "dimension"],
            self._near(unique, span),
        ):
            if len(narrower) == 1:
                return narrower[0]
        if len(unique) == 1:
            return unique[0]
        key = f"{self.base}:{'|'.join(sorted(f'{one.table}.{one.name}' for one in unique))}"
        labels = " or ".join(self.ask.option(one).label for one in unique)
        values = {value for one in unique for value in one.values}
        what = f"{', '.join(sorted(values))}: is that the {labels}?" if values else f"Which one: {labels}?"
        return self.ask.one(key, what, [(self.ask.option(one), one) for one in unique])

    def _near(self, options: Sequence[Meaning], span: Span) -> list[Meaning]:
        """Those that belong to a thing named beside the span."""
        reach = self.ask.layer.reach(self.base)
        things = {
            meaning.table
            for other in self.spans
            if other is not span and max(other.start - span.end, span.start - other.end) < _NEAR
            for meaning in other.of("entity")
        }
        return [
            one
            for one in options
            if things & {one.table, *(step for step, _ in reach[one.table].steps)} - {self.base}
        ]

    def value_of(self, span: Span, grouped: Sequence[DimensionUse]) -> Meaning | None:
        """The column that a value belongs to; None when the base reaches none."""
        options = self._reached(span.of("value"))
        if not options:
            return None
        column = value_beside(self.spans, span)
        named = {(one.table, one.name) for one in column.of("dimension")} if column else set()
        # What stands right beside it tells first, then a thing near it, then what results are grouped by.
        for narrower in (
            [one for one in options if (one.table, one.name) in named],
            self._near(options, span),
            [one for one in options if (one.table, one.name) in {(use.table, use.name) for use in grouped}],
        ):
            if len({(one.table, one.name) for one in narrower}) == 1:
                return narrower[0]
        return self._decide(options, span)

    def dimension_of(self, span: Span) -> Meaning | None:
        """The column that a span names, None when it names none of the base's."""
        options = self._reached(span.of("dimension"))
        return self._decide(options, span) if options else None

    def numeric_column(self, meaning: Meaning) -> Condition | None:
        """A condition on a number, its comparison still to be set; None when the meaning has none."""
        layer = self.ask.layer
        if meaning.table not in layer.reach(self.base):
            return None
        if meaning.kind == "dimension":
            of_measure = False
            if layer.dimension(meaning.table, meaning.name).kind is not Kind.NUMBER:
                return None
        elif meaning.kind == "measure":
            measure = layer.measure(meaning.table, meaning.name)
            of_measure = True
            if measure is None or measure.aggregate is None or meaning.table != self.base:
                return None
        else:
            return None
        return Condition(
            table=meaning.table,
            name=meaning.name,
            comparison=Comparison.ABOVE,
            values=(),
            of_measure=of_measure,
        )

    def time_of(self, span: Span) -> tuple[str, str] | None:
        """The date column that a span names."""
        for meaning in self._reached(span.of("dimension")):
            if self.ask.layer.dimension(meaning.table, meaning.name).is_time:
                return meaning.table, meaning.name
        return None


def choose_base(
    ask: Ask,
    spans: Sequence[Span],
    measured: Sequence[Span],
    entity: Span | None,
    grouped: Sequence[Span],
    *,
    whole: bool = False,
) -> BaseChoice | Decline:
    """The table that has everything the question names. ``whole``: a column that is listed stands for the
    rows that it is of. Raises Undecided when several tables do."""
    if measured:
        return _measured_base(ask, spans, measured, grouped)
    if entity is None:
        return Decline(why="I don't see what is to be counted, summed up or listed.")
    listed = _listed_base(ask, spans, entity)
    if listed is None:
        return Decline(why="No table that I know has all of what you name together.")
    meaning = listed
    column = DimensionUse(table=meaning.table, name=meaning.name)
    shown = (column,) if meaning.kind == "dimension" and not whole else ()
    others = tuple(span for span in grouped if span is not entity)
    return BaseChoice(
        ask=ask,
        base=meaning.table,
        measures=(),
        grouped=others,
        listed=(entity,),
        shown=shown,
        spans=tuple(spans),
    )


def _measured_base(
    ask: Ask, spans: Sequence[Span], measured: Sequence[Span], grouped: Sequence[Span]
) -> BaseChoice | Decline:
    found = _with_base(ask, spans, measured, grouped, [_measures(span) for span in measured])
    if isinstance(found, Decline) and len(measured) > 1:
        wider = [_counted_elsewhere(ask.layer, _measures(span)) for span in measured]
        return _with_base(ask, spans, measured, grouped, wider)
    return found


def _with_base(
    ask: Ask,
    spans: Sequence[Span],
    measured: Sequence[Span],
    grouped: Sequence[Span],
    candidates: Sequence[tuple[Meaning, ...]],
) -> BaseChoice | Decline:
    bases = dict.fromkeys(meaning.table for meaning in candidates[0])
    feasible = [
        base
        for base in bases
        if all(any(one.table == base for one in candidate) for candidate in candidates)
        and _reaches(ask.layer, base, grouped, ("dimension", "entity"))
    ]
    with_values = [
        base for base in feasible if _reaches(ask.layer, base, _valued(spans, measured), ("value",))
    ]
    if not with_values:
        labels = [ask.option(one[0]).label for one in candidates if one]
        return Decline(
            why=f"I have no table in which {' and '.join(labels)} {'stand' if len(labels) > 1 else 'stands'} "
            "beside all else that you name; ask for one at a time."
        )
    first = {base: next(one for one in candidates[0] if one.table == base) for base in with_values}
    base = _only(ask, first)
    chosen = [_pick(ask, [one for one in candidate if one.table == base]) for candidate in candidates]
    uses = tuple(MeasureUse(table=base, name=one.name or COUNT) for one in chosen)
    return BaseChoice(ask=ask, base=base, measures=uses, grouped=tuple(grouped), spans=tuple(spans))


def _only(ask: Ask, first: Mapping[str, Meaning]) -> str:
    """The one base, by an exact name where there are several. Raises Undecided."""
    if len(first) == 1:
        return next(iter(first))
    exact = [base for base, meaning in first.items() if meaning.exact]
    if len(exact) == 1:
        return exact[0]
    return _pick(ask, list(first.values())).table


def _pick(ask: Ask, meanings: Sequence[Meaning]) -> Meaning:
    measures = [one for one in dict.fromkeys(meanings) if one.kind == "measure"] or list(
        dict.fromkeys(meanings)
    )
    if len(measures) == 1:
        return measures[0]
    key = f"measure:{'|'.join(sorted(f'{one.table}.{one.name}' for one in measures))}"
    options = [(ask.option(one), one) for one in measures]
    return ask.one(key, f"Do you mean {' or '.join(option.label for option, _ in options)}?", options)


def _measures(span: Span) -> tuple[Meaning, ...]:
    return span.of("measure") or span.of("entity")


def _counted_elsewhere(layer: SemanticLayer, meanings: tuple[Meaning, ...]) -> tuple[Meaning, ...]:
    """With the measures of other tables that count the same things."""
    more = [
        one
        for meaning in meanings
        if meaning.kind == "entity"
        for one in layer.counting.get(meaning.table, ())
    ]
    return (*meanings, *more)


def _valued(spans: Sequence[Span], measured: Sequence[Span]) -> list[Span]:
    return [span for span in spans if span.meanings == span.of("value") and span not in measured]


def _reaches(layer: SemanticLayer, base: str, spans: Iterable[Span], kinds: tuple[str, ...]) -> bool:
    reach = layer.reach(base)
    return all(any(meaning.table in reach for meaning in span.of(*kinds)) for span in spans)


def _listed_base(ask: Ask, spans: Sequence[Span], entity: Span) -> Meaning | None:
    """What is listed: a thing rather than a column of the same name; a table that has the values named."""
    values = [span for span in spans if span is not entity and span.meanings == span.of("value")]
    options = entity.of("entity") or entity.of("dimension")
    fitting = [one for one in options if _reaches(ask.layer, one.table, values, ("value",))]
    if not fitting:
        return None
    if entity.of("entity") and len(fitting) > 1:
        return _pick(ask, fitting)
    exact = [one for one in fitting if one.exact]
    return exact[0] if len(exact) == 1 or (exact and len(fitting) > 1) else _pick_dimension(ask, fitting)


def _pick_dimension(ask: Ask, meanings: Sequence[Meaning]) -> Meaning:
    if len(meanings) == 1:
        return meanings[0]
    options = [(ask.option(one), one) for one in meanings]
    key = f"list:{'|'.join(sorted(option.id for option, _ in options))}"
    return ask.one(key, f"Which one: {' or '.join(option.label for option, _ in options)}?", options)
