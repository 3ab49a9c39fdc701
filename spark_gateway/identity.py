"""A user's identity on behalf of whom a driver runs."""

from __future__ import annotations

import httpx

from contracts.identity import Audience
from governance.exchange import AccessToken, SignIn, SignInEndedError, TokenExchange

__all__ = ["AccessToken", "Keycloak", "SignIn", "SignInEndedError"]

CLIENT_ID = "spark"
_AUDIENCES = (Audience.CATALOG, Audience.GOVERNOR)


class Keycloak(TokenExchange):
    """The realm's token endpoint as client ``spark`` uses it. ``http`` is not closed."""

    def __init__(self, token_url: str, client_secret: str, http: httpx.AsyncClient) -> None:
        super().__init__(
            token_url, http, client_id=CLIENT_ID, client_secret=client_secret, audiences=_AUDIENCES
        )
