"""The audit of a running lab: a read and a refusal, each with its decisions, rules and revision."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pyiceberg.exceptions import ForbiddenError, ServerError, UnauthorizedError

from tests.live.conftest import LiveLab
from tests.live.people import People, raw_uses

pytestmark = pytest.mark.live

LIMIT_S = 30.0
REFUSALS = (ForbiddenError, ServerError, UnauthorizedError)


def awaited(lab: LiveLab, word: str, user: str) -> dict[str, Any]:
    """The line of the statement that holds ``word``, once its decisions are there."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = lab.json("audit", "--user", user, "--since", "5m", "--as", "auditor")["lines"]
        lines: list[dict[str, Any]] = [line for line in found if word in line["statement"]]
        if lines and lines[0]["decisions"] and lines[0]["ended_at"]:
            return lines[0]
        assert time.monotonic() < deadline, f"the audit has no such line of {user}: {found}"
        time.sleep(1)


def test_a_read_and_a_refusal_are_joined_with_rules_and_revision(lab: LiveLab) -> None:
    revision = lab.json("access", "history", "-n", "1", "--as", "auditor")[0]["revision"]
    sql = "SELECT c_custkey, c_phone FROM retail.customer WHERE c_name <> '{}'"
    rows = lab.rows(sql.format("needle of a read"), "analyst_emea")
    assert lab.run("sql", sql.format("needle of a refusal"), "--as", "outsider").returncode == 1

    read = awaited(lab, "needle of a read", "analyst_emea")
    (table,) = (one for one in read["tables"] if one["table"] == "retail.customer")
    assert (read["outcome"], read["rows"], read["groups"]) == ("finished", len(rows), ["analysts_emea"])
    assert {"c_custkey", "c_phone", "c_name"} <= set(table["columns"])
    assert "c_phone" in table["masked"]
    assert table["filters"] == 1
    explained = lab.json("policy", "explain", "--as", "analyst_emea", "retail.customer")["explanation"][
        "view"
    ]
    expected = {one["rule"] for one in explained["filters"]}
    expected |= {r for c in explained["columns"] if c["column"] in table["masked"] for r in c["rules"]}
    assert set(table["rules"]) == expected
    assert read["revisions"] == [revision]
    decided = {(one["operation"], one["object"]) for one in read["decisions"]}
    assert {
        ("ExecuteQuery", ""),
        ("SelectFromColumns", "retail.customer"),
        ("GetRowFilters", "retail.customer"),
        ("GetColumnMask", "retail.customer"),
    } <= decided

    refusal = awaited(lab, "needle of a refusal", "outsider")
    assert (refusal["outcome"], refusal["tables"]) == ("denied", [])
    assert refusal["refused"]
    assert refusal["revisions"] == [revision]


def test_the_audit_is_not_for_everybody_and_holds_no_key(lab: LiveLab) -> None:
    lab.rows("SELECT c_custkey, c_phone FROM retail.customer LIMIT 1", "analyst_emea")
    own = lab.json("audit", "--as", "analyst_emea")
    assert {line["user"] for line in own["lines"]} == {"analyst_emea"}
    refused = lab.run("audit", "--user", "engineer", "--as", "analyst_emea")
    assert refused.returncode == 1
    assert "may not read the audit of others" in refused.stderr
    everything = lab.ok("--json", "audit", "--limit", "200", "--as", "admin").lower()
    assert "hmac" not in everything
    assert all(len(line) <= 120 for line in lab.ok("audit", "--limit", "200", "--as", "auditor").splitlines())


def test_a_read_by_the_files_is_told_by_the_catalogs_door(lab: LiveLab, people: People) -> None:
    arrow = people.catalog("engineer").load_table("retail.nation").scan().to_arrow()
    assert arrow.num_rows == 25
    with pytest.raises(REFUSALS):
        people.catalog("analyst_emea").load_table("retail.supplier")
    if lab.json("status")["catalog"] != "nessie":
        assert raw_uses(lab, "--as", "auditor") == []  # Polaris answers raw engines itself.
        return
    deadline = time.monotonic() + LIMIT_S
    while not (read := raw_uses(lab, "--table", "retail.nation", "--user", "engineer", "--as", "auditor")):
        assert time.monotonic() < deadline, "the audit does not tell of the read"
        time.sleep(1)
    detail = read[0]["detail"]
    assert (read[0]["who"], read[0]["what"], detail["keys"]) == ("engineer", "catalog.read", True)
    assert detail["groups"] == ["data_engineers"]
    assert detail["revision"] == lab.json("access", "history", "-n", "1", "--as", "auditor")[0]["revision"]
    refused = raw_uses(lab, "--denied", "--as", "auditor")
    assert ("analyst_emea", ["retail.supplier"]) in [(one["who"], one["detail"]["tables"]) for one in refused]
    assert {one["who"] for one in raw_uses(lab, "--as", "analyst_emea")} == {"analyst_emea"}
