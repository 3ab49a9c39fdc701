"""The worksheet over HTTP: streaming, canceling, paging, downloading, and who may see what."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import pyarrow as pa
import pytest
from pyarrow import parquet

from control_plane.api.queries.running import RunningQuery
from tests.unit import console_world
from tests.unit.console_trino import DENIED, Answer, user_error
from tests.unit.console_world import World, wait_for

postgres_server = console_world.postgres_server
world = console_world.world

NUMBERS = {"n": "bigint", "name": "varchar"}
PAGES: list[list[list[Any]]] = [[[1, "one"], [2, None]], [[3, ""], [9007199254740993, 'q"x,\n']]]


@pytest.fixture
def http(world: World) -> Iterator[httpx.Client]:
    """The analyst, by bearer token, before an engine that knows nothing."""
    world.trino.rules.clear()
    world.trino.asked.clear()
    with world.as_user("analyst") as client:
        yield client


def start(http: httpx.Client, statement: str, **more: Any) -> dict[str, Any]:
    """A query that began."""
    answer = http.post("/api/v1/queries", json={"statement": statement, **more})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events(http: httpx.Client, query_id: str, **query: Any) -> list[dict[str, Any]]:
    """All that happens to a query."""
    with http.stream("GET", f"/api/v1/queries/{query_id}/events", params=query) as stream:
        assert stream.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in stream.iter_lines()]


def finished(http: httpx.Client, statement: str, **more: Any) -> dict[str, Any]:
    """A query after its end."""
    query_id = start(http, statement, **more)["id"]
    found: dict[str, Any] = events(http, query_id)[-1]["query"]
    return found


def test_rows_stream_page_by_page_as_the_asking_user(world: World, http: httpx.Client) -> None:
    world.trino.on("FROM numbers", Answer(NUMBERS, PAGES))
    begun = start(http, "SELECT * FROM numbers", catalog="lake", namespace="retail")
    seen = events(http, begun["id"])
    rows = [event for event in seen if event["type"] == "rows"]
    assert [event["offset"] for event in rows] == [0, 2]
    assert [row for event in rows for row in event["rows"]] == [
        *([1, "one"], [2, None], [3, ""]),
        ["9007199254740993", 'q"x,\n'],
    ]
    (columns,) = [event["columns"] for event in seen if event["type"] == "columns"]
    assert columns == [
        {"name": "n", "type": "bigint", "kind": "number"},
        {"name": "name", "type": "varchar", "kind": "text"},
    ]
    end = seen[-1]["query"]
    assert (end["state"], end["row_count"], end["available"]) == ("finished", 4, True)
    assert end["statistics"]["processed_rows"] == 42
    (asked,) = world.trino.asked
    assert asked.user == "analyst"
    assert asked.headers["x-trino-catalog"] == "lake"
    assert asked.headers["x-trino-schema"] == "retail"
    assert asked.headers["x-trino-source"] == "console"
    assert world.keycloak.exchanges[-1] == ("analyst", "trino")


def test_a_statement_without_a_catalog_means_the_labs(world: World, http: httpx.Client) -> None:
    world.trino.on("FROM retail.numbers", Answer(NUMBERS, PAGES))
    assert finished(http, "SELECT * FROM retail.numbers")["state"] == "finished"
    (asked,) = world.trino.asked
    assert asked.headers["x-trino-catalog"] == world.settings.catalog
    assert "x-trino-schema" not in asked.headers


def test_result_is_paged_and_streamed_again_from_any_row(world: World, http: httpx.Client) -> None:
    world.trino.on(
        "FROM numbers", Answer({"n": "integer"}, [[[i] for i in range(p, p + 10)] for p in (0, 10, 20)])
    )
    query_id = finished(http, "SELECT n FROM numbers")["id"]

    def page(offset: int, limit: int) -> list[int]:
        answer = http.get(
            f"/api/v1/queries/{query_id}/rows", params={"offset": offset, "limit": limit}
        ).json()
        assert answer["row_count"] == 30
        assert answer["complete"]
        return [row[0] for row in answer["rows"]]

    assert page(0, 5) == [0, 1, 2, 3, 4]
    assert page(8, 15) == list(range(8, 23))
    assert page(29, 5) == [29]
    assert page(30, 5) == []
    again = [e for e in events(http, query_id, offset=7, max_rows=6) if e["type"] == "rows"]
    assert [(e["offset"], e["rows"]) for e in again] == [(7, [[7], [8], [9]]), (10, [[10], [11], [12]])]
    assert len(world.trino.asked) == 1


def test_errors_have_their_position_in_what_was_given(world: World, http: httpx.Client) -> None:
    error = user_error("COLUMN_NOT_FOUND", "line 2:25: Column 'nme' cannot be resolved", 2, 25)
    world.trino.on("nme", Answer(error=error))
    statement = "SELECT *\nWHERE a = :since AND nme = 1"
    parameters = [{"name": "since", "type": "varchar", "value": "x"}]
    found = finished(http, statement, parameters=parameters)["error"]
    assert found["name"] == "COLUMN_NOT_FOUND"
    assert (found["line"], found["column"]) == (2, 28)
    assert found["denied"] is False
    answer = http.post("/api/v1/sql/explain", json={"statement": "SELECT\nnme", "kind": "validate"})
    assert answer.status_code == 422
    assert (answer.json()["error_name"], answer.json()["line"]) == ("COLUMN_NOT_FOUND", 2)


def test_denial_is_told_apart(world: World, http: httpx.Client) -> None:
    world.trino.on("customer", Answer(error=DENIED))
    found = finished(http, "SELECT * FROM retail.customer")
    assert found["state"] == "failed"
    assert found["error"]["denied"] is True
    assert http.post("/api/v1/sql/explain", json={"statement": "SELECT * FROM customer"}).status_code == 403


def test_cancel_cancels_in_trino(world: World, http: httpx.Client) -> None:
    world.trino.on("slow", Answer(NUMBERS, PAGES, held=threading.Event()))
    query_id = start(http, "SELECT slow")["id"]
    wait_for(lambda: http.get(f"/api/v1/queries/{query_id}").json()["row_count"] == 2)
    answer = http.delete(f"/api/v1/queries/{query_id}").json()
    assert (answer["state"], answer["row_count"]) == ("canceled", 2)
    wait_for(lambda: world.trino.asked[0].canceled)
    assert events(http, query_id)[-1]["query"]["state"] == "canceled"
    assert http.delete(f"/api/v1/queries/{query_id}").json()["state"] == "canceled", "as it was"
    assert http.get("/api/v1/queries").json()["queries"][0]["state"] == "canceled"


def test_query_ends_in_trino_when_the_browser_goes_away(world: World, http: httpx.Client) -> None:
    world.trino.on("slow", Answer(NUMBERS, PAGES, held=threading.Event()))
    query_id = start(http, "SELECT slow")["id"]
    with http.stream("GET", f"/api/v1/queries/{query_id}/events") as stream:
        next(stream.iter_lines())
    wait_for(lambda: world.trino.asked[0].canceled)
    wait_for(lambda: http.get("/api/v1/queries").json()["queries"][0]["state"] == "abandoned")


def test_a_second_listener_keeps_it_running(world: World, http: httpx.Client) -> None:
    hold = threading.Event()
    world.trino.on("slow", Answer(NUMBERS, PAGES, held=hold))
    query_id = start(http, "SELECT slow")["id"]
    with http.stream("GET", f"/api/v1/queries/{query_id}/events") as kept:
        lines = kept.iter_lines()
        next(lines)
        with http.stream("GET", f"/api/v1/queries/{query_id}/events") as gone:
            next(gone.iter_lines())
        time.sleep(4)
        hold.set()
        assert [json.loads(line) for line in lines][-1]["query"]["state"] == "finished"


def test_nobodys_result_but_ones_own(world: World, http: httpx.Client) -> None:
    world.trino.on("FROM numbers", Answer(NUMBERS, PAGES))
    query_id = finished(http, "SELECT * FROM numbers")["id"]
    with world.as_user("admin") as other:
        for method, path in (
            ("GET", ""),
            ("GET", "/events"),
            ("GET", "/rows"),
            ("GET", "/download"),
            ("DELETE", ""),
        ):
            answer = other.request(method, f"/api/v1/queries/{query_id}{path}")
            assert answer.status_code == 404, path
            assert answer.json()["title"] == "there is no query of that id"
        assert query_id not in [q["id"] for q in other.get("/api/v1/queries").json()["queries"]]
    assert http.get(f"/api/v1/queries/{uuid4()}").status_code == 404


def test_parameters_are_literals_of_their_type(world: World, http: httpx.Client) -> None:
    world.trino.on("FROM t", Answer(NUMBERS, []))
    statement = "SELECT ':a', \":a\" /* :a */ FROM t WHERE x = :a AND y IN (:b) -- :c"
    given = [
        {"name": "a", "type": "varchar", "value": "it's ' OR 1=1 --"},
        {"name": "b", "type": "bigint", "value": [1, "2"]},
    ]
    assert finished(http, statement, parameters=given)["state"] == "finished"
    assert world.trino.asked[-1].statement == (
        "SELECT ':a', \":a\" /* :a */ FROM t WHERE x = 'it''s '' OR 1=1 --' "
        "AND y IN (BIGINT '1', BIGINT '2') -- :c"
    )
    missing = http.post("/api/v1/queries", json={"statement": "SELECT :z"})
    assert missing.status_code == 422
    assert missing.json()["title"] == "parameter :z has no value"
    wrong = [{"name": "z", "type": "date", "value": "yesterday"}]
    answer = http.post("/api/v1/queries", json={"statement": "SELECT :z", "parameters": wrong})
    assert (answer.status_code, answer.json()["permitted"]) == (422, "2026-01-31")


def test_row_limit_ends_the_query(world: World, http: httpx.Client) -> None:
    world.trino.on("FROM numbers", Answer({"n": "integer"}, [[[i]] for i in range(6)]))
    found = finished(http, "SELECT n FROM numbers", max_rows=3)
    assert (found["row_count"], found["truncated"], found["state"]) == (3, True, "finished")
    wait_for(lambda: world.trino.asked[-1].canceled)
    assert finished(http, "SELECT n FROM numbers", max_rows=6)["truncated"] is False


def test_only_so_many_run_at_once(world: World, http: httpx.Client) -> None:
    world.trino.on("slow", Answer(NUMBERS, PAGES, held=threading.Event()))
    begun = [start(http, "SELECT slow")["id"] for _ in range(world.settings.queries_per_user)]
    answer = http.post("/api/v1/queries", json={"statement": "SELECT slow"})
    assert answer.status_code == 429
    for query_id in begun:
        assert http.delete(f"/api/v1/queries/{query_id}").json()["state"] == "canceled"


def test_history_is_paged_and_searched(world: World, http: httpx.Client) -> None:
    world.trino.on("mark", Answer(update=("INSERT", 7)))
    ids = [finished(http, f"INSERT mark_{i} 100%")["id"] for i in range(5)]
    first = http.get("/api/v1/queries", params={"text": "mark_", "limit": 3}).json()
    rest = http.get("/api/v1/queries", params={"text": "mark_", "limit": 3, "cursor": first["next"]}).json()
    assert [q["id"] for q in first["queries"] + rest["queries"]] == ids[::-1]
    assert rest["next"] is None
    assert http.get("/api/v1/queries", params={"text": "mark%"}).json()["queries"] == [], "text is no pattern"
    assert http.get("/api/v1/queries", params={"text": "mark_1 100%"}).json()["queries"][0]["id"] == ids[1]
    assert http.get("/api/v1/queries", params={"cursor": "nonsense"}).status_code == 422
    one = http.get(f"/api/v1/queries/{ids[0]}").json()
    assert (one["update_type"], one["update_count"]) == ("INSERT", 7)


TYPED: dict[str, tuple[str, Any, Any]] = {
    "a": ("bigint", 9007199254740993, 9007199254740993),
    "b": ("decimal(12,2)", "12.50", Decimal("12.50")),
    "c": ("varchar(5)", "=x", "=x"),
    "d": ("boolean", True, True),
    "e": ("timestamp(6)", "2026-01-31 17:00:00.123456", "2026-01-31 17:00:00.123456"),
    "f": (
        "timestamp(3) with time zone",
        "2026-01-31 17:00:00.123 Europe/Berlin",
        "2026-01-31 16:00:00.123000+00:00",
    ),
    "g": ("array(bigint)", [1, None], [1, None]),
    "h": ("map(varchar, double)", {"k": 1.5}, [("k", 1.5)]),
    "i": ('row("x y" integer, z array(date))', [1, ["2026-01-31"]], None),
    "j": ("varbinary", "AAE=", b"\x00\x01"),
    "k": ("real", "NaN", None),
    "l": ("interval day to second", "1 00:00:00.000", None),
    "m": ("date", None, None),
}


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_columnar_downloads_keep_types(world: World, http: httpx.Client, format: str) -> None:
    row = [value for _, value, _ in TYPED.values()]
    world.trino.on("FROM typed", Answer({name: kind for name, (kind, _, _) in TYPED.items()}, [[row], [row]]))
    query_id = finished(http, "SELECT * FROM typed")["id"]
    answer = http.get(f"/api/v1/queries/{query_id}/download", params={"format": format})
    assert answer.status_code == 200
    assert f"query-{query_id[:8]}.{format}" in answer.headers["content-disposition"]
    content = io.BytesIO(answer.content)
    table = parquet.read_table(content) if format == "parquet" else pa.ipc.open_stream(content).read_all()
    assert table.num_rows == 2
    found = table.to_pylist()[1]
    for name in ("a", "b", "c", "d", "g", "h", "j", "m"):
        assert found[name] == TYPED[name][2], name
    assert str(found["e"]) == TYPED["e"][2]
    assert str(found["f"]) == TYPED["f"][2]
    assert found["i"]["x y"] == 1
    assert [str(day) for day in found["i"]["z"]] == ["2026-01-31"]
    assert found["k"] != found["k"], "NaN"
    assert found["l"].total_seconds() == 86400


def test_text_downloads(world: World, http: httpx.Client) -> None:
    world.trino.on(
        "FROM numbers",
        Answer({**NUMBERS, "l": "array(integer)"}, [[[1, 'q"x,\n', [1, 2]], [2, None, None], [3, "", []]]]),
    )
    query_id = finished(http, "SELECT * FROM numbers")["id"]
    csv = http.get(f"/api/v1/queries/{query_id}/download").content.decode()
    assert csv == 'n,name,l\r\n1,"q""x,\n","[1,2]"\r\n2,,\r\n3,"",[]\r\n'
    lines = http.get(f"/api/v1/queries/{query_id}/download", params={"format": "jsonl"}).text.splitlines()
    assert json.loads(lines[0]) == {"n": 1, "name": 'q"x,\n', "l": [1, 2]}


def test_result_without_room_is_cut_and_downloaded_whole(world: World, http: httpx.Client) -> None:
    wide = "x" * 600_000
    world.trino.on("FROM wide", Answer({"t": "varchar"}, [[[wide]] for _ in range(5)]))
    spool = world.console.queries.spool
    before, spool._result_limit = spool._result_limit, 2 << 20
    try:
        found = finished(http, "SELECT t FROM wide")
        assert (found["truncated"], found["row_count"], found["state"]) == (True, 3, "finished")
        assert "cut" in found["warnings"][0]
        whole = http.get(f"/api/v1/queries/{found['id']}/download").text
        assert len(whole.splitlines()) == 6
    finally:
        spool._result_limit = before


def test_full_disk_is_told(world: World, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    world.trino.on("FROM numbers", Answer(NUMBERS, PAGES))
    monkeypatch.setattr(world.console.queries.spool, "append", full)
    found = finished(http, "SELECT * FROM numbers")
    assert found["state"] == "failed"
    assert found["error"]["message"] == "the console can't keep the result: No space left on device"
    wait_for(lambda: world.trino.asked[-1].canceled)


def test_rows_that_are_not_kept_are_gone_and_only_reading_runs_again(
    world: World, http: httpx.Client
) -> None:
    world.trino.on("FROM numbers", Answer(NUMBERS, PAGES))
    read = finished(http, "SELECT * FROM numbers")["id"]
    wrote = finished(http, "CREATE TABLE x AS SELECT * FROM numbers")["id"]
    world.console.queries.spool.clear()
    answer = http.get(f"/api/v1/queries/{read}/rows")
    assert (answer.status_code, answer.json()["next_command"]) == (410, "run it again")
    assert http.get(f"/api/v1/queries/{read}").json()["available"] is False
    assert http.get(f"/api/v1/queries/{read}/download").text.startswith("n,name\r\n1,one\r\n")
    asked = len(world.trino.asked)
    assert http.get(f"/api/v1/queries/{wrote}/download").status_code == 410
    assert len(world.trino.asked) == asked, "nothing is written twice"


def test_trino_down_is_told_and_passes(world: World, http: httpx.Client) -> None:
    world.trino.on("FROM numbers", Answer(NUMBERS, PAGES))
    world.trino.down = True
    found = finished(http, "SELECT * FROM numbers")
    assert (found["state"], found["error"]["message"]) == ("failed", "Trino does not answer")
    assert http.post("/api/v1/sql/explain", json={"statement": "SELECT 1"}).status_code == 503
    world.trino.down = False
    world.trino.busy_answers = 2
    assert finished(http, "SELECT * FROM numbers")["row_count"] == 4


def test_an_engine_that_fails_itself_may_pass_and_shows_no_trace(world: World, http: httpx.Client) -> None:
    """As it was seen while Trino started and could not fetch Keycloak's keys yet."""
    trace = "java.lang.RuntimeException: Authentication error\n\tat io.trino.server.security.Bearer\n"
    serves = world.hosts["trino.test"]
    world.hosts["trino.test"] = lambda _: httpx.Response(500, text=trace)
    try:
        answer = http.post("/api/v1/sql/explain", json={"statement": "SELECT 1"})
        assert finished(http, "SELECT 1")["error"]["message"] == "Trino answered 500"
    finally:
        world.hosts["trino.test"] = serves
    assert (answer.status_code, answer.json()["title"]) == (502, "Trino answered 500")
    assert answer.json()["value"] == "java.lang.RuntimeException: Authentication error"


def test_a_token_goes_nowhere_but_to_trino(world: World, http: httpx.Client) -> None:
    world.trino.on("FROM numbers", Answer(NUMBERS, PAGES))
    world.trino.lead_to = "https://elsewhere.test:8443"
    try:
        found = finished(http, "SELECT * FROM numbers")
        assert "another address" in found["error"]["message"]
    finally:
        world.trino.lead_to = "https://trino.test:8443"


def test_session_that_ends_in_mid_query_ends_it(world: World, http: httpx.Client) -> None:
    hold = threading.Event()
    world.trino.on("slow", Answer(NUMBERS, PAGES, held=hold))
    world.keycloak.access_life_s = 20
    try:
        browser = world.browser().sign_in("steward")
        query_id = browser.post("/api/v1/queries", json={"statement": "SELECT slow"}).json()["id"]
        wait_for(lambda: bool(world.trino.asked))
        world.keycloak.disabled.add("steward")
        wait_for(lambda: _query(world, query_id).state.ended)
        found = _query(world, query_id).as_query()
        assert found.state == "failed"
        assert found.error is not None
        assert "ended" in found.error.message
    finally:
        world.keycloak.access_life_s = 300
        world.keycloak.disabled.clear()


def _query(world: World, query_id: str) -> RunningQuery:
    return world.console.queries._queries[UUID(query_id)]


def test_check_finds_statements_parameters_and_problems(http: httpx.Client) -> None:
    text = "SELECT '\U0001f600' ;\n INSERT INTO t SELECT :a, :b;\nSELECT FROM WHERE"
    found = http.post("/api/v1/sql/check", json={"statement": text}).json()
    kinds = [(s["kind"], s["reads_only"], s["parameters"]) for s in found["statements"]]
    assert kinds[:2] == [("select", True, []), ("insert", False, ["a", "b"])]
    units = text.encode("utf-16-le")
    first = found["statements"][0]
    assert units[first["start"] * 2 : first["end"] * 2].decode("utf-16-le") == "SELECT '\U0001f600'"
    assert found["problems"][0]["line"] == 3
    for statement, reads in (
        ("SHOW TABLES FROM lake.retail", True),
        ("EXPLAIN ANALYZE DELETE FROM t", False),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("DESCRIBE t", True),
        ("DROP TABLE t", False),
        ("CALL system.x()", False),
        ("ALTER TABLE t EXECUTE optimize", False),
    ):
        (info,) = http.post("/api/v1/sql/check", json={"statement": statement}).json()["statements"]
        assert info["reads_only"] is reads, statement


def test_format_keeps_meaning_or_refuses(http: httpx.Client) -> None:
    text = "select a,b -- why\nfrom t where x=:since and y in (1,2)"
    pretty = http.post("/api/v1/sql/format", json={"statement": text}).json()["statement"]
    assert pretty.count("\n") > 4
    assert ":since" in pretty
    assert "why" in pretty
    assert http.post("/api/v1/sql/format", json={"statement": "SELECT FROM FROM"}).status_code == 422
    assert http.post("/api/v1/sql/format", json={"statement": "SELECT 'x"}).status_code == 422


def test_plan_is_trinos(world: World, http: httpx.Client) -> None:
    world.trino.on("EXPLAIN .TYPE LOGICAL", Answer({"Query Plan": "varchar"}, [[['{"0": {"id": "1"}}']]]))
    world.trino.on("EXPLAIN .TYPE DISTRIBUTED", Answer({"Query Plan": "varchar"}, [[["Fragment 0"]]]))
    logical = http.post("/api/v1/sql/explain", json={"statement": "SELECT 1", "kind": "logical"}).json()
    assert logical["document"] == {"0": {"id": "1"}}
    plain = http.post("/api/v1/sql/explain", json={"statement": "SELECT 1"}).json()
    assert (plain["text"], plain["document"]) == ("Fragment 0", None)
