"""A Keycloak, a governor and a launcher for the Spark gateway, all in this process."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import grpc
import grpc.aio
import httpx

from contracts.identity import Audience
from governance.client import GovernorClient
from governance.governor.auth import TokenVerifier
from spark_gateway.admission import Door
from spark_gateway.app import create_app
from spark_gateway.gateway import Gateway, Limits
from spark_gateway.identity import Keycloak
from spark_gateway.jobs import JobStore
from spark_gateway.launcher import FullError, Launch, LaunchError
from spark_gateway.local import free_port
from spark_gateway.proxy import SERVICE, ConnectProxy
from tests.unit.test_governor_auth import ISSUER, KEY, token

SECRET = "the-clients-own-secret"
SCRIPT = {"file_name": "job.py", "content": base64.b64encode(b"print(1)").decode()}
CONNECT_LIMIT_BYTES = 128 << 20
"""What a Connect server takes as one message (``spark.connect.grpc.maxInboundMessageSize``)."""


@dataclass
class FakeKeycloak:
    """Exchanges and refreshes; each refresh token works once, as with rotation."""

    ended: set[str] = field(default_factory=set)
    offline: set[str] = field(default_factory=set)
    """Whose sign-ins give no refresh token to others."""
    down: bool = False
    forms: list[dict[str, str]] = field(default_factory=list)
    _refresh: dict[str, str] = field(default_factory=dict)

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        assert request.headers["authorization"] == httpx.BasicAuth("spark", SECRET)._auth_header
        form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
        self.forms.append(form)
        if form["grant_type"] == "refresh_token":
            username = self._refresh.pop(form["refresh_token"], "")
        else:
            username = form["subject_token"].removeprefix("token-of-")
        lasting = form.get("requested_token_type", "").endswith("refresh_token")
        if not username or username in self.ended or (lasting and username in self.offline):
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": "ended"})
        follow = f"refresh-{len(self.forms)}"
        self._refresh[follow] = username
        audience = form["scope"].removeprefix("openid ")
        answer = {
            "access_token": f"{audience}-of-{username}-{len(self.forms)}",
            "refresh_token": follow,
            "expires_in": 300,
        }
        return httpx.Response(200, json=answer)


@dataclass
class FakeGovernor:
    """Answers ``/v1/access/raw`` for the user in the token."""

    restricted: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    nothing: set[str] = field(default_factory=set)
    down: bool = False

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused")
        audience, _, rest = request.headers["authorization"].removeprefix("Bearer ").partition("-of-")
        assert audience == Audience.GOVERNOR
        username = rest.rpartition("-")[0]
        answer = {
            "username": username,
            "groups": ["some_group"],
            "tables": {} if username in self.nothing else {"retail.nation": ["select"]},
            "restricted": self.restricted.get(username, {}),
        }
        return httpx.Response(200, json=answer)


class FakeConnectServer(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    """A Connect server as far as gRPC goes. Each message of a call of ``Echo`` comes back with its ``name``
    before it, ``Count`` tells a message's length, ``Flood`` writes ``FLOOD`` messages as fast as it may,
    ``Deaf`` reads one message only, ``Fail`` fails as Spark does. ``Echo`` checks ``token`` as it does.
    """

    FLOOD = 400
    FLOOD_BYTES = 1 << 18

    def __init__(self, name: str, token: str) -> None:
        self.name, self.token = name, token
        self.seen: list[dict[str, Any]] = []
        self.deadlines: list[float | None] = []
        self.running = self.written = 0
        self._server: Any = None

    async def open(self) -> tuple[str, int]:
        limits = [("grpc.max_receive_message_length", CONNECT_LIMIT_BYTES)]
        self._server = grpc.aio.server(handlers=[self], options=limits)
        port: int = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return "127.0.0.1", port

    async def close(self) -> None:
        await self._server.stop(grace=None)

    def service(self, details: Any) -> Any:
        methods = {
            "Echo": self._echo,
            "Count": self._count,
            "Flood": self._flood,
            "Deaf": self._deaf,
            "Fail": self._fail,
        }
        return grpc.stream_stream_rpc_method_handler(methods[details.method.rpartition("/")[2]])

    async def _echo(self, requests: Any, context: Any) -> None:
        given = dict(context.invocation_metadata())
        if given.get("authorization") != f"Bearer {self.token}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid token")
        self.seen.append(given)
        self.deadlines.append(context.time_remaining())
        self.running += 1
        try:
            await context.send_initial_metadata((("x-first", self.name),))
            async for message in requests:
                await context.write(self.name.encode() + b":" + message)
            context.set_trailing_metadata((("x-last", self.name),))
        finally:
            self.running -= 1

    async def _count(self, requests: Any, context: Any) -> None:
        async for message in requests:
            await context.write(str(len(message)).encode())

    async def _flood(self, requests: Any, context: Any) -> None:
        for _ in range(self.FLOOD):
            await context.write(bytes(self.FLOOD_BYTES))
            self.written += 1

    async def _deaf(self, requests: Any, context: Any) -> None:
        await anext(aiter(requests))
        await asyncio.Event().wait()

    async def _fail(self, requests: Any, context: Any) -> None:
        trailing = (("grpc-status-details-bin", b"\x08\x0d\xff"),)
        await context.abort(grpc.StatusCode.INTERNAL, "[TABLE_NOT_FOUND] ü", trailing)


def connect_channel(url: str) -> Any:
    """A client's connection to ``sc://localhost:PORT``, with the limits that PySpark's has."""
    limits = [(f"grpc.max_{way}_message_length", CONNECT_LIMIT_BYTES) for way in ("send", "receive")]
    return grpc.aio.insecure_channel(url.replace("sc://localhost", "127.0.0.1"), options=limits)


def begin(channel: Any, token: str, method: str = "Echo", **options: Any) -> Any:
    """A call as the user whose server has ``token``."""
    metadata = (("authorization", f"Bearer {token}"), ("x-session", "s1"), ("x-raw-bin", b"\x00\xff"))
    return channel.stream_stream(f"{SERVICE}{method}")(metadata=metadata, **options)


class FakeDriver:
    """Ends when told, or when stopped."""

    def __init__(self, launch: Launch) -> None:
        self.launch = launch
        self.finished: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.address: tuple[str, int] | None = None
        self.stopped = 0
        self.dies_at_start = False
        self.server: FakeConnectServer | None = None

    async def ready(self) -> None:
        if self.dies_at_start:
            self.finish(1)
            raise LaunchError("Spark ended with 1 before it was ready")
        name = self.launch.properties["spark.app.name"]
        self.server = FakeConnectServer(name, str(self.launch.connect_token))
        self.address = await self.server.open()

    async def ended(self) -> int:
        code = await asyncio.shield(self.finished)
        if self.server is not None:
            await self.server.close()
        return code

    async def stop(self, *, hurried: bool = False) -> None:
        self.stopped += 1
        self.finish(-15)

    def finish(self, code: int) -> None:
        if not self.finished.done():
            self.finished.set_result(code)


class FakeLauncher:
    """Notes what it was asked."""

    def __init__(self) -> None:
        self.drivers: list[FakeDriver] = []
        self.logs: dict[str, bytes] = {}
        self.forgotten: list[str] = []
        self.files: dict[tuple[str, str], Path] = {}
        self.recovered: list[set[str]] = []
        self.refuses = False
        self.full = False
        self.dies_at_start = False

    async def recover(self, keep: Collection[str]) -> None:
        self.recovered.append(set(keep))

    async def launch(self, launch: Launch) -> FakeDriver:
        if self.refuses:
            raise LaunchError("there is no Java")
        if self.full:
            raise FullError("the quota leaves no room for another driver")
        driver = FakeDriver(launch)
        driver.dies_at_start = self.dies_at_start
        self.drivers.append(driver)
        return driver

    def program_file(self, run_id: str, name: str) -> Path | None:
        return self.files.get((run_id, name))

    def log(self, run_id: str, offset: int, limit: int) -> bytes:
        return self.logs.get(run_id, b"")[offset : offset + limit]

    def forget(self, run_id: str) -> None:
        self.forgotten.append(run_id)


@dataclass
class World:
    """A gateway and all that it speaks to."""

    gateway: Gateway
    keycloak: FakeKeycloak
    governor: FakeGovernor
    launcher: FakeLauncher
    http: httpx.AsyncClient
    shown: list[str]
    """Tokens that were exchanged as they were shown, the last one last."""

    async def call(
        self, method: str, path: str, username: str = "engineer", body: Any = None, **claims: Any
    ) -> httpx.Response:
        """A request with a token of ``username`` for audience ``spark``."""
        given = {"aud": ["spark"], "preferred_username": username, "groups": ["data_engineers"], **claims}
        headers = {"Authorization": f"Bearer {token(**given)}"}
        return await self.http.request(method, path, headers=headers, json=body)


@asynccontextmanager
async def world(
    folder: Path, *, max_runs: int = 3, idle_s: float = 60.0, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[World]:
    """A running gateway; the tokens of callers are real ones, of a key of the tests'."""
    keycloak, governor, launcher = FakeKeycloak(), FakeGovernor(), FakeLauncher()
    shown: list[str] = []
    transport = httpx.MockTransport(governor.handle)

    class UserFromToken(Keycloak):
        """The fake Keycloak tells users by the subject token, which here is a real one."""

        async def exchange(self, username: str, subject_token: str) -> Any:
            assert subject_token.count(".") == 2
            return await super().exchange(username, f"token-of-{username}")

        async def access(self, username: str, subject_token: str, audience: Audience) -> Any:
            shown.append(subject_token)
            return await super().access(username, f"token-of-{username}", audience)

    port = free_port()
    async with httpx.AsyncClient(transport=httpx.MockTransport(keycloak.handle)) as to_keycloak:
        gateway = Gateway(
            launcher=launcher,
            keycloak=UserFromToken("http://kc/token", SECRET, to_keycloak),
            door=Door(lambda given: GovernorClient("http://governor", given, transport=transport)),
            store=JobStore(folder / "jobs"),
            limits=Limits(max_runs=max_runs, idle_s=idle_s),
            proxy=ConnectProxy("127.0.0.1", port, clock),
            connect_url=f"sc://localhost:{port}",
            catalog="lake",
            spark_version="4",
        )
        app = create_app(gateway, TokenVerifier(ISSUER, lambda _: KEY.public_key(), Audience.SPARK))
        async with (
            gateway.running(),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http,
        ):
            yield World(gateway, keycloak, governor, launcher, http, shown)


async def eventually(reached: Any, timeout_s: float = 5.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)


def credential(launch: Launch) -> dict[str, str]:
    """What Iceberg's client sends for its run, as a form."""
    client_id, _, secret = launch.properties["spark.sql.catalog.lake.credential"].partition(":")
    return {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
