"""Results on the service's disk: bounded, read by page, gone with the service."""

from __future__ import annotations

import bisect
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

_SUFFIX = ".rows"


class ResultFullError(Exception):
    """There is no room for more of this result."""


@dataclass(frozen=True)
class _Block:
    """A page as it came: its rows as one JSON array at a place of the file."""

    first_row: int
    rows: int
    at: int
    length: int


class Result:
    """The rows of one query. One writer; readers see whole blocks only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        self._blocks: list[_Block] = []
        self._firsts: list[int] = []
        self.rows = 0
        self.size_bytes = 0
        self.used_at = time.monotonic()
        self.writing = True

    @property
    def blocks(self) -> int:
        """How many there are so far."""
        return len(self._blocks)

    def append(self, encoded: bytes, rows: int) -> None:
        """Adds a block."""
        self._file.write(encoded)
        self._file.flush()
        block = _Block(self.rows, rows, self.size_bytes, len(encoded))
        self.size_bytes += len(encoded)
        self.rows += rows
        self._firsts.append(block.first_row)
        self._blocks.append(block)

    def close(self) -> None:
        """No more will come."""
        self._file.close()
        self.writing = False

    def remove(self) -> None:
        """Takes the rows away."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def block(self, number: int) -> tuple[int, int, bytes]:
        """First row, count of rows, and the rows as a JSON array. Raises OSError when it was removed."""
        found = self._blocks[number]
        self.used_at = time.monotonic()
        with self._path.open("rb") as file:
            file.seek(found.at)
            return found.first_row, found.rows, file.read(found.length)

    def block_of(self, row: int) -> int:
        """The number of the block that has a row (or will have it)."""
        return max(0, bisect.bisect_right(self._firsts, row) - 1)

    def read(self, offset: int, limit: int) -> list[list[Any]]:
        """Rows from ``offset`` on, no more than ``limit``. Raises OSError when it was removed."""
        found: list[list[Any]] = []
        number = self.block_of(offset)
        while number < self.blocks and len(found) < limit:
            first, _, encoded = self.block(number)
            rows = orjson.loads(encoded)
            found += rows[max(0, offset - first) :]
            number += 1
        return found[:limit]

    def all_blocks(self) -> Iterator[list[list[Any]]]:
        """All rows, a block at a time. Raises OSError when it was removed."""
        for number in range(self.blocks):
            yield orjson.loads(self.block(number)[2])


class Spool:
    """All results of a console.

    Args:
        folder: only this service's; what an earlier process left is removed.
        limit_bytes: of all results together. The one that was unused longest makes room for a new one.
        result_bytes: of one result.
        evicted: called with a query whose rows were taken away.
    """

    def __init__(
        self, folder: Path, *, limit_bytes: int, result_bytes: int, evicted: Callable[[UUID], None]
    ) -> None:
        self._folder, self._limit, self._result_limit = folder, limit_bytes, result_bytes
        self._evicted = evicted
        self._results: dict[UUID, Result] = {}
        self._lock = threading.RLock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in folder.glob(f"*{_SUFFIX}"):
            left.unlink(missing_ok=True)

    def create(self, query_id: UUID) -> Result:
        """An empty result."""
        with self._lock:
            result = self._results[query_id] = Result(self._folder / f"{query_id}{_SUFFIX}")
            return result

    def get(self, query_id: UUID) -> Result | None:
        """A query's result; None when it was removed."""
        return self._results.get(query_id)

    def append(self, result: Result, encoded: bytes, rows: int) -> None:
        """Adds a block to a result. Raises ResultFullError."""
        if result.size_bytes + len(encoded) > self._result_limit:
            raise ResultFullError(f"a result may have {self._result_limit >> 20} MiB")
        with self._lock:
            if not self._make_room(len(encoded)):
                raise ResultFullError(f"all results together may have {self._limit >> 20} MiB")
        result.append(encoded, rows)

    def remove(self, query_id: UUID) -> None:
        """Takes a result away."""
        with self._lock:
            result = self._results.pop(query_id, None)
        if result is not None:
            result.remove()
            self._evicted(query_id)

    def remove_unused(self, longer_than_s: float) -> int:
        """Takes away what nobody read for so long; returns how many."""
        now = time.monotonic()
        old = [
            query_id
            for query_id, result in list(self._results.items())
            if not result.writing and now - result.used_at > longer_than_s
        ]
        for query_id in old:
            self.remove(query_id)
        return len(old)

    def clear(self) -> None:
        """Takes everything away."""
        for query_id in list(self._results):
            self.remove(query_id)

    @property
    def size_bytes(self) -> int:
        """Of all results."""
        return sum(result.size_bytes for result in self._results.values())

    def _make_room(self, size: int) -> bool:
        while self.size_bytes + size > self._limit:
            ended = [(result.used_at, key) for key, result in self._results.items() if not result.writing]
            if not ended:
                return False
            self.remove(min(ended)[1])
        return True
