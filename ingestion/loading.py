"""The words of loading: files, options, columns, bad rows and what came of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa

from contracts.errors import LabError, UsageError
from ingestion.words import Mode as Mode

TABLE_PROPERTIES: Mapping[str, str] = {
    "format-version": "2",
    "write.format.default": "parquet",
    "write.parquet.compression-codec": "zstd",
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
}
"""Of every table that the lab makes."""


class Format(StrEnum):
    """What can be loaded."""

    PARQUET = "parquet"
    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How to read the files.

    Args:
        file_format: None: by content, then by name.
        delimiter: of CSV; None: the one of ``, ; tab |`` that the first line has most of.
        header: whether the first record names the columns.
        types: column → Iceberg type (``decimal(12,2)``), instead of the inferred one.
        all_text: infer nothing: every column is a string.
        null_values: what else than nothing at all stands for null in CSV and TSV.
        sample_rows: rows of each file that types are inferred from.
    """

    file_format: Format | None = None
    delimiter: str | None = None
    header: bool = True
    types: Mapping[str, str] = field(default_factory=dict)
    all_text: bool = False
    null_values: tuple[str, ...] = ()
    sample_rows: int = 50_000


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file as it was recognised. ``compression`` is Arrow's name for it, None when plain."""

    path: Path
    format: Format
    compression: str | None


@dataclass(frozen=True, kw_only=True)
class Column:
    """``source`` is the name in the file, ``name`` the one in the table; ``note`` says what a person
    should know about the chosen type."""

    name: str
    source: str
    type: pa.DataType
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the files hold. ``sampled_rows`` is how many rows the types rest on."""

    files: tuple[InputFile, ...]
    columns: tuple[Column, ...]
    sampled_rows: int

    @property
    def schema(self) -> pa.Schema:
        """The columns as they will be in the table."""
        return pa.schema([(column.name, column.type) for column in self.columns])

    @property
    def renamed(self) -> dict[str, str]:
        """Source name → table name, where they differ."""
        return {column.source: column.name for column in self.columns if column.source != column.name}


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that can't be loaded. ``line`` counts from 1 in the (decompressed) file, header included;
    in Parquet it is the row's number. ``text`` is the row as it stands in the file."""

    file: str
    line: int
    column: str | None
    value: str | None
    reason: str
    text: str

    def describe(self) -> str:
        """``orders.csv, line 7, column amount: 'x' is not a number``."""
        where = f"{self.file}, line {self.line}"
        if self.column is not None:
            where += f", column {self.column!r}"
        return f"{where}: {self.reason}"

    def as_json(self) -> str:
        """One line of the reject file."""
        document = {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "value": self.value,
            "reason": self.reason,
            "row": self.text,
        }
        # Bytes that are not UTF-8 travel as surrogates; as escapes they survive in any file.
        return json.dumps(document, ensure_ascii=True)


class BadRowsError(LabError):
    """Rows can't be loaded; nothing was committed."""

    def __init__(self, rows: Iterable[BadRow], *, shown: int = 5) -> None:
        self.rows = tuple(sorted(rows, key=lambda row: row.line))
        lines = [row.describe() for row in self.rows[:shown]]
        if len(self.rows) > shown:
            lines.append(f"… and {len(self.rows) - shown} more near by")
        super().__init__(
            "a row can't be loaded, nothing was committed:\n  " + "\n  ".join(lines),
            value=self.rows[0].value,
            next_command="mend the file, or keep such rows aside: lab load … --reject FILE",
        )


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A stretch of a file: rows in the target schema, and those that are bad."""

    table: pa.Table
    bad: tuple[BadRow, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LoadProgress:
    """``bytes_read`` of ``bytes_total`` as the files lie on disk."""

    rows: int
    rejected: int
    bytes_read: int
    bytes_total: int


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """A finished load. ``widened`` names columns of the table whose type grew to take the rows."""

    table: str
    rows: int
    rejected: int
    snapshot_id: int | None
    files: int
    bytes: int
    seconds: float
    renamed: Mapping[str, str]
    widened: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "table": self.table,
            "rows": self.rows,
            "rejected": self.rejected,
            "snapshot_id": None if self.snapshot_id is None else str(self.snapshot_id),
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "renamed": dict(self.renamed),
            "widened": list(self.widened),
        }


OnProgress = Callable[[LoadProgress], None]


def normalised(names: Iterable[str]) -> list[str]:
    """Column names every engine takes unquoted: lower case letters, digits and underscores, unique."""
    taken: set[str] = set()
    result = []
    for position, name in enumerate(names, start=1):
        base = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_") or f"column_{position}"
        if base[0].isdigit():
            base = f"_{base}"
        unique, number = base, 2
        while unique in taken:
            unique, number = f"{base}_{number}", number + 1
        taken.add(unique)
        result.append(unique)
    return result


def file_error(path: Path, what: str, *, permitted: str | None = None) -> UsageError:
    """The error for a file that can't be read as a whole."""
    return UsageError(f"{path.name} {what}", value=str(path), permitted=permitted)
