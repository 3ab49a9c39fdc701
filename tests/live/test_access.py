"""Access data changed, compared and explained on a running lab; each test leaves it as it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from governance.query import DeniedError
from tests.live.conftest import LiveLab

pytestmark = pytest.mark.live

DIFF_LIMIT_S = 20.0
IN_FORCE_S = 10.0


def living(lab: LiveLab) -> int:
    """The living revision."""
    found: int = lab.json("access", "history", "-n", "1", "--as", "steward")[0]["revision"]
    return found


@pytest.fixture
def before(lab: LiveLab) -> Iterator[int]:
    """The revision to come back to."""
    number = living(lab)
    yield number
    lab.ok("access", "rollback", str(number), "--reason", "end of a test", "--widen", "--as", "admin")


def await_value(lab: LiveLab, sql: str, persona: str, expected: int) -> None:
    """Until what was published is in force: OPA asks about once a second."""
    deadline = time.monotonic() + IN_FORCE_S
    while (found := lab.value(sql, persona)) != expected:
        assert time.monotonic() < deadline, f"{persona}: {sql} gives {found}, not {expected}"
        time.sleep(0.2)


def is_denied(lab: LiveLab, sql: str, persona: str) -> bool:
    try:
        lab.rows(sql, persona)
    except DeniedError:
        return True
    return False


def refused(lab: LiveLab, *arguments: str, said: str, code: int = 2) -> None:
    """A command that must fail in these words."""
    result = lab.run(*arguments)
    assert result.returncode == code, result.stdout + result.stderr
    assert said in result.stdout + result.stderr


def test_a_tag_and_a_rule_reach_trino_and_go_again(lab: LiveLab, before: int) -> None:
    sql = "SELECT count(s_acctbal) FROM lake.retail.supplier"
    assert lab.value(sql, "auditor") == 100
    lab.ok("access", "tag", "retail.*", "test.all", "--reason", "r", "--as", "steward")
    rule = ("test-amounts", "--on", "retail.supplier.s_acctbal", "--mask", "null")
    exempt = ("--exempt", "data_engineers", "--reason", "r", "--as", "steward")
    made = lab.json("access", "rule", *rule, *exempt)
    assert made["published"]
    await_value(lab, sql, "auditor", 0)
    assert lab.value(sql, "engineer") == 100
    lab.ok("access", "rollback", str(before), "--reason", "r", "--widen", "--as", "admin")
    await_value(lab, sql, "auditor", 100)


def test_a_rule_on_a_namespace_reaches_every_table_of_it(lab: LiveLab, before: int) -> None:
    filtering = ("--filter", "r_regionkey = 1", "--exempt", "data_engineers")
    refused(
        lab,
        *("access", "rule", "test-rows", "--on", "hr.departments", *filtering, "--reason", "r"),
        *("--as", "steward"),
        said="no column 'r_regionkey'",
    )
    lab.ok("access", "rule", "test-none", "--on", "web.*", "--deny", "--reason", "r", "--as", "steward")
    deadline = time.monotonic() + IN_FORCE_S
    while not is_denied(lab, "SELECT url FROM lake.web.events LIMIT 1", "engineer"):
        assert time.monotonic() < deadline, "the rule is not in force"
        time.sleep(0.2)


def test_what_is_wrong_is_refused(lab: LiveLab) -> None:
    tail = ("--reason", "r", "--as", "steward")
    revision = living(lab)
    refused(lab, "access", "tag", "retail.suplier", "x", *tail, said="did you mean 'retail.supplier'")
    refused(lab, "access", "tag", "retail.part.p_nam", "x", *tail, said="did you mean 'p_name'")
    broken = ("access", "rule", "b", "--on", "retail.part", "--filter", "p_size = = 1")
    refused(lab, *broken, *tail, said="not usable")
    refused(lab, "access", "revoke", "rule", "mask-phone", *tail, said="show somebody more")
    grant = ("access", "grant", "select", "retail.part", "--to", "hr_partners")
    refused(lab, *grant, *tail, said="may not edit grants", code=1)
    wrong = ("access", "grant", "select", "retail.part", "--to", "hr_partner", "--reason", "r")
    refused(lab, *wrong, "--as", "admin", said="did you mean 'hr_partners'")
    assert living(lab) == revision


@pytest.mark.parametrize(
    ("user", "table", "readable"),
    [
        ("analyst_emea", "retail.customer", True),
        ("analyst_emea", "hr.employees", True),
        ("engineer", "retail.customer", True),
        ("engineer", "hr.employees", False),
        ("outsider", "web.events", False),
    ],
)
def test_opa_decides_as_is_explained(lab: LiveLab, user: str, table: str, readable: bool) -> None:
    found = lab.json("policy", "explain", "--as", user, table)
    assert found["agrees"] is True, found["differences"]
    assert found["explanation"]["readable"] is readable


def test_a_comparison_counts_what_trino_then_shows(lab: LiveLab, before: int) -> None:
    sql = "SELECT count(*) FROM lake.retail.customer"
    old = lab.value(sql, "analyst_amer")
    removal = ("access", "revoke", "rule", "region-by-key", "--reason", "r", "--as", "steward")
    lab.ok(*removal, "--widen")
    began = time.monotonic()
    result = lab.run("policy", "diff", f"{before}..living", "--json")
    assert time.monotonic() - began < DIFF_LIMIT_S
    assert result.returncode == 4, result.stdout + result.stderr
    impacts: dict[Any, Any] = {
        (one["username"], one["table"]): one for one in json.loads(result.stdout)["impacts"]
    }
    tables = ("retail.customer", "retail.orders", "retail.lineitem")
    assert set(impacts) == {(who, t) for who in ("analyst_emea", "analyst_amer") for t in tables}
    rows = impacts["analyst_amer", "retail.customer"]["rows"]
    await_value(lab, sql, "analyst_amer", rows["after"])
    assert rows["before"] == old
    assert (rows["gained"], rows["lost"]) == (rows["after"] - old, 0)
    back = lab.run("policy", "diff", f"living..{before}")
    assert back.returncode == 0
    assert "Nobody gains anything" in back.stdout


def test_each_kind_of_predicate_counts_what_its_reader_sees(lab: LiveLab, before: int) -> None:
    """From no filter to some: what is left is what the reader sees. One filter is by values, one is by the
    reader's name, one reads another table as ``$row-filter``, which is refused until it is accepted."""
    for rule in ("region-by-key", "supervisor-chain"):
        lab.ok("access", "revoke", "rule", rule, "--reason", "r", "--widen", "--as", "steward")
    bare = living(lab)
    lab.ok("access", "rollback", str(before), "--reason", "r", "--as", "admin")
    condition = "s_nationkey IN (SELECT n_nationkey FROM {catalog}.retail.nation WHERE n_regionkey = 3)"
    making = ("access", "rule", "test-europe", "--on", "retail.supplier", "--filter", condition)
    looking = (*making, "--as-filter-user", "--reason", "r", "--as", "steward")
    refused(lab, *looking, said="the filter reads another table")
    made = lab.ok(*looking, "--accept-leak", "--exempt", "data_engineers")
    assert "warning: rule test-europe reads another table" in made
    assert "warning:" in lab.ok("policy", "explain", "--as", "analyst_emea", "retail.supplier")
    report = lab.json("policy", "diff", f"{bare}..living", "--as", "analyst_emea")
    assert any("test-europe reads another table" in note for note in report["notes"])
    counted = {one["table"]: one["rows"]["after"] for one in report["impacts"]}
    tables = {"retail.customer", "retail.orders", "retail.lineitem", "retail.supplier", "hr.employees"}
    assert set(counted) == tables
    for table, rows in counted.items():
        await_value(lab, f"SELECT count(*) FROM lake.{table}", "analyst_emea", rows)  # noqa: S608 - names above


def test_the_working_tree_is_what_runs(lab: LiveLab) -> None:
    report = lab.json("policy", "diff")
    assert (report["changes"], report["impacts"], report["widens"]) == ([], [], False)


def test_the_policies_pass_their_tests(lab: LiveLab) -> None:
    found = lab.json("policy", "test")
    assert found["ok"]
    assert found["coverage"] >= 95


def test_doctor_finds_no_drift(lab: LiveLab) -> None:
    findings = {one["subject"]: one for one in lab.json("doctor")["findings"]}
    assert findings["access data"]["verdict"] == "ok", findings["access data"]
