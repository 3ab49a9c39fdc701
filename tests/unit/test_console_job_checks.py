"""What the console asks regularly never stands in the way of runs, or of its start."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from contracts.identity import Audience
from control_plane.api import app
from control_plane.api.console import WAITS_FOR_DATABASE
from control_plane.api.jobs import service
from control_plane.api.jobs.service import Jobs
from governance.governor.auth import UnauthenticatedError
from governance.migrating import NewerSchemaError


class Failing:
    """Permissions of which each check fails differently."""

    def __init__(self) -> None:
        self.checked = 0

    async def check_all(self) -> None:
        self.checked += 1
        raise (UnauthenticatedError("a new key"), RuntimeError("a fault"))[self.checked % 2]

    async def token(self, owner: str, audience: Audience) -> str:
        return f"{owner}'s for {audience.value}"


class Deaf:
    """Quotas that each hearing of fails differently."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask_all(self, token: Any) -> None:
        self.asked += 1
        raise (OperationalError("SELECT", {}, Exception("gone")), RuntimeError("a fault"))[self.asked % 2]


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
    monkeypatch.setattr(service, "_QUOTAS_EVERY_S", 0.001)
    permissions, quotas, worker = Failing(), Deaf(), Worker()
    nothing: Any = None
    jobs = Jobs(
        sessions=nothing,
        kept=nothing,
        reader=nothing,
        ledger=nothing,
        runs=nothing,
        permissions=permissions,  # type: ignore[arg-type]  # the part that is used
        quotas=quotas,  # type: ignore[arg-type]  # the part that is used
        worker=worker,  # type: ignore[arg-type]  # the part that is used
        queries=nothing,
        spark=nothing,
    )
    working = asyncio.create_task(jobs.work(lambda: True))
    while min(permissions.checked, quotas.asked) < 4:
        await asyncio.sleep(0.001)
    assert not working.done()
    assert not worker.canceled
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert worker.canceled


class Unprepared:
    """A console whose start meets one error after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.prepared, self.waits_for = False, WAITS_FOR_DATABASE
        self._errors, self.said = list(errors), list[str]()

    def prepare(self) -> None:
        self.said.append(self.waits_for)
        if self._errors:
            raise self._errors.pop(0)
        self.prepared = True


async def test_a_start_goes_on_whatever_it_met(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "_PREPARE_EVERY_S", 0.001)
    gone = OperationalError("SELECT", {}, Exception("gone"))
    unread = PermissionError(13, "Permission denied", "/spool")
    console: Any = Unprepared(gone, gone, unread, NewerSchemaError("a newer release", value="9"), gone)
    with caplog.at_level(logging.WARNING):
        await asyncio.wait_for(app._prepare(console), 10)
    waits, unclear = WAITS_FOR_DATABASE, "the console can't be prepared; its log says why"
    assert console.said == [waits, waits, waits, unclear, "a newer release", waits]
    assert console.prepared
    told = [record.getMessage().rpartition("yet: ")[2] for record in caplog.records]
    assert told == [
        "OperationalError: (builtins.Exception) gone",
        "PermissionError: [Errno 13] Permission denied: '/spool'",
        "NewerSchemaError: a newer release",
        "OperationalError: (builtins.Exception) gone",
    ], "each once, however often it is met"
    assert [bool(record.exc_info) for record in caplog.records] == [False, True, False, False]
