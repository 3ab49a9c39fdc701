"""A user's identity that a service acts with: exchanged at Keycloak, and renewed as long as the user's own
sign-in lasts.

https://www.keycloak.org/securing-apps/token-exchange, standard token exchange (RFC 8693).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from contracts.identity import Audience
from governance.governor.auth import ForbiddenError, IdentityUnavailableError

_TOKEN_TYPE = "urn:ietf:params:oauth:token-type"  # a name, not a secret


class SignInEndedError(ForbiddenError):
    """Keycloak gives no more tokens for this user: signed out, expired, or disabled (403)."""


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """A token and its remaining life in seconds when it was given."""

    value: str = field(repr=False)
    expires_in_s: int


class TokenExchange:
    """The realm's token endpoint as one confidential client uses it.

    Args:
        http: is not closed.
        client_id: a client with token exchange and its refresh tokens switched on.
        audiences: what users' identities are to be good for.
    """

    def __init__(
        self,
        token_url: str,
        http: httpx.AsyncClient,
        *,
        client_id: str,
        client_secret: str,
        audiences: Sequence[Audience],
    ) -> None:
        self._token_url, self._http = token_url, http
        self._credentials = (client_id, client_secret)
        self._audiences = tuple(audiences)

    async def exchange(self, username: str, subject_token: str) -> SignIn:
        """The user behind an access token whose audience is the client.

        Raises:
            SignInEndedError, IdentityUnavailableError.
        """
        answer = await self._ask(
            username,
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": subject_token,
                "subject_token_type": f"{_TOKEN_TYPE}:access_token",
                "requested_token_type": f"{_TOKEN_TYPE}:refresh_token",
                "scope": _scope(*self._audiences),
            },
        )
        return SignIn(self, username, _text(answer, "refresh_token"))

    async def access(self, username: str, subject_token: str, audience: Audience) -> AccessToken:
        """A token for one audience and for nothing else, whatever kind of sign-in stands behind the access
        token. Raises as :meth:`exchange`."""
        answer = await self._ask(
            username,
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": subject_token,
                "subject_token_type": f"{_TOKEN_TYPE}:access_token",
                "requested_token_type": f"{_TOKEN_TYPE}:access_token",
                "scope": _scope(audience),
                "audience": audience.value,
            },
        )
        return _access_token(answer)

    async def refresh(self, username: str, refresh_token: str, audience: Audience) -> tuple[AccessToken, str]:
        """A token for one audience, and the refresh token that follows. Raises as :meth:`exchange`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "scope": _scope(audience)}
        answer = await self._ask(username, form)
        return _access_token(answer), str(answer.get("refresh_token") or refresh_token)

    async def _ask(self, username: str, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            response = await self._http.post(self._token_url, data=dict(form), auth=self._credentials)
        except httpx.HTTPError as error:
            raise _unavailable() from error
        if response.status_code >= 500:
            raise _unavailable()
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        if response.is_error:
            said = answer.get("error_description") or answer.get("error") or response.status_code
            raise SignInEndedError(
                f"Keycloak gives no token for {username!r}: {said}",
                permitted="a user whose sign-in has not ended",
                next_command="lab login",
            )
        return answer


class SignIn:
    """One user's identity. Holds a refresh token, which the service alone ever sees."""

    def __init__(self, keycloak: TokenExchange, username: str, refresh_token: str) -> None:
        self.username = username
        self._keycloak = keycloak
        self._refresh_token = refresh_token
        # A refresh token may be good for one use only.
        self._lock = asyncio.Lock()

    async def token(self, audience: Audience) -> AccessToken:
        """A new token of the user's for ``audience``. Raises as :meth:`TokenExchange.exchange`."""
        async with self._lock:
            token, self._refresh_token = await self._keycloak.refresh(
                self.username, self._refresh_token, audience
            )
            return token


class ShownToken:
    """One user's identity for as long as the access token lasts that they showed last."""

    def __init__(self, keycloak: TokenExchange, username: str, token: str) -> None:
        self.username = username
        self._keycloak, self._token = keycloak, token

    def show(self, token: str) -> None:
        """They showed another one since."""
        self._token = token

    async def token(self, audience: Audience) -> AccessToken:
        """A new token of the user's for ``audience``. Raises as :meth:`TokenExchange.exchange`."""
        return await self._keycloak.access(self.username, self._token, audience)


def _access_token(answer: Mapping[str, Any]) -> AccessToken:
    return AccessToken(value=_text(answer, "access_token"), expires_in_s=int(answer.get("expires_in", 60)))


def _scope(*audiences: Audience) -> str:
    return " ".join(["openid", *(audience.value for audience in audiences)])


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not value:
        raise IdentityUnavailableError(
            f"Keycloak's answer has no {key.replace('_', ' ')}", next_command="lab up, which sets the realm"
        )
    return value


def _unavailable() -> IdentityUnavailableError:
    return IdentityUnavailableError(
        "Keycloak does not answer, so that nobody's identity can be had", next_command="lab logs keycloak"
    )
