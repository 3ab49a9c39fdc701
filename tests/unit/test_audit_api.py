"""The audit over HTTP: producers by their tokens, people by theirs, and each sees what is theirs to see."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from governance.audit.collector import AuditSettings, Collector, Producer
from governance.audit.spool import Spool
from governance.audit.store import AuditStore
from governance.client import GovernorError, RefusedInputError
from governance.governor.app import create_app
from governance.governor.auditing import whose
from governance.governor.auth import Caller, ForbiddenError, TokenVerifier
from governance.governor.loops import Loop, audit_loop
from governance.store import make_engine
from tests.unit import governor_postgres
from tests.unit.audit_samples import completed, decision, query_id, table
from tests.unit.governor_lab import SEED, Lab, wait_for
from tests.unit.test_governor_auth import ISSUER, KEY, token

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url

TRINO, OPA = "t" * 32, "o" * 32


@pytest.fixture
def lab(database_url: str, tmp_path: Path) -> Iterator[Lab]:
    """A governor with a collector."""
    found = Lab(database_url)
    engine = make_engine(database_url)
    settings = AuditSettings(
        catalog="lake", retention_days=30, tokens={Producer.TRINO: TRINO, Producer.OPA: OPA}
    )
    collector = Collector(Spool(tmp_path, 1 << 20), AuditStore(engine), settings, wake=threading.Event())
    loops: tuple[Loop, ...] = (*found.loops, audit_loop(found.governor, collector))
    verifier = TokenVerifier(ISSUER, lambda _: KEY.public_key())
    found.server.config.app = create_app(found.governor, verifier, loops, collector=collector)
    found.start()
    yield found
    found.stop()
    engine.dispose()


def post(lab: Lab, what: str, body: bytes, bearer: str | None, **headers: str) -> int:
    """A producer's report; the status."""
    given = {**headers, **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    return httpx.post(f"{lab.url}/v1/audit/{what}", content=body, headers=given).status_code


def report(lab: Lab) -> None:
    """Queries of two users with one decision."""
    for number, user in ((1, "ann"), (2, "bob")):
        read = table("retail.customer", "id", user=user)
        event = completed(number, read, user=user, sql=f"SELECT '{user}'")
        assert post(lab, "queries", json.dumps(event).encode(), TRINO) == 204
    body = gzip.compress(json.dumps([decision(1)]).encode())
    assert post(lab, "decisions", body, OPA, **{"Content-Encoding": "gzip"}) == 204
    with lab.client() as admin:
        wait_for(lambda: admin.audit().waiting == 0)


@pytest.mark.parametrize("bearer", [None, "", "wrong", OPA])
def test_only_trino_reports_queries(lab: Lab, bearer: str | None) -> None:
    assert post(lab, "queries", json.dumps(completed(1)).encode(), bearer) == 401
    assert post(lab, "decisions", b"[]", TRINO) == 401
    user = token(preferred_username="admin", azp="cli", groups=["lab_admins"])
    assert post(lab, "queries", json.dumps(completed(1)).encode(), user) == 401
    with lab.client() as admin:
        assert admin.audit().lines == ()


def test_reports_come_to_the_database_and_auditors_see_everybody_s(lab: Lab) -> None:
    report(lab)
    for user, group in (("admin", "lab_admins"), ("auditor", "auditors")):
        with lab.client(user, group) as client:
            found = client.audit()
            assert [line.user for line in found.lines] == ["bob", "ann"]
            assert [line.user for line in client.audit(user="ann", since_s=10**8).lines] == ["ann"]
            assert client.audit(since_s=60).lines == ()
    assert found.lines[1].decisions[0].id == "d-1"
    assert found.retention_days == 30


def test_anybody_else_sees_their_own_and_nothing_of_others(lab: Lab) -> None:
    report(lab)
    for group in ("analysts", "data_stewards"):
        with lab.client("ann", group) as ann:
            assert [line.statement for line in ann.audit().lines] == ["SELECT 'ann'"]
            assert ann.audit(user="ann").lines == ann.audit().lines
            assert ann.audit(query_id=query_id(2)).lines == ()
            assert "bob" not in str(ann.audit())
            with pytest.raises(GovernorError, match="may not read the audit of others") as refused:
                ann.audit(user="bob")
            assert refused.value.status == 403


def test_service_accounts_read_no_audit() -> None:
    seeder = Caller(username="service-account-seeder", groups=frozenset(), service="seeder")
    with pytest.raises(ForbiddenError):
        whose(seeder, None)


def test_what_is_asked_for_is_checked(lab: Lab) -> None:
    with lab.client() as admin:
        for wrong in ({"query_id": "x'; --"}, {"limit": 0}, {"since_s": -1.0}, {"table": "x"}):
            with pytest.raises(RefusedInputError):
                admin.audit(**wrong)


def test_what_a_producer_can_not_mean_is_refused(lab: Lab) -> None:
    assert post(lab, "queries", b"{", TRINO) == 422
    assert post(lab, "decisions", b"{}", OPA) == 422
    with lab.client() as admin:
        wait_for(lambda: len([e for e in admin.audit().events if e.what == "gap"]) == 2)


def test_asking_for_spark_is_an_event(lab: Lab) -> None:
    with lab.client(service="seeder") as seeder:
        seeder.seed_access(SEED, "digest-1")
        assert seeder.reconcile().complete
    bearer = token(preferred_username="ann", azp="spark", groups=["analysts"])
    answer = httpx.get(f"{lab.url}/v1/access/raw", headers={"Authorization": f"Bearer {bearer}"})
    assert answer.status_code == 200
    with lab.client() as admin:
        assert ("ann", "spark.ask") in {(event.who, event.what) for event in admin.audit().events}
