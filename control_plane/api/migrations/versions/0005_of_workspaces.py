"""The workspace that a chart or a dashboard belongs to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the column; what was kept before stays its owner's, shared as it was."""
    op.add_column("kept", sa.Column("workspace_id", sa.Uuid))
    op.create_index("kept_workspace", "kept", ["workspace_id"])


def downgrade() -> None:
    """Removes it: charts and dashboards of workspaces are their authors' again."""
    op.drop_index("kept_workspace", "kept")
    op.drop_column("kept", "workspace_id")
