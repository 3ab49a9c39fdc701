"""Uploads, looks into them, and ingests, of workspaces that the caller works in."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request

from control_plane.api.access import Authenticated, console_of
from control_plane.api.schemas.workspaces import (
    Ingest,
    IngestPreview,
    IngestProgress,
    IngestResult,
    IngestState,
    PreviewIngest,
    StartIngest,
    Upload,
    UploadState,
    failure_of,
)
from control_plane.api.storage.models import IngestRow, UploadRow
from ingestion.words import Mode

router = APIRouter(prefix="/api/v1/workspaces/{workspace_id}", tags=["ingests"])

_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file as it is.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_Filename = Annotated[
    str,
    Query(
        min_length=1,
        max_length=255,
        pattern=r"^[^\x00-\x1f/\\]+$",
        description="Its name tells a text's format.",
        examples=["leads.csv"],
    ),
]


@router.get("/uploads")
async def list_uploads(workspace_id: UUID, request: Request, caller: Authenticated) -> list[Upload]:
    """Files in the spool, newest first; each goes a day after it came."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    return [upload_of(row) for row in await console.ingests.list_uploads(workspace)]


@router.post("/uploads", status_code=201, openapi_extra=_FILE)
async def upload_file(
    workspace_id: UUID, filename: _Filename, request: Request, caller: Authenticated
) -> Upload:
    """Takes a CSV, TSV, JSON lines or Parquet file (text: plain, gzip or zstd), as the request's body."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    length = request.headers.get("content-length")
    row = await console.ingests.receive(
        caller, workspace, filename, None if length is None else int(length), request.stream()
    )
    return upload_of(row)


@router.get("/uploads/{upload_id}")
async def get_upload(workspace_id: UUID, upload_id: UUID, request: Request, caller: Authenticated) -> Upload:
    """One of them."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    return upload_of(await console.ingests.upload(workspace, upload_id))


@router.delete("/uploads/{upload_id}", status_code=204)
async def remove_upload(workspace_id: UUID, upload_id: UUID, request: Request, caller: Authenticated) -> None:
    """Takes it away."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    await console.ingests.remove(workspace, upload_id)


@router.post("/ingests/preview")
async def preview_ingest(
    workspace_id: UUID, body: PreviewIngest, request: Request, caller: Authenticated
) -> IngestPreview:
    """What a file holds: columns with their types, and its first rows."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    return await console.ingests.preview(workspace, body.upload_id, body.options)


@router.post("/ingests", status_code=202)
async def start_ingest(
    workspace_id: UUID, body: StartIngest, request: Request, caller: Authenticated
) -> Ingest:
    """Brings a file into a table of the workspace, as the caller: all of its rows in one snapshot, or
    nothing."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    row = await console.ingests.start(caller, workspace, body)
    return _ingest(row, console.ingests.progress(row.id))


@router.get("/ingests")
async def list_ingests(
    workspace_id: UUID,
    request: Request,
    caller: Authenticated,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[Ingest]:
    """Those of the workspace, newest first."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    rows = await console.ingests.list(workspace, limit)
    return [_ingest(row, console.ingests.progress(row.id)) for row in rows]


@router.get("/ingests/{ingest_id}")
async def get_ingest(workspace_id: UUID, ingest_id: UUID, request: Request, caller: Authenticated) -> Ingest:
    """One of them."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    row = await console.ingests.get(workspace, ingest_id)
    return _ingest(row, console.ingests.progress(row.id))


@router.delete("/ingests/{ingest_id}")
async def cancel_ingest(
    workspace_id: UUID, ingest_id: UUID, request: Request, caller: Authenticated
) -> Ingest:
    """Cancels it: nothing of it is in the table then. One that has ended stays as it is."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    return _ingest(await console.ingests.cancel(workspace, ingest_id), None)


def upload_of(row: UploadRow) -> Upload:
    """A file in the spool as it goes over the wire."""
    return Upload(
        id=row.id,
        filename=row.filename,
        connection_id=row.origin.get("connection_id"),
        state=UploadState(row.state),
        size_bytes=row.size_bytes,
        error=failure_of(row.error),
        created_by=row.created_by,
        created_at=row.created_at,
    )


def _ingest(row: IngestRow, progress: dict[str, Any] | None) -> Ingest:
    return Ingest(
        id=row.id,
        owner=row.owner,
        table=row.table_name,
        mode=Mode(row.mode),
        source=row.source,
        state=IngestState(row.state),
        progress=IngestProgress(**(row.progress if progress is None else progress)),
        result=None if row.result is None else IngestResult(**row.result),
        error=failure_of(row.error),
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
