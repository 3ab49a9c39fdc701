"""The regular check of permissions never stands in the way of runs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from control_plane.api.jobs import service
from control_plane.api.jobs.service import Jobs
from governance.governor.auth import UnauthenticatedError


class Failing:
    """Permissions of which each check fails differently."""

    def __init__(self) -> None:
        self.checked = 0

    async def check_all(self) -> None:
        self.checked += 1
        raise (UnauthenticatedError("a new key"), RuntimeError("a fault"))[self.checked % 2]


class Worker:
    def __init__(self) -> None:
        self.canceled = False

    async def work(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.canceled = True


async def test_runs_are_worked_on_whatever_a_check_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_CHECK_EVERY_S", 0.001)
    permissions, worker = Failing(), Worker()
    nothing: Any = None
    jobs = Jobs(
        sessions=nothing,
        kept=nothing,
        reader=nothing,
        ledger=nothing,
        runs=nothing,
        permissions=permissions,  # type: ignore[arg-type]  # the part that is used
        worker=worker,  # type: ignore[arg-type]  # the part that is used
        queries=nothing,
        spark=nothing,
    )
    working = asyncio.create_task(jobs.work(lambda: True))
    while permissions.checked < 4:
        await asyncio.sleep(0.001)
    assert not working.done()
    assert not worker.canceled
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert worker.canceled
