"""The order of what is told of a query under way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from control_plane.api.queries.running import RunningQuery
from control_plane.api.queries.spool import Result
from control_plane.api.schemas.queries import QueryOrigin, QueryState, StartQuery
from governance.parameters import Rendered


async def test_that_it_ended_is_told_by_the_last_event_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Result(tmp_path / "rows")
    result.append(b"[[1],[2]]", 2)
    result.close()
    given = StartQuery(statement="SELECT 1")
    query = RunningQuery(
        uuid4(), "analyst", QueryOrigin.WORKSHEET, given, Rendered("SELECT 1", "SELECT 1", ()), result
    )
    read = result.block

    def ends_meanwhile(number: int) -> tuple[int, int, bytes]:
        query.state = QueryState.FINISHED
        return read(number)

    monkeypatch.setattr(result, "block", ends_meanwhile)
    told: list[dict[str, Any]] = []
    async for line in query.events(0, None):
        told.append(json.loads(line))
        query.changed()
    assert [event["type"] for event in told] == ["rows", "end"]
    assert told[-1]["query"]["state"] == "finished"
    assert told[-1]["query"]["row_count"] == 2
