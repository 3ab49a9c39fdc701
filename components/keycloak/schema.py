"""The tables of an empty database as another lab's Keycloak made them, instead of its 210 steps one by one.

On an empty database Keycloak runs every migration since its first release, which takes longer than all the
rest of its start. What comes out is the same for every lab with one version, so the definitions are kept in
the cache with the list of the migrations that they are made of; no other row is. Keycloak finds that list and
goes on from there, so a copy that is older than the server is brought up to date as any database is.

Keycloak's own export of a script (``migration-strategy=manual``) is not used: it can't check what a migration
asks about the database, and what comes out has a column and six indexes more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import LiteralString

import psycopg

_STRANGE = """
    SELECT relname FROM pg_class c
    WHERE relnamespace = 'public'::regnamespace AND (
        relkind NOT IN ('r', 'i') OR relhastriggers AND EXISTS (
            SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)
        OR relkind = 'r' AND relname LIKE 'databasechangelog%%'
            AND relname NOT IN ('databasechangelog', 'databasechangeloglock')
        OR EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = c.oid AND (attidentity <> '' OR attgenerated <> '')))
"""
_TABLES = """
    SELECT format('CREATE TABLE public.%%I (%%s)', relname, string_agg(
        format('%%I %%s', attname, format_type(atttypid, atttypmod))
        || coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), '')
        || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END, ', ' ORDER BY attnum))
    FROM pg_class c
    JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
    GROUP BY relname ORDER BY relname
"""
_CONSTRAINTS = """
    SELECT format(
        'ALTER TABLE %%s ADD CONSTRAINT %%I %%s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'c', 'f')
    ORDER BY contype = 'f', conname, conrelid
"""
_INDEXES = """
    SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    WHERE relnamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
    ORDER BY relname
"""
_MIGRATIONS = """
    SELECT format(
        'INSERT INTO public.databasechangelog VALUES (%%s)',
        (SELECT string_agg(quote_nullable(value), ', ' ORDER BY place)
         FROM json_each_text(row_to_json(d)) WITH ORDINALITY AS parts (key, value, place)))
    FROM public.databasechangelog d ORDER BY orderexecuted
"""
_LOCKS = """
    SELECT format('INSERT INTO public.databasechangeloglock (id, locked) VALUES (%%s, false)', id)
    FROM public.databasechangeloglock ORDER BY id
"""

_END = "-- end\n"


class SchemaError(Exception):
    """The copy could not be used or made; Keycloak makes its tables itself."""


def provide_schema(script: Path, environ: Mapping[str, str]) -> None:
    """Makes Keycloak's tables when its database is empty and ``script`` is there; writes ``script`` when it
    is not and the database was made in one go.

    Args:
        script: where the copy is kept.
        environ: the server's environment, which names its database.

    Raises:
        SchemaError: neither could be done; the database is as it was.
    """
    try:
        with connect(environ) as connection:
            if is_empty(connection):
                if script.exists():
                    apply(connection, script)
            elif not script.exists() and made_in_one_go(connection):
                keep(connection, script)
    except (psycopg.Error, OSError, ValueError) as error:
        raise SchemaError(f"{type(error).__name__}: {error}") from error


def connect(environ: Mapping[str, str]) -> psycopg.Connection:
    """To the server's database, as the server does."""
    return psycopg.connect(
        environ["KC_DB_URL"].removeprefix("jdbc:"),
        user=environ["KC_DB_USERNAME"],
        password=environ["KC_DB_PASSWORD"],
        connect_timeout=10,
        autocommit=True,
    )


def is_empty(connection: psycopg.Connection) -> bool:
    """Whether nothing was ever made in the database."""
    return not _texts(connection, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")


def made_in_one_go(connection: psycopg.Connection) -> bool:
    """Whether one start of Keycloak made all there is, and nobody else anything."""
    if _texts(connection, _STRANGE):
        return False
    runs = "SELECT DISTINCT coalesce(deployment_id, '') FROM public.databasechangelog"
    done = "SELECT version FROM public.migration_model"
    return len(_texts(connection, runs)) == 1 and bool(_texts(connection, done))


def keep(connection: psycopg.Connection, script: Path) -> None:
    """Writes the definitions of all tables, and the list of migrations, in one step."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        content = "".join(f"{statement};\n" for statement in statements(connection)) + _END
    unfinished = script.with_name(f"{script.name}.{os.getpid()}")
    try:
        unfinished.write_text(content, encoding="utf-8")
        unfinished.replace(script)
    finally:
        unfinished.unlink(missing_ok=True)


def statements(connection: psycopg.Connection) -> Iterator[str]:
    """What makes the same tables in an empty database."""
    for query in (_TABLES, _MIGRATIONS, _LOCKS, _CONSTRAINTS, _INDEXES):
        yield from _texts(connection, query)


def apply(connection: psycopg.Connection, script: Path) -> None:
    """Runs the script, all of it or nothing.

    Raises:
        SchemaError: the database refuses it, so it is no good and is deleted.
    """
    content = script.read_text(encoding="utf-8", errors="replace")
    try:
        if not content.endswith(_END):
            raise SchemaError(f"{script} is cut short")
        with connection.transaction():
            connection.execute(content.encode())
    except (SchemaError, psycopg.Error) as error:
        script.unlink(missing_ok=True)
        raise SchemaError(f"what the cache held was refused: {error}") from error


def _texts(connection: psycopg.Connection, query: LiteralString) -> list[str]:
    """The first column."""
    return [str(row[0]) for row in connection.execute(query, ()).fetchall()]
