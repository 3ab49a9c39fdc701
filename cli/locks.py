"""Locks and pending operations that a killed engine leaves in a file backend.

Layout as Pulumi writes it: ``.pulumi/locks/organization/<project>/<stack>/<uuid>.json`` with pid, host
name and time, ``.pulumi/stacks/<project>/<stack>.json`` with the checkpoint.
https://www.pulumi.com/docs/iac/concepts/state-and-backends/#local-filesystem
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from contracts.errors import LabError
from contracts.settings import NAMESPACE


@dataclass(frozen=True, kw_only=True)
class EngineLock:
    """One lock file. ``alive`` says whether the engine that made it still runs; on another host nobody
    can tell, so it counts as alive."""

    path: Path
    stack: str
    pid: int
    host: str
    alive: bool


def find_locks(state_dir: Path, project: str = NAMESPACE) -> list[EngineLock]:
    """The locks of all stacks of one project, sorted by stack."""
    folder = state_dir / ".pulumi" / "locks" / "organization" / project
    found = []
    for path in sorted(folder.glob("*/*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            pid, host = int(document.get("pid", 0)), str(document.get("hostname", ""))
        except FileNotFoundError:
            continue
        except (ValueError, AttributeError):
            # Half a lock: its writer was killed while writing it.
            pid, host = 0, socket.gethostname()
        found.append(
            EngineLock(
                path=path, stack=path.parent.name, pid=pid, host=host, alive=_is_alive(pid, host, path)
            )
        )
    return found


def remove_stale(state_dir: Path, project: str = NAMESPACE) -> list[EngineLock]:
    """Removes locks whose engine is gone, ends what it left running, and returns them.

    Raises:
        LabError: an engine that still runs holds one; its pid is named.
    """
    locks = find_locks(state_dir, project)
    for lock in locks:
        if lock.alive:
            raise LabError(
                f"another run of Pulumi works on stack {lock.stack!r}",
                value=f"pid {lock.pid} on {lock.host}",
                permitted="one run at a time",
                next_command=f"wait until it has ended, or end it with: kill -INT {lock.pid}",
            )
    for lock in locks:
        _end_orphans(lock)
        lock.path.unlink(missing_ok=True)
    return locks


def _end_orphans(lock: EngineLock) -> None:
    """Ends what a killed engine left running: its language host and provider plugins, which are in the
    process group that it led. While that group has members the system gives its number to nobody else;
    a process that has the number itself is a stranger, and its group is left alone."""
    if lock.pid <= 1 or psutil.pid_exists(lock.pid):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(lock.pid, signal.SIGTERM)


def has_pending_operations(state_dir: Path, stack: str, project: str = NAMESPACE) -> bool:
    """Whether the checkpoint of a file backend lists operations that never ended."""
    path = state_dir / ".pulumi" / "stacks" / project / f"{stack}.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    latest = (document.get("checkpoint") or {}).get("latest") or {}
    return bool(latest.get("pending_operations"))


def _is_alive(pid: int, host: str, path: Path) -> bool:
    if host and host != socket.gethostname():
        return True
    try:
        process = psutil.Process(pid)
        # A pid that was given to a younger process since is not the lock's.
        return (
            process.is_running()
            and process.status() != psutil.STATUS_ZOMBIE
            and process.create_time() <= path.stat().st_mtime + 1
        )
    except (psutil.NoSuchProcess, FileNotFoundError, ValueError):
        return False
    except psutil.AccessDenied:
        return True
