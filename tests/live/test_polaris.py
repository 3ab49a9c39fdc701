"""The same lab on Apache Polaris, from an official distribution that the user has unpacked.

What differs from Nessie: Polaris holds principals, roles and grants of its own, so that people with raw
rights reach tables without Trino, and with them the governor's reconciliation is put to the test.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import ForbiddenError, UnauthorizedError

from cli.tokens import Endpoint, PersonaTokens
from contracts.identity import Audience
from governance.client import GovernorClient
from tests.live.conftest import SCALE_FACTOR, LiveLab

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not os.environ.get("LAB_POLARIS_HOME"), reason="LAB_POLARIS_HOME is not set"),
]

NAME = "pol"


@pytest.fixture(scope="module")
def polaris() -> Iterator[LiveLab]:
    """A second lab, beside the suite's own."""
    folder = Path(tempfile.mkdtemp(prefix="lab polaris "))
    folder.chmod(0o755)
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in {"PYTHONPATH", "VIRTUAL_ENV"} and not key.startswith("PULUMI_")
    }
    live = LiveLab(environment={**environment, "LAB_HOME": str(folder), "LAB_NAME": NAME}, home=folder / NAME)
    try:
        live.ok("up", "--catalog", "polaris", "--set", f"scaleFactor={SCALE_FACTOR}", timeout_s=3000)
        yield live
    finally:
        live.run("destroy", "--yes", timeout_s=300)
        shutil.rmtree(folder, ignore_errors=True)


def _token(lab: LiveLab, persona: str, audience: Audience) -> Callable[[], str]:
    found = lab.json("credentials", "--all")
    return PersonaTokens(
        Endpoint(issuer_url=found["urls"]["sign-in"]),
        username=persona,
        password=next(p["password"] for p in found["personas"] if p["username"] == persona),
        client_secret=found["keys"]["client personas"],
        audience=audience,
    )


def _raw(lab: LiveLab, persona: str) -> RestCatalog:
    """The catalog as a person reaches it with a token and pyiceberg, nothing of the lab in between."""
    return RestCatalog(
        NAME,
        uri=lab.json("credentials")["urls"]["catalog"],
        warehouse="lake",
        token=_token(lab, persona, Audience.CATALOG)(),
        **{"header.X-Iceberg-Access-Delegation": "vended-credentials"},
    )


def _rows(lab: LiveLab, persona: str, table: str) -> int:
    return int(_raw(lab, persona).load_table(table).scan().to_arrow().num_rows)


def _reconcile(lab: LiveLab) -> Any:
    url = lab.json("credentials")["urls"]["governor"]
    with GovernorClient(url, _token(lab, "admin", Audience.GOVERNOR)) as governor:
        return governor.reconcile()


def test_the_conformance_suite_is_green(polaris: LiveLab) -> None:
    assert polaris.json("status")["catalog"] == "polaris"
    result = polaris.run("verify")
    assert result.returncode == 0, result.stdout + result.stderr


def test_everything_is_granted_when_up_ends(polaris: LiveLab) -> None:
    report = _reconcile(polaris)
    assert report.changes == ()
    assert report.complete, (report.errors, report.pending)


@pytest.mark.parametrize(
    ("persona", "readable", "refused"),
    [
        ("engineer", {"retail.nation": 25, "retail.customer": 1500}, ["hr.employees"]),
        ("steward", {"retail.nation": 25}, ["retail.customer", "web.events", "hr.employees"]),
        ("analyst_emea", {"retail.region": 5}, ["retail.customer", "retail.orders", "hr.employees"]),
        ("hr", {"hr.employees": 120}, ["retail.nation"]),
        ("auditor", {"retail.nation": 25}, ["retail.customer", "hr.employees"]),
    ],
)
def test_raw_access_is_what_the_rules_leave(
    polaris: LiveLab, persona: str, readable: dict[str, int], refused: list[str]
) -> None:
    catalog = _raw(polaris, persona)
    for table, rows in readable.items():
        assert catalog.load_table(table).scan().to_arrow().num_rows == rows, table
    for table in refused:
        with pytest.raises(ForbiddenError):
            catalog.load_table(table)


def test_who_is_granted_nothing_is_not_let_in(polaris: LiveLab) -> None:
    with pytest.raises(UnauthorizedError):
        _raw(polaris, "outsider")


def test_readers_cannot_write(polaris: LiveLab) -> None:
    table = _raw(polaris, "analyst_emea").load_table("retail.region")
    with pytest.raises(ForbiddenError), table.transaction() as change:
        change.set_properties(note="mine")


def test_a_loaded_table_belongs_to_its_loader(polaris: LiveLab, tmp_path: Path) -> None:
    file = tmp_path / "measurements.csv"
    file.write_text("id,value\n1,0.5\n2,0.25\n", encoding="utf-8")
    polaris.ok("load", str(file), "--table", "raw.measurements", "--as", "engineer", "--yes")
    assert polaris.value("SELECT sum(value) FROM lake.raw.measurements", "engineer") == 0.75
    assert not _reconcile(polaris).errors
    assert _rows(polaris, "engineer", "raw.measurements") == 2
    with pytest.raises(ForbiddenError):
        _raw(polaris, "analyst_emea").load_table("raw.measurements")


def test_a_table_made_anew_is_granted_again(polaris: LiveLab) -> None:
    polaris.ok("sql", "CREATE TABLE lake.retail.again AS SELECT 1 AS x", "--as", "engineer")
    assert not _reconcile(polaris).errors
    assert _rows(polaris, "steward", "retail.again") == 1
    polaris.ok("sql", "DROP TABLE lake.retail.again", "--as", "engineer")
    polaris.ok("sql", "CREATE TABLE lake.retail.again AS SELECT 2 AS x UNION SELECT 3", "--as", "engineer")
    assert not _reconcile(polaris).errors
    assert _rows(polaris, "steward", "retail.again") == 2
    polaris.ok("sql", "DROP TABLE lake.retail.again", "--as", "engineer")
    assert _reconcile(polaris).complete


def test_earlier_snapshots_are_read_by_id(polaris: LiveLab) -> None:
    snapshots = polaris.rows(
        'SELECT snapshot_id FROM lake.web."events$snapshots" ORDER BY committed_at', "engineer"
    )
    counted = "SELECT count(*) FROM lake.web.events"
    versions = [f"{counted} FOR VERSION AS OF {row['snapshot_id']}" for row in snapshots]
    counts = [polaris.value(version, "engineer") for version in versions]
    assert len(counts) > 1
    assert counts == sorted(set(counts))
    assert counts[-1] == polaris.value(counted, "engineer")


def test_every_step_of_maintenance_is_borne(polaris: LiveLab) -> None:
    report = polaris.json("maintain", "web.events", "--as", "engineer")
    assert report["scope"]["unsafe"] == {}
    (run,) = report["runs"]
    done = {step["procedure"]: step["outcome"] for step in run["steps"]}
    assert run["error"] is None
    # Nothing in a new lab is past its time, and files of no snapshot are looked for at once.
    assert (done["expire_snapshots"], done["remove_orphan_files"]) == ("unneeded", "done")
    assert run["before"]["snapshots"] <= run["after"]["snapshots"]
    for procedure in ("expire_snapshots", "remove_orphan_files"):
        sql = f"ALTER TABLE web.events EXECUTE {procedure}(retention_threshold => '7d')"
        assert "denied" in polaris.run("sql", sql, "--as", "engineer").stderr


def test_down_and_up_give_the_identical_lab(polaris: LiveLab) -> None:
    before = polaris.json("fingerprint")
    polaris.ok("down")
    polaris.ok("up")
    assert polaris.json("fingerprint") == before
    assert _rows(polaris, "engineer", "raw.measurements") == 2


def test_no_secret_of_the_catalog_on_a_command_line_or_in_its_log(polaris: LiveLab) -> None:
    psutil = pytest.importorskip("psutil")
    keys = polaris.json("credentials", "--all")["keys"]
    secrets = [
        value for name, value in keys.items() if "secret" in name or name.startswith(("client", "post"))
    ]
    assert len(secrets) > 5
    (service,) = [s for s in polaris.json("status")["services"] if s["name"] == "catalog"]
    seen = json.dumps(psutil.Process(service["pid"]).cmdline())
    seen += (polaris.home / "logs" / "catalog.log").read_text(encoding="utf-8", errors="replace")
    assert not [secret for secret in secrets if secret in seen]
