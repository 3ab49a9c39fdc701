"""OAuth2 client credentials as httpx authentication.

https://www.rfc-editor.org/rfc/rfc6749#section-4.4
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping

import httpx

from governance.reconcile.port import ReconcileError

_EARLY_S = 30.0


def _may_be_the_token(request: httpx.Request, response: httpx.Response) -> bool:
    """A token remembers the roles of the moment it was made. So a refused reading is worth a new token:
    403, and 500 too, since Nessie puts its denials there. What writes is repeated after a 401 alone."""
    if response.status_code == 401:
        return True
    return request.method in ("GET", "HEAD") and response.status_code in (403, 500)


class ClientCredentials(httpx.Auth):
    """Gets a token, keeps it until shortly before its end, and gets a new one, once a request, when it is
    refused or may lack a role that its owner was given since (see :func:`_may_be_the_token`). ``scope`` is
    sent when not empty, ``headers`` go with each token request. The secret never reaches a log or an error.
    """

    requires_response_body = True

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._headers = dict(headers or {})
        self._lock = threading.Lock()
        self._token: str | None = None
        self._valid_until_s = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """httpx's hook: adds the header, fetches and renews the token."""
        token = self._current()
        fresh = token is None
        if token is None:
            token = self._accept((yield self._token_request()))
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if not fresh and _may_be_the_token(request, response):
            request.headers["Authorization"] = f"Bearer {self._accept((yield self._token_request()))}"
            yield request

    def _current(self) -> str | None:
        with self._lock:
            return self._token if time.monotonic() < self._valid_until_s else None

    def _token_request(self) -> httpx.Request:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._client_secret,
        }
        if self._scope:
            form["scope"] = self._scope
        return httpx.Request("POST", self._token_url, data=form, headers=self._headers)

    def _accept(self, response: httpx.Response) -> str:
        try:
            body = response.json() if response.is_success else {}
        except ValueError:
            body = {}
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str):
            raise ReconcileError(
                f"client {self._client_id!r} got no token: the answer was {response.status_code}",
                value=self._token_url,
                permitted="a client with service account and the right secret",
                next_command="lab logs keycloak",
            )
        lifetime_s = float(body.get("expires_in", 60))
        with self._lock:
            self._token = token
            self._valid_until_s = time.monotonic() + max(lifetime_s - _EARLY_S, lifetime_s / 2)
        return token
