"""Maintenance of tables: revisions of its policies, the seed applied last, and runs."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
    )


def upgrade() -> None:
    """Makes the tables; revisions can only be added."""
    op.create_table(
        "maintenance_revision",
        sa.Column("revision", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("document", JSONB, nullable=False),
        sa.Column("seed", JSONB, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _timestamp("created_at"),
        sa.Column("based_on", sa.BigInteger),
        sa.UniqueConstraint(
            "based_on", name="maintenance_revision_linear", postgresql_nulls_not_distinct=True
        ),
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON maintenance_revision "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.create_table(
        "maintenance_run",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("asked_by", sa.Text, nullable=False),
        sa.Column("scheduled", sa.Boolean, nullable=False),
        _timestamp("started_at"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("detail", JSONB, nullable=False),
    )
    op.create_index("maintenance_run_table", "maintenance_run", ["table_name", "id"])
    op.create_index("maintenance_run_started", "maintenance_run", ["started_at"])


def downgrade() -> None:
    """Drops policies and history of maintenance."""
    op.drop_table("maintenance_run")
    op.drop_table("maintenance_revision")
