"""Connections of workspaces that the caller works in."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response

from control_plane.api.access import Authenticated, console_of
from control_plane.api.keeping import IfMatch, version_of
from control_plane.api.routes.ingests import upload_of
from control_plane.api.schemas.workspaces import (
    Connection,
    FetchObject,
    SaveConnection,
    SourceObject,
    Upload,
)

router = APIRouter(prefix="/api/v1/workspaces/{workspace_id}/connections", tags=["connections"])


@router.get("")
async def list_connections(workspace_id: UUID, request: Request, caller: Authenticated) -> list[Connection]:
    """Those of the workspace, by name."""
    console = console_of(request)
    await console.workspaces.entered(caller, workspace_id)
    return await console.connections.all(workspace_id)


@router.post("", status_code=201)
async def create_connection(
    workspace_id: UUID, body: SaveConnection, request: Request, response: Response, caller: Authenticated
) -> Connection:
    """Tries a connection out, and keeps it when it works. Its secret can be written and never read."""
    console = console_of(request)
    await console.workspaces.entered(caller, workspace_id)
    return _tagged(await console.connections.create(workspace_id, body, caller.username), response)


@router.get("/{connection_id}")
async def get_connection(
    workspace_id: UUID, connection_id: UUID, request: Request, response: Response, caller: Authenticated
) -> Connection:
    """One of them."""
    console = console_of(request)
    await console.workspaces.entered(caller, workspace_id)
    return _tagged(await console.connections.get(workspace_id, connection_id), response)


@router.put("/{connection_id}")
async def update_connection(
    workspace_id: UUID,
    connection_id: UUID,
    body: SaveConnection,
    request: Request,
    response: Response,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> Connection:
    """Replaces it, if it still is as the caller last saw it and works. One that leads elsewhere needs its
    secret anew."""
    version = version_of(if_match)
    console = console_of(request)
    await console.workspaces.entered(caller, workspace_id)
    connections = console.connections
    changed = await connections.update(workspace_id, connection_id, version, body, caller.username)
    return _tagged(changed, response)


@router.delete("/{connection_id}", status_code=204)
async def delete_connection(
    workspace_id: UUID,
    connection_id: UUID,
    request: Request,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> None:
    """Removes it with its secret."""
    version = version_of(if_match)
    console = console_of(request)
    await console.workspaces.entered(caller, workspace_id)
    await console.connections.delete(workspace_id, connection_id, version)


@router.get("/{connection_id}/objects")
async def list_objects(
    workspace_id: UUID, connection_id: UUID, request: Request, caller: Authenticated
) -> list[SourceObject]:
    """Tables, objects or files that can be fetched, the first thousand; a web server has no list."""
    console = console_of(request)
    await console.workspaces.entered(caller, workspace_id)
    return await console.connections.objects(workspace_id, connection_id)


@router.post("/{connection_id}/fetches", status_code=202)
async def fetch_object(
    workspace_id: UUID, connection_id: UUID, body: FetchObject, request: Request, caller: Authenticated
) -> Upload:
    """Begins to fetch an object into the spool, as an upload that is `receiving` until it is `ready`."""
    console = console_of(request)
    workspace = await console.workspaces.entered(caller, workspace_id)
    config, secret = await console.connections.opened(workspace_id, connection_id)
    return upload_of(
        await console.ingests.fetch(caller, workspace, connection_id, config, secret, body.object)
    )


def _tagged(connection: Connection, response: Response) -> Connection:
    response.headers["ETag"] = f'"{connection.version}"'
    return connection
