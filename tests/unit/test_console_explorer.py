"""The explorer and the governance pages over HTTP, before a real governor and an engine that is told what
to answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.unit import console_world
from tests.unit.console_trino import DENIED, Answer, user_error
from tests.unit.console_world import GovernedWorld

postgres_server = console_world.postgres_server
governed = console_world.governed

LISTED = {"table_name": "varchar", "table_type": "varchar"}
COLUMNS = dict.fromkeys(("s", "t", "c", "d", "n", "m"), "varchar")
RETAIL = "/api/v1/catalogs/lake/namespaces/retail/tables"
SNAPSHOT = {
    "a": "bigint",
    "b": "bigint",
    "c": "t",
    "d": "varchar",
    "e": "map(varchar, varchar)",
    "f": "boolean",
}
AT = "2026-01-31 17:00:00.123 UTC"


@pytest.fixture
def people(governed: GovernedWorld) -> Iterator[dict[str, httpx.Client]]:
    """A client for each person, before a lake with one namespace."""
    trino = governed.trino
    trino.rules.clear()
    trino.asked.clear()
    governed.console.catalogs.forget()
    trino.on("SHOW CATALOGS", Answer({"Catalog": "varchar"}, [[["system"], ["lake"]]]))
    trino.on("SHOW SCHEMAS", Answer({"Schema": "varchar"}, [[["retail"], ["information_schema"]]]))
    trino.on("SHOW FUNCTIONS", Answer({"Function": "varchar"}, [[["abs"], ["abs"], ["sum"]]]))
    tables = [["customer", "BASE TABLE"], ["orders", "BASE TABLE"]]
    trino.on("information_schema.tables", Answer(LISTED, [tables]))
    trino.on("table_comments", Answer({"a": "varchar", "b": "varchar"}, [[["customer", "Who buys"]]]))
    rows: list[list[Any]] = [
        ["retail", "customer", "id", "bigint", "NO", "key"],
        ["retail", "customer", "email", "varchar", "YES", None],
        ["retail", "orders", "id", "bigint", "NO", None],
    ]
    trino.on("information_schema.columns", Answer(COLUMNS, [rows]))
    trino.on("table_schema = 'retail' AND table_name = 'customer'", Answer(COLUMNS, [rows[:2]]))
    trino.on("table_name = 'nothing'", Answer(COLUMNS, []))
    trino.on("SHOW CREATE", Answer({"Create Table": "varchar"}, [[["CREATE TABLE lake.retail.customer"]]]))
    summary = {"total-records": "150", "total-files-size": "4096"}
    found = [[9007199254740993, None, AT, "append", summary, True]]
    trino.on(r"\$snapshots", Answer(SNAPSHOT, [found]))
    clients = {name: governed.as_user(name) for name in governed.keycloak.people}
    yield clients
    for client in clients.values():
        client.close()


def test_lists_are_the_callers_and_are_asked_for_once_a_moment(
    governed: GovernedWorld, people: dict[str, httpx.Client]
) -> None:
    analyst = people["analyst"]
    assert analyst.get("/api/v1/catalogs").json() == [
        {"name": "lake", "governed": True},
        {"name": "system", "governed": False},
    ]
    assert [n["name"] for n in analyst.get("/api/v1/catalogs/lake/namespaces").json()] == ["retail"]
    for _ in range(3):
        customer, orders = analyst.get(RETAIL).json()
    assert (customer["comment"], orders["comment"]) == ("Who buys", None)
    assert len(governed.trino.of("information_schema.tables")) == 1
    people["auditor"].get(RETAIL)
    assert [asked.user for asked in governed.trino.of("information_schema.tables")] == ["analyst", "auditor"]


def test_table_says_what_is_done_to_it_for_the_caller(people: dict[str, httpx.Client]) -> None:
    detail = people["analyst"].get(f"{RETAIL}/customer").json()
    email = detail["columns"][1]
    assert (email["look"], email["mask"], email["rules"], email["tags"]) == (
        "masked",
        "email_domain",
        ["email"],
        ["pii.email"],
    )
    assert (detail["privileges"], detail["row_count"], detail["size_bytes"]) == (["select"], 150, 4096)
    assert detail["current_snapshot_id"] == "9007199254740993"
    assert detail["definition"] == "CREATE TABLE lake.retail.customer"
    plain = people["engineer"].get(f"{RETAIL}/customer").json()
    assert plain["columns"][1]["look"] == "plain"
    assert "drop" in plain["privileges"]


def test_what_may_not_be_seen_is_not_there(governed: GovernedWorld, people: dict[str, httpx.Client]) -> None:
    for path in ("", "/sample", "/snapshots", "/partitions", "/files", "/lineage"):
        assert people["analyst"].get(f"{RETAIL}/nothing{path}").status_code == 404, path
    absent = Answer(error=user_error("CATALOG_NOT_FOUND", "Catalog 'nope' not found"))
    governed.trino.on('SHOW SCHEMAS FROM "nope"', absent)
    assert people["analyst"].get("/api/v1/catalogs/nope/namespaces").status_code == 404
    governed.trino.on('SHOW SCHEMAS FROM "secret"', Answer(error=DENIED))
    assert people["analyst"].get("/api/v1/catalogs/secret/namespaces").status_code == 404


def test_names_are_quoted(governed: GovernedWorld, people: dict[str, httpx.Client]) -> None:
    path = "/api/v1/catalogs/lake/namespaces/a'b/tables/c\"d"
    people["analyst"].get(path)
    asked = governed.trino.of("information_schema.columns")[-1].statement
    assert "table_schema = 'a''b' AND table_name = 'c\"d'" in asked
    governed.trino.on("SELECT \\* FROM", Answer({"x": "bigint"}, [[[2**60], [2], [3]]]))
    governed.trino.on("table_name = 'x\"y'", Answer(COLUMNS, [[["retail", "x", "id", "t", "NO", None]]]))
    sample = people["analyst"].get(f'{RETAIL}/x"y/sample', params={"limit": 2}).json()
    assert (sample["rows"], sample["truncated"]) == ([[str(2**60)], [2]], True)
    assert '"lake"."retail"."x""y" LIMIT 3' in governed.trino.asked[-1].statement


def test_metadata_that_is_denied_says_so(governed: GovernedWorld, people: dict[str, httpx.Client]) -> None:
    governed.trino.on(r"\$files|\$partitions", Answer(error=DENIED))
    governed.trino.on(r"\$snapshots", Answer(error=DENIED), user="analyst")
    for what in ("files", "partitions"):
        told = people["analyst"].get(f"{RETAIL}/customer/{what}").json()
        assert (told["rows"], "keep some of this table" in told["denied"]) == ([], True)
    snapshots = people["analyst"].get(f"{RETAIL}/customer/snapshots").json()
    assert snapshots["denied"]
    (snapshot,) = people["auditor"].get(f"{RETAIL}/customer/snapshots").json()["snapshots"]
    assert snapshot["committed_at"] == "2026-01-31T17:00:00.123000Z"
    assert snapshot["current"] is True


def test_partitions_are_those_of_the_table(governed: GovernedWorld, people: dict[str, httpx.Client]) -> None:
    types = {"partition": "row(region_identity varchar, at_month integer)", "record_count": "bigint"}
    rows = [[["EMEA", 672], 2**60], [["AMER", None], 120], [["APAC", 671], 7]]
    governed.trino.on(r"\$partitions", Answer(types, [rows]))
    found = people["engineer"].get(f"{RETAIL}/customer/partitions", params={"limit": 2}).json()
    assert [c["kind"] for c in found["columns"]] == ["row", "number"]
    assert found["rows"] == [[["EMEA", 672], str(2**60)], [["AMER", None], 120]]
    assert (found["truncated"], found["denied"]) == (True, None)
    asked = governed.trino.asked[-1]
    assert asked.statement == 'SELECT * FROM "lake"."retail"."customer$partitions" LIMIT 3'
    assert asked.user == "engineer"


@pytest.mark.parametrize("what", ["partitions", "files", "snapshots"])
def test_no_answer_is_no_denial(governed: GovernedWorld, people: dict[str, httpx.Client], what: str) -> None:
    path = f"{RETAIL}/customer"
    failed = {"message": "no store", "errorName": "ICEBERG_X", "errorType": "EXTERNAL"}
    governed.trino.on(rf"\${what}", Answer(error=failed))
    answer = people["engineer"].get(f"{path}/{what}")
    assert (answer.status_code, answer.json()["title"]) == (502, "no store")
    assert people["engineer"].get(path).json()["columns"], "they are told without it"
    governed.trino.on(rf"\${what}", Answer(error=user_error("NOT_SUPPORTED", "a view has none")))
    assert people["engineer"].get(f"{path}/{what}").json()["denied"] == "a view has none"


def test_time_travel_and_diff(governed: GovernedWorld, people: dict[str, httpx.Client]) -> None:
    columns = {"id": "bigint", "email": "varchar"}
    governed.trino.on("FOR VERSION AS OF 1 LIMIT 0", Answer({"id": "bigint", "gone": "date"}))
    governed.trino.on("FOR VERSION AS OF 2 LIMIT 0", Answer(columns))
    counted = {"id": "bigint", "n": "bigint"}
    governed.trino.on("VERSION AS OF 2 EXCEPT ALL", Answer(counted, []))
    governed.trino.on("VERSION AS OF 1 EXCEPT ALL", Answer(counted, []))
    governed.trino.on(
        'SELECT "id", count.*FROM .*AS OF 2 EXCEPT ALL SELECT "id" FROM .*AS OF 1',
        Answer(counted, [[[7, 12], [8, 12]]]),
    )
    query: dict[str, Any] = {"from_snapshot_id": "1", "to_snapshot_id": "2", "limit": 2}
    found = people["engineer"].get(f"{RETAIL}/customer/diff", params=query).json()
    assert (found["added"], found["added_count"]) == ([[7], [8]], 12)
    assert (found["removed"], found["removed_count"]) == ([], 0)
    assert [c["name"] for c in found["columns"]] == ["id"], "only what both have"
    bad = {"from_snapshot_id": "1; DROP", "to_snapshot_id": "2"}
    assert people["engineer"].get(f"{RETAIL}/customer/diff", params=bad).status_code == 422


def test_who_may_read_and_why(people: dict[str, httpx.Client]) -> None:
    whole = people["steward"].get(f"{RETAIL}/customer/readers").json()
    assert whole["complete"] is True
    groups = {g["group"]: g for g in whole["groups"]}
    assert set(groups) == {"analysts", "auditors", "data_engineers"}
    assert groups["analysts"]["by"] == ["grant to analysts on retail.customer"]
    assert (groups["analysts"]["rules"], groups["data_engineers"]["rules"]) == (["email"], [])
    own = people["analyst"].get(f"{RETAIL}/customer/readers").json()
    assert (own["complete"], [g["group"] for g in own["groups"]]) == (False, ["analysts"])
    asked = people["steward"].get(f"{RETAIL}/customer/access", params={"user": "analyst"})
    assert asked.json()["readable"] is True
    assert people["analyst"].get(f"{RETAIL}/customer/access", params={"user": "admin"}).status_code == 403


def test_tags_are_told_of_what_one_may_read(governed: GovernedWorld) -> None:
    tags = [{"object": "retail.*", "tag": "team.sales"}, {"object": "retail.part.id", "tag": "hidden"}]
    with governed.lab.client("steward", "data_stewards") as steward:
        steward.change_access(add={"tags": tags}, reason="more tags")
        assert {use.tag for use in steward.tags()} == {"pii.email", "team.sales", "hidden"}
    with governed.lab.client("analyst", "analysts") as analyst:
        assert [(use.object, use.tag) for use in analyst.tags()] == [
            ("retail.*", "team.sales"),
            ("retail.customer.email", "pii.email"),
        ]
    with governed.lab.client("stranger", "strangers") as stranger:
        assert stranger.tags() == ()
    with governed.lab.client("steward", "data_stewards") as steward:
        steward.change_access(remove={"tags": tags}, reason="fewer tags", widen=True)


def test_completion_and_search_offer_what_one_may_see(people: dict[str, httpx.Client]) -> None:
    offered = people["analyst"].get("/api/v1/sql/completion").json()
    (retail,) = offered["namespaces"]
    assert retail["tables"][0] == {"name": "customer", "columns": {"id": "bigint", "email": "varchar"}}
    assert offered["functions"] == ["abs", "sum"]
    assert "SELECT" in offered["keywords"]

    def found(text: str) -> list[tuple[str, Any, Any]]:
        answer = people["analyst"].get("/api/v1/search", params={"text": text}).json()
        return [(one["kind"], one["table"], one["column"]) for one in answer]

    assert found("CUSTOMER") == [("table", "customer", None)]
    assert found("pii") == [("column", "customer", "email")], "by tag"
    assert found("retail") == [("namespace", None, None)]
    assert found("zzz") == []


def test_a_person_in_no_group_sees_an_empty_console(
    governed: GovernedWorld, people: dict[str, httpx.Client]
) -> None:
    outsider = people["outsider"]
    governed.trino.on(".", Answer(error=DENIED), user="outsider")
    assert outsider.get("/api/v1/catalogs").json() == []
    assert outsider.get("/api/v1/catalogs/lake/namespaces").json() == []
    assert outsider.get(RETAIL).status_code == 404
    assert outsider.get(f"{RETAIL}/customer").status_code == 404
    assert outsider.get("/api/v1/search", params={"text": "c"}).json() == []
    offered = outsider.get("/api/v1/sql/completion").json()
    assert (offered["namespaces"], offered["functions"]) == ([], [])
    assert outsider.get("/api/v1/people").json() == {"groups": []}
    assert outsider.get("/api/v1/saved-queries").json() == []
    for path in ("/api/v1/access", "/api/v1/access/effective", "/api/v1/audit", "/api/v1/drift"):
        assert outsider.get(path).status_code in (403, 404), path


PAGES = {
    "/api/v1/access": {"admin", "steward", "auditor"},
    "/api/v1/access/revisions": {"admin", "steward", "auditor"},
    "/api/v1/access/revisions/1": {"admin", "steward", "auditor"},
    "/api/v1/access/revisions/1/changes": {"admin", "steward", "auditor"},
    "/api/v1/drift": {"admin", "steward", "auditor"},
    "/api/v1/access/effective": {"admin", "steward", "auditor", "analyst", "engineer"},
    "/api/v1/access/owners": {"admin", "steward", "auditor", "analyst", "engineer"},
    "/api/v1/governor": {"admin", "steward", "auditor", "analyst", "engineer"},
    "/api/v1/admin/health": {"admin", "steward", "auditor", "analyst", "engineer", "outsider"},
    "/api/v1/admin/personas": {"admin", "steward", "auditor", "analyst", "engineer", "outsider"},
    "/api/v1/admin/secrets": {"admin", "steward", "auditor", "analyst", "engineer", "outsider"},
}


@pytest.mark.parametrize("path", PAGES)
def test_pages_by_person(people: dict[str, httpx.Client], path: str) -> None:
    answers = {name: client.get(path).status_code for name, client in people.items()}
    assert {name for name, status in answers.items() if status == 200} == PAGES[path]
    assert {status for name, status in answers.items() if name not in PAGES[path]} <= {403}


def test_members_are_for_those_who_may_read_access_data(people: dict[str, httpx.Client]) -> None:
    seen = {g["name"]: g["members"] for g in people["steward"].get("/api/v1/people").json()["groups"]}
    assert seen["data_stewards"] == ["steward"]
    hidden = {g["name"]: g["members"] for g in people["analyst"].get("/api/v1/people").json()["groups"]}
    assert set(hidden) == set(seen)
    assert set(hidden.values()) == {None}


def test_sharing_with_a_group_that_is_not_there_is_refused(people: dict[str, httpx.Client]) -> None:
    body = {"title": "Q", "statement": "SELECT 1", "shares": [{"group": "data_steward"}]}
    answer = people["analyst"].post("/api/v1/saved-queries", json=body)
    assert answer.status_code == 422
    assert "did you mean 'data_stewards'" in answer.json()["title"]
    body["shares"] = [{"group": "data_stewards"}]
    made = people["analyst"].post("/api/v1/saved-queries", json=body).json()
    seen = people["steward"].get(f"/api/v1/saved-queries/{made['id']}")
    assert seen.json()["shares"] == [{"group": "data_stewards", "access": "read"}]


def test_change_is_previewed_then_made_then_taken_back(people: dict[str, httpx.Client]) -> None:
    steward = people["steward"]
    access = steward.get("/api/v1/access")
    before = access.json()["revision"]
    assert access.headers["etag"] == f'"{before}"'
    tag = {"object": "retail.orders.email", "tag": "pii.email"}
    change = {"add": {"tags": [tag]}, "reason": "orders have addresses, too"}
    preview = steward.post(
        "/api/v1/access/preview", json={"add": change["add"], "users": ["analyst"], "count": False}
    ).json()
    assert (preview["revision"], preview["refused"], preview["widenings"]) == (before, None, [])
    (impact,) = preview["impact"]["report"]["impacts"]
    assert (impact["username"], impact["table"]) == ("analyst", "retail.orders")
    assert (preview["impact"]["widens"], preview["impact"]["narrows"]) == (False, True)
    assert steward.get("/api/v1/access").json()["revision"] == before, "a preview changes nothing"

    assert people["analyst"].post("/api/v1/access/preview", json={"add": change["add"]}).status_code == 403
    assert people["analyst"].post("/api/v1/access/changes", json=change).status_code == 403
    stale = steward.post("/api/v1/access/changes", json=change, headers={"If-Match": f'"{before - 1}"'})
    assert stale.status_code == 412
    made = steward.post("/api/v1/access/changes", json=change, headers={"If-Match": f'"{before}"'})
    assert made.status_code == 200
    assert made.json()["revision"] == before + 1
    history = steward.get("/api/v1/access/revisions").json()
    assert (history[0]["author"], history[0]["reason"]) == ("steward", change["reason"])

    back = {"remove": {"tags": [tag]}, "reason": "no"}
    widening = steward.post("/api/v1/access/changes", json=back)
    assert widening.status_code == 422, "it would show more, and nobody said so"
    shows = steward.post(
        "/api/v1/access/preview", json={"remove": back["remove"], "users": ["analyst"], "count": False}
    ).json()
    assert shows["widenings"]
    assert shows["impact"]["widens"] is True
    rolled = steward.post("/api/v1/access/rollback", json={"revision": before, "widen": True})
    assert rolled.json()["revision"] == before + 2
    compared = steward.post("/api/v1/access/compare", json={"before": before, "count": False}).json()
    assert compared["report"]["changes"] == []


def test_preview_says_why_a_change_would_be_refused(people: dict[str, httpx.Client]) -> None:
    wrong = {"add": {"tags": [{"object": "retail.nothing.email", "tag": "pii.email"}]}}
    preview = people["steward"].post("/api/v1/access/preview", json=wrong).json()
    assert "not valid" in preview["refused"]
    assert preview["impact"] is None
    grant = {"add": {"grants": [{"group": "analysts", "object": "retail.part", "privileges": ["select"]}]}}
    assert people["steward"].post("/api/v1/access/preview", json=grant).status_code == 403


def test_break_glass_ends_by_itself_or_by_hand(people: dict[str, httpx.Client]) -> None:
    steward = people["steward"]
    body = {
        "user": "analyst",
        "object": "retail.customer",
        "lasts_s": 3600,
        "reason": "ticket 7",
        "lifts": ["email"],
    }
    assert people["analyst"].post("/api/v1/access/exceptions", json=body).status_code == 403
    own = {**body, "user": "steward"}
    assert steward.post("/api/v1/access/exceptions", json=own).status_code == 403, "not for oneself"
    assert steward.post("/api/v1/access/exceptions", json={**body, "lasts_s": 86400 * 6}).status_code == 422
    made = steward.post("/api/v1/access/exceptions", json=body)
    assert made.status_code == 201
    (change,) = made.json()["changes"]
    plain = people["analyst"].get(f"{RETAIL}/customer").json()["columns"][1]
    assert plain["look"] == "plain"
    (use,) = steward.get(f"{RETAIL}/customer/readers").json()["exceptions"]
    assert (use["user"], use["reason"]) == ("analyst", "ticket 7")
    path = f"/api/v1/access/exceptions/{change['after']['id']}/end"
    assert steward.post(path, json={"reason": "done"}).status_code == 200
    assert steward.post(path, json={"reason": "done"}).status_code == 404
    assert people["analyst"].get(f"{RETAIL}/customer").json()["columns"][1]["look"] == "masked"


def test_a_change_that_came_first_is_noticed_whenever_it_came(
    governed: GovernedWorld, people: dict[str, httpx.Client]
) -> None:
    """The other change is written after the request was taken and before its own: nothing but the
    transaction itself can notice that."""
    steward, store = people["steward"], governed.lab.store
    before = steward.get("/api/v1/access").json()["revision"]
    tags = [{"object": f"retail.orders.{column}", "tag": "pii.email"} for column in ("id", "email")]
    documents = [{"add": {"tags": [tag]}, "reason": "at once"} for tag in tags]
    given = {"If-Match": f'"{before}"'}
    with ThreadPoolExecutor(1) as pool:
        with store.changing("somebody") as other:
            assert other.living is not None
            late = pool.submit(steward.post, "/api/v1/access/changes", json=documents[0], headers=given)
            waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            with store._engine.connect() as watcher:
                while watcher.scalar(waiting) == 0:
                    assert not late.done(), late.result().text
                    time.sleep(0.01)
            living = other.living.document
            other.write({**living, "tags": [*living["tags"], tags[1]]}, reason="first", what="access.put")
        answer = late.result()
    assert answer.status_code == 412
    assert (answer.json()["value"], answer.json()["permitted"]) == (
        f'"{before}"',
        f"a change based on revision {before + 1}",
    )
    assert steward.get("/api/v1/access").json()["revision"] == before + 1
    with ThreadPoolExecutor(4) as pool:
        given = {"If-Match": f'"{before + 1}"'}
        codes = pool.map(
            lambda reason: (
                steward.post(
                    "/api/v1/access/changes", json={**documents[0], "reason": reason}, headers=given
                ).status_code
            ),
            "abcd",
        )
        assert sorted(codes) == [200, 412, 412, 412]
    back = {"remove": {"tags": tags}, "reason": "as it was", "widen": True}
    assert steward.post("/api/v1/access/changes", json=back).status_code == 200


def test_each_service_has_a_token_of_its_own(
    governed: GovernedWorld, people: dict[str, httpx.Client]
) -> None:
    governed.keycloak.exchanges.clear()
    with governed.as_user("steward") as fresh:
        fresh.get("/api/v1/drift")
        fresh.get("/api/v1/catalogs")
    assert sorted(governed.keycloak.exchanges) == [("steward", "governor"), ("steward", "trino")]


def test_health_says_which_service_is_down(people: dict[str, httpx.Client]) -> None:
    found = {c["name"]: c for c in people["outsider"].get("/api/v1/admin/health").json()["components"]}
    states = {name: component["state"] for name, component in found.items()}
    assert states == {"well": "up", "ill": "degraded", "down": "down", "absent": "absent"}
    assert found["down"]["next_command"] == "lab logs down"
    assert found["absent"]["next_command"] == "lab up absent"
    assert found["well"]["version"] == "1"


def test_governor_down_is_told(governed: GovernedWorld, people: dict[str, httpx.Client]) -> None:
    governor = governed.console.governor
    before, governor._url = governor._url, "http://127.0.0.1:9"
    try:
        answer = people["steward"].get("/api/v1/access")
        assert answer.status_code == 503
        assert "the governor does not answer" in answer.json()["title"]
    finally:
        governor._url = before
    assert people["steward"].get("/api/v1/access").status_code == 200


def test_the_agent_is_absent_until_there_is_one(people: dict[str, httpx.Client]) -> None:
    answer = people["analyst"].post("/api/v1/chat/threads", json={})
    assert (answer.status_code, answer.json()["next_command"]) == (404, "lab up agent")


def test_what_is_denied_is_not_asked_again_with_every_page(
    governed: GovernedWorld, people: dict[str, httpx.Client]
) -> None:
    """The owners are the governor's to refuse, snapshots the engine's: a table under rules has neither."""
    governed.trino.on(r"\$snapshots", Answer(error=DENIED), user="analyst")
    first = people["analyst"].get(f"{RETAIL}/customer").json()
    assert (first["current_snapshot_id"], first["owner_group"]) == (None, None)
    before = len(governed.trino.asked)
    assert people["analyst"].get(f"{RETAIL}/customer").json() == first
    assert len(governed.trino.asked) == before
