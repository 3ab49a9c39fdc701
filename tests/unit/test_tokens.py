"""The endpoint that keeps the tokens of one client: who gets them, for how long, and what it holds."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from contracts.errors import UsageError
from governance.tokens.app import create_app
from governance.tokens.cache import MARGIN_S, RENEW_AFTER, RETRY_S, Answer, Clock, TokenCache
from governance.tokens.settings import TOKEN_PATH, read_settings

SECRET = "the-secret-of-trino"
LIFE_S = 300.0
FORM = {
    "grant_type": "client_credentials",
    "client_id": "trino",
    "client_secret": SECRET,
    "scope": "profile",
}


@dataclass(kw_only=True)
class World:
    """An issuer that counts its tokens and can be away, and a clock that is moved by hand."""

    now_s: float = 1000.0
    moved_s: float = 0.0
    away: bool = False
    answers: list[httpx.Response] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    secret: str = SECRET

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now_s, wall=lambda: 1e9 + self.now_s + self.moved_s)

    def issue(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.asked.append(form)
        if self.away:
            raise httpx.ConnectError("refused")
        if self.answers:
            return self.answers.pop(0)
        if form["client_secret"] != self.secret:
            return httpx.Response(401, json={"error": "unauthorized_client"})
        document = {
            "access_token": f"token-{len(self.asked)}",
            "token_type": "Bearer",
            "expires_in": int(LIFE_S),
            "refresh_token": "never-passed-on",
            "scope": form.get("scope", ""),
        }
        return httpx.Response(200, json=document)

    def cache(self) -> TokenCache:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self.issue))
        return TokenCache(http, "http://keycloak/token", "trino", clock=self.clock())


Steps = Callable[[World, TokenCache], Any]


def run(steps: Steps) -> World:
    """Runs the steps of one test in a world of its own."""
    world = World()

    async def main() -> None:
        await steps(world, world.cache())

    asyncio.run(main())
    return world


async def token(cache: TokenCache, **changes: str) -> str:
    answer = await cache.answer({**FORM, **changes})
    assert answer.status == HTTPStatus.OK, answer
    # What it set going is let go on.
    await cache.close()
    return str(answer.document["access_token"])


async def refused(cache: TokenCache, **changes: str) -> Answer:
    answer = await cache.answer({**FORM, **changes})
    assert answer.status != HTTPStatus.OK
    assert set(answer.document) <= {"error", "error_description"}
    return answer


def test_a_token_is_asked_for_once() -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        assert [await token(cache) for _ in range(5)] == ["token-1"] * 5
        assert world.asked == [FORM]

    run(steps)


def test_each_scope_has_its_own() -> None:
    async def steps(_world: World, cache: TokenCache) -> None:
        assert await token(cache, scope="profile") == "token-1"
        assert await token(cache, scope="profile email") == "token-2"
        assert await token(cache, scope="profile") == "token-1"

    run(steps)


def test_nothing_but_the_token_is_passed_on_with_what_is_left_of_its_life() -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        world.now_s += 40
        answer = await cache.answer(FORM)
        assert answer.document == {
            "access_token": "token-1",
            "token_type": "Bearer",
            "scope": "profile",
            "expires_in": int(LIFE_S) - 40,
        }

    run(steps)


def test_another_is_asked_for_long_before_its_end_while_it_is_given() -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        world.now_s += RENEW_AFTER * LIFE_S - 1
        assert await token(cache) == "token-1"
        assert len(world.asked) == 1
        world.now_s += 1
        assert await token(cache) == "token-1"
        assert await token(cache) == "token-2"
        assert len(world.asked) == 2

    run(steps)


def test_without_the_issuer_it_is_given_until_shortly_before_its_end() -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        world.away = True
        world.now_s += LIFE_S - MARGIN_S - 1
        assert await token(cache) == "token-1"
        world.now_s += 1
        answer = await refused(cache)
        assert (answer.status, answer.document["error"]) == (503, "temporarily_unavailable")
        world.away = False
        assert (await token(cache)).startswith("token-")

    run(steps)


def test_an_issuer_that_is_away_is_not_asked_at_each_call() -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        world.away = True
        world.now_s += LIFE_S / 2
        for _ in range(5):
            await token(cache)
        assert len(world.asked) == 2
        world.now_s += RETRY_S
        await token(cache)
        assert len(world.asked) == 3

    run(steps)


@pytest.mark.parametrize("away", [False, True])
def test_another_secret_gets_nothing_that_is_kept(away: bool) -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        world.away = away
        for secret in ("guessed", SECRET + " ", SECRET[:-1], SECRET.upper()):
            answer = await refused(cache, client_secret=secret)
            assert answer.status == (503 if away else 401)
        assert await token(cache) == "token-1"

    run(steps)


def test_a_secret_that_is_refused_has_its_token_forgotten() -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        world.secret = "another"
        world.now_s += LIFE_S / 2
        assert await token(cache) == "token-1"
        assert (await refused(cache)).status == HTTPStatus.UNAUTHORIZED
        assert await token(cache, client_secret="another") == "token-4"

    run(steps)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}, "unsupported_grant_type"),
        ({"client_id": "governor"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
        ({"client_secret": ""}, "invalid_client"),
        ({"audience": "governor"}, "invalid_request"),
        ({"subject_token": "t"}, "invalid_request"),
    ],
)
def test_nothing_else_is_answered_or_asked_for(changes: dict[str, str], error: str) -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        assert (await refused(cache, **changes)).document["error"] == error
        assert len(world.asked) == 1

    run(steps)


@pytest.mark.parametrize("moved_s", [-3600.0, 3600.0])
def test_a_clock_that_was_moved_ends_what_is_kept(moved_s: float) -> None:
    """The token's times are by that clock."""

    async def steps(world: World, cache: TokenCache) -> None:
        await token(cache)
        world.moved_s = moved_s
        assert await token(cache) == "token-2"

    run(steps)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"access_token": "t", "expires_in": "soon"}),
        httpx.Response(502, text="bad gateway"),
        httpx.Response(500, json={"error": "unknown_error"}),
    ],
    ids=["no JSON", "empty", "a list", "no life", "a proxy's", "its own"],
)
def test_what_is_no_answer_counts_as_none(answer: httpx.Response) -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        world.answers = [answer]
        assert (await refused(cache)).status == HTTPStatus.SERVICE_UNAVAILABLE
        assert await token(cache) == "token-2"

    run(steps)


def test_a_token_that_is_nearly_over_is_not_kept() -> None:
    async def steps(world: World, cache: TokenCache) -> None:
        world.answers = [httpx.Response(200, json={"access_token": "brief", "expires_in": 10})]
        assert await token(cache) == "brief"
        assert await token(cache) == "token-2"

    run(steps)


def test_it_keeps_no_secret() -> None:
    """Nor shows a token where it is printed."""

    async def steps(_world: World, cache: TokenCache) -> None:
        await token(cache)
        kept = list(cache._kept.values())
        assert SECRET.encode() not in b"".join(one.digest for one in kept)
        gc.collect()
        assert SECRET not in repr(vars(cache))
        assert "token-1" not in repr(vars(cache))

    run(steps)


# --- over HTTP --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("&".join(f"{name}={value}" for name, value in FORM.items()), 200),
        ("grant_type=client_credentials&client_id=trino", 401),
        (f"client_id=trino&client_id=trino&client_secret={SECRET}&grant_type=client_credentials", 400),
        ("", 400),
        ("x" * 9000, 400),
    ],
    ids=["good", "no secret", "twice", "empty", "too long"],
)
def test_the_endpoint(body: str, status: int) -> None:
    async def steps(_world: World, cache: TokenCache) -> None:
        transport = httpx.ASGITransport(app=create_app(cache))
        async with httpx.AsyncClient(transport=transport, base_url="http://tokens") as client:
            answer = await client.post(
                TOKEN_PATH, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}
            )
            assert answer.status_code == status
            assert answer.headers["cache-control"] == "no-store"
            assert ("access_token" in answer.json()) is (status == HTTPStatus.OK)
            assert (await client.get(TOKEN_PATH)).status_code == HTTPStatus.METHOD_NOT_ALLOWED
            assert (await client.get("/health/ready")).status_code == HTTPStatus.OK

    run(steps)


def test_settings_are_checked() -> None:
    good = {"TOKENS_PORT": "1", "TOKENS_ISSUER_TOKEN_URL": "http://k/t", "TOKENS_CLIENT_ID": "trino"}
    found = read_settings(good)
    assert (found.bind, found.issuer_token_url) == ("127.0.0.1", "http://k/t")
    for name in good:
        with pytest.raises(UsageError, match=name):
            read_settings({other: value for other, value in good.items() if other != name})
