"""Workspaces, and how far each is made or removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "workspace",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("owners", ARRAY(sa.Text), nullable=False),
        sa.Column("quota", JSONB, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("steps", JSONB, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("location", sa.Text),
        sa.Column("drop_tables", sa.Boolean, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.clock_timestamp(),
            nullable=False,
        ),
        sa.CheckConstraint("state IN ('making', 'ready', 'removing')", name="workspace_state"),
    )


def downgrade() -> None:
    """Forgets the workspaces; their groups, namespaces and grants stay."""
    op.drop_table("workspace")
