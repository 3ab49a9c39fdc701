"""The services' logs, where the placement keeps them in a folder of this machine. Reads, and nothing else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from control_plane.api.problems import AbsentServiceError, NotFoundError

READ_BYTES = 1 << 20
"""What is read at once, from the end."""
LONGEST_LINE = 4_000
MOST_LINES = 5_000

_SUFFIX = ".log"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class LogFile:
    """A service's log as it lies there."""

    service: str
    size_bytes: int
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """Lines of a log, oldest first. ``next`` is where the following ones begin, in bytes; ``skipped``: there
    are lines before the first that are not here."""

    lines: tuple[str, ...]
    next: int
    skipped: bool


class Logs:
    """The logs of a folder, by service.

    Args:
        folder: None where the placement keeps them elsewhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def files(self) -> tuple[LogFile, ...]:
        """All there are, by name. Raises AbsentServiceError."""
        found = []
        for path in self._paths().values():
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            changed = datetime.fromtimestamp(state.st_mtime, tz=UTC)
            service = path.name.removesuffix(_SUFFIX)
            found.append(LogFile(service=service, size_bytes=state.st_size, changed_at=changed))
        return tuple(found)

    def read(self, service: str, *, lines: int, after: int | None = None) -> LogPart:
        """The last lines of a log, or those that came after a place in it; from its beginning when it was
        rotated meanwhile. A line that is still being written is left for the next time.

        Raises:
            NotFoundError: no service of that name has a log. AbsentServiceError.
        """
        paths = self._paths()
        if service not in paths:
            raise NotFoundError(
                "no service of that name has a log", value=service, permitted=", ".join(paths)
            )
        try:
            with paths[service].open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                wanted = 0 if after is None or after > size else after
                start = max(wanted, size - READ_BYTES)
                file.seek(start)
                chunk = file.read(size - start)
        except FileNotFoundError:
            return LogPart(lines=(), next=0, skipped=False)
        end = chunk.rfind(b"\n") + 1
        begin = chunk.find(b"\n", 0, end) + 1 if start > wanted else 0
        found = chunk[begin:end].decode("utf-8", errors="replace").split("\n")[:-1]
        told = found[-lines:]
        return LogPart(
            lines=tuple(_plain(line) for line in told),
            next=start + end,
            skipped=start > wanted or len(told) < len(found),
        )

    def _paths(self) -> dict[str, Path]:
        if self._folder is None:
            raise AbsentServiceError(
                "the services' logs are not kept where this console runs", next_command="lab logs SERVICE"
            )
        # Files of the folder itself: a name that is asked for never becomes a path.
        found = sorted(self._folder.glob(f"*{_SUFFIX}"))
        return {
            path.name.removesuffix(_SUFFIX): path
            for path in found
            if path.is_file() and not path.is_symlink()
        }


def _plain(line: str) -> str:
    """Text without what would control a terminal, of a length that a page bears."""
    text = _CONTROL.sub("", line.rstrip("\r"))
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
