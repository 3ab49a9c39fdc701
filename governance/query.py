"""Runs SQL on Trino with a user's token, row by row."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import trino
from requests.auth import AuthBase
from trino import exceptions
from trino.auth import Authentication

from contracts.errors import LabError, UsageError
from governance.trino import with_cause

CATALOG = "lake"
"""Trino's name of the lab's Iceberg catalog."""


_UNDECIDED = "OPA"
"""In each message of Trino's about a decision that it did not get."""
_NO_QUERY = "Cannot execute query"


class QueryError(LabError):
    """Trino refused or failed the statement. ``name`` is Trino's error name; ``line`` and ``column`` count
    from 1, None when the error has no position."""

    def __init__(
        self,
        what: str,
        *,
        name: str | None = None,
        line: int | None = None,
        column: int | None = None,
        query_id: str | None = None,
        **facts: Any,
    ) -> None:
        self.name, self.line, self.column, self.query_id = name, line, column, query_id
        super().__init__(what, **facts)

    def as_dict(self) -> dict[str, Any]:
        """The same facts for ``--json``."""
        return {
            **super().as_dict(),
            "error_name": self.name,
            "line": self.line,
            "column": self.column,
            "query_id": self.query_id,
        }


class DeniedError(QueryError):
    """The access rules don't let this user do that."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One statement's result: column names and types at once, rows as they come."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: Iterator[Sequence[Any]]
    query_id: str


class _Bearer(AuthBase):
    """The token current when each request is sent: long results outlive one token."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        return request


class TokenAuthentication(Authentication):
    """Trino's client with a token that renews itself."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def set_http_session(self, http_session: requests.Session) -> requests.Session:
        http_session.auth = _Bearer(self._token)
        return http_session

    def get_exceptions(self) -> tuple[Any, ...]:
        """Failures of ours that the client must not retry."""
        return ()


class TrinoSession(contextlib.AbstractContextManager["TrinoSession"]):
    """A connection to the lab's Trino as one user.

    Args:
        ca_certificate: PEM text.
        namespace: that of tables which a statement names alone.
        source, client_tags: what Trino's own record of each query says of where it came from.
        properties: Trino's session properties.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        ca_certificate: str,
        *,
        source: str,
        namespace: str | None = None,
        client_tags: Sequence[str] = (),
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self._cursor: Any = None
        self._stack = contextlib.ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-ca-")))
        authority = folder / "ca.pem"
        authority.write_text(ca_certificate, encoding="utf-8")
        session = requests.Session()
        # REQUESTS_CA_BUNDLE and a proxy of the user's would otherwise win over what is set here.
        session.trust_env = False
        session.verify = str(authority)
        parts = urlsplit(url)
        self._connection: Any = trino.dbapi.Connection(
            host=parts.hostname or "",
            port=parts.port,
            http_scheme=parts.scheme,
            catalog=CATALOG,
            schema=namespace,
            source=source,
            client_tags=list(client_tags),
            session_properties=dict(properties or {}),
            auth=TokenAuthentication(token),
            http_session=session,
            max_attempts=3,
        )

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._stack.close()

    def run(self, statement: str) -> Rows:
        """Starts one statement.

        Raises:
            DeniedError: the access rules refuse it (rows may raise it too).
            QueryError: Trino refuses or fails it.
            LabError: Trino does not answer.
        """
        cursor = self._cursor = self._connection.cursor()
        with translated():
            cursor.execute(statement)
            description = cursor.description or []
        return Rows(
            columns=tuple(str(column[0]) for column in description),
            types=tuple(str(column[1]) for column in description),
            rows=_rows(cursor),
            query_id=str(cursor.query_id or ""),
        )

    def cancel(self) -> None:
        """Ends the statement under way on the server; for another thread than the one that waits for it."""
        if self._cursor is not None:
            with contextlib.suppress(exceptions.TrinoConnectionError, exceptions.HttpError):
                self._cursor.cancel()


def _rows(cursor: Any) -> Iterator[Sequence[Any]]:
    try:
        with translated():
            yield from iter(cursor.fetchone, None)
    finally:
        # Ends the query on the server when the reader stopped early.
        cursor.close()


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the client as ours."""
    try:
        yield
    except exceptions.TrinoQueryError as error:
        raise query_error(error) from error
    except (exceptions.TrinoConnectionError, requests.ConnectionError, exceptions.Http502Error) as error:
        raise LabError(f"Trino does not answer: {error}", next_command="lab status") from error
    except (exceptions.DatabaseError, exceptions.HttpError, requests.RequestException) as error:
        raise QueryError(f"the query failed: {error}", next_command="lab logs trino") from error


def query_error(error: exceptions.TrinoQueryError) -> QueryError:
    """Position and name taken out of Trino's answer; a denial is told apart."""
    location = (error.failure_info or {}).get("errorLocation") or {}
    facts: dict[str, Any] = {
        "name": error.error_name,
        "line": location.get("lineNumber"),
        "column": location.get("columnNumber"),
        "query_id": error.query_id,
    }
    message = str(error.message)
    if _UNDECIDED in message:
        return DeniedError(
            f"denied: no policy decision can be had: {with_cause(message, error.failure_info)}",
            permitted="nothing, until OPA answers with a signed bundle of access data",
            next_command="lab status, then lab logs opa",
            **facts,
        )
    if error.error_name == "PERMISSION_DENIED" and _NO_QUERY in message:
        return DeniedError(
            "denied: no query at all: nothing is granted to the user, or the access data in force is too old",
            permitted="members of a group that is granted something, while access data is signed in time",
            next_command="lab status, which shows the age of the signature",
            **facts,
        )
    if error.error_name == "PERMISSION_DENIED":
        return DeniedError(
            f"denied: {message.removeprefix('Access Denied: ')}",
            permitted="what the user's groups are granted",
            next_command="lab sql --as another user, or ask a lab admin for a grant",
            **facts,
        )
    if error.error_name == "ICEBERG_CATALOG_ERROR":
        facts["next_command"] = (
            "lab status: the catalog, or Keycloak that it asks who Trino is, does not answer"
        )
    return QueryError(f"{error.error_name or 'error'}: {message}", **facts)


def split_statements(text: str) -> list[str]:
    """The statements in ``text``, split at semicolons outside of strings, names and comments.

    Raises:
        UsageError: there is none, or a string or comment does not end.
    """
    trimmed = text.strip().rstrip(";").strip()
    if not trimmed:
        raise UsageError(
            "there is no SQL statement", value=text, next_command="lab sql 'SHOW TABLES FROM retail'"
        )
    if ";" not in trimmed:
        return [trimmed]
    import sqlglot

    try:
        tokens = sqlglot.tokenize(trimmed, read="trino")
    except sqlglot.errors.TokenError as error:
        raise UsageError("the SQL text can't be read: a string or comment does not end") from error
    cuts = [token.start for token in tokens if token.token_type is sqlglot.TokenType.SEMICOLON]
    edges = [-1, *cuts, len(trimmed)]
    parts = [trimmed[a + 1 : b].strip() for a, b in itertools.pairwise(edges)]
    return [part for part in parts if part]
