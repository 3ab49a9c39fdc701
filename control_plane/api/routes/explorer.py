"""The explorer: catalogs, namespaces, tables and what is known about them."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query, Request

from control_plane.api.access import Authenticated, console_of
from control_plane.api.explorer.catalogs import Catalogs
from control_plane.api.explorer.readers import all_readers, audit_of, lineage, own_readers
from control_plane.api.explorer.tables import Table, Tables
from control_plane.api.identity.people import permissions
from control_plane.api.schemas.common import Rows
from control_plane.api.schemas.explorer import (
    Catalog,
    Found,
    Lineage,
    MetadataRows,
    Namespace,
    SnapshotDiff,
    Snapshots,
    TableDetail,
    TableReaders,
    TableSummary,
)
from control_plane.api.schemas.identity import Permission
from control_plane.api.spaces.datasets import registered
from governance.reports import Explanation

router = APIRouter(prefix="/api/v1", tags=["explorer"])

_TABLE = "/catalogs/{catalog}/namespaces/{namespace}/tables/{table}"
_Name = Annotated[str, Path(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]+$")]
_Limit = Annotated[int, Query(ge=1, le=1000)]
_PATTERN = r"^[0-9]{1,19}$"


def _table(catalog: _Name, namespace: _Name, table: _Name) -> Table:
    return Table(catalog, namespace, table)


NamedTable = Annotated[Table, Depends(_table)]


@router.get("/catalogs")
async def list_catalogs(request: Request, caller: Authenticated) -> list[Catalog]:
    """The catalogs that the caller may see."""
    return await _catalogs(request).catalogs(caller)


@router.get("/catalogs/{catalog}/namespaces")
async def list_namespaces(catalog: _Name, request: Request, caller: Authenticated) -> list[Namespace]:
    """Those in which the caller may see something."""
    return await _catalogs(request).namespaces(caller, catalog)


@router.get("/catalogs/{catalog}/namespaces/{namespace}/tables")
async def list_tables(
    catalog: _Name, namespace: _Name, request: Request, caller: Authenticated
) -> list[TableSummary]:
    """The tables and views that the caller may see."""
    return await _catalogs(request).tables(caller, catalog, namespace)


@router.get(_TABLE)
async def get_table(table: NamedTable, request: Request, caller: Authenticated) -> TableDetail:
    """A table as the caller has it."""
    console = console_of(request)
    detail = await _tables(request).detail(caller, table)
    if table.catalog == console.settings.catalog:
        row = await to_thread.run_sync(console.datasets.get, table.governed_name)
        detail.dataset = None if row is None else registered(row)
    return detail


@router.get(_TABLE + "/sample")
async def sample_rows(
    table: NamedTable,
    request: Request,
    caller: Authenticated,
    limit: _Limit = 100,
    snapshot_id: Annotated[str | None, Query(pattern=_PATTERN)] = None,
) -> Rows:
    """Some rows as the caller sees them, of the table as it is or as it was at a snapshot."""
    return await _tables(request).sample(caller, table, limit, snapshot_id)


@router.get(_TABLE + "/snapshots")
async def list_snapshots(table: NamedTable, request: Request, caller: Authenticated) -> Snapshots:
    """A table's snapshots."""
    return await _tables(request).snapshots(caller, table)


@router.get(_TABLE + "/partitions")
async def list_partitions(
    table: NamedTable, request: Request, caller: Authenticated, limit: _Limit = 200
) -> MetadataRows:
    """A table's partitions."""
    return await _tables(request).metadata(caller, table, "$partitions", limit)


@router.get(_TABLE + "/files")
async def list_data_files(
    table: NamedTable, request: Request, caller: Authenticated, limit: _Limit = 200
) -> MetadataRows:
    """A table's files."""
    return await _tables(request).metadata(caller, table, "$files", limit)


@router.get(_TABLE + "/diff")
async def diff_snapshots(
    table: NamedTable,
    request: Request,
    caller: Authenticated,
    from_snapshot_id: Annotated[str, Query(pattern=_PATTERN)],
    to_snapshot_id: Annotated[str, Query(pattern=_PATTERN)],
    limit: _Limit = 100,
) -> SnapshotDiff:
    """What differs between two snapshots, as the caller sees them."""
    return await _tables(request).diff(caller, table, from_snapshot_id, to_snapshot_id, limit)


@router.get(_TABLE + "/access")
async def explain_access(
    table: NamedTable,
    request: Request,
    caller: Authenticated,
    user: Annotated[
        str | None, Query(min_length=1, max_length=255, description="Somebody else: for stewards.")
    ] = None,
) -> Explanation:
    """Why the caller, or somebody else, has the table as they do."""
    return await _tables(request).explanation(caller, table, user)


@router.get(_TABLE + "/readers")
async def list_readers(table: NamedTable, request: Request, caller: Authenticated) -> TableReaders:
    """Which groups may read the table, and why."""
    explanation = await _tables(request).explanation(caller, table, None)
    if Permission.READ_ACCESS not in permissions(caller.username, caller.groups):
        return own_readers(explanation)
    name, catalog = table.governed_name, table.catalog
    return await console_of(request).governor.ask(caller, lambda client: all_readers(client, name, catalog))


@router.get(_TABLE + "/lineage")
async def table_lineage(
    table: NamedTable,
    request: Request,
    caller: Authenticated,
    since_s: Annotated[int, Query(ge=60, le=366 * 86_400)] = 30 * 86_400,
) -> Lineage:
    """Which queries wrote and read the table, and the tables at their other end."""
    # What one may not see has no lineage.
    await _catalogs(request).columns(caller, table.catalog, table.namespace, table.name)
    name = table.governed_name
    report = await console_of(request).governor.ask(caller, lambda client: audit_of(client, name, since_s))
    complete = Permission.READ_AUDIT in permissions(caller.username, caller.groups)
    return lineage(report, name, since_s, complete=complete)


@router.get("/search")
async def search(
    request: Request,
    caller: Authenticated,
    text: Annotated[str, Query(min_length=1, max_length=200)],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[Found]:
    """Namespaces, tables and columns by name or tag, as far as the caller may see them."""
    return await _catalogs(request).search(caller, text, limit)


def _catalogs(request: Request) -> Catalogs:
    return console_of(request).catalogs


def _tables(request: Request) -> Tables:
    return console_of(request).tables
