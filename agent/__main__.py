"""Runs the agent: ``python -m agent``; see ``agent.settings``.

It starts without anything else being up: the database is tried until it answers, Keycloak, Trino and the
governor are asked when somebody asks. What is large (LangGraph, the MCP SDK, a model's client) is loaded when
it is needed, or once the agent is ready.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from importlib import import_module
from typing import Any

import httpx
from starlette.types import ASGIApp

from agent.app import Readiness, create_app
from agent.checkpoints import Graphs
from agent.identity import AUDIENCES, CLIENT_ID, Identities
from agent.layers import Layers
from agent.runs import Runs, trino_engines
from agent.semantic_planner import NAME, SUMMARY, SemanticPlanner, dimensions_of, measures_of, things_of
from agent.settings import AgentSettings, read_settings
from agent.state import Planner
from agent.store import Store
from agent.values import About
from contracts.errors import LabError
from contracts.identity import Audience
from governance.client import GovernorClient
from governance.exchange import TokenExchange
from governance.governor.auth import TokenVerifier, realm_keys
from governance.serving import serve
from governance.store import make_engine

_TIMEOUT = httpx.Timeout(20.0, connect=3.0)
_GRACE_S = 5
_MODEL_SUMMARY = (
    "A language model writes the SQL and puts the answer in words. It looks at tables and runs one query "
    "with your own rights, and has no others; numbers that stand in no result are not shown."
)


def build(settings: AgentSettings) -> ASGIApp:
    """Everything wired, nothing contacted."""
    store = Store(make_engine(settings.database_url, application_name="agent"))
    graphs = Graphs(settings.conninfo)
    layers = Layers(store)
    http = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)
    identities = Identities(
        TokenExchange(
            settings.token_url,
            http,
            client_id=CLIENT_ID,
            client_secret=settings.client_secret,
            audiences=(*AUDIENCES, *((Audience.CONTROL_PLANE,) if settings.control_plane_url else ())),
        )
    )
    verifier = TokenVerifier(settings.issuer_url, realm_keys(settings.jwks_url), Audience.AGENT)
    engines = trino_engines(settings.trino_url, settings.ca_certificate, settings.catalog, settings.limits)

    def governor(token: Callable[[], str]) -> GovernorClient:
        return GovernorClient(settings.governor_url, token, timeout_s=20.0)

    runs = Runs(
        store=store,
        graphs=graphs,
        identities=identities,
        engine_for=engines,
        governor=governor,
        planner=planner_for(settings, layers),
        catalog=settings.catalog,
        max_scan_mib=settings.limits.max_scan_mib,
    )

    def mcp() -> AbstractAsyncContextManager[ASGIApp]:
        from agent.mcp_server import McpWorld, serving
        from agent.saved import SavedQueries

        console = settings.control_plane_url
        return serving(
            McpWorld(
                store=store,
                verifier=verifier,
                identities=identities,
                engine_for=engines,
                governor=governor,
                saved=partial(SavedQueries, console, http) if console else None,
                catalog=settings.catalog,
                max_scan_mib=settings.limits.max_scan_mib,
                issuer_url=settings.issuer_url,
                public_url=settings.public_url,
            )
        )

    return create_app(
        store=store,
        graphs=graphs,
        runs=runs,
        layers=layers,
        verifier=verifier,
        readiness=Readiness(
            store,
            graphs,
            retention_days=settings.retention_days,
            audit_retention_days=settings.audit_retention_days,
        ),
        about=partial(about, settings, layers),
        mcp=mcp,
        warm=warm,
    )


def planner_for(settings: AgentSettings, layers: Layers) -> Callable[[], Planner]:
    """Gives the planner for a run: the model's where one is configured."""
    model = settings.model
    if model is None:
        return lambda: SemanticPlanner(layers.current())

    @cache
    def chat() -> Any:
        from agent.chat import make_chat

        return make_chat(model)

    def make() -> Planner:
        from agent.model_planner import ModelPlanner

        return ModelPlanner(model, layers.current(), chat)

    return make


def about(settings: AgentSettings, layers: Layers) -> About:
    """What the agent is and can do."""
    layer = layers.current()
    return About(
        planner=NAME if settings.model is None else settings.model.name,
        model=None if settings.model is None else settings.model.name,
        summary=SUMMARY if settings.model is None else _MODEL_SUMMARY,
        measures=measures_of(layer),
        dimensions=dimensions_of(layer),
        things=tuple(things_of(layer).split(", ")),
    )


def warm() -> None:
    """Loads what the first question needs, so that it does not wait for it."""
    import_module("governance.query")


def main() -> int:
    """Serves until SIGTERM or SIGINT; runs on their way can be resumed afterwards."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("httpx", "httpcore", "httpx2", "openai", "anthropic", "botocore", "mcp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Nothing of a run leaves the lab but what the configured model is sent.
    os.environ.update({"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"})
    try:
        settings = read_settings(os.environ)
    except LabError as error:
        sys.stderr.write(f"{error.render()}\n")
        return error.exit_code
    serve(
        build(settings),
        bind=settings.bind,
        port=settings.port,
        grace_s=_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
