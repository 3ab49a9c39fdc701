"""Workspaces through the governor, with a token of the caller's own."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio import from_thread
from fastapi import APIRouter, Path, Request

from control_plane.api.access import Authenticated, Caller, console_of
from control_plane.api.schemas.workspaces import (
    ChangeWorkspace,
    CreateWorkspace,
    PutMember,
    Quota,
    RemoveWorkspace,
)
from control_plane.api.storage.workspaces import forget_workspace
from governance.client import GovernorClient, GovernorError
from governance.workspaces.model import Workspace, WorkspaceMember, WorkspaceQuota, WorkspaceRemoval

router = APIRouter(prefix="/api/v1/workspaces", tags=["workspaces"])

_Username = Annotated[str, Path(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f/]+$")]


@router.get("")
def list_workspaces(request: Request, caller: Authenticated) -> list[Workspace]:
    """Those that the caller belongs to; all of them for who may read access data."""
    try:
        found = _governor(request, caller).workspaces.all()
    except GovernorError as error:
        # Somebody in no group is told nothing.
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return []
    console_of(request).jobs.quotas.hear(found)
    return list(found)


@router.post("", status_code=201)
def create_workspace(body: CreateWorkspace, request: Request, caller: Authenticated) -> Workspace:
    """Makes a workspace: its group, its namespace and the grant that joins them. What can't be done at once
    goes on by itself; the state is then `making`."""
    made = _governor(request, caller).workspaces.create(
        body.name, description=body.description, owners=body.owners, quota=_quota(body.quota)
    )
    console_of(request).jobs.quotas.hear((made,))
    _renew(request, caller)
    return made


@router.get("/{workspace_id}")
def get_workspace(workspace_id: UUID, request: Request, caller: Authenticated) -> Workspace:
    """One of them."""
    found = _governor(request, caller).workspaces.get(workspace_id)
    console_of(request).jobs.quotas.hear((found,))
    return found


@router.patch("/{workspace_id}")
def change_workspace(
    workspace_id: UUID, body: ChangeWorkspace, request: Request, caller: Authenticated
) -> Workspace:
    """Changes its description, as an owner, or its quota, as a lab admin."""
    changed = _governor(request, caller).workspaces.change(
        workspace_id, description=body.description, quota=_quota(body.quota)
    )
    console_of(request).jobs.quotas.hear((changed,))
    return changed


@router.post("/{workspace_id}/removal")
def remove_workspace(
    workspace_id: UUID, body: RemoveWorkspace, request: Request, caller: Authenticated
) -> WorkspaceRemoval:
    """Removes it with its group, its namespace, its connections and uploads, its charts and dashboards, and
    what access data says of it. Refused while tables are there, unless they are to go, too."""
    calls = _governor(request, caller).workspaces
    removal = calls.remove(workspace_id, tables=body.tables, only_try=body.only_try)
    if not body.only_try:
        console = console_of(request)
        uploads = forget_workspace(console.database.sessions, workspace_id, removal.namespace)
        console.jobs.quotas.forget(workspace_id)
        from_thread.run(console.ingests.forget, list(uploads))
        _renew(request, caller)
    return removal


@router.get("/{workspace_id}/members")
def list_members(workspace_id: UUID, request: Request, caller: Authenticated) -> list[WorkspaceMember]:
    """Who is in it."""
    return list(_governor(request, caller).workspaces.members(workspace_id))


@router.put("/{workspace_id}/members/{username}")
def put_member(
    workspace_id: UUID, username: _Username, body: PutMember, request: Request, caller: Authenticated
) -> list[WorkspaceMember]:
    """Makes somebody a member, and an owner or not; as an owner."""
    members = _governor(request, caller).workspaces.put_member(workspace_id, username, owner=body.owner)
    from_thread.run_sync(console_of(request).workspaces.forget)
    return list(members)


@router.delete("/{workspace_id}/members/{username}")
def take_member(
    workspace_id: UUID, username: _Username, request: Request, caller: Authenticated
) -> list[WorkspaceMember]:
    """Takes somebody out of it, as an owner; everybody may leave."""
    members = list(_governor(request, caller).workspaces.take_member(workspace_id, username))
    from_thread.run_sync(console_of(request).workspaces.forget)
    if username == caller.username:
        _renew(request, caller)
    return members


def _governor(request: Request, caller: Caller) -> GovernorClient:
    return console_of(request).governor.in_thread(caller)


def _quota(given: Quota | None) -> WorkspaceQuota | None:
    if given is None:
        return None
    return WorkspaceQuota(queries=given.queries, jobs=given.jobs, storage_mib=given.storage_mib)


def _renew(request: Request, caller: Caller) -> None:
    """The caller's groups changed: their session's token is to say so now."""
    console = console_of(request)
    from_thread.run(console.sessions.renew, caller.signed)
    from_thread.run_sync(console.catalogs.forget)
    from_thread.run_sync(console.workspaces.forget)
