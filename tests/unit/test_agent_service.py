"""The chat's API on a real database: whose conversations, streams, stopping, resuming, faults, the audit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from agent.models import Base
from agent.runs import RunLimits
from agent.store import Store
from governance.store import make_engine
from tests.unit import governor_postgres
from tests.unit.agent_service import SECRET, service, token_of

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url


def rows(url: str, sql: str) -> list[Any]:
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_migrations_make_what_the_models_say_and_can_be_undone(database_url: str) -> None:
    store = Store(make_engine(database_url))
    store.upgrade()
    store.upgrade()
    store.close()
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_schemas": False})
        assert compare_metadata(context, Base.metadata) == []
        config = Config()
        config.set_main_option("script_location", str(Path("agent/migrations").absolute()))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
        assert connection.exec_driver_sql("SELECT to_regclass('run'), to_regclass('step')").one() == (
            None,
            None,
        )
    engine.dispose()


async def test_a_question_is_answered_step_by_step(database_url: str) -> None:
    async with service(database_url) as world:
        run = await world.ask("How many customers are there?", "analyst_emea")
        assert run["state"] == "answered"
        assert run["answer"]["rows"] == [[83]]
        assert run["answer"]["sql"].startswith("SELECT")
        assert run["answer"]["rules"][0]["filters"] == ["region-by-key"]
        assert run["answer"]["chart"]["kind"] == "big_number"
        events = await world.events(run["id"], "analyst_emea")
        nodes = [data["node"] for name, data in events if name == "step"]
        assert nodes == [
            "question",
            "understand",
            "find_tables",
            "plan",
            "write_sql",
            "check",
            "run",
            "verify",
            "chart",
            "narrate",
        ]
        assert [data["seq"] for name, data in events if name == "step"] == list(range(1, 11))
        ran = next(data for name, data in events if name == "step" and data["node"] == "run")
        assert ran["query_id"] in run["answer"]["query_ids"]
        later = await world.events(run["id"], "analyst_emea", after=8)
        assert [data["node"] for name, data in later if name == "step"] == ["chart", "narrate"]
        # Each token is for one service, and none is the one that was shown.
        assert world.governor.tokens == ["analyst_emea:governor"]
        assert world.keycloak.exchanged == ["analyst_emea"]


async def test_others_see_nothing_of_a_conversation(database_url: str) -> None:
    async with service(database_url) as world:
        conversation = await world.conversation("engineer")
        run = await world.ask("How many customers are there?", "engineer", conversation)
        for method, path, body in (
            ("GET", f"/conversations/{conversation}", None),
            ("PATCH", f"/conversations/{conversation}", {"title": "mine"}),
            ("DELETE", f"/conversations/{conversation}", None),
            ("POST", f"/conversations/{conversation}/messages", {"text": "and by region?"}),
            ("GET", f"/runs/{run['id']}", None),
            ("GET", f"/runs/{run['id']}/steps", None),
            ("GET", f"/runs/{run['id']}/events", None),
            ("POST", f"/runs/{run['id']}/stop", None),
            ("POST", f"/runs/{run['id']}/resume", None),
            ("GET", "/runs/no-id", None),
            ("GET", "/conversations/00000000-0000-0000-0000-000000000000", None),
        ):
            for user in ("admin", "analyst_emea"):
                await world.call(method, path, user, body, status=404)
        assert await world.call("GET", "/conversations", "admin") == []
        mine = await world.call("GET", f"/conversations/{conversation}")
        assert [one["question"] for one in mine["runs"]] == ["How many customers are there?"]
        assert mine["conversation"]["title"] == "How many customers are there?"


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        (lambda: None, 401),
        (lambda: "nonsense", 401),
        (lambda: token_of("engineer", aud=["trino"]), 401),
        (lambda: token_of("outsider"), 403),
        (lambda: token_of("engineer", preferred_username="service-account-cli", azp="cli"), 403),
    ],
)
async def test_who_may_ask_at_all(database_url: str, shown: Callable[[], str | None], status: int) -> None:
    token = shown()
    async with service(database_url) as world:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = await world.http.get("/v1/chat/conversations", headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


async def test_it_asks_back_and_the_next_text_is_the_answer(database_url: str) -> None:
    async with service(database_url) as world:
        conversation = await world.conversation()
        run = await world.ask("revenue by region", conversation=conversation)
        assert run["state"] == "waiting"
        assert [one["label"] for one in run["ask"]["options"]] == ["customer region", "supplier region"]
        again = await world.ask("nonsense", conversation=conversation)
        assert again["state"] == "waiting"
        assert "none of them" in again["ask"]["question"]
        done = await world.ask("supplier region", conversation=conversation)
        assert done["id"] == run["id"]
        assert done["state"] == "answered"
        assert done["answer"]["columns"][0] == "supplier_region"
        follow = await world.ask("and only for 1996?", conversation=conversation)
        assert follow["number"] == 2
        assert "1996-01-01" in follow["answer"]["sql"]
        assert follow["answer"]["columns"][0] == "supplier_region"


async def test_a_run_that_waits_can_be_stopped(database_url: str) -> None:
    async with service(database_url) as world:
        conversation = await world.conversation()
        run = await world.ask("revenue by region", conversation=conversation)
        stopped = await world.call("POST", f"/runs/{run['id']}/stop")
        assert stopped["state"] == "stopped"
        new = await world.ask("How many customers are there?", conversation=conversation)
        assert new["id"] != run["id"]
        assert new["state"] == "answered"


async def test_stopping_ends_the_query_and_one_question_runs_at_a_time(database_url: str) -> None:
    gate = asyncio.Event()
    async with service(database_url, gate=gate) as world:
        conversation = await world.conversation()
        path = f"/conversations/{conversation}/messages"
        run = await world.call("POST", path, body={"text": "How many customers are there?"})
        await world.call("POST", path, body={"text": "How many orders are there?"}, status=409)
        await world.call("DELETE", f"/conversations/{conversation}", status=409)
        await world.reached(run["id"], "check")
        stopped = await world.call("POST", f"/runs/{run['id']}/stop")
        assert stopped["state"] == "stopped"
        assert world.engines[0].cancelled
        assert (await world.call("GET", f"/runs/{run['id']}"))["state"] == "stopped"
        gate.set()
        assert (await world.ask("How many orders are there?", conversation=conversation))[
            "state"
        ] == "answered"


async def test_too_many_at_once_are_refused(database_url: str) -> None:
    gate = asyncio.Event()
    async with service(database_url, gate=gate, limits=RunLimits(total=2, per_user=1)) as world:
        first = await world.conversation()
        second = await world.conversation()
        text = {"text": "How many customers are there?"}
        run = await world.call("POST", f"/conversations/{first}/messages", body=text)
        await world.call("POST", f"/conversations/{second}/messages", body=text, status=429)
        gate.set()
        assert (await world.ended(run["id"]))["state"] == "answered"
        assert (await world.ask(text["text"], conversation=second))["state"] == "answered"


async def test_a_run_that_takes_too_long_is_ended(database_url: str) -> None:
    async with service(database_url, gate=asyncio.Event(), limits=RunLimits(seconds=0.5)) as world:
        run = await world.ask("How many customers are there?")
        assert run["state"] == "failed"
        assert "longer than" in run["error"]
        assert world.engines[0].cancelled


async def test_a_restart_keeps_conversations_and_a_run_goes_on_where_it_was(database_url: str) -> None:
    gate = asyncio.Event()
    async with service(database_url, gate=gate) as world:
        conversation = await world.conversation()
        path = f"/conversations/{conversation}/messages"
        run = await world.call("POST", path, body={"text": "How many customers are there?"})
        await world.reached(run["id"], "check")
        await world.engines[0].waiting.wait()
    async with service(database_url) as world:
        found = await world.call("GET", f"/runs/{run['id']}")
        assert found["state"] == "interrupted"
        await world.call("POST", f"/runs/{run['id']}/resume", "admin", status=404)
        await world.call("POST", f"/runs/{run['id']}/resume", status=202)
        done = await world.ended(run["id"])
        assert done["answer"]["rows"] == [[150]]
        nodes = [step["node"] for step in await world.call("GET", f"/runs/{run['id']}/steps")]
        # What was done before is not done again.
        assert nodes.count("understand") == 1
        assert nodes[nodes.index("resume") :] == ["resume", "run", "verify", "chart", "narrate"]
        await world.call("POST", f"/runs/{run['id']}/resume", status=409)


async def test_a_process_that_is_killed_leaves_runs_that_can_be_resumed(database_url: str) -> None:
    async with service(database_url) as world:
        run = await world.ask("How many customers are there?")
        with psycopg.connect(database_url.replace("postgresql+psycopg://", "postgresql://")) as connection:
            connection.execute("UPDATE run SET state = 'running', answer = NULL")
        # It is not on its way here.
        assert (await world.call("GET", f"/runs/{run['id']}"))["state"] == "interrupted"


async def test_nothing_secret_and_no_row_stays_in_the_database(database_url: str) -> None:
    async with service(database_url) as world:
        waiting = await world.ask("revenue by region", "analyst_emea")
        assert waiting["state"] == "waiting"
        kept = str(rows(database_url, "SELECT * FROM checkpoints.checkpoints"))
        kept += str(rows(database_url, "SELECT * FROM checkpoints.checkpoint_writes"))
        kept += str(rows(database_url, "SELECT * FROM checkpoints.checkpoint_blobs"))
        assert "customer region" in kept
        run = await world.ask("average salary by department", "hr")
        shown = str(run["answer"]["rows"][0][1])
        left = "SELECT count(*) FROM checkpoints.checkpoints WHERE thread_id = '%s'"
        assert rows(database_url, left % run["id"]) == [(0,)]
        steps = str(rows(database_url, "SELECT * FROM step"))
        for secret in (SECRET, "refresh-", "analyst_emea:trino", "eyJ"):
            assert secret not in kept + steps
        # The audit knows how many rows there were, not what stood in them.
        assert shown not in steps


async def test_the_audit_can_not_be_changed_and_outlives_its_conversation(database_url: str) -> None:
    async with service(database_url) as world:
        conversation = await world.conversation()
        run = await world.ask("How many customers are there?", conversation=conversation)
        await world.call("DELETE", f"/conversations/{conversation}")
        await world.call("GET", f"/runs/{run['id']}", status=404)
        steps = await world.call("GET", f"/runs/{run['id']}/steps")
        assert len(steps) == 10
        for sql in (
            "UPDATE step SET username = 'nobody'",
            "DELETE FROM step",
            "TRUNCATE step",
        ):
            with pytest.raises(psycopg.errors.RestrictViolation):
                rows(database_url, sql)
        with pytest.raises(psycopg.errors.CheckViolation):
            rows(database_url, "SELECT step_retain(1)")
        assert rows(database_url, "SELECT step_retain(2)") == [(0,)]


async def test_old_conversations_go_and_others_stay(database_url: str) -> None:
    async with service(database_url) as world:
        old = await world.conversation()
        run = await world.ask("How many customers are there?", conversation=old)
        new = await world.conversation()
        with psycopg.connect(database_url.replace("postgresql+psycopg://", "postgresql://")) as connection:
            connection.execute(
                "UPDATE conversation SET updated_at = now() - interval '31 days' WHERE id = %s", (old,)
            )
        assert world.store.retain(conversation_days=30, step_days=30) == (run["id"],)
        assert [one["id"] for one in await world.call("GET", "/conversations")] == [new]


async def test_a_step_that_can_not_be_audited_ends_the_run(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with service(database_url) as world:
        whole = world.store.note

        def note(*arguments: Any, **given: Any) -> Any:
            if given["node"] == "check":
                from sqlalchemy.exc import OperationalError

                raise OperationalError("INSERT", {}, Exception("the server closed the connection"))
            return whole(*arguments, **given)

        monkeypatch.setattr(world.store, "note", note)
        run = await world.ask("How many customers are there?")
        assert run["state"] == "failed"
        # Nothing was run that is not in the audit.
        assert world.engines[0].ran == []


async def test_who_is_signed_in_offline_is_answered_all_the_same(database_url: str) -> None:
    async with service(database_url) as world:
        world.keycloak.offline.add("engineer")
        assert (await world.ask("how many customers are there?"))["state"] == "answered"
        assert "engineer:trino" in world.keycloak.given


async def test_services_that_are_away_are_named(database_url: str) -> None:
    async with service(database_url) as world:
        world.governor.down = True
        run = await world.ask("How many customers are there?")
        assert run["state"] == "answered"
        assert any("can't be said" in note for note in run["answer"]["notes"])
        world.keycloak.down = True
        conversation = await world.conversation("steward")
        path = f"/conversations/{conversation}/messages"
        await world.call("POST", path, "steward", {"text": "How many orders?"}, status=503)
        world.keycloak.down = False
        world.keycloak.ended.add("steward")
        await world.call("POST", path, "steward", {"text": "How many orders?"}, status=403)


async def test_it_starts_before_its_database_and_says_so() -> None:
    async with service("postgresql+psycopg://x:y@127.0.0.1:1/z", ready=False) as world:
        answer = await world.http.get("/health/ready")
        assert answer.status_code == 503
        assert (await world.http.get("/health")).status_code == 200
        assert (await world.raw("GET", "/conversations")).status_code == 503


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/conversations", {"title": 5}),
        ("/conversations", {"colour": "red"}),
        ("/models", {"text": "model: x"}),
    ],
)
async def test_malformed_requests_are_told_what_is_wrong(database_url: str, path: str, body: Any) -> None:
    async with service(database_url) as world:
        method = "PUT" if path == "/models" else "POST"
        problem = await world.call(method, path, body=body, status=422)
        assert problem["title"]


MODEL = """
model: notes
tables:
  note:
    table: raw.notes
    dimensions: {author: {column: author}}
    measures: {length: {column: length, aggregate: avg}}
"""


async def test_models_are_registered_by_those_who_may_and_used_by_all(database_url: str) -> None:
    async with service(database_url) as world:
        await world.call("PUT", "/models", "analyst_emea", {"text": MODEL}, status=403)
        made = await world.call("PUT", "/models", "steward", {"text": MODEL})
        assert made["tables"] == ["raw.notes"]
        await world.call(
            "PUT", "/models", "steward", {"text": MODEL.replace("notes\n", "hr\n", 1)}, status=422
        )
        listed = {one["name"]: one["registered_by"] for one in await world.call("GET", "/models")}
        assert listed == {"hr": None, "retail": None, "web": None, "notes": "steward"}
        # It widens nobody's rights: the table is not this user's.
        run = await world.ask("average length of notes by author", "analyst_emea")
        assert run["state"] == "declined"
        assert "raw.notes" in run["answer"]["text"]
        await world.call("DELETE", "/models/notes", "analyst_emea", status=403)
        await world.call("DELETE", "/models/notes", "steward", status=204)
        await world.call("DELETE", "/models/notes", "steward", status=404)


async def test_a_registered_model_that_fits_no_more_is_left_out_and_named(database_url: str) -> None:
    async with service(database_url) as world:
        world.store.put_model("broken", MODEL.replace("notes", "broken").replace("avg", "most"), "engineer")
        run = await world.ask("How many customers are there?")
        assert run["state"] == "answered"
        (found,) = [one for one in await world.call("GET", "/models") if one["name"] == "broken"]
        assert "no value of" in found["problem"]


async def test_the_api_describes_itself(database_url: str) -> None:
    async with service(database_url) as world:
        document = (await world.http.get("/openapi.json")).json()
        assert "/v1/chat/conversations/{conversation_id}/messages" in document["paths"]
        about = await world.call("GET", "/about")
        assert "No language model is configured" in about["summary"]
