"""Logs of services: rotation without a pipe, and their last lines.

A service appends to its log by itself (O_APPEND), so it never depends on the supervisor to take its
output. Rotation therefore copies the log and empties it in place; what a service writes between the two
system calls is lost, which is the price of that independence.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_TAIL_BYTES = 64 * 1024


def rotate(log: Path, max_bytes: int, keep: int) -> bool:
    """Rotates ``log`` to ``log.1``, ``log.1`` to ``log.2`` and so on when it is longer than
    ``max_bytes``. Returns whether it was."""
    if not log.exists() or log.stat().st_size <= max_bytes:
        return False
    for number in range(keep, 1, -1):
        older = log.with_name(f"{log.name}.{number - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))
    first = log.with_name(f"{log.name}.1")
    shutil.copyfile(log, first)
    first.chmod(0o600)
    os.truncate(log, 0)
    return True


def size(log: Path) -> int:
    """Length in bytes; 0 when there is no log."""
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, lines: int = 20, since: int = 0) -> list[str]:
    """The last lines of a log, of what was written after byte ``since``."""
    if not log.exists():
        return []
    length = size(log)
    # A log shorter than `since` was rotated in between: everything in it is newer.
    start = max(since if since <= length else 0, length - _TAIL_BYTES)
    with log.open("rb") as file:
        file.seek(start)
        text = file.read(_TAIL_BYTES).decode("utf-8", errors="replace")
    return text.splitlines()[-lines:]
