"""Every operation of Trino's plugin was recorded from a real Trino, or can't be asked in a lab."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

Permission = tuple[str, str]
RECORDED = Path(__file__).parent / "recorded"

NEVER_ASKED = {
    # A view's owner is looked up without groups, so that ExecuteFunction refuses first.
    "CreateViewWithExecuteFunction",
    # The Iceberg REST catalog has no materialized views, and making one is refused.
    "DropMaterializedView",
    "RefreshMaterializedView",
    "RenameMaterializedView",
    "SetMaterializedViewProperties",
    # There is no function to show: making one is refused.
    "ShowCreateFunction",
}


OWN: dict[str, tuple[set[Permission], set[Permission]]] = {
    "$row-filter": (
        {
            ("AccessCatalog", "lake"),
            ("AccessCatalog", "masking"),
            ("SelectFromColumns", "lake"),
            ("SelectFromColumns", "masking"),
        },
        set(),
    ),
    "service-account-governor": (
        {("AccessCatalog", "lake"), ("ExecuteQuery", ""), ("SelectFromColumns", "lake")},
        {
            ("AccessCatalog", "masking"),
            ("AccessCatalog", "system"),
            ("DeleteFromTable", "lake"),
            ("SelectFromColumns", "lake"),
            ("ShowTables", "lake"),
        },
    ),
    "service-account-maintainer": (
        {
            ("AccessCatalog", "lake"),
            ("ExecuteQuery", ""),
            ("ExecuteTableProcedure", "lake"),
            ("FilterViewQueryOwnedBy", ""),
            ("SelectFromColumns", "lake"),
        },
        {
            ("AccessCatalog", "masking"),
            ("AccessCatalog", "system"),
            ("DeleteFromTable", "lake"),
            ("ExecuteTableProcedure", "lake"),
            ("SelectFromColumns", "lake"),
            ("ShowSchemas", "lake"),
            ("ShowTables", "lake"),
        },
    ),
}
"""Of the lab's own identities: operations and catalogs of which a recording was allowed, and denied. Nobody
can ask as the identity of filters and masks; what it is denied is tested in Rego."""


def recordings() -> list[dict[str, Any]]:
    return [json.loads(line) for path in RECORDED.glob("*.jsonl") for line in path.read_text().splitlines()]


def catalog_of(action: dict[str, Any]) -> str:
    """The catalog that a question is about, if it is about one."""
    about = action.get("resource", {})
    for inner in (about.get("table"), about.get("schema"), about.get("catalog")):
        if inner:
            return str(inner.get("catalogName") or inner["name"])
    return ""


@pytest.mark.parametrize("identity", OWN)
def test_the_labs_own_identities_are_recorded(identity: str) -> None:
    """Each of them with what it is allowed and what not, filters and masks beside."""
    found: dict[bool, set[Permission]] = {True: set(), False: set()}
    views = set()
    for one in recordings():
        if one["input"]["context"]["identity"]["user"] != identity:
            continue
        assert not one["input"]["context"]["identity"]["groups"]
        action = one["input"]["action"]
        if one["decision"] in ("rowFilters", "columnMasks"):
            views.add(one["decision"])
            assert one["result"] == []
        else:
            found[bool(one["result"])].add((action["operation"], catalog_of(action)))
    assert (found[True], found[False]) == OWN[identity]
    assert views == {"rowFilters", "columnMasks"}


def test_every_operation_is_recorded() -> None:
    operations = {
        line for line in (RECORDED / "operations-476.txt").read_text().splitlines() if line[:1] not in "#"
    }
    recorded = {one["input"]["action"]["operation"] for one in recordings()}
    assert len(operations) > 60
    assert operations - recorded == NEVER_ASKED
    assert recorded <= operations
