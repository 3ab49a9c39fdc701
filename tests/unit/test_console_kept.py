"""Kept queries, charts and dashboards: owners, groups, two editors, and the database's schema."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from control_plane.api.storage.database import MIGRATIONS, Database
from control_plane.api.storage.job_models import own_tables
from control_plane.api.storage.models import SCHEMA_VERSION, Base
from tests.unit import console_world
from tests.unit.console_trino import Answer
from tests.unit.console_world import World, database

postgres_server = console_world.postgres_server
world = console_world.world

QUERY = {"title": "Nations", "description": "all", "statement": "SELECT * FROM nation", "namespace": "retail"}
CHART: dict[str, Any] = {
    "title": "By region",
    "statement": "SELECT region, n FROM t WHERE since > :since",
    "parameters": [{"name": "since", "type": "date", "default": "2026-01-01"}],
    "spec": {"kind": "bar", "x": "region", "y": ["n"]},
}


@pytest.fixture
def people(world: World) -> Iterator[dict[str, httpx.Client]]:
    """A client for each person."""
    world.trino.rules.clear()
    world.trino.asked.clear()
    clients = {name: world.as_user(name) for name in world.keycloak.people}
    yield clients
    for client in clients.values():
        client.close()


def make(http: httpx.Client, kind: str, body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Something kept."""
    answer = http.post(f"/api/v1/{kind}", json={**body, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/v1/{kind}/{found['id']}"
    assert answer.headers["etag"] == '"1"'
    return found


def test_migrations_make_what_the_models_say_and_can_be_undone(postgres_server: str) -> None:
    for url in database(postgres_server, "console_schema"):
        sqlalchemy_url = url.replace("postgresql://", "postgresql+psycopg://")
        bases = [Database(sqlalchemy_url) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(Database.upgrade, bases))
        for base in bases:
            base.close()
        engine = create_engine(sqlalchemy_url)
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_server_default": True, "include_name": own_tables}
            )
            assert compare_metadata(context, Base.metadata) == []
            assert context.get_current_revision() == SCHEMA_VERSION
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.downgrade(config, "base")
            connection.commit()
            left = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
            assert left.scalars().all() == ["alembic_version"]
        engine.dispose()


def test_a_server_that_says_nothing_is_given_up_and_used_again(postgres_server: str) -> None:
    for url in database(postgres_server, "console_silence"):
        base = Database(url.replace("postgresql://", "postgresql+psycopg://"), check_s=0.5, statement_s=2)
        with base.engine.connect() as used:
            folder = used.scalar(text("SELECT setting FROM pg_settings WHERE name = 'data_directory'"))
            server = psutil.Process(int(Path(folder, "postmaster.pid").read_text().splitlines()[0]))
            base.ping()
            whole = [server, *server.children(recursive=True)]
            try:
                for process in whole:
                    process.suspend()
                began = time.monotonic()
                with pytest.raises(OperationalError, match="said nothing for 2 s"):
                    used.execute(text("SELECT 1"))
                # The connection of before is checked, and a new one is opened.
                with pytest.raises(OperationalError):
                    base.ping()
                assert time.monotonic() - began < 30
            finally:
                for process in whole:
                    process.resume()
        base.ping()
        with base.engine.connect() as other:
            assert other.scalar(text("SELECT 2 FROM pg_sleep(1)")) == 2, "a statement has longer than a check"
        base.close()


@pytest.mark.parametrize("kind", ["saved-queries", "charts", "dashboards"])
def test_what_is_not_shared_does_not_exist_for_others(people: dict[str, httpx.Client], kind: str) -> None:
    body = {"saved-queries": QUERY, "charts": CHART, "dashboards": {"title": "D"}}[kind]
    found = make(people["analyst"], kind, body)
    path = f"/api/v1/{kind}/{found['id']}"
    assert people["analyst"].get(path).json()["can_edit"] is True
    for name in ("admin", "steward", "outsider"):
        other = people[name]
        assert other.get(path).status_code == 404
        assert other.put(path, json=body, headers={"If-Match": '"1"'}).status_code == 404
        assert other.delete(path, headers={"If-Match": '"1"'}).status_code == 404
        assert found["id"] not in [item["id"] for item in other.get(f"/api/v1/{kind}").json()]
    assert people["analyst"].get(f"/api/v1/{kind}/{uuid4()}").status_code == 404
    assert people["analyst"].get(f"/api/v1/{kind}/1").status_code == 422


def test_another_kind_is_not_found_by_its_id(people: dict[str, httpx.Client]) -> None:
    found = make(people["analyst"], "saved-queries", QUERY)
    assert people["analyst"].get(f"/api/v1/charts/{found['id']}").status_code == 404


def test_without_a_governor_only_ones_own_groups_are_known(people: dict[str, httpx.Client]) -> None:
    owner = people["admin"]
    found = make(owner, "saved-queries", QUERY, shares=[{"group": "lab_admins", "access": "edit"}])
    path = f"/api/v1/saved-queries/{found['id']}"
    others = {**QUERY, "shares": [{"group": "analysts"}]}
    answer = owner.put(path, json=others, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.json()["permitted"]) == (422, "lab_admins")
    assert owner.get(path).json()["version"] == 1


def test_two_editors_do_not_overwrite_each_other(people: dict[str, httpx.Client], world: World) -> None:
    world.keycloak.people["engineer"] = {"data_engineers", "analysts"}
    try:
        engineer, analyst = world.as_user("engineer"), people["analyst"]
        share = [{"group": "analysts", "access": "edit"}]
        found = make(engineer, "saved-queries", QUERY, shares=share)
        path = f"/api/v1/saved-queries/{found['id']}"
        assert analyst.get(path).json()["can_edit"] is True
        assert analyst.put(path, json=QUERY).status_code == 428
        changed = analyst.put(path, json={**QUERY, "title": "Mine"}, headers={"If-Match": '"1"'})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        assert (changed.json()["updated_by"], changed.json()["owner"]) == ("analyst", "engineer")
        stale = engineer.put(path, json={**QUERY, "title": "Yours"}, headers={"If-Match": '"1"'})
        assert stale.status_code == 412
        assert "'analyst' changed this saved query" in stale.json()["title"]
        for wrong in ('"x"', "*", "2", ""):
            assert engineer.put(path, json=QUERY, headers={"If-Match": wrong}).status_code == 412
        kept = engineer.get(path).json()
        assert (kept["title"], kept["shares"]) == ("Mine", share), "an editor's change leaves shares alone"
        assert analyst.delete(path, headers={"If-Match": '"2"'}).status_code == 403
        only_read = [{"group": "analysts", "access": "read"}]
        engineer.put(path, json={**QUERY, "shares": only_read}, headers={"If-Match": '"2"'})
        assert analyst.get(path).json()["can_edit"] is False
        assert analyst.put(path, json=QUERY, headers={"If-Match": '"3"'}).status_code == 403
        assert engineer.delete(path, headers={"If-Match": '"3"'}).status_code == 204
        assert analyst.get(path).status_code == 404
        engineer.close()
    finally:
        world.keycloak.people["engineer"] = {"data_engineers"}


def test_one_of_many_editors_at_once_wins(people: dict[str, httpx.Client]) -> None:
    found = make(people["analyst"], "saved-queries", QUERY)
    path = f"/api/v1/saved-queries/{found['id']}"

    def change(number: int) -> int:
        body = {**QUERY, "title": f"T{number}"}
        return people["analyst"].put(path, json=body, headers={"If-Match": '"1"'}).status_code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(change, range(8)))
    assert sorted(answers) == [200, *([412] * 7)]


def test_search_takes_text_as_it_is(people: dict[str, httpx.Client]) -> None:
    make(people["analyst"], "saved-queries", QUERY, title="100% of <script>alert(1)</script>")
    http = people["analyst"]
    assert len(http.get("/api/v1/saved-queries", params={"text": "100%"}).json()) == 1
    assert http.get("/api/v1/saved-queries", params={"text": "1_0%"}).json() == []
    (found,) = http.get("/api/v1/saved-queries", params={"text": "<SCRIPT>"}).json()
    assert found["title"] == "100% of <script>alert(1)</script>"


@pytest.mark.parametrize(
    "change",
    [
        {"title": ""},
        {"title": " "},
        {"statement": ""},
        {"unknown": 1},
        {"parameters": [{"name": "not a name"}]},
        {"shares": [{"group": "analysts", "access": "own"}]},
        {"title": "x" * 201},
        {"title": "a\0b"},
        {"description": "a\0b"},
    ],
)
def test_bad_bodies_change_nothing(people: dict[str, httpx.Client], change: dict[str, Any]) -> None:
    before = len(people["analyst"].get("/api/v1/saved-queries").json())
    answer = people["analyst"].post("/api/v1/saved-queries", json={**QUERY, **change})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(people["analyst"].get("/api/v1/saved-queries").json()) == before


def test_chart_runs_as_its_viewer_with_their_values(people: dict[str, httpx.Client], world: World) -> None:
    world.trino.on("FROM t", Answer({"region": "varchar", "n": "bigint"}, [[["EMEA", 1]]]))
    world.keycloak.people["engineer"] = {"analysts"}
    try:
        engineer = world.as_user("engineer")
        chart = make(engineer, "charts", CHART, shares=[{"group": "analysts"}])
        engineer.close()
    finally:
        world.keycloak.people["engineer"] = {"data_engineers"}
    path = f"/api/v1/charts/{chart['id']}/data"
    started = people["analyst"].post(path, json={})
    assert started.status_code == 202
    assert started.json()["origin"] == "chart"
    given = {"parameters": [{"name": "since", "type": "date", "value": "2026-05-05"}]}
    assert people["analyst"].post(path, json=given).status_code == 202
    unknown = {"parameters": [{"name": "until", "type": "date", "value": "2026-05-05"}]}
    assert people["analyst"].post(path, json=unknown).status_code == 422
    assert people["steward"].post(path, json={}).status_code == 404
    console_world.wait_for(lambda: len(world.trino.asked) == 2)
    assert {asked.user for asked in world.trino.asked} == {"analyst"}
    assert sorted(asked.statement[-18:] for asked in world.trino.asked) == [
        " DATE '2026-01-01'",
        " DATE '2026-05-05'",
    ]


def test_dashboard_shows_its_charts_to_whom_it_is_shared_with(
    people: dict[str, httpx.Client], world: World
) -> None:
    world.trino.on("FROM t", Answer({"region": "varchar", "n": "bigint"}, [[["EMEA", 1]]]))
    world.trino.on("DISTINCT", Answer({"day": "date"}, [[["2026-01-01"], [None], [["x"]]]]))
    world.keycloak.people["engineer"] = {"analysts"}
    try:
        owner = world.as_user("engineer")
        chart = make(owner, "charts", CHART)
        tile = {"id": "t1", "kind": "chart", "chart_id": chart["id"], "x": 0, "y": 0, "width": 6, "height": 4}
        note = {"id": "t2", "kind": "text", "text": "# <img src=x onerror=alert(1)>", "x": 6, "y": 0}
        since = {"parameter": "since", "type": "date", "options_statement": "SELECT DISTINCT day FROM x"}
        body: dict[str, Any] = {
            "title": "Board",
            "tiles": [tile, {**note, "width": 6, "height": 4}],
            "filters": [since, {"parameter": "other", "default": "a", "options": ["a", "b"]}],
            "shares": [{"group": "analysts", "access": "edit"}],
        }
        board = make(owner, "dashboards", body)
        path = f"/api/v1/dashboards/{board['id']}"
        viewer = people["analyst"]
        assert viewer.get(f"/api/v1/charts/{chart['id']}").status_code == 404
        seen = viewer.get(path).json()
        assert [c["id"] for c in seen["charts"]] == [chart["id"]]
        values = [{"name": "since", "type": "date", "value": "2026-03-03"}]
        assert viewer.post(f"{path}/tiles/t1/data", json={"filters": values}).status_code == 202
        assert viewer.post(f"{path}/tiles/t2/data", json={}).status_code == 404
        assert viewer.post(f"{path}/tiles/t1/data", json={"filters": [{"name": "zzz"}]}).status_code == 422
        assert people["steward"].post(f"{path}/tiles/t1/data", json={}).status_code == 404
        console_world.wait_for(lambda: bool(world.trino.of("2026-03-03")))
        assert world.trino.of("2026-03-03")[0].user == "analyst"
        options = viewer.get(f"{path}/filters/since/options").json()
        assert options == {"options": ["2026-01-01", None, '["x"]'], "truncated": False}
        assert viewer.get(f"{path}/filters/other/options").json()["options"] == ["a", "b"]
        assert viewer.get(f"{path}/filters/none/options").status_code == 404
        # An editor may keep a chart they can't read by itself, and may not bring one in.
        kept = viewer.put(path, json={**body, "title": "Ours"}, headers={"If-Match": '"1"'})
        assert kept.status_code == 200, kept.text
        private = make(owner, "charts", CHART)
        more = {**body, "tiles": [{**tile, "chart_id": private["id"]}]}
        assert viewer.put(path, json=more, headers={"If-Match": '"2"'}).status_code == 422
        assert owner.delete(f"/api/v1/charts/{chart['id']}", headers={"If-Match": '"1"'}).status_code == 204
        assert viewer.get(path).json()["charts"] == [], "a tile whose chart is gone stays"
        (summary,) = [d for d in viewer.get("/api/v1/dashboards").json() if d["id"] == board["id"]]
        assert summary["tile_count"] == 2
        owner.close()
    finally:
        world.keycloak.people["engineer"] = {"data_engineers"}


@pytest.mark.parametrize(
    "change",
    [
        {"tiles": [{"id": "a", "kind": "chart", "x": 0, "y": 0, "width": 1, "height": 1}]},
        {"tiles": [{"id": "a", "kind": "text", "text": "t", "x": 6, "y": 0, "width": 7, "height": 1}]},
        {"tiles": [{"id": "a", "kind": "text", "x": 0, "y": 0, "width": 1, "height": 1}] * 2},
        {"filters": [{"parameter": "a"}, {"parameter": "a"}]},
        {
            "tiles": [
                {
                    "id": "a",
                    "kind": "chart",
                    "chart_id": str(uuid4()),
                    "x": 0,
                    "y": 0,
                    "width": 1,
                    "height": 1,
                }
            ]
        },
    ],
)
def test_dashboards_that_are_not_whole_are_refused(
    people: dict[str, httpx.Client], change: dict[str, Any]
) -> None:
    answer = people["analyst"].post("/api/v1/dashboards", json={"title": "D", **change})
    assert answer.status_code == 422, answer.text
