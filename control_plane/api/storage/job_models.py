"""Tables of jobs and their runs. What a job is lies in ``kept``, its entries of the queue in the library's
own tables (``procrastinate_…``)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, Integer, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.api.storage.models import Base

QUEUE_PREFIX = "procrastinate_"


def own_tables(name: str | None, kind: str, _parents: object) -> bool:
    """Alembic's ``include_name``: the tables that are described here, not the queue's."""
    return kind != "table" or name is None or not name.startswith(QUEUE_PREFIX)


def _moment() -> Mapped[datetime | None]:
    return mapped_column(DateTime(timezone=True))


class JobRow(Base):
    """What changes of a job without anybody editing it. ``tick`` names the entry of the queue that starts
    its next scheduled run, ``arrived`` has for each job that it waits for the run that succeeded last."""

    __tablename__ = "job"

    id: Mapped[UUID] = mapped_column(ForeignKey("kept.id", ondelete="CASCADE"), primary_key=True)
    pause: Mapped[str | None] = mapped_column(Text)
    pause_reason: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None] = _moment()
    next_run_at: Mapped[datetime | None] = _moment()
    tick: Mapped[UUID | None] = mapped_column()
    tick_entry: Mapped[int | None] = mapped_column(BigInteger)
    arrived: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False, server_default=text("'{}'::jsonb"))
    last_number: Mapped[int] = mapped_column(BigInteger, nullable=False, server_default="0")


class JobVersionRow(Base):
    """A job as it was at a version."""

    __tablename__ = "job_version"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("kept.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    title: Mapped[str] = mapped_column(Text, nullable=False)
    document: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp(), nullable=False
    )
    created_by: Mapped[str] = mapped_column(Text, nullable=False)


class RunRow(Base):
    """A run of a job. ``claim`` is the worker's that has it: nobody else may note anything. ``progress`` is
    where the attempt under way stands, so that another worker can take it up; ``session_key`` names the
    sign-in whose tokens it runs with, None for the owner's offline token; ``workspace`` is the one that it
    counts for."""

    __tablename__ = "job_run"
    __table_args__ = (
        Index("job_run_number", "job_id", "number", unique=True),
        Index(
            "job_run_scheduled",
            "job_id",
            "scheduled_for",
            unique=True,
            postgresql_where=text("trigger = 'schedule'"),
        ),
        Index("job_run_history", "owner", "created_at", "id"),
        Index("job_run_open", "created_at", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("kept.id", ondelete="CASCADE"), nullable=False)
    owner: Mapped[str] = mapped_column(Text, nullable=False)
    number: Mapped[int] = mapped_column(BigInteger, nullable=False)
    version: Mapped[int] = mapped_column(BigInteger, nullable=False)
    trigger: Mapped[str] = mapped_column(Text, nullable=False)
    state: Mapped[str] = mapped_column(Text, nullable=False)
    parameters: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, nullable=False)
    scheduled_for: Mapped[datetime | None] = _moment()
    retry_of: Mapped[UUID | None] = mapped_column()
    requested_by: Mapped[str] = mapped_column(Text, nullable=False)
    session_key: Mapped[str | None] = mapped_column(Text)
    workspace: Mapped[str | None] = mapped_column(Text)
    queue_entry: Mapped[int | None] = mapped_column(BigInteger)
    claim: Mapped[UUID | None] = mapped_column()
    stop_requested_by: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(Integer, nullable=False, server_default="0")
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(
        JSONB, nullable=False, server_default=text("'[]'::jsonb")
    )
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    next_attempt_at: Mapped[datetime | None] = _moment()
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp(), nullable=False
    )
    started_at: Mapped[datetime | None] = _moment()
    ended_at: Mapped[datetime | None] = _moment()


class RunLogRow(Base):
    """Lines of a run's log, in the order of ``id``."""

    __tablename__ = "job_log"
    __table_args__ = (Index("job_log_run", "run_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("job_run.id", ondelete="CASCADE"), nullable=False)
    at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp(), nullable=False
    )
    attempt: Mapped[int] = mapped_column(Integer, nullable=False)
    source: Mapped[str] = mapped_column(Text, nullable=False)
    text: Mapped[str] = mapped_column(Text, nullable=False)


class PermissionRow(Base):
    """A person's permission to run their jobs while they are away: a sealed offline token of Keycloak's.
    ``ended_reason``: why it is good for nothing any more."""

    __tablename__ = "job_permission"

    owner: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, nullable=False)
    token: Mapped[bytes] = mapped_column(LargeBinary, nullable=False)
    groups: Mapped[list[str]] = mapped_column(ARRAY(Text), nullable=False)
    granted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    checked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
    ended_reason: Mapped[str | None] = mapped_column(Text)


class QuotaRow(Base):
    """How many jobs of a workspace may be under way, as the governor said when somebody asked it last."""

    __tablename__ = "workspace_quota"

    workspace: Mapped[str] = mapped_column(Text, primary_key=True)
    workspace_id: Mapped[UUID] = mapped_column(nullable=False)
    jobs: Mapped[int] = mapped_column(Integer, nullable=False)
    noted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), nullable=False)
