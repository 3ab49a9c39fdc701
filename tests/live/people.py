"""The sample users of a running lab, each with connections of their own that stay open."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from pyiceberg.catalog.rest import RestCatalog

from cli.tokens import Endpoint, PersonaTokens
from contracts.errors import LabError
from contracts.identity import Audience
from governance.query import QueryError, TrinoSession
from ingestion.catalog import compatible

if TYPE_CHECKING:
    from tests.live.conftest import LiveLab


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a statement. ``name`` is Trino's name of the error, empty when it ran."""

    rows: tuple[tuple[Any, ...], ...] = ()
    name: str = ""
    message: str = ""

    @property
    def ran(self) -> bool:
        return not self.message

    @property
    def text(self) -> str:
        """Everything that the reader was shown."""
        return "\n".join([self.message, *(str(value) for row in self.rows for value in row)])


class People:
    """Everybody who may sign in, as an operator knows them."""

    def __init__(self, lab: LiveLab) -> None:
        self.lab = lab
        found = lab.json("credentials", "--all")
        self.urls: dict[str, str] = found["urls"]
        self.keys: dict[str, str] = found["keys"]
        self._passwords = {one["username"]: one["password"] for one in found["personas"]}
        self._authority = json.loads((lab.home / "outputs.json").read_text())["ca_certificate"]
        self._tokens: dict[tuple[str, Audience], PersonaTokens] = {}
        self._stack = contextlib.ExitStack()
        self._sessions: dict[str, TrinoSession] = {}
        self.first_tokens = {
            audience: self.tokens("admin", audience)()
            for audience in (Audience.TRINO, Audience.CATALOG, Audience.GOVERNOR)
        }
        self.http = self._stack.enter_context(httpx.Client(trust_env=False, timeout=60))

    def closing(self, client: httpx.Client) -> None:
        """Closes ``client`` with the rest."""
        self._stack.enter_context(client)

    def close(self) -> None:
        """Ends all connections."""
        self._stack.close()

    def tokens(self, persona: str, audience: Audience) -> PersonaTokens:
        """Access tokens of a sample user, renewed as they end."""
        if (persona, audience) not in self._tokens:
            self._tokens[persona, audience] = PersonaTokens(
                Endpoint(issuer_url=self.urls["sign-in"]),
                username=persona,
                password=self._passwords[persona],
                client_secret=self.keys["client personas"],
                audience=audience,
            )
        return self._tokens[persona, audience]

    def trino(self, persona: str) -> TrinoSession:
        """A connection to Trino, the same one each time."""
        if persona not in self._sessions:
            opened = TrinoSession(
                self.urls["trino"], self.tokens(persona, Audience.TRINO), self._authority, source="people"
            )
            self._sessions[persona] = self._stack.enter_context(opened)
        return self._sessions[persona]

    def ask(self, persona: str, sql: str) -> Outcome:
        """Runs a statement to its end, whatever that is."""
        try:
            return Outcome(rows=tuple(tuple(row) for row in self.trino(persona).run(sql).rows))
        except QueryError as error:
            return Outcome(name=error.name or "error", message=error.what)
        except LabError as error:
            return Outcome(name="no answer", message=error.what)

    def rows(self, persona: str, sql: str) -> tuple[tuple[Any, ...], ...]:
        """The rows of a statement that must run."""
        found = self.ask(persona, sql)
        assert found.ran, f"{persona}: {sql}\n{found.message}"
        return found.rows

    def value(self, persona: str, sql: str) -> Any:
        """The one value of a statement that must run."""
        ((value,),) = self.rows(persona, sql)
        return value

    def refused(self, persona: str, statements: Iterable[str]) -> None:
        """Each of them must be denied, and for no other reason."""
        wrong = {}
        for sql in statements:
            found = self.ask(persona, sql)
            if found.name not in DENIALS:
                wrong[sql] = f"{found.name}: {found.message}" if found.message else f"{len(found.rows)} rows"
        assert not wrong, wrong

    def catalog(self, persona: str) -> RestCatalog:
        """pyiceberg with the user's own token, as anybody may open it."""
        properties: dict[str, Any] = {
            "uri": self.urls["catalog"],
            "warehouse": "lake",
            "token": self.tokens(persona, Audience.CATALOG)(),
            "header.X-Iceberg-Access-Delegation": "vended-credentials",
        }
        return compatible(RestCatalog("raw", **properties))


DENIALS = frozenset({"PERMISSION_DENIED", "TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "COLUMN_NOT_FOUND"})
"""What a reader hears of what they may not use; of some of it not even that it is there."""


def raw_uses(lab: LiveLab, *words: str) -> list[dict[str, Any]]:
    """What raw engines did of late, as ``lab audit`` with these words tells it."""
    events = lab.json("audit", "--since", "5m", *words)["events"]
    return [event for event in events if event["what"].startswith("catalog.")]
