"""Tells the governor that somebody works in the console, so that the lab is not stopped as idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from contracts.errors import LabError
from governance.tasks import end

if TYPE_CHECKING:
    from control_plane.api.access import Caller
    from control_plane.api.governor import Governor

log = logging.getLogger(__name__)

_EVERY_S = 120.0
_RETRY_S = 15.0
_IDLE_S = 300
"""A page whose reader has done nothing for longer asks for itself."""


class Using:
    """Tells it at most every two minutes, in the caller's own name and beside the request."""

    def __init__(self, governor: Governor, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._governor, self._clock = governor, clock
        self._next = float("-inf")
        self._telling: asyncio.Task[None] | None = None

    def note(self, caller: Caller, idle_s: str | None) -> None:
        """A request of ``caller``. ``idle_s`` is what its page says; a program says nothing and works."""
        if idle_s is not None and idle_s.isdecimal() and int(idle_s) > _IDLE_S:
            return
        if self._clock() < self._next or (self._telling is not None and not self._telling.done()):
            return
        self._next = self._clock() + _EVERY_S
        self._telling = asyncio.create_task(self._tell(caller))

    def begin(self, caller: Caller) -> Callable[[], object]:
        """Tells it while work of ``caller`` goes on, whatever their page says: until what this returns is
        called."""
        return asyncio.create_task(self._repeat(caller)).cancel

    async def close(self) -> None:
        """Ends what is under way."""
        if self._telling is not None:
            await end(self._telling)

    async def _repeat(self, caller: Caller) -> None:
        while True:
            self.note(caller, None)
            await asyncio.sleep(_EVERY_S)

    async def _tell(self, caller: Caller) -> None:
        try:
            await self._governor.ask(caller, lambda governor: governor.used())
        except (LabError, SQLAlchemyError) as error:
            log.warning("the governor was not told that the console is used: %s", str(error).splitlines()[0])
            self._next = self._clock() + _RETRY_S
