"""How the access rules shape what a user sees: the governor says it, asked with the user's own token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.identity import UserTokens
from agent.threads import in_thread
from agent.values import RuleNote
from contracts.errors import LabError
from contracts.identity import Audience
from governance.client import GovernorClient
from governance.reports import Explanation, Visibility

ClientFor = Callable[[Callable[[], str]], GovernorClient]
"""Makes a client from a token's provider."""


class AccessNotes:
    """Asks for one user."""

    def __init__(self, client: ClientFor, tokens: UserTokens) -> None:
        self._client, self._tokens = client, tokens

    async def explanation(self, table: str) -> Explanation:
        """Why the user has ``ns.table`` as they do. Raises GovernorError, SignInEndedError."""
        return (await self._ask([table]))[0]

    async def notes(self, tables: Sequence[str]) -> tuple[tuple[RuleNote, ...], str | None]:
        """What rules do to each table; where the governor can't say, the reason in place of it."""
        bare = sorted({table.partition("$")[0] for table in tables if "information_schema" not in table})
        try:
            found = await self._ask(bare)
        except LabError as error:
            return (), f"Which access rules shaped these rows can't be said: {error.what}"
        return tuple(note_of(table, one) for table, one in zip(bare, found, strict=True)), None

    async def _ask(self, tables: Sequence[str]) -> list[Explanation]:
        token = await self._tokens.token(Audience.GOVERNOR)

        def ask() -> list[Explanation]:
            with self._client(lambda: token) as client:
                return [client.explain(table) for table in tables]

        return await in_thread(ask)


def note_of(table: str, explanation: Explanation) -> RuleNote:
    """The part of an explanation that belongs beside an answer."""
    view = explanation.view
    return RuleNote(
        table=table,
        filters=tuple(use.rule for use in view.filters),
        masked=tuple(use.column for use in view.columns if use.visibility is Visibility.MASKED),
        hidden=explanation.denied,
    )
