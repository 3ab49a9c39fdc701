"""A console to call over HTTP, with a realm, an engine and a governor that behave as observed."""

from __future__ import annotations

import contextlib
import inspect
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn

from control_plane.api.app import create_app
from control_plane.api.build import build_console
from control_plane.api.settings import read_settings
from tests.unit import governor_postgres
from tests.unit.console_keycloak import CLIENT, CLIENT_SECRET, REALM_URL, FakeKeycloak
from tests.unit.console_spark import FakeSpark
from tests.unit.console_trino import URL as TRINO_URL
from tests.unit.console_trino import FakeTrino
from tests.unit.governor_lab import SEED, Lab
from tests.unit.test_governor_auth import ISSUER, KEY

postgres_server = governor_postgres.postgres_server

Handler = Callable[[httpx.Request], Any]


class Browser:
    """A browser on the console: keeps cookies as one does at a loopback address, and sends the token."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.http = httpx.Client(base_url=world.url, timeout=30, trust_env=False)
        self.cookies: dict[str, str] = {}
        self.csrf = ""
        self.set_cookies: list[str] = []

    def send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **given: Any
    ) -> httpx.Response:
        """One request as a page of the console's own makes it."""
        sent = {"Sec-Fetch-Site": "same-origin"}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if method not in ("GET", "HEAD"):
            sent |= {"Origin": self.world.url, "X-CSRF-Token": self.csrf}
        response = self.http.request(method, path, headers={**sent, **(headers or {})}, **given)
        for line in response.headers.get_list("set-cookie"):
            self.set_cookies.append(line)
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0].strip('"')
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return response

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.send("GET", path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.send("POST", path, **given)

    def sign_in(self, username: str, page: str = "/") -> Browser:
        """All of it, as a person goes through it."""
        begun = self.send("GET", "/auth/login", params={"next": page})
        back = self.world.keycloak.sign_in(begun.headers["location"], username)
        landed = self.get(back.removeprefix(self.world.url))
        assert landed.status_code == 302, landed.text
        self.landed = landed.headers["location"]
        self.csrf = self.get("/api/v1/me").json()["csrf_token"]
        return self


class World:
    """The running console and what is around it."""

    def __init__(self, database_url: str, folder: Path, **settings: str) -> None:
        self.keycloak = FakeKeycloak()
        self._browsers: list[Browser] = []
        self.trino = FakeTrino()
        self.spark = FakeSpark()
        self.hosts: dict[str, Handler] = {
            "keycloak.test": self.keycloak.handle,
            "trino.test": self.trino.handle,
        }
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = read_settings(
            {
                "CONSOLE_LAB": "lab",
                "CONSOLE_PORT": str(self.port),
                "CONSOLE_PUBLIC_URL": self.url,
                "CONSOLE_ALSO_HOSTS": "console.internal:8080",
                "CONSOLE_DATABASE_URL": database_url,
                "CONSOLE_ENCRYPTION_KEY": "k" * 44,
                "CONSOLE_ISSUER_URL": ISSUER,
                "CONSOLE_REALM_URL": REALM_URL,
                "CONSOLE_CLIENT_SECRET": CLIENT_SECRET,
                "CONSOLE_CATALOG_KIND": "nessie",
                "CONSOLE_TRINO_URL": TRINO_URL,
                "CONSOLE_SPOOL_DIR": str(folder / "spool"),
                **{f"CONSOLE_{name}": value for name, value in settings.items()},
            }
        )
        self.console = build_console(
            self.settings,
            transport=httpx.MockTransport(self._answer),
            spark_transport=httpx.MockTransport(self.spark.handle),
            signing_key=lambda _: KEY.public_key(),
        )
        config = uvicorn.Config(
            create_app(self.console), host="127.0.0.1", port=self.port, log_config=None, ws="none"
        )
        self.server = uvicorn.Server(config)
        # A daemon: a world that did not come up must not keep the tests from ending.
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self.hosts[request.url.host](request)
        response: httpx.Response = await answer if inspect.isawaitable(answer) else answer
        return response

    def start(self) -> None:
        """Serves until :meth:`stop`."""
        self.thread.start()
        wait_for(lambda: self.server.started)
        wait_for(
            lambda: httpx.get(f"{self.url}/health/ready", timeout=30, trust_env=False).status_code == 200
        )

    def stop(self) -> None:
        """Ends the service."""
        for browser in self._browsers:
            browser.http.close()
        self.server.should_exit = True
        self.thread.join(15)
        assert not self.thread.is_alive()

    def browser(self) -> Browser:
        """A browser that nobody signed in with."""
        self._browsers.append(Browser(self))
        return self._browsers[-1]

    def as_user(self, username: str) -> httpx.Client:
        """The API by a bearer token."""
        token = self.keycloak.token(username, CLIENT)
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)


class GovernedWorld(World):
    """The same with a governor."""

    lab: Lab


def wait_for(reached: Callable[[], bool], timeout_s: float = 90.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


def database(server: str, name: str) -> Iterator[str]:
    """URL of an empty database."""
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield f"{server}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="module")
def governed(postgres_server: str) -> Iterator[GovernedWorld]:
    """A console with a real governor, seeded, for a module's tests."""
    with tempfile.TemporaryDirectory(prefix="lab-console-") as folder, contextlib.ExitStack() as stack:
        governor_url = stack.enter_context(contextlib.contextmanager(database)(postgres_server, "governor"))
        console_url = stack.enter_context(contextlib.contextmanager(database)(postgres_server, "console_g"))
        lab = Lab(governor_url.replace("postgresql://", "postgresql+psycopg://"))
        lab.start()
        stack.callback(lab.stop)
        with lab.client(service="seeder") as seeder:
            seeder.seed_access(SEED, "digest-1")
            assert seeder.reconcile().complete
        components = Path(folder) / "components.json"
        found = GovernedWorld(
            console_url,
            Path(folder),
            GOVERNOR_URL=lab.url,
            COMPONENTS_FILE=_components(components),
            TELLS_USE="true",
        )
        found.lab = lab
        found.hosts |= {
            "well.test": lambda _: httpx.Response(200),
            "ill.test": lambda _: httpx.Response(503),
            "down.test": _down,
        }
        found.start()
        yield found
        found.stop()


def _down(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def _components(file: Path) -> str:
    """Services to ask after: one that is well, one that is not, one that is down, one that is not there."""
    listed = [
        {"name": "well", "title": "Well", "probe_url": "http://well.test/health", "version": "1"},
        {"name": "ill", "title": "Ill", "probe_url": "http://ill.test/health"},
        {"name": "down", "title": "Down", "probe_url": "http://down.test/health"},
        {"name": "absent", "title": "Absent"},
    ]
    file.write_text(json.dumps(listed), encoding="utf-8")
    return str(file)


@pytest.fixture(scope="module")
def world(postgres_server: str) -> Iterator[World]:
    """One console for a module's tests."""
    with tempfile.TemporaryDirectory(prefix="lab-console-") as folder:
        for url in database(postgres_server, "console"):
            found = World(url, Path(folder))
            found.start()
            yield found
            found.stop()
