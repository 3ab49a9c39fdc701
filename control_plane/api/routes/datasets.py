"""Registered tables: who answers for them, and what they are."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from contracts.access import Privilege, object_matches
from contracts.errors import unknown_name
from control_plane.api.access import Authenticated, Caller, console_of
from control_plane.api.identity.people import permissions
from control_plane.api.keeping import IfMatch, version_of
from control_plane.api.problems import NotFoundError
from control_plane.api.routes.explorer import NamedTable
from control_plane.api.schemas.identity import Permission
from control_plane.api.schemas.workspaces import Dataset, SaveDataset
from control_plane.api.spaces.datasets import registered
from control_plane.api.storage.models import DatasetRow
from governance.client import EffectiveAccess
from governance.governor.auth import ForbiddenError

router = APIRouter(prefix="/api/v1", tags=["data sets"])

_PATH = "/catalogs/{catalog}/namespaces/{namespace}/tables/{table}/dataset"


@router.get("/datasets")
async def list_datasets(request: Request, caller: Authenticated) -> list[Dataset]:
    """Those of which the caller may see something, by table."""
    console = console_of(request)
    visible = await console.catalogs.visible_tables(caller)
    rows = await to_thread.run_sync(console.datasets.all)
    return [registered(row) for row in rows if row.table_name in visible]


@router.get(_PATH)
async def get_dataset(
    table: NamedTable, request: Request, response: Response, caller: Authenticated
) -> Dataset:
    """What is registered of a table."""
    console = console_of(request)
    await console.catalogs.columns(caller, table.catalog, table.namespace, table.name)
    row = None
    if table.catalog == console.settings.catalog:
        row = await to_thread.run_sync(console.datasets.get, table.governed_name)
    if row is None:
        raise NotFoundError("nobody has registered this table", value=table.governed_name)
    response.headers["ETag"] = f'"{row.version}"'
    return registered(row)


@router.put(_PATH)
async def register_dataset(
    table: NamedTable,
    body: SaveDataset,
    request: Request,
    response: Response,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> Dataset:
    """Registers a table, or changes what is registered; as somebody who may alter the table."""
    version = None if if_match is None else version_of(if_match)
    console = console_of(request)
    await _require_alter(request, caller, table)
    known = await console.directory.group_names(caller) | {caller.username}
    if body.owner not in known and body.owner not in await _people(request, caller, table.namespace):
        raise unknown_name("group, or member of the table's workspace,", body.owner, known)

    def put() -> DatasetRow:
        return console.datasets.put(
            table.governed_name,
            version,
            owner=body.owner,
            description=body.description,
            tags=body.tags,
            author=caller.username,
        )

    row = await to_thread.run_sync(put)
    response.headers["ETag"] = f'"{row.version}"'
    return registered(row)


@router.delete(_PATH, status_code=204)
async def unregister_dataset(table: NamedTable, request: Request, caller: Authenticated) -> None:
    """Takes the registration back; the table stays."""
    await _require_alter(request, caller, table)
    if not await to_thread.run_sync(console_of(request).datasets.delete, table.governed_name):
        raise NotFoundError("nobody has registered this table", value=table.governed_name)


async def _require_alter(request: Request, caller: Caller, table: NamedTable) -> None:
    console = console_of(request)
    # What one may not see is not there.
    await console.catalogs.columns(caller, table.catalog, table.namespace, table.name)
    if table.catalog != console.settings.catalog:
        raise NotFoundError(
            "only tables of the lab's own catalog are registered",
            value=table.catalog,
            permitted=console.settings.catalog,
        )
    if Permission.ADMINISTER in permissions(caller.username, caller.groups):
        return
    held = await console.governor.ask(caller, lambda client: client.effective_access())
    if not _may_alter(held, table.governed_name):
        raise ForbiddenError(
            f"{caller.username!r} may not alter {table.governed_name}",
            value=table.governed_name,
            permitted="members of a group with the privilege alter on it",
        )


def _may_alter(held: EffectiveAccess, name: str) -> bool:
    return name in held.owned_tables or any(
        Privilege.ALTER.value in privileges and object_matches(pattern.lower(), name)
        for pattern, privileges in held.grants.items()
    )


async def _people(request: Request, caller: Caller, namespace: str) -> frozenset[str]:
    """Members of the workspace whose namespace it is."""
    console = console_of(request)
    mine = await console.governor.ask(caller, lambda client: client.workspaces.all())
    found = next((one for one in mine if one.namespace == namespace), None)
    if found is None:
        return frozenset()
    members = await console.governor.ask(caller, lambda client: client.workspaces.members(found.id))
    return frozenset(member.username for member in members)
