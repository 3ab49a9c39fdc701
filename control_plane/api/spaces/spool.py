"""Files on their way into tables: on the service's own disk, bounded, a block at a time in memory."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from contracts.errors import UsageError
from control_plane.api.spaces.errors import NoRoomError, TooLargeError

_SUFFIX = ".file"
MIB = 1 << 20


class FileSpool:
    """Files by id. What comes is counted as it comes: neither one file nor all of them pass their bounds.

    Args:
        file_bytes: bound of one file.
        all_bytes: bound of all of them together.

    Raises:
        UsageError: the folder can't be used.
    """

    def __init__(self, folder: Path, *, file_bytes: int, all_bytes: int) -> None:
        self.folder, self.file_bytes, self._all_bytes = folder, file_bytes, all_bytes
        self._lock = threading.Lock()
        self._sizes: dict[UUID, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UsageError(
                f"the folder of uploads can't be used: {error.strerror}",
                value=str(folder),
                permitted="CONSOLE_UPLOAD_DIR, a folder that the console may write",
            ) from error

    def open(self, keep: Iterable[UUID]) -> list[UUID]:
        """Begins with what an earlier process left of ``keep``; removes all else. Returns the ids of
        ``keep`` that are not there."""
        wanted = {f"{one}{_SUFFIX}": one for one in keep}
        with self._lock:
            self._sizes.clear()
            for path in self.folder.iterdir():
                if path.name in wanted:
                    self._sizes[wanted[path.name]] = path.stat().st_size
                elif path.suffix == _SUFFIX:
                    path.unlink(missing_ok=True)
            return [one for one in wanted.values() if one not in self._sizes]

    def path(self, file_id: UUID) -> Path:
        """Where a file lies."""
        return self.folder / f"{file_id}{_SUFFIX}"

    def require_room(self, size_bytes: int) -> None:
        """Refuses a file of a size that is told beforehand. Raises TooLargeError, NoRoomError."""
        if size_bytes > self.file_bytes:
            raise self._too_large(size_bytes)
        with self._lock:
            held = sum(self._sizes.values())
        if held + size_bytes > self._all_bytes:
            raise self._full(held)

    def create(self, file_id: UUID) -> SpoolFile:
        """A file to write."""
        with self._lock:
            self._sizes[file_id] = 0
        return SpoolFile(self, file_id)

    def grow(self, file_id: UUID, more: int) -> None:
        """Counts what is about to be written. Raises TooLargeError, NoRoomError."""
        with self._lock:
            size = self._sizes.get(file_id, 0) + more
            if size > self.file_bytes:
                raise self._too_large(size)
            held = sum(self._sizes.values())
            if held + more > self._all_bytes:
                raise self._full(held)
            self._sizes[file_id] = size

    def remove(self, file_id: UUID) -> None:
        """Takes a file away."""
        with self._lock:
            self._sizes.pop(file_id, None)
        self.path(file_id).unlink(missing_ok=True)

    def _too_large(self, size_bytes: int) -> TooLargeError:
        return TooLargeError(
            "the file is too large",
            value=f"{size_bytes // MIB} MiB or more",
            permitted=f"{self.file_bytes // MIB} MiB; larger ones as several, with append",
            next_command="lab load, which has no such bound",
        )

    def _full(self, held: int) -> NoRoomError:
        return NoRoomError(
            "the console has no room for another file now",
            value=f"{held // MIB} MiB are taken",
            permitted=f"{self._all_bytes // MIB} MiB of all uploads together",
            next_command="ingest or remove uploads, and try again",
        )


class SpoolFile:
    """One file being written; closed and removed when anything goes wrong."""

    def __init__(self, spool: FileSpool, file_id: UUID) -> None:
        self._spool, self._id = spool, file_id
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(spool.path(file_id), flags, 0o600), "wb", buffering=MIB)
        self.size_bytes = 0

    def write(self, block: bytes) -> None:
        """Adds a block. Raises TooLargeError, NoRoomError."""
        self._spool.grow(self._id, len(block))
        try:
            self._file.write(block)
        except OSError as error:
            raise _disk(error) from error
        self.size_bytes += len(block)

    def close(self) -> None:
        """The file is whole. Raises NoRoomError."""
        try:
            self._file.close()
        except OSError as error:
            raise _disk(error) from error

    def abandon(self) -> None:
        """Takes it away."""
        with suppress(OSError):
            self._file.close()
        self._spool.remove(self._id)


def _disk(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoRoomError(
            "the console's disk is full", permitted="room on the disk", next_command="lab doctor"
        )
    return error
