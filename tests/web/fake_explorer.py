"""The fake console's explorer."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, HTTPException

from control_plane.api.schemas.common import Rows
from control_plane.api.schemas.explorer import (
    Catalog,
    ColumnLook,
    ExceptionUse,
    Found,
    FoundKind,
    Lineage,
    LineageEdge,
    MetadataRows,
    Namespace,
    Reader,
    Snapshot,
    SnapshotDiff,
    Snapshots,
    TableColumn,
    TableDetail,
    TableReaders,
    TableSummary,
    TableType,
    TableUse,
)
from governance.reports import (
    ColumnUse,
    Exemption,
    Explanation,
    FilterUse,
    GrantUse,
    TableView,
    Visibility,
)
from tests.web import samples
from tests.web.samples import CATALOG, NASTY, NOW, TABLES

router = APIRouter(prefix="/api/v1")
_PARTITIONING = "   format = 'PARQUET',\n   partitioning = ARRAY['region','month(at)']"
_TABLE = "/catalogs/{catalog}/namespaces/{namespace}/tables/{table}"


def _types(namespace: str, table: str) -> dict[str, str]:
    try:
        return dict(TABLES[namespace][table])
    except KeyError:
        raise HTTPException(404, "there is no such table, or you may not see it") from None


def _tags(name: str) -> list[str]:
    return [one["tag"] for one in samples.access_document()["tags"] if one["object"] == name]


@router.get("/catalogs")
def catalogs() -> list[Catalog]:
    return [Catalog(name=CATALOG, governed=True), Catalog(name="tpch", governed=False)]


@router.get("/catalogs/{catalog}/namespaces")
def namespaces(catalog: str) -> list[Namespace]:
    if catalog != CATALOG:
        return [Namespace(name="tiny", tags=[])]
    return [Namespace(name=name, tags=["people"] if name == "hr" else []) for name in TABLES]


@router.get("/catalogs/{catalog}/namespaces/{namespace}/tables")
def tables(catalog: str, namespace: str) -> list[TableSummary]:
    return [
        TableSummary(name=name, type=TableType.TABLE, comment=None, tags=_tags(f"{namespace}.{name}"))
        for name in TABLES.get(namespace, {})
    ]


@router.get(_TABLE)
def table(catalog: str, namespace: str, table: str) -> TableDetail:
    masks = {"c_custkey": "hash", "c_name": "hash", "c_phone": "last_4", "email": "email_domain"}
    rules = {"hash": "hash-customer-key", "last_4": "mask-phone", "email_domain": "mask-email"}
    columns = [
        TableColumn(
            name=name,
            type=kind,
            nullable=not name.endswith("key"),
            comment="Where the customer lives" if name == "c_nationkey" else None,
            tags=_tags(f"{namespace}.{table}.{name}"),
            look=ColumnLook.MASKED if name in masks else ColumnLook.PLAIN,
            mask=masks.get(name),
            rules=[rules[masks[name]]] if name in masks else [],
        )
        for name, kind in _types(namespace, table).items()
    ]
    return TableDetail(
        catalog=catalog,
        namespace=namespace,
        name=table,
        type=TableType.TABLE,
        comment="TPC-H sample data" if namespace == "retail" else None,
        tags=_tags(f"{namespace}.{table}"),
        columns=columns,
        hidden_columns=2 if table == "customer" else 0,
        privileges=["select"],
        row_filters=["region-by-key"] if table == "customer" else [],
        owner_group=None,
        definition=f"CREATE TABLE {catalog}.{namespace}.{table} (\n   …\n)\nWITH (\n{_PARTITIONING}\n)",
        current_snapshot_id="6029475298405621301",
        row_count=15_000,
        size_bytes=1_948_311,
    )


@router.get(_TABLE + "/sample")
def sample(catalog: str, namespace: str, table: str, limit: int = 100) -> Rows:
    types = _types(namespace, table)
    return Rows(
        columns=samples.columns(types),
        rows=[samples.row(types, number) for number in range(min(limit, 100))],
        truncated=True,
    )


@router.get(_TABLE + "/snapshots")
def snapshots(catalog: str, namespace: str, table: str) -> Snapshots:
    if namespace == "hr":
        return Snapshots(snapshots=[], denied="rules hide rows or columns of this table from you")
    ids = ["6029475298405621301", "4418837261120045113", "1129384756473829101"]
    return Snapshots(
        snapshots=[
            Snapshot(
                id=one,
                parent_id=ids[number + 1] if number + 1 < len(ids) else None,
                committed_at=NOW - timedelta(days=4 * number, hours=3),
                operation="append",
                summary={"added-records": "5000", "total-records": str(15_000 - 5000 * number)},
                current=number == 0,
            )
            for number, one in enumerate(ids)
        ]
    )


@router.get(_TABLE + "/diff")
def diff(
    catalog: str, namespace: str, table: str, from_snapshot_id: str, to_snapshot_id: str
) -> SnapshotDiff:
    types = _types(namespace, table)
    return SnapshotDiff(
        from_snapshot_id=from_snapshot_id,
        to_snapshot_id=to_snapshot_id,
        columns=samples.columns(types),
        added=[samples.row(types, number) for number in range(12)],
        removed=[],
        added_count=5000,
        removed_count=0,
    )


@router.get(_TABLE + "/partitions")
def partitions(catalog: str, namespace: str, table: str) -> MetadataRows:
    if table == "customer":
        return MetadataRows(columns=[], rows=[], truncated=False, denied="this table has rules for you")
    data = "row(n row(min bigint, max bigint, null_count bigint, nan_count bigint))"
    types = {"record_count": "bigint", "file_count": "bigint", "total_size": "bigint", "data": data}
    facts = [5000, 2, 640_000, [[1, 5000, 0, None]]]
    if table != "events":
        return MetadataRows(columns=samples.columns(types), rows=[facts], truncated=False)
    types = {"partition": "row(region_identity varchar, at_month integer)", **types}
    months = [["EMEA", 672], [NASTY, 671], ["EMEA", 671], [None, 671]]
    return MetadataRows(
        columns=samples.columns(types), rows=[[one, *facts] for one in months], truncated=True
    )


@router.get(_TABLE + "/files")
def files(catalog: str, namespace: str, table: str) -> MetadataRows:
    types = {"file_path": "varchar", "record_count": "bigint", "file_size_in_bytes": "bigint"}
    rows = [[f"s3://warehouse/{namespace}/{table}/{n:05}.parquet", 5000, 640_000 + n] for n in range(3)]
    return MetadataRows(columns=samples.columns(types), rows=rows, truncated=False)


@router.get(_TABLE + "/access")
def access(catalog: str, namespace: str, table: str, user: str | None = None) -> Explanation:
    username = user or "analyst_emea"
    groups = samples.persona(username)
    name = f"{namespace}.{table}"
    mine = groups.groups if groups else ()
    readable = any(g["group"] in mine for g in samples.access_document()["grants"])
    masked = [ColumnUse(column="c_phone", visibility=Visibility.MASKED, mask="last_4", rules=("mask-phone",))]
    return Explanation(
        revision=12,
        published=12,
        username=username,
        groups=mine,
        readable=readable,
        predicate="c_nationkey IN (0, 4, 5)",
        view=TableView(
            table=name,
            grants=(GrantUse(privilege="select", by=f"grant of {name} to {mine[0]}"),) if readable else (),
            filters=(
                FilterUse(
                    rule="region-by-key",
                    predicate="c_nationkey IN (0, 4, 5, 6, 7, 10, 11, 13, 14, 15, 16, 19, 20, 22, 23)",
                    identity=None,
                ),
            ),
            columns=(
                ColumnUse(
                    column="c_custkey",
                    visibility=Visibility.MASKED,
                    mask="hash",
                    rules=("hash-customer-key",),
                ),
                *masked,
                ColumnUse(column="c_address", visibility=Visibility.DENIED, rules=("deny-address",)),
            ),
            exemptions=(Exemption(rule="deny-free-text", by="data_stewards"),),
        ),
        denied=1,
    )


@router.get(_TABLE + "/readers")
def readers(catalog: str, namespace: str, table: str) -> TableReaders:
    name = f"{namespace}.{table}"
    found = {
        grant["group"]: grant
        for grant in samples.access_document()["grants"]
        if grant["object"] in (name, f"{namespace}.*")
    }
    return TableReaders(
        table=name,
        complete=True,
        groups=[
            Reader(
                group=group,
                privileges=grant["privileges"],
                by=[f"grant of {grant['object']}"],
                rules=["region-by-key", "mask-phone"] if group.startswith("analysts") else [],
            )
            for group, grant in found.items()
        ],
        exceptions=[
            ExceptionUse(
                id="e1",
                user="engineer",
                expires_at=NOW + timedelta(hours=2),
                reason="ticket 4711: wrong balances",
                lifts=["mask-phone"],
            )
        ],
    )


@router.get(_TABLE + "/lineage")
def lineage(catalog: str, namespace: str, table: str) -> Lineage:

    def edge(source: str, target: str) -> LineageEdge:
        return LineageEdge(
            source=source,
            target=target,
            queries=4,
            users=["engineer"],
            last_at=NOW,
            last_query_id="20260115_093000_00042_fakes",
        )

    use = TableUse(
        query_id="20260115_093000_00042_fakes",
        user="engineer",
        at=NOW,
        statement="INSERT INTO retail.orders SELECT * FROM raw.orders",
        rows=1200,
        outcome="finished",
    )
    name = f"{namespace}.{table}"
    return Lineage(
        table=name,
        complete=True,
        since=NOW - timedelta(days=30),
        upstream=[edge(one, name) for one in ("raw.orders", "retail.nation")],
        downstream=[edge(name, "web.daily")],
        written_by=[use],
        read_by=[use],
    )


@router.get("/search")
def search(text: str, limit: int = 50) -> list[Found]:
    wanted = text.lower()
    found = [
        Found(kind=FoundKind.TABLE, catalog=CATALOG, namespace=space, table=name, column=None, tags=[])
        for space, names in TABLES.items()
        for name in names
        if wanted in f"{space}.{name}".lower()
    ]
    found += [
        Found(kind=FoundKind.COLUMN, catalog=CATALOG, namespace=space, table=name, column=column, tags=[])
        for space, names in TABLES.items()
        for name, columns in names.items()
        for column in columns
        if wanted in column.lower()
    ]
    return found[:limit]
