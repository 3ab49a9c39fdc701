"""Plans of statements."""

from __future__ import annotations

from typing import Any

import orjson

from contracts.queues import PAGES_SOURCE
from control_plane.api.queries.trino import SOURCE, Token, Trino, TrinoError
from control_plane.api.schemas.queries import ExplainStatement, Plan, PlanKind
from governance.parameters import render

_PREFIXES = {
    PlanKind.LOGICAL: "EXPLAIN (TYPE LOGICAL, FORMAT JSON) ",
    PlanKind.DISTRIBUTED: "EXPLAIN (TYPE DISTRIBUTED, FORMAT TEXT) ",
    PlanKind.IO: "EXPLAIN (TYPE IO, FORMAT JSON) ",
    PlanKind.VALIDATE: "EXPLAIN (TYPE VALIDATE) ",
    PlanKind.ANALYZE: "EXPLAIN ANALYZE VERBOSE ",
}
_JSON = (PlanKind.LOGICAL, PlanKind.IO)
_ANALYZE_TIMEOUT_S = 600.0
_TIMEOUT_S = 60.0


async def explain(trino: Trino, token: Token, given: ExplainStatement) -> Plan:
    """Trino's plan.

    Raises:
        TrinoError: with the position in the statement as it was given.
        UsageError: parameters are missing or wrong.
    """
    runs = given.kind is PlanKind.ANALYZE
    rendered = render(given.statement, given.parameters).with_prefix(_PREFIXES[given.kind])
    try:
        found = await trino.rows(
            rendered.text,
            token,
            catalog=given.catalog,
            namespace=given.namespace,
            timeout_s=_ANALYZE_TIMEOUT_S if runs else _TIMEOUT_S,
            source=SOURCE if runs else PAGES_SOURCE,
        )
    except TrinoError as error:
        error.line, error.column = rendered.position(error.line, error.column)
        raise
    text = "\n".join(str(value) for row in found.rows for value in row)
    document: Any = orjson.loads(text) if given.kind in _JSON else None
    return Plan(kind=given.kind, text=text, document=document)
