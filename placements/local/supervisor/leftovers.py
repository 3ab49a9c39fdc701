"""What an earlier supervisor left of a service: its specification, its saved state and its process."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from typing import Any

from contracts.errors import LabError
from placements.local.supervisor import processes
from placements.local.supervisor.model import ServiceSpec, ServiceState, ServiceStatus
from placements.local.supervisor.paths import HomePaths
from placements.local.supervisor.processes import ProcessIdentity

_log = logging.getLogger(__name__)
_STOP_TIMEOUT_S = 20.0


def marker_of(paths: HomePaths, name: str) -> str:
    """What the environment of the service's process carries."""
    return f"{paths.home}:{name}"


def read_spec(paths: HomePaths, name: str) -> ServiceSpec:
    """The stored specification. Raises LabError when this code can't read it, or it is not there."""
    try:
        return ServiceSpec.from_json(paths.spec(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"a service's specification can't be read: {error}") from error


def read_state(paths: HomePaths, name: str) -> dict[str, Any]:
    """What was last saved of a service; empty when nothing readable was."""
    try:
        document = json.loads(paths.state(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def recorded_process(saved: dict[str, Any]) -> ProcessIdentity | None:
    """The process that a saved state names, whether or not it still runs."""
    try:
        return ProcessIdentity(pid=int(saved["process"]["pid"]), birth=str(saved["process"]["birth"]))
    except (KeyError, TypeError, ValueError):
        return None


def running_process(paths: HomePaths, name: str) -> ProcessIdentity | None:
    """The process that still runs: the recorded one, else the one that carries the marker. What is left
    of the group of a recorded one that ended is killed."""
    recorded = recorded_process(read_state(paths, name))
    if recorded is not None and recorded.alive:
        return recorded
    if recorded is not None:
        processes.kill_group(recorded)
    return processes.find_marked(marker_of(paths, name))


def unreadable_status(paths: HomePaths, name: str, error: LabError) -> ServiceStatus:
    """What is told of a service whose specification can't be read: nobody can start it."""
    process = recorded_process(read_state(paths, name))
    runs = process is not None and process.alive
    return ServiceStatus(
        name=name,
        state=ServiceState.UNSUPERVISED if runs else ServiceState.FAILED,
        pid=process.pid if process is not None and runs else None,
        reason=f"{error.what}; `lab up` declares it anew",
        log_file=str(paths.log(name)),
    )


async def end_process(paths: HomePaths, name: str) -> None:
    """Ends the process of a service that can't be supervised, and all of its group; forgets its state."""
    process = await asyncio.to_thread(running_process, paths, name)
    if process is not None:
        await _end(process, _stop_signal(paths, name))
        _log.warning("%s: ended process %d", name, process.pid)
    paths.state(name).unlink(missing_ok=True)


async def _end(process: ProcessIdentity, stop_signal: str) -> None:
    processes.send(process, processes.end_signal(stop_signal))
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while process.alive and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    await asyncio.to_thread(processes.kill_group, process)
    while process.alive:
        await asyncio.sleep(0.02)


def _stop_signal(paths: HomePaths, name: str) -> str:
    """The one that the specification names, if that much of it can be read: some services lose less work
    by it than by SIGTERM, or end sooner."""
    try:
        found = str(json.loads(paths.spec(name).read_text(encoding="utf-8"))["stop_signal"])
    except (OSError, ValueError, KeyError, TypeError):
        return "SIGTERM"
    return found if found in signal.Signals.__members__ else "SIGTERM"
