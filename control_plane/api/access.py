"""What routes ask of a request: who calls, and that their own page does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from anyio import from_thread
from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from contracts.identity import Audience
from control_plane.api.identity.errors import CrossSiteError
from control_plane.api.identity.keycloak import AccessToken
from control_plane.api.identity.sessions import Sessions, Signed
from control_plane.api.storage.sessions import Person
from governance.governor.auth import UnauthenticatedError, bearer_token

if TYPE_CHECKING:
    from control_plane.api.console import Console

CSRF_HEADER = "X-CSRF-Token"
IDLE_HEADER = "X-Idle-S"
"""For how many seconds nobody has pressed a key or moved the pointer on the page that asks: pages ask by
themselves, too."""
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_EARLY_S = 30.0

_cookie = APIKeyCookie(
    name="__Host-console",
    scheme_name="session",
    description="What `/auth/login` sets; the port follows the name. Requests that change something also "
    f"need the header `{CSRF_HEADER}` with what `/api/v1/me` says.",
    auto_error=False,
)
_bearer = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="JWT",
    description="An access token of the lab's realm for audience `control-plane`.",
    auto_error=False,
)


class Caller:
    """Who calls, and tokens in their name for other services."""

    def __init__(self, signed: Signed, sessions: Sessions) -> None:
        self.signed = signed
        self._sessions = sessions
        self._tokens: dict[Audience, AccessToken] = {}

    @property
    def person(self) -> Person:
        return self.signed.person

    @property
    def username(self) -> str:
        return self.signed.person.username

    @property
    def groups(self) -> frozenset[str]:
        return self.signed.person.groups

    async def token(self, audience: Audience) -> str:
        """A current token for ``audience``, by exchange; good for work that outlives one.

        Raises:
            SignInEndedError, IdentityUnavailableError.
        """
        kept = self._tokens.get(audience)
        if kept is None or kept.ends_at - _EARLY_S <= time.time():
            if self.signed.session is not None:
                self.signed = await self._sessions.by_key(self.signed.session.key)
            kept = await self._sessions.exchanges.token(self.signed.subject_token, audience)
            self._tokens[audience] = kept
        return kept.value

    def token_in_thread(self, audience: Audience) -> str:
        """The same from a worker thread."""
        return from_thread.run(self.token, audience)


def console_of(request: Request) -> Console:
    """What the application is made of."""
    console: Console = request.app.state.console
    return console


async def _caller(
    request: Request,
    _session: Annotated[str | None, Security(_cookie)] = None,
    _token: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
) -> Caller:
    console = console_of(request)
    caller = await _known(request, console)
    if console.using is not None:
        console.using.note(caller, request.headers.get(IDLE_HEADER))
    return caller


async def _known(request: Request, console: Console) -> Caller:
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return Caller(await console.sessions.by_token(bearer_token(authorization)), console.sessions)
    cookie = request.cookies.get(console.cookies.session)
    if not cookie:
        raise UnauthenticatedError(
            "nobody is signed in", permitted="a session, or Authorization: Bearer <access token>"
        )
    require_same_site(request, console.public_url)
    if request.method not in _SAFE_METHODS and not console.sealer.is_mac(
        request.headers.get(CSRF_HEADER), cookie
    ):
        raise CrossSiteError(
            f"the header {CSRF_HEADER} is missing or not this session's",
            permitted="the csrf_token that /api/v1/me says",
        )
    return Caller(await console.sessions.by_cookie(cookie), console.sessions)


def require_same_site(request: Request, public_url: str) -> None:
    """Raises CrossSiteError when a page of another site made the browser send the request."""
    origin = request.headers.get("origin")
    public = urlsplit(public_url)
    if origin is not None and origin != f"{public.scheme}://{public.netloc}":
        raise CrossSiteError("the request comes from another site", value=origin, permitted=public_url)
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CrossSiteError("the request comes from another site", permitted=public_url)


Authenticated = Annotated[Caller, Depends(_caller)]
