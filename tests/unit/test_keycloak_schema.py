"""Keycloak's tables, copied from a database that it made to an empty one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from components.keycloak.schema import SchemaError, connect, provide_schema
from tests.unit import governor_postgres

postgres_server = governor_postgres.postgres_server

MADE: LiteralString = """
    CREATE TABLE realm (
        id varchar(36) NOT NULL, name varchar(255), enabled boolean DEFAULT false NOT NULL,
        "timestamp" bigint, note text DEFAULT 'it''s; --none');
    CREATE TABLE client (id varchar(36) NOT NULL, realm_id varchar(36), size numeric(7,2), gone integer);
    ALTER TABLE client DROP COLUMN gone;
    ALTER TABLE realm ADD CONSTRAINT realm_pk PRIMARY KEY (id);
    ALTER TABLE realm ADD CONSTRAINT realm_name UNIQUE (name);
    ALTER TABLE client ADD CONSTRAINT a_key FOREIGN KEY (realm_id) REFERENCES realm (id);
    ALTER TABLE client ADD CONSTRAINT positive CHECK (size > 0);
    CREATE INDEX by_size ON client (size DESC) WHERE size > 10;
    CREATE TABLE databasechangelog (
        id varchar(255) NOT NULL, dateexecuted timestamp NOT NULL, orderexecuted integer NOT NULL,
        comments varchar(255), deployment_id varchar(10));
    CREATE TABLE databasechangeloglock (id integer NOT NULL, locked boolean NOT NULL, lockedby varchar(255));
    ALTER TABLE databasechangeloglock ADD CONSTRAINT databasechangeloglock_pkey PRIMARY KEY (id);
    CREATE TABLE migration_model (id varchar(36) NOT NULL, version varchar(36));
    INSERT INTO databasechangelog VALUES
        ('two', '2026-01-02 03:04:05.678', 2, 'a ''quoted'' one', '77'), ('one', '2026-01-02', 1, NULL, '77');
    INSERT INTO databasechangeloglock VALUES (1, true, 'this very start');
    INSERT INTO migration_model VALUES ('x', '26.7.3');
    INSERT INTO realm (id, name) VALUES ('r', 'somebody''s secret realm');
"""
SAME: Mapping[str, LiteralString] = {
    "columns": "SELECT table_name, column_name, data_type, character_maximum_length, numeric_precision,"
    " is_nullable, column_default FROM information_schema.columns WHERE table_schema = 'public'"
    " ORDER BY table_name, ordinal_position",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "migrations": "SELECT * FROM databasechangelog ORDER BY orderexecuted",
}


class Databases:
    """Databases of one server, by name."""

    def __init__(self, server: str) -> None:
        self._server = server

    @contextmanager
    def new(self, name: str) -> Iterator[dict[str, str]]:
        """An empty one; what Keycloak's environment says of it."""
        with psycopg.connect(f"{self._server}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
            try:
                url = f"jdbc:{self._server.replace('postgres@', '')}/{name}"
                yield {"KC_DB_URL": url, "KC_DB_USERNAME": "postgres", "KC_DB_PASSWORD": "any"}
            finally:
                connection.execute(f"DROP DATABASE {name}")


@pytest.fixture
def databases(postgres_server: str) -> Databases:
    return Databases(postgres_server)


def run(environ: Mapping[str, str], *queries: LiteralString) -> list[list[tuple[Any, ...]]]:
    """What the queries give."""
    with connect(environ) as connection:
        answers = []
        for query in queries:
            cursor = connection.execute(query)
            answers.append(cursor.fetchall() if cursor.description else [])
        return answers


def test_what_one_lab_made_is_copied_to_the_next(databases: Databases, tmp_path: Path) -> None:
    script = tmp_path / "schema.sql"
    with databases.new("made") as made, databases.new("copied") as copied:
        run(made, MADE)
        provide_schema(script, made)
        provide_schema(script, copied)
        assert run(copied, *SAME.values()) == run(made, *SAME.values())
        assert run(copied, "SELECT * FROM realm", "SELECT * FROM migration_model") == [[], []]
        # A lock that was held when the copy was made is not held for ever.
        assert run(copied, "SELECT id, locked FROM databasechangeloglock") == [[(1, False)]]
    assert "secret" not in script.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [script]


def test_a_database_in_use_is_left_alone(databases: Databases, tmp_path: Path) -> None:
    script = tmp_path / "schema.sql"
    script.write_text("DROP TABLE realm")
    with databases.new("used") as used:
        run(used, MADE)
        provide_schema(script, used)
        assert run(used, "SELECT count(*) FROM realm") == [[(1,)]]
    assert script.read_text() == "DROP TABLE realm"


def test_without_a_copy_an_empty_database_stays_empty(databases: Databases, tmp_path: Path) -> None:
    with databases.new("empty") as empty:
        provide_schema(tmp_path / "schema.sql", empty)
        assert run(empty, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [[]]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE databasechangelog SET deployment_id = '78' WHERE id = 'two'",
        "DELETE FROM migration_model",
        "CREATE SEQUENCE more",
        "CREATE VIEW more AS SELECT 1",
        "CREATE TABLE databasechangelog_of_an_extension (id integer)",
        "ALTER TABLE client ADD COLUMN number integer GENERATED ALWAYS AS IDENTITY",
    ],
)
def test_only_what_one_start_made_is_kept(
    databases: Databases, tmp_path: Path, change: LiteralString
) -> None:
    with databases.new("odd") as odd:
        run(odd, MADE, change)
        provide_schema(tmp_path / "schema.sql", odd)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        "CREATE TABLE realm (id integer);\n",
        "CREATE TABLE realm (id integer);\nSELECT 1/0;\n-- end\n",
        "",
        "\x00",
    ],
)
def test_a_damaged_copy_is_deleted_and_nothing_is_half_made(
    databases: Databases, tmp_path: Path, content: str
) -> None:
    script = tmp_path / "schema.sql"
    script.write_text(content)
    with databases.new("empty") as empty:
        with pytest.raises(SchemaError, match="what the cache held was refused"):
            provide_schema(script, empty)
        assert run(empty, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [[]]
    assert not script.exists()


def test_a_database_that_is_away_is_said(tmp_path: Path) -> None:
    environ = {"KC_DB_URL": "jdbc:postgresql://127.0.0.1:1/x", "KC_DB_USERNAME": "a", "KC_DB_PASSWORD": "b"}
    with pytest.raises(SchemaError, match="OperationalError"):
        provide_schema(tmp_path / "schema.sql", environ)
