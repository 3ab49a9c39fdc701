"""What is wrong with access data, and how it is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.access import (
    AccessData,
    AccessException,
    Grant,
    Mask,
    Privilege,
    Rule,
    RuleKind,
    TagAssignment,
)
from governance.validation import InvalidAccessData, KnownObjects, require_valid, validate

KNOWN = KnownObjects(
    groups=frozenset({"readers", "writers"}),
    tables={"shop.orders": ["id", "owner", "country"], "crm.customer": ["id"]},
    namespaces=frozenset({"shop", "crm", "empty"}),
)
READ = (Privilege.SELECT,)


def rule(**changed: Any) -> Rule:
    given: dict[str, Any] = {
        "id": "r",
        "kind": RuleKind.ROW_FILTER,
        "object": "shop.orders",
        "expression": "owner = {user}",
    }
    return Rule(**{**given, **changed})


def mask(**changed: Any) -> Rule:
    given: dict[str, Any] = {
        "id": "m",
        "kind": RuleKind.COLUMN_MASK,
        "object": "shop.orders.owner",
        "mask": Mask.NULL,
    }
    return Rule(**{**given, **changed})


def grant(group: str = "readers", target: str = "shop.orders", privileges: Any = READ) -> Grant:
    return Grant(group=group, object=target, privileges=privileges)


REGION = TagAssignment(object="shop.orders.country", tag="region")


def exception(**changed: Any) -> AccessException:
    given: dict[str, Any] = {
        "id": "e",
        "user": "ada",
        "object": "shop.orders",
        "privileges": READ,
        "expires_at": datetime(2030, 1, 1, tzinfo=UTC),
        "reason": "an incident",
    }
    return AccessException(**{**given, **changed})


VALID = {
    "grants": AccessData(grants=(grant(), grant(target="empty.*"))),
    "tag on a namespace": AccessData(tags=(TagAssignment(object="shop.*", tag="t"),)),
    "tag on the catalog": AccessData(tags=(TagAssignment(object="*", tag="t"),)),
    "exceptions": AccessData(
        rules=(mask(),),
        exceptions=(exception(), exception(id="l", privileges=(), lifts=("m",), object="shop.*")),
    ),
    "lambda in a filter": AccessData(rules=(rule(expression="any_match(ARRAY[owner], x -> x = {user})"),)),
    "filter on a table": AccessData(rules=(rule(),)),
    "filter with a subquery": AccessData(
        rules=(
            rule(
                expression="id IN (SELECT id FROM {catalog}.crm.customer)",
                as_filter_user=True,
                accept_leak=True,
            ),
        )
    ),
    "filter by tag": AccessData(
        tags=(REGION,),
        rules=(
            rule(object=None, tag="region", expression="{column} IN ({values})", values={"readers": ("a",)}),
        ),
    ),
    "mask": AccessData(rules=(mask(),)),
    "denied column": AccessData(rules=(mask(kind=RuleKind.COLUMN_DENY, mask=None, exempt=("writers",)),)),
    "tag that nothing bears": AccessData(rules=(mask(object=None, tag="unused"),)),
}

INVALID = {
    "unknown group in a grant": (
        AccessData(grants=(grant("reader"),)),
        "no group named 'reader'; did you mean 'readers'",
    ),
    "unknown exempt group": (AccessData(rules=(mask(exempt=("writer",)),)), "did you mean 'writers'"),
    "values for an unknown group": (
        AccessData(rules=(rule(expression="id IN ({values})", values={"nobody": (1,)}),)),
        "no group named 'nobody'",
    ),
    "grant on a column": (AccessData(grants=(grant(target="shop.orders.id"),)), "not an object of a grant"),
    "grant on everything": (AccessData(grants=(grant(target="*"),)), "not an object of a grant"),
    "grant of nothing": (AccessData(grants=(grant(privileges=()),)), "gives no privilege"),
    "upper case": (AccessData(grants=(grant(target="Shop.orders"),)), "not an object of a grant"),
    "unknown table in a grant": (
        AccessData(grants=(grant(target="shop.order"),)),
        "did you mean 'shop.orders'",
    ),
    "unknown table of a tag": (
        AccessData(tags=(TagAssignment(object="shop.nothing.x", tag="t"),)),
        "there is no table 'shop.nothing'",
    ),
    "unknown column of a tag": (
        AccessData(tags=(TagAssignment(object="shop.orders.countr", tag="t"),)),
        "no column 'countr'; did you mean 'country'",
    ),
    "odd tag": (AccessData(tags=(TagAssignment(object="shop.orders", tag="A tag"),)), "not a tag's name"),
    "tag on part of a namespace": (
        AccessData(tags=(TagAssignment(object="shop.*.id", tag="t"),)),
        "not a table or column",
    ),
    "tag on an unknown namespace": (
        AccessData(tags=(TagAssignment(object="shp.*", tag="t"),)),
        "no namespace 'shp'; did you mean 'shop'",
    ),
    "grant on an unknown namespace": (
        AccessData(grants=(grant(target="cmr.*"),)),
        "did you mean 'crm'",
    ),
    "unknown column in an expression": (
        AccessData(rules=(rule(expression="ownr = {user}"),)),
        "no column 'ownr'; did you mean 'owner'",
    ),
    "exception for a service": (
        AccessData(exceptions=(exception(user="service-account-trino"),)),
        "not a person's user name",
    ),
    "exception that lifts an unknown rule": (
        AccessData(rules=(mask(),), exceptions=(exception(lifts=("n",)),)),
        "there is no rule 'n'",
    ),
    "exception on an unknown table": (
        AccessData(exceptions=(exception(object="shop.order"),)),
        "did you mean 'shop.orders'",
    ),
    "exception of nothing": (AccessData(exceptions=(exception(privileges=()),)), "gives no privilege"),
    "exception without a reason": (AccessData(exceptions=(exception(reason=" "),)), "has no reason"),
    "unknown column of a rule": (AccessData(rules=(mask(object="shop.orders.own"),)), "no column 'own'"),
    "two rules of one id": (AccessData(rules=(rule(), rule(expression="false"))), "used 2 times"),
    "odd id": (AccessData(rules=(rule(id="A rule"),)), "not a rule's id"),
    "neither tag nor object": (AccessData(rules=(mask(object=None),)), "neither of 'tag' and 'object'"),
    "both tag and object": (AccessData(rules=(mask(tag="t"),)), "both of 'tag' and 'object'"),
    "no mask": (AccessData(rules=(mask(mask=None),)), "names no mask"),
    "mask on a denied column": (AccessData(rules=(mask(kind=RuleKind.COLUMN_DENY),)), "names a mask, too"),
    "expression on a mask": (
        AccessData(rules=(mask(expression="true"),)),
        "'expression' belongs to row filters",
    ),
    "identity on a mask": (AccessData(rules=(mask(as_filter_user=True),)), "'as_filter_user' belongs"),
    "mask on a filter": (AccessData(rules=(rule(mask=Mask.NULL),)), "filters rows and names a mask"),
    "no expression": (AccessData(rules=(rule(expression=None),)), "no 'expression'"),
    "unknown placeholder": (AccessData(rules=(rule(expression="a = {usr}"),)), "{usr}; did you mean 'user'"),
    "values missing": (
        AccessData(rules=(rule(expression="id IN ({values})"),)),
        "uses {values} and has none",
    ),
    "values unused": (AccessData(rules=(rule(values={"readers": (1,)}),)), "does not use"),
    "no values": (
        AccessData(rules=(rule(expression="id IN ({values})", values={"readers": ()}),)),
        "empty list of values",
    ),
    "mixed values": (
        AccessData(rules=(rule(expression="id IN ({values})", values={"readers": (1, "a")}),)),
        "mix texts and numbers",
    ),
    "truth as a value": (
        AccessData(rules=(rule(expression="id IN ({values})", values={"readers": (True,)}),)),
        "True is not a value",
    ),
    "column of a table": (
        AccessData(rules=(rule(expression="{column} = 1"),)),
        "shop.orders is not a column",
    ),
    "syntax": (AccessData(rules=(rule(expression="owner = = 1"),)), "not usable"),
    "two statements": (AccessData(rules=(rule(expression="true; DROP TABLE x"),)), "more than one predicate"),
    "closing parenthesis": (AccessData(rules=(rule(expression="true) OR (true"),)), "not usable"),
    "another table unasked for": (
        AccessData(rules=(rule(expression="id IN (SELECT id FROM crm.customer)"),)),
        "columns of shop.orders alone, which may carry what the filter asks for, or --accept-leak",
    ),
    "a leak that is none": (
        AccessData(rules=(rule(accept_leak=True),)),
        "'accept_leak' is for filters that read another table",
    ),
    "a leak of a mask": (AccessData(rules=(mask(accept_leak=True),)), "'accept_leak' belongs to row filters"),
    "union": (AccessData(rules=(rule(expression="true UNION SELECT 1"),)), "more than one predicate"),
    "limit": (AccessData(rules=(rule(expression="true LIMIT 1"),)), "something follows"),
    "placeholder in quotes": (AccessData(rules=(rule(expression="owner LIKE '%{user}'"),)), "not usable"),
    "another catalog": (
        AccessData(rules=(rule(expression="id IN (SELECT id FROM other.crm.customer)"),)),
        "which is not the lab's",
    ),
    "unknown table in an expression": (
        AccessData(rules=(rule(expression="id IN (SELECT id FROM crm.customers)"),)),
        "did you mean 'crm.customer'",
    ),
}


@pytest.mark.parametrize("access", VALID.values(), ids=VALID.keys())
def test_valid(access: AccessData) -> None:
    assert validate(access, KNOWN) == []
    require_valid(access, KNOWN)


@pytest.mark.parametrize(("access", "said"), INVALID.values(), ids=INVALID.keys())
def test_invalid(access: AccessData, said: str) -> None:
    problems = validate(access, KNOWN)
    assert any(said in str(problem) for problem in problems), problems
    with pytest.raises(InvalidAccessData) as raised:
        require_valid(access, KNOWN)
    assert raised.value.problems == tuple(problems)
    assert said in raised.value.render()


def test_every_problem_is_named() -> None:
    access = AccessData(grants=(grant("x"), grant("y")), rules=(mask(mask=None),))
    assert len(validate(access, KNOWN)) == 3


def test_without_a_catalog_tables_are_taken_on_trust() -> None:
    access = AccessData(grants=(grant("auditors", "not.there"),), rules=(mask(object="not.there.either"),))
    assert validate(access) == []
    assert validate(AccessData(grants=(grant("auditor"),)))[0].what.endswith("did you mean 'auditors'?")
