"""Sessions, what people keep, whom it is shared with, and what they ran."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
    )


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "session",
        sa.Column("id_hash", sa.Text, primary_key=True),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("groups", ARRAY(sa.Text), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("sid", sa.Text),
        sa.Column("tokens", sa.LargeBinary, nullable=False),
        sa.Column("access_ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        _timestamp("created_at"),
    )
    op.create_index("session_sid", "session", ["sid"])
    op.create_index("session_subject", "session", ["subject"])
    op.create_index("ix_session_ends_at", "session", ["ends_at"])
    op.create_table(
        "kept",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("document", JSONB, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        _timestamp("created_at"),
        _timestamp("updated_at"),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('query', 'chart', 'dashboard')", name="kept_kind"),
    )
    op.create_index("kept_owner", "kept", ["owner", "kind"])
    op.create_table(
        "share",
        sa.Column("kept_id", sa.Uuid, sa.ForeignKey("kept.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("group_name", sa.Text, primary_key=True),
        sa.Column("may_edit", sa.Boolean, nullable=False),
    )
    op.create_index("share_group", "share", ["group_name"])
    op.create_table(
        "query",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("statement", sa.Text, nullable=False),
        sa.Column("catalog", sa.Text),
        sa.Column("namespace", sa.Text),
        sa.Column("parameters", JSONB, nullable=False),
        sa.Column("saved_query_id", sa.Uuid),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("trino_query_id", sa.Text),
        sa.Column("outcome", JSONB, nullable=False),
        sa.Column("row_count", sa.BigInteger, nullable=False, server_default="0"),
        _timestamp("created_at"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    op.create_index("query_history", "query", ["owner", "created_at", "id"])


def downgrade() -> None:
    """Removes them."""
    for table in ("query", "share", "kept", "session"):
        op.drop_table(table)
