"""Signing in and out, and who is signed in."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.errors import UsageError
from control_plane.api.access import Authenticated, console_of
from control_plane.api.identity.errors import SignInFailedError
from control_plane.api.identity.keycloak import Attempt
from control_plane.api.identity.people import permissions
from control_plane.api.identity.sealing import UnsealError
from control_plane.api.problems import UnavailableError
from control_plane.api.schemas.identity import Info, Me, SignedOut, SignIn, SignInReady
from control_plane.api.version import VERSION

log = logging.getLogger(__name__)

browser = APIRouter(tags=["sign-in"])
api = APIRouter(prefix="/api/v1", tags=["sign-in"])

_NEXT = Query(max_length=2000, description="The page to come back to: a path of the console's own.")
_ATTEMPT_S = 600
_FORM_LIMIT_BYTES = 1 << 16


@browser.get("/auth/login", status_code=302, response_class=RedirectResponse)
async def login(request: Request, next: Annotated[str, _NEXT] = "/") -> Response:
    """Sends the browser to Keycloak (authorization code with PKCE)."""
    console = console_of(request)
    attempt = Attempt.new(own_path(next))
    begun = {"begun_at": time.time(), "attempt": asdict(attempt)}
    sealed = console.sealer.seal(json.dumps(begun).encode(), attempt.state)
    answer = RedirectResponse(console.realm.authorization_url(attempt), HTTPStatus.FOUND)
    set_attempt_cookie(request, answer, attempt.state, sealed)
    return answer


@browser.get("/auth/ready")
async def sign_in_ready(request: Request) -> SignInReady:
    """Whether somebody can sign in now: `503` names what is away."""
    console = console_of(request)
    if not await anyio.to_thread.run_sync(console.ready):
        what = "the console's database does not answer" if console.prepared else console.waits_for
        raise UnavailableError(what, next_command="lab status")
    await console.realm.require_up()
    return SignInReady()


@browser.get("/auth/callback", include_in_schema=False)
async def callback(
    request: Request, state: str = "", code: str = "", error: str = "", error_description: str = ""
) -> Response:
    """Where Keycloak sends the browser back to."""
    console = console_of(request)
    name = _attempt_cookie(request, state)
    sealed = request.cookies.get(name, "")
    try:
        begun = json.loads(console.sealer.unseal(bytes.fromhex(sealed), state))
        if begun["begun_at"] + _ATTEMPT_S < time.time():
            raise ValueError("too long ago")
        attempt = Attempt(**begun["attempt"])
    except (UnsealError, ValueError) as unknown:
        raise SignInFailedError(
            "this sign-in was not begun in this browser, took too long, or the browser keeps no secure "
            "cookies at this address",
            permitted="a sign-in from the console's page; Safari needs https",
            next_command=f"open {console.public_url}/auth/login",
        ) from unknown
    if error or not code:
        raise SignInFailedError(f"Keycloak did not sign you in: {error_description or error or 'no code'}")
    answer = RedirectResponse(attempt.next, HTTPStatus.FOUND)
    old = request.cookies.get(console.cookies.session)
    if attempt.offline:
        signed = await console.sessions.by_cookie(old or "")
        await console.jobs.permissions.accept(code, attempt, signed.person)
    else:
        cookie = await console.sessions.open(code, attempt, old)
        _set_cookie(answer, console.cookies.session, cookie, None)
    _set_cookie(answer, name, "", 0)
    return answer


@browser.post("/auth/logout")
async def logout(request: Request, response: Response, caller: Authenticated) -> SignedOut:
    """Ends the session here; the answer says where the browser goes to end it at Keycloak."""
    console = console_of(request)
    session = caller.signed.session
    if session is None:
        raise UsageError("there is no session to end", permitted="a browser's session, not a bearer token")
    await console.sessions.close(session)
    _set_cookie(response, console.cookies.session, "", 0)
    return SignedOut(url=console.realm.end_session_url(session.tokens.id_token, f"{console.public_url}/"))


@browser.post("/auth/backchannel-logout", include_in_schema=False)
async def backchannel_logout(request: Request) -> Response:
    """Keycloak tells of a sign-in that ended."""
    console = console_of(request)
    body = await request.body()
    if len(body) > _FORM_LIMIT_BYTES:
        raise UsageError("the logout request is too long", permitted=f"{_FORM_LIMIT_BYTES} bytes")
    token = parse_qs(body.decode("utf-8", errors="replace")).get("logout_token", [""])[0]
    ended = await anyio.to_thread.run_sync(console.realm.ended, token)
    count = await console.sessions.end(ended)
    log.info("Keycloak ended %s session(s)", count)
    return Response(status_code=HTTPStatus.OK)


@api.get("/me")
async def me(request: Request, caller: Authenticated) -> Me:
    """The caller, their groups, and the CSRF token of their session."""
    console = console_of(request)
    session = caller.signed.session
    cookie = request.cookies.get(console.cookies.session, "")
    return Me(
        username=caller.username,
        name=caller.person.display_name,
        email=caller.person.email,
        groups=sorted(caller.groups),
        permissions=permissions(caller.username, caller.groups),
        sign_in=SignIn.BEARER if session is None else SignIn.SESSION,
        csrf_token=None if session is None else console.sealer.mac(cookie),
        session_ends_at=(
            None if session is None else datetime.fromtimestamp(session.tokens.sign_in_ends_at, tz=UTC)
        ),
    )


@api.get("/info")
async def info(request: Request, _: Authenticated) -> Info:
    """What this console is part of."""
    settings = console_of(request).settings
    reached = {
        "governor": settings.governor_url,
        "trino": settings.trino_url,
        "spark": settings.spark_url,
        "agent": settings.agent_url,
    }
    return Info(
        lab=settings.lab,
        version=VERSION,
        catalog_kind=settings.catalog_kind,
        default_catalog=settings.catalog,
        services=[name for name, url in reached.items() if url is not None],
    )


def own_path(path: str) -> str:
    """``path`` if it is one of the console's own pages, else ``/``: nobody is led to another site."""
    # Browsers read a backslash as a slash and drop control characters, so that "/\\host" leaves, too.
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain and not path.startswith(("/auth/", "/api/")) else "/"


def set_attempt_cookie(request: Request, answer: Response, state: str, sealed: bytes) -> None:
    """Ties a sign-in that begins to this browser. A cookie for each: several tabs may sign in at once."""
    _set_cookie(answer, _attempt_cookie(request, state), sealed.hex(), _ATTEMPT_S)


def _attempt_cookie(request: Request, state: str) -> str:
    tail = "".join(char for char in state[:12] if char.isalnum())
    return f"{console_of(request).cookies.sign_in}-{tail}"


def _set_cookie(answer: Response, name: str, value: str, max_age_s: int | None) -> None:
    answer.set_cookie(name, value, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="lax")
