"""``lab:Databases``: the databases and roles of one lab in PostgreSQL, as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pulumi
from psycopg import sql
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from contracts.errors import LabError

DATABASES_DIGEST = "1"
_CONNECT_TIMEOUT_S = 10
_SERVER = ("host", "port")


class DatabasesProvider(ResourceProvider):
    """Converges: what exists is adopted, passwords and ownership are applied again. Never drops
    anything: data that was kept goes with the lab's home."""

    serialize_as_secret_always = False

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Inputs, and what is missing in the server where it can be asked."""
        compared = (*_SERVER, "superuser_password", "databases", "passwords", "digest")
        differs = any(olds.get(key) != news.get(key) for key in compared)
        return DiffResult(changes=differs or bool(_missing(olds)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        converge(props)
        return CreateResult(id_=_id(props), outs=dict(props))

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        converge(news)
        return UpdateResult(outs=dict(news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Without those databases that are gone, when the server can be asked."""
        gone = _missing(props)
        present = {name: role for name, role in props["databases"].items() if name not in gone}
        return ReadResult(id_=id_, outs={**props, "databases": present})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Keeps everything."""


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
            autocommit=True,
        ) as connection:
            yield connection
    except psycopg.Error as error:
        raise LabError(
            f"PostgreSQL on {host}:{port} refuses: {error}", next_command="lab logs postgres"
        ) from error


def _missing(props: Mapping[str, Any]) -> list[str]:
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


def _id(props: Mapping[str, Any]) -> str:
    return f"{props['host']}:{int(props['port'])}/{','.join(sorted(props['databases']))}"


class Databases(Resource, module="lab", name="Databases"):
    """The databases of one lab; ``digest`` resolves once all of them are as declared."""

    digest: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        host: str,
        port: int,
        superuser: str,
        superuser_password: pulumi.Input[str],
        databases: Mapping[str, str],
        passwords: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(
            DatabasesProvider(),
            name,
            {
                "host": host,
                "port": port,
                "superuser": superuser,
                "superuser_password": pulumi.Output.secret(superuser_password),
                "databases": dict(databases),
                "passwords": pulumi.Output.secret(dict(passwords)),
                "digest": DATABASES_DIGEST,
            },
            pulumi.ResourceOptions.merge(
                opts,
                pulumi.ResourceOptions(additional_secret_outputs=["superuser_password", "passwords"]),
            ),
        )
