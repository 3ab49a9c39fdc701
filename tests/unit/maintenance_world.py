"""Tables as an engine maintains them, kept by rule and not by file: each procedure does to a table's state
what Trino and Iceberg do."""

from __future__ import annotations

import re
from dataclasses import replace

from governance.maintenance.engine import ConflictError, MaintenanceError
from governance.maintenance.planning import Current, RunningQuery, Snapshot, TableState, expiring

DAY_MS = 86_400_000
NOW_MS = 1_900_000_000_000
_STATEMENT = re.compile(r'ALTER TABLE "(.+)"\."(.+)" EXECUTE (\w+)(?:\(\w+ => \'(\d+)\w+\'\))?')


def worn(*, files: int = 20) -> TableState:
    """A table of many small commits, the older half of them last month."""
    snapshots = tuple(
        Snapshot(
            id=number,
            parent_id=number - 1 if number > 1 else None,
            committed_ms=NOW_MS - (30 * DAY_MS if number <= files // 2 else DAY_MS) + number * 600_000,
        )
        for number in range(1, files + 1)
    )
    return TableState(
        files=files,
        delete_files=0,
        small_files=files,
        savable_files=files - 1,
        bytes=files * 1000,
        manifests=files,
        manifest_bytes=files * 7000,
        read_ms=NOW_MS,
        snapshots=snapshots,
        history=tuple(Current(since_ms=one.committed_ms, snapshot_id=one.id) for one in snapshots),
        referenced=frozenset({files}),
    )


class FakeEngine:
    """Implements ``governance.maintenance.engine.Engine``. ``conflicts`` and ``failures`` name what goes
    wrong (``procedure ns.table``); ``broken`` tables can't be read."""

    def __init__(self) -> None:
        self.tables: dict[str, TableState] = {}
        self.queries: list[RunningQuery] = []
        self.conflicts: set[str] = set()
        self.failures: set[str] = set()
        self.broken: set[str] = set()
        self.executed: list[str] = []

    def state(self, table: str, small_file_mib: int) -> TableState:
        """As it is now."""
        if table in self.broken:
            raise MaintenanceError(f"metadata of {table} can't be read")
        return self.tables[table]

    def running(self) -> list[RunningQuery]:
        """What the test put there."""
        return list(self.queries)

    def execute(self, sql: str) -> None:
        """Does what the procedure would."""
        match = _STATEMENT.fullmatch(sql)
        assert match is not None, sql
        table, procedure = f"{match[1]}.{match[2]}", match[3]
        if f"{procedure} {table}" in self.conflicts:
            raise ConflictError("Failed to commit during optimize")
        if f"{procedure} {table}" in self.failures:
            raise MaintenanceError("out of memory")
        self.executed.append(f"{procedure} {table}")
        state = self.tables[table]
        if procedure == "optimize":
            state = _commit(replace(state, files=1, small_files=1, savable_files=0, delete_files=0))
        elif procedure == "optimize_manifests":
            state = _commit(replace(state, manifests=1, manifest_bytes=7000))
        elif procedure == "expire_snapshots":
            gone = expiring(state, state.read_ms - int(match[4]))
            kept = tuple(one for one in state.snapshots if one.id not in gone)
            history = tuple(entry for entry in state.history if entry.snapshot_id not in gone)
            state = replace(state, snapshots=kept, history=history)
        self.tables[table] = state


def _commit(state: TableState) -> TableState:
    newest = state.snapshots[-1]
    made = Snapshot(id=newest.id + 1, parent_id=newest.id, committed_ms=state.read_ms)
    return replace(
        state,
        manifests=state.manifests + 1 if state.manifests > 1 else 1,
        snapshots=(*state.snapshots, made),
        history=(*state.history, Current(since_ms=made.committed_ms, snapshot_id=made.id)),
        referenced=frozenset({made.id}),
    )
