"""The client credentials grant (RFC 6749 §4.4) of one client, answered with a token that is kept.

A token is good until it ends, whether or not who issued it can be asked. It is given to nobody but who shows
the secret that it was issued for; every other request is the issuer's to answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

log = logging.getLogger(__name__)

RENEW_AFTER = 0.2
"""The part of a token's life after which another is asked for: with the rest the issuer may be away."""
MARGIN_S = 30.0
"""Before its end a token is given no more: what is called with it has to be answered before."""
RETRY_S = 5.0
"""How long nothing is asked for after the issuer could not be reached, while there is a token."""
_MOVED_BACK_S = 5.0
_GRANT = "client_credentials"
_ASKED = frozenset({"grant_type", "client_id", "client_secret", "scope"})
_GIVEN = ("token_type", "scope")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of a token endpoint: its document holds a token where ``status`` is 200."""

    status: int
    document: Mapping[str, Any] = field(repr=False)


def refusal(status: HTTPStatus, code: str, description: str) -> Answer:
    """An error of RFC 6749 §5.2."""
    return Answer(status=status, document={"error": code, "error_description": description})


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Both clocks in seconds: the machine's may be moved, the other may rest while the machine sleeps."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A token with times of both clocks. Of the secret it keeps a digest under a key of this process."""

    document: Mapping[str, Any] = field(repr=False)
    digest: bytes = field(repr=False)
    made: tuple[float, float]
    life_s: float

    def age_s(self, clock: Clock) -> float:
        """By the clock that went further; one that was moved back ends the token."""
        passed_s, by_wall_s = clock.monotonic() - self.made[0], clock.wall() - self.made[1]
        return float("inf") if by_wall_s < passed_s - _MOVED_BACK_S else max(passed_s, by_wall_s)


class TokenCache:
    """The token endpoint of one client.

    Args:
        http: is not closed.
        token_url: the issuer's token endpoint.
        client_id: whose tokens these are; nobody else is answered.
    """

    def __init__(
        self, http: httpx.AsyncClient, token_url: str, client_id: str, *, clock: Clock | None = None
    ) -> None:
        self._http, self._token_url, self._client_id = http, token_url, client_id
        self._clock = clock or Clock()
        self._key = secrets.token_bytes(32)
        self._kept: dict[str, _Kept] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._away_until_s = 0.0

    async def answer(self, form: Mapping[str, str]) -> Answer:
        """A token for who shows the client's secret, or why there is none.

        Args:
            form: the request's parameters.
        """
        if form.get("grant_type") != _GRANT:
            return refusal(HTTPStatus.BAD_REQUEST, "unsupported_grant_type", f"{_GRANT} alone is answered")
        if form.get("client_id") != self._client_id or not form.get("client_secret"):
            return refusal(HTTPStatus.UNAUTHORIZED, "invalid_client", "another client than this endpoint's")
        if not form.keys() <= _ASKED:
            return refusal(
                HTTPStatus.BAD_REQUEST, "invalid_request", "a parameter more than is answered here"
            )
        kept = self._current(form)
        if kept is None:
            return await self._ask(form)
        if self._is_due(kept):
            self._renewing = asyncio.create_task(self._renew(dict(form)))
        return self._told(kept)

    async def close(self) -> None:
        """Waits for what is under way."""
        if self._renewing is not None:
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _current(self, form: Mapping[str, str]) -> _Kept | None:
        kept = self._kept.get(form.get("scope", ""))
        if kept is None or not hmac.compare_digest(kept.digest, self._digest(form)):
            return None
        return kept if kept.age_s(self._clock) < kept.life_s - MARGIN_S else None

    def _is_due(self, kept: _Kept) -> bool:
        if self._renewing is not None and not self._renewing.done():
            return False
        now_s = self._clock.monotonic()
        return now_s >= self._away_until_s and kept.age_s(self._clock) >= RENEW_AFTER * kept.life_s

    async def _renew(self, form: Mapping[str, str]) -> None:
        answer = await self._ask(form)
        if answer.status != HTTPStatus.OK:
            log.warning("no new token of %s: %s", self._client_id, answer.document.get("error"))

    async def _ask(self, form: Mapping[str, str]) -> Answer:
        """The issuer's own answer; a token is kept, and one that is refused to its secret is forgotten."""
        scope, made = form.get("scope", ""), (self._clock.monotonic(), self._clock.wall())
        try:
            response = await self._http.post(self._token_url, data=dict(form))
            status, document = response.status_code, response.json()
            if status == HTTPStatus.OK:
                life_s = float(document["expires_in"])
                given = {"access_token": str(document["access_token"])}
                given |= {name: document[name] for name in _GIVEN if name in document}
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            status, document = HTTPStatus.SERVICE_UNAVAILABLE, {}
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._away_until_s = self._clock.monotonic() + RETRY_S
            return refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "the identity provider does not answer",
            )
        digest = self._digest(form)
        if status == HTTPStatus.OK:
            kept = _Kept(document=given, digest=digest, made=made, life_s=life_s)
            self._kept = {**self._kept, scope: kept}
            return self._told(kept)
        kept_now = self._kept.get(scope)
        if kept_now is not None and hmac.compare_digest(kept_now.digest, digest):
            self._kept = {other: one for other, one in self._kept.items() if other != scope}
        return Answer(status=status, document=document)

    def _told(self, kept: _Kept) -> Answer:
        left_s = max(0, int(kept.life_s - kept.age_s(self._clock)))
        return Answer(status=HTTPStatus.OK, document={**kept.document, "expires_in": left_s})

    def _digest(self, form: Mapping[str, str]) -> bytes:
        return hmac.digest(self._key, form["client_secret"].encode(), hashlib.sha256)
