"""Faults and forgeries: what can't be decided or believed is denied, and says why."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from minio import Minio

from contracts.identity import Audience
from tests.live.conftest import LiveLab
from tests.live.injection import wait_until_ready
from tests.live.people import People

pytestmark = pytest.mark.live

COUNT = "SELECT count(*) FROM lake.retail.customer"
EVERYBODY = ("engineer", "analyst_emea", "admin")
WAIT_S = 60.0
TOKEN_LIFE_S = 300.0
LEEWAY_S = 30.0
"""Trino grants a clock 20 s (components.trino.properties.CLOCK_SKEW_S)."""


@contextmanager
def stopped(lab: LiveLab, *services: str) -> Iterator[None]:
    """These services are down meanwhile."""
    lab.supervisor.stop(list(services))
    try:
        yield
    finally:
        lab.supervisor.start(list(services))
        wait_until_ready(lab)


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


# --- decisions that can't be had --------------------------------------------------------------------------


def test_without_opa_everybody_is_denied_and_told_why(people: People, lab: LiveLab) -> None:
    with stopped(lab, "opa"):
        for persona in EVERYBODY:
            found = people.ask(persona, COUNT)
            assert not found.ran
            assert "no policy decision" in found.message, found.message
        said = lab.run("sql", COUNT, "--as", "engineer")
        assert said.returncode == 1
        assert "next:" in said.stderr
        assert "lab status" in said.stderr
    until(lambda: people.ask("engineer", COUNT).ran, "OPA is back and still denies")


def test_with_a_bundle_that_is_not_the_governors_everybody_is_denied(people: People, lab: LiveLab) -> None:
    """Whoever can write the bucket can't write rules: OPA believes signed bundles only, and without one
    nothing is allowed. What it held before it keeps no longer than its limit."""
    store = Minio(
        people.keys["s3 endpoint"].removeprefix("http://"),
        access_key=people.keys["s3 governor access key"],
        secret_key=people.keys["s3 governor secret key"],
        secure=False,
        region="us-east-1",
    )
    forged = b"not a bundle"
    with stopped(lab, "governor", "opa"):
        store.put_object("lab-policy", "bundles/access.tar.gz", io.BytesIO(forged), len(forged))
        lab.supervisor.start(["opa"])
        until(
            lambda: "no policy decision" in people.ask("engineer", COUNT).message,
            "OPA decides without a bundle",
        )
        for persona in EVERYBODY:
            found = people.ask(persona, COUNT)
            assert not found.ran
            assert found.name != "no answer", found.message
    until(lambda: people.ask("engineer", COUNT).ran, "the governor's bundle is not back in force")


def test_without_keycloak_tokens_are_believed_and_none_are_made(people: People, lab: LiveLab) -> None:
    """Trino's own for the catalog is kept beside it (ADR 30); people's are with them."""
    held = people.value("engineer", COUNT)
    catalog = people.catalog("engineer")
    catalog.load_table("retail.nation")
    with stopped(lab, "keycloak"):
        assert people.value("engineer", "SELECT 1") == 1
        assert catalog.load_table("retail.nation")
        assert people.value("engineer", COUNT) == held
        assert people.value("engineer", "SELECT count(*) FROM lake.retail.nation") == 25
        refused = lab.run("sql", COUNT, "--as", "auditor")
        assert refused.returncode == 1
        assert "the identity provider does not answer" in refused.stderr
        assert "next:" in refused.stderr
    until(lambda: lab.run("sql", COUNT, "--as", "auditor").returncode == 0, "nobody can sign in any more")


# --- tokens that are not to be believed -------------------------------------------------------------------


def part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def forgeries(people: People, audience: Audience) -> dict[str, str]:
    """Tokens made of a good one."""
    good = people.tokens("admin", audience)()
    header, claims = jwt.get_unverified_header(good), jwt.decode(good, options={"verify_signature": False})
    _, body, signature = good.split(".")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwks = people.http.get(f"{people.urls['sign-in']}/protocol/openid-connect/certs").json()["keys"]
    public = jwt.PyJWK(next(k for k in jwks if k["kid"] == header["kid"])).key
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    other = {
        **claims,
        "preferred_username": "analyst_emea",
        "groups": ["lab_admins"],
        "catalog_roles": ["catalog_service"],
    }
    return {
        "another key": jwt.encode(claims, key, algorithm="RS256", headers={"kid": header["kid"]}),
        "another issuer": jwt.encode(
            {**claims, "iss": "http://127.0.0.1:1/realms/lab"},
            key,
            algorithm="RS256",
            headers={"kid": header["kid"]},
        ),
        "no algorithm": f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(other)}.",
        "no algorithm, in capitals": f"{part({'alg': 'NONE', 'kid': header['kid']})}.{part(other)}.",
        "the public key as a secret": hs256(pem, header["kid"], other),
        "other claims": f"{good.split('.')[0]}.{part(other)}.{signature}",
        "no signature": f"{good.split('.')[0]}.{body}.",
        "nothing": "",
    }


def hs256(pem: str, kid: str, claims: dict[str, Any]) -> str:
    """Signed with what everybody knows; libraries refuse to help with that."""
    import hashlib
    import hmac

    signed = f"{part({'alg': 'HS256', 'kid': kid, 'typ': 'JWT'})}.{part(claims)}"
    digest = hmac.new(pem.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


class Doors:
    """Each service's answer to a token: HTTP status of a harmless request."""

    def __init__(self, people: People, lab: LiveLab) -> None:
        self._people = people
        catalog = lab.service("catalog")["ports"]["http"]
        # A connection for each: a server may close one on which it refused to read a request's body.
        self._http = httpx.Client(
            verify=False,  # noqa: S501 - the lab's own certificate
            trust_env=False,
            timeout=60,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        nessie = f"http://127.0.0.1:{catalog}"
        self.asked = {
            Audience.TRINO: [("POST", f"{people.urls['trino']}/v1/statement")],
            Audience.CATALOG: [
                ("GET", f"{people.urls['catalog']}/v1/config?warehouse=lake"),
                ("GET", f"{nessie}/iceberg/v1/config?warehouse=lake"),
                ("GET", f"{nessie}/api/v2/trees/main"),
            ],
            Audience.GOVERNOR: [("GET", f"{people.urls['governor']}/v1/status")],
        }

    def statuses(self, audience: Audience, token: str) -> list[int]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return [
            self._http.request(
                method, url, headers=headers, content="SELECT 1" if method == "POST" else None
            ).status_code
            for method, url in self.asked[audience]
        ]

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def doors(people: People, lab: LiveLab) -> Iterator[Doors]:
    found = Doors(people, lab)
    yield found
    found.close()


@pytest.mark.parametrize("audience", [Audience.TRINO, Audience.CATALOG, Audience.GOVERNOR])
def test_forged_tokens_open_nothing(people: People, doors: Doors, audience: Audience) -> None:
    good = doors.statuses(audience, people.tokens("admin", audience)())
    assert good[0] == 200
    for what, token in forgeries(people, audience).items():
        statuses = doors.statuses(audience, token)
        assert set(statuses) <= {401, 403}, (what, statuses)


def test_a_token_of_another_audience_opens_nothing(people: People, doors: Doors) -> None:
    for made_for in (Audience.TRINO, Audience.CATALOG, Audience.GOVERNOR, Audience.SPARK):
        for asked in doors.asked:
            if asked is not made_for:
                statuses = doors.statuses(asked, people.tokens("admin", made_for)())
                assert set(statuses) <= {401, 403}, (made_for, asked, statuses)


def test_a_group_renamed_in_the_middle_of_a_session_gives_nothing(people: People) -> None:
    """Grants are about names. Who signed in before keeps their token's groups until it ends."""
    before = people.value("analyst_emea", COUNT)
    admin = admin_of_people(people)
    group = next(
        g
        for g in admin.get("/groups", params={"search": "analysts_emea"}).json()
        if g["name"] == "analysts_emea"
    )
    path = f"/groups/{group['id']}"
    assert admin.put(path, json={**group, "name": "analysts_renamed"}).is_success
    try:
        assert people.value("analyst_emea", COUNT) == before
        people.tokens("analyst_emea", Audience.TRINO)._tokens = None
        renewed = people.ask("analyst_emea", COUNT)
        assert renewed.name == "PERMISSION_DENIED", renewed
        engineers = next(g for g in admin.get("/groups", params={"search": "data_engineers"}).json())
        assert admin.put(
            f"/groups/{engineers['id']}", json={**engineers, "name": "engineers_renamed"}
        ).is_success
        try:
            people.tokens("engineer", Audience.CATALOG)._tokens = None
            with pytest.raises(Exception, match=r"(?i)forbidden|no raw access|refused|denied"):
                people.catalog("engineer").load_table("retail.nation")
        finally:
            assert admin.put(f"/groups/{engineers['id']}", json=engineers).is_success
    finally:
        assert admin.put(path, json=group).is_success
        for persona, audience in (("analyst_emea", Audience.TRINO), ("engineer", Audience.CATALOG)):
            people.tokens(persona, audience)._tokens = None
    assert people.value("analyst_emea", COUNT) == before
    assert people.catalog("engineer").load_table("retail.nation")


def admin_of_people(people: People) -> httpx.Client:
    """Keycloak's administration as the governor, which may edit groups."""
    issuer = people.urls["sign-in"]
    answer = people.http.post(
        f"{issuer}/protocol/openid-connect/token",
        data={"grant_type": "client_credentials"},
        auth=("governor", people.keys["client governor"]),
    )
    assert answer.is_success, answer.text
    people.http.headers.pop("Authorization", None)
    admin = httpx.Client(
        base_url=issuer.replace("/realms/", "/admin/realms/"),
        headers={"Authorization": f"Bearer {answer.json()['access_token']}"},
        trust_env=False,
        timeout=30,
    )
    people.closing(admin)
    return admin


def test_a_token_that_has_ended_opens_nothing(people: People, doors: Doors) -> None:
    """One from the beginning of the suite; only a run of this test alone has to wait for its end."""
    for audience, token in people.first_tokens.items():
        ends_at = jwt.decode(token, options={"verify_signature": False})["exp"]
        time.sleep(max(0.0, ends_at + LEEWAY_S - time.time()))
        assert set(doors.statuses(audience, token)) <= {401, 403}
