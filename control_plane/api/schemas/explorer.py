"""The explorer: what there is to read, and what is known about it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from control_plane.api.schemas.common import Column, Row
from control_plane.api.schemas.workspaces import Dataset


class Catalog(BaseModel):
    """A catalog of Trino's; ``governed`` is the lab's own, which has tags and rules."""

    name: str
    governed: bool


class Namespace(BaseModel):
    """A namespace of a catalog."""

    name: str
    tags: list[str]


class TableType(StrEnum):
    """What a relation is."""

    TABLE = "table"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"


class TableSummary(BaseModel):
    """A table as a list shows it."""

    name: str
    type: TableType
    comment: str | None
    tags: list[str]


class ColumnLook(StrEnum):
    """How a column looks to the caller."""

    PLAIN = "plain"
    MASKED = "masked"


class TableColumn(BaseModel):
    """A column that the caller may see; ``mask`` and ``rules`` say what is done to it."""

    name: str
    type: str
    nullable: bool
    comment: str | None
    tags: list[str]
    look: ColumnLook
    mask: str | None
    rules: list[str]


class TableDetail(BaseModel):
    """A table as the caller has it. ``definition`` is what would make it again; ``row_filters`` are those
    laid over it for the caller; ``hidden_columns`` counts those the caller may not see. ``row_count`` and
    ``size_bytes`` are of the whole table, None where the caller may not know them. ``dataset`` is what is
    registered of it."""

    catalog: str
    namespace: str
    name: str
    type: TableType
    comment: str | None
    tags: list[str]
    columns: list[TableColumn]
    hidden_columns: int
    privileges: list[str]
    row_filters: list[str]
    owner_group: str | None
    definition: str | None
    current_snapshot_id: str | None
    row_count: int | None
    size_bytes: int | None
    dataset: Dataset | None = None


class Snapshot(BaseModel):
    """A snapshot of a table. Ids are text: they are larger than what JavaScript counts exactly."""

    id: str
    parent_id: str | None
    committed_at: datetime
    operation: str = Field(examples=["append"])
    summary: dict[str, str]
    current: bool


class Snapshots(BaseModel):
    """A table's snapshots, newest first; ``denied`` says why there are none to see."""

    snapshots: list[Snapshot]
    denied: str | None = None


class MetadataRows(BaseModel):
    """A metadata table's rows, or why the caller may not see them."""

    columns: list[Column]
    rows: list[Row]
    truncated: bool
    denied: str | None = None


class SnapshotDiff(BaseModel):
    """What one snapshot has that the other has not, as the caller sees both. Counts are exact; the rows
    are the first of them, as many as asked for."""

    from_snapshot_id: str
    to_snapshot_id: str
    columns: list[Column]
    added: list[Row]
    removed: list[Row]
    added_count: int
    removed_count: int


class Reader(BaseModel):
    """A group that may read a table, and what gives it that. ``filters`` and ``masks`` are the rules that
    hold for its members, ``members`` those that the realm's sample users are."""

    group: str
    privileges: list[str]
    by: list[str]
    rules: list[str]


class ExceptionUse(BaseModel):
    """A living exception that covers the table."""

    id: str
    user: str
    expires_at: datetime
    reason: str
    lifts: list[str]


class TableReaders(BaseModel):
    """Who may read a table and why. ``complete`` is False for a caller who may not read access data: then
    only the caller's own groups are told of."""

    table: str
    complete: bool
    groups: list[Reader]
    exceptions: list[ExceptionUse]


class LineageEdge(BaseModel):
    """Queries of one kind between two tables: how many, by whom, and the last one."""

    source: str
    target: str
    queries: int
    users: list[str]
    last_at: datetime
    last_query_id: str


class TableUse(BaseModel):
    """A query that read or wrote the table."""

    query_id: str
    user: str
    at: datetime
    statement: str
    rows: int
    outcome: str


class Lineage(BaseModel):
    """Where a table's rows came from and went, from the audit. ``complete`` is False where the caller sees
    only their own queries; ``since`` is how far back the audit was read."""

    table: str
    complete: bool
    since: datetime
    upstream: list[LineageEdge]
    downstream: list[LineageEdge]
    written_by: list[TableUse]
    read_by: list[TableUse]


class FoundKind(StrEnum):
    """What a search finds."""

    NAMESPACE = "namespace"
    TABLE = "table"
    COLUMN = "column"


class Found(BaseModel):
    """Something whose name or tag has the text that was searched for."""

    kind: FoundKind
    catalog: str
    namespace: str
    table: str | None
    column: str | None
    tags: list[str]
