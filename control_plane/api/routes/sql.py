"""Help with writing SQL: checking, formatting, completing, planning."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request

from contracts.identity import Audience
from control_plane.api.access import Authenticated, console_of
from control_plane.api.queries import sql
from control_plane.api.queries.plans import explain
from control_plane.api.schemas.queries import Completion, ExplainStatement, Plan, SqlCheck, SqlText

router = APIRouter(prefix="/api/v1/sql", tags=["sql"])


@router.post("/check")
def check_sql(body: SqlText, _: Authenticated) -> SqlCheck:
    """The statements in a text, and where it can't be read."""
    return sql.check(body.statement)


@router.post("/format")
def format_sql(body: SqlText, _: Authenticated) -> SqlText:
    """The text, laid out. Comments stay."""
    return SqlText(statement=sql.laid_out(body.statement))


@router.post("/explain")
async def explain_sql(body: ExplainStatement, request: Request, caller: Authenticated) -> Plan:
    """Trino's plan for a statement, as the caller."""
    return await explain(console_of(request).queries.trino, partial(caller.token, Audience.TRINO), body)


@router.get("/completion")
async def completion(
    request: Request,
    caller: Authenticated,
    catalog: Annotated[str, Query(min_length=1, max_length=255)] = "lake",
) -> Completion:
    """Names an editor offers, as far as the caller may see them."""
    return await console_of(request).catalogs.completion(caller, catalog)
