"""What is kept of runs on the gateway's disk: a folder each, with its log."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_LOG = "log"
_SHOWN_LINES = 15


def log_of(folder: Path) -> Path:
    """Where a run's output goes."""
    return folder / _LOG


def make_folder(folder: Path) -> None:
    """A run's folder with an empty log. Raises OSError."""
    folder.mkdir(mode=0o700)
    log_of(folder).touch(mode=0o600)


def read_log(folder: Path, offset: int, limit: int) -> bytes:
    """Output from ``offset`` on, at most ``limit`` bytes; empty when there is none."""
    try:
        with log_of(folder).open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except FileNotFoundError:
        return b""


def tail(folder: Path) -> str:
    """The last lines of the log, indented, for an error."""
    try:
        text = log_of(folder).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-_SHOWN_LINES:])


def remove(folder: Path) -> None:
    """Removes all that is kept of a run."""
    shutil.rmtree(folder, ignore_errors=True)


def write_private(path: Path, content: bytes) -> None:
    """A new file that its owner alone can read. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
