"""The governance database: revisions of the access data, seeds, owners, publications, events.

All methods raise sqlalchemy.exc.OperationalError while PostgreSQL can't be reached.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from contracts.errors import LabError
from governance.client import (
    AccessRevision,
    Publication,
    RevisionSummary,
    StaleRevisionError,
    TableOwner,
)
from governance.migrating import upgrade
from governance.models import (
    SCHEMA_VERSION,
    AccessRevisionRow,
    AccessSeedRow,
    GovernorEventRow,
    PublicationRow,
    TableOwnerRow,
)

_MIGRATE_LOCK = 0x6C616B65_0001
_ACCESS_LOCK = 0x6C616B65_0002
_PUBLISH_LOCK = 0x6C616B65_0003

SEED_NAME = "access"


class OwnedByAnotherError(LabError):
    """The table belongs to another group already."""


def document_digest(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a document's canonical JSON; equal documents give equal digests."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def make_engine(url: str, *, application_name: str = "governor") -> Engine:
    """A small pool for ``postgresql+psycopg://…``; connections are checked before use, so that a
    restart of PostgreSQL costs no failed request."""
    return create_engine(
        url,
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=True,
        pool_timeout=10,
        connect_args={"connect_timeout": 5, "application_name": application_name},
    )


class Store:
    """The database behind the governor. Methods take and give values, never rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def upgrade(self) -> None:
        """Brings the schema to the newest version. Several starting at once wait for one another."""
        upgrade(
            self._engine,
            migrations=Path(__file__).parent / "migrations",
            newest=SCHEMA_VERSION,
            lock=_MIGRATE_LOCK,
        )

    def ping(self) -> None:
        """Asks the database for one row."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    # --- access data -------------------------------------------------------------------------------

    def current(self) -> AccessRevision | None:
        """The living access data, None before the first seed."""
        with self._sessions() as session:
            row = _newest(session)
            return None if row is None else _revision(row)

    def revision(self, number: int) -> AccessRevision | None:
        """One revision, None when there is none of that number."""
        with self._sessions() as session:
            row = session.get(AccessRevisionRow, number)
            return None if row is None else _revision(row)

    def revisions(self, *, limit: int = 100) -> tuple[RevisionSummary, ...]:
        """The history without documents, newest first."""
        columns = (
            AccessRevisionRow.revision,
            AccessRevisionRow.author,
            AccessRevisionRow.reason,
            AccessRevisionRow.created_at,
            AccessRevisionRow.based_on,
        )
        query = select(*columns).order_by(AccessRevisionRow.revision.desc()).limit(limit)
        with self._sessions() as session:
            return tuple(RevisionSummary(**row._mapping) for row in session.execute(query))

    def write(
        self,
        document: Mapping[str, Any],
        *,
        base_revision: int | None,
        author: str,
        reason: str,
        what: str = "access.put",
    ) -> AccessRevision:
        """Makes ``document`` the living one. A document equal to the living one makes no revision.

        Raises:
            StaleRevisionError: ``base_revision`` is not the living revision.
        """
        with self.changing(author) as change:
            change.require_base(base_revision)
            return change.write(document, reason=reason, what=what)

    @contextmanager
    def changing(self, author: str) -> Iterator[AccessChange]:
        """One transaction that may write access data, seed and owners; one at a time, all or nothing."""
        with self._sessions.begin() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ACCESS_LOCK})
            yield AccessChange(session, author)

    # --- owners --------------------------------------------------------------------------------------

    def owners(self) -> tuple[TableOwner, ...]:
        """All registered owners, by table."""
        with self._sessions() as session:
            return _owners(session)

    # --- publication ---------------------------------------------------------------------------------

    def publication(self) -> Publication | None:
        """What was published last."""
        query = select(PublicationRow).order_by(PublicationRow.revision.desc()).limit(1)
        with self._sessions() as session:
            row = session.scalars(query).first()
            if row is None:
                return None
            return Publication(revision=row.revision, issued_at=row.issued_at, etag=row.etag)

    @contextmanager
    def publishing(self) -> Iterator[Publishing]:
        """Holds the right to publish, across processes, so that no older revision overtakes a newer."""
        with self._sessions.begin() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PUBLISH_LOCK})
            yield Publishing(session)

    # --- events --------------------------------------------------------------------------------------

    def log(self, who: str, what: str, detail: Mapping[str, Any]) -> None:
        """Appends one event."""
        with self._sessions.begin() as session:
            session.add(GovernorEventRow(who=who, what=what, detail=dict(detail)))

    def events(self, *, limit: int = 100) -> tuple[tuple[str, str, dict[str, Any]], ...]:
        """Who, what and detail of the latest events, newest first."""
        query = select(GovernorEventRow).order_by(GovernorEventRow.id.desc()).limit(limit)
        with self._sessions() as session:
            return tuple((row.who, row.what, row.detail) for row in session.scalars(query))


class AccessChange:
    """A change under way; see :meth:`Store.changing`."""

    def __init__(self, session: Session, author: str) -> None:
        self._session = session
        self._author = author
        row = _newest(session)
        self.living: AccessRevision | None = None if row is None else _revision(row)

    def require_base(self, base_revision: int | None) -> None:
        """Raises StaleRevisionError unless ``base_revision`` is the living revision."""
        living = None if self.living is None else self.living.revision
        if base_revision != living:
            raise StaleRevisionError(
                "the access data changed since it was read",
                status=409,
                value=base_revision,
                permitted=f"a change based on revision {living}",
                next_command="lab policy diff, then repeat the change",
            )

    def write(self, document: Mapping[str, Any], *, reason: str, what: str) -> AccessRevision:
        """Adds a revision with ``document``, or gives the living one when it is equal."""
        if self.living is not None and self.living.document == document:
            return self.living
        row = AccessRevisionRow(
            document=dict(document),
            author=self._author,
            reason=reason,
            based_on=None if self.living is None else self.living.revision,
        )
        self._session.add(row)
        self._session.flush()
        self.log(what, {"revision": row.revision, "based_on": row.based_on, "reason": reason})
        self._session.refresh(row)
        self.living = _revision(row)
        return self.living

    def seed_document(self) -> tuple[dict[str, Any], str] | None:
        """Document and digest of the seed applied last."""
        row = self._session.get(AccessSeedRow, SEED_NAME)
        return None if row is None else (row.document, row.digest)

    def write_seed(self, document: Mapping[str, Any], digest: str) -> None:
        """Notes the seed that is applied by this change."""
        values = {"document": dict(document), "digest": digest}
        statement = insert(AccessSeedRow).values(name=SEED_NAME, **values)
        changed = statement.on_conflict_do_update(
            index_elements=[AccessSeedRow.name], set_={**values, "applied_at": text("clock_timestamp()")}
        )
        self._session.execute(changed)

    def register_owner(self, table: str, group: str) -> TableOwner:
        """Notes the owner of a table; repeating it gives the first registration.

        Raises:
            OwnedByAnotherError: another group owns it.
        """
        row = self._session.get(TableOwnerRow, table)
        if row is None:
            row = TableOwnerRow(table_name=table, group_name=group, registered_by=self._author)
            self._session.add(row)
            self._session.flush()
            self._session.refresh(row)
            self.log("owner.register", {"table": table, "group": group})
        elif row.group_name != group:
            raise OwnedByAnotherError(
                f"table {table!r} belongs to another group",
                value=group,
                permitted=f"its owner {row.group_name!r}, or a grant by a steward",
                next_command="lab policy explain " + table,
            )
        return _owner(row)

    def release_owners(self, tables: frozenset[str]) -> None:
        """Forgets the owners of tables that are gone, so that nobody inherits a successor's."""
        for table in sorted(tables):
            row = self._session.get(TableOwnerRow, table)
            if row is not None:
                self._session.delete(row)
                self.log("owner.release", {"table": table, "group": row.group_name})

    def log(self, what: str, detail: Mapping[str, Any]) -> None:
        """Appends an event that stands or falls with this change."""
        self._session.add(GovernorEventRow(who=self._author, what=what, detail=dict(detail)))


class Publishing:
    """The right to publish; see :meth:`Store.publishing`. Reads are of the moment the right was had."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def current(self) -> AccessRevision | None:
        """The revision to publish."""
        row = _newest(self._session)
        return None if row is None else _revision(row)

    def owners(self) -> tuple[TableOwner, ...]:
        """The owners to publish with it."""
        return _owners(self._session)

    def record(self, publication: Publication) -> None:
        """Notes what lies in the object store now. A repeated signature makes no new row."""
        values = {"issued_at": publication.issued_at, "etag": publication.etag}
        statement = insert(PublicationRow).values(revision=publication.revision, **values)
        self._session.execute(
            statement.on_conflict_do_update(index_elements=[PublicationRow.revision], set_=values)
        )


def _newest(session: Session) -> AccessRevisionRow | None:
    return session.scalars(
        select(AccessRevisionRow).order_by(AccessRevisionRow.revision.desc()).limit(1)
    ).first()


def _revision(row: AccessRevisionRow) -> AccessRevision:
    return AccessRevision(
        revision=row.revision,
        author=row.author,
        reason=row.reason,
        created_at=row.created_at,
        based_on=row.based_on,
        document=row.document,
    )


def _owners(session: Session) -> tuple[TableOwner, ...]:
    query = select(TableOwnerRow).order_by(TableOwnerRow.table_name)
    return tuple(_owner(row) for row in session.scalars(query))


def _owner(row: TableOwnerRow) -> TableOwner:
    return TableOwner(
        table=row.table_name,
        group=row.group_name,
        registered_by=row.registered_by,
        registered_at=row.registered_at,
    )
