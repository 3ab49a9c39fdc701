"""What raw engines did by the catalog stands in the audit: reads before they open, writes, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from contracts.identity import Audience
from governance.audit.spool import Spool, SpoolFullError
from governance.governor.auth import TokenVerifier
from governance.rawcatalog.door import Door
from governance.rawcatalog.routes import add_door
from tests.unit.test_governor_auth import ISSUER, KEY, token
from tests.unit.test_raw_catalog import SCHEMA, UUID, WAREHOUSE, Asking, commit

TABLES = "/iceberg/v1/lake/namespaces/shop/tables"
KEYS = {"s3.access-key-id": "id", "s3.secret-access-key": "never kept"}
SCAN = {
    "report-type": "scan-report",
    "table-name": "lake.shop.nation",
    "snapshot-id": 7,
    "filter": {"type": "eq", "term": "id", "value": 3},
    "projected-field-names": ["id", "name"],
    "metrics": {},
}


class World:
    """The door over HTTP, and the records that it leaves."""

    def __init__(self) -> None:
        self.asking = Asking()
        self.records: list[dict[str, Any]] = []
        self.full = False
        self.answer: dict[str, Any] = {}
        self.status = 200
        app = FastAPI()
        http = httpx.Client(base_url="http://nessie/iceberg", transport=httpx.MockTransport(self._answer))
        door = Door(http, "lake", self.asking.door.rights)
        verifier = TokenVerifier(ISSUER, lambda _: KEY.public_key(), audience=Audience.CATALOG)
        add_door(app, door, verifier, self._keep)
        self.client = TestClient(app)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/config"):
            return self.asking.nessie.handle(request)
        location = f"{WAREHOUSE}/shop/nation_{UUID}"
        metadata = {"location": location, "properties": {}, "current-snapshot-id": 7}
        return httpx.Response(self.status, json={"metadata": metadata, **self.answer})

    def _keep(self, record: dict[str, Any]) -> None:
        if self.full:
            raise SpoolFullError("the audit's disk is full")
        self.records.append(record)

    def __call__(self, group: str, method: str, path: str, body: object = None) -> Any:
        bearer = token(preferred_username="ann", azp="cli", aud="catalog", groups=[group])
        headers = {"Authorization": f"Bearer {bearer}", "User-Agent": "PyIceberg/0.10\0"}
        return self.client.request(method, path, headers=headers, json=body)

    def only(self) -> dict[str, Any]:
        (found,) = self.records
        return found


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    with found.client:
        yield found


def test_a_read_is_kept_with_what_it_opened(world: World) -> None:
    world.answer = {"config": KEYS}
    assert world("keepers", "GET", f"{TABLES}/Nation").status_code == 200
    record = world.only()
    assert record.pop("at").endswith("+00:00")
    assert record == {
        "kind": "raw",
        "user": "ann",
        "what": "catalog.read",
        "tables": ["shop.nation"],
        "keys": True,
        "snapshot_id": 7,
        "revision": 5,
        "groups": ["keepers"],
        "client": "PyIceberg/0.10\ufffd",
    }


@pytest.mark.parametrize(
    ("answer", "keys"),
    [
        ({}, False),
        ({"config": {"s3.endpoint": "x"}}, False),
        ({"storage-credentials": [{"prefix": "s3://x", "config": KEYS}]}, True),
        ({"storage-credentials": "x", "config": None}, False),
    ],
)
def test_whether_files_were_opened_is_told_by_the_answer(
    world: World, answer: dict[str, Any], keys: bool
) -> None:
    world.answer = answer
    assert world("keepers", "GET", f"{TABLES}/nation").status_code == 200
    assert world.only()["keys"] is keys
    assert "never kept" not in str(world.records)


def test_nothing_is_read_that_the_audit_can_not_keep(world: World) -> None:
    world.full, world.answer = True, {"config": KEYS}
    answer = world("keepers", "GET", f"{TABLES}/nation")
    assert answer.status_code == 503
    assert "never kept" not in answer.text
    assert "full" in answer.json()["error"]["message"]
    # What was written is written: an engine that is told otherwise would do it again.
    assert world("engineers", "DELETE", f"{TABLES}/nation").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "what", "tables"),
    [
        ("POST", TABLES, {"name": "T", "schema": SCHEMA}, "catalog.create", ["shop.t"]),
        ("POST", f"{TABLES}/nation", commit({"action": "add-schema"}), "catalog.commit", ["shop.nation"]),
        ("DELETE", f"{TABLES}/nation", None, "catalog.drop", ["shop.nation"]),
        (
            "POST",
            "/iceberg/v1/lake/tables/rename",
            {
                "source": {"namespace": ["shop"], "name": "nation"},
                "destination": {"namespace": ["shop"], "name": "land"},
            },
            "catalog.rename",
            ["shop.nation", "shop.land"],
        ),
        (
            "POST",
            "/iceberg/v1/lake/transactions/commit",
            {
                "table-changes": [
                    {"identifier": {"namespace": ["shop"], "name": name}, **commit({"action": "add-schema"})}
                    for name in ("nation", "region")
                ]
            },
            "catalog.commit",
            ["shop.nation", "shop.region"],
        ),
    ],
)
def test_writes_are_kept_with_how_they_ended(
    world: World, method: str, path: str, body: object, what: str, tables: list[str]
) -> None:
    world.status = 409
    assert world("engineers", method, path, body).status_code == 409
    record = world.only()
    assert (record["what"], record["tables"], record["status"]) == (what, tables, 409)


def test_refusals_are_kept_with_what_was_asked(world: World) -> None:
    assert world("analysts", "GET", f"{TABLES}/nation").status_code == 403
    assert (
        world("engineers", "POST", "/iceberg/v1/lake/namespaces/raw/register", {"name": "x"}).status_code
        == 403
    )
    known, unknown = world.records
    assert (known["what"], known["tables"]) == ("catalog.refused", ["shop.nation"])
    assert known["asked"] == "GET /v1/lake/namespaces/shop/tables/nation"
    assert (unknown["what"], unknown["tables"]) == ("catalog.refused", [])
    assert unknown["asked"].endswith("/register")


def test_a_scan_is_kept_as_the_engine_tells_it(world: World) -> None:
    assert world("keepers", "POST", f"{TABLES}/nation/metrics", SCAN).status_code == 204
    record = world.only()
    assert (record["what"], record["tables"], record["snapshot_id"]) == ("catalog.scan", ["shop.nation"], 7)
    assert record["columns"] == ["id", "name"]
    assert json.loads(record["condition"]) == SCAN["filter"]


def test_nobody_reports_of_what_is_not_theirs(world: World) -> None:
    assert world("analysts", "POST", f"{TABLES}/nation/metrics", SCAN).status_code == 403
    assert world.only()["what"] == "catalog.refused"


@pytest.mark.parametrize(
    "ask",
    [
        lambda world: world("keepers", "GET", "/iceberg/v1/config"),
        lambda world: world("keepers", "GET", TABLES),
        lambda world: world("keepers", "HEAD", f"{TABLES}/nation"),
        lambda world: world("keepers", "POST", f"{TABLES}/nation/metrics", {"report-type": "commit-report"}),
        lambda world: world.client.get(f"{TABLES}/nation"),
    ],
    ids=["config", "listing", "existence", "commit report", "nobody"],
)
def test_what_opens_nothing_leaves_no_record(world: World, ask: Callable[[World], object]) -> None:
    ask(world)
    assert world.records == []


def test_a_table_that_is_not_there_was_not_read(world: World) -> None:
    world.status = 404
    assert world("keepers", "GET", f"{TABLES}/nation").status_code == 404
    assert world.records == []


def test_what_an_engine_sends_is_bounded(world: World, tmp_path: Path) -> None:
    long = {
        **SCAN,
        "projected-field-names": ["x" * 9_000] * 1_000,
        "filter": "y" * 90_000,
        "snapshot-id": "z",
    }
    assert world("keepers", "POST", f"{TABLES}/nation/metrics", long).status_code == 204
    size = len(json.dumps(world.only()))
    assert size < 300_000
    Spool(tmp_path, 1 << 20).append([b"x" * size])
