"""Maintenance through Trino: a table's metadata, what is being read, and the procedures themselves.

Every statement runs as the maintaining service account, which may read these columns of metadata tables and
no other (policies/trino/objects.rego): nothing here tells a value that a row holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from string import Template
from typing import Any, Protocol

from contracts.errors import LabError
from governance.maintenance.planning import MIB, Current, RunningQuery, Snapshot, TableState, quoted
from governance.trino import TrinoClient, TrinoError

CONFLICT = "ICEBERG_COMMIT_ERROR"
"""Trino's error when somebody else's commit came first."""

_READ_S = 120.0
_PLANNED = frozenset({"STARTING", "RUNNING", "FINISHING"})
"""States in which a query's inputs are known; https://trino.io/docs/476/admin/web-interface.html"""
_OVER = frozenset({"FINISHED", "FAILED"})


class MaintenanceError(LabError):
    """A table could not be maintained."""


class ConflictError(MaintenanceError):
    """Another writer's commit came first; nothing was changed."""


class Engine(Protocol):
    """What runs need of the query engine. All raise MaintenanceError."""

    def state(self, table: str, small_file_mib: int) -> TableState:
        """A table's metadata now."""
        ...

    def running(self) -> list[RunningQuery]:
        """Queries under way."""
        ...

    def execute(self, sql: str) -> None:
        """Runs a procedure. Raises ConflictError when another writer's commit came first."""
        ...


class TrinoEngine:
    """The procedures of Trino's Iceberg connector.

    Args:
        trino: as the maintaining service account.
        catalog: the catalog's name in Trino.
        statement_s: how long one procedure may take.
        settle_s: how long queries that are being planned are waited for.
    """

    def __init__(
        self,
        trino: TrinoClient,
        *,
        catalog: str,
        statement_s: float = 4 * 3600.0,
        settle_s: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._trino = trino
        self._catalog = catalog
        self._statement_s = statement_s
        self._settle_s = settle_s
        self._sleep = sleep

    def state(self, table: str, small_file_mib: int) -> TableState:
        """A table's metadata now, in two statements."""
        ((files, deletes, small, size, savable, manifests, manifest_bytes, read_ms),) = self._rows(
            _totals(table, small_file_mib * MIB)
        )
        snapshots: list[Snapshot] = []
        history: list[Current] = []
        referenced: set[int] = set()
        properties: dict[str, str] = {}
        for kind, first, second, time_ms in self._rows(_details(table)):
            if kind == "snapshot":
                parent = None if second is None else int(second)
                snapshots.append(Snapshot(id=int(first), parent_id=parent, committed_ms=int(time_ms)))
            elif kind == "current":
                history.append(Current(since_ms=int(time_ms), snapshot_id=int(first)))
            elif kind == "reference":
                referenced.add(int(first))
            else:
                properties[str(first)] = str(second)
        return TableState(
            files=int(files),
            delete_files=int(deletes),
            small_files=int(small),
            savable_files=int(savable),
            bytes=int(size),
            manifests=int(manifests),
            manifest_bytes=int(manifest_bytes),
            # The earlier of the two readings: retention is counted from it.
            read_ms=int(read_ms),
            snapshots=tuple(sorted(snapshots, key=lambda one: one.committed_ms)),
            history=tuple(sorted(history, key=lambda one: one.since_ms)),
            referenced=frozenset(referenced),
            properties=properties,
        )

    def running(self) -> list[RunningQuery]:
        """Queries under way; those that are being planned are waited for a little."""
        left_s = self._settle_s
        while True:
            found = self._running()
            if left_s <= 0 or all(query.reads is not None for query in found):
                return found
            self._sleep(0.5)
            left_s -= 0.5

    def execute(self, sql: str) -> None:
        """Runs a procedure."""
        try:
            self._trino.rows(sql, timeout_s=self._statement_s)
        except TrinoError as error:
            if error.name == CONFLICT:
                raise ConflictError(error.what) from error
            raise MaintenanceError(error.what, next_command=error.next_command) from error

    def _running(self) -> list[RunningQuery]:
        try:
            listed = self._trino.read("/v1/query") or []
            found = [self._query(basic) for basic in listed if basic["state"] not in _OVER]
        except TrinoError as error:
            raise MaintenanceError(f"running queries are not known: {error.what}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise MaintenanceError(f"Trino's word on running queries is not understood: {error!r}") from error
        return [query for query in found if query is not None]

    def _query(self, basic: Mapping[str, Any]) -> RunningQuery | None:
        full = self._trino.read(f"/v1/query/{basic['queryId']}?pruned=true")
        if full is None or full["state"] in _OVER:
            return None
        created = datetime.fromisoformat(str(full["queryStats"]["createTime"]).replace("Z", "+00:00"))
        reads = self._reads(full["inputs"]) if full["state"] in _PLANNED else None
        return RunningQuery(
            id=str(full["queryId"]),
            user=str(full["session"]["user"]),
            created_ms=int(created.timestamp() * 1000),
            reads=reads,
        )

    def _reads(self, inputs: list[Mapping[str, Any]]) -> dict[str, frozenset[int | None]]:
        found: dict[str, set[int | None]] = {}
        for one in inputs:
            if one["catalogName"] != self._catalog:
                continue
            # `table$files` and the like read metadata of the table before the mark.
            table = f"{one['schema']}.{str(one['table']).partition('$')[0]}"
            snapshot = (one.get("connectorInfo") or {}).get("snapshotId")
            found.setdefault(table, set()).add(None if snapshot is None else int(snapshot))
        return {table: frozenset(snapshots) for table, snapshots in found.items()}

    def _rows(self, sql: str) -> list[list[Any]]:
        try:
            return self._trino.rows(sql, timeout_s=_READ_S)
        except TrinoError as error:
            raise MaintenanceError(error.what, next_command=error.next_command) from error


# One row of numbers. What a partition holds is never asked for, only how many files and bytes.
_TOTALS = Template(
    """
    SELECT f.files, f.deletes, f.small, f.size, p.saved, m.manifests, m.size,
        CAST(round(to_unixtime(current_timestamp) * 1000) AS bigint)
    FROM (
        SELECT count_if(content = 0) AS files,
            count_if(content <> 0) AS deletes,
            count_if(content = 0 AND file_size_in_bytes < $small_bytes) AS small,
            coalesce(sum(file_size_in_bytes), 0) AS size
        FROM $files
    ) f
    CROSS JOIN (
        SELECT coalesce(sum(greatest(file_count - greatest(1, ideal), 0)), 0) AS saved
        FROM (
            SELECT file_count, CAST(ceiling(CAST(total_size AS double) / $small_bytes) AS bigint) AS ideal
            FROM $partitions
        )
    ) p
    CROSS JOIN (SELECT count(*) AS manifests, coalesce(sum(length), 0) AS size FROM $manifests) m
    """
)
# Rows of kind, two texts and a time.
_DETAILS = Template(
    """
    SELECT 'snapshot', CAST(snapshot_id AS varchar), CAST(parent_id AS varchar),
        CAST(round(to_unixtime(committed_at) * 1000) AS bigint)
    FROM $snapshots
    UNION ALL
    SELECT 'current', CAST(snapshot_id AS varchar), CAST(NULL AS varchar),
        CAST(round(to_unixtime(made_current_at) * 1000) AS bigint)
    FROM $history
    UNION ALL
    SELECT 'reference', CAST(snapshot_id AS varchar), CAST(NULL AS varchar), CAST(NULL AS bigint) FROM $refs
    UNION ALL
    SELECT 'property', "key", "value", CAST(NULL AS bigint) FROM $properties
    """
)


def _totals(table: str, small_bytes: int) -> str:
    names = {name: quoted(table, f"${name}") for name in ("files", "partitions", "manifests")}
    return _TOTALS.substitute(small_bytes=small_bytes, **names)


def _details(table: str) -> str:
    names = ("snapshots", "history", "refs", "properties")
    return _DETAILS.substitute({name: quoted(table, f"${name}") for name in names})
