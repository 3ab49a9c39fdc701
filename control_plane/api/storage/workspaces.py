"""What the console keeps of workspaces: connections, uploads, ingests, and data sets.

Every method that takes a workspace finds nothing of another. All raise sqlalchemy.exc.OperationalError.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from control_plane.api.problems import ConflictError, NotFoundError, StaleError
from control_plane.api.storage.models import ConnectionRow, DatasetRow, IngestRow, KeptRow, UploadRow

Row = TypeVar("Row", ConnectionRow, UploadRow, IngestRow)

Within = Callable[[Transaction], None]
"""What is done first in the transaction that keeps something."""

_INGESTS_KEPT = timedelta(days=90)


class ConnectionStore:
    """Connections by workspace."""

    def __init__(self, sessions: sessionmaker[Transaction]) -> None:
        self._sessions = sessions

    def all(self, workspace_id: UUID) -> list[ConnectionRow]:
        """Those of a workspace, by name."""
        query = select(ConnectionRow).where(ConnectionRow.workspace_id == workspace_id)
        with self._sessions() as transaction:
            return list(transaction.scalars(query.order_by(ConnectionRow.name)))

    def get(self, workspace_id: UUID, connection_id: UUID) -> ConnectionRow:
        """One of them. Raises NotFoundError."""
        with self._sessions() as transaction:
            return _one(transaction, ConnectionRow, workspace_id, connection_id, "connection")

    def create(
        self,
        workspace_id: UUID,
        connection_id: UUID,
        *,
        name: str,
        config: Mapping[str, Any],
        secret: bytes | None,
        author: str,
    ) -> ConnectionRow:
        """Keeps a new one. Raises ConflictError: the name is taken."""
        row = ConnectionRow(
            id=connection_id,
            workspace_id=workspace_id,
            name=name,
            kind=config["kind"],
            config=dict(config),
            secret=secret,
            version=1,
            created_by=author,
            updated_by=author,
        )
        try:
            with self._sessions.begin() as transaction:
                transaction.add(row)
                transaction.flush()
                transaction.refresh(row)
                transaction.expunge(row)
                return row
        except IntegrityError as error:
            raise _taken(name) from error

    def update(
        self,
        workspace_id: UUID,
        connection_id: UUID,
        version: int,
        *,
        name: str,
        config: Mapping[str, Any],
        secret: bytes | None,
        author: str,
    ) -> ConnectionRow:
        """Replaces what is at ``version``. Raises NotFoundError, StaleError, ConflictError."""
        try:
            with self._sessions.begin() as transaction:
                row = _one(transaction, ConnectionRow, workspace_id, connection_id, "connection")
                _require(row.version, version, row.updated_by)
                row.name, row.kind, row.config, row.secret = name, config["kind"], dict(config), secret
                row.version += 1
                row.updated_by, row.updated_at = author, datetime.now(tz=UTC)
                transaction.flush()
                transaction.expunge(row)
                return row
        except IntegrityError as error:
            raise _taken(name) from error

    def delete(self, workspace_id: UUID, connection_id: UUID, version: int) -> None:
        """Removes it with its secret. Raises NotFoundError, StaleError."""
        with self._sessions.begin() as transaction:
            row = _one(transaction, ConnectionRow, workspace_id, connection_id, "connection")
            _require(row.version, version, row.updated_by)
            transaction.delete(row)


class UploadStore:
    """Files in the spool, by workspace."""

    def __init__(self, sessions: sessionmaker[Transaction]) -> None:
        self._sessions = sessions

    def add(self, within: Within, **values: Any) -> UploadRow:
        """Notes a file that begins to come, unless ``within`` raises."""
        row = UploadRow(**values)
        with self._sessions.begin() as transaction:
            within(transaction)
            transaction.add(row)
            transaction.flush()
            transaction.refresh(row)
            transaction.expunge(row)
            return row

    def all(self, workspace_id: UUID) -> list[UploadRow]:
        """Those of a workspace, newest first."""
        query = select(UploadRow).where(UploadRow.workspace_id == workspace_id)
        with self._sessions() as transaction:
            return list(transaction.scalars(query.order_by(UploadRow.created_at.desc())))

    def get(self, workspace_id: UUID, upload_id: UUID) -> UploadRow:
        """One of them. Raises NotFoundError."""
        with self._sessions() as transaction:
            return _one(transaction, UploadRow, workspace_id, upload_id, "upload")

    def set(self, upload_id: UUID, **values: Any) -> None:
        """Sets columns; one that is gone stays gone."""
        with self._sessions.begin() as transaction:
            transaction.execute(update(UploadRow).where(UploadRow.id == upload_id).values(values))

    def remove(self, upload_id: UUID) -> None:
        """Forgets it."""
        with self._sessions.begin() as transaction:
            transaction.execute(delete(UploadRow).where(UploadRow.id == upload_id))

    def ids(self) -> list[UUID]:
        """All of them, whatever the workspace."""
        with self._sessions() as transaction:
            return list(transaction.scalars(select(UploadRow.id)))

    def older_than(self, age: timedelta) -> list[UUID]:
        """Those that came so long ago."""
        with self._sessions() as transaction:
            old = UploadRow.created_at < datetime.now(tz=UTC) - age
            return list(transaction.scalars(select(UploadRow.id).where(old)))


class IngestStore:
    """Ingests, by workspace."""

    def __init__(self, sessions: sessionmaker[Transaction]) -> None:
        self._sessions = sessions

    def add(self, within: Within, **values: Any) -> IngestRow:
        """Notes one that begins, unless ``within`` raises."""
        row = IngestRow(id=uuid4(), progress={}, **values)
        with self._sessions.begin() as transaction:
            within(transaction)
            transaction.add(row)
            transaction.flush()
            transaction.refresh(row)
            transaction.expunge(row)
            return row

    def all(self, workspace_id: UUID, limit: int) -> list[IngestRow]:
        """Those of a workspace, newest first."""
        query = select(IngestRow).where(IngestRow.workspace_id == workspace_id)
        with self._sessions() as transaction:
            return list(transaction.scalars(query.order_by(IngestRow.created_at.desc()).limit(limit)))

    def get(self, workspace_id: UUID, ingest_id: UUID) -> IngestRow:
        """One of them. Raises NotFoundError."""
        with self._sessions() as transaction:
            return _one(transaction, IngestRow, workspace_id, ingest_id, "ingest")

    def set(self, ingest_id: UUID, **values: Any) -> None:
        """Sets columns."""
        with self._sessions.begin() as transaction:
            transaction.execute(update(IngestRow).where(IngestRow.id == ingest_id).values(values))

    def lose_running(self) -> None:
        """What an earlier process left running is lost."""
        values = {"state": "lost", "ended_at": func.clock_timestamp()}
        with self._sessions.begin() as transaction:
            transaction.execute(update(IngestRow).where(IngestRow.state == "running").values(values))

    def remove_old(self) -> None:
        """Forgets what is older than the history goes back."""
        old = IngestRow.created_at < datetime.now(tz=UTC) - _INGESTS_KEPT
        with self._sessions.begin() as transaction:
            transaction.execute(delete(IngestRow).where(old, IngestRow.state != "running"))


class DatasetStore:
    """Registered tables by name."""

    def __init__(self, sessions: sessionmaker[Transaction]) -> None:
        self._sessions = sessions

    def get(self, table: str) -> DatasetRow | None:
        """What is registered of a table."""
        with self._sessions() as transaction:
            return transaction.get(DatasetRow, table)

    def all(self) -> list[DatasetRow]:
        """All of them, by table."""
        with self._sessions() as transaction:
            return list(transaction.scalars(select(DatasetRow).order_by(DatasetRow.table_name)))

    def put(
        self,
        table: str,
        version: int | None,
        *,
        owner: str,
        description: str,
        tags: Sequence[str],
        author: str,
    ) -> DatasetRow:
        """Registers a table, or replaces what is at ``version``. Raises StaleError."""
        with self._sessions.begin() as transaction:
            row = transaction.get(DatasetRow, table, with_for_update=True)
            if row is None:
                row = DatasetRow(table_name=table, version=0)
                transaction.add(row)
            elif version is not None:
                _require(row.version, version, row.updated_by)
            row.owner, row.description, row.tags = owner, description, sorted(set(tags))
            row.version += 1
            row.updated_by, row.updated_at = author, datetime.now(tz=UTC)
            transaction.flush()
            transaction.expunge(row)
            return row

    def delete(self, table: str) -> bool:
        """Takes it back; whether it was registered."""
        with self._sessions.begin() as transaction:
            row = transaction.get(DatasetRow, table)
            if row is not None:
                transaction.delete(row)
            return row is not None


def forget_workspace(
    sessions: sessionmaker[Transaction], workspace_id: UUID, namespace: str
) -> Collection[UUID]:
    """Removes what belonged to a workspace that is gone; the ids of its uploads."""
    with sessions.begin() as transaction:
        uploads = list(
            transaction.scalars(select(UploadRow.id).where(UploadRow.workspace_id == workspace_id))
        )
        for model in (ConnectionRow, UploadRow, IngestRow):
            transaction.execute(delete(model).where(model.workspace_id == workspace_id))
        transaction.execute(delete(KeptRow).where(KeptRow.workspace_id == workspace_id))
        inside = DatasetRow.table_name.startswith(f"{namespace}.", autoescape=True)
        transaction.execute(delete(DatasetRow).where(inside))
    return uploads


def _one(transaction: Transaction, model: type[Row], workspace_id: UUID, row_id: UUID, noun: str) -> Row:
    row = transaction.get(model, row_id)
    if row is None or row.workspace_id != workspace_id:
        raise NotFoundError(f"there is no {noun} of that id in the workspace", value=row_id)
    return row


def _require(living: int, version: int, updated_by: str) -> None:
    if living != version:
        raise StaleError(
            f"{updated_by!r} changed this since you read it",
            value=f'"{version}"',
            permitted=f'"{living}"',
            next_command="read it again and repeat the change",
        )


def _taken(name: str) -> ConflictError:
    return ConflictError(
        f"there is a connection {name!r} in the workspace", value=name, permitted="another name"
    )
