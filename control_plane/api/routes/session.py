"""Signing in and out, and who is signed in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from control_plane.api.access import Authenticated
from control_plane.api.schemas.identity import Info, Me, SignedOut

browser = APIRouter(tags=["sign-in"])
api = APIRouter(prefix="/api/v1", tags=["sign-in"])

_NEXT = Query(max_length=2000, description="The page to come back to: a path of the console's own.")


@browser.get("/auth/login", status_code=302, response_class=RedirectResponse)
async def login(request: Request, next: Annotated[str, _NEXT] = "/") -> Response:
    """Sends the browser to Keycloak (authorization code with PKCE)."""
    raise NotImplementedError


@browser.get("/auth/callback", include_in_schema=False)
async def callback(request: Request) -> Response:
    """Where Keycloak sends the browser back to."""
    raise NotImplementedError


@browser.post("/auth/logout")
async def logout(request: Request, caller: Authenticated) -> SignedOut:
    """Ends the session here; the answer says where the browser goes to end it at Keycloak."""
    raise NotImplementedError


@browser.post("/auth/backchannel-logout", include_in_schema=False)
async def backchannel_logout(request: Request) -> Response:
    """Keycloak tells of a sign-in that ended."""
    raise NotImplementedError


@api.get("/me")
async def me(caller: Authenticated) -> Me:
    """The caller, their groups, and the CSRF token of their session."""
    raise NotImplementedError


@api.get("/info")
async def info(caller: Authenticated) -> Info:
    """What this console is part of."""
    raise NotImplementedError
