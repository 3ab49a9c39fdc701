"""``lab access``: what is sent to the governor, and how its answers are shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli import app
from cli.operations.access import exception_id, parse_duration
from contracts.errors import UsageError
from tests.unit import cli_governor
from tests.unit.cli_governor import NOW, RESULT, FakeGovernor

run = cli_governor.run
governor = cli_governor.governor


def both(item: dict[str, Any], section: str) -> dict[str, Any]:
    return {section: [item]}


EDITS: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "tag": (
        ["tag", "web.events.email", "pii.email"],
        both({"object": "web.events.email", "tag": "pii.email"}, "tags"),
        {},
    ),
    "grant": (
        ["grant", "select,insert", "web.*", "--to", "auditors"],
        both({"group": "auditors", "object": "web.*", "privileges": ["select", "insert"]}, "grants"),
        {},
    ),
    "grant of several": (
        ["grant", "read", "web.events", "--to", "auditors"],
        both({"group": "auditors", "object": "web.events", "privileges": ["select"]}, "grants"),
        {},
    ),
    "mask": (
        ["rule", "mail", "--tag", "pii.email", "--mask", "email_domain", "--exempt", "auditors"],
        both(
            {
                "id": "mail",
                "kind": "column_mask",
                "exempt": ["auditors"],
                "tag": "pii.email",
                "mask": "email_domain",
            },
            "rules",
        ),
        {},
    ),
    "denial": (
        ["rule", "no", "--on", "web.events.url", "--deny"],
        both({"id": "no", "kind": "column_deny", "exempt": [], "object": "web.events.url"}, "rules"),
        {},
    ),
    "filter": (
        [
            *("rule", "own", "--tag", "region.name", "--filter", "{column} IN ({values})"),
            *("--values", "analysts_emea=EMEA, APAC", "--values", "auditors=1,-2", "--as-filter-user"),
            *("--description", "regions"),
        ],
        both(
            {
                "id": "own",
                "kind": "row_filter",
                "exempt": [],
                "tag": "region.name",
                "expression": "{column} IN ({values})",
                "values": {"analysts_emea": ["EMEA", "APAC"], "auditors": [1, -2]},
                "as_filter_user": True,
                "description": "regions",
            },
            "rules",
        ),
        {},
    ),
    "revoke grant": (
        ["revoke", "grant", "web.*", "--from", "auditors"],
        {},
        both({"group": "auditors", "object": "web.*", "privileges": []}, "grants"),
    ),
    "revoke part of a grant": (
        ["revoke", "grant", "web.*", "insert", "--from", "auditors"],
        {},
        both({"group": "auditors", "object": "web.*", "privileges": ["insert"]}, "grants"),
    ),
    "revoke tag": (
        ["revoke", "tag", "web.*", "all"],
        {},
        both({"object": "web.*", "tag": "all"}, "tags"),
    ),
    "revoke rule": (["revoke", "rule", "mail"], {}, both({"id": "mail"}, "rules")),
    "revoke exception": (["revoke", "break-glass", "e"], {}, both({"id": "e"}, "exceptions")),
}


@pytest.mark.parametrize(("words", "add", "remove"), EDITS.values(), ids=EDITS.keys())
def test_edits_are_sent_as_items(
    governor: FakeGovernor,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    add: dict[str, Any],
    remove: dict[str, Any],
) -> None:
    assert app.run(["access", *words, "--reason", "because", "--as", "steward"]) == 0
    sent = {"add": add, "remove": remove, "reason": "because", "widen": False, "only_try": False}
    assert governor.body == sent
    out = capsys.readouterr().out
    assert "revision 3, published" in out
    assert "added tag pii.email on web.events.email" in out


def test_widen_and_dry_run_are_passed_on(governor: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    governor.answers["/v1/access/changes"] = {
        **RESULT,
        "changed": False,
        "tried_only": True,
        "widenings": ["auditors on x: why"],
    }
    assert app.run(["access", "revoke", "rule", "mail", "--reason", "r", "--widen", "--dry-run"]) == 0
    assert (governor.body["widen"], governor.body["only_try"]) == (True, True)
    out = capsys.readouterr().out
    assert "nothing was changed" in out
    assert "widens: auditors on x: why" in out


def test_a_refused_change_is_usage_and_says_why(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    governor.status = 422
    governor.answers["/v1/access/changes"] = {
        "title": "this would show somebody more",
        "permitted": "--widen",
    }
    assert app.run(["access", "revoke", "rule", "mail", "--reason", "r"]) == 2
    err = capsys.readouterr().err
    assert "this would show somebody more" in err
    assert "--widen" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tag", "web.*", "x"], "--reason"),
        (["rule", "r", "--tag", "t", "--reason", "r"], "a rule does one thing"),
        (["rule", "r", "--tag", "t", "--mask", "hash", "--deny", "--reason", "r"], "a rule does one thing"),
        (["rule", "r", "--tag", "t", "--mask", "hsh", "--reason", "r"], "did you mean 'hash'"),
        (
            ["rule", "r", "--tag", "t", "--filter", "true", "--values", "x", "--reason", "r"],
            "GROUP=VALUE",
        ),
        (
            ["break-glass", "web.*", "--user", "ada", "--for", "soon", "--lift-all", "--reason", "r"],
            "not a duration",
        ),
        (
            [
                *("break-glass", "web.*", "--user", "ada", "--for", "1h"),
                *("--lift-all", "--lift", "x", "--reason", "r"),
            ],
            "exclude each other",
        ),
        (["rollback", "2", "--reason", "r", "--dry-run"], "compared beforehand"),
    ],
)
def test_wrong_edits_reach_nobody(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert app.run(["access", *words]) == 2
    assert said in capsys.readouterr().err
    assert governor.asked == []


def test_an_exception_has_an_end_and_a_name(governor: FakeGovernor) -> None:
    before = datetime.now(tz=UTC)
    words = ["hr.employees", "--user", "Ada@x", "--for", "30m", "--privileges", "select", "--lift-all"]
    assert app.run(["access", "break-glass", *words, "--reason", "incident 7"]) == 0
    (item,) = governor.body["add"]["exceptions"]
    ends = datetime.fromisoformat(item["expires_at"])
    assert timedelta(minutes=29) < ends - before < timedelta(minutes=31)
    assert (item["lifts"], item["privileges"], item["reason"]) == (["*"], ["select"], "incident 7")
    assert exception_id("Ada@x", NOW) == "ada-x-20300102030405"


@pytest.mark.parametrize("text", ["", "0m", "1", "h", "-1h", "1w", "99999999999999999999d"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="not a duration"):
        parse_duration(text)


def test_history_and_what_a_revision_changed(
    governor: FakeGovernor, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["access", "history"]) == 0
    assert "2030-01-02 03:04:05  ada" in capsys.readouterr().out
    assert app.run(["access", "history", "3"]) == 0
    assert "added tag pii.email on web.events.email" in capsys.readouterr().out
    assert app.run(["access", "history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["author"] == "ada"


def test_rollback_gives_its_reason(governor: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["access", "rollback", "2", "--reason", "a mistake", "--widen"]) == 0
    assert governor.body == {"revision": 2, "reason": "a mistake", "widen": True}
    assert "revision 3" in capsys.readouterr().out


def test_access_data_is_shown_whole(governor: FakeGovernor, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["access", "show"]) == 0
    out = capsys.readouterr().out
    for word in ("auditors", "pii.email", "email_domain", "incident", "revision 3"):
        assert word in out
