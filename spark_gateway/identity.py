"""A user's identity on behalf of whom a driver runs."""

from __future__ import annotations

import httpx

from contracts.identity import Audience
from governance.exchange import AccessToken, ShownToken, SignIn, SignInEndedError, TokenExchange

__all__ = ["AccessToken", "Identity", "Keycloak", "ShownToken", "SignIn", "SignInEndedError"]

Identity = SignIn | ShownToken
"""Whom a driver runs for."""

CLIENT_ID = "spark"
_AUDIENCES = (Audience.CATALOG, Audience.GOVERNOR)


class Keycloak(TokenExchange):
    """The realm's token endpoint as client ``spark`` uses it. ``http`` is not closed."""

    def __init__(self, token_url: str, client_secret: str, http: httpx.AsyncClient) -> None:
        super().__init__(
            token_url, http, client_id=CLIENT_ID, client_secret=client_secret, audiences=_AUDIENCES
        )

    async def identity(self, username: str, subject_token: str) -> Identity:
        """The user behind an access token. Of an offline sign-in, such as the console has for jobs, Keycloak
        gives others no refresh token: it lasts as long as the token that was shown last.

        Raises:
            SignInEndedError, IdentityUnavailableError.
        """
        try:
            return await self.exchange(username, subject_token)
        except SignInEndedError:
            shown = ShownToken(self, username, subject_token)
            await shown.token(Audience.GOVERNOR)
            return shown
