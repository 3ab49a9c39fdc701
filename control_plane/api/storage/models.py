"""Tables of the console's database."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = "0005"
"""The newest migration."""


class Base(DeclarativeBase):
    """Declarative base of the console's database."""


def _timestamp() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp(), nullable=False)


class SessionRow(Base):
    """A browser's sign-in. ``id_hash`` is SHA-256 of what the cookie holds, so that who reads the database
    has no session; ``tokens`` are sealed. ``subject`` and ``sid`` are Keycloak's."""

    __tablename__ = "session"
    __table_args__ = (Index("session_sid", "sid"), Index("session_subject", "subject"))

    id_hash: Mapped[str] = mapped_column(Text, primary_key=True)
    username: Mapped[str] = mapped_column(Text, nullable=False)
    display_name: Mapped[str] = mapped_column(Text, nullable=False)
    email: Mapped[str | None] = mapped_column(Text)
    groups: Mapped[list[str]] = mapped_column(ARRAY(Text), nullable=False)
    subject: Mapped[str] = mapped_column(Text, nullable=False)
    sid: Mapped[str | None] = mapped_column(Text)
    tokens: Mapped[bytes] = mapped_column(LargeBinary, nullable=False)
    access_ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False, index=True)
    created_at: Mapped[datetime] = _timestamp()


class KeptRow(Base):
    """Something that a person keeps: a query, a chart, a dashboard, a job. ``document`` has the form of its
    kind; ``version`` counts its changes. ``workspace_id``: the workspace that a chart or a dashboard belongs
    to, None for what is its owner's alone."""

    __tablename__ = "kept"
    __table_args__ = (
        CheckConstraint("kind IN ('query', 'chart', 'dashboard', 'job')", name="kept_kind"),
        Index("kept_owner", "owner", "kind"),
        Index("kept_workspace", "workspace_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text, nullable=False)
    owner: Mapped[str] = mapped_column(Text, nullable=False)
    title: Mapped[str] = mapped_column(Text, nullable=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    version: Mapped[int] = mapped_column(BigInteger, nullable=False)
    created_at: Mapped[datetime] = _timestamp()
    updated_at: Mapped[datetime] = _timestamp()
    updated_by: Mapped[str] = mapped_column(Text, nullable=False)
    workspace_id: Mapped[UUID | None] = mapped_column()


class ShareRow(Base):
    """A group that something kept is shared with."""

    __tablename__ = "share"
    __table_args__ = (Index("share_group", "group_name"),)

    kept_id: Mapped[UUID] = mapped_column(ForeignKey("kept.id", ondelete="CASCADE"), primary_key=True)
    group_name: Mapped[str] = mapped_column(Text, primary_key=True)
    may_edit: Mapped[bool] = mapped_column(Boolean, nullable=False)


class QueryRow(Base):
    """A query that somebody ran: its text and how it went, never its rows."""

    __tablename__ = "query"
    __table_args__ = (Index("query_history", "owner", "created_at", "id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str] = mapped_column(Text, nullable=False)
    origin: Mapped[str] = mapped_column(Text, nullable=False)
    statement: Mapped[str] = mapped_column(Text, nullable=False)
    catalog: Mapped[str | None] = mapped_column(Text)
    namespace: Mapped[str | None] = mapped_column(Text)
    parameters: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, nullable=False)
    saved_query_id: Mapped[UUID | None] = mapped_column()
    state: Mapped[str] = mapped_column(Text, nullable=False)
    trino_query_id: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    row_count: Mapped[int] = mapped_column(BigInteger, nullable=False, server_default="0")
    created_at: Mapped[datetime] = _timestamp()
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class ConnectionRow(Base):
    """Where a workspace's data comes from. ``config`` has the form of its kind; ``secret`` is sealed, bound
    to the row, and never read by anybody but the console."""

    __tablename__ = "connection"
    __table_args__ = (
        CheckConstraint("kind IN ('postgresql', 's3', 'files', 'http')", name="connection_kind"),
        UniqueConstraint("workspace_id", "name", name="connection_name"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace_id: Mapped[UUID] = mapped_column(nullable=False)
    name: Mapped[str] = mapped_column(Text, nullable=False)
    kind: Mapped[str] = mapped_column(Text, nullable=False)
    config: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column(BigInteger, nullable=False)
    created_by: Mapped[str] = mapped_column(Text, nullable=False)
    created_at: Mapped[datetime] = _timestamp()
    updated_at: Mapped[datetime] = _timestamp()
    updated_by: Mapped[str] = mapped_column(Text, nullable=False)


class UploadRow(Base):
    """A file in the spool, to be looked at and ingested. ``origin`` says where it came from, ``types`` what
    its source knows of its columns."""

    __tablename__ = "upload"
    __table_args__ = (Index("upload_workspace", "workspace_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace_id: Mapped[UUID] = mapped_column(nullable=False)
    filename: Mapped[str] = mapped_column(Text, nullable=False)
    origin: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    types: Mapped[list[list[str]]] = mapped_column(JSONB, nullable=False)
    state: Mapped[str] = mapped_column(Text, nullable=False)
    size_bytes: Mapped[int] = mapped_column(BigInteger, nullable=False)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_by: Mapped[str] = mapped_column(Text, nullable=False)
    created_at: Mapped[datetime] = _timestamp()


class IngestRow(Base):
    """An ingest: from which upload into which table, and how it went."""

    __tablename__ = "ingest"
    __table_args__ = (Index("ingest_workspace", "workspace_id", "created_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    workspace_id: Mapped[UUID] = mapped_column(nullable=False)
    owner: Mapped[str] = mapped_column(Text, nullable=False)
    table_name: Mapped[str] = mapped_column(Text, nullable=False)
    mode: Mapped[str] = mapped_column(Text, nullable=False)
    source: Mapped[str] = mapped_column(Text, nullable=False)
    state: Mapped[str] = mapped_column(Text, nullable=False)
    progress: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    created_at: Mapped[datetime] = _timestamp()
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class DatasetRow(Base):
    """A table that somebody answers for."""

    __tablename__ = "dataset"

    table_name: Mapped[str] = mapped_column(Text, primary_key=True)
    owner: Mapped[str] = mapped_column(Text, nullable=False)
    description: Mapped[str] = mapped_column(Text, nullable=False)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), nullable=False)
    version: Mapped[int] = mapped_column(BigInteger, nullable=False)
    updated_at: Mapped[datetime] = _timestamp()
    updated_by: Mapped[str] = mapped_column(Text, nullable=False)
