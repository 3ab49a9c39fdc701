"""What a seeded table is, and what a run of the seeds reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import IdentityTransform, parse_transform
from pyiceberg.types import NestedField, PrimitiveType

DATA = Path(__file__).parent / "data"
NAMESPACES: Mapping[str, str] = {
    "retail": "TPC-H sample tables",
    "hr": "Made-up people, with a chain of supervisors and salaries",
    "web": "Made-up click events, in several snapshots",
    "raw": "Files people load",
}


@dataclass(frozen=True, kw_only=True)
class SeedOptions:
    """``scale_factor``: of the TPC-H tables, 1 is about 1 GB of text."""

    scale_factor: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One snapshot's worth of rows. ``chunks`` brings tables in the declared sort order, each small
    enough to hold in memory; ``rows`` is the declared count, None where no source declares it."""

    rows: int | None
    chunks: Callable[[], Iterator[pa.Table]]
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SeedTable:
    """One table of the sample data.

    Args:
        name: ``namespace.table``.
        revision: raised by hand when the generating code gives other rows.
        columns: name → Iceberg type, in order.
        keys: required columns that identify a row.
        required: more columns that hold no null.
        partition: column → transform, as Iceberg writes it (``identity``, ``month``).
        sort: columns the rows of each file are sorted by.
        batches: what is loaded, one snapshot each, oldest first.
        source: what else the rows depend on (options, content of seed files); part of the digest.
        properties: more Iceberg table properties.
    """

    name: str
    comment: str
    revision: int
    columns: Mapping[str, PrimitiveType | Any]
    keys: tuple[str, ...]
    batches: Callable[[], tuple[Batch, ...]]
    partition: Mapping[str, str] = field(default_factory=dict)
    sort: tuple[str, ...] = ()
    source: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.name.rpartition(".")[0]

    def schema(self) -> Schema:
        """The Iceberg schema; field ids count from 1."""
        return Schema(
            *(
                NestedField(field_id=position, name=name, field_type=kind, required=self._required(name))
                for position, (name, kind) in enumerate(self.columns.items(), start=1)
            ),
            identifier_field_ids=[list(self.columns).index(key) + 1 for key in self.keys],
        )

    def partition_spec(self) -> PartitionSpec:
        """Partition fields named ``column_transform``, ids from 1000 as the specification has them."""
        ids = self._ids()
        return PartitionSpec(
            *(
                PartitionField(
                    source_id=ids[column],
                    field_id=1000 + position,
                    transform=parse_transform(transform),
                    name=f"{column}_{transform}",
                )
                for position, (column, transform) in enumerate(self.partition.items())
            )
        )

    def sort_order(self) -> SortOrder:
        """Ascending by :attr:`sort`."""
        ids = self._ids()
        return SortOrder(*(SortField(source_id=ids[c], transform=IdentityTransform()) for c in self.sort))

    def digest(self) -> str:
        """Changes exactly when a load would write something else."""
        document = {
            "revision": self.revision,
            "columns": {name: str(kind) for name, kind in self.columns.items()},
            "keys": self.keys,
            "partition": dict(self.partition),
            "sort": self.sort,
            "source": dict(self.source),
            **({"required": self.required} if self.required else {}),
            **({"properties": dict(self.properties)} if self.properties else {}),
        }
        return hashlib.sha256(json.dumps(document, sort_keys=False).encode()).hexdigest()

    def _required(self, name: str) -> bool:
        return name in self.keys or name in self.required

    def _ids(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.columns, start=1)}


class Status(StrEnum):
    """What a run did with a table."""

    UNCHANGED = "unchanged"
    CREATED = "created"
    REPAIRED = "repaired"
    UPDATED = "updated"
    RESET = "reset"
    KEPT_EDITED = "kept-edited"


@dataclass(frozen=True, kw_only=True)
class TableResult:
    """A table after the run. ``rows`` and ``snapshot_id`` are those of its current snapshot."""

    status: Status
    rows: int | None
    snapshot_id: int | None
    digest: str
    notice: str = ""


@dataclass(frozen=True, kw_only=True)
class SeedReport:
    """All tables of a run by name."""

    tables: Mapping[str, TableResult]
    seconds: float

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of tables the run wrote."""
        still = {Status.UNCHANGED, Status.KEPT_EDITED}
        return tuple(name for name, result in self.tables.items() if result.status not in still)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know."""
        return tuple(result.notice for result in self.tables.values() if result.notice)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``; snapshot ids as text, since they exceed what JavaScript numbers hold."""
        return {
            "seconds": round(self.seconds, 3),
            "tables": {
                name: {
                    "status": result.status.value,
                    "rows": result.rows,
                    "snapshot_id": None if result.snapshot_id is None else str(result.snapshot_id),
                    "digest": result.digest,
                    **({"notice": result.notice} if result.notice else {}),
                }
                for name, result in self.tables.items()
            },
        }
