"""Jobs, their versions, runs, logs and permissions, and the tables of the queue."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from control_plane.api.jobs.queue_schema import drop_statements, migrations_until

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

QUEUE_UNTIL = "03.04.00_50"
"""The last of the queue library's own migrations that this one applies."""


def _moment(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True))


def _timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
    )


def _kinds(*kinds: str) -> None:
    op.drop_constraint("kept_kind", "kept")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint("kept_kind", "kept", f"kind IN ({listed})")


def upgrade() -> None:
    """Makes the tables."""
    _kinds("query", "chart", "dashboard", "job")
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid, sa.ForeignKey("kept.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("pause", sa.Text),
        sa.Column("pause_reason", sa.Text),
        _moment("paused_at"),
        _moment("next_run_at"),
        sa.Column("tick", sa.Uuid),
        sa.Column("tick_entry", sa.BigInteger),
        sa.Column("arrived", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
        sa.Column("last_number", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_table(
        "job_version",
        sa.Column("job_id", sa.Uuid, sa.ForeignKey("kept.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("document", JSONB, nullable=False),
        _timestamp("created_at"),
        sa.Column("created_by", sa.Text, nullable=False),
    )
    op.create_table(
        "job_run",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("job_id", sa.Uuid, sa.ForeignKey("kept.id", ondelete="CASCADE"), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("parameters", JSONB, nullable=False),
        _moment("scheduled_for"),
        sa.Column("retry_of", sa.Uuid),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("session_key", sa.Text),
        sa.Column("queue_entry", sa.BigInteger),
        sa.Column("claim", sa.Uuid),
        sa.Column("stop_requested_by", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
        sa.Column("attempts", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("progress", JSONB),
        sa.Column("error", JSONB),
        _moment("next_attempt_at"),
        _timestamp("created_at"),
        _moment("started_at"),
        _moment("ended_at"),
    )
    op.create_index("job_run_number", "job_run", ["job_id", "number"], unique=True)
    op.create_index(
        "job_run_scheduled",
        "job_run",
        ["job_id", "scheduled_for"],
        unique=True,
        postgresql_where=sa.text("trigger = 'schedule'"),
    )
    op.create_index("job_run_history", "job_run", ["owner", "created_at", "id"])
    op.create_index("job_run_open", "job_run", ["created_at"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_table(
        "job_log",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.Uuid, sa.ForeignKey("job_run.id", ondelete="CASCADE"), nullable=False),
        _timestamp("at"),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("job_log_run", "job_log", ["run_id", "id"])
    op.create_table(
        "job_permission",
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("token", sa.LargeBinary, nullable=False),
        sa.Column("groups", ARRAY(sa.Text), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_reason", sa.Text),
    )
    _execute(migrations_until(QUEUE_UNTIL))


def downgrade() -> None:
    """Removes them, with all jobs."""
    _execute(drop_statements())
    for table in ("job_permission", "job_log", "job_run", "job_version", "job"):
        op.drop_table(table)
    op.execute("DELETE FROM kept WHERE kind = 'job'")
    _kinds("query", "chart", "dashboard")


def _execute(scripts: list[str]) -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101 - a migration has a connection
    for script in scripts:
        # The driver's own: a script has several statements, and its percent signs stand for themselves.
        connection.execute(script)
