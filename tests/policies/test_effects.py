"""What people are told is what Trino is told: governance.effects against the Rego, on random access data.

Both derive from the same access data and share no code: a mistake in one of them shows here.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from contracts.identity import PERSONAS
from governance.bundle import compile_data
from governance.effects import Effects, Reader
from governance.reports import Visibility
from tests.policies.server import POLICIES, Json, question, seed_access

NOW = datetime.now(tz=UTC).replace(microsecond=0)
OWNERS = {"shop.b": "owners"}
TABLES = {"shop.a": ("x", "y"), "shop.b": ("x", "y"), "hr.a": ("x", "y")}
GROUPS = ("g1", "g2", "owners", "lab_admins")
READERS = [
    Reader(username="u", groups=frozenset({"g1"})),
    Reader(username="u", groups=frozenset()),
    Reader(username="o'v", groups=frozenset({"g1", "g2"})),
    Reader(username="o'v", groups=frozenset({"lab_admins", "owners", "unheard_of"})),
]
EXPRESSIONS = ("x = {user}", "x IN ({values})", "true", "{catalog}.f()")
QUERY = """
[answers | some asked in input.questions
  select := asked.select
  rows := asked.filters
  columns := asked.masks
  listing := asked.columns
  readable := data.lab.trino.allow with input as select
  filters := data.lab.trino.rowFilters with input as rows
  masks := data.lab.trino.columnMasks with input as columns
  visible := data.lab.trino.batch with input as listing
  answers := {"readable": readable, "filters": filters, "masks": masks, "visible": visible}]
"""


def questions(reader: Reader, table: str, columns: tuple[str, ...]) -> Json:
    """What Trino asks when somebody reads a table."""
    namespace, _, name = table.partition(".")
    named = {"catalogName": "lake", "schemaName": namespace, "tableName": name}
    groups = sorted(reader.groups)
    candidates = [{"column": {**named, "columnName": c, "columnType": "varchar"}} for c in columns]

    def ask(operation: str, **action: Any) -> Json:
        return question(reader.username, groups, operation, **action)

    return {
        "select": ask("SelectFromColumns", resource={"table": {**named, "columns": []}}),
        "filters": ask("GetRowFilters", resource={"table": named}),
        "masks": ask("GetColumnMask", filterResources=candidates),
        "columns": ask("FilterColumns", filterResources=[{"table": {**named, "columns": list(columns)}}]),
    }


def decide(program: Path, folder: Path, access: AccessData, owners: dict[str, str], asked: Any) -> Any:
    """OPA's answers to all the questions, in one process."""
    data = compile_data(
        access,
        catalog="lake",
        revision=1,
        issued_at_ns=int(datetime.now(tz=UTC).timestamp() * 1e9),
        max_age_s=3600,
        owners=owners,
    )
    (folder / "data.json").write_text(json.dumps(data))
    (folder / "input.json").write_text(json.dumps({"questions": asked}))
    modules = [p for p in sorted((POLICIES / "trino").glob("*.rego")) if "_test" not in p.name]
    given = [part for path in (*modules, folder / "data.json") for part in ("--data", str(path))]
    command = [str(program), "eval", "--format=raw", *given, "--input", str(folder / "input.json"), QUERY]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return json.loads(answer.stdout)


def told(effects: Effects, reader: Reader, table: str, columns: tuple[str, ...]) -> Json:
    """The same from the explanation."""
    view = effects.view(reader, table, columns)
    filters = [
        {"expression": use.told, **({"identity": use.identity} if use.identity else {})}
        for use in view.filters
    ]
    looks = [use.visibility for use in view.columns]
    return {
        "readable": view.readable,
        "filters": sorted(filters, key=str),
        "hidden": [index for index, look in enumerate(looks) if look is not Visibility.PLAIN],
        "visible": [index for index, look in enumerate(looks) if look is not Visibility.DENIED],
        "null": [index for index, use in enumerate(view.columns) if use.mask == "null"],
    }


def decided(answer: Json) -> Json:
    null = "CAST(NULL AS varchar)"
    return {
        "readable": answer["readable"],
        "filters": sorted(answer["filters"], key=str),
        "hidden": [entry["index"] for entry in answer["masks"]],
        "visible": sorted(answer["visible"]),
        # A denied column is nulled, too, should it ever be let through.
        "null": [
            entry["index"]
            for entry in answer["masks"]
            if entry["viewExpression"]["expression"] == null and entry["index"] in answer["visible"]
        ],
    }


def compare(
    program: Path,
    folder: Path,
    access: AccessData,
    owners: dict[str, str],
    readers: list[Reader],
    tables: Mapping[str, tuple[str, ...]],
) -> None:
    effects = Effects(access, owners, catalog="lake", now=datetime.now(tz=UTC))
    cases = [(reader, table, columns) for reader in readers for table, columns in tables.items()]
    answers = decide(program, folder, access, owners, [questions(*case) for case in cases])
    for case, answer in zip(cases, answers, strict=True):
        found, expected = told(effects, *case), decided(answer)
        if not found["readable"]:
            # Columns are listed to who holds anything; who may not read has none of these answers used.
            found["visible"] = expected["visible"] = found["null"] = expected["null"] = []
        assert found == expected, case


objects = st.sampled_from(
    ["*", "shop.*", "hr.*", "shop.a", "shop.b", "hr.a", "shop.a.x", "shop.b.y", "hr.a.x"]
)
grantables = st.sampled_from(["shop.*", "hr.*", "shop.a", "shop.b"])
group_sets = st.lists(st.sampled_from(GROUPS), unique=True, max_size=2).map(tuple)
tags = st.builds(TagAssignment, object=objects, tag=st.sampled_from(["t1", "t2"]))
privileges = st.lists(st.sampled_from([*Privilege, Privilege.SELECT]), min_size=1, max_size=2, unique=True)
grants = st.builds(Grant, group=st.sampled_from(GROUPS), object=grantables, privileges=privileges.map(tuple))


@st.composite
def rules(draw: st.DrawFn) -> tuple[Rule, ...]:
    found = []
    for index in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(RuleKind))
        about: Json = draw(st.sampled_from(["t1", "t2"]).map(lambda t: {"tag": t}) | objects.map(_object))
        more: Json = {}
        if kind is RuleKind.COLUMN_MASK:
            more["mask"] = draw(st.sampled_from(Mask))
        if kind is RuleKind.ROW_FILTER:
            more["expression"] = draw(
                st.sampled_from(["x = {user}", "x IN ({values})", "true", "{catalog}.f()"])
            )
            more["as_filter_user"] = draw(st.booleans())
            if "values" in more["expression"]:
                values = st.lists(st.sampled_from(["a", "o'b"]), min_size=1, max_size=2, unique=True).map(
                    tuple
                )
                more["values"] = draw(st.dictionaries(st.sampled_from(GROUPS), values, max_size=2))
        found.append(Rule(id=f"r{index}", kind=kind, exempt=draw(group_sets), **about, **more))
    return tuple(found)


def _object(name: str) -> Json:
    return {"object": name}


@st.composite
def exceptions(draw: st.DrawFn) -> tuple[AccessException, ...]:
    return tuple(
        AccessException(
            id=f"e{index}",
            user=draw(st.sampled_from(["u", "o'v", "other"])),
            object=draw(grantables),
            expires_at=NOW + draw(st.sampled_from([timedelta(hours=1), timedelta(hours=-1)])),
            reason="r",
            privileges=tuple(draw(privileges)),
            lifts=tuple(draw(st.lists(st.sampled_from(["r0", "r1", "*"]), max_size=2, unique=True))),
        )
        for index in range(draw(st.integers(0, 2)))
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    grants=st.lists(grants, max_size=4).map(tuple),
    tags=st.lists(tags, max_size=4).map(tuple),
    rules=rules(),
    exceptions=exceptions(),
)
def test_explanations_are_decisions(
    opa_program: Path, tmp_path: Path, grants: Any, tags: Any, rules: Any, exceptions: Any
) -> None:
    access = AccessData(grants=grants, tags=tags, rules=rules, exceptions=exceptions)
    compare(opa_program, tmp_path, access, OWNERS, READERS, TABLES)


def test_explanations_of_the_seed_are_decisions(opa_program: Path, tmp_path: Path) -> None:
    from seed.catalogue import seed_tables_for
    from seed.model import SeedOptions

    readers = [Reader(username=p.username, groups=frozenset(p.groups)) for p in PERSONAS]
    tables = {table.name: tuple(table.columns) for table in seed_tables_for(SeedOptions())}
    assert len(tables) >= 11
    compare(opa_program, tmp_path, seed_access(), {}, readers, tables)


@pytest.mark.parametrize("lifts", [("hide-salary",), ("*",)])
def test_a_lifted_rule_leaves_the_others(lifts: tuple[str, ...]) -> None:
    seed = seed_access()
    exception = AccessException(
        id="e",
        user="ada",
        object="hr.employees",
        expires_at=NOW + timedelta(hours=1),
        reason="r",
        lifts=lifts,
    )
    access = AccessData(grants=seed.grants, tags=seed.tags, rules=seed.rules, exceptions=(exception,))
    effects = Effects(access, {}, catalog="lake", now=NOW)
    reader = Reader(username="ada", groups=frozenset({"analysts_emea"}))
    view = effects.view(reader, "hr.employees", ("salary", "email"))
    looks = {use.column: use.visibility for use in view.columns}
    assert looks["salary"] is Visibility.PLAIN
    assert (looks["email"] is Visibility.PLAIN) == (lifts == ("*",))
    assert bool(view.filters) == (lifts != ("*",))
    later = Effects(access, {}, catalog="lake", now=NOW + timedelta(hours=1))
    assert later.view(reader, "hr.employees", ("salary",)).columns[0].visibility is Visibility.MASKED
