"""What a model may do: look at tables as the user, propose one query, ask back, decline. Nothing else.

Each is a JSON schema for the model and a check of what it sends; the work is done with the user's token.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.engine import Engine, EngineError
from agent.semantic.layer import SemanticLayer

MAX_LISTED = 200
MAX_VALUES = 50
_MAX_TEXT = 4_000


def _tool(
    name: str, description: str, properties: Mapping[str, Any], required: Sequence[str]
) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": dict(properties), "required": list(required)},
        },
    }


_TEXT = {"type": "string"}

LOOKING = ("search_tables", "describe_table", "distinct_values")
"""Tools whose answers go back to the model."""

TOOLS: tuple[dict[str, Any], ...] = (
    _tool(
        "search_tables",
        "Names of tables that the user may see and that contain a text; an empty text lists all.",
        {"text": _TEXT},
        ["text"],
    ),
    _tool(
        "describe_table",
        "Columns with types and comments of one table, as the user sees it.",
        {"table": {**_TEXT, "description": "namespace.table"}},
        ["table"],
    ),
    _tool(
        "distinct_values",
        "Up to 50 different values of a column, as the user sees them.",
        {"table": {**_TEXT, "description": "namespace.table"}, "column": _TEXT},
        ["table", "column"],
    ),
    _tool(
        "run_query",
        "Answer the question with one Trino SELECT. Tables are named namespace.table.",
        {
            "sql": _TEXT,
            "reading": {**_TEXT, "description": "How you understood the question, as a short noun phrase."},
        },
        ["sql", "reading"],
    ),
    _tool(
        "ask_user",
        "Ask the user when the question can be taken in several ways that give different answers.",
        {"question": _TEXT, "options": {"type": "array", "items": _TEXT}},
        ["question", "options"],
    ),
    _tool(
        "decline",
        "Say why the question can't be answered from these tables.",
        {"reason": _TEXT},
        ["reason"],
    ),
)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look brought: text for the model, and Trino's query for the audit."""

    text: str
    query_id: str | None
    failed: bool = False


def argument(call: Mapping[str, Any], name: str) -> str:
    """A text argument of a tool call, empty when the model sent none or something else."""
    value = (call.get("args") or {}).get(name)
    return value[:_MAX_TEXT].strip() if isinstance(value, str) else ""


async def look(engine: Engine, catalog: str, call: Mapping[str, Any]) -> Looked:
    """Runs one of :data:`LOOKING`. What fails is said to the model."""
    try:
        if call["name"] == "search_tables":
            return await _search(engine, argument(call, "text"))
        if call["name"] == "describe_table":
            return await _describe(engine, _bare(argument(call, "table"), catalog))
        return await _values(
            engine, catalog, _bare(argument(call, "table"), catalog), argument(call, "column")
        )
    except EngineError as error:
        return Looked(text=as_data({"error": error.what}), query_id=error.query_id, failed=True)


async def _search(engine: Engine, text: str) -> Looked:
    found = [name for name in await engine.tables() if text.lower() in name.lower()]
    more = {"more": len(found) - MAX_LISTED} if len(found) > MAX_LISTED else {}
    return Looked(text=as_data({"tables": found[:MAX_LISTED], **more}), query_id=None)


async def _describe(engine: Engine, table: str) -> Looked:
    columns = next(iter((await engine.columns([table])).values()), ())
    if not columns:
        return Looked(text=as_data({"error": f"the user sees no table {table}"}), query_id=None, failed=True)
    try:
        comments = await engine.comments(table)
    except EngineError:
        comments = {}
    described = [
        {
            "name": one.name,
            "type": one.type,
            **({"comment": comments[one.name]} if one.name in comments else {}),
        }
        for one in columns
    ]
    return Looked(
        text=as_data({"table": table, "comment": comments.get("", ""), "columns": described}), query_id=None
    )


async def _values(engine: Engine, catalog: str, table: str, column: str) -> Looked:
    namespace, _, name = table.rpartition(".")
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (catalog, namespace, name))
    field = '"' + column.replace('"', '""') + '"'
    sql = f"SELECT DISTINCT {field} FROM {quoted} ORDER BY 1 LIMIT {MAX_VALUES}"  # noqa: S608 - names are quoted
    found = await engine.run(sql, max_rows=MAX_VALUES)
    return Looked(text=as_data({"values": [row[0] for row in found.rows]}), query_id=found.query_id)


def _bare(table: str, catalog: str) -> str:
    """``namespace.table`` of what a model calls a table."""
    return table.replace('"', "").removeprefix(f"{catalog}.").lower()


def as_data(value: Any) -> str:
    """What comes from tables, marked as what it is. The mark can't be closed from within."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"<data>{text.replace('<', chr(92) + 'u003c')}</data>"


def definitions(layer: SemanticLayer) -> str:
    """The layer's measures for the model: what the words of this house mean in SQL."""
    lines = []
    for table in layer.tables.values():
        for measure in table.measures.values():
            sql = measure.sql if measure.aggregate is None else f"{measure.aggregate.value}({measure.sql})"
            also = f" (also: {', '.join(measure.synonyms)})" if measure.synonyms else ""
            lines.append(f"- {measure.label}{also}: {sql} of {table.table}")
    return "\n".join(lines)


def joins(layer: SemanticLayer) -> str:
    """The layer's joins for the model."""
    found: dict[str, None] = {}
    for table in layer.tables.values():
        for join in table.joins:
            other = layer.tables[join.to].table
            on = " AND ".join(f"{left} = {right}" for left, right in join.columns.items())
            found[f"- {table.table} → {other}: {on}"] = None
    return "\n".join(found)
