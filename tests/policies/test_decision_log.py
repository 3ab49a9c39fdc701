"""What the real OPA reports of its decisions: enough for the audit, bounded, and no secret."""

from __future__ import annotations

import json
import time

from governance.audit.records import decision_records
from tests.policies.server import TOKEN, Json, Opa, question

LIMIT_S = 15.0
CUSTOMER = {"catalogName": "lake", "schemaName": "retail", "tableName": "customer"}
ANALYST = ("analyst_emea", ["analysts_emea"])


def reported(opa: Opa, user: str) -> list[Json]:
    """Events about ``user``, once the last one asked for is there."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = [
            event for event in opa.store.decisions if event["input"]["context"]["identity"]["user"] == user
        ]
        if any(event["input"]["action"]["operation"] == "ExecuteQuery" for event in found):
            return found
        assert time.monotonic() < deadline, "the decisions were not reported"
        time.sleep(0.1)


def test_reads_are_reported_with_revision_and_listings_are_not(opa: Opa) -> None:
    groups = ["analysts_emea"]
    columns = [
        {"column": {**CUSTOMER, "columnName": name, "columnType": "varchar"}}
        for name in ("c_custkey", "c_name", "c_phone")
    ]
    listing = [{"table": {**CUSTOMER, "tableName": f"t{number}"}} for number in range(20_000)]
    user = "reader_of_the_log"
    opa.decide("batch", question(user, groups, "FilterTables", filterResources=listing))
    opa.decide("rowFilters", question(user, groups, "GetRowFilters", resource={"table": CUSTOMER}))
    masks = opa.decide("columnMasks", question(user, groups, "GetColumnMask", filterResources=columns))
    read = {"table": {**CUSTOMER, "columns": ["c_name"]}}
    opa.decide("allow", question(user, groups, "SelectFromColumns", resource=read))
    opa.decide("allow", question(user, groups, "ExecuteQuery"))
    events = reported(opa, user)
    records = decision_records(events, "lake")
    assert [(r["operation"], r["object"], r["allowed"]) for r in records] == [
        ("GetRowFilters", "retail.customer", None),
        ("GetColumnMask", "retail.customer", None),
        ("SelectFromColumns", "retail.customer", True),
        ("ExecuteQuery", "", True),
    ]
    assert {record["revision"] for record in records} == {1}
    assert records[0]["filters"] == 1
    assert records[1]["masked"] == [columns[one["index"]]["column"]["columnName"] for one in masks]
    assert len({record["id"] for record in records}) == len(records)
    whole = json.dumps(opa.store.decisions)
    assert TOKEN not in whole
    assert all(len(json.dumps(event)) < 4000 for event in events)
