"""A question as a plan over the layer, or why it is none. Pure, and the same question gives the same plan.

Nothing is guessed: what may mean two things is asked back, and a word that nothing explains is named instead
of being left out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.semantic.asking import Form, read_form
from agent.semantic.bases import Ask, BaseChoice, choose_base
from agent.semantic.conditions import Conditions, literal_after
from agent.semantic.layer import SemanticLayer
from agent.semantic.matching import (
    FILLERS,
    FORECASTS,
    WRITES,
    Span,
    match_phrases,
    nearest_phrases,
    unknown_words,
    value_beside,
    value_phrases,
)
from agent.semantic.model import AGGREGATE_LABELS, Aggregate
from agent.semantic.plan import (
    Decline,
    DimensionUse,
    Grain,
    MeasureUse,
    NeedsValues,
    Order,
    Outcome,
    Plan,
)
from agent.semantic.times import Times, read_times
from agent.semantic.undecided import Undecided
from agent.semantic.words import Token, tokens

_FOLLOWING = {"and", "what", "how", "only", "now", "also", "same", "by", "for", "in", "per", "instead", "but"}
Values = Mapping[tuple[str, str], Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question with what is known beside it: choices made (ambiguity key → option), values looked up, the
    plan of the question before."""

    text: str
    today: dt.date
    choices: Mapping[str, str] = field(default_factory=dict)
    values: Values = field(default_factory=dict)
    previous: Plan | None = None


def read_question(layer: SemanticLayer, asked: Asked) -> Outcome:
    """What the question means."""
    try:
        return _Reading(layer, asked).plan()
    except Undecided as undecided:
        return undecided.outcome


class _Reading:
    def __init__(self, layer: SemanticLayer, asked: Asked) -> None:
        self.layer, self.asked = layer, asked
        self.tokens: tuple[Token, ...] = tokens(asked.text)
        self._refuse()
        self.times: Times = read_times(self.tokens, frozenset(), asked.today)
        self.spans = match_phrases(layer, self.tokens, self.times.used, value_phrases(asked.values))
        self.form: Form = read_form(self.tokens, self.spans, self.times.used)
        self.used: set[int] = set(self.times.used) | self.form.used
        self.ask = Ask(layer, asked.choices)

    def _refuse(self) -> None:
        if not self.tokens:
            raise Undecided(Decline(why="There is no question."))
        words = [token.text.lower() for token in self.tokens]
        known = {stem for key in self.layer.phrases for stem in key}
        for word in words:
            if word in WRITES and word not in known:
                raise Undecided(Decline(why=f"I only read: I can't {word} anything, with nobody's rights."))
        for word in words:
            if word in FORECASTS and word not in known:
                raise Undecided(
                    Decline(
                        why=f"{word.capitalize()!r} asks for more than counting and summing up what is "
                        "in the tables, which is all that I do: no language model is configured here."
                    )
                )

    # --- the whole ---------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Raises Undecided."""
        self._look_up_named()
        measured = self._measure_spans()
        entity = self._listed_entity(measured)
        if not measured and entity is None:
            following = self._following()
            if following is not None:
                return following
        whole = entity is not None and literal_after(self.tokens, entity) is not None
        grouped = self._grouped_spans(measured)
        choice = choose_base(self.ask, self.spans, measured, entity, grouped, whole=whole)
        if isinstance(choice, Decline):
            raise Undecided(self._or_unknown(choice))
        plan = self._listing(choice) if not measured else self._measuring(choice, measured)
        self._refuse_unknown(plan.base)
        return plan

    def _look_up_named(self) -> None:
        """ "In the People department": what stands before a column may be a value of it."""
        columns: dict[tuple[str, str], None] = {}
        for span in self.spans:
            before = self.tokens[span.start - 1] if span.start else None
            if before is None or self._after_grouping(span) or before.text.lower() in FILLERS:
                continue
            if span.start - 1 in self.form.used or span.start - 1 in self.times.used:
                continue
            for meaning in span.of("dimension"):
                key = (meaning.table, meaning.name)
                if self.layer.dimension(*key).lookup and key not in self.asked.values:
                    columns[key] = None
        if columns:
            raise Undecided(NeedsValues(dimensions=tuple(columns), words=()))

    def _measure_spans(self) -> tuple[Span, ...]:
        """Spans that name a measure, and things that are counted: after "how many", or grouped by something
        where nothing else is measured ("orders by status")."""
        found = [span for span in self.spans if span.of("measure") and not self._is_ranked_by_name(span)]
        found = [span for span in found if not self._is_compared(span)]
        counted = set()
        for at in (*self.form.counting, *self._ranking_words()):
            later = [span for span in self.spans if span.start > at]
            first = next((span for span in later if span.of("measure", "entity")), None)
            if first is not None and first.of("entity") and first not in found:
                counted.add(first.start)
            elif first is not None and first.of("entity") and first.of("measure"):
                counted.discard(first.start)
        found += [span for span in self.spans if span.start in counted]
        if not found and (self.form.grouping or self.times.grain or self.form.share):
            things = [s for s in self.spans if s.of("entity") and not self._after_grouping(s)]
            found += [span for span in things[:1] if self._first_grouping() > span.start]
        return tuple(sorted(found, key=lambda span: span.start))

    def _ranking_words(self) -> tuple[int, ...]:
        """Places of "most" and "fewest" right before a thing ("the most customers")."""
        things = {span.start for span in self.spans if span.of("entity")}
        return tuple(at for at in self.form.superlatives if at + 1 in things)

    def _first_grouping(self) -> float:
        """Where the first "by" stands; after everything else when it was said otherwise ("monthly")."""
        return min(self.form.grouping, default=float("inf"))

    def _is_ranked_by_name(self, span: Span) -> bool:
        """Whether it is rather what is grouped by: after "by" beside a measure that is not grouped by."""
        others = [one for one in self.spans if one is not span and one.of("measure")]
        return bool(others and span.of("dimension") and self._after_grouping(span))

    def _is_compared(self, span: Span) -> bool:
        """Whether it is a column with a bound ("with account balance below 0")."""
        return any(0 <= limit.places.start - span.end <= 1 for limit in self.form.limits)

    def _after_grouping(self, span: Span) -> bool:
        at = span.start - 1
        while at >= 0 and at not in self.form.grouping:
            token = self.tokens[at]
            joined = token.text.lower() in ("and", "the", "or", "then") or any(
                at in s.places for s in self.spans
            )
            if not joined:
                return False
            at -= 1
        return at >= 0

    def _listed_entity(self, measured: Sequence[Span]) -> Span | None:
        """What is listed: the first thing or column that is named where nothing is measured."""
        if measured:
            return None
        entities = [span for span in self.spans if span.of("entity") and not self._after_grouping(span)]
        if entities:
            return entities[0]
        columns = [span for span in self.spans if span.of("dimension")]
        opening = (s for s in columns if self._opens(s) or literal_after(self.tokens, s) is not None)
        return next(opening, None)

    def _opens(self, span: Span) -> bool:
        """Whether the question is about it: "which job titles are there"."""
        before = {token.text.lower() for token in self.tokens[: span.start]}
        return bool(before & {"which", "what", "list", "show", "all", "display", "give", "name"})

    def _grouped_spans(self, measured: Sequence[Span]) -> tuple[Span, ...]:
        """What results are grouped by: after "by", after "which" and "top 5", and columns left over."""
        found = []
        for span in self.spans:
            if span in measured or not span.of("dimension", "entity") or self._is_compared(span):
                continue
            if literal_after(self.tokens, span) is not None:
                continue
            if self._after_grouping(span) or self._is_subject(span):
                found.append(span)
            elif span.of("dimension") and measured and value_beside(self.spans, span) is None:
                times = [m for m in span.of("dimension") if self.layer.dimension(m.table, m.name).is_time]
                if not times:
                    found.append(span)
        return tuple(found)

    def _is_subject(self, span: Span) -> bool:
        """Whether it is what is ranked: "which nation has …", "top 5 customers by …", "who earns …"."""
        if self.form.top is not None and span.start == self.form.top.at + 2:
            return True
        ranked = self.form.superlatives or self.form.top
        words = [token.text.lower() for token in self.tokens[max(0, span.start - 2) : span.start]]
        own = self.tokens[span.start].text.lower()
        return bool(ranked) and bool({"which", "what"} & set(words) or own == "who")

    # --- with a measure ----------------------------------------------------------------------------

    def _measuring(self, choice: BaseChoice, measured: Sequence[Span]) -> Plan:
        dimensions = self._dimensions(choice)
        measures = tuple(
            self._aggregated(use, span, bool(dimensions))
            for span, use in zip(measured, choice.measures, strict=True)
        )
        for span in measured:
            self.used.update(span.places)
        conditions_of = self._conditions_of(choice)
        conditions, implied = conditions_of.on_rows(dimensions)
        dimensions = (*dimensions, *(one for one in implied if one not in dimensions))
        times, dated = conditions_of.on_time()
        dimensions = (*dated, *dimensions)
        order, limit = self._ranking(bool(dimensions), measures)
        if self.form.share and not dimensions:
            raise Undecided(Decline(why="A share needs parts: say by what, for example 'by region'."))
        if self.form.recency is not None:
            raise Undecided(Decline(why="Numbers have no first or last one; name a stretch of time instead."))
        if (self.form.top or self._ranking_words()) and not dimensions:
            raise Undecided(
                Decline(why="There is nothing to rank: say what, for example 'top 5 customers by …'.")
            )
        return Plan(
            base=choice.base,
            measures=measures,
            dimensions=dimensions,
            conditions=(*conditions, *times),
            order=order,
            limit=limit,
            share=self.form.share,
        )

    def _conditions_of(self, choice: BaseChoice) -> Conditions:
        return Conditions(self.layer, choice, self.tokens, self.spans, self.form, self.times, self.used)

    def _aggregated(self, use: MeasureUse, span: Span, grouped: bool) -> MeasureUse:
        measure = self.layer.measure(use.table, use.name)
        asked = self._aggregate_before(span)
        if measure is None or measure.aggregate is None:
            harmless = (None, Aggregate.SUM)
            if asked not in harmless and not (grouped and asked in (Aggregate.MIN, Aggregate.MAX)):
                label = measure.label if measure else f"number of {self.layer.tables[use.table].plural}"
                raise Undecided(
                    Decline(
                        why=f"{label.capitalize()} is one number for a set of rows; "
                        f"there is no {AGGREGATE_LABELS[asked] if asked else ''} of it."
                    )
                )
            return use
        allowed = (measure.aggregate, *measure.aggregates)
        if asked is None:
            return replace(use, aggregate=measure.aggregate)
        if asked not in allowed:
            names = ", ".join(AGGREGATE_LABELS[one] for one in allowed)
            why = f"Of {measure.label} I have the {names}, not the {AGGREGATE_LABELS[asked]}."
            raise Undecided(Decline(why=why))
        return replace(use, aggregate=asked)

    def _aggregate_before(self, span: Span) -> Aggregate | None:
        """The nearest word such as "average" before a measure, with nothing but values between."""
        found = None
        for at in range(span.start - 1, max(-1, span.start - 5), -1):
            if at in self.form.aggregates:
                aggregate = self.form.aggregates[at]
                if found is None or found in (Aggregate.MIN, Aggregate.MAX):
                    found = aggregate
            elif any(at in other.places and other.of("measure") for other in self.spans):
                break
        return found

    def _dimensions(self, choice: BaseChoice) -> tuple[DimensionUse, ...]:
        found: list[DimensionUse] = []
        for span in choice.grouped:
            use = self._with_grain(choice.grouped_by(span))
            self.used.update(span.places)
            if use not in found:
                found.append(use)
        return tuple(found)

    def _with_grain(self, use: DimensionUse) -> DimensionUse:
        if not self.layer.dimension(use.table, use.name).is_time:
            return use
        return replace(use, grain=self.times.grain or Grain.MONTH)

    def _ranking(self, grouped: bool, measures: Sequence[MeasureUse] = ()) -> tuple[Order | None, int | None]:
        if not grouped or not measures:
            return None, None
        if self.form.top is not None:
            return self.form.top.order, self.form.top.count
        ranked = next(iter(self.form.superlatives.values()), None)
        if any(self._is_subject(span) for span in self.spans):
            return ranked, None if ranked is None else 1
        return ranked, None

    # --- without a measure -------------------------------------------------------------------------

    def _listing(self, choice: BaseChoice) -> Plan:
        table = self.layer.tables[choice.base]
        listed = [span for span in choice.listed if literal_after(self.tokens, span) is None]
        self.used.update(place for span in listed for place in span.places)
        shown = choice.shown or tuple(DimensionUse(table=table.id, name=name) for name in table.show)
        if not shown:
            raise Undecided(Decline(why=f"I can count {table.plural}, but not list them one by one."))
        grouped = self._dimensions(choice)
        conditions_of = self._conditions_of(choice)
        conditions, _ = conditions_of.on_rows(())
        times, _ = conditions_of.on_time(grouping=False)
        ranked = self.form.top is not None and self.form.top.ranked
        if ranked or self.form.superlatives or self.form.aggregates or self.form.share:
            raise Undecided(Decline(why=f"I don't see by which number {table.plural} are to be compared."))
        order, limit = None, None
        if self.form.top is not None:
            limit = self.form.top.count
        if self.form.recency is not None:
            found = self.layer.time_of(choice.base)
            if found is None:
                raise Undecided(Decline(why=f"{table.plural.capitalize()} have no date to order them by."))
            several = any(
                self.tokens[s.end - 1].text.lower() != self.tokens[s.end - 1].stem for s in choice.listed
            )
            order, limit = self.form.recency[0], self.form.recency[1] or limit or (10 if several else 1)
            use = DimensionUse(table=found[0], name=found[1])
            shown = (use, *(one for one in shown if one != use))
        return Plan(
            base=choice.base,
            distinct=bool(choice.shown),
            dimensions=tuple(dict.fromkeys([*shown, *grouped])),
            conditions=(*conditions, *times),
            order=order,
            limit=limit,
        )

    # --- what is left ------------------------------------------------------------------------------

    def _refuse_unknown(self, base: str) -> None:
        for span in self.spans:
            words = " ".join(token.text for token in self.tokens[span.start : span.end])
            harmless = words.lower() == "who" or any(
                meaning.table in self.layer.reach(base) for meaning in span.of("entity", "dimension")
            )
            if not harmless and not self.used.intersection(span.places):
                table = self.layer.tables[base]
                raise Undecided(Decline(why=f"I can't relate {words!r} to {table.plural}."))
        matched = {place for span in self.spans for place in span.places}
        unused = self.form.excluding if not self._excluded() else []
        left = tuple(unknown_words(self.tokens, (self.used | matched) - set(unused)))
        if left:
            self._look_up_or_decline(base, left)

    def _excluded(self) -> bool:
        """Whether every "excluding" has a value that it is about."""
        values = [span.start for span in self.spans if span.of("value")]
        return all(any(0 < start - at <= 3 for start in values) for at in self.form.excluding)

    def _look_up_or_decline(self, base: str, left: Sequence[Token]) -> None:
        columns = tuple(
            (reach.table.id, dimension.name)
            for reach in self.layer.reach(base).values()
            for dimension in reach.table.dimensions.values()
            if dimension.lookup and (reach.table.id, dimension.name) not in self.asked.values
        )
        words = tuple(token.text for token in left)
        if columns:
            raise Undecided(NeedsValues(dimensions=columns, words=words))
        raise Undecided(self._unknown(left))

    def _unknown(self, left: Sequence[Token]) -> Decline:
        words = ", ".join(repr(token.text) for token in left)
        return Decline(
            why=f"I don't know what {words} means here, and I leave nothing out.",
            hints=tuple(f"{phrase}?" for phrase in nearest_phrases(self.layer, left)),
        )

    def _or_unknown(self, decline: Decline) -> Decline:
        """A word that nothing explains is the better reason."""
        matched = {place for span in self.spans for place in span.places}
        left = tuple(unknown_words(self.tokens, self.used | matched))
        return self._unknown(left) if left else decline

    # --- after another question --------------------------------------------------------------------

    def _following(self) -> Plan | None:
        """The plan before with what this question changes; None when it does not follow one."""
        before = self.asked.previous
        opening = self.tokens[0].text.lower() in _FOLLOWING
        if before is None or not (opening or self.times.stretches or self.spans):
            return None
        choice = BaseChoice.after(self.ask, before.base, self.spans, before.measures)
        grouped = self._dimensions(choice)
        conditions_of = self._conditions_of(choice)
        conditions, implied = conditions_of.on_rows((*before.dimensions, *grouped))
        times, dated = conditions_of.on_time()
        if not (grouped or conditions or times or dated or self.form.top or self.form.superlatives):
            return None
        new = (*dated, *grouped, *implied)
        adding = {"also", "too", "additionally"} & {token.text.lower() for token in self.tokens}
        kept = before.dimensions if adding or not (grouped or dated) else ()
        replaced = {(one.table, one.name) for one in (*conditions, *times)}
        order, limit = self._ranking(True, before.measures)
        plan = replace(
            before,
            dimensions=tuple(dict.fromkeys([*kept, *new])),
            conditions=(
                *(one for one in before.conditions if (one.table, one.name) not in replaced),
                *conditions,
                *times,
            ),
            order=order or (before.order if not new else None),
            limit=limit or (before.limit if not new else None),
        )
        self._refuse_unknown(plan.base)
        return plan
