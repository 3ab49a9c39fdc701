"""Items of access data: added, replaced, removed, and told apart afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.access import AccessData
from contracts.errors import UsageError
from governance.changes import changed_document, changes_of, without_expired, without_lost_lifts

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LIVING = {
    "grants": [{"group": "readers", "object": "shop.orders", "privileges": ["insert", "select"]}],
    "tags": [{"object": "shop.orders.mail", "tag": "pii.email"}],
    "rules": [{"id": "mail", "kind": "column_mask", "tag": "pii.email", "mask": "email_domain"}],
}


def exception(name: str, **changed: Any) -> dict[str, Any]:
    given = {
        "id": name,
        "user": "ada",
        "object": "shop.*",
        "privileges": ["select"],
        "expires_at": NOW.isoformat(),
        "reason": "incident 7",
    }
    return {**given, **changed}


def test_privileges_join_and_rules_replace() -> None:
    add = {
        "grants": [{"group": "readers", "object": "shop.orders", "privileges": ["update"]}],
        "rules": [{"id": "mail", "kind": "column_deny", "tag": "pii.email"}],
        "tags": LIVING["tags"],
    }
    found = changed_document(LIVING, add=add, remove={})
    assert found["grants"][0]["privileges"] == ["insert", "select", "update"]
    assert [rule["kind"] for rule in found["rules"]] == ["column_deny"]
    assert found["tags"] == LIVING["tags"]
    verbs = [(one.verb, one.section, one.name) for one in changes_of(LIVING, found)]
    assert verbs == [("changed", "grants", "shop.orders to readers"), ("changed", "rules", "mail")]


def test_privileges_go_one_by_one_or_all() -> None:
    some = {"grants": [{"group": "readers", "object": "shop.orders", "privileges": ["insert"]}]}
    assert changed_document(LIVING, add={}, remove=some)["grants"][0]["privileges"] == ["select"]
    every = {"grants": [{"group": "readers", "object": "shop.orders"}]}
    assert changed_document(LIVING, add={}, remove=every)["grants"] == []


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ({"rules": [{"id": "mial"}]}, "no rule named 'mial'; did you mean 'mail'"),
        ({"tags": [{"object": "shop.orders.mail", "tag": "pii.mail"}]}, "did you mean 'pii.email on"),
        ({"grants": [{"group": "reader", "object": "shop.orders"}]}, "did you mean 'shop.orders to readers'"),
        (
            {"grants": [{"group": "readers", "object": "shop.orders", "privileges": ["drop"]}]},
            "does not hold drop",
        ),
        (
            {"grants": [{"group": "readers", "object": "shop.orders", "privileges": ["selct"]}]},
            "did you mean 'select'",
        ),
        ({"rule": [{"id": "mail"}]}, "did you mean 'rules'"),
        ({"tags": [{"object": "shop.orders.mail"}]}, "needs object and tag"),
    ],
)
def test_what_is_not_there_can_not_be_removed(remove: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        changed_document(LIVING, add={}, remove=remove)


def test_removing_what_was_added_gives_what_was_before() -> None:
    add = {"exceptions": [exception("e")], "tags": [{"object": "shop.*", "tag": "all"}]}
    with_it = changed_document(LIVING, add=add, remove={})
    remove = {"exceptions": [{"id": "e"}], "tags": add["tags"]}
    assert changed_document(with_it, add={}, remove=remove) == AccessData.from_document(LIVING).as_document()


def test_exceptions_that_ended_are_dropped() -> None:
    later = (NOW + timedelta(seconds=1)).isoformat()
    document = {**LIVING, "exceptions": [exception("over"), exception("on", expires_at=later)]}
    assert [e["id"] for e in without_expired(document, NOW)["exceptions"]] == ["on"]
    assert "exceptions" not in without_expired(LIVING, NOW)


def test_a_rule_that_goes_is_lifted_by_nobody() -> None:
    document = {
        **LIVING,
        "exceptions": [
            exception("both", lifts=["mail", "gone"]),
            exception("nothing", privileges=[], lifts=["gone"]),
            exception("typed", privileges=[], lifts=["gone"]),
        ],
    }
    left = {e["id"]: e.get("lifts") for e in without_lost_lifts(document, but={"typed"})["exceptions"]}
    assert left == {"both": ["mail"], "typed": ["gone"]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"expires_at": "2030-01-01T00:00:00"}, "a time with its zone"),
        ({"expires_at": "tomorrow"}, "a time with its zone"),
        ({"reason": ""}, "needs 'reason'"),
        ({"privileges": ["selct"]}, "did you mean 'select'"),
        ({"until": "x"}, "key of an exception"),
    ],
)
def test_malformed_exceptions_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        AccessData.from_document({"exceptions": [exception("e", **changed)]})


tag_items = st.builds(
    lambda o, t: {"object": o, "tag": t},
    st.sampled_from(["a.b", "a.*", "*", "a.b.c"]),
    st.sampled_from("xyz"),
)


@given(st.lists(tag_items, max_size=6), st.lists(tag_items, max_size=6))
def test_changes_tell_exactly_what_differs(before: list[Any], after: list[Any]) -> None:
    """Applying the told changes to the one document gives the other."""
    old, new = {"tags": before}, {"tags": after}
    told = changes_of(old, new)
    add = {"tags": [one.after for one in told if one.after is not None]}
    remove = {"tags": [one.before for one in told if one.before is not None]}
    assert changed_document(old, add=add, remove=remove) == changed_document(new, add={}, remove={})
