"""Tables of the agent's database. LangGraph's checkpoints lie beside them, in a schema of their own."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Index, Integer, Text, Uuid, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA_VERSION = "0001"
"""The newest migration: a database that is there already needs no Alembic at start."""


class Base(DeclarativeBase):
    """Declarative base of the agent's database."""


def _timestamp() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp(), nullable=False)


class ConversationRow(Base):
    """Questions of one user that follow each other."""

    __tablename__ = "conversation"
    __table_args__ = (Index("conversation_user", "username", "updated_at"),)

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    username: Mapped[str] = mapped_column(Text, nullable=False)
    title: Mapped[str] = mapped_column(Text, nullable=False)
    created_at: Mapped[datetime] = _timestamp()
    updated_at: Mapped[datetime] = _timestamp()


class RunRow(Base):
    """One question. ``plan`` is kept for the questions that follow it."""

    __tablename__ = "run"
    __table_args__ = (
        Index("run_conversation", "conversation_id", "number", unique=True),
        Index("run_state", "state"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    conversation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False
    )
    number: Mapped[int] = mapped_column(Integer, nullable=False)
    username: Mapped[str] = mapped_column(Text, nullable=False)
    question: Mapped[str] = mapped_column(Text, nullable=False)
    state: Mapped[str] = mapped_column(Text, nullable=False)
    planner: Mapped[str] = mapped_column(Text, nullable=False)
    created_at: Mapped[datetime] = _timestamp()
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ask: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    answer: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)


class StepRow(Base):
    """One audited step; the database refuses to change it. It outlives the conversation it belongs to."""

    __tablename__ = "step"
    __table_args__ = (
        Index("step_run", "run_id", "seq", unique=True),
        Index("step_user", "username", "recorded_at"),
        Index("step_query", "query_id"),
        Index("step_recorded", "recorded_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    recorded_at: Mapped[datetime] = _timestamp()
    run_id: Mapped[uuid.UUID] = mapped_column(Uuid, nullable=False)
    conversation_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    seq: Mapped[int] = mapped_column(Integer, nullable=False)
    username: Mapped[str] = mapped_column(Text, nullable=False)
    channel: Mapped[str] = mapped_column(Text, nullable=False)
    node: Mapped[str] = mapped_column(Text, nullable=False)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, nullable=False)
    query_id: Mapped[str | None] = mapped_column(Text)


class SemanticModelRow(Base):
    """A model of the semantic layer that somebody registered, as its YAML text."""

    __tablename__ = "semantic_model"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    text: Mapped[str] = mapped_column(Text, nullable=False)
    registered_by: Mapped[str] = mapped_column(Text, nullable=False)
    registered_at: Mapped[datetime] = _timestamp()
