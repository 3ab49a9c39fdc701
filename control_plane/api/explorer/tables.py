"""One table as the asking user has it: columns, samples, snapshots, files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from contracts.errors import UsageError
from control_plane.api.access import Caller
from control_plane.api.explorer.catalogs import Catalogs
from control_plane.api.governor import Governor
from control_plane.api.problems import NotFoundError
from control_plane.api.queries.trino import (
    BrokenError,
    DeniedError,
    NoSuchObjectError,
    TrinoError,
    quoted,
)
from control_plane.api.schemas.common import Rows
from control_plane.api.schemas.explorer import (
    ColumnLook,
    MetadataRows,
    Snapshot,
    SnapshotDiff,
    Snapshots,
    TableColumn,
    TableDetail,
    TableType,
)
from governance.client import GovernorError, TableOwner
from governance.reports import Explanation, Visibility

_FORBIDDEN = 403
_TOTAL_ROWS, _TOTAL_BYTES = "total-records", "total-files-size"


class Table:
    """A table by its whole name."""

    def __init__(self, catalog: str, namespace: str, name: str) -> None:
        self.catalog, self.namespace, self.name = catalog, namespace, name

    @property
    def sql(self) -> str:
        """For statements."""
        return self.part("")

    @property
    def governed_name(self) -> str:
        """As access data names it."""
        return f"{self.namespace}.{self.name}"

    def part(self, suffix: str) -> str:
        """A metadata table of it, such as ``$files``."""
        return ".".join(quoted(part) for part in (self.catalog, self.namespace, self.name + suffix))


class Tables:
    """What is known about tables."""

    def __init__(self, catalogs: Catalogs, governor: Governor) -> None:
        self._catalogs, self._governor = catalogs, governor

    async def detail(self, caller: Caller, table: Table) -> TableDetail:
        """The table as the caller has it. Raises NotFoundError."""
        columns = await self._catalogs.columns(caller, table.catalog, table.namespace, table.name)
        summaries, tags, access, definition, snapshots, owner = await asyncio.gather(
            self._catalogs.tables(caller, table.catalog, table.namespace),
            self._catalogs.tags(caller, table.catalog),
            self.explanation_or_none(caller, table),
            self._definition(caller, table),
            self._snapshots_if_told(caller, table),
            self._owner(caller, table),
        )
        summary = next((s for s in summaries if s.name == table.name), None)
        uses = {} if access is None else {use.column: use for use in access.view.columns}
        name = table.governed_name.lower()
        current = next((s for s in snapshots.snapshots if s.current), None)
        return TableDetail(
            catalog=table.catalog,
            namespace=table.namespace,
            name=table.name,
            type=TableType.TABLE if summary is None else summary.type,
            comment=None if summary is None else summary.comment,
            tags=tags.get(name, []),
            columns=[
                TableColumn(
                    name=column.name,
                    type=column.type,
                    nullable=column.nullable,
                    comment=column.comment,
                    tags=tags.get(f"{name}.{column.name}".lower(), []),
                    look=(
                        ColumnLook.MASKED
                        if (use := uses.get(column.name.lower())) and use.visibility is Visibility.MASKED
                        else ColumnLook.PLAIN
                    ),
                    mask=use.mask if use else None,
                    rules=list(use.rules) if use else [],
                )
                for column in columns
            ],
            hidden_columns=0 if access is None else access.denied,
            privileges=[] if access is None else sorted({grant.privilege for grant in access.view.grants}),
            row_filters=[] if access is None else [f.predicate for f in access.view.filters],
            owner_group=owner,
            definition=definition,
            current_snapshot_id=None if current is None else current.id,
            row_count=None if current is None else _count(current, _TOTAL_ROWS),
            size_bytes=None if current is None else _count(current, _TOTAL_BYTES),
        )

    async def sample(self, caller: Caller, table: Table, limit: int, snapshot_id: str | None) -> Rows:
        """Some rows as the caller sees them. Raises NotFoundError, DeniedError."""
        await self._require(caller, table)
        at = "" if snapshot_id is None else f" FOR VERSION AS OF {int(snapshot_id)}"
        return await self._catalogs.rows(
            caller, f"SELECT * FROM {table.sql}{at} LIMIT {limit + 1}", limit=limit
        )

    async def snapshots(self, caller: Caller, table: Table) -> Snapshots:
        """The table's snapshots, newest first, or why the caller sees none.

        Raises:
            NotFoundError.
            BrokenError: the engine can't tell now.
        """
        await self._require(caller, table)
        statement = (
            "SELECT s.snapshot_id, s.parent_id, s.committed_at, s.operation, s.summary, s.snapshot_id = "
            f"(SELECT snapshot_id FROM {table.part('$refs')} WHERE name = 'main' AND type = 'BRANCH') "
            f"FROM {table.part('$snapshots')} s ORDER BY s.committed_at DESC"
        )

        async def ask() -> Snapshots:
            try:
                found = await self._catalogs.rows(caller, statement, limit=1000)
            except (DeniedError, NoSuchObjectError) as error:
                return Snapshots(snapshots=[], denied=_why(error))
            return Snapshots(snapshots=[_snapshot(row) for row in found.rows])

        question = ("snapshots", table.catalog, table.namespace, table.name)
        try:
            told: Snapshots = await self._catalogs.cached(caller, question, ask)
        except BrokenError:
            raise
        except TrinoError as error:
            return Snapshots(snapshots=[], denied=_why(error))
        return told

    async def metadata(self, caller: Caller, table: Table, suffix: str, limit: int) -> MetadataRows:
        """Rows of a metadata table, or why the caller sees none.

        Raises:
            NotFoundError.
            BrokenError: the engine can't tell now.
        """
        await self._require(caller, table)
        statement = f"SELECT * FROM {table.part(suffix)} LIMIT {limit + 1}"
        try:
            found = await self._catalogs.rows(caller, statement, limit=limit)
        except BrokenError:
            raise
        except TrinoError as error:
            return MetadataRows(columns=[], rows=[], truncated=False, denied=_why(error))
        return MetadataRows(columns=found.columns, rows=found.rows, truncated=found.truncated)

    async def diff(self, caller: Caller, table: Table, before: str, after: str, limit: int) -> SnapshotDiff:
        """Rows that one snapshot has more often than the other, both as the caller sees them.

        Raises:
            NotFoundError.
            UsageError: the two have no column in common.
            TrinoError: there is no such snapshot.
        """
        await self._require(caller, table)
        old, new = (f"{table.sql} FOR VERSION AS OF {int(version)}" for version in (before, after))
        heads = await asyncio.gather(
            *(self._catalogs.rows(caller, f"SELECT * FROM {version} LIMIT 0") for version in (old, new))
        )
        in_old = {(c.name, c.type) for c in heads[0].columns}
        shared = [c for c in heads[1].columns if (c.name, c.type) in in_old]
        if not shared:
            raise UsageError("the two snapshots have no column in common", value=f"{before}, {after}")
        names = ", ".join(quoted(c.name) for c in shared)

        def more(left: str, right: str) -> str:
            only = f"SELECT {names} FROM {left} EXCEPT ALL SELECT {names} FROM {right}"
            return f"SELECT {names}, count(*) OVER () FROM ({only}) LIMIT {limit}"

        added, removed = await asyncio.gather(
            self._catalogs.rows(caller, more(new, old), limit=limit),
            self._catalogs.rows(caller, more(old, new), limit=limit),
        )
        return SnapshotDiff(
            from_snapshot_id=before,
            to_snapshot_id=after,
            columns=shared,
            added=[row[:-1] for row in added.rows],
            removed=[row[:-1] for row in removed.rows],
            added_count=int(added.rows[0][-1]) if added.rows else 0,
            removed_count=int(removed.rows[0][-1]) if removed.rows else 0,
        )

    async def explanation(self, caller: Caller, table: Table, user: str | None) -> Explanation:
        """Why the caller, or somebody else, has the table as they do. Raises NotFoundError, GovernorError."""
        if table.catalog != self._catalogs.governed:
            raise NotFoundError(
                "rules are about the lab's own catalog alone",
                value=table.catalog,
                permitted=self._catalogs.governed,
            )
        return await self._governor.ask(caller, lambda client: client.explain(table.governed_name, user))

    async def explanation_or_none(self, caller: Caller, table: Table) -> Explanation | None:
        """The caller's own; None where there is none to have."""
        if table.catalog != self._catalogs.governed:
            return None
        question = ("explanation", table.catalog, table.namespace, table.name)

        async def ask() -> Explanation | None:
            try:
                return await self.explanation(caller, table, None)
            except GovernorError as error:
                if error.status is None or error.status >= 500:
                    raise
                return None

        found: Explanation | None = await self._catalogs.cached(caller, question, ask)
        return found

    async def _snapshots_if_told(self, caller: Caller, table: Table) -> Snapshots:
        """None where the engine can't tell now: a table's columns are worth showing without its history."""
        try:
            return await self.snapshots(caller, table)
        except BrokenError:
            return Snapshots(snapshots=[])

    async def _require(self, caller: Caller, table: Table) -> None:
        await self._catalogs.columns(caller, table.catalog, table.namespace, table.name)

    async def _definition(self, caller: Caller, table: Table) -> str | None:
        async def ask() -> str | None:
            for kind in ("TABLE", "VIEW"):
                try:
                    found = await self._catalogs.rows(caller, f"SHOW CREATE {kind} {table.sql}")
                except TrinoError as error:
                    if isinstance(error, DeniedError | NoSuchObjectError):
                        return None
                    continue
                return str(found.rows[0][0]) if found.rows else None
            return None

        question = ("definition", table.catalog, table.namespace, table.name)
        definition: str | None = await self._catalogs.cached(caller, question, ask)
        return definition

    async def _owner(self, caller: Caller, table: Table) -> str | None:
        if table.catalog != self._catalogs.governed:
            return None

        async def ask() -> Sequence[TableOwner]:
            try:
                return await self._governor.ask(caller, lambda client: client.owners())
            except GovernorError as error:
                if error.status != _FORBIDDEN:
                    raise
                return ()

        owners: Sequence[TableOwner] = await self._catalogs.cached(caller, "owners", ask)
        return next((o.group for o in owners if o.table.lower() == table.governed_name.lower()), None)


def _snapshot(row: list[Any]) -> Snapshot:
    number, parent, committed, operation, summary, current = row
    at, _, zone = str(committed).rpartition(" ")
    moment = datetime.fromisoformat(f"{at}+00:00" if zone == "UTC" else f"{at}{zone}")
    return Snapshot(
        id=str(number),
        parent_id=None if parent is None else str(parent),
        committed_at=moment,
        operation=str(operation or "unknown"),
        summary={str(key): str(value) for key, value in (summary or {}).items()},
        current=bool(current),
    )


def _count(snapshot: Snapshot, key: str) -> int | None:
    value = snapshot.summary.get(key, "")
    return int(value) if value.isdecimal() else None


def _why(error: TrinoError) -> str:
    if isinstance(error, DeniedError | NoSuchObjectError):
        return "rules keep some of this table from you, and metadata would tell of it"
    return error.what
