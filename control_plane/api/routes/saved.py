"""Kept queries: the caller's own and those shared with their groups."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from control_plane.api.access import Authenticated, console_of
from control_plane.api.keeping import IfMatch, document_of, require_groups, shown, version_of, viewer_of
from control_plane.api.schemas.queries import SavedQuery, SaveQuery
from control_plane.api.storage.kept import KeptStore

router = APIRouter(prefix="/api/v1/saved-queries", tags=["saved queries"])


@router.get("")
def list_saved_queries(
    request: Request, caller: Authenticated, text: Annotated[str, Query(max_length=200)] = ""
) -> list[SavedQuery]:
    """All that the caller may read, the last changed first."""
    return [shown(kept, SavedQuery) for kept in _store(request).all(viewer_of(caller), text)]


@router.post("", status_code=201)
def create_saved_query(
    body: SaveQuery, request: Request, response: Response, caller: Authenticated
) -> SavedQuery:
    """Keeps a query."""
    require_groups(request, caller, body.shares)
    kept = _store(request).create(viewer_of(caller), body.title, document_of(body), body.shares)
    response.headers["Location"] = f"/api/v1/saved-queries/{kept.id}"
    return shown(kept, SavedQuery, response)


@router.get("/{saved_query_id}")
def get_saved_query(
    saved_query_id: UUID, request: Request, response: Response, caller: Authenticated
) -> SavedQuery:
    """One of them."""
    return shown(_store(request).get(viewer_of(caller), saved_query_id), SavedQuery, response)


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
    version = version_of(if_match)
    require_groups(request, caller, body.shares)
    kept = _store(request).update(
        viewer_of(caller), saved_query_id, version, body.title, document_of(body), body.shares
    )
    return shown(kept, SavedQuery, response)


@router.delete("/{saved_query_id}", status_code=204)
def delete_saved_query(
    saved_query_id: UUID, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> None:
    """Removes it; its owner may."""
    _store(request).delete(viewer_of(caller), saved_query_id, version_of(if_match))


def _store(request: Request) -> KeptStore:
    return console_of(request).saved_queries
