"""Kept queries: the caller's own and those shared with their groups."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from control_plane.api.access import Authenticated
from control_plane.api.schemas.queries import SavedQuery, SaveQuery

router = APIRouter(prefix="/api/v1/saved-queries", tags=["saved queries"])

IfMatch = Annotated[
    str | None, Header(description="The ETag that the change is based on; `428` without, `412` when stale.")
]


@router.get("")
def list_saved_queries(
    request: Request, caller: Authenticated, text: Annotated[str, Query(max_length=200)] = ""
) -> list[SavedQuery]:
    """All that the caller may read, the last changed first."""
    raise NotImplementedError


@router.post("", status_code=201)
def create_saved_query(
    body: SaveQuery, request: Request, response: Response, caller: Authenticated
) -> SavedQuery:
    """Keeps a query."""
    raise NotImplementedError


@router.get("/{saved_query_id}")
def get_saved_query(
    saved_query_id: UUID, request: Request, response: Response, caller: Authenticated
) -> SavedQuery:
    """One of them."""
    raise NotImplementedError


@router.put("/{saved_query_id}")
def update_saved_query(
    saved_query_id: UUID,
    body: SaveQuery,
    request: Request,
    response: Response,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> SavedQuery:
    """Replaces it, if it still is as the caller last saw it."""
    raise NotImplementedError


@router.delete("/{saved_query_id}", status_code=204)
def delete_saved_query(
    saved_query_id: UUID, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> None:
    """Removes it; its owner may."""
    raise NotImplementedError
