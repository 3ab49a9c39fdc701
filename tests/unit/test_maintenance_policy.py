"""Maintenance policies: what they say for a table, what is refused, and when a table is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import UsageError
from governance.maintenance.policy import (
    DAY_S,
    FIELD_NAMES,
    Limits,
    Policies,
    Policy,
    duration_text,
    read_policies_file,
    require_limits,
)
from governance.maintenance.reports import MaintenanceRun, StepOutcome
from governance.maintenance.schedule import RETRY, due, due_at
from governance.maintenance.seeding import merged

DATA = Path(__file__).resolve().parents[2] / "policies" / "data" / "maintenance"
LIMITS = Limits()
NOW = datetime(2030, 1, 31, tzinfo=UTC)


def document(*items: dict[str, Any]) -> dict[str, Any]:
    return {"policies": list(items)}


def test_the_seed_is_valid_and_documents_every_field() -> None:
    found = read_policies_file(DATA)
    policies = Policies.from_document(found, LIMITS)
    assert policies.on("retail.orders") == Policy()
    assert policies.on("web.events").keep_snapshots == 30 * DAY_S
    text = (DATA / "tables.yaml").read_text(encoding="utf-8")
    comment = [line for line in text.splitlines() if line.startswith("#")]
    for field in FIELD_NAMES:
        assert any(field in line for line in comment), field


def test_the_narrower_says_what_it_says_and_the_wider_the_rest() -> None:
    policies = Policies.from_document(
        document(
            {"object": "*", "every": "2d", "min_files": 4},
            {"object": "Web.*", "every": "6h", "keep_last": 3},
            {"object": "web.events", "keep_last": 9, "compact": False},
        )
    )
    found = policies.on("web.events")
    assert (found.every, found.min_files, found.keep_last, found.compact) == (6 * 3600, 4, 9, False)
    assert policies.on("web.other").keep_last == 3
    assert policies.on("retail.orders").every == 2 * DAY_S
    nested = Policies.from_document(document({"object": "a.b.*", "keep_last": 2}))
    assert (nested.on("a.b.t").keep_last, nested.on("a.t").keep_last) == (2, 1)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"object": "web.events", "kep_last": 3}, "did you mean 'keep_last'"),
        ({"object": "web.events", "keep_last": 0}, "from 1 to"),
        ({"object": "web.events", "keep_last": True}, "from 1 to"),
        ({"object": "web.events", "every": "1m"}, "a duration from 15m"),
        ({"object": "web.events", "every": 3600}, "a duration from 15m"),
        ({"object": "web.events", "every": "1y"}, "a duration from 15m"),
        ({"object": "web.events", "compact": "perhaps"}, "true or false"),
        ({"object": "events"}, "no object"),
        ({"object": "*.*.x"}, "no object"),
        ({"object": 'web."x"'}, "no object"),
        ({"keep_last": 3}, "names its object"),
        ({"object": "web.*", "keep_snapshots": "6d"}, "shorter than this lab permits"),
        ({"object": "web.*", "keep_orphans": "0s"}, "shorter than this lab permits"),
    ],
)
def test_what_is_not_valid_is_refused_with_what_is(item: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Policies.from_document(document(item), LIMITS)


def test_documents_of_another_form_are_refused() -> None:
    wrong: dict[str, Any]
    for wrong in ({}, {"policies": {}}, {"policies": [], "more": 1}):
        with pytest.raises(UsageError):
            Policies.from_document(wrong)
    with pytest.raises(UsageError, match="two policies"):
        Policies.from_document(document({"object": "a.b"}, {"object": "A.b"}))


@given(seconds=st.integers(0, 20 * DAY_S), floor_days=st.integers(1, 30))
def test_no_retention_below_the_floor_gets_in(seconds: int, floor_days: int) -> None:
    limits = Limits(snapshots_s=floor_days * DAY_S, orphans_s=floor_days * DAY_S)
    for field in ("keep_snapshots", "keep_orphans"):
        given = document({"object": "web.events", field: duration_text(seconds)})
        if seconds >= floor_days * DAY_S:
            assert getattr(Policies.from_document(given, limits).on("web.events"), field) == seconds
            continue
        with pytest.raises(UsageError, match="shorter"):
            Policies.from_document(given, limits)
        with pytest.raises(UsageError, match="shorter"):
            require_limits(Policies.from_document(given), limits)


def test_fields_are_set_and_unset() -> None:
    policies = Policies.from_document(document({"object": "*", "every": "2d", "keep_last": 3}))
    policies = policies.changed("web.events", {"every": "6h", "compact": "false", "min_files": "20"})
    found = policies.on("web.events")
    assert (found.every, found.compact, found.min_files, found.keep_last) == (6 * 3600, False, 20, 3)
    policies = policies.changed("web.events", {}, ("every",))
    assert policies.on("web.events").every == 2 * DAY_S
    assert "web.events" in policies.items
    policies = policies.changed("web.events", {}, ("*",))
    assert "web.events" not in policies.items
    with pytest.raises(UsageError, match="did you mean 'every'"):
        policies.changed("web.events", {}, ("evry",))
    assert Policies.from_document(policies.as_document()) == policies


def test_a_new_seed_leaves_what_people_set() -> None:
    old = document({"object": "*", "every": "1d", "keep_last": 1}, {"object": "web.events", "every": "6h"})
    new = document({"object": "*", "every": "2d", "keep_last": 2}, {"object": "hr.*", "compact": False})
    living = document(
        {"object": "*", "every": "12h", "keep_last": 1},
        {"object": "web.events", "every": "6h", "min_files": 3},
    )
    found = Policies.from_document(merged(living, old, new))
    assert found.items["*"] == {"every": 12 * 3600, "keep_last": 2}
    assert found.items["web.events"] == {"min_files": 3}
    assert found.items["hr.*"] == {"compact": False}
    canonical = Policies.from_document(living).as_document()
    assert merged(living, old, old) == canonical


def ran(outcome: StepOutcome, hours_ago: float, *, took_h: float = 0) -> MaintenanceRun:
    started = NOW - timedelta(hours=hours_ago)
    return MaintenanceRun(
        id=1,
        table="t",
        asked_by="schedule",
        scheduled=True,
        started_at=started,
        ended_at=started + timedelta(hours=took_h),
        outcome=outcome,
        before=None,
        after=None,
        steps=(),
        policy={},
    )


def test_a_new_lab_is_left_alone_for_one_interval() -> None:
    policies = Policies.from_document(document({"object": "a.fast", "every": "1h"}))
    tables = ("a.fast", "a.slow")
    assert due(tables, policies, {}, since=NOW, now=NOW + timedelta(minutes=59)) == []
    assert due(tables, policies, {}, since=NOW, now=NOW + timedelta(hours=2)) == ["a.fast"]
    assert due(tables, policies, {}, since=NOW, now=NOW + timedelta(days=2)) == ["a.fast", "a.slow"]


def test_the_longest_due_comes_first_and_what_is_off_never() -> None:
    policies = Policies.from_document(document({"object": "a.off", "enabled": False}))
    last = {
        "a.off": ran(StepOutcome.DONE, 1000),
        "a.late": ran(StepOutcome.DONE, 50),
        "a.later": ran(StepOutcome.NOTHING, 90),
        "a.young": ran(StepOutcome.DONE, 23),
    }
    assert due(last, policies, last, since=NOW, now=NOW) == ["a.later", "a.late"]


@pytest.mark.parametrize(
    "outcome",
    [
        StepOutcome.WAITS,
        StepOutcome.CONFLICT,
        StepOutcome.FAILED,
        StepOutcome.INTERRUPTED,
        StepOutcome.RUNNING,
    ],
)
def test_what_did_not_get_through_is_tried_again_soon(outcome: StepOutcome) -> None:
    policy = Policy(every=DAY_S)
    assert due_at(policy, ran(outcome, 3, took_h=1), NOW) == NOW - timedelta(hours=2) + RETRY
    assert due_at(policy, ran(StepOutcome.DONE, 3, took_h=1), NOW) == NOW + timedelta(hours=21)
    assert due_at(Policy(every=900), ran(outcome, 1), NOW) <= NOW
