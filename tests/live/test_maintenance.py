"""Maintenance in a running lab: by whom, of what, and what the lab's catalog bears."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from contracts.identity import MAINTAINER_CLIENT
from governance.reconcile.oauth import ClientCredentials
from governance.trino import TrinoClient, TrinoError
from tests.live.conftest import LiveLab

pytestmark = pytest.mark.live

WORN = "raw.worn"
COMMITS = 4
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def worn(lab: LiveLab) -> Iterator[str]:
    """A table of small commits, and a policy that finds them worth the work."""
    lab.ok("sql", "CREATE TABLE raw.worn (n bigint, secret varchar)", "--as", "engineer")
    for number in range(COMMITS):
        lab.ok("sql", f"INSERT INTO raw.worn SELECT {number}, 'hush'", "--as", "engineer")
    fields = ("min_files=3", "min_manifests=3")
    lab.ok("maintain", "policy", "set", WORN, *fields, "--reason", "small commits", "--as", "engineer")
    yield WORN
    lab.ok("maintain", "policy", "unset", WORN, "--reason", "gone", "--as", "engineer")
    lab.ok("sql", "DROP TABLE raw.worn", "--as", "engineer")


@pytest.fixture(scope="module")
def maintainer(lab: LiveLab) -> Iterator[TrinoClient]:
    """Trino with the maintaining service account's own token: what somebody could do who got hold of it."""
    found = lab.json("credentials", "--all")
    token = ClientCredentials(
        f"{found['urls']['sign-in']}/protocol/openid-connect/token",
        MAINTAINER_CLIENT,
        found["keys"][f"client {MAINTAINER_CLIENT}"],
        scope="openid trino",
    )
    # The certificate is the lab's own; whose it is was checked by the commands above.
    with httpx.Client(base_url=found["urls"]["trino"], auth=token, verify=False, trust_env=False) as http:  # noqa: S501 - loopback, a test
        yield TrinoClient(http, catalog="lake", source="test")


def outcomes(run: dict[str, Any]) -> dict[str, str]:
    return {step["procedure"]: step["outcome"] for step in run["steps"]}


def test_an_engineer_has_a_table_maintained_and_the_history_tells(lab: LiveLab, worn: str) -> None:
    plan = lab.json("maintain", worn, "--dry-run", "--as", "engineer")["plans"][0]
    verdicts = {step["procedure"]: step["verdict"] for step in plan["steps"]}
    assert (verdicts["optimize"], verdicts["optimize_manifests"]) == ("run", "run")
    report = lab.json("maintain", worn, "--as", "engineer")
    (run,) = report["runs"]
    assert (run["outcome"], run["asked_by"], run["error"]) == ("done", "engineer", None)
    assert run["before"]["files"] == run["before"]["manifests"] == COMMITS
    assert run["after"]["files"] == run["after"]["manifests"] == 1
    assert lab.rows("SELECT count(*) AS c, sum(n) AS s FROM raw.worn", "engineer") == [{"c": 4, "s": 6}]
    (again,) = lab.json("maintain", worn, "--as", "engineer")["runs"]
    assert again["outcome"] == "nothing"
    history = lab.json("maintain", "history", worn, "--as", "auditor")
    assert [one["id"] for one in history] == [again["id"], run["id"]]
    assert "4 -> 1" in lab.ok("maintain", "history", worn, "--as", "engineer")


def test_what_the_catalog_does_not_bear_is_refused_with_a_word(lab: LiveLab, worn: str) -> None:
    kind = lab.json("status")["catalog"]
    report = lab.json("maintain", worn, "--as", "engineer")
    refused = {name for name, outcome in outcomes(report["runs"][0]).items() if outcome == "unsafe"}
    expected = {"expire_snapshots", "remove_orphan_files"} if kind == "nessie" else set()
    assert refused == expected == set(report["scope"]["unsafe"])
    if expected:
        assert "Nessie" in lab.ok("maintain", worn, "--dry-run", "--as", "engineer")


def test_nobody_removes_files_past_the_governor(lab: LiveLab, worn: str) -> None:
    for persona in ("engineer", "admin"):
        for procedure in ("expire_snapshots", "remove_orphan_files"):
            refused = lab.run("sql", f"ALTER TABLE {worn} EXECUTE {procedure}", "--as", persona)
            assert refused.returncode == 1
            assert "Access Denied" in refused.stderr, refused.stderr
    session = lab.run("sql", "SET SESSION lake.expire_snapshots_min_retention = '0s'", "--as", "admin")
    assert "Access Denied" in session.stderr
    below = lab.run("maintain", "policy", "set", worn, "keep_snapshots=1d", "--reason", "r", "--as", "admin")
    assert below.returncode == 2
    assert "shorter than this lab permits anybody" in below.stderr


def test_a_table_under_rules_is_maintained_by_who_sees_none_of_it(
    lab: LiveLab, maintainer: TrinoClient
) -> None:
    (run,) = lab.json("maintain", "retail.customer", "--as", "engineer")["runs"]
    assert run["error"] is None
    assert run["before"]["files"] >= 1
    assert maintainer.rows('SELECT count(*) FROM retail."customer$files"', timeout_s=LIMIT_S)[0][0] >= 1
    for statement in (
        "SELECT c_name FROM retail.customer",
        "SELECT * FROM retail.customer",
        'SELECT lower_bounds FROM retail."customer$files"',
        'SELECT data FROM retail."customer$partitions"',
        'SELECT summary FROM retail."customer$snapshots"',
        "INSERT INTO retail.region VALUES (9, 'x', 'x')",
        "DELETE FROM retail.region",
        "DROP TABLE retail.region",
        "CREATE TABLE raw.mine AS SELECT 1 AS x",
        "SELECT query FROM system.runtime.queries",
        "CALL system.runtime.kill_query('20260101_000000_00000_aaaaa')",
    ):
        with pytest.raises(TrinoError, match="Access Denied"):
            maintainer.rows(statement, timeout_s=LIMIT_S)
    if lab.json("status")["catalog"] == "nessie":
        for procedure in ("expire_snapshots", "remove_orphan_files"):
            with pytest.raises(TrinoError, match="Access Denied"):
                maintainer.rows(f"ALTER TABLE retail.region EXECUTE {procedure}", timeout_s=LIMIT_S)


def test_who_may_not_maintain_is_told_so(lab: LiveLab) -> None:
    for persona, table in (("engineer", "hr.employees"), ("analyst_emea", "retail.orders")):
        refused = lab.run("maintain", table, "--as", persona)
        assert refused.returncode == 1
        assert "may not have" in refused.stderr
    assert "no table that you may have" in lab.ok("maintain", "--as", "analyst_emea")
    (run,) = lab.json("maintain", "hr.employees", "--as", "admin")["runs"]
    assert run["error"] is None


def test_a_running_query_is_seen_with_what_it_reads(lab: LiveLab, maintainer: TrinoClient) -> None:
    """What keeps its snapshot from being expired, on a catalog that bears expiry."""
    sql = "SELECT count(*) FROM retail.lineitem a CROSS JOIN retail.lineitem b CROSS JOIN retail.orders c"
    slow = lab.start("sql", sql, "--as", "analyst_emea")
    try:
        deadline = time.monotonic() + LIMIT_S
        seen: list[dict[str, Any]] = []
        while not seen:
            assert time.monotonic() < deadline, "the query is not seen"
            running = [one for one in maintainer.read("/v1/query") if one["state"] == "RUNNING"]
            full = [maintainer.read(f"/v1/query/{one['queryId']}?pruned=true") for one in running]
            seen = [
                item
                for one in full
                if one is not None and one["session"]["user"] == "analyst_emea"
                for item in one["inputs"]
            ]
            time.sleep(0.5)
        assert {one["table"] for one in seen} >= {"lineitem"}
        assert all(one["connectorInfo"]["snapshotId"] for one in seen)
    finally:
        slow.terminate()
        slow.communicate(timeout=60)
