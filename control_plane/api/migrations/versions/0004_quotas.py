"""The workspace that a run counts for, and how many jobs of each workspace may be under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes column and table; runs of before count for no workspace."""
    op.add_column("job_run", sa.Column("workspace", sa.Text))
    op.create_table(
        "workspace_quota",
        sa.Column("workspace", sa.Text, primary_key=True),
        sa.Column("workspace_id", sa.Uuid, nullable=False),
        sa.Column("jobs", sa.Integer, nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Removes them."""
    op.drop_table("workspace_quota")
    op.drop_column("job_run", "workspace")
