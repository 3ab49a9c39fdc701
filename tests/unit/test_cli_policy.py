"""``lab policy`` and the drift that ``lab doctor`` looks for: explanations, comparisons, OPA asked again."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from cli import app
from cli.checks.access_data import access_data
from cli.commands.policies import WIDENS, impact_markdown, impact_text
from cli.operations import policy as policy_operations
from cli.operations.access_drift import AccessDrift, access_drift, digest, opa_problems
from cli.operations.diagnosis import Verdict
from cli.operations.inspect import Status
from cli.operations.policy import opa_differences, parse_span
from contracts.errors import UsageError
from governance.client import GovernorStatus, ReconcileReport
from governance.reports import (
    Change,
    ColumnImpact,
    ColumnUse,
    DriftReport,
    Exemption,
    Explanation,
    FilterUse,
    GrantUse,
    ImpactReport,
    RowImpact,
    TableImpact,
    TableView,
    Visibility,
)
from governance.store import document_digest
from tests.unit import cli_governor
from tests.unit.cli_fakes import FakeRun
from tests.unit.cli_governor import NOW, FakeGovernor

run = cli_governor.run
governor = cli_governor.governor

# --- explain ------------------------------------------------------------------------------------------

VIEW = TableView(
    table="web.events",
    grants=(GrantUse(privilege="select", by="grant to analysts_emea on web.events"),),
    filters=(FilterUse(rule="region", predicate="region IN ('EMEA')", identity=None),),
    columns=(
        ColumnUse(column="url", visibility=Visibility.PLAIN),
        ColumnUse(column="email", visibility=Visibility.MASKED, mask="email_domain", rules=("mail",)),
        ColumnUse(column="note", visibility=Visibility.DENIED, rules=("free",)),
    ),
    exemptions=(Exemption(rule="other", by="analysts_emea is exempt"),),
)
EXPLANATION = Explanation(
    revision=3,
    published=3,
    username="emil",
    groups=("analysts_emea",),
    readable=True,
    predicate="(region IN ('EMEA'))",
    view=VIEW,
    denied=1,
)


def opa(**changed: Any) -> httpx.MockTransport:
    """OPA's four decision points, agreeing with VIEW unless told otherwise."""
    answers: dict[str, Any] = {
        "allow": True,
        "rowFilters": [{"expression": "region IN ('EMEA')"}],
        "batch": [0, 1],
        "columnMasks": [{"index": 1, "viewExpression": {}}, {"index": 2, "viewExpression": {}}],
        **changed,
    }

    def answer(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)["input"]
        assert asked["context"]["identity"] == {"user": "emil", "groups": ["analysts_emea"]}
        return httpx.Response(200, json={"result": answers[request.url.path.rpartition("/")[2]]})

    return httpx.MockTransport(answer)


def test_opa_that_decides_the_same_is_no_difference() -> None:
    assert opa_differences(EXPLANATION, "http://opa", transport=opa()) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"allow": False}, "OPA denies reading"),
        ({"rowFilters": []}, "OPA filters rows by []"),
        ({"rowFilters": [{"expression": "region IN ('EMEA')", "identity": "$row-filter"}]}, "OPA filters"),
        ({"batch": [0, 1, 2]}, "OPA has note masked, not denied"),
        ({"columnMasks": []}, "OPA has email plain, not masked"),
    ],
)
def test_opa_that_decides_otherwise_is_said(changed: dict[str, Any], said: str) -> None:
    found = opa_differences(EXPLANATION, "http://opa", transport=opa(**changed))
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("differences", "published", "code", "said"),
    [
        ([], 3, 0, "OPA decides the same"),
        (["OPA has email plain, not masked"], 3, 1, "OPA decides otherwise"),
        ([], 2, 0, "OPA has revision 2"),
    ],
)
def test_explanations_name_rule_and_revision(
    governor: FakeGovernor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    differences: list[str],
    published: int,
    code: int,
    said: str,
) -> None:
    from cli.render import to_plain

    governor.answers["/v1/access/explanation"] = {**to_plain(EXPLANATION), "published": published}
    monkeypatch.setattr(policy_operations, "opa_differences", lambda *_: differences)
    assert app.run(["policy", "explain", "--as", "emil", "web.events"]) == code
    assert governor.asked[-1][1] == "/v1/access/explanation?table=web.events&user=emil"
    out = capsys.readouterr().out
    for word in ("revision 3", "by rule region", "email_domain", "mail", "denied", "analysts_emea is", said):
        assert word in out, out


# --- diff ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, (None, None, True)),
        ("3..7", (3, 7, False)),
        ("3..", (3, None, False)),
        ("living..tree", (None, None, True)),
        ("2..tree", (2, None, True)),
    ],
)
def test_spans(text: str | None, expected: tuple[int | None, int | None, bool]) -> None:
    assert parse_span(text) == expected


@pytest.mark.parametrize("text", ["3", "a..b", "tree..3", "3...7"])
def test_spans_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"compared|is not a revision"):
        parse_span(text)


def table_impact(**changed: Any) -> TableImpact:
    given: dict[str, Any] = {
        "username": "emil",
        "table": "web.events",
        "rows": RowImpact(total=10, before=3, after=7, gained=4, lost=0),
        "columns": (ColumnImpact(column="email", before="email_domain", after="null", gained=False),),
        "privileges_gained": (),
        "privileges_lost": ("insert",),
        "filter_before": "a",
        "filter_after": "b",
        "approximate": False,
    }
    return TableImpact(**{**given, **changed})


def report(*impacts: TableImpact) -> ImpactReport:
    change = Change(verb="changed", section="rules", name="region|x", before={}, after={})
    return ImpactReport(
        before="revision 3 (living)",
        after="working tree",
        counted=True,
        readers=("emil", "ada"),
        tables_compared=11,
        changes=(change,),
        impacts=impacts,
        notes=(),
    )


def test_impact_as_text_and_markdown() -> None:
    wide = report(table_impact(), table_impact(username="ada", approximate=True))
    text = impact_text(wide)
    assert "Widens access for ada, emil (2 users, 11 tables compared)." in text
    assert "email: email_domain → null, -insert" in text
    assert "≈4" in text
    lines = impact_markdown(wide).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "| emil | web.events | 3 | 7 | 4 | 0 |" in table[2]
    cells = impact_markdown(report(table_impact(rows=RowImpact(error="a | b\nc"))))
    assert "can't be counted: a \\| b c" in cells


def test_a_narrower_report_says_so() -> None:
    narrow = report(table_impact(rows=RowImpact(total=10, before=7, after=3, lost=4)))
    assert "Nobody gains anything" in impact_text(narrow)
    assert not narrow.widens


@pytest.mark.parametrize(("gained", "code"), [(4, WIDENS), (0, 0)])
def test_the_exit_code_tells_widening(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str], gained: int, code: int
) -> None:
    from cli.render import to_plain

    rows = RowImpact(total=10, before=3, after=3 + gained, gained=gained)
    governor.answers["/v1/access/impact"] = to_plain(report(table_impact(rows=rows)))
    assert app.run(["policy", "diff", "2..3", "--as", "emil", "--table", "web.events", "--no-count"]) == code
    sent: dict[str, Any] = {
        "before": 2,
        "after": 3,
        "seed": None,
        "add": {},
        "remove": {},
        "users": ["emil"],
        "tables": ["web.events"],
        "count": False,
    }
    assert governor.body == sent
    capsys.readouterr()
    assert app.run(["policy", "diff", "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["widens"] is bool(gained)
    assert answer["impacts"][0]["rows"]["gained"] == gained
    assert governor.body["seed"]["rules"]
    assert app.run(["policy", "diff", "--json", "--markdown"]) == 2


def test_policy_test_reports_failures(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = policy_operations.PolicyTest(passed=3, failed=("a.b",), coverage=50.0, problems=("typo",))
    monkeypatch.setattr(policy_operations, "policy_test", lambda _: failing)
    assert app.run(["policy", "test"]) == 1
    out = capsys.readouterr().out
    assert "failed: a.b" in out
    assert "problem: typo" in out


# --- drift --------------------------------------------------------------------------------------------

ACCESS = {"grants": {"a": {"é": True}}}


def drift_report(**changed: Any) -> DriftReport:
    given: dict[str, Any] = {
        "revision": 3,
        "published": 3,
        "bundle_age_s": 1.0,
        "access_digest": document_digest(ACCESS),
        "problems": (),
    }
    return DriftReport(**{**given, **changed})


def opa_data(bundle: Any, access: Any) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == "Bearer token"
        found = bundle if request.url.path.endswith("/bundle") else access
        return httpx.Response(200, json={} if found is None else {"result": found})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize(
    ("bundle", "access", "said"),
    [
        ({"revision": 3}, ACCESS, None),
        ({"revision": 2}, ACCESS, "OPA decides on revision 2, 3 is living"),
        ({"revision": 3}, {"grants": {}}, "is not what the database holds"),
        (None, None, "OPA has no bundle"),
    ],
)
def test_opas_bundle_is_compared_with_the_database(bundle: Any, access: Any, said: str | None) -> None:
    found = opa_problems(drift_report(), "http://opa", "token", transport=opa_data(bundle, access))
    assert (found == []) if said is None else (said in found[0])


def test_digests_are_the_databases() -> None:
    assert digest(ACCESS) == document_digest(ACCESS)


class DriftingGovernor:
    """Differs until it was told to publish."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __enter__(self) -> DriftingGovernor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def drift(self) -> DriftReport:
        published = "publish" in self.calls
        return drift_report(problems=() if published else ("revision 3 is living and 2 is published",))

    def publish(self) -> DriftReport:
        self.calls.append("publish")
        return self.drift()

    def reconcile(self) -> ReconcileReport:
        self.calls.append("reconcile")
        return ReconcileReport(
            catalog_kind="polaris",
            revision=3,
            started_at=NOW,
            duration_s=0.1,
            tables=1,
            changes=("grant given back",),
        )

    def status(self) -> GovernorStatus:
        errors = {"maintain web.events": "optimize: out of memory"}
        return GovernorStatus(revision=3, publication=None, reconcile=None, errors=errors)


@pytest.mark.parametrize("fix", [False, True])
def test_drift_is_found_and_mended(run: FakeRun, monkeypatch: pytest.MonkeyPatch, fix: bool) -> None:
    from contracts.settings import Role

    client = DriftingGovernor()
    run.engine.stacks.update(Role)
    monkeypatch.setattr(type(run.lab), "require", lambda _: None)
    monkeypatch.setattr("cli.operations.access_drift.governor_client", lambda *_: client)
    monkeypatch.setattr("cli.operations.access_drift.opa_problems", lambda *_: [])
    found = access_drift(run.session, fix=fix, pause=lambda _: None)
    # No difference of access data, and nothing that publishing would mend.
    assert found.unmaintained == ("maintain web.events: optimize: out of memory",)
    if fix:
        assert (found.problems, client.calls) == ((), ["publish", "reconcile"])
        assert found.mended == ("revision 3 is living and 2 is published", "catalog: grant given back")
    else:
        assert (found.problems, client.calls) == (("revision 3 is living and 2 is published",), [])


@pytest.mark.parametrize(
    ("found", "verdicts"),
    [
        (AccessDrift(revision=3, problems=(), mended=()), [Verdict.OK]),
        (AccessDrift(revision=3, problems=("a",), mended=("b",)), [Verdict.FIXED, Verdict.PROBLEM]),
        (
            AccessDrift(revision=3, problems=(), mended=(), unmaintained=("maintain a.b: why",)),
            [Verdict.WARNING, Verdict.OK],
        ),
    ],
)
def test_doctor_tells_drift(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch, found: AccessDrift, verdicts: list[Verdict]
) -> None:
    run.session.outputs_file.parent.mkdir(parents=True)
    run.session.outputs_file.write_text("{}")
    ready = Status(
        lab="lab",
        home="",
        up=True,
        ready=True,
        supervised=True,
        catalog="nessie",
        components=(),
        services=(),
        memory_mib=0,
        revision=3,
        bundle_age_s=1.0,
        notes=(),
        labs=(),
    )
    monkeypatch.setattr("cli.checks.access_data.status", lambda _: ready)
    monkeypatch.setattr("cli.operations.access_drift.access_drift", lambda *_, **__: found)
    assert [one.verdict for one in access_data(run.session, False)] == verdicts
