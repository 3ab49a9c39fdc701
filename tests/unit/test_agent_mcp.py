"""The MCP server through the SDK's own client: discovery, rights, the audit, and who is kept out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import psycopg
import pytest
import uvicorn
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.unit import governor_postgres
from tests.unit.agent_service import World, service, token_of

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url


@asynccontextmanager
async def served(database_url: str) -> AsyncIterator[tuple[World, str]]:
    """The agent on a loopback port, and its URL."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with service(database_url, public_url=url) as world:
        config = uvicorn.Config(world.app, lifespan="off", log_config=None, ws="none")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield world, url
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def client(url: str, user: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {token_of(user)}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as found,
    ):
        yield found


async def call(url: str, user: str, tool: str, **arguments: Any) -> dict[str, Any]:
    async with client(url, user) as connected:
        result = await connected.call_tool(tool, arguments)
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content or {}
    return found


async def refused(url: str, user: str, tool: str, **arguments: Any) -> str:
    async with client(url, user) as connected:
        result = await connected.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content)


async def test_tools_are_listed_and_only_read(database_url: str) -> None:
    async with served(database_url) as (_, url), client(url, "engineer") as connected:
        tools = (await connected.list_tools()).tools
    assert [tool.name for tool in tools] == [
        "list_tables",
        "search_tables",
        "describe_table",
        "query",
        "explain_access",
        "list_saved_queries",
        "run_saved_query",
    ]
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)


async def test_each_user_sees_their_own(database_url: str) -> None:
    async with served(database_url) as (world, url):
        sql = "SELECT count(*) AS n FROM retail.customer"
        assert (await call(url, "engineer", "query", sql=sql))["rows"] == [[150]]
        emea = await call(url, "analyst_emea", "query", sql=sql)
        assert emea["rows"] == [[83]]
        assert emea["rules"][0]["filters"] == ["region-by-key"]
        tables = await call(url, "hr", "list_tables")
        assert {one["name"] for one in tables["tables"]} == {"hr.departments", "hr.employees"}
        assert (await call(url, "engineer", "list_tables", namespace="hr"))["tables"] == []
        found = await call(url, "steward", "search_tables", text="salary")
        assert found["tables"] == [{"name": "hr.employees", "columns": ["salary"]}]
        described = await call(url, "analyst_emea", "describe_table", table="retail.customer")
        assert "c_address" not in {one["name"] for one in described["columns"]}
        why = await call(url, "analyst_emea", "explain_access", table="retail.customer")
        assert why["filters"][0]["rule"] == "region-by-key"
        assert set(world.keycloak.exchanged) == {"engineer", "analyst_emea", "hr", "steward"}


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM retail.customer", "not a query"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT * FROM system.runtime.queries", "catalog"),
        ("SELECT * FROM hr.employees", "denied"),
        ("SELECT nothing FROM retail.customer", "nothing"),
    ],
)
async def test_what_is_not_run_is_told_and_audited(database_url: str, sql: str, why: str) -> None:
    async with served(database_url) as (world, url):
        assert why in await refused(url, "engineer", "query", sql=sql)
        with psycopg.connect(database_url.replace("postgresql+psycopg://", "postgresql://")) as connection:
            found = connection.execute("SELECT username, channel, node, detail FROM step").fetchall()
        ((user, channel, node, detail),) = found
        assert (user, channel, node) == ("engineer", "mcp", "query")
        assert detail["arguments"]["sql"] == sql
        assert why in detail["failed"]
        assert not world.engines[0].ran


async def test_a_query_is_audited_with_its_id(database_url: str) -> None:
    async with served(database_url) as (_, url):
        found = await call(url, "engineer", "query", sql="SELECT n_name FROM retail.nation", limit=3)
        assert len(found["rows"]) == 3
        assert found["truncated"]
        with psycopg.connect(database_url.replace("postgresql+psycopg://", "postgresql://")) as connection:
            ((query_id, detail),) = connection.execute("SELECT query_id, detail FROM step").fetchall()
        assert query_id == found["query_id"]
        assert detail["rows"] == 3
        assert "ALGERIA" not in str(detail)


async def test_without_a_console_nothing_is_said_of_saved_queries(database_url: str) -> None:
    async with service(database_url, with_console=False) as world:
        headers = {
            "Authorization": f"Bearer {token_of('engineer')}",
            "Accept": "application/json, text/event-stream",
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        answer = await world.http.post("/mcp", json=body, headers=headers)
        assert "explain_access" in answer.text
        assert "saved" not in answer.text


async def test_a_saved_query_is_run_with_its_callers_rights(database_url: str) -> None:
    async with served(database_url) as (world, url):
        since = {"name": "at_least", "type": "double", "default": 0}
        shared = world.console.keep(
            "SELECT count(*) AS n FROM customer WHERE c_acctbal >= :at_least",
            "engineer",
            "analyst_emea",
            title="customers",
            namespace="retail",
            parameters=[since],
        )
        own = world.console.keep("SELECT 1 AS one", "steward", title="of the steward")
        listed = (await call(url, "analyst_emea", "list_saved_queries"))["queries"]
        assert [(one["id"], one["title"], one["owner"]) for one in listed] == [
            (shared, "customers", "engineer")
        ]
        assert listed[0]["parameters"][0]["default"] == 0
        plain = "SELECT count(*) FROM retail.customer WHERE c_acctbal >= 0"
        for user in ("engineer", "analyst_emea"):
            expected = (await call(url, user, "query", sql=plain))["rows"]
            found = await call(url, user, "run_saved_query", query_id=shared)
            assert found["rows"] == expected
        assert found["rules"][0]["filters"] == ["region-by-key"]
        few = await call(url, "engineer", "run_saved_query", query_id=shared, parameters={"at_least": 1e9})
        assert few["rows"] == [[0]]
        assert "DOUBLE '1000000000.0'" in few["sql"]
        assert "no saved query" in await refused(url, "analyst_emea", "run_saved_query", query_id=own)
        assert "analyst_emea:control-plane" in world.keycloak.given


@pytest.mark.parametrize(
    ("statement", "more", "arguments", "why"),
    [
        ("DELETE FROM retail.customer", {}, {}, "not a query"),
        ("SELECT * FROM hr.employees", {}, {}, "denied"),
        ("SELECT 1 AS one", {"catalog": "other"}, {}, "another catalog"),
        ("SELECT :a AS a", {}, {}, ":a has no value"),
        ("SELECT :a AS a", {}, {"parameters": {"a": 1, "b": 2}}, "no parameter :b"),
        (
            "SELECT * FROM retail.nation WHERE n_nationkey = :a",
            {"parameters": [{"name": "a", "type": "bigint"}]},
            {"parameters": {"a": "1 OR TRUE"}},
            "not of type bigint",
        ),
    ],
)
async def test_a_saved_query_is_held_to_the_same(
    database_url: str, statement: str, more: dict[str, Any], arguments: dict[str, Any], why: str
) -> None:
    async with served(database_url) as (world, url):
        kept = world.console.keep(statement, "engineer", **more)
        assert why in await refused(url, "engineer", "run_saved_query", query_id=kept, **arguments)
        assert not world.engines[0].ran


async def test_what_keeps_saved_queries_may_be_away(database_url: str) -> None:
    async with served(database_url) as (world, url):
        assert "no saved query's id" in await refused(url, "engineer", "run_saved_query", query_id="../x")
        world.console.down = True
        assert "does not answer" in await refused(url, "engineer", "list_saved_queries")


async def test_clients_find_keycloak_by_themselves(database_url: str) -> None:
    async with served(database_url) as (_, url), httpx.AsyncClient() as http:
        answer = await http.post(f"{url}/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert answer.status_code == 401
        place = f"{url}/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{place}"' in answer.headers["www-authenticate"]
        document = (await http.get(place)).json()
        assert document["resource"] == f"{url}/mcp"
        assert [one.rstrip("/") for one in document["authorization_servers"]] == [
            "http://127.0.0.1:28001/realms/lab"
        ]
        assert document["scopes_supported"] == ["agent"]


async def test_tokens_last_as_long_as_the_one_that_was_shown(database_url: str) -> None:
    """Clients keep an offline sign-in, for which Keycloak gives others no refresh tokens."""
    async with served(database_url) as (world, url):
        world.keycloak.offline.add("analyst_emea")
        sql = "SELECT count(*) AS n FROM retail.customer"
        assert (await call(url, "analyst_emea", "query", sql=sql))["rows"] == [[83]]
        assert set(world.keycloak.given) == {"analyst_emea:trino", "analyst_emea:governor"}
        world.keycloak.ended.add("steward")
        assert "gives no token" in await refused(url, "steward", "query", sql=sql)
        assert "steward:trino" not in world.keycloak.given


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        ({"Host": "evil.example"}, {421}),
        ({"Host": "localhost"}, {421}),
        ({"Origin": "http://evil.example"}, {403}),
        ({"Authorization": f"Bearer {token_of('engineer', aud=['trino'])}"}, {401}),
        ({"Authorization": f"Bearer {token_of('outsider')}"}, {401}),
        ({"Authorization": "Bearer x"}, {401}),
    ],
)
async def test_who_is_kept_out(database_url: str, headers: dict[str, str], statuses: set[int]) -> None:
    async with served(database_url) as (world, url), httpx.AsyncClient() as http:
        given = {
            "Authorization": f"Bearer {token_of('engineer')}",
            "Accept": "application/json, text/event-stream",
            **headers,
        }
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        answer = await http.post(f"{url}/mcp", json=body, headers=given)
        assert answer.status_code in statuses
        assert world.keycloak.exchanged == []


async def test_the_mcp_server_is_loaded_with_its_first_request(database_url: str) -> None:
    async with service(database_url) as world:
        assert world.app._mcp._app is None  # type: ignore[attr-defined]  # the wrapper's own part
        await world.http.get("/.well-known/oauth-protected-resource/mcp")
        assert world.app._mcp._app is not None  # type: ignore[attr-defined]  # the wrapper's own part
