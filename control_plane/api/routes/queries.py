"""Running statements and reading their results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated
from uuid import UUID

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import StreamingResponse

from contracts.identity import Audience
from control_plane.api.access import Authenticated, Caller, console_of
from control_plane.api.problems import ConflictError, GoneError
from control_plane.api.queries.downloads import MEDIA_TYPES, encoded, encoder, fresh_rows, kept_rows
from control_plane.api.queries.service import Queries
from control_plane.api.queries.sql import check
from control_plane.api.schemas.common import Column, Row
from control_plane.api.schemas.queries import (
    DownloadFormat,
    History,
    Query,
    QueryEvent,
    QueryOrigin,
    QueryState,
    RowsPage,
    StartQuery,
)
from governance.parameters import render

router = APIRouter(prefix="/api/v1/queries", tags=["queries"])

MAX_PAGE = 10_000


class NdjsonResponse(StreamingResponse):
    """One JSON document a line."""

    media_type = "application/x-ndjson"


@router.post("", status_code=202)
async def start_query(body: StartQuery, request: Request, caller: Authenticated) -> Query:
    """Starts one statement as the caller. It is canceled when nobody listens to it for a while."""
    origin = QueryOrigin.API if caller.signed.session is None else QueryOrigin.WORKSHEET
    return await _queries(request).start(caller, body, origin)


@router.get("")
async def list_queries(
    request: Request,
    caller: Authenticated,
    text: Annotated[str, Parameter(max_length=200, description="Only statements that hold it.")] = "",
    state: QueryState | None = None,
    saved_query_id: UUID | None = None,
    limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Parameter(max_length=200)] = None,
) -> History:
    """The caller's own history."""
    return await _queries(request).history(
        caller, text=text, state=state, saved_query_id=saved_query_id, limit=limit, cursor=cursor
    )


@router.get("/{query_id}")
async def get_query(query_id: UUID, request: Request, caller: Authenticated) -> Query:
    """One of the caller's queries."""
    return await _queries(request).get(caller, query_id)


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
    query = await _queries(request).readable(caller, query_id)
    return NdjsonResponse(query.events(offset, max_rows), headers={"X-Accel-Buffering": "no"})


@router.get("/{query_id}/rows")
async def get_rows(
    query_id: UUID,
    request: Request,
    caller: Authenticated,
    offset: Annotated[int, Parameter(ge=0)] = 0,
    limit: Annotated[int, Parameter(ge=1, le=MAX_PAGE)] = 1000,
) -> RowsPage:
    """A page of the result, from what the console keeps of it."""
    return await _queries(request).rows(caller, query_id, offset, limit)


@router.get(
    "/{query_id}/download",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The result as a file"}},
)
async def download(
    query_id: UUID, request: Request, caller: Authenticated, format: DownloadFormat = DownloadFormat.CSV
) -> Response:
    """The whole result as a file. One that was cut for want of room, or is not kept any more, is run again,
    straight into the file."""
    queries = _queries(request)
    query = await queries.get(caller, query_id)
    if not query.state.ended:
        raise ConflictError("the query still runs", value=query.state, permitted="one that has finished")
    if query.state not in (QueryState.FINISHED, QueryState.LOST):
        raise ConflictError("the query has no result", value=query.state, permitted="one that has finished")
    live = queries.live(caller, query_id)
    kept = live is not None and live.columns is not None and not live.cut
    columns: Sequence[Column]
    if live is not None and kept:
        columns, source = live.columns or (), kept_rows(live)
    else:
        columns, source = await _again(queries, caller, query)
    headers = {
        "Content-Disposition": f'attachment; filename="query-{str(query_id)[:8]}.{format.value}"',
        "X-Accel-Buffering": "no",
    }
    made = encoder(format, columns)
    return StreamingResponse(encoded(made, source), media_type=MEDIA_TYPES[format], headers=headers)


@router.delete("/{query_id}")
async def cancel_query(query_id: UUID, request: Request, caller: Authenticated) -> Query:
    """Cancels the query, in Trino too; one that has ended stays as it is."""
    return await _queries(request).cancel(caller, query_id)


async def _again(
    queries: Queries, caller: Caller, query: Query
) -> tuple[Sequence[Column], AsyncIterator[list[Row]]]:
    """A query run once more, its first rows there. Only one that changes nothing."""
    checked = await anyio.to_thread.run_sync(check, query.statement)
    if len(checked.statements) != 1 or not checked.statements[0].reads_only:
        raise GoneError(
            "the rows of this query are not kept any more, and it is not one to run again",
            value=query.id,
            permitted="a statement that only reads",
        )
    execution = queries.trino.start(
        render(query.statement, query.parameters).text,
        partial(caller.token, Audience.TRINO),
        catalog=query.catalog,
        namespace=query.namespace,
        tags=("console-download",),
    )
    while (page := await execution.next()) is not None:
        if page.columns is not None:
            return page.columns, fresh_rows(execution, page.rows)
    return (), fresh_rows(execution, [])


def _queries(request: Request) -> Queries:
    return console_of(request).queries
