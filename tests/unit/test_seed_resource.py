"""The seeds as Pulumi resources: what diff says, what is kept, and that nothing is captured."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dill
import httpx
import pytest
import respx
from pulumi.dynamic.dynamic import serialize_provider
from pyiceberg.catalog.sql import SqlCatalog

from contracts.access import AccessData
from contracts.errors import LabError, UsageError
from seed import access, resource, tables
from seed.access import AccessProvider, access_digest, read_access_data
from seed.connection import Connection
from seed.resource import ConvergingProvider, TablesProvider
from seed.settling import settle_catalog
from seed.tokens import ClientCredentials

ROOT = Path(__file__).parents[2]
CONNECTION = {
    "catalog_uri": "http://127.0.0.1:1/catalog",
    "warehouse": "w",
    "token_url": "http://127.0.0.1:1/token",
    "client_id": "seeder",
    "client_secret": "s3cret-value",
    "governor_url": "http://127.0.0.1:1/governor",
}

REPORT: dict[str, Any] = {
    "catalog_kind": "polaris",
    "revision": 3,
    "started_at": "2026-01-02T03:04:05Z",
    "duration_s": 0.5,
    "tables": 0,
    "pending": ["Polaris: TABLE_LIST on namespace retail for auditors: no such object yet"],
}


@pytest.mark.parametrize("provider", [TablesProvider(), AccessProvider()])
def test_a_provider_is_pickled_by_reference(provider: ConvergingProvider) -> None:
    assert vars(provider) == {}
    pickled = base64.b64decode(serialize_provider(provider))
    assert len(pickled) < 100
    assert type(dill.loads(pickled)) is type(provider)  # noqa: S301  # made two lines above


def test_diff_looks_at_inputs_only() -> None:
    provider = TablesProvider()
    news = {"name": "t", "digest": "1", "what": ["all"], "rows": None, "__provider": "new pickle"}
    olds = {"name": "t", "digest": "1", "what": ["all"], "rows": {"a": 1}, "__provider": "old pickle"}
    assert provider.diff("t", olds, news).changes is False
    changed = provider.diff("t", olds, {**news, "digest": "2"})
    assert changed.changes is True
    assert changed.replaces == []


def test_create_adopts_and_delete_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[SqlCatalog] = []

    def open_local(connection: Connection) -> SqlCatalog:
        assert connection.client_secret == "s3cret-value"
        opened.append(SqlCatalog("t", uri=f"sqlite:///{tmp_path}/c.db", warehouse=f"file://{tmp_path}"))
        return opened[-1]

    settled: list[Connection] = []
    monkeypatch.setattr(tables, "open_catalog", open_local)
    monkeypatch.setattr("seed.settling.settle_catalog", settled.append)
    provider = TablesProvider()
    props: dict[str, Any] = {
        "name": "tables",
        "digest": "d",
        "connection": CONNECTION,
        "scale_factor": 0.001,
        "what": ["hr"],
        "rows": None,
    }
    created = provider.create(props)
    assert created.id == "tables"
    assert created.outs is not None
    assert created.outs["rows"] == {"hr.departments": 8, "hr.employees": 120}
    assert settled == [Connection.from_inputs(CONNECTION)]
    provider.delete(created.id, created.outs)
    adopted = provider.create(props)
    assert adopted.outs == created.outs
    updated = provider.update(created.id, created.outs, {**props, "what": ["hr.departments"]})
    assert updated.outs is not None
    assert updated.outs["rows"] == {"hr.departments": 8}
    assert len(settled) == 1, "nothing was written again, so no grant can be missing"
    for catalog in opened:
        catalog.engine.dispose()


def test_a_connection_names_what_it_lacks() -> None:
    with pytest.raises(LabError, match="lacks 'client_secret'"):
        Connection.from_inputs({**CONNECTION, "client_secret": ""})
    assert "s3cret" not in repr(Connection.from_inputs(CONNECTION))


def test_access_files_are_joined_and_checked(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no access data"):
        read_access_data(tmp_path)
    (tmp_path / "grants.yaml").write_text(
        "grants:\n- {group: analysts_emea, object: retail.*, privileges: [select]}\n"
    )
    (tmp_path / "tags.yaml").write_text("tags:\n- {object: hr.employees.email, tag: pii.email}\n")
    document = read_access_data(tmp_path)
    assert AccessData.from_document(document).grants[0].group == "analysts_emea"
    assert access_digest(document) == access_digest(json.loads(json.dumps(document)))
    (tmp_path / "more.yaml").write_text("grants: []\n")
    with pytest.raises(LabError, match="'grants' a second time"):
        read_access_data(tmp_path)
    (tmp_path / "more.yaml").write_text("grunts: []\n")
    with pytest.raises(UsageError, match="did you mean 'grants'"):
        read_access_data(tmp_path)
    (tmp_path / "more.yaml").write_text("grants: [\n")
    with pytest.raises(LabError, match=r"more\.yaml is not valid YAML"):
        read_access_data(tmp_path)


def test_the_repositorys_access_data_is_valid() -> None:
    assert AccessData.from_document(read_access_data()).rules


@respx.mock
def test_access_is_posted_with_the_seeders_token() -> None:
    respx.post(CONNECTION["token_url"]).respond(json={"access_token": "tok", "expires_in": 300})
    seeded = respx.post(CONNECTION["governor_url"] + "/v1/access/seed").respond(
        json={
            "changed": True,
            "revision": 3,
            "added": 1,
            "updated": 0,
            "removed": 0,
            "kept": 2,
            "published": True,
        }
    )
    reconciled = respx.post(CONNECTION["governor_url"] + "/v1/reconcile").respond(json=REPORT)
    document: dict[str, Any] = {"grants": [], "tags": [], "rules": []}
    outs = (
        AccessProvider()
        .create(
            {
                "name": "access",
                "digest": "d",
                "document": json.dumps(document),
                "connection": CONNECTION,
                "revision": None,
            }
        )
        .outs
    )
    assert outs is not None
    assert (outs["revision"], outs["kept"]) == (3, 2)
    assert reconciled.call_count == 1
    request = seeded.calls.last.request
    assert request.headers["Authorization"] == "Bearer tok"
    assert json.loads(request.content) == {"document": document, "digest": "d", "reset": False}
    with pytest.raises(LabError, match="has no governor"):
        access.seed_access(Connection.from_inputs({**CONNECTION, "governor_url": ""}), document, "d")


@respx.mock
def test_a_seed_ends_when_the_catalog_took_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("seed.settling.time.sleep", pauses.append)
    respx.post(CONNECTION["token_url"]).respond(json={"access_token": "tok", "expires_in": 300})
    refused = {**REPORT, "errors": ["Polaris catalog: it does not answer", "more"]}
    route = respx.post(CONNECTION["governor_url"] + "/v1/reconcile")
    route.side_effect = [httpx.Response(200, json=refused), httpx.Response(200, json=REPORT)]
    assert settle_catalog(Connection.from_inputs(CONNECTION)).pending == tuple(REPORT["pending"])
    assert (route.call_count, len(pauses)) == (2, 1)
    route.side_effect = None
    route.respond(json=refused)
    with pytest.raises(LabError, match="does not take the access data: Polaris catalog") as caught:
        settle_catalog(Connection.from_inputs(CONNECTION), patience_s=0)
    assert "lab logs governor" in str(caught.value)


@respx.mock
def test_tokens_are_cached_until_they_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("seed.tokens.time.monotonic", lambda: now)
    route = respx.post("http://127.0.0.1:1/token").respond(json={"access_token": "a", "expires_in": 300})
    token = ClientCredentials(token_url="http://127.0.0.1:1/token", client_id="seeder", client_secret="x")
    assert (token(), token()) == ("a", "a")
    assert route.call_count == 1
    now += 271
    assert token() == "a"
    assert route.call_count == 2


@respx.mock
def test_a_refused_client_is_named_without_its_secret() -> None:
    token = ClientCredentials(
        token_url="http://127.0.0.1:1/token", client_id="seeder", client_secret="s3cret-value"
    )
    respx.post("http://127.0.0.1:1/token").respond(401, json={"error": "unauthorized_client"})
    with pytest.raises(LabError, match=r"'seeder' got no token: HTTP 401.*unauthorized_client") as caught:
        token()
    assert "s3cret" not in str(caught.value)
    respx.post("http://127.0.0.1:1/token").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(LabError, match="can't be reached"):
        token()


def test_outputs_hold_ids_as_text() -> None:
    from seed.model import SeedReport, Status, TableResult

    result = TableResult(status=Status.CREATED, rows=5, snapshot_id=2**62 + 1, digest="d")
    outs = resource.table_outputs(SeedReport(tables={"a.b": result}, seconds=1.0))
    assert outs == {"rows": {"a.b": 5}, "snapshot_ids": {"a.b": "4611686018427387905"}, "notices": []}


def test_the_input_digest_follows_code_files_and_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "events.py").write_text("a = 1")
    (tmp_path / "data" / "people.csv").write_text("x")
    monkeypatch.setattr(resource, "_ROOM", tmp_path)
    monkeypatch.setattr(resource, "_READING", tmp_path / "ingestion")
    (tmp_path / "ingestion").mkdir()
    (tmp_path / "ingestion" / "writer.py").write_text("a = 1")

    def digest(scale_factor: float = 0.1, what: str = "all") -> str:
        resource._content_digest.cache_clear()
        return resource.tables_digest(scale_factor, [what])

    found = [digest(), digest(0.2), digest(what="hr")]
    (tmp_path / "events.py").write_text("a = 2")
    found.append(digest())
    (tmp_path / "data" / "people.csv").write_text("y")
    found.append(digest())
    (tmp_path / "ingestion" / "writer.py").write_text("a = 2")
    found.append(digest())
    assert len(set(found)) == 6
    assert digest() == digest()
    resource._content_digest.cache_clear()


def test_comparing_inputs_imports_no_client_library() -> None:
    code = (
        "import sys, stacks.lab, seed.resource, seed.access, placements.local.process;"
        "print([m for m in ('pyiceberg', 'pyarrow', 'httpx', 'minio', 'psycopg', 'jgo') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
