"""The fake console's workspaces: one that the analyst owns, its texts made to be taken for markup."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from contracts.errors import UsageError
from control_plane.api.schemas.workspaces import (
    ChangeWorkspace,
    Connection,
    CreateWorkspace,
    Failure,
    FetchObject,
    Ingest,
    IngestPreview,
    IngestProgress,
    IngestResult,
    IngestState,
    PreviewColumn,
    PreviewIngest,
    PutMember,
    RemoveWorkspace,
    SaveConnection,
    SourceObject,
    StartIngest,
    Upload,
    UploadState,
)
from governance.workspaces.model import (
    MIB,
    Step,
    StepDone,
    Workspace,
    WorkspaceMember,
    WorkspaceQuota,
    WorkspaceRemoval,
    WorkspaceRole,
    WorkspaceState,
    WorkspaceUsage,
    require_name,
    storage_warnings,
)
from ingestion.words import Mode
from tests.web import samples

router = APIRouter(prefix="/api/v1/workspaces")

MARKETING = uuid.UUID("11111111-1111-4111-8111-111111111111")
_AT = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)


class Spaces:
    """What was made."""

    def __init__(self) -> None:
        self.made = {MARKETING: _workspace(MARKETING, "marketing", samples.NASTY)}
        self.members = [
            WorkspaceMember(username="analyst_emea", owner=True),
            WorkspaceMember(username="auditor", owner=False),
        ]
        self.uploads = [_upload("leads.csv", 48_000), _upload("broken.parquet", 0, failed=True)]
        self.connections = [_connection()]
        self.ingests = [
            _ingest("marketing.leads", IngestState.FINISHED),
            _ingest("marketing.visits", IngestState.RUNNING),
            _ingest("marketing.orders", IngestState.FAILED),
        ]


def _workspace(workspace_id: uuid.UUID, name: str, description: str) -> Workspace:
    quota, usage = WorkspaceQuota(storage_mib=100), WorkspaceUsage(tables=2, size_bytes=95 * MIB)
    steps = tuple(StepDone(step=step, at=_AT, detail="done") for step in Step if step is not Step.TABLES)
    return Workspace(
        id=workspace_id,
        name=name,
        description=description,
        namespace=name,
        group=f"workspace_{name}",
        location=f"s3://lakehouse/warehouse/{name}",
        owners=("analyst_emea",),
        quota=quota,
        state=WorkspaceState.READY,
        steps=steps,
        error=None,
        created_by="analyst_emea",
        created_at=_AT,
        role=WorkspaceRole.OWNER,
        may_manage=True,
        may_set_quota=False,
        usage=usage,
        warnings=storage_warnings(quota, usage),
    )


def _upload(filename: str, size_bytes: int, *, failed: bool = False) -> Upload:
    return Upload(
        id=uuid.uuid4(),
        filename=filename,
        connection_id=None,
        state=UploadState.FAILED if failed else UploadState.READY,
        size_bytes=size_bytes,
        error=Failure(title=f"the server answered 403 {samples.NASTY}") if failed else None,
        created_by="analyst_emea",
        created_at=_AT,
    )


def _connection() -> Connection:
    return Connection.model_validate(
        {
            "id": uuid.uuid4(),
            "name": "crm",
            "config": {"kind": "postgresql", "host": "crm.example", "database": "crm", "user": "reader"},
            "has_secret": True,
            "version": 1,
            "created_by": "analyst_emea",
            "created_at": _AT,
            "updated_by": "analyst_emea",
            "updated_at": _AT,
        }
    )


def _ingest(table: str, state: IngestState) -> Ingest:
    done = IngestResult(rows=1200, snapshot_id="7", files=1, size_bytes=9000, renamed={}, widened=[])
    return Ingest(
        id=uuid.uuid4(),
        owner="analyst_emea",
        table=table,
        mode=Mode.APPEND,
        source="leads.csv",
        state=state,
        progress=IngestProgress(rows=600),
        result=done if state is IngestState.FINISHED else None,
        error=Failure(title=f"line 3: {samples.NASTY}") if state is IngestState.FAILED else None,
        created_at=_AT,
        ended_at=None if state is IngestState.RUNNING else _AT,
    )


def _spaces(request: Request) -> Spaces:
    found: Spaces = request.app.state.spaces
    return found


@router.get("")
def workspaces(request: Request) -> list[Workspace]:
    return list(_spaces(request).made.values())


@router.post("", status_code=201)
def create(body: CreateWorkspace, request: Request) -> Workspace:
    try:
        require_name(body.name)
    except UsageError as error:
        raise HTTPException(422, error.what) from error
    made = _workspace(uuid.uuid4(), body.name, body.description)
    _spaces(request).made[made.id] = made
    return made


@router.get("/{workspace_id}")
def workspace(workspace_id: uuid.UUID, request: Request) -> Workspace:
    found = _spaces(request).made.get(workspace_id)
    if found is None:
        raise HTTPException(404, "there is no workspace of that id")
    return replace(found, may_set_quota=request.state.username == "admin")


@router.patch("/{workspace_id}")
def change(workspace_id: uuid.UUID, body: ChangeWorkspace, request: Request) -> Workspace:
    found = workspace(workspace_id, request)
    if body.description is not None:
        found = replace(found, description=body.description)
    if body.quota is not None:
        found = replace(found, quota=WorkspaceQuota(**body.quota.model_dump()))
    _spaces(request).made[workspace_id] = found
    return found


@router.post("/{workspace_id}/removal")
def removal(workspace_id: uuid.UUID, body: RemoveWorkspace, request: Request) -> WorkspaceRemoval:
    found = workspace(workspace_id, request)
    refused = None if body.tables else f"there are tables in '{found.namespace}': leads, visits"
    if not body.only_try:
        del _spaces(request).made[workspace_id]
    return WorkspaceRemoval(
        name=found.name,
        namespace=found.namespace,
        group=found.group,
        tables=("leads", "visits"),
        members=("analyst_emea", "auditor"),
        access=(f"grants: {found.namespace}.* to {found.group}",),
        refused=refused,
        done=not body.only_try,
    )


@router.get("/{workspace_id}/members")
def members(request: Request) -> list[WorkspaceMember]:
    return _spaces(request).members


@router.put("/{workspace_id}/members/{username}")
def put_member(username: str, body: PutMember, request: Request) -> list[WorkspaceMember]:
    spaces = _spaces(request)
    kept = [one for one in spaces.members if one.username != username]
    spaces.members = [*kept, WorkspaceMember(username=username, owner=body.owner)]
    return spaces.members


@router.get("/{workspace_id}/uploads")
def uploads(request: Request) -> list[Upload]:
    return _spaces(request).uploads


@router.post("/{workspace_id}/uploads", status_code=201)
async def upload(filename: str, request: Request) -> Upload:
    taken = _upload(filename, len(await request.body()))
    _spaces(request).uploads.insert(0, taken)
    return taken


@router.post("/{workspace_id}/ingests/preview")
def preview(body: PreviewIngest) -> IngestPreview:
    types: dict[str, Any] = {"id": "long", "name": "string", **body.options.types}
    return IngestPreview(
        format="csv",
        columns=[PreviewColumn(name=name, source=name, type=kind, note="") for name, kind in types.items()],
        rows=[["1", samples.NASTY], ["2", None]],
        sampled_rows=2,
    )


@router.post("/{workspace_id}/ingests", status_code=202)
def start(body: StartIngest, request: Request) -> Ingest:
    begun = _ingest(f"marketing.{body.table}", IngestState.FINISHED)
    _spaces(request).ingests.insert(0, begun)
    return begun


@router.get("/{workspace_id}/ingests")
def ingests(request: Request) -> list[Ingest]:
    return _spaces(request).ingests


@router.get("/{workspace_id}/connections")
def connections(request: Request) -> list[Connection]:
    return _spaces(request).connections


@router.post("/{workspace_id}/connections", status_code=201)
def save_connection(body: SaveConnection, request: Request) -> Connection:
    made = _connection().model_copy(update={"name": body.name, "config": body.config})
    _spaces(request).connections.append(made)
    return made


@router.get("/{workspace_id}/connections/{connection_id}/objects")
def objects() -> list[SourceObject]:
    return [SourceObject(name="public.leads", size_bytes=8192)]


@router.post("/{workspace_id}/connections/{connection_id}/fetches", status_code=202)
def fetch(body: FetchObject, request: Request) -> Upload:
    taken = _upload(f"{body.object.rpartition('.')[2]}.csv", 100)
    _spaces(request).uploads.insert(0, taken)
    return taken
