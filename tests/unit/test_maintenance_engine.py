"""What is asked of Trino, and what its answers are taken for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from governance.maintenance.engine import ConflictError, MaintenanceError, TrinoEngine
from governance.trino import TrinoClient, TrinoError

CREATED = "2030-01-01T00:00:00.250Z"
CREATED_MS = 1893456000250


class FakeTrino:
    """Answers statements by their beginning, and tells of queries."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.answers: dict[str, Any] = {}
        self.queries: dict[str, dict[str, Any]] = {}
        self.polls = 0
        self.deleted: list[str] = []
        self.refusing = False

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v1/statement":
            sql = " ".join(request.content.decode().split())
            self.statements.append(sql)
            known = (answer for start, answer in self.answers.items() if sql.startswith(start))
            found: Any = next(known, {"data": []})
            return httpx.Response(200, json=found)
        if self.refusing:
            return httpx.Response(403)
        if path == "/v1/query":
            self.polls += 1
            return httpx.Response(
                200, json=[{"queryId": i, "state": q["state"]} for i, q in self.queries.items()]
            )
        if path.startswith("/v1/query/"):
            name = path.rpartition("/")[2]
            if name not in self.queries or self.queries[name].get("gone"):
                return httpx.Response(410)
            return httpx.Response(200, json=self.queries[name])
        if request.method == "DELETE":
            self.deleted.append(path)
            return httpx.Response(204)
        return httpx.Response(200, json={"nextUri": "http://trino/v1/statement/next"})

    def query(self, name: str, state: str, *inputs: Mapping[str, Any], **more: Any) -> None:
        self.queries[name] = {
            "queryId": name,
            "state": state,
            "session": {"user": "ada"},
            "queryStats": {"createTime": CREATED},
            "inputs": list(inputs),
            **more,
        }

    def client(self, **given: Any) -> TrinoClient:
        http = httpx.Client(transport=httpx.MockTransport(self.handle), base_url="http://trino")
        return TrinoClient(http, catalog="lake", **given)

    def engine(self, **given: Any) -> TrinoEngine:
        return TrinoEngine(self.client(), catalog="lake", sleep=lambda _: None, **given)


def reads(table: str, snapshot: int | None, catalog: str = "lake") -> dict[str, Any]:
    info = None if snapshot is None else {"snapshotId": snapshot}
    return {"catalogName": catalog, "schema": "web", "table": table, "connectorInfo": info}


def test_running_queries_are_told_with_the_snapshots_they_read() -> None:
    trino = FakeTrino()
    trino.query("q1", "RUNNING", reads("events", 5), reads("events", 6), reads("customer", 7, "tpch"))
    trino.query("q2", "FINISHED", reads("events", 1))
    trino.query("q3", "STARTING", reads("events$files", None))
    trino.query("q4", "FAILED")
    trino.query("q5", "FINISHING")
    trino.query("q6", "RUNNING", gone=True)
    found = {query.id: query for query in trino.engine().running()}
    assert {name: query.reads for name, query in found.items()} == {
        "q1": {"web.events": frozenset({5, 6})},
        "q3": {"web.events": frozenset({None})},
        "q5": {},
    }
    assert found["q1"].created_ms == CREATED_MS
    assert trino.polls == 1


@pytest.mark.parametrize("state", ["QUEUED", "WAITING_FOR_RESOURCES", "DISPATCHING", "PLANNING", "NOVEL"])
def test_a_query_that_is_not_planned_is_waited_for_and_then_told_as_unknown(state: str) -> None:
    trino = FakeTrino()
    trino.query("q1", state, reads("events", 5))
    (found,) = trino.engine(settle_s=2.0).running()
    assert found.reads is None
    assert trino.polls == 5


def test_what_trino_does_not_tell_is_no_query_at_all() -> None:
    trino = FakeTrino()
    trino.query("q1", "RUNNING")
    del trino.queries["q1"]["inputs"]
    with pytest.raises(MaintenanceError, match="not understood"):
        trino.engine().running()
    refused = FakeTrino()
    refused.refusing = True
    with pytest.raises(MaintenanceError, match="not known"):
        refused.engine().running()


def test_a_table_s_state_is_read_from_columns_without_values() -> None:
    trino = FakeTrino()
    trino.answers["SELECT f.files"] = {"data": [[10, 2, 9, 3000, 8, 4, 7000, 1893456000000]]}
    trino.answers["SELECT 'snapshot'"] = {
        "data": [
            ["snapshot", "12", "11", 2000],
            ["snapshot", "11", None, 1000],
            ["current", "12", None, 2000],
            ["current", "11", None, 1000],
            ["reference", "12", None, None],
            ["property", "gc.enabled", "false", None],
        ]
    }
    found = trino.engine().state("web.events", 64)
    assert (found.files, found.delete_files, found.small_files, found.savable_files) == (10, 2, 9, 8)
    assert [(one.id, one.parent_id) for one in found.snapshots] == [(11, None), (12, 11)]
    assert [one.snapshot_id for one in found.history] == [11, 12]
    assert found.referenced == frozenset({12})
    assert found.properties == {"gc.enabled": "false"}
    asked = " ".join(trino.statements)
    for word in ("bound", "data ", "partition,", "summary", '"events"'):
        assert word not in asked
    assert str(64 << 20) in asked


def test_a_conflict_is_told_from_a_failure() -> None:
    trino = FakeTrino()
    trino.answers["ALTER"] = {"error": {"message": "conflict", "errorName": "ICEBERG_COMMIT_ERROR"}}
    with pytest.raises(ConflictError, match="conflict"):
        trino.engine().execute("ALTER TABLE x EXECUTE optimize")
    trino.answers["ALTER"] = {"error": {"message": "Access Denied: no", "errorName": "PERMISSION_DENIED"}}
    with pytest.raises(MaintenanceError, match="Access Denied") as raised:
        trino.engine().execute("ALTER TABLE x EXECUTE optimize")
    assert not isinstance(raised.value, ConflictError)


def test_a_statement_is_cancelled_when_the_service_stops() -> None:
    trino, stopping = FakeTrino(), threading.Event()
    trino.answers["SELECT"] = {"nextUri": "http://trino/v1/statement/1"}
    stopping.set()
    with pytest.raises(TrinoError, match="stopping") as raised:
        trino.client(stopping=stopping).rows("SELECT 1", timeout_s=10)
    assert not raised.value.answered
    assert trino.deleted == ["/v1/statement/1"]
