"""A realm that signs people in, refreshes, exchanges and logs out as Keycloak was observed to."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt

from tests.unit.test_governor_auth import ISSUER, KEY

CLIENT_SECRET = "console-secret"
CLIENT = "control-plane"
REALM_URL = "http://keycloak.test/realms/lab"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
PEOPLE: dict[str, tuple[str, ...]] = {
    "admin": ("lab_admins",),
    "engineer": ("data_engineers",),
    "steward": ("data_stewards",),
    "analyst": ("analysts",),
    "auditor": ("auditors",),
    "outsider": (),
}


class FakeKeycloak:
    """The realm. ``access_life_s`` is how long access tokens last; ``disabled`` people get none any more,
    those ``without_offline`` no offline token."""

    def __init__(self) -> None:
        self.people = {name: set(groups) for name, groups in PEOPLE.items()}
        self.disabled: set[str] = set()
        self.down = False
        self.access_life_s = 300
        self.exchanges: list[tuple[str, str]] = []
        self.refreshes = 0
        self._codes: dict[str, dict[str, str]] = {}
        self._refresh_tokens: dict[str, tuple[str, str]] = {}
        self.offline_tokens: dict[str, str] = {}
        self.without_offline: set[str] = set()
        self.sids: dict[str, str] = {}

    def token(self, username: str, audience: str | list[str], **changes: Any) -> str:
        """A signed access token."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "exp": now + self.access_life_s,
            "iat": now,
            "sub": f"id-of-{username}",
            "typ": "Bearer",
            "azp": CLIENT,
            "preferred_username": username,
            "name": username.title(),
            "email": f"{username}@lakehouse.example",
            "groups": sorted(self.people.get(username, ())),
            "sid": self.sids.get(username, "none"),
            "jti": secrets.token_hex(8),
        }
        kept = {key: value for key, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(kept, KEY, algorithm="RS256", headers={"kid": "k1"})

    def logout_token(self, **claims: Any) -> str:
        """What Keycloak posts when a sign-in ends."""
        event: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
        return self.token("x", CLIENT, **{"sub": None, "typ": "Logout", "events": event, **claims})

    def sign_in(self, url: str, username: str) -> str:
        """What the person does at the authorization endpoint; returns where the browser is sent."""
        assert url.startswith(f"{ISSUER}/protocol/openid-connect/auth?")
        query = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.sids[username] = secrets.token_hex(8)
        self._codes[code] = {**query, "username": username}
        return f"{query['redirect_uri']}?state={query['state']}&session_state=x&iss={ISSUER}&code={code}"

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answers the token endpoint, and that the realm is there."""
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        if request.method == "GET":
            assert str(request.url) == REALM_URL
            return httpx.Response(200, json={"realm": "lab"})
        revoking = str(request.url) == f"{REALM_URL}/protocol/openid-connect/revoke"
        assert revoking or str(request.url) == f"{REALM_URL}/protocol/openid-connect/token"
        given = base64.b64decode(request.headers["authorization"].partition(" ")[2]).decode()
        if given != f"{CLIENT}:{CLIENT_SECRET}":
            return _refused("invalid_client", "Invalid client or Invalid client credentials", 401)
        form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
        if revoking:
            self.offline_tokens.pop(form["token"], None)
            return httpx.Response(200)
        match form["grant_type"]:
            case "authorization_code":
                return self._redeem(form)
            case "refresh_token":
                return self._refresh(form)
            case grant if grant == EXCHANGE:
                return self._exchange(form)
        return _refused("unsupported_grant_type", form["grant_type"])

    def _redeem(self, form: dict[str, str]) -> httpx.Response:
        asked = self._codes.pop(form["code"], None)
        if asked is None:
            return _refused("invalid_grant", "Code not valid")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return _refused("invalid_grant", "PKCE verification failed")
        assert form["redirect_uri"] == asked["redirect_uri"]
        username = asked["username"]
        offline = "offline_access" in asked["scope"].split() and username not in self.without_offline
        return self._tokens(username, asked["nonce"], offline=offline)

    def _refresh(self, form: dict[str, str]) -> httpx.Response:
        offline = self.offline_tokens.get(form["refresh_token"])
        username, nonce = self._refresh_tokens.pop(form["refresh_token"], (offline or "", "n"))
        if not username or username in self.disabled:
            return _refused("invalid_grant", "Session not active")
        self.refreshes += 1
        if offline:
            return self._tokens(username, nonce, offline=True, same=form["refresh_token"])
        return self._tokens(username, nonce)

    def _exchange(self, form: dict[str, str]) -> httpx.Response:
        try:
            claims = jwt.decode(form["subject_token"], KEY.public_key(), ["RS256"], audience=CLIENT)
        except jwt.PyJWTError:
            return _refused("invalid_request", "Invalid token")
        username = claims["preferred_username"]
        if username in self.disabled:
            return _refused("invalid_grant", "User disabled")
        assert form["scope"] == f"openid {form['audience']}"
        self.exchanges.append((username, form["audience"]))
        token = self.token(username, form["audience"])
        return httpx.Response(200, json={"access_token": token, "expires_in": self.access_life_s})

    def _tokens(
        self, username: str, nonce: str, *, offline: bool = False, same: str | None = None
    ) -> httpx.Response:
        refresh = same or secrets.token_urlsafe(24)
        if offline:
            self.offline_tokens[refresh] = username
        else:
            self._refresh_tokens[refresh] = (username, nonce)
        answer = {
            "access_token": self.token(username, CLIENT),
            "expires_in": self.access_life_s,
            "refresh_token": refresh,
            "refresh_expires_in": 0 if offline else 1800,
            "scope": "openid offline_access profile" if offline else "openid profile",
            "id_token": self.token(username, CLIENT, typ="ID", nonce=nonce),
        }
        return httpx.Response(200, json=answer)


def _refused(code: str, description: str, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": code, "error_description": description})
