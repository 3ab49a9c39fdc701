"""The databases and roles of one lab in PostgreSQL: what makes them and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from contracts.errors import LabError

SSL_MODE = "disable"
"""It is this machine's loopback, also where a tunnel to a cluster begins there, which is encrypted itself.
The reset with which PostgreSQL closes an encrypted connection would end that tunnel."""
_CONNECT_TIMEOUT_S = 10


def converge(props: Mapping[str, Any]) -> None:
    """Makes every database and role that is missing and applies password, owner and access to all.

    ``databases`` maps a database to its role, ``passwords`` a role to its password.

    Raises:
        LabError: the server can't be reached or refuses.
    """
    with _connect(props) as connection:
        for maintenance in ("postgres", "template1"):
            _execute(connection, "REVOKE CONNECT ON DATABASE {} FROM PUBLIC", maintenance)
        for database, role in props["databases"].items():
            _role(connection, str(role), str(props["passwords"][role]))
            if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", str(database)):
                _execute(connection, "CREATE DATABASE {} OWNER {}", database, role)
            _execute(connection, "ALTER DATABASE {} OWNER TO {}", database, role)
            _execute(connection, "REVOKE CONNECT ON DATABASE {} FROM PUBLIC", database)


def _role(connection: psycopg.Connection[Any], role: str, password: str) -> None:
    if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        _execute(connection, "CREATE ROLE {} LOGIN", role)
    # The verifier is computed here, so that the password itself never reaches the server or its log.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))


def _execute(connection: psycopg.Connection[Any], statement: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


def _exists(connection: psycopg.Connection[Any], query: LiteralString, name: str) -> bool:
    return connection.execute(query, (name,)).fetchone() is not None


@contextmanager
def _connect(props: Mapping[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    host, port = str(props["host"]), int(props["port"])
    try:
        with psycopg.connect(
            host=host,
            port=port,
            dbname="postgres",
            user=str(props["superuser"]),
            password=str(props["superuser_password"]),
            connect_timeout=_CONNECT_TIMEOUT_S,
            sslmode=SSL_MODE,
            autocommit=True,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise LabError(
            f"PostgreSQL on {host}:{port} refuses: {error}", next_command="lab logs postgres"
        ) from error


def missing(props: Mapping[str, Any]) -> list[str]:
    """Databases that are not there; none when the server can't be asked, as it is when it is down."""
    try:
        with _connect(props) as connection:
            found = connection.execute(
                "SELECT d.datname, r.rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba"
            ).fetchall()
    except LabError:
        return []
    present = {str(database): str(role) for database, role in found}
    return [name for name, role in props["databases"].items() if present.get(name) != role]
