"""The queue library's tables, as its own migrations make them; ours apply these.

A migration of the console's names the last of the library's that it applies, so that it does the same with a
later version of the library; a test says when there are further ones.
"""

from __future__ import annotations

from importlib import resources

_DROPS = """
DO $$
DECLARE found record;
BEGIN
    FOR found IN SELECT tablename FROM pg_tables
        WHERE schemaname = current_schema() AND starts_with(tablename, 'procrastinate_') LOOP
        EXECUTE format('DROP TABLE %I CASCADE', found.tablename);
    END LOOP;
    FOR found IN SELECT p.oid::regprocedure AS signature FROM pg_proc p JOIN pg_namespace n
        ON n.oid = p.pronamespace
        WHERE n.nspname = current_schema() AND starts_with(p.proname, 'procrastinate_') LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', found.signature);
    END LOOP;
    FOR found IN SELECT t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = current_schema() AND starts_with(t.typname, 'procrastinate_') LOOP
        EXECUTE format('DROP TYPE IF EXISTS %I CASCADE', found.typname);
    END LOOP;
END $$
"""


def migration_names() -> list[str]:
    """Of all migrations that the library has, in the order in which they apply."""
    folder = resources.files("procrastinate.sql.migrations")
    return sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))


def migrations_until(last: str, after: str = "") -> list[str]:
    """SQL scripts of the migrations behind ``after`` up to ``last``, which begin their names."""
    folder = resources.files("procrastinate.sql.migrations")
    named = [name for name in migration_names() if name > after and name[: len(last)] <= last]
    return [folder.joinpath(name).read_text(encoding="utf-8") for name in named]


def drop_statements() -> list[str]:
    """SQL that removes everything of the library's."""
    return [_DROPS]
