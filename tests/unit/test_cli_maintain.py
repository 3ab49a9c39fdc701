"""``lab maintain``: what is sent to the governor, and how its answers are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cli import app
from cli.commands.common import Options
from cli.operations import maintaining
from cli.render import to_plain
from governance.client import GovernorClient
from governance.maintenance.policy import Policy
from governance.maintenance.reports import (
    MaintenancePlan,
    MaintenanceRun,
    MaintenanceScope,
    PlannedStep,
    PolicyRevision,
    Size,
    StepOutcome,
    StepReport,
)
from tests.unit.cli_fakes import FakeRun, fake_run, lab_outputs

START = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
BEFORE = Size(files=40, small_files=40, delete_files=2, bytes=4_000_000, manifests=40, snapshots=41)
AFTER = Size(files=1, small_files=1, delete_files=0, bytes=3_500_000, manifests=1, snapshots=9)
NESSIE = "Nessie keeps history in its own commits"
SCOPE = MaintenanceScope(
    tables=("web.events",),
    catalog_kind="nessie",
    unsafe={"expire_snapshots": NESSIE, "remove_orphan_files": NESSIE},
    min_retention_s=604800,
    every_s=900,
)
RUN = MaintenanceRun(
    id=7,
    table="web.events",
    asked_by="engineer",
    scheduled=False,
    started_at=START,
    ended_at=START + timedelta(seconds=12.34),
    outcome=StepOutcome.DONE,
    before=BEFORE,
    after=AFTER,
    steps=(
        StepReport(
            procedure="optimize", outcome=StepOutcome.DONE, reason="r", statement="ALTER …", duration_s=9.0
        ),
        StepReport(procedure="optimize_manifests", outcome=StepOutcome.UNNEEDED, reason="r"),
        StepReport(procedure="expire_snapshots", outcome=StepOutcome.UNSAFE, reason=NESSIE),
    ),
    policy=Policy().as_document(),
)
PLAN = MaintenancePlan(
    table="web.events",
    policy=Policy().as_document(),
    size=BEFORE,
    steps=(
        PlannedStep(procedure="optimize", verdict="run", reason="38 can be saved", statement="ALTER …"),
        PlannedStep(procedure="optimize_manifests", verdict="unneeded", reason="0 can be saved"),
        PlannedStep(procedure="expire_snapshots", verdict="unsafe", reason=NESSIE),
        PlannedStep(procedure="remove_orphan_files", verdict="unsafe", reason=NESSIE),
    ),
)
POLICIES = PolicyRevision(
    revision=4,
    author="ada",
    reason="large",
    created_at=START,
    based_on=3,
    document={
        "policies": [
            {"object": "*", "every": "2d", "compact": False},
            {"object": "web.events", "keep_snapshots": "30d"},
        ]
    },
)


class FakeGovernor:
    """Keeps what it was sent and answers by method and path; a table may have an answer of its own."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.scope: Any = SCOPE
        self.runs: dict[str, Any] = {}
        self.status: dict[str, int] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        target = request.url.raw_path.decode()
        self.asked.append((request.method, target, body))
        table = (body or {}).get("table", "")
        if table in self.status:
            return httpx.Response(self.status[table], json={"title": f"{table} is being maintained"})
        answers: Mapping[tuple[str, str], Any] = {
            ("GET", "/v1/maintenance/scope"): self.scope,
            ("POST", "/v1/maintenance/plans"): PLAN,
            ("POST", "/v1/maintenance/runs"): self.runs.get(table, RUN),
            ("GET", "/v1/maintenance/runs"): tuple(self.runs.values()) or (RUN,),
            ("GET", "/v1/maintenance/policies"): POLICIES,
            ("POST", "/v1/maintenance/policies/changes"): POLICIES,
            ("GET", "/v1/maintenance/policies/revisions"): (POLICIES,),
        }
        found = answers[request.method, request.url.path]
        many = isinstance(found, tuple)
        content = [_wire(one) for one in found] if many else _wire(found)
        return httpx.Response(200, json=content)


def _wire(value: Any) -> Any:
    def plain(given: Any) -> Any:
        if isinstance(given, datetime):
            return given.isoformat()
        if isinstance(given, Mapping):
            return {key: plain(one) for key, one in given.items()}
        if isinstance(given, list | tuple):
            return [plain(one) for one in given]
        return given

    return plain(asdict(value))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    made = fake_run(tmp_path)
    monkeypatch.setattr(Options, "session", lambda _: made.session)
    monkeypatch.setattr(type(made.session), "outputs", lambda _: lab_outputs())
    return made


@pytest.fixture
def governor(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> FakeGovernor:
    found = FakeGovernor()

    def client(_url: str, token: Callable[[], str], *, timeout_s: float) -> GovernorClient:
        assert timeout_s > 3600, "a table takes as long as it takes"
        return GovernorClient("http://governor", token, transport=httpx.MockTransport(found))

    monkeypatch.setattr(maintaining, "user_tokens", lambda *_: lambda: "t")
    monkeypatch.setattr("governance.client.GovernorClient", client)
    return found


def test_tables_are_maintained_one_after_another(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    governor.scope = replace(SCOPE, tables=("web.events", "web.other"))
    governor.runs["web.other"] = replace(
        RUN, table="web.other", outcome=StepOutcome.NOTHING, after=BEFORE, steps=()
    )
    assert app.run(["maintain", "--as", "engineer"]) == 0
    assert [(method, body) for method, _, body in governor.asked] == [
        ("GET", None),
        ("POST", {"table": "web.events"}),
        ("POST", {"table": "web.other"}),
    ]
    out = capsys.readouterr().out
    assert "40 -> 1" in out
    assert "4.0 MB -> 3.5 MB" in out
    assert "12.3" in out
    (other,) = [line for line in out.splitlines() if line.startswith("web.other")]
    assert "->" not in other
    assert out.count(NESSIE) == 1
    assert "expire_snapshots, remove_orphan_files" in out


def test_tables_that_are_named_are_asked_for(governor: FakeGovernor) -> None:
    assert app.run(["maintain", "web.events", "web.other", "--dry-run", "--json"]) == 0
    query = parse_qs(urlsplit(governor.asked[0][1]).query)
    assert query == {"table": ["web.events", "web.other"]}
    assert [target for _, target, _ in governor.asked[1:]] == ["/v1/maintenance/plans"]


def test_a_dry_run_says_what_would_be_done(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["maintain", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "web.events: 40 files (40 small, 2 of deletes), 4.0 MB, 40 manifests, 41 snapshots" in out
    assert "38 can be saved" in out
    assert out.count(NESSIE) == 1


def test_json_holds_the_whole_report(governor: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["maintain", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == [to_plain(RUN)]
    assert found["scope"]["catalog_kind"] == "nessie"
    assert found["errors"] == {}


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(StepOutcome.FAILED, 1), (StepOutcome.CONFLICT, 0), (StepOutcome.WAITS, 0), (StepOutcome.DONE, 0)],
)
def test_only_a_failure_is_one(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str], outcome: StepOutcome, code: int
) -> None:
    step = StepReport(procedure="optimize", outcome=outcome, reason="because\nof \x1b[31mthis")
    governor.runs["web.events"] = replace(RUN, outcome=outcome, steps=(step,))
    assert app.run(["maintain"]) == code
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert ("because of" in out) is (outcome is not StepOutcome.DONE)


def test_a_table_in_somebody_s_hands_keeps_no_other_waiting(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    governor.scope = replace(SCOPE, tables=("web.busy", "web.events"))
    governor.status["web.busy"] = 409
    assert app.run(["maintain"]) == 1
    out = capsys.readouterr().out
    assert "web.busy is being maintained" in out
    assert "40 -> 1" in out


def test_nothing_to_maintain_is_said(governor: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    governor.scope = replace(SCOPE, tables=())
    assert app.run(["maintain"]) == 0
    assert "no table that you may have maintained" in capsys.readouterr().out
    assert app.run(["maintain", "--dry-run"]) == 0


def test_the_history_is_shown_with_errors(governor: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    broken = replace(
        RUN,
        outcome=StepOutcome.FAILED,
        before=None,
        after=None,
        ended_at=None,
        error="no\x07 metadata",
        steps=(),
    )
    governor.runs = {"a": RUN, "b": broken}
    assert app.run(["maintain", "history", "web.events", "-n", "5"]) == 0
    out = capsys.readouterr().out
    assert "2030-01-02 03:04:05" in out
    assert "no\\x07 metadata" in out
    query = parse_qs(urlsplit(governor.asked[0][1]).query)
    assert query == {"table": ["web.events"], "limit": ["5"]}


def test_policies_are_shown_and_what_they_come_to(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["maintain", "policy", "show"]) == 0
    out = capsys.readouterr().out
    assert "revision 4 by ada: large" in out
    assert "compact            false" in out
    assert app.run(["maintain", "policy", "show", "Web.Events", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["policy"]["every"] == "2d"
    assert found["policy"]["keep_snapshots"] == "30d"
    assert set(found["policy"]) == set(Policy().as_document())


def test_policies_are_edited_with_a_reason(governor: FakeGovernor) -> None:
    edit = ["maintain", "policy", "set", "web.*", "every=6h", "keep_last=3", "--reason", "busy"]
    assert app.run(edit) == 0
    assert governor.asked[-1][2] == {
        "object": "web.*",
        "values": {"every": "6h", "keep_last": "3"},
        "unset": [],
        "reason": "busy",
    }
    assert app.run(["maintain", "policy", "unset", "web.*", "--reason", "quiet"]) == 0
    assert governor.asked[-1][2] == {"object": "web.*", "values": {}, "unset": ["*"], "reason": "quiet"}
    assert app.run(["maintain", "policy", "unset", "web.*", "every", "--reason", "quiet"]) == 0
    assert governor.asked[-1][2]["unset"] == ["every"]
    asked = len(governor.asked)
    assert app.run(["maintain", "policy", "set", "web.*", "every", "--reason", "busy"]) == 2
    assert app.run(["maintain", "policy", "set", "web.*", "every=6h"]) == 2
    assert len(governor.asked) == asked


def test_help_is_the_group_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["maintain", "--help"]) == 0
    out = capsys.readouterr().out
    for word in ("run", "history", "policy", "--dry-run"):
        assert word in out
