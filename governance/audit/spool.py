"""Records on disk, in order, until they are delivered: what is acknowledged is not lost.

A folder of segments, each named by the number of its first record. A record is a header (number, length,
CRC-32) and its payload. Appending ends with fsync; a tail that a crash tore was never acknowledged, so its
producer still has it, and is cut off. Nothing here knows what a payload means.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contracts.errors import LabError

_HEADER = struct.Struct(">QII")
_SEGMENTS = 16
"""The bound is divided into as many segments: delivered ones are removed whole."""
_LONGEST_BYTES = 64 << 20
_KEPT_BYTES = 256 << 10
"""Delivered records of the newest segment stay up to this: a new file each time would cost more."""


class SpoolFullError(LabError):
    """There is no room for the record now; its producer keeps it (503)."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record. ``payload`` None: bytes were here that can't be read, from ``number`` on."""

    number: int
    payload: bytes | None


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """What was turned away for want of room."""

    attempts: int
    since: datetime
    until: datetime


class Spool:
    """The records below ``folder``, of at most ``max_bytes`` together. Safe for threads; one process.

    ``id`` is the folder's own: numbers of another folder count something else.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._folder, self._max_bytes, self._clock = folder, max_bytes, clock
        self._lock = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.id = self._own_id()
        self._segments = sorted(int(path.stem) for path in folder.glob("*.log"))
        if not self._segments:
            self._segments = [1]
            self._path(1).touch(mode=0o600)
            self._sync_folder()
        self._size = self._mend()

    # --- writing -------------------------------------------------------------------------------------

    def append(self, payloads: Sequence[bytes]) -> None:
        """Writes all or none; they are on the disk when this returns.

        Raises:
            SpoolFullError: beyond the bound, or the disk takes no more; that is noted (:meth:`refusals`).
        """
        if not payloads:
            return
        with self._lock:
            content = b"".join(_framed(self._next + i, payload) for i, payload in enumerate(payloads))
            if self.used_bytes() + len(content) > self._max_bytes:
                raise self._refused(f"{self._max_bytes >> 20} MiB wait for the database already")
            if self._size and self._size + len(content) > self._max_bytes // _SEGMENTS:
                self._begin_segment()
            try:
                with self._path(self._segments[-1]).open("r+b") as file:
                    file.seek(self._size)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.truncate(self._path(self._segments[-1]), self._size)
                raise self._refused(str(error)) from error
            self._size += len(content)
            self._next += len(payloads)

    def refusals(self) -> Refusals | None:
        """What was refused since :meth:`forget_refusals`; None when nothing was."""
        with self._lock:
            return self._refusals()

    def forget_refusals(self, seen: Refusals) -> None:
        """They are recorded elsewhere, up to ``seen``."""
        with self._lock:
            now = self._refusals()
            if now == seen:
                self._refusals_file.unlink(missing_ok=True)
            elif now is not None:
                left = Refusals(attempts=now.attempts - seen.attempts, since=seen.until, until=now.until)
                self._write_refusals(left)

    # --- reading -------------------------------------------------------------------------------------

    def read(self, after: int, limit: int) -> list[Record]:
        """Up to ``limit`` records with numbers above ``after``, in order."""
        with self._lock:
            segments, end = list(self._segments), self._size
        found: list[Record] = []
        for i, first in enumerate(segments):
            last = i == len(segments) - 1
            if not last and segments[i + 1] <= after + 1:
                continue
            for record in _records(self._path(first), first, end if last else None):
                if record.number > after:
                    found.append(record)
                    if len(found) == limit:
                        return found
        return found

    def release(self, delivered: int) -> None:
        """Removes the segments whose records all have numbers up to ``delivered``."""
        with self._lock:
            if delivered >= self._next - 1 and self._size > _KEPT_BYTES:
                self._begin_segment()
            while len(self._segments) > 1 and self._segments[1] <= delivered + 1:
                self._path(self._segments.pop(0)).unlink(missing_ok=True)

    def used_bytes(self) -> int:
        """What the segments take."""
        return sum(self._path(first).stat().st_size for first in self._segments)

    @property
    def newest(self) -> int:
        """The number of the newest record, 0 when there never was one."""
        with self._lock:
            return self._next - 1

    # --- helpers -------------------------------------------------------------------------------------

    def _path(self, first: int) -> Path:
        return self._folder / f"{first:020d}.log"

    @property
    def _refusals_file(self) -> Path:
        return self._folder / "refused.json"

    def _own_id(self) -> str:
        file = self._folder / "id"
        if not file.exists():
            _write(file, uuid.uuid4().hex)
        return file.read_text(encoding="ascii").strip()

    def _mend(self) -> int:
        """Cuts a torn tail off the newest segment; gives what is left of it in bytes."""
        first = self._segments[-1]
        path = self._path(first)
        self._next, size = first, 0
        content = path.read_bytes()
        while (record := _record_at(content, size, self._next)) is not None:
            size += _HEADER.size + len(record)
            self._next += 1
        if size < len(content):
            # What follows a record that can't be read may be whole: then it was damaged, not torn.
            if _some_record_after(content, size, self._next):
                return self._leave_damaged(content, size)
            os.truncate(path, size)
        return size

    def _leave_damaged(self, content: bytes, size: int) -> int:
        """Keeps a damaged segment as it is for :meth:`read` to report, and goes on in a new one."""
        numbers = [n for n in _numbers_after(content, size) if n >= self._next]
        self._next = max(numbers, default=self._next) + 2
        self._segments.append(self._next)
        self._path(self._next).touch(mode=0o600)
        self._sync_folder()
        return 0

    def _begin_segment(self) -> None:
        self._path(self._next).touch(mode=0o600)
        self._sync_folder()
        self._segments.append(self._next)
        self._size = 0

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _refused(self, why: str) -> SpoolFullError:
        now = self._clock()
        before = self._refusals()
        since, attempts = (now, 1) if before is None else (before.since, before.attempts + 1)
        self._write_refusals(Refusals(attempts=attempts, since=since, until=now))
        return SpoolFullError(
            "the audit's spool takes nothing more",
            value=why,
            permitted="room on its disk, below auditSpoolMib",
            next_command="lab logs governor",
        )

    def _write_refusals(self, refusals: Refusals) -> None:
        document: dict[str, Any] = {
            "attempts": refusals.attempts,
            "since": refusals.since.isoformat(),
            "until": refusals.until.isoformat(),
        }
        # On a full disk nothing can be noted; the gap shows in the queries' numbers then.
        with contextlib.suppress(OSError):
            _write(self._refusals_file, json.dumps(document))

    def _refusals(self) -> Refusals | None:
        try:
            document = json.loads(self._refusals_file.read_text(encoding="ascii"))
            since, until = (datetime.fromisoformat(document[key]) for key in ("since", "until"))
            return Refusals(attempts=document["attempts"], since=since, until=until)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError):
            now = self._clock()
            return Refusals(attempts=1, since=now, until=now)


def _write(path: Path, text: str) -> None:
    """Replaces a small file as a whole."""
    beside = path.with_suffix(".new")
    with beside.open("w", encoding="ascii") as file:
        beside.chmod(0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _framed(number: int, payload: bytes) -> bytes:
    crc = zlib.crc32(payload, zlib.crc32(number.to_bytes(8, "big")))
    return _HEADER.pack(number, len(payload), crc) + payload


def _record_at(content: bytes, at: int, number: int) -> bytes | None:
    """The payload of record ``number`` at that offset; None when it is not there, whole."""
    if at + _HEADER.size > len(content):
        return None
    found, length, crc = _HEADER.unpack_from(content, at)
    payload = content[at + _HEADER.size : at + _HEADER.size + length]
    if found != number or length > _LONGEST_BYTES or len(payload) != length:
        return None
    return payload if crc == zlib.crc32(payload, zlib.crc32(number.to_bytes(8, "big"))) else None


def _records(path: Path, first: int, size: int | None) -> Iterator[Record]:
    """A segment's records; what can't be read is one record without a payload."""
    content = path.read_bytes()[:size]
    at, number = 0, first
    while at < len(content):
        payload = _record_at(content, at, number)
        if payload is None:
            yield Record(number=number, payload=None)
            later = [n for n in _numbers_after(content, at) if n > number]
            if not later:
                return
            number = later[0]
            at = content.index(number.to_bytes(8, "big"), at)
            continue
        yield Record(number=number, payload=payload)
        at += _HEADER.size + len(payload)
        number += 1


def _some_record_after(content: bytes, at: int, number: int) -> bool:
    return any(found > number for found in _numbers_after(content, at))


def _numbers_after(content: bytes, at: int) -> list[int]:
    """Numbers of whole records that begin somewhere after ``at``, in order: for damage, which is rare."""
    found: list[int] = []
    offset = at + 1
    while offset + _HEADER.size <= len(content):
        number, length, _ = _HEADER.unpack_from(content, offset)
        if 0 < length <= _LONGEST_BYTES and number < 1 << 48:
            payload = _record_at(content, offset, number)
            if payload is not None:
                found.append(number)
                offset += _HEADER.size + length
                continue
        offset += 1
    return found
