"""What runs a Spark driver: processes on ``local``, and whatever another placement has (a pod a user).

The gateway decides who may run what; a launcher knows how. It is told nothing of users but what a
driver's own properties hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from contracts.errors import LabError
from spark_gateway.client import Program


class LaunchError(LabError):
    """A driver could not be started."""


class FullError(LabError):
    """As many drivers run as may (429)."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One driver to start.

    ``properties`` are Spark's, added to the launcher's own; they hold secrets, so that they never stand in
    a command line or an environment. ``program`` None: a Connect server, whose clients must present
    ``connect_token``. ``credential`` is what the driver shows the gateway: run and secret, as ``run:secret``.
    """

    run_id: str
    properties: Mapping[str, str] = field(repr=False)
    program: Program | None = None
    connect_token: str | None = field(default=None, repr=False)
    credential: str = field(default="", repr=False)


class Driver(Protocol):
    """A driver that was started."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Where a Connect server listens: host and port. None for a job."""
        ...

    async def ready(self) -> None:
        """Returns once a Connect server takes connections. Raises LaunchError when it ended before or
        takes too long."""
        ...

    async def ended(self) -> int:
        """Waits for its end; the exit code, negative for a signal."""
        ...

    async def stop(self, *, hurried: bool = False) -> None:
        """Ends it and all that it started; returns when they are gone. Hurried: within some seconds."""
        ...


class Launcher(Protocol):
    """Starts drivers and keeps their logs."""

    async def recover(self, keep: Collection[str]) -> None:
        """Ends what an earlier gateway left running and forgets all runs but those to ``keep``. Called
        once, before anything is started."""
        ...

    async def launch(self, launch: Launch) -> Driver:
        """Starts a driver. Raises LaunchError, or FullError where there is no room for another one."""
        ...

    def program_file(self, run_id: str, name: str) -> Path | None:
        """A file of a run's program, for a driver that fetches its own; None when there is none to fetch."""
        ...

    def log(self, run_id: str, offset: int, limit: int) -> bytes:
        """Output of a run from ``offset`` on, at most ``limit`` bytes; empty when there is none."""
        ...

    def forget(self, run_id: str) -> None:
        """Deletes what is kept of a run that has ended."""
        ...
