"""Tables of the governance database.

A revision holds the whole access document: publishing is atomic, a difference is one of two documents
and rolling back is writing an old one again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Identity,
    Index,
    Text,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = "0004"
"""The newest migration: a database that is there already needs no Alembic at start."""


class Base(DeclarativeBase):
    """Declarative base of the governance database."""


def _timestamp() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp(), nullable=False)


class AccessRevisionRow(Base):
    """One revision of the access data. ``based_on`` is unique, nulls included: history has no forks."""

    __tablename__ = "access_revision"
    __table_args__ = (
        UniqueConstraint("based_on", name="access_revision_linear", postgresql_nulls_not_distinct=True),
    )

    revision: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    author: Mapped[str] = mapped_column(Text, nullable=False)
    reason: Mapped[str] = mapped_column(Text, nullable=False)
    created_at: Mapped[datetime] = _timestamp()
    based_on: Mapped[int | None] = mapped_column(BigInteger)


class AccessSeedRow(Base):
    """The seed that was applied last, one row a name."""

    __tablename__ = "access_seed"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    digest: Mapped[str] = mapped_column(Text, nullable=False)
    applied_at: Mapped[datetime] = _timestamp()


class TableOwnerRow(Base):
    """The group that a table belongs to until it is granted."""

    __tablename__ = "table_owner"

    table_name: Mapped[str] = mapped_column(Text, primary_key=True)
    group_name: Mapped[str] = mapped_column(Text, nullable=False)
    registered_by: Mapped[str] = mapped_column(Text, nullable=False)
    registered_at: Mapped[datetime] = _timestamp()


class PublicationRow(Base):
    """A revision that reached the object store; ``issued_at`` is its latest signature."""

    __tablename__ = "publication"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    first_issued_at: Mapped[datetime] = _timestamp()
    issued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    etag: Mapped[str] = mapped_column(Text, nullable=False)


class GovernorEventRow(Base):
    """One line of the log of changes; the database refuses to change or remove it."""

    __tablename__ = "governor_event"
    __table_args__ = (Index("governor_event_at", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = _timestamp()
    who: Mapped[str] = mapped_column(Text, nullable=False)
    what: Mapped[str] = mapped_column(Text, nullable=False)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)


class AuditQueryRow(Base):
    """A query's beginning (``stage`` created) or end (completed), as Trino told it. The audit's tables can
    only be added to; ``audit_retain`` alone removes what is old."""

    __tablename__ = "audit_query"
    __table_args__ = (
        Index("audit_query_begun", "begun_at"),
        Index("audit_query_user", "username", "begun_at"),
        Index("audit_query_recorded", "recorded_at"),
    )

    query_id: Mapped[str] = mapped_column(Text, primary_key=True)
    stage: Mapped[str] = mapped_column(Text, primary_key=True)
    recorded_at: Mapped[datetime] = _timestamp()
    username: Mapped[str] = mapped_column(Text, nullable=False)
    begun_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    denied: Mapped[bool] = mapped_column(Boolean, nullable=False)
    tables: Mapped[list[str]] = mapped_column(ARRAY(Text), nullable=False)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)


class AuditDecisionRow(Base):
    """One of OPA's decisions."""

    __tablename__ = "audit_decision"
    __table_args__ = (
        Index("audit_decision_user", "username", "at"),
        Index("audit_decision_recorded", "recorded_at"),
    )

    decision_id: Mapped[str] = mapped_column(Text, primary_key=True)
    recorded_at: Mapped[datetime] = _timestamp()
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    username: Mapped[str] = mapped_column(Text, nullable=False)
    query_id: Mapped[str | None] = mapped_column(Text)
    operation: Mapped[str] = mapped_column(Text, nullable=False)
    object: Mapped[str] = mapped_column(Text, nullable=False)
    allowed: Mapped[bool | None] = mapped_column(Boolean)
    revision: Mapped[int | None] = mapped_column(BigInteger)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)


class AuditEventRow(Base):
    """What happened to the audit itself: gaps, producers that began anew, removal of what is old."""

    __tablename__ = "audit_event"
    __table_args__ = (Index("audit_event_recorded", "recorded_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    recorded_at: Mapped[datetime] = _timestamp()
    who: Mapped[str] = mapped_column(Text, nullable=False)
    what: Mapped[str] = mapped_column(Text, nullable=False)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)


class AuditStateRow(Base):
    """How far deliveries and checks got; no part of the audit."""

    __tablename__ = "audit_state"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)


class MaintenanceRevisionRow(Base):
    """One revision of the maintenance policies, with the seed that it follows; history has no forks."""

    __tablename__ = "maintenance_revision"
    __table_args__ = (
        UniqueConstraint("based_on", name="maintenance_revision_linear", postgresql_nulls_not_distinct=True),
    )

    revision: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    seed: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    author: Mapped[str] = mapped_column(Text, nullable=False)
    reason: Mapped[str] = mapped_column(Text, nullable=False)
    created_at: Mapped[datetime] = _timestamp()
    based_on: Mapped[int | None] = mapped_column(BigInteger)


class MaintenanceRunRow(Base):
    """One run of maintenance on one table; the row is there from its beginning."""

    __tablename__ = "maintenance_run"
    __table_args__ = (
        Index("maintenance_run_table", "table_name", "id"),
        Index("maintenance_run_started", "started_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    table_name: Mapped[str] = mapped_column(Text, nullable=False)
    asked_by: Mapped[str] = mapped_column(Text, nullable=False)
    scheduled: Mapped[bool] = mapped_column(Boolean, nullable=False)
    started_at: Mapped[datetime] = _timestamp()
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    outcome: Mapped[str] = mapped_column(Text, nullable=False)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)


class WorkspaceRow(Base):
    """A workspace. ``steps`` are those done in this ``state``; ``drop_tables``: its tables go with it."""

    __tablename__ = "workspace"
    __table_args__ = (CheckConstraint("state IN ('making', 'ready', 'removing')", name="workspace_state"),)

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    name: Mapped[str] = mapped_column(Text, nullable=False, unique=True)
    description: Mapped[str] = mapped_column(Text, nullable=False)
    owners: Mapped[list[str]] = mapped_column(ARRAY(Text), nullable=False)
    quota: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    state: Mapped[str] = mapped_column(Text, nullable=False)
    steps: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, nullable=False)
    error: Mapped[str | None] = mapped_column(Text)
    location: Mapped[str | None] = mapped_column(Text)
    drop_tables: Mapped[bool] = mapped_column(Boolean, nullable=False)
    created_by: Mapped[str] = mapped_column(Text, nullable=False)
    created_at: Mapped[datetime] = _timestamp()
