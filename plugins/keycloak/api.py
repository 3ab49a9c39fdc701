"""The narrow port to Keycloak's admin REST API, and its implementation on python-keycloak.

API: https://www.keycloak.org/docs-api/latest/rest-api/index.html
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from contracts.errors import LabError

if TYPE_CHECKING:
    from requests import Response

    from keycloak import KeycloakOpenIDConnection

_CONNECTIONS = 16
_MIN_TIMEOUT_S = 60


class KeycloakRefused(LabError):
    """Keycloak answered a request with an error."""


class AlreadyThere(KeycloakRefused):
    """Something with this natural key exists (HTTP 409)."""


class Admin(Protocol):
    """What resource types need of Keycloak. Paths are relative to the admin API and already quoted."""

    def get(self, path: str, **query: str) -> Any | None:
        """The JSON document, or None when there is none (404). Raises KeycloakRefused, LabError."""

    def post(self, path: str, body: Any, **query: str) -> str:
        """Create; the id of what was made where Keycloak tells. Raises AlreadyThere, KeycloakRefused."""

    def put(self, path: str, body: Any) -> None:
        """Replace. Raises AlreadyThere, KeycloakRefused."""

    def delete(self, path: str, body: Any | None = None) -> bool:
        """Remove; False when it was not there. Raises KeycloakRefused."""

    def exclusive(self, path: str) -> AbstractContextManager[Any]:
        """Held while one representation is read, changed and written, by one request at a time."""


def path_of(*parts: str) -> str:
    """``realms/NAME/…`` with each part quoted."""
    return "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where Keycloak is and how to sign in: a client's secret, or a user's password."""

    url: str
    base_path: str = ""
    realm: str = "master"
    client_id: str = "admin-cli"
    client_secret: str | None = None
    username: str | None = None
    password: str | None = None
    access_token: str | None = None
    root_ca_certificate: str | None = None
    tls_insecure_skip_verify: bool = False
    timeout_s: int = 5
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def server_url(self) -> str:
        """The address that the realms' and admin paths hang under."""
        return f"{self.url.rstrip('/')}/{self.base_path.strip('/')}".rstrip("/") + "/"


class KeycloakAdminApi:
    """The port over one python-keycloak connection: pooled, signed in once, token renewed in time."""

    def __init__(self, connection: Connection) -> None:
        self._at = connection
        self._login_lock = threading.Lock()
        self._client: KeycloakOpenIDConnection | None = None
        self._ca_file: Path | None = None
        self._locks_lock = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}

    def get(self, path: str, **query: str) -> Any | None:
        response = self._send("raw_get", path, None, query)
        if response.status_code == 404:
            return None
        self._raise_for(response, "read", path)
        return response.json()

    def post(self, path: str, body: Any, **query: str) -> str:
        response = self._send("raw_post", path, body, query)
        self._raise_for(response, "create", path)
        return response.headers.get("Location", "").rstrip("/").rsplit("/", 1)[-1]

    def put(self, path: str, body: Any) -> None:
        self._raise_for(self._send("raw_put", path, body, {}), "update", path)

    def delete(self, path: str, body: Any | None = None) -> bool:
        response = self._send("raw_delete", path, body, {})
        if response.status_code == 404:
            return False
        self._raise_for(response, "delete", path)
        return True

    def exclusive(self, path: str) -> AbstractContextManager[Any]:
        with self._locks_lock:
            return self._locks.setdefault(path, threading.RLock())

    def _send(self, verb: str, path: str, body: Any, query: dict[str, str]) -> Response:
        from keycloak.exceptions import KeycloakConnectionError

        try:
            send = getattr(self._signed_in(), verb)
            target = f"admin/{path}"
            if verb == "raw_get":
                response: Response = send(target, **query)
            else:
                response = send(target, data=None if body is None else json.dumps(body), **query)
            return response
        except KeycloakConnectionError as problem:
            raise self._unreachable() from problem

    def _signed_in(self) -> KeycloakOpenIDConnection:
        from keycloak.exceptions import KeycloakConnectionError, KeycloakError

        with self._login_lock:
            try:
                if self._client is None:
                    self._client = self._connect()
                expires_at = self._client.expires_at
                if self._at.access_token is None and (self._client.token is None or _is_past(expires_at)):
                    self._client.refresh_token()
                return self._client
            except KeycloakConnectionError as problem:
                raise self._unreachable() from problem
            except KeycloakError as problem:
                raise LabError(
                    f"Keycloak at {self._at.server_url} refused the sign-in of client "
                    f"{self._at.client_id!r} in realm {self._at.realm!r}: {problem}",
                    value=self._at.username or self._at.client_id,
                    permitted="a client with a service account or a user that may administer the realm",
                    next_command="lab doctor",
                ) from problem

    def _connect(self) -> KeycloakOpenIDConnection:
        from keycloak import KeycloakOpenIDConnection

        at = self._at
        _bypass_proxy(at.url)
        token = {"access_token": at.access_token, "expires_in": 86_400} if at.access_token else None
        return KeycloakOpenIDConnection(
            server_url=at.server_url,
            username=at.username,
            password=at.password,
            client_id=at.client_id,
            client_secret_key=at.client_secret,
            grant_type=None if token else ("password" if at.username else "client_credentials"),
            realm_name=at.realm,
            token=token,
            verify=self._verify(),
            custom_headers=dict(at.headers) or None,
            # The SDK's default of 5 s is less than a busy machine takes to make a realm.
            timeout=max(at.timeout_s, _MIN_TIMEOUT_S),
            pool_maxsize=_CONNECTIONS,
        )

    def _verify(self) -> bool | str:
        """False, True for the system's authorities, or the file of the given authority."""
        if self._at.tls_insecure_skip_verify:
            return False
        certificate = self._at.root_ca_certificate
        if not certificate:
            return True
        if "-----BEGIN" not in certificate:
            return certificate
        if self._ca_file is None:
            number, name = tempfile.mkstemp(prefix="keycloak-ca-", suffix=".pem")
            with os.fdopen(number, "w", encoding="ascii") as file:
                file.write(certificate)
            self._ca_file = Path(name)
        return str(self._ca_file)

    def __del__(self) -> None:
        if self._ca_file is not None:
            with suppress(OSError):
                self._ca_file.unlink()

    def _unreachable(self) -> LabError:
        return LabError(
            f"Keycloak does not answer at {self._at.server_url}",
            value=self._at.server_url,
            permitted="the address of a running Keycloak",
            next_command="lab status",
        )

    def _raise_for(self, response: Response, verb: str, path: str) -> None:
        if response.status_code < 400:
            return
        problem = _message(response)
        text = f"Keycloak refused to {verb} {path}: HTTP {response.status_code}, {problem}"
        if response.status_code == 409:
            raise AlreadyThere(text)
        if response.status_code in (401, 403):
            raise KeycloakRefused(
                text,
                value=self._at.username or self._at.client_id,
                permitted="an identity with the realm-management roles for this operation",
            )
        raise KeycloakRefused(text)


def _is_past(moment: Any) -> bool:
    from datetime import UTC, datetime

    return moment is not None and datetime.now(tz=UTC) >= moment


def _bypass_proxy(url: str) -> None:
    """Keep requests to this machine off a proxy that the environment names for the rest."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        for name in ("NO_PROXY", "no_proxy"):
            known = os.environ.get(name, "")
            if host not in known.split(","):
                os.environ[name] = f"{known},{host}".lstrip(",")


def _message(response: Response) -> str:
    """Keycloak's own words: ``errorMessage``, ``error_description`` or ``error``, with their fields."""
    try:
        body = response.json()
    except ValueError:
        return response.reason or "no reason given"
    if isinstance(body, dict):
        if isinstance(body.get("errors"), list):
            return "; ".join(
                f"{item.get('field', '')}: {item.get('errorMessage', item)}" for item in body["errors"]
            )
        for name in ("errorMessage", "error_description", "error"):
            if body.get(name):
                return f"{body[name]} {body['field']}" if "field" in body else str(body[name])
    return response.reason or "no reason given"
