"""Results as files, a part at a time."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import anyio.to_thread
import orjson

from control_plane.api.queries.running import RunningQuery
from control_plane.api.queries.trino import Execution
from control_plane.api.schemas.common import Column, Row
from control_plane.api.schemas.queries import DownloadFormat

MEDIA_TYPES = {
    DownloadFormat.CSV: "text/csv; charset=utf-8; header=present",
    DownloadFormat.JSONL: "application/x-ndjson",
    DownloadFormat.ARROW: "application/vnd.apache.arrow.stream",
    DownloadFormat.PARQUET: "application/vnd.apache.parquet",
}
_BATCH_ROWS = 50_000


class Encoder(Protocol):
    """Makes a file's bytes of rows. ``begin`` first, ``end`` last."""

    def begin(self) -> bytes: ...

    def rows(self, rows: Sequence[Row]) -> bytes: ...

    def end(self) -> bytes: ...


def encoder(format: DownloadFormat, columns: Sequence[Column]) -> Encoder:
    """The encoder of a format."""
    match format:
        case DownloadFormat.CSV:
            return _Csv(columns)
        case DownloadFormat.JSONL:
            return _JsonLines(columns)
        case DownloadFormat.ARROW:
            return _Arrow(columns)
        case DownloadFormat.PARQUET:
            return _Parquet(columns)


async def kept_rows(query: RunningQuery) -> AsyncIterator[list[Row]]:
    """All rows of a result that is kept."""
    for number in range(query.result.blocks):
        _, _, encoded = await anyio.to_thread.run_sync(query.result.block, number)
        yield await anyio.to_thread.run_sync(orjson.loads, encoded)


async def fresh_rows(execution: Execution, first: list[Row]) -> AsyncIterator[list[Row]]:
    """All rows of a statement that runs; it ends with the reader."""
    try:
        yield first
        while (page := await execution.next()) is not None:
            yield page.rows
    finally:
        await execution.cancel()


async def encoded(made: Encoder, source: AsyncIterator[list[Row]]) -> AsyncIterator[bytes]:
    """The file. Rows are gathered a while: columnar formats want many at once."""
    yield await anyio.to_thread.run_sync(made.begin)
    gathered: list[Row] = []
    async for rows in source:
        gathered += rows
        if len(gathered) >= _BATCH_ROWS:
            yield await anyio.to_thread.run_sync(made.rows, gathered)
            gathered = []
    if gathered:
        yield await anyio.to_thread.run_sync(made.rows, gathered)
    yield await anyio.to_thread.run_sync(made.end)


class _Csv:
    """RFC 4180 with a header; NULL is empty, an empty text is quoted, nested values are JSON."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def begin(self) -> bytes:
        return self.rows([[column.name for column in self._columns]])

    def rows(self, rows: Sequence[Row]) -> bytes:
        return "".join(",".join(map(_field, row)) + "\r\n" for row in rows).encode()

    def end(self) -> bytes:
        return b""


class _JsonLines:
    """An object a line."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._names = [column.name for column in columns]

    def begin(self) -> bytes:
        return b""

    def rows(self, rows: Sequence[Row]) -> bytes:
        return b"".join(
            orjson.dumps(dict(zip(self._names, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE)
            for row in rows
        )

    def end(self) -> bytes:
        return b""


class _Sink(io.RawIOBase):
    """Keeps what was written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._at += len(part)
        return len(part)

    def tell(self) -> int:
        return self._at

    def take(self) -> bytes:
        """What came since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _Columnar:
    """What Arrow and Parquet have in common."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._sink = _Sink()
        self._writer: Any = None

    def begin(self) -> bytes:
        from control_plane.api.queries.arrow import schema

        self._writer = self._open(schema(self._columns))
        return self._sink.take()

    def rows(self, rows: Sequence[Row]) -> bytes:
        from control_plane.api.queries.arrow import record_batch

        self._writer.write_batch(record_batch(self._columns, rows))
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()

    def _open(self, schema: Any) -> Any:
        raise NotImplementedError


class _Arrow(_Columnar):
    """Arrow's IPC stream."""

    def _open(self, schema: Any) -> Any:
        import pyarrow as pa

        return pa.ipc.new_stream(self._sink, schema)


class _Parquet(_Columnar):
    """Parquet, a row group a batch."""

    def _open(self, schema: Any) -> Any:
        from pyarrow import parquet

        return parquet.ParquetWriter(self._sink, schema, compression="zstd")


def _field(value: Any) -> str:
    """A field of CSV. The csv module does not tell NULL from an empty text before Python 3.12."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = orjson.dumps(value).decode() if isinstance(value, list | dict) else str(value)
    if not text or any(char in text for char in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
