"""Access tokens for people: sample users by password, everybody else by browser or device sign-in.

Endpoints are Keycloak's OpenID ones; flows: RFC 6749 (password, refresh), RFC 7636 (PKCE), RFC 8252
(loopback redirect), RFC 8628 (device).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import secrets
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cli.project import write_private
from contracts.errors import LabError, unknown_name
from contracts.identity import Audience, lab_realm

CLI_CLIENT = "cli"
PERSONAS_CLIENT = "personas"
_MARGIN_S = 20.0
_MOVED_BACK_S = 5.0
_SIGN_IN_TIMEOUT_S = 300.0


class SignInError(LabError):
    """Nobody is signed in, or the identity provider refused."""


class ProviderAwayError(SignInError):
    """The identity provider does not answer, or says that it can't now."""


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a token endpoint answered. ``issued_at_s`` and ``expires_at_s`` are in seconds since the
    epoch."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at_s: float
    issued_at_s: float = 0.0

    @property
    def fresh(self) -> bool:
        """Whether the access token will still be valid for a moment. One from the future, the clock having
        been moved back since, is not: services refuse it."""
        return self.issued_at_s - _MOVED_BACK_S <= time.time() < self.expires_at_s - _MARGIN_S

    def username(self) -> str:
        """The user the token was issued to, for display only: nothing is verified here."""
        payload = self.access_token.split(".")[1]
        document = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(document.get("preferred_username", ""))


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The lab's realm. ``realm_url`` is where this machine reaches it, the issuer itself unless it is given;
    browsers go to the issuer."""

    issuer_url: str
    realm_url: str = ""
    transport: httpx.BaseTransport | None = None

    def request(
        self, path: str, form: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> httpx.Response:
        """Posts a form to the realm. Raises ProviderAwayError when there is no answer or it is the
        server's own failure."""
        url = f"{self.realm_url or self.issuer_url}/protocol/openid-connect/{path}"
        try:
            # The realm is on the loopback: never through a proxy.
            with httpx.Client(timeout=30.0, trust_env=False, transport=self.transport) as client:
                answer = (
                    client.post(url, data=dict(form), auth=auth)
                    if auth
                    else client.post(url, data=dict(form))
                )
        except httpx.HTTPError as error:
            raise ProviderAwayError(
                f"the identity provider does not answer: {error}", value=url, next_command="lab status"
            ) from error
        if answer.is_server_error:
            raise ProviderAwayError(
                f"the identity provider can't answer now: {_words(answer)}",
                value=f"HTTP {answer.status_code} from {url}",
                permitted="the same command again in a moment",
                next_command="lab doctor",
            )
        return answer

    def token(self, form: Mapping[str, str], auth: tuple[str, str] | None = None) -> Tokens:
        """Asks the token endpoint. Raises SignInError with the provider's own words."""
        answer = self.request("token", form, auth)
        if answer.status_code != 200:
            raise _refusal(answer)
        return _tokens(answer.json())


def _tokens(document: Mapping[str, Any]) -> Tokens:
    return Tokens(
        access_token=str(document["access_token"]),
        refresh_token=document.get("refresh_token"),
        expires_at_s=time.time() + float(document.get("expires_in", 60)),
        issued_at_s=time.time(),
    )


def _refusal(answer: httpx.Response) -> SignInError:
    code = _document(answer).get("error", f"HTTP {answer.status_code}")
    return SignInError(
        f"the identity provider refused: {_words(answer)}", value=code, next_command="lab login"
    )


def _words(answer: httpx.Response) -> str:
    document = _document(answer)
    return str(document.get("error_description") or document.get("error") or f"HTTP {answer.status_code}")


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def scope(*audiences: Audience) -> str:
    """The scope that asks for tokens of these audiences."""
    return " ".join(["openid", *(audience.value for audience in audiences)])


class PersonaTokens:
    """A callable that gives a current access token of a sample user (password grant)."""

    def __init__(
        self, endpoint: Endpoint, *, username: str, password: str, client_secret: str, audience: Audience
    ) -> None:
        self._endpoint, self._audience = endpoint, audience
        self._username, self._password, self._client_secret = username, password, client_secret
        self._tokens: Tokens | None = None

    def __call__(self) -> str:
        if self._tokens is None or not self._tokens.fresh:
            self._tokens = self._endpoint.token(
                {
                    "grant_type": "password",
                    "username": self._username,
                    "password": self._password,
                    "scope": scope(self._audience),
                },
                auth=(PERSONAS_CLIENT, self._client_secret),
            )
        return self._tokens.access_token


def require_persona(lab_name: str, username: str) -> str:
    """Raises UsageError with the nearest name unless ``username`` is a sample user."""
    realm = lab_realm(lab_name)
    if realm.persona(username) is None:
        raise unknown_name(
            "sample user", username, [p.username for p in realm.personas], next_command="lab credentials"
        )
    return username


class UserTokens:
    """A callable that gives a current access token of whoever signed in with ``lab login``."""

    def __init__(self, endpoint: Endpoint, path: Path, audience: Audience) -> None:
        self._endpoint, self._path, self._audience = endpoint, path, audience
        self._tokens: Tokens | None = None

    def __call__(self) -> str:
        if self._tokens is None or not self._tokens.fresh:
            kept = load_tokens(self._path)
            if kept is None or kept.refresh_token is None:
                raise SignInError("nobody is signed in", next_command="lab login, or --as with a sample user")
            try:
                self._tokens = self._endpoint.token(
                    {
                        "grant_type": "refresh_token",
                        "client_id": CLI_CLIENT,
                        "refresh_token": kept.refresh_token,
                        "scope": scope(self._audience),
                    }
                )
            except ProviderAwayError:
                raise
            except SignInError as error:
                raise SignInError(
                    f"the sign-in has ended ({error.what})", next_command="lab login"
                ) from error
            save_tokens(self._path, self._tokens)
        return self._tokens.access_token


def save_tokens(path: Path, tokens: Tokens) -> None:
    """Keeps them for the user alone (0600)."""
    write_private(path, json.dumps(asdict(tokens)) + "\n")


def load_tokens(path: Path) -> Tokens | None:
    """The kept sign-in, None when there is none or it can't be read."""
    try:
        return Tokens(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


ALL_AUDIENCES = (Audience.TRINO, Audience.CATALOG, Audience.SPARK, Audience.GOVERNOR, Audience.AGENT)


def sign_in_by_device(endpoint: Endpoint, say: Callable[[str], None]) -> Tokens:
    """Shows an address and a code to type there, and waits. Raises SignInError when it is refused or
    takes too long."""
    verifier, challenge = pkce()
    answer = endpoint.request(
        "auth/device",
        {
            "client_id": CLI_CLIENT,
            "scope": scope(*ALL_AUDIENCES),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        },
    )
    if answer.status_code != 200:
        raise _refusal(answer)
    document = answer.json()
    say(f"open {document['verification_uri']} and enter {document['user_code']}")
    say(f"or open {document.get('verification_uri_complete', document['verification_uri'])}")
    interval_s = float(document.get("interval", 5))
    deadline = time.monotonic() + float(document.get("expires_in", _SIGN_IN_TIMEOUT_S))
    while time.monotonic() < deadline:
        time.sleep(interval_s)
        answer = endpoint.request(
            "token",
            {
                "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
                "client_id": CLI_CLIENT,
                "device_code": document["device_code"],
                "code_verifier": verifier,
            },
        )
        if answer.status_code == 200:
            return _tokens(answer.json())
        error = answer.json().get("error") if "json" in answer.headers.get("content-type", "") else None
        if error == "slow_down":
            interval_s += 5
        elif error != "authorization_pending":
            raise _refusal(answer)
    raise SignInError("nobody signed in within the time that the code was valid", next_command="lab login")


def sign_out(endpoint: Endpoint, tokens: Tokens) -> None:
    """Ends the session that ``tokens`` came from, so that no copy of them is renewed again.

    Raises:
        SignInError: the provider does not answer; the session ends by itself some time later.
    """
    if tokens.refresh_token is not None:
        # Refused when it has ended already, which is as well.
        endpoint.request("logout", {"client_id": CLI_CLIENT, "refresh_token": tokens.refresh_token})


def pkce() -> tuple[str, str]:
    """A verifier and its S256 challenge (RFC 7636 §4)."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def sign_in_by_browser(
    endpoint: Endpoint,
    say: Callable[[str], None],
    open_page: Callable[[str], bool],
    timeout_s: float = _SIGN_IN_TIMEOUT_S,
) -> Tokens:
    """Opens the sign-in page and receives its answer on a loopback port (authorization code with PKCE).

    Raises:
        SignInError: it was refused, answered with another state, or took longer than ``timeout_s``.
    """
    verifier, challenge = pkce()
    state = secrets.token_urlsafe(24)
    with _Callback(state) as server:
        redirect = f"http://127.0.0.1:{server.server_port}/callback"
        query = urllib.parse.urlencode(
            {
                "response_type": "code",
                "client_id": CLI_CLIENT,
                "redirect_uri": redirect,
                "scope": scope(*ALL_AUDIENCES),
                "state": state,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        address = f"{endpoint.issuer_url}/protocol/openid-connect/auth?{query}"
        if not open_page(address):
            say(f"open this address to sign in:\n{address}")
        code = server.wait(timeout_s)
    return endpoint.token(
        {
            "grant_type": "authorization_code",
            "client_id": CLI_CLIENT,
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
    )


class _Callback(http.server.HTTPServer):
    """Takes exactly one answer of the sign-in page, on a free loopback port."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _CallbackHandler)
        self.state = state
        self.answer: dict[str, str] | None = None

    def wait(self, timeout_s: float) -> str:
        """The authorization code."""
        deadline = time.monotonic() + timeout_s
        while self.answer is None:
            self.timeout = deadline - time.monotonic()
            if self.timeout <= 0:
                raise SignInError("nobody signed in in time", next_command="lab login --device")
            self.handle_request()
        if "code" not in self.answer:
            raise SignInError(
                f"the sign-in was refused: {self.answer.get('error', 'no code')}", next_command="lab login"
            )
        return self.answer["code"]


class _CallbackHandler(http.server.BaseHTTPRequestHandler):
    server: _Callback

    def do_GET(self) -> None:
        """The browser comes back here."""
        parts = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(parts.query).items()}
        # Anything else (a favicon, another site that guesses the port) is not the answer.
        genuine = parts.path == "/callback" and hmac.compare_digest(
            query.get("state", "").encode(), self.server.state.encode()
        )
        text = "Signed in; you can close this page." if genuine and "code" in query else "Not signed in."
        self.send_response(200 if genuine else 404)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())
        if genuine:
            self.server.answer = query

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the address holds the code."""
