"""The built web app as the console serves it, and the way to the agent."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import jwt
import psycopg
import pytest

from tests.unit import console_world
from tests.unit.console_world import World, database
from tests.unit.test_governor_auth import KEY

postgres_server = console_world.postgres_server

PAGE = b"<!doctype html><title>Console</title><script src='/assets/index-1a2b3c.js'></script>"
SCRIPT = b"export const answer = 42;\n" * 100


class Steps(httpx.AsyncByteStream):
    """A step of a run, and then nothing until the agent ends."""

    def __init__(self) -> None:
        self.ended, self.closed = threading.Event(), threading.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"event: step\ndata: {}\n\n"
        while not self.ended.is_set():
            await asyncio.sleep(0.01)
        raise httpx.ReadError("the agent has ended")

    async def aclose(self) -> None:
        self.closed.set()


class Agent:
    """An agent that says what it was asked and by whom. ``steps`` are what it streams of a run."""

    def __init__(self) -> None:
        self.down = False
        self.steps = Steps()

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answers one request."""
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        token = request.headers["authorization"].removeprefix("Bearer ")
        if request.url.path.endswith("/events"):
            return httpx.Response(200, stream=self.steps, headers={"content-type": "text/event-stream"})
        claims = jwt.decode(token, KEY.public_key(), ["RS256"], audience="agent")
        said = f"{claims['preferred_username']} {request.method} {request.url.raw_path.decode()} "
        headers = {"content-type": "text/event-stream", "set-cookie": "stolen=1", "x-inner": "1"}
        stream = httpx.ByteStream(said.encode() + request.content)
        return httpx.Response(201, stream=stream, headers=headers)


@pytest.fixture(scope="module")
def served(postgres_server: str) -> Iterator[World]:
    """A console with a built web app and an agent."""
    with tempfile.TemporaryDirectory(prefix="lab-console-") as name:
        folder = Path(name)
        web = folder / "dist"
        (web / "assets").mkdir(parents=True)
        (web / "index.html").write_bytes(PAGE)
        (web / "assets" / "index-1a2b3c.js").write_bytes(SCRIPT)
        (web / "assets" / "packed-4d5e6f.js").write_bytes(SCRIPT)
        (web / "assets" / "packed-4d5e6f.js.gz").write_bytes(gzip.compress(b"packed before"))
        (web / "assets" / "font-7a8b9c.woff2").write_bytes(b"wOF2")
        (web / "favicon.svg").write_text("<svg/>")
        (folder / "secret.txt").write_text("hidden away")
        (web / "link.txt").symlink_to(folder / "secret.txt")
        for url in database(postgres_server, "console_web"):
            world = World(url, folder, WEB_DIR=str(web), AGENT_URL="http://agent.test:8080")
            world.agent = Agent()  # type: ignore[attr-defined]  # only this module's world has one
            world.hosts["agent.test"] = world.agent.handle  # type: ignore[attr-defined]  # as above
            world.start()
            yield world
            world.stop()


def get(world: World, path: str, **headers: str) -> httpx.Response:
    """A path exactly as it is written."""
    with httpx.Client(trust_env=False, timeout=60) as http:
        url = httpx.URL(world.url).copy_with(raw_path=path.encode())
        return http.send(http.build_request("GET", url, headers={"Accept-Encoding": "identity", **headers}))


def test_pages_are_revalidated_and_assets_kept_for_ever(served: World) -> None:
    for path in ("/", "/explore/lake/retail/customer", "/worksheet?q=1"):
        page = get(served, path)
        assert (page.status_code, page.content) == (200, PAGE), path
        assert page.headers["cache-control"] == "no-cache"
        assert page.headers["content-type"].startswith("text/html")
    asset = get(served, "/assets/index-1a2b3c.js")
    assert asset.content == SCRIPT
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"].startswith("application/javascript")
    assert get(served, "/favicon.svg").headers["cache-control"] == "no-cache"
    assert get(served, "/assets/font-7a8b9c.woff2").headers["content-type"] == "font/woff2"


def test_text_is_sent_packed(served: World) -> None:
    packed = get(served, "/assets/index-1a2b3c.js", **{"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == SCRIPT
    assert packed.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) < len(SCRIPT) / 4
    before = get(served, "/assets/packed-4d5e6f.js", **{"Accept-Encoding": "gzip"})
    assert before.content == b"packed before"
    font = get(served, "/assets/font-7a8b9c.woff2", **{"Accept-Encoding": "gzip"})
    assert "content-encoding" not in font.headers


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/assets/%2e%2e%2f%2e%2e%2fsecret.txt",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/link.txt",
        "/secret.txt%00",
    ],
)
def test_nothing_outside_of_the_folder_is_served(served: World, path: str) -> None:
    answer = get(served, path)
    assert b"hidden away" not in answer.content
    assert b"root:" not in answer.content


def test_what_is_no_page_is_not_answered_with_one(served: World) -> None:
    for path in ("/api/v1/nothing", "/auth/nothing", "/assets/gone-000000.js"):
        answer = get(served, path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
    assert get(served, "/api/v1/openapi.json").json()["info"]["title"] == "Lakehouse Lab console"


def test_chat_goes_to_the_agent_with_a_token_of_its_own(served: World) -> None:
    with served.as_user("analyst") as http:
        answer = http.post("/api/v1/chat/threads/1/runs?stream=1", json={"ask": "how many?"})
        assert answer.status_code == 201
        assert answer.text == 'analyst POST /v1/chat/threads/1/runs?stream=1 {"ask":"how many?"}'
        assert answer.headers["content-type"] == "text/event-stream"
        assert "set-cookie" not in answer.headers
        assert "x-inner" not in answer.headers
        assert served.keycloak.exchanges[-1] == ("analyst", "agent")
        for path in ("/api/v1/chat/%2e%2e/%2e%2e/admin", "/api/v1/chat/..%2f..%2fadmin"):
            url = httpx.URL(served.url).copy_with(raw_path=path.encode())
            assert http.send(http.build_request("GET", url)).status_code == 404, path
    assert get(served, "/api/v1/chat/threads").status_code == 401


def test_steps_come_as_they_are_made_and_may_be_cut(served: World) -> None:
    agent: Agent = served.agent  # type: ignore[attr-defined]  # only this module's world has one
    with (
        served.as_user("analyst") as http,
        http.stream("GET", "/api/v1/chat/runs/1/events") as answer,
    ):
        parts = answer.iter_raw()
        assert next(parts) == b"event: step\ndata: {}\n\n", "while the agent is still at work"
        agent.steps.ended.set()
        assert list(parts) == []
    assert agent.steps.closed.wait(10)


def test_nothing_is_read_from_the_agent_for_a_browser_that_left(served: World) -> None:
    agent: Agent = served.agent  # type: ignore[attr-defined]  # only this module's world has one
    agent.steps = Steps()
    with served.as_user("analyst") as http:
        with http.stream("GET", "/api/v1/chat/runs/1/events") as answer:
            parts = answer.iter_raw()  # whose end would be the connection's
            assert next(parts).startswith(b"event: step")
            assert not agent.steps.closed.is_set()
        assert agent.steps.closed.wait(10)


def test_agent_down_is_told(served: World) -> None:
    served.agent.down = True  # type: ignore[attr-defined]  # only this module's world has one
    try:
        with served.as_user("analyst") as http:
            answer = http.get("/api/v1/chat/threads")
            assert (answer.status_code, answer.json()["next_command"]) == (503, "lab logs agent")
    finally:
        served.agent.down = False  # type: ignore[attr-defined]  # as above


def test_a_restart_of_the_database_costs_no_request(served: World) -> None:
    browser = served.browser().sign_in("analyst")
    admin = served.settings.database_url.replace("+psycopg", "").rpartition("/")[0] + "/postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'console_web'"
        ).fetchone()
        assert ended is not None
        assert ended[0] > 0
    assert browser.get("/api/v1/me").status_code == 200
    assert browser.get("/api/v1/saved-queries").json() == []
