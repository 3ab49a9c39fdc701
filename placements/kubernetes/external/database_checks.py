"""Whether an external PostgreSQL can carry a lab, and the lab's databases and roles in it.

The role that is given needs no superuser's rights: managed servers give none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from contracts.errors import PreflightError

MINIMUM_VERSION = 160000
_CONNECT_TIMEOUT_S = 10


def converge(server: Mapping[str, Any], databases: Sequence[str], passwords: Mapping[str, str]) -> None:
    """Checks the server, then makes each database that is missing with a role of its name, and applies owner,
    password and access to all.

    Raises:
        PreflightError: it can't be reached, is too old, is not encrypted as asked, or refuses.
    """
    with _connect(server) as connection:
        superuser = check(connection, server)
        for name in databases:
            _role(connection, name, passwords[name], superuser=superuser)
            if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", name):
                _execute(
                    connection, "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE template0", name, name
                )
            owner = "SELECT 1 FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE datname = %s"
            if not _exists(connection, f"{owner} AND r.rolname = datname", name):
                _execute(connection, "ALTER DATABASE {} OWNER TO {}", name, name)
            _execute(connection, "REVOKE CONNECT ON DATABASE {} FROM PUBLIC", name)


def check(connection: psycopg.Connection[Any], server: Mapping[str, Any]) -> bool:
    """Version, encryption and rights. Returns whether the role is a superuser.

    Raises:
        PreflightError: one of them is not enough.
    """
    where = f"{server['host']}:{int(server['port'])}"
    version = connection.info.server_version
    if version < MINIMUM_VERSION:
        raise PreflightError(
            f"PostgreSQL on {where} is too old for a lab",
            value=f"{version // 10000}.{version % 10000}",
            permitted=f"{MINIMUM_VERSION // 10000} or newer",
        )
    encrypted = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    if server["ssl_mode"] != "disable" and not (encrypted and encrypted[0]):
        raise PreflightError(f"the connection to PostgreSQL on {where} is not encrypted", permitted="TLS")
    row = connection.execute(
        "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    superuser, may_create_databases, may_create_roles = row or (False, False, False)
    lacking = [
        right
        for right, has in (("CREATEDB", may_create_databases), ("CREATEROLE", may_create_roles))
        if not (has or superuser)
    ]
    if lacking:
        raise PreflightError(
            f"role {server['role']!r} on {where} may not make the lab's databases and roles",
            value=f"missing: {', '.join(lacking)}",
            permitted="a role with CREATEDB and CREATEROLE",
            next_command=f'ALTER ROLE "{server["role"]}" {" ".join(lacking)};  -- in psql, as a superuser',
        )
    return bool(superuser)


def _role(connection: psycopg.Connection[Any], role: str, password: str, *, superuser: bool) -> None:
    if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", role):
        _execute(connection, "CREATE ROLE {} LOGIN", role)
    if not superuser:
        # Who made a role may administer it, and has to become a member to give it a database.
        _execute(connection, "GRANT {} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE", role)
    # The verifier is computed here, so that the password itself never reaches the server or its log.
    verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier.decode())))


def _execute(connection: psycopg.Connection[Any], statement: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


def _exists(connection: psycopg.Connection[Any], query: LiteralString, name: str) -> bool:
    return connection.execute(query, (name,)).fetchone() is not None


@contextmanager
def _connect(server: Mapping[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(
            host=str(server["host"]),
            port=int(server["port"]),
            dbname=str(server["database"]),
            user=str(server["role"]),
            password=str(server["password"]),
            sslmode=str(server["ssl_mode"]),
            connect_timeout=_CONNECT_TIMEOUT_S,
            autocommit=True,
            sslrootcert=str(server["root_certificate"]) or None,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise PreflightError(
            f"PostgreSQL on {server['host']}:{int(server['port'])} refuses: {error}",
            permitted="PostgreSQL 16 or newer, reachable from here and from the cluster",
            next_command="pulumi config set --secret databaseUrl URL",
        ) from error
