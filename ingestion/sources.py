"""Recognises files and reads text in blocks of whole records, whatever they are compressed with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingestion.loading import Format, InputFile, LoadOptions, file_error

BLOCK_BYTES = 8 * 1024 * 1024
MAX_RECORD_BYTES = 64 * 1024 * 1024
_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_SUFFIXES = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".parquet": Format.PARQUET,
}
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Whole records; ``first_line`` is the line the block starts at, ``offset`` its first byte in the
    decompressed file, ``position`` how far the file on disk was read. ``complete`` is False when the
    end of the file came inside a record."""

    data: bytes
    first_line: int
    offset: int
    position: int
    complete: bool = True


def recognise(path: Path, options: LoadOptions) -> InputFile:
    """Tells format and compression by content; the name decides only between text formats.

    Raises:
        UsageError: the file is missing, empty, or of no known format.
    """
    if not path.is_file():
        raise file_error(path, "is not a file" if path.exists() else "does not exist")
    if path.stat().st_size == 0:
        raise file_error(path, "is empty: not even a header")
    with path.open("rb") as file:
        magic = file.read(4)
    compression = next((name for start, name in _COMPRESSIONS.items() if magic.startswith(start)), None)
    with _open(path, compression) as stream:
        head = _read(stream, 64 * 1024, path)
    if head.startswith(b"PAR1"):
        if compression is not None:
            raise file_error(
                path, f"is a {compression} file with Parquet inside", permitted="unpack it first"
            )
        return InputFile(path=path, format=Format.PARQUET, compression=None)
    if not head:
        raise file_error(path, "is empty inside: not even a header")
    if head.startswith(_UTF16_BOMS):
        raise file_error(path, "is UTF-16 text", permitted="UTF-8 (iconv -f UTF-16 -t UTF-8)")
    return InputFile(path=path, format=_text_format(path, head, options), compression=compression)


def _text_format(path: Path, head: bytes, options: LoadOptions) -> Format:
    known = ", ".join(Format)
    if options.file_format is Format.PARQUET:
        raise file_error(path, "is not Parquet: it does not start with PAR1", permitted=known)
    if options.file_format is not None:
        return options.file_format
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() in _SUFFIXES]
    found = _SUFFIXES[suffixes[-1]] if suffixes else None
    first = head.removeprefix(_UTF8_BOM).lstrip()[:1]
    if found is Format.PARQUET:
        raise file_error(path, "is named Parquet but is not", permitted=known)
    if found is None and first == b"{":
        found = Format.JSONL
    if found is None:
        raise file_error(path, "is of no known format", permitted=f"{known} (--format)")
    if found is Format.JSONL and first == b"[":
        raise file_error(path, "is one JSON array", permitted="JSON lines: one object a line (jq -c '.[]')")
    return found


def _open(path: Path, compression: str | None) -> Any:
    source = pa.OSFile(str(path), "rb")
    return source if compression is None else pa.CompressedInputStream(source, compression)


def _read(stream: Any, size: int, path: Path) -> bytes:
    try:
        return bytes(stream.read(size))
    except (OSError, pa.ArrowInvalid) as error:
        raise file_error(path, f"is damaged: {error}") from error


def blocks(source: InputFile, last_end: Callable[[bytes], int]) -> Iterator[Block]:
    """Reads a text file in blocks of whole records.

    Args:
        last_end: where the last record that is whole ends in the bytes given, 0 when none is.

    Raises:
        UsageError: the compressed data is damaged, or one record is larger than 64 MiB.
    """
    raw = pa.OSFile(str(source.path), "rb")
    stream = raw if source.compression is None else pa.CompressedInputStream(raw, source.compression)
    with raw, stream:
        rest, line, offset = b"", 1, 0
        at_start = True
        while chunk := _read(stream, BLOCK_BYTES, source.path):
            if at_start and chunk.startswith(_UTF8_BOM):
                chunk, offset = chunk[len(_UTF8_BOM) :], len(_UTF8_BOM)
            at_start = False
            data = rest + chunk
            end = last_end(data)
            if end == 0:
                if len(data) > MAX_RECORD_BYTES:
                    raise file_error(
                        source.path,
                        f"has a record of more than {MAX_RECORD_BYTES >> 20} MiB that starts on line {line}",
                        permitted="quotes in pairs; a quote inside a quoted field doubled",
                    )
                rest = data
                continue
            yield Block(data=data[:end], first_line=line, offset=offset, position=raw.tell())
            line += data.count(b"\n", 0, end)
            offset += end
            rest = data[end:]
        if rest:
            whole = rest if rest.endswith(b"\n") else rest + b"\n"
            yield Block(
                data=rest,
                first_line=line,
                offset=offset,
                position=raw.tell(),
                complete=last_end(whole) == len(whole),
            )


def last_line_end(data: bytes) -> int:
    """Where the last whole line ends."""
    return data.rfind(b"\n") + 1


def last_record_end(data: bytes) -> int:
    """Where the last line ends that is outside quotes (RFC 4180): an even number of quotes precedes."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return end
