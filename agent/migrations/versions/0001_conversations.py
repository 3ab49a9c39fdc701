"""Conversations, runs, the append-only audit of their steps, and registered models."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
    )


def upgrade() -> None:
    """Makes the tables, refuses changes of steps, and gives the one function that removes old ones."""
    op.create_table(
        "conversation",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        _timestamp("created_at"),
        _timestamp("updated_at"),
    )
    op.create_index("conversation_user", "conversation", ["username", "updated_at"])
    op.create_table(
        "run",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column(
            "conversation_id", sa.Uuid, sa.ForeignKey("conversation.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("planner", sa.Text, nullable=False),
        _timestamp("created_at"),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("ask", JSONB),
        sa.Column("answer", JSONB),
        sa.Column("plan", JSONB),
        sa.Column("error", sa.Text),
    )
    op.create_index("run_conversation", "run", ["conversation_id", "number"], unique=True)
    op.create_index("run_state", "run", ["state"])
    op.create_table(
        "step",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _timestamp("recorded_at"),
        sa.Column("run_id", sa.Uuid, nullable=False),
        sa.Column("conversation_id", sa.Uuid),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("detail", JSONB, nullable=False),
        sa.Column("query_id", sa.Text),
    )
    op.create_index("step_run", "step", ["run_id", "seq"], unique=True)
    op.create_index("step_user", "step", ["username", "recorded_at"])
    op.create_index("step_query", "step", ["query_id"])
    op.create_index("step_recorded", "step", ["recorded_at"])
    op.create_table(
        "semantic_model",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("registered_by", sa.Text, nullable=False),
        _timestamp("registered_at"),
    )
    op.execute(
        """
        CREATE FUNCTION refuse_step_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    # Nothing younger than a day goes, whatever is asked: a wrong clock or a slip must not empty the audit.
    op.execute(
        """
        CREATE FUNCTION refuse_step_delete() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('lab.step_retain', true) IS DISTINCT FROM 'on'
                OR OLD.recorded_at > clock_timestamp() - interval '1 day' THEN
                RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN OLD;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON step "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_step_change()"
    )
    op.execute(
        "CREATE TRIGGER only_what_is_old BEFORE DELETE ON step "
        "FOR EACH ROW EXECUTE FUNCTION refuse_step_delete()"
    )
    op.execute(
        """
        CREATE FUNCTION step_retain(days integer) RETURNS bigint LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
        DECLARE
            removed bigint;
        BEGIN
            IF days IS NULL OR days < 2 THEN
                RAISE EXCEPTION 'steps are kept for two days at least' USING ERRCODE = 'check_violation';
            END IF;
            PERFORM set_config('lab.step_retain', 'on', true);
            DELETE FROM public.step WHERE recorded_at < clock_timestamp() - make_interval(days => days);
            GET DIAGNOSTICS removed = ROW_COUNT;
            PERFORM set_config('lab.step_retain', 'off', true);
            RETURN removed;
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION step_retain(integer) FROM PUBLIC")


def downgrade() -> None:
    """Drops everything."""
    op.execute("DROP FUNCTION step_retain(integer)")
    for table in ("step", "run", "conversation", "semantic_model"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_step_delete()")
    op.execute("DROP FUNCTION refuse_step_change()")
