"""The audit: queries, decisions and events, which only ``audit_retain`` removes."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_AUDIT = ("audit_query", "audit_decision", "audit_event")


def _timestamp(name: str) -> sa.Column[datetime]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.func.clock_timestamp(), nullable=False
    )


def upgrade() -> None:
    """Makes the tables, refuses changes of them, and gives the one function that removes what is old."""
    op.create_table(
        "audit_query",
        sa.Column("query_id", sa.Text, primary_key=True),
        sa.Column("stage", sa.Text, primary_key=True),
        _timestamp("recorded_at"),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("denied", sa.Boolean, nullable=False),
        sa.Column("tables", ARRAY(sa.Text), nullable=False),
        sa.Column("detail", JSONB, nullable=False),
    )
    op.create_index("audit_query_begun", "audit_query", ["begun_at"])
    op.create_index("audit_query_user", "audit_query", ["username", "begun_at"])
    op.create_table(
        "audit_decision",
        sa.Column("decision_id", sa.Text, primary_key=True),
        _timestamp("recorded_at"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("query_id", sa.Text),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("allowed", sa.Boolean),
        sa.Column("revision", sa.BigInteger),
        sa.Column("detail", JSONB, nullable=False),
    )
    op.create_index("audit_decision_user", "audit_decision", ["username", "at"])
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _timestamp("recorded_at"),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("detail", JSONB, nullable=False),
    )
    op.create_table(
        "audit_state",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", JSONB, nullable=False),
    )
    # Nothing younger than a day goes, whatever is asked: a wrong clock or a slip must not empty the audit.
    op.execute(
        """
        CREATE FUNCTION refuse_audit_delete() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('lab.audit_retain', true) IS DISTINCT FROM 'on'
                OR OLD.recorded_at > clock_timestamp() - interval '1 day' THEN
                RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN OLD;
        END $$
        """
    )
    for table in _AUDIT:
        op.create_index(f"{table}_recorded", table, ["recorded_at"])
        op.execute(
            f"CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER only_what_is_old BEFORE DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_audit_delete()"
        )
    deletes = "\n".join(
        f"""
            DELETE FROM public.{table} WHERE recorded_at < clock_timestamp() - make_interval(days => days);
            GET DIAGNOSTICS found = ROW_COUNT;
            removed := removed + found;"""  # noqa: S608 - the tables' names are constants
        for table in _AUDIT
    )
    op.execute(
        f"""
        CREATE FUNCTION audit_retain(days integer) RETURNS bigint LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
        DECLARE
            found bigint;
            removed bigint := 0;
        BEGIN
            IF days IS NULL OR days < 2 THEN
                RAISE EXCEPTION 'the audit is kept for two days at least' USING ERRCODE = 'check_violation';
            END IF;
            PERFORM set_config('lab.audit_retain', 'on', true);
            {deletes}
            PERFORM set_config('lab.audit_retain', 'off', true);
            RETURN removed;
        END $$
        """
    )
    op.execute("REVOKE ALL ON FUNCTION audit_retain(integer) FROM PUBLIC")


def downgrade() -> None:
    """Drops the audit."""
    op.execute("DROP FUNCTION audit_retain(integer)")
    for table in (*_AUDIT, "audit_state"):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_audit_delete()")
