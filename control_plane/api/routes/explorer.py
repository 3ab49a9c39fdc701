"""The explorer: catalogs, namespaces, tables and what is known about them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request

from control_plane.api.access import Authenticated
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
from governance.reports import Explanation

router = APIRouter(prefix="/api/v1", tags=["explorer"])

_TABLE = "/catalogs/{catalog}/namespaces/{namespace}/tables/{table}"
_Name = Annotated[str, Path(min_length=1, max_length=255)]
_Limit = Annotated[int, Query(ge=1, le=1000)]
_SnapshotId = Annotated[str | None, Query(pattern=r"^[0-9]{1,19}$")]


@router.get("/catalogs")
async def list_catalogs(request: Request, caller: Authenticated) -> list[Catalog]:
    """The catalogs that the caller may see."""
    raise NotImplementedError


@router.get("/catalogs/{catalog}/namespaces")
async def list_namespaces(catalog: _Name, request: Request, caller: Authenticated) -> list[Namespace]:
    """Those in which the caller may see something."""
    raise NotImplementedError


@router.get("/catalogs/{catalog}/namespaces/{namespace}/tables")
async def list_tables(
    catalog: _Name, namespace: _Name, request: Request, caller: Authenticated
) -> list[TableSummary]:
    """The tables and views that the caller may see."""
    raise NotImplementedError


@router.get(_TABLE)
async def get_table(
    catalog: _Name, namespace: _Name, table: _Name, request: Request, caller: Authenticated
) -> TableDetail:
    """A table as the caller has it."""
    raise NotImplementedError


@router.get(_TABLE + "/sample")
async def sample_rows(
    catalog: _Name,
    namespace: _Name,
    table: _Name,
    request: Request,
    caller: Authenticated,
    limit: _Limit = 100,
    snapshot_id: _SnapshotId = None,
) -> Rows:
    """Some rows as the caller sees them, of the table as it is or as it was at a snapshot."""
    raise NotImplementedError


@router.get(_TABLE + "/snapshots")
async def list_snapshots(
    catalog: _Name, namespace: _Name, table: _Name, request: Request, caller: Authenticated
) -> Snapshots:
    """A table's snapshots."""
    raise NotImplementedError


@router.get(_TABLE + "/partitions")
async def list_partitions(
    catalog: _Name,
    namespace: _Name,
    table: _Name,
    request: Request,
    caller: Authenticated,
    limit: _Limit = 200,
) -> MetadataRows:
    """A table's partitions."""
    raise NotImplementedError


@router.get(_TABLE + "/files")
async def list_data_files(
    catalog: _Name,
    namespace: _Name,
    table: _Name,
    request: Request,
    caller: Authenticated,
    limit: _Limit = 200,
) -> MetadataRows:
    """A table's files."""
    raise NotImplementedError


@router.get(_TABLE + "/diff")
async def diff_snapshots(
    catalog: _Name,
    namespace: _Name,
    table: _Name,
    request: Request,
    caller: Authenticated,
    from_snapshot_id: Annotated[str, Query(pattern=r"^[0-9]{1,19}$")],
    to_snapshot_id: Annotated[str, Query(pattern=r"^[0-9]{1,19}$")],
    limit: _Limit = 100,
) -> SnapshotDiff:
    """What differs between two snapshots, as the caller sees them."""
    raise NotImplementedError


@router.get(_TABLE + "/access")
async def explain_access(
    catalog: _Name,
    namespace: _Name,
    table: _Name,
    request: Request,
    caller: Authenticated,
    user: Annotated[str | None, Query(max_length=255, description="Somebody else: for stewards.")] = None,
) -> Explanation:
    """Why the caller, or somebody else, has the table as they do."""
    raise NotImplementedError


@router.get(_TABLE + "/readers")
async def list_readers(
    catalog: _Name, namespace: _Name, table: _Name, request: Request, caller: Authenticated
) -> TableReaders:
    """Which groups may read the table, and why."""
    raise NotImplementedError


@router.get(_TABLE + "/lineage")
async def table_lineage(
    catalog: _Name,
    namespace: _Name,
    table: _Name,
    request: Request,
    caller: Authenticated,
    since_s: Annotated[int, Query(ge=60, le=366 * 86_400)] = 30 * 86_400,
) -> Lineage:
    """Which queries wrote and read the table, and the tables at their other end."""
    raise NotImplementedError


@router.get("/search")
async def search(
    request: Request,
    caller: Authenticated,
    text: Annotated[str, Query(min_length=1, max_length=200)],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[Found]:
    """Namespaces, tables and columns by name or tag, as far as the caller may see them."""
    raise NotImplementedError
