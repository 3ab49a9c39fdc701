"""The agent as a service: its real database, the sample tables in DuckDB, a Keycloak and a governor of these
tests. Tokens of callers are real ones, of a key of the tests'."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import httpx
from pydantic import TypeAdapter
from starlette.types import ASGIApp

from agent.app import Readiness, create_app
from agent.checkpoints import Graphs
from agent.engine import QueryResult
from agent.identity import AUDIENCES, CLIENT_ID, Identities
from agent.layers import Layers
from agent.mcp_server import McpWorld, serving
from agent.runs import RunLimits, Runs
from agent.saved import SavedQueries
from agent.semantic_planner import NAME, SUMMARY, SemanticPlanner
from agent.state import Planner
from agent.store import NotFoundError, Store
from agent.values import About
from contracts.identity import PERSONAS, Audience
from control_plane.api.schemas.queries import SavedQuery
from governance.client import GovernorClient
from governance.exchange import TokenExchange
from governance.governor.auth import TokenVerifier
from governance.reports import Explanation
from governance.store import make_engine
from tests.unit.agent_lake import LakeEngine, lake
from tests.unit.test_governor_auth import ISSUER, KEY, token

SECRET = "secret-of-client-agent"
_GROUPS = {persona.username: list(persona.groups) for persona in PERSONAS}


class FakeKeycloak:
    """Exchanges tokens whose audience is the agent; refreshes what it gave. ``ended``: users signed out;
    ``offline``: users whose sign-in gives others no refresh tokens."""

    def __init__(self) -> None:
        self.exchanged: list[str] = []
        self.given: list[str] = []
        self.ended: set[str] = set()
        self.offline: set[str] = set()
        self.down = False

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("nobody listens")
        form = {key: values[0] for key, values in parse_qs(request.content.decode()).items()}
        assert request.headers["authorization"].startswith("Basic ")
        if form["grant_type"].endswith("token-exchange"):
            import jwt

            claims = jwt.decode(form["subject_token"], options={"verify_signature": False})
            user = claims["preferred_username"]
            if user in self.ended:
                return httpx.Response(400, json={"error": "invalid_grant", "error_description": "ended"})
            if form["requested_token_type"].endswith("access_token"):
                self.exchanged.append(user)
                self.given.append(f"{user}:{form['audience']}")
                return httpx.Response(
                    200, json={"access_token": f"{user}:{form['audience']}", "expires_in": 300}
                )
            if user in self.offline:
                problem = (
                    "Refresh token not valid as requested_token_type because creating a new session is needed"
                )
                return httpx.Response(400, json={"error": "invalid_request", "error_description": problem})
            self.exchanged.append(user)
            return httpx.Response(200, json={"refresh_token": f"refresh-{user}", "access_token": "x"})
        user = form["refresh_token"].removeprefix("refresh-")
        if user in self.ended:
            return httpx.Response(400, json={"error": "invalid_grant"})
        audience = form["scope"].split()[-1]
        self.given.append(f"{user}:{audience}")
        return httpx.Response(200, json={"access_token": f"{user}:{audience}", "expires_in": 300})


class FakeGovernor:
    """Explains tables as the access data of the repository has it."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.down = False

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("nobody listens")
        given = request.headers["authorization"].removeprefix("Bearer ")
        self.tokens.append(given)
        user, audience = given.split(":")
        assert audience == "governor"
        view = lake().view(user, request.url.params["table"])
        explanation = Explanation(
            revision=1,
            published=1,
            username=user,
            groups=tuple(_GROUPS[user]),
            readable=view.readable,
            predicate=view.predicate,
            view=view,
            denied=sum(column.visibility.value == "denied" for column in view.columns),
        )
        return httpx.Response(200, content=TypeAdapter(Explanation).dump_json(explanation))


class FakeConsole:
    """The console's saved queries, in its own schema. ``readers``: who may read each."""

    def __init__(self) -> None:
        self.queries: dict[str, SavedQuery] = {}
        self.readers: dict[str, set[str]] = {}
        self.down = False

    def keep(self, statement: str, *readers: str, title: str = "kept", **more: Any) -> str:
        moment = datetime(2026, 11, 28, tzinfo=UTC)
        query = SavedQuery(
            id=uuid4(),
            owner=readers[0],
            shares=[],
            version=1,
            can_edit=False,
            created_at=moment,
            updated_at=moment,
            updated_by=readers[0],
            title=title,
            statement=statement,
            **{"description": "", "catalog": "lake", "namespace": None, "parameters": [], **more},
        )
        self.queries[str(query.id)] = query
        self.readers[str(query.id)] = set(readers)
        return str(query.id)

    def handle(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("nobody listens")
        user, audience = request.headers["authorization"].removeprefix("Bearer ").split(":")
        assert audience == "control-plane"
        mine = {key: query for key, query in self.queries.items() if user in self.readers[key]}
        path = request.url.path.removeprefix("/api/v1/saved-queries").strip("/")
        if not path:
            text = request.url.params["text"]
            found = [query.model_dump(mode="json") for query in mine.values() if text in query.title]
            return httpx.Response(200, json=found)
        if path not in mine:
            return httpx.Response(404, json={"title": "there is no saved query of that id", "value": path})
        return httpx.Response(200, json=mine[path].model_dump(mode="json"))


class SlowEngine(LakeEngine):
    """Waits before a query until it is let go; notes whether it was cancelled."""

    def __init__(self, user: str, gate: asyncio.Event | None) -> None:
        super().__init__(user)
        self._gate = gate
        self.waiting = asyncio.Event()
        self.cancelled = False

    async def run(self, sql: str, *, max_rows: int | None = None) -> QueryResult:
        if self._gate is not None:
            self.waiting.set()
            try:
                await self._gate.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        return await super().run(sql, max_rows=max_rows)


@dataclass
class World:
    """The running service and all that it speaks to."""

    http: httpx.AsyncClient
    store: Store
    keycloak: FakeKeycloak
    governor: FakeGovernor
    console: FakeConsole
    app: ASGIApp
    engines: list[SlowEngine] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def call(
        self, method: str, path: str, user: str = "engineer", body: Any = None, **more: Any
    ) -> Any:
        """A request as a user; its answer's JSON, with the status asserted when it is given."""
        response = await self.raw(method, path, user, body)
        expected = more.get("status", response.status_code if response.status_code < 400 else 200)
        assert response.status_code == expected, response.text
        return response.json() if response.content else None

    async def raw(self, method: str, path: str, user: str = "engineer", body: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token_of(user)}"}
        return await self.http.request(method, f"/v1/chat{path}", headers=headers, json=body)

    async def conversation(self, user: str = "engineer") -> str:
        return str((await self.call("POST", "/conversations", user, {}))["id"])

    async def ask(self, text: str, user: str = "engineer", conversation: str | None = None) -> dict[str, Any]:
        """Asks and waits until the run has ended or waits itself."""
        conversation = conversation or await self.conversation(user)
        path = f"/conversations/{conversation}/messages"
        run = await self.call("POST", path, user, {"text": text}, status=202)
        return await self.ended(run["id"], user)

    async def ended(self, run_id: str, user: str = "engineer") -> dict[str, Any]:
        events = await self.events(run_id, user)
        assert events[-1][0] == "run"
        found: dict[str, Any] = events[-1][1]
        return found

    async def reached(self, run_id: str, node: str, timeout_s: float = 20.0) -> None:
        """Waits until a run has done a step."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            with suppress(NotFoundError):
                if node in {step.node for step in self.store.steps(None, run_id)}:
                    return
            assert asyncio.get_running_loop().time() < deadline, f"{node} was not reached"
            await asyncio.sleep(0.02)

    async def events(self, run_id: str, user: str = "engineer", after: int = 0) -> list[tuple[str, Any]]:
        """All events of a run, until its stream ends."""
        response = await self.raw("GET", f"/runs/{run_id}/events?after={after}", user)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/event-stream")
        return parsed(response.text)


def parsed(text: str) -> list[tuple[str, Any]]:
    """Name and data of each event of a stream."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if "data" in lines:
            found.append((lines.get("event", "message"), json.loads(lines["data"])))
    return found


def token_of(user: str, **changes: Any) -> str:
    """An access token for the agent."""
    given = {"aud": ["agent"], "preferred_username": user, "groups": _GROUPS[user], **changes}
    return token(**given)


@asynccontextmanager
async def service(
    database_url: str,
    *,
    planner: Callable[[Layers], Planner] | None = None,
    limits: RunLimits | None = None,
    gate: asyncio.Event | None = None,
    public_url: str = "http://agent",
    ready: bool = True,
    with_console: bool = True,
) -> AsyncIterator[World]:
    """The agent on a database; ``gate`` holds every query back until it is set."""
    lake()  # made before anybody waits for an answer
    store = Store(make_engine(database_url, application_name="agent"))
    graphs = Graphs(database_url.replace("postgresql+psycopg://", "postgresql://"))
    layers = Layers(store)
    keycloak, governor, console = FakeKeycloak(), FakeGovernor(), FakeConsole()
    engines: list[SlowEngine] = []

    def engine_for(tokens: Any, _: str) -> SlowEngine:
        engine = SlowEngine(tokens._sign_in.username, gate)
        engines.append(engine)
        return engine

    def governor_client(given: Callable[[], str]) -> GovernorClient:
        return GovernorClient("http://governor", given, transport=httpx.MockTransport(governor.handle))

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(keycloak.handle)) as to_keycloak,
        httpx.AsyncClient(transport=httpx.MockTransport(console.handle)) as to_console,
    ):
        identities = Identities(
            TokenExchange(
                "http://kc/token",
                to_keycloak,
                client_id=CLIENT_ID,
                client_secret=SECRET,
                audiences=AUDIENCES,
            )
        )
        verifier = TokenVerifier(ISSUER, lambda _: KEY.public_key(), Audience.AGENT)
        mcp_world = McpWorld(
            store=store,
            verifier=verifier,
            identities=identities,
            engine_for=engine_for,
            governor=governor_client,
            saved=partial(SavedQueries, "http://console", to_console) if with_console else None,
            catalog="lake",
            max_scan_mib=100,
            issuer_url=ISSUER,
            public_url=public_url,
        )

        def mcp() -> AbstractAsyncContextManager[ASGIApp]:
            return serving(mcp_world)

        runs = Runs(
            store=store,
            graphs=graphs,
            identities=identities,
            engine_for=engine_for,
            governor=governor_client,
            planner=partial(planner, layers) if planner else lambda: SemanticPlanner(layers.current()),
            catalog="lake",
            max_scan_mib=100,
            limits=limits,
        )
        readiness = Readiness(store, graphs, retention_days=30, audit_retention_days=30)
        app: Any = create_app(
            store=store,
            graphs=graphs,
            runs=runs,
            layers=layers,
            verifier=verifier,
            readiness=readiness,
            about=lambda: About(
                planner=NAME, model=None, summary=SUMMARY, measures=(), dimensions=(), things=()
            ),
            mcp=mcp,
        )
        async with (
            app.app.router.lifespan_context(app.app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=public_url, timeout=30) as http,
        ):
            while ready and not readiness.ready:
                await asyncio.sleep(0.01)
            yield World(
                http=http,
                store=store,
                keycloak=keycloak,
                governor=governor,
                console=console,
                app=app,
                engines=engines,
                gate=gate,
            )
