"""Raw grants follow from the access data, and never reach past a rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.access import AccessData, Grant, Mask, Privilege, Rule, RuleKind, TagAssignment
from governance.derivation import (
    NamespaceRights,
    RawRights,
    derive_raw_grants,
    namespace_rights,
    restrictions,
)

ALL = frozenset(Privilege)
READ = frozenset({Privilege.SELECT})
TABLES = {"shop.orders": ["id", "note"], "shop.nation": ["id"], "hr.people": ["id"]}


def grant(group: str, target: str, *privileges: Privilege) -> Grant:
    return Grant(group=group, object=target, privileges=privileges or (Privilege.SELECT,))


def test_a_rule_takes_the_table_from_every_group_it_reaches() -> None:
    access = AccessData(
        grants=(grant("readers", "shop.*"), grant("writers", "shop.*", *Privilege)),
        tags=(TagAssignment(object="shop.orders.note", tag="free_text"),),
        rules=(Rule(id="d", kind=RuleKind.COLUMN_DENY, tag="free_text", exempt=("writers",)),),
    )
    assert derive_raw_grants(access, TABLES, {}) == {
        "readers": {"shop.nation": READ},
        "writers": {"shop.nation": ALL, "shop.orders": ALL},
    }


def test_each_kind_of_rule_counts() -> None:
    kinds = (
        Rule(id="f", kind=RuleKind.ROW_FILTER, object="shop.orders", expression="true"),
        Rule(id="m", kind=RuleKind.COLUMN_MASK, object="shop.orders.id", mask=Mask.NULL),
        Rule(id="d", kind=RuleKind.COLUMN_DENY, object="shop.orders.id"),
        Rule(id="w", kind=RuleKind.COLUMN_DENY, object="shop.orders"),
        Rule(id="later", kind=RuleKind.COLUMN_DENY, object="shop.orders.not_there_yet"),
    )
    for rule in kinds:
        access = AccessData(grants=(grant("readers", "shop.orders"),), rules=(rule,))
        assert derive_raw_grants(access, TABLES, {}) == {}


def test_writing_needs_reading() -> None:
    access = AccessData(grants=(grant("fillers", "shop.orders", Privilege.INSERT),))
    assert derive_raw_grants(access, TABLES, {}) == {}


def test_owners_hold_everything_unless_a_rule_reaches_them() -> None:
    rules = (Rule(id="m", kind=RuleKind.COLUMN_MASK, object="raw.b.x", mask=Mask.NULL),)
    owners = {"raw.a": "loaders", "raw.b": "loaders"}
    found = derive_raw_grants(AccessData(rules=rules), {"raw.a": [], "raw.b": ["x"]}, owners)
    assert found == {"loaders": {"raw.a": ALL}}


def test_a_catalog_without_grants_gives_what_is_read_and_written_table_by_table() -> None:
    access = AccessData(
        grants=(
            grant("engineers", "shop.*", *Privilege),
            grant("masked", "shop.*", *Privilege),
            grant("readers", "shop.nation"),
            grant("fillers", "shop.nation", Privilege.INSERT),
            grant("people", "hr.*", *Privilege),
        ),
        rules=(
            Rule(
                id="m",
                kind=RuleKind.COLUMN_MASK,
                object="shop.orders.id",
                mask=Mask.NULL,
                exempt=("engineers",),
            ),
        ),
    )
    rights = RawRights(access, {"raw.own": "readers"}, closed=["hr"])
    assert rights.on_table(["engineers"], "shop.orders") == ALL
    assert rights.on_table(["masked"], "shop.orders") == frozenset()
    assert rights.on_table(["masked"], "shop.nation") == ALL
    assert rights.on_table(["masked"], "SHOP.ORDERS") == frozenset()
    assert rights.on_table(["engineers"], "shop.to_come") == ALL
    # It hands out no credentials that only read; and writing alone is not reading.
    assert rights.on_table(["readers"], "shop.nation") == frozenset()
    assert rights.on_table(["fillers"], "shop.nation") == frozenset()
    assert rights.on_table(["readers"], "raw.own") == ALL
    assert rights.on_table(["people"], "hr.people") == frozenset()
    assert rights.on_table([], "shop.nation") == frozenset()
    assert [rights.may_create([group], "shop") for group in ("engineers", "masked", "readers")] == [
        True,
        False,
        False,
    ]
    assert not rights.may_create(["people"], "hr")
    assert [rights.lists(["readers"], name) for name in ("shop", "raw", "hr")] == [True, True, False]
    assert not rights.lists(["people"], "hr")
    assert (rights.ruled("shop.orders"), rights.ruled("shop.nation")) == (True, False)


@pytest.mark.parametrize(
    ("groups", "tables"),
    [
        (("readers",), {"shop.orders": ("later", "note")}),
        (("spared",), {"shop.orders": ("later",)}),
        (("readers", "spared"), {"shop.orders": ("later",)}),
        (("readers", "spared", "spared_too"), {}),
        (("fillers",), {}),
        (("owners",), {"raw.mine": ("own",)}),
        (("wide",), {"web.*": ("to-come",)}),
        ((), {}),
    ],
    ids=[
        "reached",
        "exempt of one",
        "one group spares",
        "all spared",
        "can't read",
        "owner",
        "to come",
        "no group",
    ],
)
def test_rules_that_change_what_a_member_of_some_groups_sees(
    groups: tuple[str, ...], tables: dict[str, tuple[str, ...]]
) -> None:
    access = AccessData(
        grants=(
            grant("readers", "shop.*"),
            grant("spared", "shop.orders"),
            grant("fillers", "shop.orders", Privilege.INSERT),
            grant("wide", "web.*"),
        ),
        tags=(TagAssignment(object="shop.orders.note", tag="free_text"),),
        rules=(
            Rule(id="to-come", kind=RuleKind.ROW_FILTER, object="web.not_there_yet", expression="true"),
            Rule(id="note", kind=RuleKind.COLUMN_DENY, tag="free_text", exempt=("spared",)),
            # On a column that is not there: it may be added, and a rule holds for it then.
            Rule(id="later", kind=RuleKind.COLUMN_DENY, object="shop.orders.new", exempt=("spared_too",)),
            Rule(id="people", kind=RuleKind.ROW_FILTER, object="hr.people", expression="true"),
            Rule(id="own", kind=RuleKind.ROW_FILTER, object="raw.mine", expression="true"),
        ),
    )
    assert restrictions(access, TABLES, {"raw.mine": "owners"}, groups) == tables


def test_namespaces() -> None:
    access = AccessData(
        grants=(
            grant("a", "shop.orders", *Privilege),
            grant("a", "raw.*", Privilege.CREATE),
            grant("b", "web.*"),
        )
    )
    assert namespace_rights(access, {"lab.mine": "b"}) == {
        "a": NamespaceRights(listed=("raw", "shop"), creatable=("raw",), writable=()),
        "b": NamespaceRights(listed=("lab", "web"), creatable=(), writable=()),
    }


@pytest.mark.parametrize(
    ("privileges", "exempt", "ruled", "writable"),
    [
        (tuple(Privilege), (), "shop.orders.email", ("raw",)),
        (tuple(Privilege), (), "raw.not_there_yet.email", ()),
        (tuple(Privilege), ("a",), "raw.not_there_yet.email", ("raw",)),
        ((Privilege.SELECT, Privilege.CREATE), (), "shop.orders.email", ()),
        ((Privilege.INSERT, Privilege.CREATE), (), "shop.orders.email", ()),
    ],
    ids=["no rule", "rule", "exempt", "reads only", "can't read"],
)
def test_a_namespace_is_writable_as_a_whole_only_where_no_rule_can_reach(
    privileges: tuple[Privilege, ...], exempt: tuple[str, ...], ruled: str, writable: tuple[str, ...]
) -> None:
    access = AccessData(
        grants=(grant("a", "raw.*", *privileges),),
        tags=(TagAssignment(object=ruled, tag="pii.email"),),
        rules=(Rule(id="r", kind=RuleKind.COLUMN_MASK, tag="pii.email", mask=Mask.NULL, exempt=exempt),),
    )
    assert namespace_rights(access, {})["a"].writable == writable


groups = st.sampled_from(["a", "b", "c"])
tables = st.sampled_from(sorted(TABLES))


@given(
    grants=st.lists(
        st.builds(
            lambda g, t, p: Grant(group=g, object=t, privileges=tuple(p)),
            groups,
            tables | st.sampled_from(["shop.*", "hr.*"]),
            st.sets(st.sampled_from(list(Privilege)), min_size=1),
        ),
        max_size=8,
    ),
    ruled=st.lists(st.tuples(tables, st.sets(groups)), max_size=4),
)
def test_no_raw_grant_where_a_rule_reaches(grants: list[Grant], ruled: list[tuple[str, set[str]]]) -> None:
    rules = tuple(
        Rule(
            id=f"r{i}",
            kind=RuleKind.ROW_FILTER,
            object=table,
            expression="true",
            exempt=tuple(sorted(exempt)),
        )
        for i, (table, exempt) in enumerate(ruled)
    )
    found = derive_raw_grants(AccessData(grants=tuple(grants), rules=rules), TABLES, {})
    for group, granted in found.items():
        for table, privileges in granted.items():
            assert Privilege.SELECT in privileges
            assert all(group in exempt for name, exempt in ruled if name == table)
