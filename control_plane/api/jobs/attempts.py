"""What engines need of an attempt: its text and values, a token, a place to note how far it came."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from anyio import to_thread
from sqlalchemy.exc import OperationalError

from contracts.errors import LabError
from control_plane.api.identity.sealing import Sealer, UnsealError
from control_plane.api.jobs.permissions import Identity
from control_plane.api.jobs.runs import Claimed, Runs

log = logging.getLogger(__name__)

T = TypeVar("T")

_DATABASE_PAUSE_S = 1.0
ENGINE_PAUSE_S = 2.0
"""Before an engine that does not answer is asked again."""


class StopRequestedError(Exception):
    """Somebody wants the run stopped."""


class LostError(LabError):
    """Nobody knows how the attempt ended: the engine, or what it knew of it, is gone."""


class NoRetryError(LabError):
    """It would fail the same way again."""


class Engine(Protocol):
    """Carries out one attempt."""

    async def execute(self) -> None:
        """All of it, from where the progress says; raises what went wrong.

        Raises:
            StopRequestedError, SupersededError, LostError, NoRetryError, RightsGoneError, LabError.
        """

    async def cancel(self) -> None:
        """Ends what runs in the engine, as far as it can be reached."""


class Ground:
    """An attempt's ground. ``run.progress`` is what :meth:`note` keeps.

    Everything waits for a database that does not answer: what runs in an engine goes on meanwhile.
    """

    def __init__(self, run: Claimed, runs: Runs, identity: Identity, sealer: Sealer) -> None:
        self.run, self.identity = run, identity
        self._runs, self._sealer = runs, sealer

    async def note(self) -> None:
        """Keeps the progress. Raises StopRequestedError, SupersededError."""
        if await patiently(partial(self._runs.note, self.run)):
            raise StopRequestedError

    async def say(self, line: str, source: str = "console") -> None:
        """Adds to the run's log."""
        if line:
            await patiently(partial(self._runs.log, self.run, line, source))

    def seal(self, secret: str) -> str:
        """For the progress."""
        return self._sealer.seal(secret.encode(), str(self.run.run_id)).hex()

    def unseal(self, sealed: str) -> str:
        """Raises LostError."""
        try:
            return self._sealer.unseal(bytes.fromhex(sealed), str(self.run.run_id)).decode()
        except (UnsealError, ValueError) as error:
            raise LostError("the console's encryption key changed while the job ran") from error


async def patiently(write: Callable[[], T]) -> T:
    """What the database says, once it does."""
    said = False
    while True:
        try:
            return await to_thread.run_sync(write)
        except OperationalError as error:
            if not said:
                log.warning("waiting for the database: %s", str(error).splitlines()[0])
            said = True
            await asyncio.sleep(_DATABASE_PAUSE_S)
