"""Workspaces in the console: made by the governor, files through the spool, connections, data sets."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg
import pytest

from control_plane.api.problems import AbsentServiceError
from control_plane.api.spaces import ingests
from control_plane.api.spaces.workers import CanceledError
from tests.unit import console_world
from tests.unit.console_trino import Answer
from tests.unit.console_world import GovernedWorld, wait_for

pytestmark = pytest.mark.engine
postgres_server = console_world.postgres_server
governed = console_world.governed

CSV = b"Id,Name,Signed up\n1,Ada,2026-01-31\n2,<script>alert(1)</script>,2026-02-01\n"
COLUMN = [["marketing", "leads", "id", "bigint", "YES", None]]


@pytest.fixture
def people(governed: GovernedWorld) -> Iterator[dict[str, httpx.Client]]:
    """A client for each person."""
    governed.trino.rules.clear()
    clients = {name: governed.as_user(name) for name in governed.keycloak.people}
    for client in clients.values():
        # A preview starts a process, which takes its time on a busy machine.
        client.timeout = httpx.Timeout(120)
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def workspace(people: dict[str, httpx.Client]) -> Iterator[dict[str, Any]]:
    """A workspace of the engineer's."""
    made = people["engineer"].post("/api/v1/workspaces", json={"name": "marketing", "description": "<b>x"})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    yield found
    people["admin"].post(f"/api/v1/workspaces/{found['id']}/removal", json={"tables": True})


def upload(
    client: httpx.Client, workspace: dict[str, Any], content: bytes = CSV, name: str = "leads.csv"
) -> dict[str, Any]:
    """A file in the spool."""
    path = f"/api/v1/workspaces/{workspace['id']}/uploads"
    answer = client.post(path, params={"filename": name}, content=content)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_workspace_is_made_shown_and_removed(
    governed: GovernedWorld, people: dict[str, httpx.Client], workspace: dict[str, Any]
) -> None:
    engineer, admin = people["engineer"], people["admin"]
    assert (workspace["state"], workspace["role"]) == ("ready", "owner")
    assert [one["step"] for one in workspace["steps"]] == ["group", "members", "namespace", "access"]
    path = f"/api/v1/workspaces/{workspace['id']}"
    (listed,) = engineer.get("/api/v1/workspaces").json()
    assert listed == engineer.get(path).json()
    assert engineer.patch(path, json={"quota": {"queries": 100}}).status_code == 403
    changed = admin.patch(path, json={"quota": {"queries": 1, "jobs": 1, "storage_mib": 5}}).json()
    assert changed["quota"] == {"queries": 1, "jobs": 1, "storage_mib": 5}
    members = engineer.put(f"{path}/members/auditor", json={"owner": False}).json()
    assert members == [{"username": "auditor", "owner": False}, {"username": "engineer", "owner": True}]
    wrong = engineer.put(f"{path}/members/auditr", json={})
    assert (wrong.status_code, "did you mean 'auditor'" in wrong.json()["title"]) == (422, True)
    plan = engineer.post(f"{path}/removal", json={"only_try": True}).json()
    assert plan["access"] == ["grants: marketing.* to workspace_marketing"]
    assert plan["done"] is False
    upload(engineer, workspace)
    assert engineer.post(f"{path}/removal", json={}).json()["done"] is True
    assert engineer.get(path).status_code == 404
    assert list(governed.settings.upload_dir.iterdir()) == []


def test_nobody_else_gets_in_by_guessed_ids(
    people: dict[str, httpx.Client], workspace: dict[str, Any]
) -> None:
    kept = upload(people["engineer"], workspace)
    path = f"/api/v1/workspaces/{workspace['id']}"
    other = people["admin"].post("/api/v1/workspaces", json={"name": "finance", "owners": ["analyst"]}).json()
    foreign = f"/api/v1/workspaces/{other['id']}"
    try:
        for client, base in (
            (people["analyst"], path),
            (people["analyst"], foreign),
            (people["outsider"], path),
        ):
            for tail in (f"/uploads/{kept['id']}", f"/ingests/{uuid4()}", f"/connections/{uuid4()}"):
                answer = client.get(base + tail)
                # In no group at all one is told so by the governor.
                assert answer.status_code == (403 if client is people["outsider"] else 404), answer.text
        body = {"upload_id": kept["id"], "table": "leads"}
        assert people["analyst"].post(f"{foreign}/ingests", json=body).status_code == 404
        assert people["analyst"].post(f"{path}/ingests", json=body).status_code == 404
        assert (
            people["analyst"].post(f"{path}/uploads", params={"filename": "a.csv"}, content=b"a").status_code
            == 404
        )
        # Who may know of it, but does not work in it.
        refused = people["auditor"].get(f"{path}/uploads")
        assert (refused.status_code, refused.json()["permitted"]) == (403, "its members")
        assert people["analyst"].get("/api/v1/workspaces").json()[0]["name"] == "finance"
        assert people["outsider"].get("/api/v1/workspaces").json() == []
    finally:
        people["admin"].post(f"{foreign}/removal", json={})


def test_a_file_is_looked_into(people: dict[str, httpx.Client], workspace: dict[str, Any]) -> None:
    engineer, path = people["engineer"], f"/api/v1/workspaces/{workspace['id']}"
    kept = upload(engineer, workspace, gzip.compress(CSV), "leads.csv.gz")
    assert (kept["state"], kept["created_by"], kept["connection_id"]) == ("ready", "engineer", None)
    looked = engineer.post(f"{path}/ingests/preview", json={"upload_id": kept["id"]})
    assert looked.status_code == 200, looked.text
    found = looked.json()
    assert found["format"] == "csv"
    assert [(c["name"], c["source"], c["type"]) for c in found["columns"]] == [
        ("id", "Id", "long"),
        ("name", "Name", "string"),
        ("signed_up", "Signed up", "date"),
    ]
    assert found["rows"][1] == ["2", "<script>alert(1)</script>", "2026-02-01"]
    options = {"types": {"idd": "string"}}
    wrong = engineer.post(f"{path}/ingests/preview", json={"upload_id": kept["id"], "options": options})
    assert (wrong.status_code, "did you mean 'id'" in wrong.json()["title"]) == (422, True)
    unknown = upload(engineer, workspace, b"\x00\x01", "x.bin")
    refused = engineer.post(f"{path}/ingests/preview", json={"upload_id": unknown["id"]})
    assert refused.status_code == 422
    assert refused.json()["title"].startswith("x.bin is of no known format"), refused.text
    assert engineer.delete(f"{path}/uploads/{kept['id']}").status_code == 204
    assert [one["id"] for one in engineer.get(f"{path}/uploads").json()] == [unknown["id"]]


def test_uploads_are_bounded_and_leave_nothing(
    governed: GovernedWorld,
    people: dict[str, httpx.Client],
    workspace: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engineer, path = people["engineer"], f"/api/v1/workspaces/{workspace['id']}/uploads"
    spool = governed.console.ingests.spool
    monkeypatch.setattr(spool, "file_bytes", 3 << 20)
    monkeypatch.setattr(spool, "_all_bytes", 5 << 20)

    def blocks(mib: int) -> Iterator[bytes]:
        for _ in range(mib):
            yield b"x" * (1 << 20)

    named = {"filename": "big.csv"}
    told = engineer.post(path, params=named, content=b"x" * (4 << 20))
    streamed = engineer.post(path, params=named, content=blocks(4))
    for answer in (told, streamed):
        assert answer.status_code == 413
        assert answer.json()["title"] == "the file is too large"
        assert "3 MiB" in answer.json()["permitted"]
    assert engineer.get(path).json() == []
    assert list(governed.settings.upload_dir.iterdir()) == []
    upload(engineer, workspace, b"x" * (3 << 20), "one.csv")
    full = engineer.post(path, params=named, content=blocks(3))
    assert (full.status_code, full.json()["permitted"]) == (507, "5 MiB of all uploads together")
    assert len(list(governed.settings.upload_dir.iterdir())) == 1
    over = engineer.post("/api/v1/saved-queries", content=b"x" * (9 << 20))
    assert over.status_code == 413
    bad = engineer.post(path, params={"filename": "../../etc/passwd"}, content=b"x")
    assert bad.status_code == 422


def test_two_gigabytes_pass_through_little_memory(
    governed: GovernedWorld, people: dict[str, httpx.Client], workspace: dict[str, Any]
) -> None:
    """The largest file that is taken, to its last byte."""
    engineer, path = people["engineer"], f"/api/v1/workspaces/{workspace['id']}/uploads"
    largest = governed.console.ingests.spool.file_bytes
    assert largest == 2 << 30
    block, most = bytes(4 << 20), 0

    def blocks() -> Iterator[bytes]:
        nonlocal most
        for _ in range(largest // len(block)):
            most = max(most, psutil.Process().memory_info().rss)
            yield block

    named = {"filename": "two.csv"}
    before = psutil.Process().memory_info().rss
    kept = engineer.post(path, params=named, content=blocks())
    assert (kept.status_code, kept.json()["size_bytes"]) == (201, largest), kept.text
    assert most - before < 200 << 20
    assert engineer.delete(f"{path}/{kept.json()['id']}").status_code == 204
    assert list(governed.settings.upload_dir.iterdir()) == []


def test_an_ingest_is_the_askers_own(
    governed: GovernedWorld,
    people: dict[str, httpx.Client],
    workspace: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engineer, path = people["engineer"], f"/api/v1/workspaces/{workspace['id']}/ingests"
    kept = upload(engineer, workspace)
    asked: list[dict[str, Any]] = []
    outcome: list[Any] = []

    async def work(request: dict[str, Any], *, token: Any, progress: Any) -> dict[str, Any]:
        asked.append({**request, "token": await token()})
        progress({"rows": 2, "bytes_read": 50, "bytes_total": 100})
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        found: dict[str, Any] = outcome[0]
        return found

    monkeypatch.setattr(ingests, "work", work)
    place = ingests.CatalogPlace(uri="http://catalog.test/iceberg", warehouse="lake")
    monkeypatch.setattr(governed.console.ingests, "_catalog", place)
    result = {"rows": 2, "snapshot_id": "7", "files": 1, "size_bytes": 9, "renamed": {}, "widened": []}

    def run(said: Any, **more: Any) -> dict[str, Any]:
        outcome[:] = [said]
        begun = engineer.post(path, json={"upload_id": kept["id"], "table": "leads", **more})
        assert begun.status_code == 202, begun.text
        wait_for(lambda: engineer.get(f"{path}/{begun.json()['id']}").json()["state"] != "running")
        found: dict[str, Any] = engineer.get(f"{path}/{begun.json()['id']}").json()
        return found

    done = run(result, mode="append", options={"types": {"id": "int"}})
    assert (done["state"], done["result"]["rows"], done["result"]["snapshot_id"]) == ("finished", 2, "7")
    assert (done["table"], done["owner"], done["source"]) == ("marketing.leads", "engineer", "leads.csv")
    request = asked[0]
    assert request["table"] == "marketing.leads"
    assert request["options"]["types"] == {"id": "int"}
    assert request["options"]["format"] == "csv"
    assert governed.keycloak.exchanges[-1] == ("engineer", "catalog")
    failed = run(AbsentServiceError("no such thing", permitted="another"))
    assert (failed["state"], failed["error"]["title"]) == ("failed", "no such thing")
    assert run(CanceledError("stopped"))["state"] == "canceled"
    assert run(ValueError("a defect"))["error"]["title"] == "ValueError"
    assert [one["state"] for one in engineer.get(path).json()] == ["failed", "canceled", "failed", "finished"]
    for table in ("Leads", "a.b", "x;y", ""):
        assert engineer.post(path, json={"upload_id": kept["id"], "table": table}).status_code == 422


def test_ingests_are_bounded_by_the_quota_and_queries_say_whose_they_are(
    governed: GovernedWorld,
    people: dict[str, httpx.Client],
    workspace: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import asyncio

    engineer, path = people["engineer"], f"/api/v1/workspaces/{workspace['id']}"
    people["admin"].patch(path, json={"quota": {"queries": 1, "jobs": 1, "storage_mib": 5}})
    kept = upload(engineer, workspace)
    place = ingests.CatalogPlace(uri="http://catalog.test/iceberg", warehouse="lake")
    monkeypatch.setattr(governed.console.ingests, "_catalog", place)

    async def forever(*_: Any, **__: Any) -> dict[str, Any]:
        await asyncio.sleep(3600)
        return {}

    monkeypatch.setattr(ingests, "work", forever)
    body = {"upload_id": kept["id"], "table": "leads"}
    first = engineer.post(f"{path}/ingests", json=body).json()
    busy = engineer.post(f"{path}/ingests", json=body)
    assert (busy.status_code, busy.json()["permitted"]) == (429, "1")
    ended = engineer.delete(f"{path}/ingests/{first['id']}").json()
    assert ended["state"] == "canceled"
    for namespace in ("Marketing", "a,workspace:retail"):
        query = {"statement": "SELECT 1", "catalog": "lake", "namespace": namespace}
        engineer.post("/api/v1/queries", json=query).raise_for_status()
    wait_for(lambda: len(governed.trino.asked) >= 2)
    tags = [one.headers["x-trino-client-tags"] for one in governed.trino.asked[-2:]]
    assert sorted(tags) == ["console-api", "console-api,workspace:marketing"]


def test_the_worker_says_why_a_catalog_does_not_answer(
    governed: GovernedWorld,
    people: dict[str, httpx.Client],
    workspace: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engineer, path = people["engineer"], f"/api/v1/workspaces/{workspace['id']}/ingests"
    place = ingests.CatalogPlace(uri="http://127.0.0.1:9/iceberg", warehouse="lake")
    monkeypatch.setattr(governed.console.ingests, "_catalog", place)
    kept = upload(engineer, workspace)
    begun = engineer.post(path, json={"upload_id": kept["id"], "table": "leads"}).json()
    wait_for(lambda: engineer.get(f"{path}/{begun['id']}").json()["state"] != "running", 60)
    found = engineer.get(f"{path}/{begun['id']}").json()
    assert found["state"] == "failed"
    assert found["error"]["title"].startswith("the catalog can't be opened")
    assert "Bearer" not in json.dumps(found)


def postgres_config(server: str) -> dict[str, Any]:
    place = urlsplit(server)
    return {
        "kind": "postgresql",
        "host": place.hostname,
        "port": place.port,
        "database": "postgres",
        "user": "postgres",
        "tls": False,
    }


def test_connections_are_tried_and_their_secrets_kept(
    governed: GovernedWorld,
    people: dict[str, httpx.Client],
    workspace: dict[str, Any],
    postgres_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engineer, path = people["engineer"], f"/api/v1/workspaces/{workspace['id']}/connections"
    config = postgres_config(postgres_server)
    body = {"name": "crm", "config": config, "secret": "hunter2-secret"}
    refused = engineer.post(path, json=body)
    assert refused.status_code == 422
    assert "it is this machine" in refused.json()["title"]
    place = f"{config['host']}:{config['port']}"
    from control_plane.api.spaces.destinations import Destinations

    monkeypatch.setattr(governed.console.ingests.sources, "_destinations", Destinations([place]))
    made = engineer.post(path, json=body)
    assert made.status_code == 201, made.text
    connection = made.json()
    assert connection["has_secret"] is True
    own = f"{path}/{connection['id']}"
    answers = [made.text, engineer.get(path).text, engineer.get(own).text]
    assert "hunter2" not in "".join(answers)
    with governed.console.database.engine.connect() as database:
        row = database.exec_driver_sql("SELECT secret, config::text FROM connection").one()
    assert b"hunter2" not in bytes(row[0])
    assert "hunter2" not in row[1]
    assert engineer.post(path, json=body).status_code == 409
    wrong = engineer.post(path, json={**body, "name": "other", "config": {**config, "database": "nope"}})
    assert (wrong.status_code, "nope" in wrong.json()["title"]) == (422, True)
    # A secret is not sent to another place than it was given for.
    moved = {"name": "crm", "config": {**config, "user": "somebody"}}
    stays = engineer.put(own, json=moved, headers={"If-Match": '"1"'})
    assert (stays.status_code, "anew" in stays.json()["title"]) == (422, True)
    renamed = engineer.put(own, json={"name": "crm 2", "config": config}, headers={"If-Match": '"1"'})
    assert (renamed.status_code, renamed.json()["has_secret"]) == (200, True)
    assert engineer.put(own, json=body, headers={"If-Match": '"1"'}).status_code == 412
    assert engineer.put(own, json=body).status_code == 428
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as database:
        database.execute("DROP TABLE IF EXISTS leads")
        database.execute(
            "CREATE TABLE leads (id bigint, ok boolean, price numeric(12,2), at timestamptz, note text)"
        )
        database.execute(
            "INSERT INTO leads VALUES (1, true, 9.50, '2026-01-31 12:00+01', ''), (2, NULL, NULL, NULL, NULL)"
        )
    objects = {one["name"] for one in engineer.get(f"{own}/objects").json()}
    assert "public.leads" in objects
    begun = engineer.post(f"{own}/fetches", json={"object": "public.leads"})
    assert (begun.status_code, begun.json()["connection_id"]) == (202, connection["id"])
    uploads = f"/api/v1/workspaces/{workspace['id']}/uploads/{begun.json()['id']}"
    wait_for(lambda: engineer.get(uploads).json()["state"] != "receiving")
    fetched = engineer.get(uploads).json()
    assert (fetched["state"], fetched["filename"]) == ("ready", "leads.csv"), fetched
    looked = engineer.post(
        f"/api/v1/workspaces/{workspace['id']}/ingests/preview", json={"upload_id": fetched["id"]}
    ).json()
    assert [c["type"] for c in looked["columns"]] == [
        "long",
        "boolean",
        "decimal(12, 2)",
        "timestamptz",
        "string",
    ]
    assert looked["rows"][0][:3] == ["1", "True", "9.50"]
    assert looked["rows"][0][3].startswith("2026-01-31 11:00:00")
    assert looked["rows"][0][4] == ""
    assert looked["rows"][1] == ["2", None, None, None, None]
    absent = engineer.post(f"{own}/fetches", json={"object": "public.laeds"}).json()
    uploads = f"/api/v1/workspaces/{workspace['id']}/uploads/{absent['id']}"
    wait_for(lambda: engineer.get(uploads).json()["state"] != "receiving")
    said = engineer.get(uploads).json()["error"]["title"]
    assert "did you mean 'public.leads'" in said
    assert engineer.delete(own, headers={"If-Match": '"2"'}).status_code == 204
    assert engineer.get(own).status_code == 404


def test_tables_are_registered_by_who_may_alter_them(
    governed: GovernedWorld, people: dict[str, httpx.Client], workspace: dict[str, Any]
) -> None:
    governed.console.catalogs.forget()
    governed.trino.on("information_schema.columns", Answer(dict.fromkeys("abcdef", "varchar"), [COLUMN]))
    governed.keycloak.people["engineer"].add("workspace_marketing")
    engineer = governed.as_user("engineer")
    path = "/api/v1/catalogs/lake/namespaces/marketing/tables/leads/dataset"
    body = {"owner": "engineer", "description": "<img src=x onerror=alert(1)>", "tags": ["crm", "leads"]}
    try:
        assert engineer.get(path).status_code == 404
        made = engineer.put(path, json=body)
        assert made.status_code == 200, made.text
        assert made.json()["tags"] == ["crm", "leads"]
        assert engineer.put(path, json=body, headers={"If-Match": '"9"'}).status_code == 412
        assert engineer.put(path, json={**body, "owner": "data_engineer"}).status_code == 422
        assert engineer.put(path, json={**body, "owner": "data_engineers"}).json()["version"] == 2
        assert people["analyst"].put(path, json={**body, "owner": "analyst"}).status_code == 403
        (listed,) = people["analyst"].get("/api/v1/datasets").json()
        assert listed["table"] == "marketing.leads"
        governed.console.catalogs.forget()
        governed.trino.on("information_schema.columns", Answer(dict.fromkeys("abcdef", "varchar"), []))
        assert people["analyst"].get("/api/v1/datasets").json() == []
        assert people["analyst"].get(path).status_code == 404
    finally:
        governed.keycloak.people["engineer"].discard("workspace_marketing")
        governed.console.datasets.delete("marketing.leads")
        engineer.close()


def test_what_was_left_behind_is_tidied(
    governed: GovernedWorld, people: dict[str, httpx.Client], workspace: dict[str, Any]
) -> None:
    kept = upload(people["engineer"], workspace)
    spool = governed.console.ingests.spool
    stray = spool.folder / f"{uuid4()}.file"
    stray.write_bytes(b"x")
    assert spool.open([UUID(kept["id"]), lost := uuid4()]) == [lost]
    assert not stray.exists()
    assert spool.path(UUID(kept["id"])).exists()
