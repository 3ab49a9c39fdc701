"""The agent starts without anything else being up, and tries again whatever it met."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from agent import app
from agent.app import Readiness
from governance.migrating import NewerSchemaError


class Store:
    """A store whose upgrade meets one error after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.said = list(errors), list[str]()
        self.readiness: Readiness | None = None

    def upgrade(self) -> None:
        assert self.readiness is not None
        assert not self.readiness.ready
        self.said.append(self.readiness.reason)
        if self.errors:
            raise self.errors.pop(0)

    def interrupt_all(self) -> int:
        return 0

    def retain(self, **_: int) -> tuple[str, ...]:
        return ()


class Graphs:
    async def forget(self, runs: tuple[str, ...]) -> None:
        assert runs == ()


async def test_a_start_goes_on_whatever_it_met(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("_FIRST_RETRY_S", "_LONGEST_RETRY_S"):
        monkeypatch.setattr(app, name, 0.001)
    gone = OperationalError("SELECT", {}, Exception("gone"))
    newer = NewerSchemaError("a newer release", value="9")
    store: Any = Store(gone, RuntimeError(), RuntimeError(), newer, gone)
    graphs: Any = Graphs()
    store.readiness = Readiness(store, graphs, retention_days=30, audit_retention_days=30)
    warmed = asyncio.Event()
    loop = asyncio.get_running_loop()
    with caplog.at_level(logging.WARNING):
        running = asyncio.create_task(store.readiness.run(warm=lambda: loop.call_soon_threadsafe(warmed.set)))
        await asyncio.wait_for(warmed.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert store.readiness.ready
    assert store.said == [
        "waiting for the database",
        "the database: (builtins.Exception) gone",
        "the database: RuntimeError",
        "the database: RuntimeError",
        "the database: a newer release",
        "the database: (builtins.Exception) gone",
    ]
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "not ready yet: the database: RuntimeError",
        "not ready yet: the database: a newer release",
    ], "each once, however often it is met"
