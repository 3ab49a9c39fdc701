"""Running statements and reading their results."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import StreamingResponse

from control_plane.api.access import Authenticated
from control_plane.api.schemas.queries import (
    DownloadFormat,
    History,
    Query,
    QueryEvent,
    QueryState,
    RowsPage,
    StartQuery,
)

router = APIRouter(prefix="/api/v1/queries", tags=["queries"])

MAX_PAGE = 10_000


class NdjsonResponse(StreamingResponse):
    """One JSON document a line."""

    media_type = "application/x-ndjson"


@router.post("", status_code=202)
async def start_query(body: StartQuery, request: Request, caller: Authenticated) -> Query:
    """Starts one statement as the caller. It is canceled when nobody listens to it for a while."""
    raise NotImplementedError


@router.get("")
async def list_queries(
    request: Request,
    caller: Authenticated,
    text: Annotated[str, Parameter(max_length=200, description="Only statements that hold it.")] = "",
    state: QueryState | None = None,
    saved_query_id: UUID | None = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Parameter(max_length=100)] = None,
) -> History:
    """The caller's own history."""
    raise NotImplementedError


@router.get("/{query_id}")
async def get_query(query_id: UUID, request: Request, caller: Authenticated) -> Query:
    """One of the caller's queries."""
    raise NotImplementedError


@router.get("/{query_id}/events", response_class=NdjsonResponse, response_model=QueryEvent)
async def stream_query(
    query_id: UUID,
    request: Request,
    caller: Authenticated,
    offset: Annotated[int, Parameter(ge=0, description="The first row to send.")] = 0,
    max_rows: Annotated[
        int | None, Parameter(ge=0, description="No more rows than these; the others by page.")
    ] = None,
) -> Response:
    """What happens to the query, one JSON document a line: `state`, `columns`, `rows`, and at last `end`.
    A query that runs is canceled when its last listener goes."""
    raise NotImplementedError


@router.get("/{query_id}/rows")
async def get_rows(
    query_id: UUID,
    request: Request,
    caller: Authenticated,
    offset: Annotated[int, Parameter(ge=0)] = 0,
    limit: Annotated[int, Parameter(ge=1, le=MAX_PAGE)] = 1000,
) -> RowsPage:
    """A page of the result, from what the console keeps of it."""
    raise NotImplementedError


@router.get(
    "/{query_id}/download",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The result as a file"}},
)
async def download(
    query_id: UUID, request: Request, caller: Authenticated, format: DownloadFormat = DownloadFormat.CSV
) -> Response:
    """The whole result as a file. One that was stopped at a limit is run again, straight into the file."""
    raise NotImplementedError


@router.delete("/{query_id}")
async def cancel_query(query_id: UUID, request: Request, caller: Authenticated) -> Query:
    """Cancels the query, in Trino too; one that has ended stays as it is."""
    raise NotImplementedError
