"""The governor's tokens: kept, renewed when refused, and when roles came later than the token."""

from __future__ import annotations

import httpx
import pytest

from governance.reconcile.oauth import ClientCredentials
from tests.unit.governor_http import client

TOKEN_URL = "http://127.0.0.1:1/token"


class Service:
    """Counts tokens and requests; ``accepted`` says from which token on it answers 200."""

    def __init__(self, *, refusal: int, accepted: int) -> None:
        self.refusal, self.accepted = refusal, accepted
        self.tokens = self.requests = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if str(request.url) == TOKEN_URL:
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"token-{self.tokens}", "expires_in": 300})
        self.requests += 1
        number = int(request.headers["Authorization"].rpartition("-")[2])
        return httpx.Response(200 if number >= self.accepted else self.refusal)

    def client(self) -> httpx.Client:
        return httpx.Client(
            transport=httpx.MockTransport(self), auth=ClientCredentials(TOKEN_URL, "governor", "secret")
        )


@pytest.mark.parametrize("refusal", [401, 403, 500])
def test_roles_given_after_the_token_was_made_take_effect(refusal: int) -> None:
    service = Service(refusal=refusal, accepted=2)
    with service.client() as http:
        assert http.get("http://127.0.0.1:1/namespaces").status_code == refusal
        assert http.get("http://127.0.0.1:1/namespaces").status_code == 200
    assert service.tokens == 2


def test_a_lasting_refusal_costs_one_token_a_request() -> None:
    service = Service(refusal=403, accepted=1000)
    with service.client() as http:
        for _ in range(3):
            assert http.get("http://127.0.0.1:1/namespaces").status_code == 403
    assert service.tokens == 3
    assert service.requests == 5


def test_a_write_is_not_repeated_after_a_server_error() -> None:
    service = Service(refusal=500, accepted=1000)
    with service.client() as http:
        for _ in range(2):
            http.post("http://127.0.0.1:1/namespaces")
    assert service.requests == 2
    assert service.tokens == 1


def test_a_good_token_is_kept() -> None:
    service = Service(refusal=401, accepted=1)
    with service.client() as http:
        for _ in range(3):
            assert http.get("http://127.0.0.1:1/namespaces").status_code == 200
    assert service.tokens == 1


def test_token_is_kept_renewed_before_its_end_and_asked_for_again_when_refused() -> None:
    tokens = iter(("t1", "t2", "t3"))
    asked: list[str] = []
    refused = {"t1"}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            assert b"client_secret=s" in request.content
            return httpx.Response(200, json={"access_token": next(tokens), "expires_in": 60})
        token = request.headers["Authorization"].removeprefix("Bearer ")
        asked.append(token)
        return httpx.Response(401 if token in refused and len(asked) > 1 else 200)

    with client(answer, "http://x") as http:
        http.auth = ClientCredentials("http://x/token", "c", "s")
        assert [http.get("/a").status_code for _ in range(3)] == [200, 200, 200]
    assert asked == ["t1", "t1", "t2", "t2"]
