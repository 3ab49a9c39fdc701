"""What routes ask of a request: who calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

_cookie = APIKeyCookie(name="__Host-console", scheme_name="session", auto_error=False)
_bearer = HTTPBearer(
    scheme_name="bearer",
    bearerFormat="JWT",
    description="An access token of the lab's realm for audience `control-plane`.",
    auto_error=False,
)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls."""

    username: str
    groups: frozenset[str]
    subject_token: str = field(repr=False)


async def _caller(
    request: Request,
    _session: Annotated[str | None, Security(_cookie)] = None,
    _token: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
) -> Caller:
    raise NotImplementedError


Authenticated = Annotated[Caller, Depends(_caller)]
