"""What the rules bring about, by every persona through Trino; the doors beside Trino stay shut."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import psutil
import pytest

from governance.query import QueryError
from tests.live.conftest import LiveLab

pytestmark = pytest.mark.live


def test_the_conformance_suite_is_green(lab: LiveLab) -> None:
    result = lab.run("verify")
    assert result.returncode == 0, result.stdout + result.stderr


def test_same_statement_three_answers(lab: LiveLab) -> None:
    sql = "SELECT count(*) FROM lake.retail.customer"
    everybody = lab.value(sql, "engineer")
    emea, amer = lab.value(sql, "analyst_emea"), lab.value(sql, "analyst_amer")
    assert everybody == 1500
    assert 0 < emea < everybody
    assert 0 < amer < everybody
    assert emea + amer < everybody  # Asia belongs to neither
    refused = lab.run("sql", sql, "--as", "outsider")
    assert refused.returncode == 1
    assert "denied" in (refused.stdout + refused.stderr).lower()


def test_each_one_sees_own_row_and_those_below(lab: LiveLab) -> None:
    rows = lab.rows("SELECT username, management_chain FROM lake.hr.employees", "analyst_emea")
    assert "analyst_emea" in {row["username"] for row in rows}
    assert all("analyst_emea" in row["management_chain"] for row in rows)
    assert lab.value("SELECT count(*) FROM lake.hr.employees", "hr") > len(rows)


def test_masks_hide_values_and_keep_joins(lab: LiveLab) -> None:
    salary = lab.rows("SELECT salary, email FROM lake.hr.employees", "steward")
    assert all(row["salary"] is None for row in salary)
    assert all(re.fullmatch(r"\*\*\*@lakehouse\.example", row["email"]) for row in salary)
    joined = lab.value(
        "SELECT count(*) FROM lake.retail.orders o JOIN lake.retail.customer c ON o.o_custkey = c.c_custkey",
        "analyst_emea",
    )
    assert joined == lab.value("SELECT count(*) FROM lake.retail.orders", "analyst_emea")
    assert joined > 0


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM lake.retail."customer$files"',
        'SELECT * FROM lake.retail."customer$snapshots"',
        "CREATE TABLE lake.raw.copy AS SELECT * FROM lake.retail.customer",
        "DELETE FROM lake.retail.customer",
        "DROP TABLE lake.retail.customer",
        "CALL lake.system.register_table('raw', 'x', 's3://lab-warehouse/x')",
        "SELECT * FROM TABLE(lake.system.table_changes('retail', 'customer', 1, 2))",
        "SELECT c_address FROM lake.retail.customer",
        "SET SESSION AUTHORIZATION admin",
    ],
)
def test_an_analyst_is_refused(lab: LiveLab, sql: str) -> None:
    with pytest.raises(QueryError):
        lab.rows(sql, "analyst_emea")


def test_queries_of_others_are_nobodys_business(lab: LiveLab) -> None:
    lab.value("SELECT count(*) FROM lake.retail.part WHERE p_name <> 'needle_of_the_engineer'", "engineer")
    sql = "SELECT query FROM system.runtime.queries"
    assert "needle_of_the_engineer" not in str(lab.rows(sql, "analyst_emea"))
    assert "needle_of_the_engineer" in str(lab.rows(sql, "admin"))
    others = 'SELECT count(*) FROM system.runtime.queries WHERE "user" <> current_user'
    assert lab.value(others, "analyst_emea") == 0
    assert lab.value(others, "admin") > 0


def _status(
    url: str, *, method: str = "GET", body: object = None, headers: dict[str, str] | None = None
) -> int:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})  # noqa: S310 - our own loopback
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_anonymous_doors_are_shut(lab: LiveLab) -> None:
    urls = lab.keys()["urls"]
    opa = urls["opa"]
    assert _status(f"{opa}/v1/policies/x", method="PUT", body={}) in (401, 403)
    assert _status(f"{opa}/v1/data/lab", method="PUT", body={}) in (401, 403)
    assert _status(f"{opa}/v1/data/lab") in (401, 403)
    assert _status(f"{urls['governor']}/v1/access") == 401
    assert _status(f"{urls['catalog']}/v1/config?warehouse=lake") == 401


def test_nothing_listens_beyond_the_loopback(lab: LiveLab) -> None:
    for service in lab.supervisor.status():
        for connection in psutil.Process(service.pid).net_connections():
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1"), (service, connection)


def test_no_secret_on_a_command_line_or_in_a_log(lab: LiveLab) -> None:
    passwords = {c["password"] for c in lab.keys()["personas"]}
    assert len(passwords) == 8
    argv = "\n".join(" ".join(psutil.Process(s.pid).cmdline()) for s in lab.supervisor.status())
    logs = "\n".join(
        path.read_text(encoding="utf-8", errors="replace") for path in (lab.home / "logs").glob("*.log*")
    )
    state = "\n".join(path.read_text(encoding="utf-8") for path in (lab.home / "state").rglob("*.json"))
    for secret in passwords:
        assert secret not in argv
        assert secret not in logs
        assert secret not in state
