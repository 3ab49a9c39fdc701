"""Every operation of Trino's plugin was recorded from a real Trino, or can't be asked in a lab."""

from __future__ import annotations

import json
from pathlib import Path

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


def test_every_operation_is_recorded() -> None:
    operations = {
        line for line in (RECORDED / "operations-476.txt").read_text().splitlines() if line[:1] not in "#"
    }
    recorded = {
        json.loads(line)["input"]["action"]["operation"]
        for path in RECORDED.glob("*.jsonl")
        for line in path.read_text().splitlines()
    }
    assert len(operations) > 60
    assert operations - recorded == NEVER_ASKED
    assert recorded <= operations
