"""The realm as the console's client uses it: authorization code with PKCE, refresh, token exchange, logout.

https://openid.net/specs/openid-connect-core-1_0.html, https://www.rfc-editor.org/rfc/rfc7636 (PKCE),
https://www.rfc-editor.org/rfc/rfc8693 (token exchange),
https://openid.net/specs/openid-connect-backchannel-1_0.html
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import anyio.to_thread
import httpx
import jwt

from contracts.identity import Audience
from control_plane.api.identity.errors import SignInEndedError, SignInFailedError
from governance.governor.auth import IdentityUnavailableError, UnauthenticatedError

CLIENT_ID = Audience.CONTROL_PLANE.value
_ALGORITHMS = ["RS256"]
_LEEWAY_S = 10
_LOOK_S = 5.0
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # a name, not a secret
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, kw_only=True)
class TokenSet:
    """What a sign-in has. Times are in seconds since the epoch; ``sign_in_ends_at`` moves with each
    refresh."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    id_token: str = field(repr=False)
    access_ends_at: float
    sign_in_ends_at: float


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """A token for one service."""

    value: str = field(repr=False)
    ends_at: float


@dataclass(frozen=True, kw_only=True)
class OfflineAccess:
    """An offline token, and an access token that came with it; the end of that in seconds since the epoch."""

    token: str = field(repr=False)
    access_token: str = field(repr=False)
    access_ends_at: float


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A sign-in under way: what ties Keycloak's answer to this browser. ``offline``: it is for an offline
    token, and opens no session."""

    state: str
    nonce: str
    verifier: str = field(repr=False)
    next: str
    offline: bool = False

    @classmethod
    def new(cls, next_path: str, *, offline: bool = False) -> Attempt:
        """With random values."""
        return cls(
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            next=next_path,
            offline=offline,
        )


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A sign-in that ended: all of a subject's, or one by its ``session`` (``sid``)."""

    subject: str | None
    session: str | None


class Realm:
    """The realm's endpoints.

    Args:
        issuer_url: the realm as browsers and tokens name it.
        realm_url: the same as reached from here.
        redirect_uri: where Keycloak sends browsers back to.
        http: not closed here.
        signing_key: gives the realm's key for a token; it may fetch.
    """

    def __init__(
        self,
        *,
        issuer_url: str,
        realm_url: str,
        client_secret: str,
        redirect_uri: str,
        http: httpx.AsyncClient,
        signing_key: Callable[[str], Any],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._issuer_url, self._client_secret = issuer_url, client_secret
        self._realm_url = realm_url
        self._redirect_uri, self._http, self._signing_key = redirect_uri, http, signing_key
        self._token_url = f"{realm_url}/protocol/openid-connect/token"
        self._revocation_url = f"{realm_url}/protocol/openid-connect/revoke"
        self._clock = clock

    async def require_up(self) -> None:
        """Raises IdentityUnavailableError unless the realm answers."""
        try:
            response = await self._http.get(self._realm_url, timeout=_LOOK_S)
        except httpx.HTTPError as error:
            raise unavailable() from error
        if not response.is_success:
            raise unavailable()

    def authorization_url(self, attempt: Attempt) -> str:
        """Where a browser signs in."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest())
        query = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": self._redirect_uri,
            "scope": "openid offline_access" if attempt.offline else "openid",
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge.rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self._issuer_url}/protocol/openid-connect/auth?{urlencode(query)}"

    def end_session_url(self, id_token: str, return_to: str) -> str:
        """Where a browser ends its sign-in."""
        query = {"id_token_hint": id_token, "post_logout_redirect_uri": return_to, "client_id": CLIENT_ID}
        return f"{self._issuer_url}/protocol/openid-connect/logout?{urlencode(query)}"

    async def redeem(self, code: str, attempt: Attempt) -> tuple[TokenSet, Mapping[str, Any]]:
        """The tokens for a code, and the ID token's claims.

        Raises:
            SignInFailedError, IdentityUnavailableError.
        """
        answer, claims = await self._redeem(code, attempt)
        return self._token_set(answer), claims

    async def redeem_offline(self, code: str, attempt: Attempt) -> tuple[OfflineAccess, Mapping[str, Any]]:
        """The offline token for a code, and the ID token's claims.

        Raises:
            SignInFailedError (Keycloak gave none that outlives the sign-in), IdentityUnavailableError.
        """
        answer, claims = await self._redeem(code, attempt)
        if "offline_access" not in str(answer.get("scope", "")).split():
            raise SignInFailedError(
                "Keycloak gave no offline token",
                permitted="a user with the realm role 'offline_access'",
                next_command="ask a lab admin for that role",
            )
        return self._offline(answer), claims

    async def refresh_offline(self, offline_token: str) -> OfflineAccess:
        """An access token of the offline token's owner. Raises SignInEndedError, IdentityUnavailableError."""
        answer = await self._ask({"grant_type": "refresh_token", "refresh_token": offline_token})
        return self._offline({"refresh_token": offline_token, **answer})

    async def revoke(self, offline_token: str) -> None:
        """Ends an offline token at Keycloak (RFC 7009). Raises IdentityUnavailableError."""
        try:
            response = await self._http.post(
                self._revocation_url,
                data={"token": offline_token, "token_type_hint": "refresh_token"},
                auth=(CLIENT_ID, self._client_secret),
            )
        except httpx.HTTPError as error:
            raise unavailable() from error
        if response.status_code >= 500:
            raise unavailable()

    async def _redeem(self, code: str, attempt: Attempt) -> tuple[dict[str, Any], Mapping[str, Any]]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        try:
            answer = await self._ask(form)
            claims = await anyio.to_thread.run_sync(self._decode, _text(answer, "id_token"))
        except (SignInEndedError, UnauthenticatedError) as error:
            raise SignInFailedError(f"Keycloak did not sign you in: {error.what}") from error
        if claims.get("nonce") != attempt.nonce:
            raise SignInFailedError(
                "the ID token belongs to another sign-in", permitted="a sign-in of this browser"
            )
        return answer, claims

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """New tokens. Raises SignInEndedError, IdentityUnavailableError."""
        answer = await self._ask({"grant_type": "refresh_token", "refresh_token": tokens.refresh_token})
        return self._token_set({"id_token": tokens.id_token, **answer})

    async def exchange(self, subject_token: str, audience: Audience) -> AccessToken:
        """A token of the user's for another service. Raises SignInEndedError, IdentityUnavailableError."""
        answer = await self._ask(
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": subject_token,
                "subject_token_type": _ACCESS_TOKEN,
                "requested_token_type": _ACCESS_TOKEN,
                "scope": f"openid {audience.value}",
                "audience": audience.value,
            }
        )
        return AccessToken(value=_text(answer, "access_token"), ends_at=self._end(answer, "expires_in", 60))

    def ended(self, logout_token: str) -> Ended:
        """What a back-channel logout token ends. Raises UnauthenticatedError, IdentityUnavailableError."""
        claims = self._decode(logout_token, required=("iat", "iss", "aud", "events"))
        events = claims["events"]
        subject, session = claims.get("sub"), claims.get("sid")
        if not isinstance(events, dict) or _LOGOUT_EVENT not in events or "nonce" in claims:
            raise UnauthenticatedError("this is no logout token")
        if not isinstance(subject, str) and not isinstance(session, str):
            raise UnauthenticatedError("the logout token names nobody")
        return Ended(subject=subject, session=session)

    def _decode(
        self, token: str, required: tuple[str, ...] = ("exp", "iat", "iss", "aud", "sub")
    ) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._signing_key(token),
                algorithms=_ALGORITHMS,
                audience=CLIENT_ID,
                issuer=self._issuer_url,
                leeway=_LEEWAY_S,
                options={"require": list(required)},
            )
        except jwt.PyJWKClientConnectionError as error:
            raise unavailable() from error
        except (jwt.PyJWTError, ValueError) as error:
            raise UnauthenticatedError(f"Keycloak's token is not valid here: {error}") from error
        return claims

    def _token_set(self, answer: Mapping[str, Any]) -> TokenSet:
        return TokenSet(
            access_token=_text(answer, "access_token"),
            refresh_token=_text(answer, "refresh_token"),
            id_token=_text(answer, "id_token"),
            access_ends_at=self._end(answer, "expires_in", 60),
            sign_in_ends_at=self._end(answer, "refresh_expires_in", 1800),
        )

    def _offline(self, answer: Mapping[str, Any]) -> OfflineAccess:
        return OfflineAccess(
            token=_text(answer, "refresh_token"),
            access_token=_text(answer, "access_token"),
            access_ends_at=self._end(answer, "expires_in", 60),
        )

    def _end(self, answer: Mapping[str, Any], name: str, default_s: float) -> float:
        return self._clock() + float(answer.get(name) or default_s)

    async def _ask(self, form: Mapping[str, str]) -> dict[str, Any]:
        try:
            response = await self._http.post(
                self._token_url, data=dict(form), auth=(CLIENT_ID, self._client_secret)
            )
        except httpx.HTTPError as error:
            raise unavailable() from error
        if response.status_code >= 500:
            raise unavailable()
        try:
            answer = response.json()
        except ValueError:
            answer = {}
        if not isinstance(answer, dict):
            answer = {}
        if response.is_error:
            said = str(answer.get("error_description") or answer.get("error") or response.status_code)
            if answer.get("error") in ("invalid_client", "unauthorized_client"):
                raise IdentityUnavailableError(
                    f"Keycloak refuses the console itself: {said}",
                    next_command="lab up, which sets the realm",
                )
            raise SignInEndedError(
                f"the sign-in has ended: {said}", permitted="a current sign-in", next_command="sign in again"
            )
        return answer


def _text(answer: Mapping[str, Any], key: str) -> str:
    value = answer.get(key)
    if not isinstance(value, str) or not value:
        raise IdentityUnavailableError(
            f"Keycloak's answer has no {key.replace('_', ' ')}", next_command="lab up, which sets the realm"
        )
    return value


def unavailable() -> IdentityUnavailableError:
    """What is said while Keycloak does not answer."""
    return IdentityUnavailableError(
        "Keycloak does not answer, so that nobody can be told who they are",
        next_command="lab logs keycloak",
    )
