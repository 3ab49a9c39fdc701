"""The console tells the governor that somebody works in it, and not that a page is open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from contracts.use import USE_KEY
from control_plane.api.access import Caller
from control_plane.api.governor import Governor
from control_plane.api.using import Using
from governance.client import GovernorClient, GovernorError
from tests.unit import console_world
from tests.unit.console_world import GovernedWorld, wait_for

postgres_server = console_world.postgres_server
governed = console_world.governed

ANN = cast("Caller", object())


class Told:
    """A governor that is told, or does not answer."""

    def __init__(self) -> None:
        self.times = 0
        self.failing = False

    async def ask(self, caller: Caller, question: Callable[[GovernorClient], Any]) -> None:
        assert caller is ANN
        self.times += 1
        if self.failing:
            raise GovernorError("the governor does not answer")


class World:
    """A console's use on a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.governor = Told()
        self.using = Using(cast("Governor", self.governor), clock=lambda: self.now_s)

    async def request(self, idle_s: str | None = "0", *, after_s: float = 0.0) -> int:
        """A request; how often the governor was told until then."""
        self.now_s += after_s
        self.using.note(ANN, idle_s)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.governor.times


def test_it_is_told_at_most_every_two_minutes() -> None:
    async def run() -> None:
        world = World()
        assert await world.request() == 1
        assert await world.request(after_s=119) == 1
        assert await world.request(after_s=2) == 2
        await world.using.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("idle_s", "told"),
    [("0", 1), ("300", 1), ("301", 0), ("86400", 0), (None, 1), ("", 1), ("-5", 1), ("soon", 1)],
)
def test_a_page_that_asks_by_itself_is_no_use(idle_s: str | None, told: int) -> None:
    async def run() -> None:
        world = World()
        assert await world.request(idle_s) == told
        await world.using.close()

    asyncio.run(run())


def test_what_could_not_be_told_is_told_soon_again() -> None:
    async def run() -> None:
        world = World()
        world.governor.failing = True
        assert await world.request() == 1
        assert await world.request(after_s=1) == 1
        world.governor.failing = False
        assert await world.request(after_s=15) == 2
        assert await world.request(after_s=15) == 2
        await world.using.close()

    asyncio.run(run())


def test_work_that_goes_on_is_use_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.api.using._EVERY_S", 0.01)

    async def run() -> None:
        world = World()
        over = world.using.begin(ANN)
        async with asyncio.timeout(10):
            while world.governor.times < 3:
                world.now_s += 1
                await asyncio.sleep(0.01)
        over()
        await asyncio.sleep(0)
        before = world.governor.times
        world.now_s += 1
        await asyncio.sleep(0.05)
        assert world.governor.times == before
        await world.using.close()

    asyncio.run(run())


@pytest.mark.engine
def test_a_persons_request_reaches_the_governor_as_use(governed: GovernedWorld) -> None:
    uses, bucket = governed.lab.uses, governed.lab.bucket
    browser = governed.browser().sign_in("engineer")
    browser.get("/api/v1/me", headers={"X-Idle-S": "4000"})
    assert browser.get("/health").status_code == 200

    def noted() -> bool:
        return uses.note() and json.loads(bucket.objects[USE_KEY])["what"] == "control-plane"

    browser.get("/api/v1/me", headers={"X-Idle-S": "3"})
    wait_for(noted)
