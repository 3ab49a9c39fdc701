"""Strict conversion of columns: what does not fit is found exactly, never rounded or guessed."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Cell ``row`` (from 0) of ``column`` does not fit."""

    row: int
    column: str
    value: str
    reason: str


def convert(column: pa.ChunkedArray | pa.Array, target: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """Casts without loss. Text may have blanks around numbers and dates, and an empty text is null in
    any column that is not text itself.

    Raises:
        pa.ArrowInvalid: some value does not fit.
    """
    if column.type == target:
        return column
    try:
        return column.cast(target)
    except pa.ArrowInvalid:
        if not is_text(column.type) or is_text(target):
            raise
    trimmed = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, trimmed.type), trimmed).cast(target)


def convert_table(table: pa.Table, schema: pa.Schema) -> tuple[pa.Table, list[Failure]]:
    """Brings ``table`` (same column names, any order) to ``schema``.

    Returns the rows that fit, and one failure for each row that does not: its first column that fails.
    """
    columns: list[pa.ChunkedArray] = []
    failed: dict[int, Failure] = {}
    for item in schema:
        source = table.column(item.name)
        try:
            converted = convert(source, item.type)
            if not item.nullable and converted.null_count:
                raise pa.ArrowInvalid("null in a required column")
            columns.append(converted)
        except pa.ArrowInvalid:
            for failure in _failures(item, source.combine_chunks()):
                failed.setdefault(failure.row, failure)
    if not failed:
        return pa.table(columns, schema=_nullable(schema)), []
    keep = pa.array([row not in failed for row in range(table.num_rows)])
    good = table.filter(keep)
    fitting = [convert(good.column(item.name), item.type) for item in schema]
    return pa.table(fitting, schema=_nullable(schema)), [failed[row] for row in sorted(failed)]


def is_text(kind: pa.DataType) -> bool:
    """Whether a type holds text."""
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def shown(cell: pa.Scalar) -> str:
    """The cell as text; Python's datetime holds no nanoseconds, Arrow's own text does."""
    return str(cell.cast(pa.string()) if pa.types.is_timestamp(cell.type) else cell.as_py())


def type_name(kind: pa.DataType) -> str:
    """What a person calls the type, with Iceberg's name."""
    names = {
        pa.int32(): "a whole number (int)",
        pa.int64(): "a whole number (long)",
        pa.float32(): "a number (float)",
        pa.float64(): "a number (double)",
        pa.bool_(): "true or false (boolean)",
        pa.date32(): "a date as 2026-01-31 (date)",
        pa.timestamp("us"): "a time as 2026-01-31 12:00:00 (timestamp)",
        pa.timestamp("us", "UTC"): "a time with its zone as 2026-01-31T12:00:00Z (timestamptz)",
    }
    return names.get(kind, f"a {kind}")


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([item.with_nullable(True) for item in schema])


def _failures(item: pa.Field, column: pa.Array) -> list[Failure]:
    """Halves the column until each failing cell stands alone: few casts where few cells fail."""
    found: list[Failure] = []
    spans = [(0, len(column))]
    while spans:
        start, length = spans.pop()
        part = column.slice(start, length)
        try:
            converted = convert(part, item.type)
        except pa.ArrowInvalid:
            if length > 1:
                half = length // 2
                spans += [(start + half, length - half), (start, half)]
                continue
            value = shown(part[0])
            found.append(
                Failure(
                    row=start,
                    column=item.name,
                    value=value,
                    reason=f"{value!r} is not {type_name(item.type)}",
                )
            )
            continue
        if not item.nullable and converted.null_count:
            found += [
                Failure(
                    row=start + row, column=item.name, value="", reason="is empty, but the column is required"
                )
                for row, missing in enumerate(converted.is_null().to_pylist())
                if missing
            ]
    return found
