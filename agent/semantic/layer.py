"""All models together: which table reaches which, and what every phrase may mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from agent.semantic.model import (
    Aggregate,
    Dimension,
    LogicalTable,
    Measure,
    SemanticModel,
    parse_model,
)
from agent.semantic.words import stems
from contracts.errors import UsageError, unknown_name

BUILT_IN = Path(__file__).with_name("models")
MAX_DOCUMENT_BYTES = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Reach:
    """A table that a base table reaches: ``steps`` are pairs of table id and index into its joins, from the
    base on."""

    table: LogicalTable
    steps: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """One thing that a phrase may stand for. ``exact``: by the thing's own label, not by a synonym."""

    kind: str
    table: str
    name: str = ""
    values: tuple[str, ...] = ()
    aggregate: Aggregate | None = None
    exact: bool = False


class SemanticLayer:
    """The models, checked against each other.

    Args:
        models: their names differ.

    Raises:
        UsageError: a join leads nowhere, back or by two ways to one table, or a time is no date.
    """

    def __init__(self, models: Iterable[SemanticModel]) -> None:
        self.models: dict[str, SemanticModel] = {}
        for model in models:
            if model.name in self.models:
                raise UsageError("two models have one name", value=model.name, permitted="another name")
            self.models[model.name] = model
        self.tables: dict[str, LogicalTable] = {
            table.id: table for model in self.models.values() for table in model.tables.values()
        }
        self._reach = {name: self._reachable(name) for name in self.tables}
        for table in self.tables.values():
            self.time_of(table.id)
        self.counting = self._counting()

    def _reachable(self, base: str) -> dict[str, Reach]:
        found: dict[str, Reach] = {}

        def visit(name: str, steps: tuple[tuple[str, int], ...]) -> None:
            if name in found:
                raise UsageError(
                    f"{base} reaches {name} in two ways, so that its columns would be ambiguous",
                    value=" and ".join(_path(way) for way in (found[name].steps, steps)),
                    permitted="a table of its own for each role, such as ship_nation and bill_nation",
                )
            if len(steps) > len(self.tables):
                raise UsageError("joins form a circle", value=_path(steps))
            found[name] = Reach(table=self.tables[name], steps=steps)
            for index, join in enumerate(self.tables[name].joins):
                if join.to not in self.tables:
                    raise unknown_name(f"table that {name} joins", join.to, self.tables)
                visit(join.to, (*steps, (name, index)))

        visit(base, ())
        return found

    def reach(self, base: str) -> Mapping[str, Reach]:
        """The tables whose columns can stand beside a row of ``base``, itself included."""
        return self._reach[base]

    def time_of(self, base: str) -> tuple[str, str] | None:
        """Table and dimension that times mean for ``base``: its own, or a reached ``table.dimension``."""
        table = self.tables[base]
        if table.time is None:
            return None
        owner, _, name = table.time.rpartition(".")
        target = f"{base.partition('.')[0]}.{owner}" if owner else base
        if target not in self._reach[base] or name not in self.tables[target].dimensions:
            raise UsageError(f"the time of {base} is no dimension that it reaches", value=table.time)
        if not self.tables[target].dimensions[name].is_time:
            raise UsageError(f"the time of {base} is no date", value=table.time, permitted="type: date")
        return target, name

    def dimension(self, table: str, name: str) -> Dimension:
        return self.tables[table].dimensions[name]

    def measure(self, table: str, name: str) -> Measure | None:
        """None for ``count``, which every entity has: the number of its rows."""
        return self.tables[table].measures.get(name)

    def _counting(self) -> Mapping[str, tuple[Meaning, ...]]:
        """Measures of other tables that count a table's rows, too."""
        found: dict[str, tuple[Meaning, ...]] = {}
        for table in self.tables.values():
            for measure in table.measures.values():
                if measure.counts is not None:
                    if measure.counts not in self.tables:
                        raise unknown_name(f"table that {table.id} counts", measure.counts, self.tables)
                    meaning = Meaning(kind="measure", table=table.id, name=measure.name)
                    found[measure.counts] = (*found.get(measure.counts, ()), meaning)
        return found

    @cached_property
    def phrases(self) -> Mapping[tuple[str, ...], tuple[Meaning, ...]]:
        """What every phrase may mean, by its stems."""
        found: dict[tuple[str, ...], dict[Meaning, None]] = {}
        for phrase, meaning in self._all_phrases():
            key = stems(phrase)
            if key:
                found.setdefault(key, {})[meaning] = None
        return {key: tuple(meanings) for key, meanings in found.items()}

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest phrase."""
        return max((len(key) for key in self.phrases), default=1)

    def _all_phrases(self) -> Iterator[tuple[str, Meaning]]:
        for table in self.tables.values():
            if table.entity:
                for word in (table.label, table.plural, *table.synonyms):
                    yield word, Meaning(kind="entity", table=table.id)
            for dimension in table.dimensions.values():
                yield from _dimension_phrases(table, dimension)
            for measure in table.measures.values():
                yield from _measure_phrases(table, measure)


def _dimension_phrases(table: LogicalTable, dimension: Dimension) -> Iterator[tuple[str, Meaning]]:
    def meaning(exact: bool) -> Meaning:
        return Meaning(kind="dimension", table=table.id, name=dimension.name, exact=exact)

    yield dimension.label, meaning(True)
    yield f"{table.label} {dimension.label}", meaning(True)
    for word in dimension.synonyms:
        yield word, meaning(False)
    for value, words in dimension.values.items():
        for word in (value, *words):
            yield word, Meaning(kind="value", table=table.id, name=dimension.name, values=(value,))
    for group, members in dimension.groups.items():
        yield group, Meaning(kind="value", table=table.id, name=dimension.name, values=members)


AGGREGATE_WORDS: Mapping[Aggregate, tuple[str, ...]] = {
    Aggregate.SUM: ("total", "sum of", "sum", "overall"),
    Aggregate.AVG: ("average", "avg", "mean"),
    Aggregate.MIN: ("minimum", "min", "lowest", "smallest", "least", "cheapest", "earliest", "shortest"),
    Aggregate.MAX: ("maximum", "max", "highest", "largest", "biggest", "greatest", "latest", "longest"),
    Aggregate.MEDIAN: ("median", "typical"),
}


def _measure_phrases(table: LogicalTable, measure: Measure) -> Iterator[tuple[str, Meaning]]:
    for position, word in enumerate((measure.label, *measure.synonyms)):
        yield word, Meaning(kind="measure", table=table.id, name=measure.name, exact=position == 0)


def read_models(texts: Mapping[str, str]) -> tuple[SemanticModel, ...]:
    """Models from YAML by what they are called in errors. Raises UsageError."""
    return tuple(read_model(text, where=where) for where, text in texts.items())


def read_model(text: str, *, where: str) -> SemanticModel:
    """One model from YAML. Raises UsageError when it is too long, no YAML or no model."""
    if len(text.encode()) > MAX_DOCUMENT_BYTES:
        raise UsageError(f"{where} is too long", permitted=f"{MAX_DOCUMENT_BYTES} bytes")
    try:
        document: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    return parse_model(document, where=where)


def built_in_models() -> tuple[SemanticModel, ...]:
    """Those of the sample tables."""
    files = sorted(BUILT_IN.glob("*.yaml"))
    return read_models({file.name: file.read_text(encoding="utf-8") for file in files})


def layer_of(more: Sequence[SemanticModel] = ()) -> SemanticLayer:
    """The built-in models and ``more``."""
    return SemanticLayer([*built_in_models(), *more])


def _path(steps: tuple[tuple[str, int], ...]) -> str:
    return " → ".join(name for name, _ in steps)
