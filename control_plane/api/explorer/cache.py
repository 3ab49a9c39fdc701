"""Answers of other services, kept for a moment and never for another person."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from control_plane.api.access import Caller

T = TypeVar("T")

_MOST = 5000


@dataclass
class _Kept:
    value: Any
    ends_at: float


class Cache:
    """Values by person (name and groups of the token) and question. Several that ask the same at once wait
    for one answer; an error is not kept."""

    def __init__(self, life_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._life_s, self._clock = life_s, clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._locks: dict[Hashable, asyncio.Lock] = {}

    async def get(
        self,
        caller: Caller,
        question: Hashable,
        ask: Callable[[], Awaitable[T]],
        *,
        life_s: float | None = None,
    ) -> T:
        """The answer, asked for when it is not known or too old."""
        key = (caller.username, caller.groups, question)
        found = self._fresh(key)
        if found is not None:
            return cast(T, found.value)
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                found = self._fresh(key)
                if found is None:
                    value = await ask()
                    life = self._life_s if life_s is None else life_s
                    found = self._kept[key] = _Kept(value, self._clock() + life)
        finally:
            if not lock.locked():
                self._locks.pop(key, None)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return cast(T, found.value)

    def forget(self, username: str | None = None) -> None:
        """Forgets what was told to a person, or to everybody."""
        for key in list(self._kept):
            if username is None or cast(tuple[str, Any, Any], key)[0] == username:
                self._kept.pop(key, None)

    def _fresh(self, key: Hashable) -> _Kept | None:
        found = self._kept.get(key)
        return found if found is not None and found.ends_at > self._clock() else None
