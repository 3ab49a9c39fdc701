"""Decisions of the real OPA on the seed's access data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.identity import GROUPS, PERSONAS, ROW_FILTER_USER
from governance.maintenance.policy import read_policies_file
from governance.validation import validate
from tests.policies.server import POLICIES, Json, Opa, question, seed_access

RECORDED = Path(__file__).parent / "recorded" / "trino-476.jsonl"

OPERATIONS = [
    line for line in (RECORDED.parent / "operations-476.txt").read_text().splitlines() if line[0] != "#"
]
DENIED_TO_ALL = {
    "CreateCatalog",
    "CreateFunction",
    "CreateMaterializedView",
    "DropCatalog",
    "DropFunction",
    "DropMaterializedView",
    "GetColumnMask",
    "GetRowFilters",
    "ImpersonateUser",
    "RefreshMaterializedView",
    "RenameMaterializedView",
    "RenameSchema",
    "SetMaterializedViewProperties",
    "SetSchemaAuthorization",
    "SetTableAuthorization",
    "SetViewAuthorization",
    "ShowCreateFunction",
}
"""The two Get… operations ask other decision points; ``allow`` has nothing to say to them."""

LISTINGS = ("FilterCatalogs", "FilterSchemas", "FilterTables", "FilterFunctions", "FilterViewQueryOwnedBy")


def table(name: str, *columns: str) -> Json:
    namespace, _, table_name = name.partition(".")
    found: Json = {"catalogName": "lake", "schemaName": namespace, "tableName": table_name}
    return {**found, "columns": list(columns)} if columns else found


def whole(operation: str) -> Json:
    """A resource that carries everything any operation looks at, on an object that admins hold."""
    procedure = {"ExecuteTableProcedure": "OPTIMIZE", "ExecuteProcedure": "kill_query"}.get(
        operation, "lower"
    )
    schema = "runtime" if operation == "ExecuteProcedure" else "builtin"
    return {
        "user": {"user": "admin", "groups": []},
        "catalog": {"name": "lake"},
        "schema": {"catalogName": "lake", "schemaName": "raw"},
        "table": table("raw.some", "a"),
        "function": {"catalogName": "system", "schemaName": schema, "functionName": procedure},
        "systemSessionProperty": {"name": "query_max_run_time"},
        "catalogSessionProperty": {"catalogName": "lake", "propertyName": "target_max_file_size"},
    }


@pytest.mark.parametrize("operation", [*OPERATIONS, "SomethingNew"])
def test_every_operation_is_decided_or_denied(opa: Opa, operation: str) -> None:
    target = {"targetResource": {"table": table("raw.renamed")}}
    asked = question("admin", ["lab_admins"], operation, resource=whole(operation), **target)
    assert opa.decide("allow", asked) is (operation in OPERATIONS and operation not in DENIED_TO_ALL)
    outsider = question("outsider", [], operation, resource=whole(operation), **target)
    assert opa.decide("allow", outsider) is False
    forged = question(ROW_FILTER_USER, ["lab_admins"], operation, resource=whole(operation), **target)
    assert opa.decide("allow", forged) is False


def _recorded_id(line: str) -> str:
    """The question in short."""
    asked = json.loads(line)["input"]
    about = asked["action"].get("resource", {}).get("table", {}).get("tableName", "")
    return f"{asked['context']['identity']['user']}-{asked['action']['operation']}-{about}"


@pytest.mark.parametrize("line", RECORDED.read_text().splitlines(), ids=_recorded_id)
def test_requests_recorded_from_trino(opa: Opa, line: str) -> None:
    """Questions of a real Trino 476, with the answers it then enforced."""
    recorded = json.loads(line)
    assert opa.decide(recorded["decision"], recorded["input"]) == recorded["result"]


tables = st.sampled_from(
    [
        f"{namespace}.{name}{suffix}"
        for namespace in ("retail", "hr", "web", "raw", "none", "information_schema")
        for name in ("customer", "orders", "nation", "employees", "events", "loaded", "tables", "")
        for suffix in ("", "$files", "$data", "@1")
    ]
)
names = st.sampled_from(["lake", "system", "jmx", "", "runtime", "jdbc", "builtin", "retail", "hr", "lower"])
resources = st.one_of(
    st.builds(lambda t: {"table": table(t)}, tables),
    st.builds(lambda c: {"catalog": {"name": c}}, names),
    st.builds(lambda c, s: {"schema": {"catalogName": c, "schemaName": s}}, names, names),
    st.builds(
        lambda c, s, f: {"function": {"catalogName": c, "schemaName": s, "functionName": f}},
        names,
        names,
        names,
    ),
    st.builds(lambda u: {"user": {"user": u, "groups": []}}, st.sampled_from(["admin", "u", "other"])),
    st.sampled_from([{}, {"table": None}, {"table": "customer"}, {"catalog": 1}, {"user": {}}]),
)
people = st.sampled_from(
    ["u", "admin", ROW_FILTER_USER, "service-account-governor", "service-account-maintainer"]
)
group_lists = st.lists(st.sampled_from([g.name for g in GROUPS] + ["unheard_of"]), unique=True, max_size=3)
relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@relaxed
@given(
    user=people,
    groups=group_lists,
    operation=st.sampled_from([*LISTINGS, "DropTable", "SelectFromColumns"]),
    candidates=st.lists(resources, max_size=8),
)
def test_batch_equals_single(opa: Opa, user: str, groups: list[str], operation: str, candidates: Any) -> None:
    batch = opa.decide("batch", question(user, groups, operation, filterResources=candidates))
    single = [opa.decide("allow", question(user, groups, operation, resource=each)) for each in candidates]
    if operation in LISTINGS:
        assert batch == [index for index, allowed in enumerate(single) if allowed]
    else:
        assert batch == []


@relaxed
@given(user=people, groups=group_lists, name=tables, columns=st.lists(names, unique=True, max_size=6))
def test_batch_of_columns_equals_single(
    opa: Opa, user: str, groups: list[str], name: str, columns: list[str]
) -> None:
    columns = [*columns, "c_comment", "c_custkey", "phone"]
    batch = opa.decide(
        "batch", question(user, groups, "FilterColumns", filterResources=[{"table": table(name, *columns)}])
    )
    single = [
        opa.decide("allow", question(user, groups, "FilterColumns", resource={"table": table(name, column)}))
        for column in columns
    ]
    assert batch == [index for index, allowed in enumerate(single) if allowed]


masked_columns = st.builds(
    lambda name, column, kind: {"column": {**table(name), "columnName": column, "columnType": kind}},
    tables,
    st.sampled_from(["c_custkey", "c_name", "c_address", "c_phone", "email", "salary", "other", "$path"]),
    st.sampled_from(["varchar", "bigint", "double", "date", "array(varchar)"]),
)


@relaxed
@given(user=people, groups=group_lists, candidates=st.lists(masked_columns, max_size=8))
def test_batch_of_masks_equals_single(opa: Opa, user: str, groups: list[str], candidates: list[Json]) -> None:
    """Also the refusal of one who is nobody: an index that no column has."""
    batch = opa.decide("columnMasks", question(user, groups, "GetColumnMask", filterResources=candidates))
    single = []
    for index, candidate in enumerate(candidates):
        alone = question(user, groups, "GetColumnMask", filterResources=[candidate])
        for mask in opa.decide("columnMasks", alone):
            if mask["index"] == -1:
                assert batch == [mask]
                return
            single.append({**mask, "index": index})
    assert not candidates or batch == single


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@relaxed
@given(
    identity=json_values,
    resource=json_values,
    operation=st.sampled_from(OPERATIONS) | json_values,
    candidates=json_values,
)
def test_illegal_questions_are_denied(
    opa: Opa, identity: Any, resource: Any, operation: Any, candidates: Any
) -> None:
    """Whatever comes, each decision point answers, and with a refusal."""
    asked = {
        "context": {"identity": identity},
        "action": {"operation": operation, "resource": resource, "filterResources": candidates},
    }
    assert opa.decide("allow", asked) is False
    assert opa.decide("batch", asked) == []
    assert opa.decide("rowFilters", asked) == [{"expression": "false"}]
    assert opa.decide("columnMasks", asked)[0]["index"] == -1


@pytest.mark.parametrize("persona", PERSONAS, ids=lambda persona: persona.username)
def test_readable_tables_of_personas(opa: Opa, persona: Any) -> None:
    retail = {f"retail.{name}" for name in RETAIL}
    everything = retail | {"hr.employees", "hr.departments", "web.events"}
    expected = {
        "admin": everything | {"raw.loaded"},
        "engineer": retail | {"web.events", "raw.loaded"},
        "steward": everything,
        "analyst_emea": everything | {"raw.loaded"},
        "analyst_amer": everything,
        "hr": {"hr.employees", "hr.departments"},
        "auditor": everything,
        "outsider": set(),
    }
    readable = {
        name
        for name in everything | {"raw.loaded"}
        if opa.decide(
            "allow",
            question(
                persona.username,
                list(persona.groups),
                "SelectFromColumns",
                resource={"table": {**table(name), "columns": []}},
            ),
        )
    }
    assert readable == expected[persona.username]


RETAIL = ("region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem")


def test_filter_identity_reads_what_filters_read_and_nothing_else(opa: Opa) -> None:
    tables_in_seed = [f"retail.{name}" for name in RETAIL] + ["hr.employees", "web.events"]
    readable = {
        name
        for name in tables_in_seed
        if opa.decide(
            "allow",
            question(ROW_FILTER_USER, [], "SelectFromColumns", resource={"table": table(name, "x")}),
        )
    }
    # No filter of the seed reads another table; the hash is made as this identity.
    assert readable == {"retail.customer", "retail.orders", "web.events"}
    for name in readable:
        filters = question(ROW_FILTER_USER, [], "GetRowFilters", resource={"table": table(name)})
        assert opa.decide("rowFilters", filters) == []


def test_groups_share_their_values(opa: Opa) -> None:
    asked = question(
        "both", ["analysts_emea", "analysts_amer"], "GetRowFilters", resource={"table": table("web.events")}
    )
    (told,) = opa.decide("rowFilters", asked)
    assert told["expression"].startswith("(\"region\" IN ('AMER', 'EMEA')) AND CASE WHEN")


def test_seed_files_hold_exactly_what_is_read() -> None:
    access = seed_access()
    document = access.as_document()
    assert type(access).from_document(document).as_document() == document
    assert validate(access) == []
    files = {path.name for path in (POLICIES / "data").rglob("*") if path.is_file()}
    assert files == {"tags.yaml", "grants.yaml", "rules.yaml", "tables.yaml"}
    assert read_policies_file(POLICIES / "data" / "maintenance")["policies"]
