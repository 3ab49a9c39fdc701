"""Access revisions, seeds, owners, publications and the log of changes."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_APPEND_ONLY = ("access_revision", "governor_event")


def _timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
    )


def upgrade() -> None:
    """Makes the tables, and lets revisions and events only be added."""
    op.create_table(
        "access_revision",
        sa.Column("revision", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("document", JSONB, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        _timestamp("created_at"),
        sa.Column("based_on", sa.BigInteger),
        sa.UniqueConstraint("based_on", name="access_revision_linear", postgresql_nulls_not_distinct=True),
    )
    op.create_table(
        "access_seed",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("document", JSONB, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        _timestamp("applied_at"),
    )
    op.create_table(
        "table_owner",
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("registered_by", sa.Text, nullable=False),
        _timestamp("registered_at"),
    )
    op.create_table(
        "publication",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        _timestamp("first_issued_at"),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("etag", sa.Text, nullable=False),
    )
    op.create_table(
        "governor_event",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _timestamp("at"),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", JSONB, nullable=False),
    )
    op.create_index("governor_event_at", "governor_event", ["at"])
    op.execute(
        """
        CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def downgrade() -> None:
    """Drops everything, history included."""
    for table in ("governor_event", "publication", "table_owner", "access_seed", "access_revision"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_change()")
