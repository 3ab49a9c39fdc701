"""Which tokens are believed, and what their callers may do."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from contracts.errors import LabError
from governance.governor.auth import (
    Caller,
    ForbiddenError,
    IdentityUnavailableError,
    Permission,
    TokenVerifier,
    UnauthenticatedError,
    realm_keys,
)

ISSUER = "http://127.0.0.1:28001/realms/lab"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


def claims(**changes: Any) -> dict[str, Any]:
    """Of a good access token; a change to None removes a claim."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": ["trino", "governor"],
        "exp": now + 300,
        "iat": now,
        "sub": "u-1",
        "typ": "Bearer",
        "azp": "cli",
        "preferred_username": "steward",
        "groups": ["data_stewards"],
    }
    return {key: value for key, value in {**good, **changes}.items() if value is not None}


def token(key: Any = KEY, algorithm: str = "RS256", kid: str = "k1", **changes: Any) -> str:
    """A signed token."""
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture
def verifier() -> TokenVerifier:
    """A verifier that knows the realm's key."""
    return TokenVerifier(ISSUER, lambda _: KEY.public_key())


def test_good_token(verifier: TokenVerifier) -> None:
    caller = verifier.caller(f"Bearer {token()}")
    assert caller == Caller(
        username="steward", groups=frozenset({"data_stewards"}), service=None, client="cli"
    )
    assert verifier.caller(f"bearer  {token(aud='governor')}") == caller


@pytest.mark.parametrize(
    "changes",
    # Functions say what depends on the time at which the test runs.
    [
        {"aud": "trino"},
        {"aud": None},
        {"aud": []},
        {"exp": lambda now: now - 60},
        {"exp": None},
        {"nbf": lambda now: now + 600},
        {"iat": lambda now: now + 600},
        {"iss": "http://127.0.0.1:28001/realms/other"},
        {"iss": None},
        {"sub": None},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": None},
        {"preferred_username": None},
        {"preferred_username": ["admin"]},
        {"preferred_username": "service-account-seeder", "azp": "cli"},
        {"preferred_username": "service-account-seeder", "azp": None},
    ],
)
def test_wrong_claims_are_refused(verifier: TokenVerifier, changes: dict[str, Any]) -> None:
    now = int(time.time())
    given = {claim: value(now) if callable(value) else value for claim, value in changes.items()}
    with pytest.raises(UnauthenticatedError):
        verifier.caller(f"Bearer {token(**given)}")


@pytest.mark.parametrize("groups", [None, [], "lab_admins", [["lab_admins"]], {"lab_admins": True}])
def test_user_without_groups_is_refused(verifier: TokenVerifier, groups: Any) -> None:
    with pytest.raises(ForbiddenError, match="names no group"):
        verifier.caller(f"Bearer {token(groups=groups)}")


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def _hs256_with_public_key() -> str:
    """The confusion of algorithms: the public key used as the secret of HS256."""
    import hashlib
    import hmac

    head = f"{_encoded({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{_encoded(claims())}"
    signature = hmac.new(PUBLIC_PEM, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic c3Rld2FyZDpz",
        "Bearer not.a.token",
        f"Bearer {_encoded({'alg': 'none'})}.{_encoded(claims())}.",
        f"Bearer {_encoded({'alg': 'NoNe', 'kid': 'k1'})}.{_encoded(claims())}.",
        f"Bearer {_hs256_with_public_key()}",
        f"Bearer {token(key=OTHER_KEY)}",
        f"Bearer {token(algorithm='RS512')}",
        f"Bearer {token(algorithm='PS256')}",
        f"Bearer {token()[:-8]}AAAAAAAA",
    ],
)
def test_unsigned_or_wrongly_signed_tokens_are_refused(
    verifier: TokenVerifier, authorization: str | None
) -> None:
    with pytest.raises(UnauthenticatedError) as refusal:
        verifier.caller(authorization)
    if authorization and len(authorization) > 40:
        assert authorization.split()[-1] not in str(refusal.value)


def test_service_account_acts_for_itself_only(verifier: TokenVerifier) -> None:
    seeder = verifier.caller(
        f"Bearer {token(preferred_username='service-account-seeder', azp='seeder', groups=None)}"
    )
    assert seeder.service == "seeder"
    seeder.require(Permission.SEED)
    # A user's token that was issued to the seeder's client has the user's rights.
    user = verifier.caller(f"Bearer {token(azp='seeder')}")
    assert user.service is None
    with pytest.raises(ForbiddenError):
        user.require(Permission.SEED)
    # Groups in a service account's token give it nothing.
    trino = verifier.caller(
        f"Bearer {token(preferred_username='service-account-trino', azp='trino', groups=['lab_admins'])}"
    )
    assert trino.permissions == frozenset()


@pytest.mark.parametrize(
    ("group", "permissions"),
    [
        ("lab_admins", set(Permission)),
        (
            "data_stewards",
            {Permission.READ_ACCESS, Permission.EDIT_RULES, Permission.BREAK_GLASS, Permission.RECONCILE},
        ),
        ("auditors", {Permission.READ_ACCESS, Permission.READ_AUDIT}),
        ("data_engineers", {Permission.CREATE_WORKSPACES}),
        ("analysts_emea", set()),
        ("LAB_ADMINS", set()),
    ],
)
def test_permissions_by_group(group: str, permissions: set[Permission]) -> None:
    caller = Caller(username="x", groups=frozenset({group}), service=None)
    assert caller.permissions == permissions
    for missing in set(Permission) - permissions:
        with pytest.raises(ForbiddenError, match=f"may not {missing.value}"):
            caller.require(missing)


class _Keys:
    """A JWKS endpoint that counts."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"k1": KEY}
        self.requests = 0
        self.healthy = True
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests += 1
                body = json.dumps({"keys": [owner.public(kid) for kid in owner.keys]}).encode()
                self.send_response(200 if owner.healthy else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Keeps the test's output clean."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/certs"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def public(self, kid: str) -> dict[str, Any]:
        """One key as JWK."""
        jwk: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[kid].public_key()))
        return {**jwk, "kid": kid, "use": "sig", "alg": "RS256"}


@pytest.fixture
def keys() -> Iterator[_Keys]:
    """A running JWKS endpoint."""
    found = _Keys()
    found.thread.start()
    yield found
    found.server.shutdown()
    found.thread.join()
    found.server.server_close()


def test_keys_are_read_once_and_unknown_ones_not_asked_for_at_will(keys: _Keys) -> None:
    verifier = TokenVerifier(ISSUER, realm_keys(keys.url))
    for _ in range(3):
        verifier.caller(f"Bearer {token()}")
    assert keys.requests == 1
    for number in range(5):
        with pytest.raises(UnauthenticatedError):
            verifier.caller(f"Bearer {token(key=OTHER_KEY, kid=f'made-up-{number}')}")
    assert keys.requests <= 2


def test_algorithm_is_refused_before_any_key_is_fetched(keys: _Keys) -> None:
    verifier = TokenVerifier(ISSUER, realm_keys(keys.url))
    with pytest.raises(UnauthenticatedError):
        verifier.caller(f"Bearer {_hs256_with_public_key()}")
    assert keys.requests == 0


def test_keycloak_down_is_not_the_callers_fault_and_passes(keys: _Keys) -> None:
    verifier = TokenVerifier(ISSUER, realm_keys(keys.url))
    keys.healthy = False
    with pytest.raises(IdentityUnavailableError) as refusal:
        verifier.caller(f"Bearer {token()}")
    assert isinstance(refusal.value, LabError)
    keys.healthy = True
    assert verifier.caller(f"Bearer {token()}").username == "steward"
