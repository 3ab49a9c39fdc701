"""What ``lab audit`` prints."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from cli.commands.auditing import WIDTH, line_text, report_text
from governance.audit.report import AuditEvent, AuditLine, AuditReport, DecisionUse, Outcome, TableRead
from tests.unit.audit_samples import START, query_id

LINE = AuditLine(
    query_id=query_id(1),
    user="analyst_emea",
    groups=("analysts_emea",),
    source="lab",
    client="127.0.0.1",
    statement="SELECT c_name,\n\tc_phone FROM retail.customer WHERE c_name <> '\x1b[31m'",
    begun_at=START,
    ended_at=START + timedelta(seconds=1.25),
    outcome=Outcome.FINISHED,
    error=None,
    message=None,
    tables=(
        TableRead(
            table="retail.customer",
            columns=("c_name", "c_phone"),
            masked=("c_phone",),
            filters=1,
            rules=("phone-last-4", "region"),
            as_user=None,
        ),
    ),
    written=None,
    rows=312,
    bytes=9000,
    read_rows=1500,
    revisions=(4,),
    refused=(),
    decisions=(
        DecisionUse(
            id="d-1",
            at=START,
            operation="SelectFromColumns",
            object="retail.customer",
            allowed=True,
            revision=4,
            shared_with=(query_id(2),),
        ),
    ),
    notes=(),
)
DENIED = replace(
    LINE,
    user="outsider",
    begun_at=START - timedelta(minutes=1),
    outcome=Outcome.DENIED,
    message="Access Denied: Cannot execute query",
    tables=(),
    refused=("ExecuteQuery",),
    notes=("no decision on retail.customer is recorded",),
)
GAP = AuditEvent(
    at=START - timedelta(seconds=30),
    who="trino",
    what="gap",
    detail={"reason": "trino began anew; what it had not sent is lost", "unfinished": []},
)


def shown(*lines: AuditLine, waiting: int = 0) -> list[str]:
    report = AuditReport(lines=lines, events=(GAP,), waiting=waiting, retention_days=90)
    return report_text(report).splitlines()


def test_a_line_says_who_what_how_much_and_by_which_rules() -> None:
    head, denied, gap, finished = shown(LINE, DENIED)
    assert head.startswith("when (UTC)")
    for word in (
        "01-02 03:04:05",
        "analyst_emea",
        "finished",
        "312",
        "1.25",
        " 4 ",
        "retail.customer",
        "phone-last-4",
    ):
        assert word in finished
    assert "denied" in denied
    assert "312" not in denied
    assert "GAP" in gap
    assert "began anew" in gap
    assert "unfinished" not in gap


def test_no_line_is_wider_than_a_terminal_and_none_drives_it() -> None:
    long = replace(LINE, user="x" * 300, statement="y" * 3000)
    assert all(len(line) <= WIDTH for line in shown(LINE, DENIED, long))
    assert "\x1b" not in "".join(shown(LINE))
    assert "\x1b" not in line_text(LINE)


def test_what_waits_is_said() -> None:
    assert shown(LINE, waiting=3)[-1].startswith("3 records are on the disk")
    assert report_text(AuditReport(lines=(), events=(), waiting=0, retention_days=1)) == "nothing is recorded"


def test_one_query_is_shown_whole() -> None:
    text = line_text(LINE)
    for word in (
        query_id(1),
        "c_phone (masked)",
        "phone-last-4, region",
        "SelectFromColumns",
        f"(or {query_id(2)})",
        "d-1",
    ):
        assert word in text
    refused = line_text(DENIED)
    assert "refused: ExecuteQuery" in refused
    assert "note: no decision on retail.customer is recorded" in refused
