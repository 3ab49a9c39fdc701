"""The console on a running lab: real sign-in, the real engine's answers by person, and what its restart
leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.live.conftest import LiveLab
from tests.live.console import Person, bearer, made_workspace

pytestmark = pytest.mark.live

CUSTOMER = "/api/v1/catalogs/lake/namespaces/retail/tables/customer"
SLOW = "SELECT count(*) FROM retail.lineitem a CROSS JOIN retail.lineitem b WHERE a.l_tax < b.l_discount"
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def console(lab: LiveLab) -> Iterator[LiveLab]:
    """The lab with its console, which leaves again."""
    lab.ok("up", "console")
    yield lab
    lab.ok("up", "--without", "console")


@pytest.fixture(scope="module")
def analyst(console: LiveLab) -> Iterator[Person]:
    with Person(console, "analyst_emea") as person:
        yield person


@pytest.fixture(scope="module")
def steward(console: LiveLab) -> Iterator[Person]:
    with Person(console, "steward") as person:
        yield person


def test_each_person_has_their_own_rows(console: LiveLab, analyst: Person) -> None:
    sql = "SELECT count(*) AS n FROM retail.customer"
    end, rows = analyst.run(sql)
    assert end["state"] == "finished"
    assert rows == [[console.value(sql, "analyst_emea")]]
    with bearer(console, "outsider") as outsider:
        begun = outsider.post("/api/v1/queries", json={"statement": sql, "catalog": "lake"}).json()
        for line in outsider.get(f"/api/v1/queries/{begun['id']}/events").text.splitlines():
            last = line
        assert '"denied":true' in last
        assert outsider.get("/api/v1/catalogs/lake/namespaces").json() == []


def test_error_has_trinos_position(analyst: Person) -> None:
    end, _ = analyst.run(
        "SELECT\n  nme FROM retail.customer WHERE c_mktsegment = :s AND 1 = 1",
        parameters=[{"name": "s", "type": "varchar", "value": "x"}],
    )
    assert (end["error"]["name"], end["error"]["line"], end["error"]["column"]) == ("COLUMN_NOT_FOUND", 2, 3)


def test_cancel_reaches_the_engine(console: LiveLab, analyst: Person) -> None:
    begun = analyst.post("/api/v1/queries", {"statement": SLOW, "catalog": "lake"}, 202)
    deadline = time.monotonic() + LIMIT_S
    while analyst.get(f"/api/v1/queries/{begun['id']}")["state"] != "running":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    ended = analyst.cancel(begun["id"])
    assert ended["state"] == "canceled"
    state = "SELECT state FROM system.runtime.queries WHERE query_id = '{}'"
    while console.value(state.format(ended["trino_query_id"]), "analyst_emea") != "FAILED":
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_table_page_tells_what_is_hidden_and_why(analyst: Person, steward: Person) -> None:
    detail = analyst.get(CUSTOMER)
    looks = {column["name"]: column["look"] for column in detail["columns"]}
    assert looks["c_phone"] == "masked"
    assert "c_address" not in looks
    assert detail["hidden_columns"] == 2
    assert "c_regionkey" in detail["row_filters"][0]
    phones = [row[3] for row in analyst.get(f"{CUSTOMER}/sample", limit=5)["rows"]]
    assert all(phone.startswith("***") for phone in phones)
    assert analyst.get(f"{CUSTOMER}/files")["denied"]
    nation = CUSTOMER.replace("customer", "nation")
    (snapshot, *_) = analyst.get(f"{nation}/snapshots")["snapshots"]
    assert snapshot["current"]
    assert analyst.get(f"{nation}/sample", snapshot_id=snapshot["id"])["rows"]
    diff = analyst.get(f"{nation}/diff", from_snapshot_id=snapshot["id"], to_snapshot_id=snapshot["id"])
    assert (diff["added_count"], diff["removed_count"]) == (0, 0)
    assert {r["group"] for r in steward.get(f"{CUSTOMER}/readers")["groups"]} >= {"analysts_emea", "auditors"}
    offered = analyst.get("/api/v1/sql/completion")
    assert {n["name"] for n in offered["namespaces"]} == {"retail", "hr", "web"}
    assert "approx_distinct" in offered["functions"]


def test_preview_counts_rows_before_anybody_sees_a_change(steward: Person) -> None:
    tag = {"object": "retail.nation.n_regionkey", "tag": "region.key"}
    preview = steward.post(
        "/api/v1/access/preview",
        {"add": {"tags": [tag]}, "users": ["analyst_emea"], "tables": ["retail.nation"]},
    )
    (impact,) = preview["impact"]["report"]["impacts"]
    assert (impact["rows"]["before"], impact["rows"]["after"]) == (25, 15)
    assert preview["impact"]["narrows"] is True
    assert steward.get("/api/v1/access/revisions")[0]["revision"] == preview["revision"]


def test_lineage_comes_from_the_audit(console: LiveLab) -> None:
    with Person(console, "engineer") as engineer:
        engineer.run("CREATE TABLE lake.raw.console_lineage AS SELECT * FROM lake.retail.region")
        try:
            deadline = time.monotonic() + LIMIT_S
            path = "/api/v1/catalogs/lake/namespaces/raw/tables/console_lineage/lineage"
            while not (found := engineer.get(path))["upstream"]:
                assert time.monotonic() < deadline, found
                time.sleep(1)
            assert found["upstream"][0]["source"] == "retail.region"
            assert found["written_by"][0]["user"] == "engineer"
        finally:
            engineer.run("DROP TABLE lake.raw.console_lineage")


def test_health_names_every_service(analyst: Person) -> None:
    found = {c["name"]: c["state"] for c in analyst.get("/api/v1/admin/health")["components"]}
    assert {found[name] for name in ("keycloak", "catalog", "opa", "governor", "trino")} == {"up"}


def test_signing_out_at_keycloak_ends_the_session_here(console: LiveLab) -> None:
    with Person(console, "auditor") as person, Person(console, "auditor") as elsewhere:
        url = person.post("/auth/logout", {})["url"]
        assert person.get("/api/v1/me", 401)["title"]
        left = person.http.get(url)
        assert urlsplit(str(left.url))._replace(query="").geturl() == f"{person.url}/"
        assert elsewhere.get("/api/v1/me")["username"] == "auditor", "another sign-in of theirs"

        # Keycloak's own page, in the other browser: the console hears of it from Keycloak.
        again = Person(console, "auditor")
        account = again.browser.page.url
        assert account.path == "/explore"
        issuer = urlsplit(url)
        again.http.get(f"{issuer.scheme}://{issuer.netloc}{issuer.path}")
        again.browser.page = again.http.get(f"{issuer.scheme}://{issuer.netloc}{issuer.path}")
        again.browser.submit(confirmLogout="Logout")
        deadline = time.monotonic() + LIMIT_S
        while again.http.get(f"{again.url}/api/v1/me").status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        again.http.close()


def test_restart_keeps_sessions_and_notes_what_was_lost(console: LiveLab, analyst: Person) -> None:
    begun = analyst.post("/api/v1/queries", {"statement": SLOW, "catalog": "lake"}, 202)
    pid = console.service("control-plane")["pid"]
    console.shell(f"kill -9 {pid}")
    deadline = time.monotonic() + LIMIT_S
    found: dict[str, Any] = {}
    while found.get("state") != "lost":
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
        try:
            answer = analyst.http.get(f"{analyst.url}/api/v1/queries/{begun['id']}")
            found = answer.json() if answer.status_code == 200 else {}
        except httpx.TransportError:
            continue
    assert analyst.get("/api/v1/me")["username"] == "analyst_emea"
    assert analyst.get(f"/api/v1/queries/{begun['id']}/rows", 410)["next_command"] == "run it again"


def test_a_workspace_takes_a_file_that_its_members_alone_read(console: LiveLab) -> None:
    """Made by the governor, filled as the asking user, read by members, and gone with all that it had."""
    with Person(console, "engineer") as engineer, Person(console, "analyst_emea") as other:
        path = f"/api/v1/workspaces/{made_workspace(engineer, 'live_leads')['id']}"
        try:
            sent = {"X-CSRF-Token": engineer.csrf, "Origin": engineer.url}
            uploaded = engineer.http.post(
                f"{engineer.url}{path}/uploads?filename=leads.csv",
                content=b"Id,Name,Since\n1,Ada,2026-01-31\n2,Bob,2026-02-01\n",
                headers=sent,
            )
            assert uploaded.status_code == 201, uploaded.text
            upload_id = uploaded.json()["id"]
            seen = engineer.post(f"{path}/ingests/preview", {"upload_id": upload_id})
            assert [c["type"] for c in seen["columns"]] == ["long", "string", "date"]
            for mode, rows in (("create", 2), ("append", 4), ("replace", 2)):
                ended = _ingested(engineer, path, upload_id, mode)
                assert ended["state"] == "finished", ended
                assert ended["result"]["rows"] == 2
                end, found = engineer.run("SELECT count(*) FROM lake.live_leads.leads")
                assert (end["state"], found) == ("finished", [[rows]]), end
            again = _ingested(engineer, path, upload_id, "create")
            assert (again["state"], "exists" in again["error"]["title"]) == ("failed", True), again
            # Nobody else reads it or learns that it is there, until they are members.
            end, _ = other.run("SELECT * FROM lake.live_leads.leads")
            assert end["state"] == "failed"
            assert other.get(path, 404)["title"]
            put = engineer.http.put(
                f"{engineer.url}{path}/members/analyst_emea", json={"owner": False}, headers=sent
            )
            assert put.status_code == 200, put.text
            with Person(console, "analyst_emea") as member:
                end, found = member.run("SELECT name FROM lake.live_leads.leads ORDER BY id")
                assert found == [["Ada"], ["Bob"]], end
                assert member.get(path)["role"] == "member"
            # The lab's own services are no place for a connection.
            own = urlsplit(engineer.url)
            config = {"kind": "http", "url": f"http://{own.netloc}/health"}
            refused = engineer.post(f"{path}/connections", {"name": "own", "config": config}, 422)
            assert "does not connect" in refused["title"]
            kept = engineer.post(f"{path}/removal", {}, 409)
            assert "leads" in kept["title"]
        finally:
            gone = engineer.post(f"{path}/removal", {"tables": True})
        assert gone["done"] is True
        assert gone["tables"] == ["leads"]
        assert engineer.get(path, 404)["title"]
        end, _ = engineer.run("SELECT * FROM lake.live_leads.leads")
        assert end["state"] == "failed"


def _ingested(person: Person, path: str, upload_id: str, mode: str) -> dict[str, Any]:
    body = {"upload_id": upload_id, "table": "leads", "mode": mode}
    begun: dict[str, Any] = person.post(f"{path}/ingests", body, 202)
    deadline = time.monotonic() + LIMIT_S
    while begun["state"] == "running":
        assert time.monotonic() < deadline, begun
        time.sleep(0.5)
        begun = person.get(f"{path}/ingests/{begun['id']}")
    return begun
