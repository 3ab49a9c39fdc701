"""One command at a time on a lab, and what a killed engine leaves in a file backend.

Layout as Pulumi writes it: ``.pulumi/locks/organization/<project>/<stack>/<uuid>.json`` with pid, host
name and time, ``.pulumi/stacks/<project>/<stack>.json`` with the checkpoint.
https://www.pulumi.com/docs/iac/concepts/state-and-backends/#local-filesystem
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from contracts.errors import LabError
from contracts.settings import NAMESPACE


@contextlib.contextmanager
def one_command(path: Path, command: str) -> Iterator[None]:
    """Holds ``path`` for one command that changes a lab; the system lets go of it when the process ends,
    however it ends. Folders on the way are made, and removed again when nothing else came to be in them.

    Raises:
        LabError: another command holds it; says which.
    """
    made = [folder for folder in (path.parent, path.parent.parent) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _hold(path)
    if file is None:
        raise _busy(path)
    with file:
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "command": command}))
        file.flush()
        try:
            yield
        finally:
            if made and not any(other != path for other in path.parent.iterdir()):
                path.unlink()
                for folder in made:
                    with contextlib.suppress(OSError):
                        folder.rmdir()


def _hold(path: Path) -> IO[str] | None:
    """The locked file, None when somebody else has it."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except BlockingIOError:
            file.close()
            return None
        file.close()  # its holder removed it just before it was locked
        path.parent.mkdir(parents=True, exist_ok=True)


def command_running(path: Path) -> str | None:
    """What holds ``path``, for a message; None when nothing does."""
    if not path.exists():
        return None
    with path.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                held: dict[str, Any] = json.loads(file.read())
                return f"lab {held['command']}, process {held['pid']}"
            except (ValueError, KeyError, TypeError):
                return "another command"
    return None


def _busy(path: Path) -> LabError:
    return LabError(
        f"another command works on this lab: {command_running(path) or 'it has just ended'}",
        permitted="one command at a time that changes a lab",
        next_command="the same command again once it has ended; lab status --watch shows how far it is",
    )


@contextlib.contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Holds ``path`` for a moment, after whoever holds it now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, kw_only=True)
class EngineLock:
    """One lock file. ``alive`` says whether the engine that made it still runs; on another host nobody
    can tell, so it counts as alive."""

    path: Path
    stack: str
    pid: int
    host: str
    alive: bool


def find_locks(
    state_dir: Path, project: str = NAMESPACE, *, stacks: Collection[str] | None = None
) -> list[EngineLock]:
    """The locks of these stacks of one project (None: of all), sorted by stack."""
    folder = state_dir / ".pulumi" / "locks" / "organization" / project
    found = []
    for path in sorted(folder.glob("*/*.json")):
        if stacks is not None and path.parent.name not in stacks:
            continue
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


def remove_stale(
    state_dir: Path, project: str = NAMESPACE, *, stacks: Collection[str] | None = None
) -> list[EngineLock]:
    """Removes locks of these stacks (None: of all) whose engine is gone, ends what it left running, and
    returns them.

    Raises:
        LabError: an engine that still runs holds one; its pid is named.
    """
    locks = find_locks(state_dir, project, stacks=stacks)
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


def stacks_there(state_dir: Path, project: str = NAMESPACE) -> list[str]:
    """Names of the stacks that a file backend has."""
    return sorted(path.stem for path in (state_dir / ".pulumi" / "stacks" / project).glob("*.json"))


def stack_is_there(state_dir: Path, stack: str, project: str = NAMESPACE) -> bool:
    """Whether a file backend has the stack."""
    return _state_file(state_dir, stack, project).exists()


def has_pending_operations(state_dir: Path, stack: str, project: str = NAMESPACE) -> bool:
    """Whether the checkpoint of a file backend lists operations that never ended."""
    document = _checkpoint(_state_file(state_dir, stack, project))
    if document is None:
        raise LabError(
            f"the state of stack {stack!r} is damaged",
            value=str(_state_file(state_dir, stack, project)),
            permitted="the state as it was one step earlier, which Pulumi keeps beside it",
            next_command="lab doctor --fix",
        )
    latest = (document.get("checkpoint") or {}).get("latest") or {}
    return bool(latest.get("pending_operations"))


def state_is_damaged(state_dir: Path, stack: str, project: str = NAMESPACE) -> bool:
    """Whether a checkpoint is there that can't be read, as after a power cut in the middle of a write."""
    return _checkpoint(_state_file(state_dir, stack, project)) is None


def restore_state(state_dir: Path, stack: str, project: str = NAMESPACE) -> bool:
    """Puts the checkpoint of one step earlier, which Pulumi keeps, in the place of a damaged one. The
    next run converges, since everything that was made is found again. Returns whether there was one."""
    path = _state_file(state_dir, stack, project)
    earlier = path.with_name(f"{path.name}.bak")
    if not earlier.exists() or _checkpoint(earlier) is None:
        return False
    path.replace(path.with_name(f"{path.name}.damaged"))
    shutil.copyfile(earlier, path)
    return True


def _state_file(state_dir: Path, stack: str, project: str) -> Path:
    return state_dir / ".pulumi" / "stacks" / project / f"{stack}.json"


def _checkpoint(path: Path) -> dict[str, Any] | None:
    """A checkpoint's document, empty when there is none, None when it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _is_alive(pid: int, host: str, path: Path) -> bool:
    if host and host != socket.gethostname():
        return True
    try:
        process = psutil.Process(pid)
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        # A pid that was given to a younger process since is not the lock's. Ages compare wrongly once the
        # clock was moved, so that a Pulumi counts as the lock's in any case.
        return process.name().startswith("pulumi") or process.create_time() <= path.stat().st_mtime + 1
    except (psutil.NoSuchProcess, FileNotFoundError, ValueError):
        return False
    except psutil.AccessDenied:
        return True
