"""Connections, uploads and ingests of workspaces, and registered data sets."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
    )


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "connection",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("workspace_id", sa.Uuid, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("config", JSONB, nullable=False),
        sa.Column("secret", sa.LargeBinary),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        _timestamp("created_at"),
        _timestamp("updated_at"),
        sa.Column("updated_by", sa.Text, nullable=False),
        sa.CheckConstraint("kind IN ('postgresql', 's3', 'files', 'http')", name="connection_kind"),
        sa.UniqueConstraint("workspace_id", "name", name="connection_name"),
    )
    op.create_table(
        "upload",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("workspace_id", sa.Uuid, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("origin", JSONB, nullable=False),
        sa.Column("types", JSONB, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("error", JSONB),
        sa.Column("created_by", sa.Text, nullable=False),
        _timestamp("created_at"),
    )
    op.create_index("upload_workspace", "upload", ["workspace_id", "created_at"])
    op.create_table(
        "ingest",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("workspace_id", sa.Uuid, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("table_name", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("progress", JSONB, nullable=False),
        sa.Column("result", JSONB),
        sa.Column("error", JSONB),
        _timestamp("created_at"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ingest_workspace", "ingest", ["workspace_id", "created_at"])
    op.create_table(
        "dataset",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("tags", ARRAY(sa.Text), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        _timestamp("updated_at"),
        sa.Column("updated_by", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Removes them."""
    for table in ("dataset", "ingest", "upload", "connection"):
        op.drop_table(table)
