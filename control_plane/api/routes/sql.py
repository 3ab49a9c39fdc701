"""Help with writing SQL: checking, formatting, completing, planning."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from control_plane.api.access import Authenticated
from control_plane.api.schemas.queries import Completion, ExplainStatement, Plan, SqlCheck, SqlText

router = APIRouter(prefix="/api/v1/sql", tags=["sql"])


@router.post("/check")
def check_sql(body: SqlText, caller: Authenticated) -> SqlCheck:
    """The statements in a text, and where it can't be read."""
    raise NotImplementedError


@router.post("/format")
def format_sql(body: SqlText, caller: Authenticated) -> SqlText:
    """The text, laid out. Comments stay."""
    raise NotImplementedError


@router.post("/explain")
async def explain_sql(body: ExplainStatement, request: Request, caller: Authenticated) -> Plan:
    """Trino's plan for a statement, as the caller."""
    raise NotImplementedError


@router.get("/completion")
async def completion(
    request: Request,
    caller: Authenticated,
    catalog: Annotated[str, Query(min_length=1, max_length=255)] = "lake",
) -> Completion:
    """Names an editor offers, as far as the caller may see them."""
    raise NotImplementedError
