"""Background tasks end, whatever becomes of a cancellation."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agent.threads import in_thread
from governance import tasks


async def test_a_task_that_loses_a_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_S", 0.02)
    lost = 0

    async def work() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
                if lost > 2:
                    raise

    async def fails() -> None:
        raise ValueError("dropped")

    one, other, done = (asyncio.create_task(each) for each in (work(), fails(), asyncio.sleep(0)))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(tasks.end(one, other, done), timeout=5)
    assert (lost, one.cancelled(), other.done(), done.done()) == (3, True, True, True)
    await tasks.end()


async def test_a_blocking_call_is_waited_for_however_often_its_task_is_cancelled() -> None:
    begun, go = threading.Event(), threading.Event()
    ended: list[str] = []

    def block() -> None:
        begun.set()
        assert go.wait(10)
        ended.append("ended")

    task = asyncio.create_task(in_thread(block))
    await asyncio.to_thread(begun.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended"]
