"""The governor, asked in the caller's name with a token for it alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import httpx
from anyio import to_thread

from contracts.identity import Audience
from control_plane.api.access import Caller
from control_plane.api.problems import AbsentServiceError
from governance.client import GovernorClient

T = TypeVar("T")

_FORBIDDEN = 403


class Governor:
    """Makes clients for callers.

    Args:
        url: None where the console was given none.
        transport: shared by all of them, and closed by :meth:`close`.
    """

    def __init__(self, url: str | None, transport: httpx.BaseTransport) -> None:
        self._url, self._transport = url, transport

    def in_thread(self, caller: Caller) -> GovernorClient:
        """A client for use in a worker thread. Raises AbsentServiceError."""
        return self._client(lambda: caller.token_in_thread(Audience.GOVERNOR))

    async def ask(self, caller: Caller, question: Callable[[GovernorClient], T]) -> T:
        """The answer to one question. Raises GovernorError, SignInEndedError, AbsentServiceError."""
        return await self.ask_with(await caller.token(Audience.GOVERNOR), question)

    async def ask_with(self, token: str, question: Callable[[GovernorClient], T]) -> T:
        """The same with somebody's token for the governor. Raises GovernorError, AbsentServiceError."""
        client = self._client(lambda: token)
        return await to_thread.run_sync(question, client)

    def close(self) -> None:
        """Closes the connections."""
        self._transport.close()

    def _client(self, token: Callable[[], str]) -> GovernorClient:
        if self._url is None:
            raise AbsentServiceError("this console has no governor", next_command="lab up")
        return GovernorClient(self._url, token, transport=self._transport)
