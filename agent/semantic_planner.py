"""The planner without a model: questions are read against the semantic layer, SQL is built from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agent.engine import EngineError
from agent.semantic.layer import SemanticLayer
from agent.semantic.matching import FILLERS
from agent.semantic.model import Unit
from agent.semantic.plan import (
    Ambiguity,
    Comparison,
    Condition,
    Decline,
    NeedsValues,
    Order,
    Plan,
    plan_from_json,
    plan_to_json,
)
from agent.semantic.reading import Asked, read_question
from agent.semantic.sql import Statement, measure_label, statement_of
from agent.semantic.words import stems
from agent.state import Move, RunContext, State, declined

NAME = "semantic layer"
_LOOKED_UP = 500
_ASKS = 3
_SHOWN_MEASURES = 24


class SemanticPlanner:
    """Implements :class:`agent.state.Planner`. ``layer`` is as it is when the run begins."""

    name = NAME

    def __init__(self, layer: SemanticLayer) -> None:
        self._layer = layer

    async def understand(self, state: State, context: RunContext) -> Move:
        previous = next((one["plan"] for one in reversed(state.get("history", [])) if one.get("plan")), None)
        outcome = read_question(
            self._layer,
            Asked(
                text=state["question"],
                today=context.today,
                choices=state.get("choices", {}),
                values={(table, name): tuple(found) for table, name, found in state.get("values", [])},
                previous=None if previous is None else plan_from_json(previous),
            ),
        )
        if isinstance(outcome, Decline):
            hints = outcome.hints or (f"I know of {things_of(self._layer)}.",)
            return declined(outcome.why, *hints)
        if isinstance(outcome, Ambiguity):
            ask = {
                "key": outcome.key,
                "question": outcome.question,
                "options": [{"id": one.id, "label": one.label} for one in outcome.options],
            }
            return Move(goto="ask", update={"ask": ask}, detail={"ambiguous": outcome.question})
        if isinstance(outcome, NeedsValues):
            needs = [list(one) for one in outcome.dimensions]
            return Move(goto="find_tables", update={"needs": needs}, detail={"words": list(outcome.words)})
        reading = reading_of(self._layer, outcome)
        return Move(
            goto="find_tables",
            update={"plan": plan_to_json(outcome), "reading": reading, "needs": []},
            detail={"reading": reading},
        )

    async def answered(self, state: State, context: RunContext, text: str) -> Move:  # noqa: ARG002 - as the protocol asks
        ask = state.get("ask") or {}
        chosen = chosen_option(ask.get("options", []), text)
        asked = state.get("asked", 0) + 1
        if chosen is None and asked >= _ASKS:
            return declined(
                "I could not make out which one you mean; ask again with its name in the question."
            )
        if chosen is None:
            again = {**ask, "question": f"{text!r} is none of them. {ask['question']}"}
            return Move(goto="ask", update={"ask": again, "asked": asked}, detail={"answer": text[:200]})
        choices = {**state.get("choices", {}), ask["key"]: chosen}
        return Move(
            goto="understand",
            update={"choices": choices, "ask": None, "asked": 0},
            detail={"answer": text[:200], "chosen": chosen},
        )

    async def find_tables(self, state: State, context: RunContext) -> Move:
        """What the user may see of the tables that are needed."""
        needs = [(table, name) for table, name in state.get("needs", [])]
        wanted = self._wanted(state, needs, context.catalog)
        try:
            visible = await context.engine.columns(sorted(wanted))
        except EngineError as error:
            return declined(f"The tables can't be looked at: {error.what}")
        columns = {table: [column.name.lower() for column in found] for table, found in visible.items()}
        detail = {"visible": sorted(columns), "wanted": sorted(wanted)}
        if needs:
            return Move(goto="look", update={"tables": columns}, detail=detail)
        for table, read in sorted(wanted.items()):
            if table not in columns:
                return declined(
                    f"Your question needs {table}, of which you may see nothing.",
                    "Ask a data steward for a grant, or a question about other tables.",
                    **detail,
                )
            hidden = sorted(read - set(columns[table]))
            if hidden:
                return declined(
                    f"Your question needs {', '.join(hidden)} of {table}, which you may not see.",
                    **detail,
                )
        return Move(goto="plan", update={"tables": columns}, detail=detail)

    def _wanted(
        self, state: State, needs: Iterable[tuple[str, str]], catalog: str
    ) -> dict[str, frozenset[str]]:
        if needs:
            tables = {self._layer.tables[table].table for table, _ in needs}
            return {table: frozenset() for table in tables}
        return dict(self._statement(state, catalog).reads)

    def _statement(self, state: State, catalog: str) -> Statement:
        return statement_of(self._layer, plan_from_json(state["plan"]), catalog=catalog)

    async def look(self, state: State, context: RunContext) -> Move:
        """Reads the values of columns that words of the question may be; empty where the user sees none."""
        found: list[Any] = [*state.get("values", [])]
        query_ids = [*state.get("query_ids", [])]
        for table, name in state.get("needs", []):
            logical = self._layer.tables[table]
            dimension = logical.dimensions[name]
            values: list[str] = []
            if logical.table in state.get("tables", {}):
                use = Plan(base=table, dimensions=(_use(table, name),), distinct=True, limit=_LOOKED_UP)
                statement = statement_of(self._layer, use, catalog=context.catalog)
                try:
                    result = await context.engine.run(statement.sql, max_rows=_LOOKED_UP)
                except EngineError as error:
                    await context.step(
                        "look", {"column": dimension.label, "failed": error.what}, error.query_id
                    )
                else:
                    values = [str(row[0]) for row in result.rows if row[0] is not None]
                    query_ids.append(result.query_id)
                    await context.step(
                        "look", {"column": dimension.label, "values": len(values)}, result.query_id
                    )
            found.append([table, name, values])
        return Move(goto="understand", update={"values": found, "query_ids": query_ids, "needs": []})

    async def plan(self, state: State, context: RunContext) -> Move:
        statement = self._statement(state, context.catalog)
        columns = [
            {
                "name": column.name,
                "label": column.label,
                "unit": None if column.unit is None else column.unit.value,
                "grain": None if column.grain is None else column.grain.value,
                "share": column.unit is Unit.RATIO and column.label.startswith("share of "),
            }
            for column in statement.columns
        ]
        reads = {table: sorted(found) for table, found in statement.reads.items()}
        return Move(goto="write_sql", update={"columns": columns, "reads": reads}, detail={"reads": reads})

    async def write_sql(self, state: State, context: RunContext) -> Move:
        sql = self._statement(state, context.catalog).sql
        return Move(goto="check", update={"sql": sql}, detail={"sql": sql})

    async def repair(self, state: State, context: RunContext) -> Move:  # noqa: ARG002 - as the protocol asks
        """There is one SQL for a plan: what Trino makes of it is the answer."""
        error = str(state["attempts"][-1]["error"])
        return declined(f"The query could not be run: {error}")

    async def narrate(self, state: State, context: RunContext) -> str | None:  # noqa: ARG002 - as the protocol asks
        return None


def _use(table: str, name: str) -> Any:
    from agent.semantic.plan import DimensionUse

    return DimensionUse(table=table, name=name)


def chosen_option(options: Sequence[dict[str, Any]], text: str) -> str | None:
    """The option that an answer names: by its number, its label or a part that no other has."""
    said = " ".join(stem for stem in stems(text) if stem not in FILLERS)
    if text.strip().isdecimal() and 1 <= int(text) <= len(options):
        return str(options[int(text) - 1]["id"])
    labels = {str(one["id"]): " ".join(stems(str(one["label"]))) for one in options}
    for test in (
        lambda key, label: text.strip() == key or said == label,
        lambda _, label: bool(said) and label.startswith(said),
        lambda _, label: bool(said) and said in label,
    ):
        found = [key for key, label in labels.items() if test(key, label)]
        if len(found) == 1:
            return found[0]
    return None


def reading_of(layer: SemanticLayer, plan: Plan) -> str:
    """How a question was understood, in words."""
    measures = " and ".join(measure_label(layer, use) for use in plan.measures)
    names = [
        f"{use.grain.value}" if use.grain else layer.dimension(use.table, use.name).label
        for use in plan.dimensions
    ]
    if not measures:
        text = f"{'different ' if plan.distinct else ''}{', '.join(names)}"
        text += "" if plan.distinct else f" of {layer.tables[plan.base].plural}"
    else:
        text = f"{'share of ' if plan.share else ''}{measures}"
        text += f" by {' and '.join(names)}" if names else ""
    conditions = [_condition_text(layer, one) for one in plan.conditions]
    text += f", {', '.join(conditions)}" if conditions else ""
    if plan.order is not None or plan.limit is not None:
        ranked = {Order.ASCENDING: "lowest", Order.DESCENDING: "highest", None: "first"}[plan.order]
        if not measures and plan.order is not None:
            ranked = "oldest" if plan.order is Order.ASCENDING else "latest"
        text += (
            f", the {ranked}{f' {plan.limit}' if plan.limit else ''} first"
            if plan.limit is None
            else (f", the {ranked} {plan.limit}")
        )
    return text


def _condition_text(layer: SemanticLayer, condition: Condition) -> str:
    if condition.of_measure:
        measure = layer.measure(condition.table, condition.name)
        label = measure.label if measure else condition.name
    else:
        label = layer.dimension(condition.table, condition.name).label
    if condition.comparison is Comparison.RANGE:
        start, end = (str(value) for value in condition.values)
        if start and end:
            return f"{label} from {start} to before {end}"
        return f"{label} from {start} on" if start else f"{label} before {end}"
    values = " or ".join(
        f"{value:g}" if isinstance(value, float) else str(value) for value in condition.values
    )
    words = {Comparison.IN: "is", Comparison.NOT_IN: "is not"}.get(
        condition.comparison, condition.comparison.value
    )
    return f"{label} {words} {values}"


def things_of(layer: SemanticLayer) -> str:
    """What questions may be about, in one line."""
    return ", ".join(dict.fromkeys(table.plural for table in layer.tables.values() if table.entity))


def measures_of(layer: SemanticLayer) -> tuple[str, ...]:
    """What can be asked for, by label."""
    found = [measure.label for table in layer.tables.values() for measure in table.measures.values()]
    found += [f"number of {table.plural}" for table in layer.tables.values() if table.entity]
    return tuple(dict.fromkeys(found))


def dimensions_of(layer: SemanticLayer) -> tuple[str, ...]:
    """By what it can be told apart, by label."""
    labels = [one.label for table in layer.tables.values() for one in table.dimensions.values()]
    return tuple(dict.fromkeys(labels))


SUMMARY = (
    "No language model is configured. Questions are read word by word against a semantic layer (measures, "
    "dimensions and joins in YAML) and answered by one query with your own rights. I count, sum up, rank and "
    "list. I don't forecast, explain causes or join what the layer does not join, and a word that I don't "
    "know I name instead of leaving it out."
)
