"""Nodes that are the same for every planner: check, run, verify, chart, narrate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from agent.checks import SqlRefusedError, check_sql, columns_told
from agent.engine import EngineError, Estimate
from agent.results import Shape, chart_of, described, implausible, rule_notes
from agent.state import Move, RunContext, State
from agent.values import RuleNote

_MIB = 1 << 20
MAX_WIDEST_ROWS = 500_000_000
"""Rows that a query may make on its way: a join of everything with everything makes more."""

KEPT_ROWS = 200
"""Rows of a result that are kept with the answer."""


async def check(state: State, context: RunContext) -> Move:
    """One query that only reads, plans, and does not read more than the limit."""
    sql = state["sql"]
    try:
        checked = check_sql(sql, catalog=context.catalog)
    except SqlRefusedError as error:
        return _failed(state, error.what, {"refused": error.what, "sql": sql})
    try:
        estimate = await context.engine.estimate(checked.sql)
    except EngineError as error:
        return _engine_failed(state, error)
    detail: dict[str, Any] = {
        "tables": list(checked.tables),
        "scanned_bytes": estimate.scanned_bytes,
        "widest_rows": estimate.widest_rows,
    }
    why = over_limit(estimate, context.max_scan_mib)
    if why is not None:
        return _failed(state, why, {**detail, "refused": why})
    return Move(goto="run", update={"sql": checked.sql}, detail=detail)


def over_limit(estimate: Estimate, max_scan_mib: int) -> str | None:
    """Why a query is not run for its size; None when it may be. Trino itself ends one that takes more than
    was expected."""
    if estimate.scanned_bytes > max_scan_mib * _MIB:
        return (
            f"the query would read about {estimate.scanned_bytes // _MIB} MiB; {max_scan_mib} MiB are "
            "allowed. A shorter time or fewer columns read less"
        )
    if estimate.widest_rows > MAX_WIDEST_ROWS:
        return (
            f"the query would make about {estimate.widest_rows:,} rows on its way; {MAX_WIDEST_ROWS:,} are "
            "allowed. A join without a condition makes so many"
        )
    return None


async def run(state: State, context: RunContext) -> Move:
    """Runs the query as the user."""
    try:
        found = await context.engine.run(state["sql"])
    except EngineError as error:
        return _engine_failed(state, error)
    result = {
        "columns": list(found.columns),
        "types": list(found.types),
        "rows": [list(row) for row in found.rows],
        "truncated": found.truncated,
    }
    return Move(
        goto="verify",
        update={"result": result, "query_ids": [*state.get("query_ids", []), found.query_id]},
        detail={
            "sql": state["sql"],
            "rows": len(found.rows),
            "truncated": found.truncated,
            "query_seconds": found.elapsed_s,
            "query_id": found.query_id,
        },
    )


async def verify(state: State, context: RunContext) -> Move:
    """Whether the result is plausible, and how the access rules shaped it."""
    shape = shape_of(state)
    notes = implausible(shape)
    tables = sorted(state.get("reads") or {}) or list(check_sql(state["sql"], catalog=context.catalog).tables)
    rules, problem = await context.explain(tables)
    relevant = _relevant(rules, state)
    said = [*notes, *rule_notes(relevant)]
    if problem is not None:
        said.append(problem)
    return Move(
        goto="chart",
        update={"notes": said, "rules": [asdict(rule) for rule in relevant]},
        detail={"rows": len(shape.rows), "notes": notes, "rules": [rule.table for rule in relevant]},
    )


async def chart(state: State, context: RunContext) -> Move:  # noqa: ARG001 - nodes are called alike
    """How the result is best drawn."""
    found = chart_of(shape_of(state), state.get("reading", ""))
    document = {**asdict(found), "kind": found.kind.value}
    return Move(goto="narrate", update={"chart": document}, detail={"kind": found.kind.value})


async def narrate(state: State, context: RunContext) -> Move:
    """Puts the answer together, the SQL with it."""
    decline = state.get("decline")
    result = state.get("result")
    if decline is not None or result is None:
        why = (decline or {}).get("why") or "There is no answer."
        document = _answer(state, text=why, narrator="template")
        return Move(goto="end", update={"answer": document}, detail={"state": "declined"})
    shape = shape_of(state)
    text = await context.planner.narrate(state, context)
    narrator = "template" if text is None else "model"
    document = _answer(state, text=text or described(shape, state.get("reading", "")), narrator=narrator)
    return Move(goto="end", update={"answer": document}, detail={"state": "answered", "narrator": narrator})


def _answer(state: State, *, text: str, narrator: str) -> dict[str, Any]:
    result = state.get("result") if state.get("decline") is None else None
    found: dict[str, Any] = result or {"columns": [], "types": [], "rows": [], "truncated": False}
    return {
        "text": text,
        "reading": state.get("reading", ""),
        "sql": state.get("sql", "") if result else "",
        "columns": found["columns"],
        "types": found["types"],
        "rows": found["rows"][:KEPT_ROWS],
        "row_count": len(found["rows"]),
        "truncated": found["truncated"],
        "chart": state.get("chart") if result else None,
        "notes": state.get("notes", []) if result else [],
        "rules": state.get("rules", []) if result else [],
        "hints": list((state.get("decline") or {}).get("hints", [])),
        "query_ids": state.get("query_ids", []),
        "narrator": narrator,
    }


def shape_of(state: State) -> Shape:
    """The result with what the plan knows of its columns."""
    result: dict[str, Any] = state.get("result") or {
        "columns": [],
        "types": [],
        "rows": [],
        "truncated": False,
    }
    known = {column["name"]: column for column in state.get("columns", [])}
    units = {name: column["unit"] for name, column in known.items() if column.get("unit")}
    grain = next((column["grain"] for column in known.values() if column.get("grain")), None)
    return Shape(
        columns=tuple(result["columns"]),
        types=tuple(result["types"]),
        rows=tuple(tuple(row) for row in result["rows"]),
        truncated=bool(result["truncated"]),
        units=units if known else None,
        shares=tuple(name for name, column in known.items() if column.get("share")),
        grain=grain,
    )


def _relevant(rules: Sequence[RuleNote], state: State) -> list[RuleNote]:
    """Rules that hide rows, and masks of columns that the query tells something of."""
    told = columns_told(state["sql"])
    found = []
    for rule in rules:
        masked = tuple(column for column in rule.masked if column.lower() in told or "*" in told)
        if rule.filters or masked:
            found.append(RuleNote(table=rule.table, filters=rule.filters, masked=masked, hidden=rule.hidden))
    return found


def _failed(state: State, why: str, detail: dict[str, Any]) -> Move:
    attempts = [*state.get("attempts", []), {"sql": state["sql"], "error": why}]
    return Move(goto="repair", update={"attempts": attempts}, detail=detail)


def _engine_failed(state: State, error: EngineError) -> Move:
    detail = {"failed": error.what, "sql": state["sql"], "denied": error.denied, "query_id": error.query_id}
    attempts = [
        *state.get("attempts", []),
        {"sql": state["sql"], "error": error.what, "final": not error.repairable, "denied": error.denied},
    ]
    queries = [*state.get("query_ids", []), *([error.query_id] if error.query_id else [])]
    return Move(goto="repair", update={"attempts": attempts, "query_ids": queries}, detail=detail)
