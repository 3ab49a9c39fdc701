"""Changes of rules and tags that show somebody more, told from those that do not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts.access import AccessData, Grant, Mask, Privilege, Rule, RuleKind, TagAssignment
from governance.widening import widenings

READ = (Privilege.SELECT,)


def rows(expression: str = "a = 1", **changed: Any) -> Rule:
    given: dict[str, Any] = {"id": "rows", "kind": RuleKind.ROW_FILTER, "object": "shop.orders"}
    return Rule(**{**given, "expression": expression, **changed})


def mask(kind: Mask = Mask.HASH, **changed: Any) -> Rule:
    given: dict[str, Any] = {"id": "mask", "kind": RuleKind.COLUMN_MASK, "object": "shop.orders.mail"}
    return Rule(**{**given, "mask": kind, **changed})


def deny(**changed: Any) -> Rule:
    given: dict[str, Any] = {"id": "deny", "kind": RuleKind.COLUMN_DENY, "object": "shop.orders.mail"}
    return Rule(**{**given, **changed})


def access(*rules: Rule, tags: tuple[tuple[str, str], ...] = (), grants: Any = None) -> AccessData:
    return AccessData(
        grants=(Grant(group="readers", object="shop.orders", privileges=READ),) if grants is None else grants,
        tags=tuple(TagAssignment(object=name, tag=tag) for name, tag in tags),
        rules=rules,
    )


VALUES = "k IN ({values})"
SUBQUERY = "k IN (SELECT k FROM {catalog}.crm.c WHERE n IN ({values}))"

WIDER = {
    "filter removed": (access(rows()), access()),
    "filter changed": (access(rows()), access(rows("a = 2"))),
    "filter or more": (access(rows()), access(rows("a = 1 OR true"))),
    "exempt": (access(rows()), access(rows(exempt=("readers",)))),
    "more values": (
        access(rows(VALUES, values={"readers": (1,)})),
        access(rows(VALUES, values={"readers": (1, 2)})),
    ),
    "fewer values under a NOT": (
        access(rows("NOT k IN ({values})", values={"readers": (1, 2)})),
        access(rows("NOT k IN ({values})", values={"readers": (1,)})),
    ),
    "fewer values in a comparison": (
        access(rows("(k IN ({values})) = false", values={"readers": (1, 2)})),
        access(rows("(k IN ({values})) = false", values={"readers": (1,)})),
    ),
    "subquery past its rules": (
        access(rows("k IN (SELECT k FROM crm.c)")),
        access(rows("k IN (SELECT k FROM crm.c)", as_filter_user=True)),
    ),
    "values instead of none": (
        access(rows(VALUES, values={"others": (1,)})),
        access(rows(VALUES, values={"readers": (1,)})),
    ),
    "mask removed": (access(mask()), access()),
    "weaker mask": (access(mask(Mask.HASH)), access(mask(Mask.LAST_4))),
    "mask instead of a denial": (access(deny()), access(mask(Mask.NULL))),
    "denial gone": (access(deny()), access()),
    "denied table": (access(deny(object="shop.orders")), access(deny(object="shop.orders.mail"))),
    "tag taken off": (
        access(mask(object=None, tag="t"), tags=(("shop.orders.mail", "t"),)),
        access(mask(object=None, tag="t")),
    ),
    "tag moved off a namespace": (
        access(mask(object=None, tag="t"), tags=(("shop.*", "t"),)),
        access(mask(object=None, tag="t"), tags=(("shop.orders.mail", "t"),)),
    ),
    "filter of the catalog": (access(rows(object="*")), access()),
}

NO_WIDER = {
    "the same": (access(rows(), mask(), deny()), access(rows(), mask(), deny())),
    "another id": (access(rows()), access(rows(id="renamed"))),
    "written otherwise": (access(rows("a = 1")), access(rows("  A  =  1 "))),
    "one condition more": (access(rows()), access(rows("a = 1 AND b = 2"))),
    "another filter beside": (access(rows()), access(rows(), rows("b = 2", id="more"))),
    "fewer values": (
        access(rows(SUBQUERY, values={"readers": (1, 2)})),
        access(rows(SUBQUERY, values={"readers": (2,)})),
    ),
    "no value left": (
        access(rows(VALUES, values={"readers": (1,)})),
        access(rows(VALUES, values={"others": (1,)})),
    ),
    "stronger mask": (access(mask(Mask.LAST_4)), access(mask(Mask.NULL))),
    "two masks": (access(mask(Mask.NULL)), access(mask(Mask.NULL), mask(Mask.EMAIL_DOMAIN, id="other"))),
    "denied instead of masked": (access(mask()), access(deny())),
    "by tag instead of by name": (
        access(mask()),
        access(mask(object=None, tag="t"), tags=(("shop.orders.mail", "t"),)),
    ),
    "whole namespace": (access(mask()), access(mask(object="shop.*"))),
    "exempt who reads nothing": (access(rows()), access(rows(exempt=("others",)))),
    "nobody reads any more": (access(rows(), grants=()), access(grants=())),
    "granted at once": (
        access(rows(), grants=()),
        access(),
    ),
    "filter on a column's tag": (
        access(rows("{column} = 1", object=None, tag="t"), tags=(("shop.orders.k", "t"),)),
        access(rows("k = 1")),
    ),
}


@pytest.mark.parametrize(("old", "new"), WIDER.values(), ids=WIDER.keys())
def test_widens(old: AccessData, new: AccessData) -> None:
    found = widenings(old, new, {})
    assert found
    assert {one.group for one in found} == {"readers"}
    assert all(str(one).startswith("readers on ") for one in found)


@pytest.mark.parametrize(("old", "new"), NO_WIDER.values(), ids=NO_WIDER.keys())
def test_does_not_widen(old: AccessData, new: AccessData) -> None:
    assert widenings(old, new, {}) == []


def test_it_is_said_where_and_what() -> None:
    (one,) = widenings(access(deny()), access(mask(Mask.LAST_4)), {})
    assert str(one) == "readers on shop.orders.mail: denied before, masked by last_4 after"


def test_owners_count_as_readers() -> None:
    owned = {"shop.orders": "loaders"}
    found = widenings(access(mask(), grants=()), access(grants=()), owned)
    assert [one.group for one in found] == ["loaders"]


def test_a_namespace_wide_rule_counts_for_who_reads_one_table_of_it() -> None:
    old = access(mask(object="shop.*"))
    assert widenings(old, replace(old, rules=()), {})
    elsewhere = access(mask(object="hr.*"))
    assert widenings(elsewhere, replace(elsewhere, rules=()), {}) == []
