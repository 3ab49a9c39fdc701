"""Bundles as the real OPA takes them: signature, tampering, age, and its own API."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from contracts.access import AccessData, TagAssignment
from governance.bundle import build_bundle, read_rego
from governance.reports import FilterUse
from tests.policies.server import (
    GARBAGE,
    POLICIES,
    TOKEN,
    Json,
    Opa,
    compiled,
    question,
    seed_access,
    signing_keys,
)

ASKED = question("engineer", ["data_engineers"], "ExecuteQuery")


def repack(bundle: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """The bundle with each file changed; None leaves the file out."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(bundle)) as source,
        gzip.GzipFile(fileobj=packed, mode="wb") as zipped,
        tarfile.open(fileobj=zipped, mode="w") as target,
    ):
        for member in source:
            file = source.extractfile(member)
            assert file is not None
            content = change(member.name, file.read())
            if content is not None:
                entry = tarfile.TarInfo(member.name)
                entry.size = len(content)
                target.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _widened(name: str, content: bytes) -> bytes:
    return content.replace(b'"auditors":true', b'"outsiders":true') if name == "data.json" else content


def _more_rego(name: str, content: bytes) -> bytes:
    return content + b"\nallow := true\n" if name.endswith("entry.rego") else content


def _unsigned(name: str, content: bytes) -> bytes | None:
    return None if name == ".signatures.json" else content


def _less(name: str, content: bytes) -> bytes | None:
    return None if name.endswith("views.rego") else content


def _other_revision(name: str, content: bytes) -> bytes:
    return content.replace(b'"revision":"2"', b'"revision":"9"') if name == ".manifest" else content


def bundle_of(data: Json, private_key: str) -> bytes:
    return build_bundle(data, read_rego(POLICIES / "trino"), private_key)


@pytest.mark.parametrize("change", [_widened, _more_rego, _unsigned, _less, _other_revision])
def test_tampered_bundle_is_refused(
    opa_program: Path,
    keys: tuple[str, str],
    tmp_path: Path,
    change: Callable[[str, bytes], bytes | None],
) -> None:
    with Opa.start(opa_program, tmp_path, keys) as server:
        original = bundle_of(compiled(seed_access(), revision=2), keys[0])
        server.store.content = repack(original, change)
        assert server.store.content != original
        assert re.search(r"signature|digest mismatch", _error(server))
        assert "result" not in server.read("data/lab/bundle")
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            server.decide("allow", ASKED)
        server.store.content = original
        server.wait("/health?bundles")
        assert server.decide("allow", ASKED) is True


def test_bundle_of_another_key_is_refused(opa_program: Path, keys: tuple[str, str], tmp_path: Path) -> None:
    with Opa.start(opa_program, tmp_path, keys) as server:
        server.store.content = bundle_of(compiled(seed_access()), signing_keys()[0])
        assert "verify" in _error(server)


def test_signature_covers_every_kind_of_text(
    opa_program: Path, keys: tuple[str, str], tmp_path: Path
) -> None:
    strange = "a\u2028b\u2029c<&>\"'\\\u0001\u007f\té\U0001f600\b\f"
    access = seed_access()
    rule = next(rule for rule in access.rules if rule.id == "region-by-name")
    odd = AccessData(
        grants=access.grants,
        tags=(*access.tags, TagAssignment(object="web.events.url", tag="web.url")),
        rules=(type(rule)(**{**vars(rule), "values": {"analysts_emea": (strange, -5)}}),),
    )
    with Opa.start(opa_program, tmp_path, keys) as server:
        server.publish(compiled(odd))
        table = {"catalogName": "lake", "schemaName": "web", "tableName": "events"}
        asked = question("e", ["analysts_emea"], "GetRowFilters", resource={"table": table})
        quoted = strange.replace("'", "''")
        condition = f"\"region\" IN ('{quoted}', -5)"
        told = FilterUse(rule="region-by-name", predicate=condition, identity=None, guarded=True).told
        assert server.decide("rowFilters", asked) == [{"expression": told}]


def test_old_bundle_denies_everything(opa_program: Path, keys: tuple[str, str], tmp_path: Path) -> None:
    table = {"catalogName": "lake", "schemaName": "retail", "tableName": "orders"}
    with Opa.start(opa_program, tmp_path, keys) as server:
        server.publish(compiled(seed_access(), age_s=118, max_age_s=120))
        assert server.decide("allow", ASKED) is True
        time.sleep(2.5)
        assert server.decide("allow", ASKED) is False
        filters = question("engineer", ["data_engineers"], "GetRowFilters", resource={"table": table})
        assert server.decide("rowFilters", filters) == [{"expression": "false"}]
        server.publish(compiled(seed_access(), revision=2))
        assert server.decide("allow", ASKED) is True


@pytest.mark.parametrize("moved_s", [3600, -3600], ids=["forward", "back"])
def test_a_clock_moved_by_an_hour_denies_everything_until_the_bundle_is_signed_anew(
    opa_program: Path, keys: tuple[str, str], tmp_path: Path, moved_s: int
) -> None:
    """Moving the clock forward makes a bundle as old as that, moving it back one from the future."""
    with Opa.start(opa_program, tmp_path, keys) as server:
        server.publish(compiled(seed_access(), age_s=moved_s, max_age_s=3500))
        assert server.decide("allow", ASKED) is False
        assert server.decide("rowFilters", ASKED) == [{"expression": "false"}]
        server.publish(compiled(seed_access(), revision=2))
        assert server.decide("allow", ASKED) is True


def test_opa_api_is_closed(opa: Opa) -> None:
    client, url = opa.client, opa.url
    token = {"Authorization": "Bearer the-token-of-a-test-long-enough"}
    assert client.get(f"{url}/health").status_code == 200
    assert client.get(f"{url}/metrics").status_code == 401
    assert client.get(f"{url}/metrics", headers=token).status_code == 200
    assert client.get(f"{url}/v1/data/lab/bundle").status_code == 401
    assert client.get(f"{url}/v1/config", headers=token).status_code == 401
    body = {"input": ASKED}
    assert client.post(f"{url}/v1/data/lab/trino/allow", json=body).status_code == 200
    assert client.post(f"{url}/v1/data/lab/trino/allow?explain=full", json=body).status_code == 401
    assert client.post(f"{url}/v1/data/lab/trino", json=body).status_code == 401
    assert client.post(f"{url}/v1/query", json={"query": "x := 1"}, headers=token).status_code == 401
    assert client.post(f"{url}/v1/compile", json={"query": "x := 1"}, headers=token).status_code == 401
    policy = "package lab.trino\nallow := true\n"
    written = client.put(f"{url}/v1/policies/mine", content=policy, headers=token)
    assert written.status_code == 401
    assert client.put(f"{url}/v1/data/lab/bundle", json={}, headers=token).status_code == 401
    assert client.patch(f"{url}/v1/data", json=[], headers=token).status_code == 401
    assert client.delete(f"{url}/v1/data/lab", headers=token).status_code == 401


def _error(server: Opa) -> str:
    """What OPA says of the bundle once it has fetched it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        bundles = server.read("status")["result"].get("bundles", {})
        status: Json = next(iter(bundles.values()), {})
        if status.get("message") and str(status.get("http_code")) != "404":
            return json.dumps(status)
        if status.get("active_revision"):
            return ""
        time.sleep(0.05)
    raise TimeoutError("OPA fetched nothing")


def test_the_garbage_collector_is_set_as_the_component_says(opa: Opa) -> None:
    answer = opa.client.get(f"{opa.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    found = dict(line.split(" ") for line in answer.text.splitlines() if line.startswith("go_gc_go"))
    assert float(found["go_gc_gogc_percent"]) == int(GARBAGE["GOGC"])
    limit_mib = int(GARBAGE["GOMEMLIMIT"].removesuffix("MiB"))
    assert float(found["go_gc_gomemlimit_bytes"]) == limit_mib << 20
