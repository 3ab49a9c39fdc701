"""Access tokens by OAuth2 client credentials (RFC 6749 §4.4)."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import httpx

from contracts.errors import LabError

EXPIRY_MARGIN_S = 30.0
_MOVED_BACK_S = 5.0


@dataclass(kw_only=True)
class ClientCredentials:
    """A callable that gives a valid access token of one service account, cached until shortly before
    it expires, and no longer than until the machine's clock was moved or the machine slept: a token's
    times are by that clock. Safe to share between threads.

    Raises (when called):
        LabError: the token endpoint can't be reached, or refuses the client.
    """

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str | None = None
    timeout_s: float = 10.0
    _token: str = field(default="", repr=False, init=False)
    _expires_at_s: float = field(default=0.0, repr=False, init=False)
    _by_clock_s: tuple[float, float] = field(default=(0.0, 0.0), repr=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, init=False)

    def __call__(self) -> str:
        with self._lock:
            if not self._is_current():
                self._fetch()
            return self._token

    def _is_current(self) -> bool:
        made_s, ends_s = self._by_clock_s
        return time.monotonic() < self._expires_at_s and made_s - _MOVED_BACK_S <= time.time() < ends_s

    def _fetch(self) -> None:
        form = {"grant_type": "client_credentials"}
        if self.scope:
            form["scope"] = self.scope
        try:
            answer = httpx.post(
                self.token_url,
                data=form,
                auth=(self.client_id, self.client_secret),
                timeout=self.timeout_s,
                # Keycloak is on the loopback or in the same cluster: never through a proxy.
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise LabError(
                f"the token endpoint can't be reached: {error}",
                value=self.token_url,
                next_command="lab status",
            ) from error
        if answer.status_code != 200:
            # The body of an error answer names the reason and holds no secret (RFC 6749 §5.2).
            raise LabError(
                f"client {self.client_id!r} got no token: HTTP {answer.status_code} {answer.text[:200]}",
                value=self.token_url,
                next_command="lab up --core",
            )
        document = answer.json()
        self._token = str(document["access_token"])
        lifespan_s = float(document.get("expires_in", 60))
        kept_s = max(lifespan_s - EXPIRY_MARGIN_S, lifespan_s / 2)
        self._expires_at_s = time.monotonic() + kept_s
        self._by_clock_s = time.time(), time.time() + kept_s
