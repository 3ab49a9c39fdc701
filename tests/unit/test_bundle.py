"""Compiled access data and the bundle's bytes (OPA itself: tests/policies)."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

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
from contracts.errors import UsageError
from governance.bundle import SIGNING_KEY_ID, build_bundle, compile_data
from governance.predicates import parts, quote_identifier, quote_literal, tables_read

READ = (Privilege.SELECT,)


def compiled(access: AccessData, **changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "catalog": "lake",
        "revision": 4,
        "issued_at_ns": 1_700_000_000_000_000_000,
        "max_age_s": 3600,
        "owners": {},
    }
    found: dict[str, Any] = compile_data(access, **{**given, **changed})["lab"]
    return found


def row_filter(**changed: Any) -> Rule:
    given: dict[str, Any] = {
        "id": "own",
        "kind": RuleKind.ROW_FILTER,
        "object": "shop.orders",
        "expression": "owner = {user}",
    }
    return Rule(**{**given, **changed})


def test_grants_are_indexed_by_group_namespace_and_table() -> None:
    access = AccessData(
        grants=(
            Grant(group="readers", object="shop.orders", privileges=READ),
            Grant(group="readers", object="shop.orders", privileges=(Privilege.INSERT,)),
            Grant(group="readers", object="web.*", privileges=READ),
        )
    )
    data = compiled(access, owners={"raw.mine": "loaders"})["access"]
    assert data["grants"]["readers"] == {
        "tables": {"shop": {"orders": {"insert": True, "select": True}}},
        "namespaces": {"web": {"select": True}},
        "visible": {"shop": True, "web": True},
    }
    assert set(data["grants"]["loaders"]["tables"]["raw"]["mine"]) == {p.value for p in Privilege}
    assert data["groups"] == {"loaders": True, "readers": True}


def test_names_are_matched_as_trino_writes_them() -> None:
    access = AccessData(
        grants=(Grant(group="readers", object="Shop.Orders", privileges=READ),),
        rules=(Rule(id="d", kind=RuleKind.COLUMN_DENY, object="Shop.Orders.Note"),),
    )
    data = compiled(access)["access"]
    assert data["grants"]["readers"]["tables"] == {"shop": {"orders": {"select": True}}}
    assert data["denies"] == {"shop": {"orders": {"note": [{"id": "d", "exempt": {}}]}}}


def test_tags_spread_a_rule_over_columns_and_tables() -> None:
    access = AccessData(
        tags=(
            TagAssignment(object="shop.a.x", tag="t"),
            TagAssignment(object="shop.b", tag="t"),
            TagAssignment(object="shop.c.x", tag="other"),
        ),
        rules=(Rule(id="m", kind=RuleKind.COLUMN_MASK, tag="t", mask=Mask.NULL, exempt=("z", "y")),),
    )
    data = compiled(access)["access"]
    exempt = {"y": True, "z": True}
    entry = {"id": "m", "mask": "null", "rank": 0, "exempt": exempt}
    assert data["masks"] == {"shop": {"a": {"x": [entry]}, "b": {"*": [entry]}}}
    filed = [{"id": "m", "exempt": exempt}]
    assert data["protected"] == {"shop": {"a": filed, "b": filed}}
    assert {"y", "z"} <= set(data["groups"])


def test_tags_on_a_namespace_and_on_the_catalog_are_filed_under_a_star() -> None:
    access = AccessData(
        tags=(TagAssignment(object="shop.*", tag="t"), TagAssignment(object="*", tag="all")),
        rules=(
            Rule(id="m", kind=RuleKind.COLUMN_MASK, tag="t", mask=Mask.NULL),
            Rule(id="d", kind=RuleKind.COLUMN_DENY, tag="all", exempt=("z",)),
            row_filter(object="shop.*", expression="a IN (SELECT a FROM ids)", as_filter_user=True),
        ),
    )
    data = compiled(access)["access"]
    assert data["masks"] == {"shop": {"*": {"*": [{"id": "m", "mask": "null", "rank": 0, "exempt": {}}]}}}
    assert data["denies"] == {"*": {"*": {"*": [{"id": "d", "exempt": {"z": True}}]}}}
    assert [entry["id"] for entry in data["filters"]["shop"]["*"]] == ["own"]
    assert data["filter_reads"] == {"shop": {"*": True, "ids": True}}
    assert set(data["protected"]) == {"shop", "*"}


def test_exceptions_are_filed_by_user_and_table() -> None:
    until = datetime(2030, 1, 1, tzinfo=UTC)
    given: dict[str, Any] = {"user": "ada", "expires_at": until, "reason": "r"}
    access = AccessData(
        rules=(Rule(id="d", kind=RuleKind.COLUMN_DENY, object="s.t.c"),),
        exceptions=(
            AccessException(id="a", object="s.t", privileges=READ, **given),
            AccessException(id="b", object="s.*", lifts=("*",), **given),
        ),
    )
    expires_ns = int(until.timestamp()) * 10**9
    assert compiled(access)["access"]["exceptions"] == {
        "ada": {
            "s": {
                "t": [{"id": "a", "expires_ns": expires_ns, "privileges": {"select": True}, "lifts": {}}],
                "*": [{"id": "b", "expires_ns": expires_ns, "privileges": {}, "lifts": {"d": True}}],
            }
        }
    }


def test_the_mask_that_hides_most_ranks_lowest() -> None:
    rules = tuple(
        Rule(id=mask.value, kind=RuleKind.COLUMN_MASK, object="s.t.c", mask=mask)
        for mask in (Mask.EMAIL_DOMAIN, Mask.LAST_4, Mask.NULL, Mask.HASH)
    )
    found = compiled(AccessData(rules=rules))["access"]["masks"]["s"]["t"]["c"]
    ranked = sorted(found, key=lambda entry: entry["rank"])
    assert [entry["mask"] for entry in ranked] == ["null", "hash", "last_4", "email_domain"]


def test_filter_is_cut_at_its_placeholders() -> None:
    rule = row_filter(
        object=None,
        tag="region",
        expression="{column} IN ({values}) OR x = {user} OR {catalog}.f(1) OR y = '{2}'",
        values={"readers": ("o'neil", "{user}", 7)},
    )
    access = AccessData(tags=(TagAssignment(object="shop.orders.country", tag="region"),), rules=(rule,))
    found = compiled(access)["access"]["filters"]["shop"]["orders"][0]
    assert found["parts"] == [
        {"sql": '"country" IN ('},
        {"placeholder": "values"},
        {"sql": ") OR x = "},
        {"placeholder": "user"},
        {"sql": " OR \"lake\".f(1) OR y = '{2}'"},
    ]
    assert found["values"] == {"readers": ["'o''neil'", "'{user}'", "7"]}
    assert found["by_group"] is True


def test_filter_identity_may_read_what_its_filters_read() -> None:
    expression = "k IN (SELECT k FROM {catalog}.crm.customer JOIN nation USING (n))"
    access = AccessData(
        rules=(row_filter(expression=expression, as_filter_user=True), row_filter(id="plain"))
    )
    reads = compiled(access)["access"]["filter_reads"]
    assert reads == {"crm": {"customer": True}, "shop": {"nation": True, "orders": True}}
    assert compiled(AccessData(rules=(row_filter(),)))["access"]["filter_reads"] == {}
    hashed = Rule(id="h", kind=RuleKind.COLUMN_MASK, object="shop.orders.k", mask=Mask.HASH)
    other = Rule(id="o", kind=RuleKind.COLUMN_MASK, object="shop.nation.k", mask=Mask.NULL)
    reads = compiled(AccessData(rules=(hashed, other)))["access"]["filter_reads"]
    assert reads == {"shop": {"orders": True}}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (row_filter(expression="{column} = 1"), "named without a column"),
        (row_filter(expression="true; drop table x"), "more than one predicate"),
        (row_filter(expression=None), "can't be used"),
        (row_filter(expression="a = '{user}'"), "can't be used"),
        (row_filter(object="shop"), "one table or one column"),
        (row_filter(object="shop.*.x"), "one table or one column"),
        (row_filter(object="*.x"), "one table or one column"),
        (Rule(id="m", kind=RuleKind.COLUMN_MASK, object="s.t.c"), "names no mask"),
    ],
)
def test_unusable_rules_are_refused(rule: Rule, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        compiled(AccessData(rules=(rule,)))


def test_the_mask_is_told_where_its_key_lies_and_not_the_key() -> None:
    told = compiled(AccessData())["bundle"]["mask_key"]
    assert told == {"catalog": "masking", "schema": "public", "table": "hash_key", "column": "key"}


@pytest.mark.parametrize(
    ("expression", "guarded"),
    [
        ("region = 'x'", False),
        ("region IN ({values})", False),
        ("owner = {user} AND (n BETWEEN -1 AND 3)", False),
        ("DATE '2026-01-01' < d", False),
        ("region IN ('x') AND n <> 1", False),
        ("optional = 'x'", True),
        ("region = 'x' OR n = 1", True),
        ("NOT (region = 'x')", True),
        ("region = n", True),
        ("lower(region) = 'x'", True),
        ("region LIKE 'x%'", True),
        ("contains(chain, {user})", True),
        ("true", True),
        ("k IN (SELECT k FROM s.u)", False),
    ],
)
def test_filters_are_guarded_unless_they_are_ranges_of_columns_without_null(
    expression: str, guarded: bool
) -> None:
    rule = row_filter(expression=expression, values={"readers": ("x",)} if "values" in expression else {})
    known = {"shop.orders": frozenset({"region", "owner", "n", "d"})}
    (one,) = compiled(AccessData(rules=(rule,)), required=known)["access"]["filters"]["shop"]["orders"]
    assert one["guarded"] is guarded
    (one,) = compiled(AccessData(rules=(rule,)))["access"]["filters"]["shop"]["orders"]
    assert one["guarded"] is ("SELECT" not in expression)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def test_bundle_is_deterministic_and_signed(key: rsa.RSAPrivateKey) -> None:
    data = {"lab": compiled(AccessData())}
    rego = {"lab/trino/b.rego": "package lab.b\n", "lab/trino/a.rego": "package lab.a\n"}
    bundle = build_bundle(data, rego, pem(key))
    assert bundle == build_bundle(data, dict(reversed(rego.items())), pem(key))
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        files = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]  # all are files
    assert json.loads(files[".manifest"]) == {"revision": "4", "roots": ["lab"], "rego_version": 1}
    assert json.loads(files["data.json"]) == data
    token = json.loads(files.pop(".signatures.json"))["signatures"][0]
    assert jwt.get_unverified_header(token)["kid"] == SIGNING_KEY_ID
    signed = jwt.decode(token, key.public_key(), algorithms=["RS256"])
    assert {entry["name"]: entry["hash"] for entry in signed["files"]} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


@pytest.mark.parametrize("path", ["/abs.rego", "../up.rego", "data.json"])
def test_odd_paths_are_refused(key: rsa.RSAPrivateKey, path: str) -> None:
    with pytest.raises(UsageError, match="path in a bundle"):
        build_bundle({"lab": compiled(AccessData())}, {path: ""}, pem(key))


def test_data_outside_the_root_is_refused(key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(UsageError, match="one root"):
        build_bundle({"lab": compiled(AccessData()), "system": {}}, {}, pem(key))


def test_quoting() -> None:
    assert quote_literal("o'neil") == "'o''neil'"
    assert quote_literal(-3) == "-3"
    assert quote_identifier('a"b') == '"a""b"'
    assert parts("{user}", catalog="lake", column=None) == [{"placeholder": "user"}]


def test_tables_of_a_predicate() -> None:
    sql = "EXISTS (WITH near AS (SELECT * FROM a.b) SELECT 1 FROM near JOIN {catalog}.C.D d ON true)"
    assert tables_read(sql, catalog="lake", namespace="n") == {"a.b", "c.d"}
    with pytest.raises(ValueError, match="not the lab's"):
        tables_read("EXISTS (SELECT 1 FROM other.a.b)", catalog="lake", namespace="n")
