"""PostgreSQL through the RDS Data API: no network path into the VPC is needed.

The Data API binds values of queries, and names of databases and roles can't be bound: they are checked
against a pattern and quoted. A password never leaves this process: what is sent is its SCRAM verifier.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from contracts.errors import LabError

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_PASSWORD = re.compile(r"[\x21-\x7e]{16,256}")
_ITERATIONS = 4096
_RESUME_S = 180.0
_RETRY_S = 3.0
_RESUMING = ("DatabaseResumingException", "DatabaseUnavailableException", "StatementTimeoutException")

# Slots of several labs are made at the same time, and PostgreSQL refuses the later of two changes of one row
# of its catalog. The lock goes with the statement.
_OF_ALL_LABS = """
DO $$ BEGIN
  PERFORM pg_advisory_xact_lock(1818323813);
  REVOKE CONNECT ON DATABASE "postgres" FROM PUBLIC;
END $$
""".strip()
_PRESENT = """
SELECT d.datname, r.rolname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba
WHERE NOT d.datistemplate
""".strip()


class DataApi(Protocol):
    """What is used of boto3's ``rds-data`` client."""

    def execute_statement(self, **arguments: Any) -> Mapping[str, Any]:
        """Runs one statement."""
        ...


class Aurora:
    """One cluster's ``postgres`` database, asked by its master user's secret.

    Args:
        pause: waits; replaced in tests.
    """

    def __init__(
        self,
        client: DataApi,
        *,
        resource_arn: str,
        secret_arn: str,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._pause, self._clock = client, pause, clock
        self._where = {"resourceArn": resource_arn, "secretArn": secret_arn, "database": "postgres"}

    def rows(self, sql: str, **values: str) -> list[list[Any]]:
        """The rows of a query with texts bound by name; starts a database that has paused.

        Raises:
            LabError: it is refused, or the database does not come up within three minutes.
        """
        parameters = [{"name": name, "value": {"stringValue": value}} for name, value in values.items()]
        until = self._clock() + _RESUME_S
        while True:
            try:
                answer = self._client.execute_statement(**self._where, sql=sql, parameters=parameters)
            except Exception as error:
                if _code(error) not in _RESUMING or self._clock() >= until:
                    raise _refused(error, self._where["resourceArn"]) from None
                self._pause(_RETRY_S)
                continue
            return [[_cell(cell) for cell in record] for record in answer.get("records") or []]


def converge(aurora: Aurora, databases: Mapping[str, str], passwords: Mapping[str, str]) -> None:
    """Makes every database and role that is missing and applies password, owner and access to all.

    ``databases`` maps a database to its role, ``passwords`` a role to its password. Names and passwords are
    checked before anything is sent.

    Raises:
        LabError: a name or password is not usable, or Aurora refuses.
    """
    for name in {*databases, *databases.values()}:
        identifier(name)
    verifiers = {role: verifier(_usable(passwords[role])) for role in databases.values()}
    # No one but an administrator connects to what belongs to no lab.
    aurora.rows(_OF_ALL_LABS)
    for database, role in databases.items():
        if not aurora.rows("SELECT 1 FROM pg_roles WHERE rolname = :name", name=role):
            aurora.rows(f"CREATE ROLE {identifier(role)} LOGIN")
        # Aurora's master user is no superuser: it has to be a member of whom it gives a database.
        aurora.rows(f"GRANT {identifier(role)} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE")
        aurora.rows(f"ALTER ROLE {identifier(role)} LOGIN PASSWORD '{verifiers[role]}'")
        if not aurora.rows("SELECT 1 FROM pg_database WHERE datname = :name", name=database):
            aurora.rows(
                f"CREATE DATABASE {identifier(database)} OWNER {identifier(role)} "
                "ENCODING 'UTF8' TEMPLATE template0"
            )
        aurora.rows(f"ALTER DATABASE {identifier(database)} OWNER TO {identifier(role)}")
        aurora.rows(f"REVOKE CONNECT ON DATABASE {identifier(database)} FROM PUBLIC")


def missing(aurora: Aurora, databases: Mapping[str, str]) -> list[str]:
    """Databases that are not there or belong to another role. Raises LabError when Aurora can't be asked."""
    present = {str(database): str(role) for database, role in aurora.rows(_PRESENT)}
    return [database for database, role in databases.items() if present.get(database) != role]


def identifier(name: str) -> str:
    """A quoted name. Raises LabError for one that is not made of lower-case letters, digits and _."""
    if not _NAME.fullmatch(name):
        raise LabError(
            "this is no name for a database or a role",
            value=name,
            permitted="at most 63 lower-case letters, digits and underscores, no digit first",
        )
    return f'"{name}"'


def verifier(password: str, *, salt: bytes | None = None) -> str:
    """What PostgreSQL keeps of an ASCII password (RFC 5802, SCRAM-SHA-256). It holds no quote."""
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")
    texts = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{texts[0]}${texts[1]}:{texts[2]}"


def _usable(password: str) -> str:
    """The password. Raises LabError, which does not show it, when it is short or holds what would have to be
    normalised first."""
    if not _PASSWORD.fullmatch(password):
        raise LabError(
            "a database role's password is not usable",
            value=f"{len(password)} characters",
            permitted="16 to 256 printable ASCII characters without blanks",
        )
    return password


def _cell(cell: Mapping[str, Any]) -> Any:
    return None if cell.get("isNull") else next(iter(cell.values()))


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response["Error"]["Code"]) if isinstance(response, Mapping) else ""


def _refused(error: Exception, resource_arn: str) -> LabError:
    code, permitted, then = _code(error), None, "lab up"
    if code in ("AccessDeniedException", "ForbiddenException"):
        permitted = "rds-data:ExecuteStatement on the cluster, secretsmanager:GetSecretValue on its secret"
    elif code in _RESUMING:
        permitted = "a database that answers within three minutes"
    # The statement is left out: it may hold a verifier.
    return LabError(
        f"Aurora refuses: {code or type(error).__name__}: {_message(error)}",
        value=resource_arn,
        permitted=permitted,
        next_command=then,
    )


def _message(error: Exception) -> str:
    response = getattr(error, "response", None)
    text = str(response["Error"].get("Message", "")) if isinstance(response, Mapping) else str(error)
    return re.sub(r"SCRAM-SHA-256\$\S+", "(a verifier)", text)
