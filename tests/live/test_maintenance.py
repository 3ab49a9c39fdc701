"""Maintenance in a running lab: by whom, of what, and what the lab's catalog bears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest

from cli.tokens import Endpoint, PersonaTokens
from contracts.identity import MAINTAINER_CLIENT, Audience
from governance.maintenance.engine import MaintenanceError, TrinoEngine
from governance.reconcile.oauth import ClientCredentials
from governance.trino import TrinoClient, TrinoError
from tests.live.conftest import LiveLab

pytestmark = pytest.mark.live

WORN = "raw.worn"
COMMITS = 4
LIMIT_S = 60.0
NOT_ALLOWED = "Access Denied|not allowed"


class Bearer(httpx.Auth):
    """Shows a current token."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token()}"
        yield request


@pytest.fixture(scope="module")
def clients(lab: LiveLab) -> Iterator[Callable[[str], TrinoClient]]:
    """Trino as a sample user, or as the maintaining service account: what somebody could do who got hold of
    its secret."""
    found = lab.json("credentials", "--all")
    with ExitStack() as opened:

        def client(user: str) -> TrinoClient:
            auth: httpx.Auth = ClientCredentials(
                f"{found['urls']['sign-in']}/protocol/openid-connect/token",
                MAINTAINER_CLIENT,
                found["keys"][f"client {MAINTAINER_CLIENT}"],
                scope="openid trino",
            )
            if user != MAINTAINER_CLIENT:
                token = PersonaTokens(
                    Endpoint(issuer_url=found["urls"]["sign-in"]),
                    username=user,
                    password=next(p["password"] for p in found["personas"] if p["username"] == user),
                    client_secret=found["keys"]["client personas"],
                    audience=Audience.TRINO,
                )
                auth = Bearer(token)
            # The certificate is the lab's own; whose it is was checked by the commands of these tests.
            made = httpx.Client(base_url=found["urls"]["trino"], auth=auth, verify=False, trust_env=False)  # noqa: S501 - loopback, a test
            return TrinoClient(opened.enter_context(made), catalog="lake", source="test")

        yield client


@pytest.fixture(scope="module")
def maintainer(clients: Callable[[str], TrinoClient]) -> TrinoClient:
    """The service account."""
    return clients(MAINTAINER_CLIENT)


@pytest.fixture(scope="module")
def worn(lab: LiveLab, clients: Callable[[str], TrinoClient]) -> Iterator[str]:
    """A table of small commits, and a policy that finds them worth the work."""
    engineer = clients("engineer")
    engineer.rows("CREATE TABLE raw.worn (n bigint, secret varchar)", timeout_s=LIMIT_S)
    for number in range(COMMITS):
        engineer.rows(f"INSERT INTO raw.worn SELECT {number}, 'hush'", timeout_s=LIMIT_S)
    fields = ("min_files=3", "min_manifests=3")
    lab.ok("maintain", "policy", "set", WORN, *fields, "--reason", "small commits", "--as", "engineer")
    yield WORN
    lab.ok("maintain", "policy", "unset", WORN, "--reason", "gone", "--as", "engineer")
    engineer.rows("DROP TABLE raw.worn", timeout_s=LIMIT_S)


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
    assert [one["id"] for one in history][:2] == [again["id"], run["id"]]
    assert "4 -> 1" in lab.ok("maintain", "history", worn, "--as", "engineer")


def test_what_the_catalog_does_not_bear_is_refused_with_a_word(lab: LiveLab, worn: str) -> None:
    kind = lab.json("status")["catalog"]
    report = lab.json("maintain", worn, "--as", "engineer")
    refused = {name for name, outcome in outcomes(report["runs"][0]).items() if outcome == "unsafe"}
    expected = {"expire_snapshots", "remove_orphan_files"} if kind == "nessie" else set()
    assert refused == expected == set(report["scope"]["unsafe"])
    assert all("Nessie" in reason for reason in report["scope"]["unsafe"].values())


def test_nobody_removes_files_past_the_governor(
    lab: LiveLab, worn: str, clients: Callable[[str], TrinoClient]
) -> None:
    for persona in ("engineer", "admin"):
        trino = clients(persona)
        for procedure in ("expire_snapshots", "remove_orphan_files"):
            with pytest.raises(TrinoError, match="Cannot execute table procedure"):
                trino.rows(f"ALTER TABLE raw.worn EXECUTE {procedure}", timeout_s=LIMIT_S)
            with pytest.raises(TrinoError, match=NOT_ALLOWED):
                trino.rows(f"SET SESSION lake.{procedure}_min_retention = '0s'", timeout_s=LIMIT_S)
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
        with pytest.raises(TrinoError, match=NOT_ALLOWED):
            maintainer.rows(statement, timeout_s=LIMIT_S)
    if lab.json("status")["catalog"] == "nessie":
        for procedure in ("expire_snapshots", "remove_orphan_files"):
            with pytest.raises(TrinoError, match=NOT_ALLOWED):
                maintainer.rows(f"ALTER TABLE retail.region EXECUTE {procedure}", timeout_s=LIMIT_S)


def test_who_may_not_maintain_is_told_so(lab: LiveLab) -> None:
    for persona, table in (("engineer", "hr.employees"), ("analyst_emea", "retail.orders")):
        refused = lab.run("maintain", table, "--as", persona)
        assert refused.returncode == 1
        assert "may not have" in refused.stderr
    assert "no table that you may have" in lab.ok("maintain", "--as", "analyst_emea")
    (run,) = lab.json("maintain", "hr.employees", "--as", "admin")["runs"]
    assert run["error"] is None


def test_a_running_query_is_seen_with_what_it_reads(
    clients: Callable[[str], TrinoClient], maintainer: TrinoClient
) -> None:
    """What keeps its snapshot from being expired, on a catalog that bears expiry."""
    sql = "SELECT count(*) FROM retail.lineitem a CROSS JOIN retail.lineitem b CROSS JOIN retail.orders c"
    engine = TrinoEngine(maintainer, catalog="lake")
    slow = TrinoEngine(clients("analyst_emea"), catalog="lake", statement_s=20.0)

    def run() -> None:
        with suppress(MaintenanceError):
            slow.execute(sql)

    thread = threading.Thread(target=run)
    thread.start()
    deadline = time.monotonic() + 20
    read: frozenset[int | None] = frozenset()
    while not read and time.monotonic() < deadline:
        mine = [one for one in engine.running() if one.user == "analyst_emea" and one.reads]
        read = frozenset().union(*(one.reads["retail.lineitem"] for one in mine if one.reads))
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    ((current,),) = maintainer.rows('SELECT snapshot_id FROM retail."lineitem$refs"', timeout_s=LIMIT_S)
    assert read == {current}
