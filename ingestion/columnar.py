"""Parquet files as input."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.conversion import convert_table, shown
from ingestion.loading import BadRow, InputFile, Parsed, file_error

BATCH_ROWS = 65_536

_SMALL = {
    pa.int8(): pa.int32(),
    pa.int16(): pa.int32(),
    pa.uint8(): pa.int32(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.date64(): pa.date32(),
    pa.null(): pa.string(),
}
_SAME = (
    pa.int32(),
    pa.int64(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.string(),
    pa.binary(),
    pa.date32(),
)


class ParquetFile:
    """One Parquet file. ``names`` are its top-level columns as they stand.

    Raises:
        UsageError: it is damaged, or has a column Iceberg has no type for.
    """

    def __init__(self, source: InputFile) -> None:
        self._source = source
        self._label = str(source.path)
        try:
            self._file = pq.ParquetFile(source.path)
            self._schema: pa.Schema = self._file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise file_error(source.path, f"is damaged: {error}") from error
        self.names: list[str] = list(self._schema.names)
        self.rows: int = self._file.metadata.num_rows
        self.types = [self._loadable(item.name, item.type) for item in self._schema]

    def parsed(self, columns: Sequence[str], schema: pa.Schema) -> Iterator[tuple[Parsed, int]]:
        """The file's rows in ``schema``, with an estimate of the position on disk after each stretch."""
        size, done = self._source.path.stat().st_size, 0
        try:
            for batch in self._file.iter_batches(batch_size=BATCH_ROWS):
                read = pa.Table.from_batches([batch]).rename_columns(list(columns))
                table, failures = convert_table(_decoded(read), schema)
                bad = tuple(
                    BadRow(
                        file=self._label,
                        line=done + failure.row + 1,
                        column=failure.column,
                        value=failure.value,
                        reason=failure.reason,
                        text=_row_text(read.slice(failure.row, 1)),
                    )
                    for failure in failures
                )
                done += read.num_rows
                yield Parsed(table=table, bad=bad), size * done // max(1, self.rows)
        except (pa.ArrowException, OSError) as error:
            raise file_error(self._source.path, f"can't be read after row {done}: {error}") from error

    def _loadable(self, column: str, kind: pa.DataType) -> pa.DataType:
        """The type that Iceberg has for an Arrow type, with no loss."""
        if kind in _SAME:
            return kind
        if kind in _SMALL:
            return _SMALL[kind]
        loadable = _parametrised(kind)
        if loadable is not None:
            return loadable
        if pa.types.is_dictionary(kind):
            return self._loadable(column, kind.value_type)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            return pa.list_(self._loadable(column, kind.value_type))
        if pa.types.is_struct(kind):
            return pa.struct([(item.name, self._loadable(column, item.type)) for item in kind])
        if pa.types.is_map(kind):
            return pa.map_(self._loadable(column, kind.key_type), self._loadable(column, kind.item_type))
        raise file_error(
            self._source.path,
            f"has column {column!r} of type {kind}, which Iceberg does not have",
            permitted="numbers, text, dates, times, decimals up to 38 digits, lists, structs, maps",
        )


def _parametrised(kind: pa.DataType) -> Any:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", None if kind.tz is None else "UTC")
    if pa.types.is_time(kind):
        return pa.time64("us")
    if pa.types.is_decimal(kind) and kind.precision <= 38:
        return pa.decimal128(kind.precision, kind.scale)
    if pa.types.is_fixed_size_binary(kind):
        return kind
    return None


def _decoded(table: pa.Table) -> pa.Table:
    """Dictionary columns as their values, the form conversions know."""
    for position, item in enumerate(table.schema):
        if pa.types.is_dictionary(item.type):
            table = table.set_column(position, item.name, table.column(position).cast(item.type.value_type))
    return table


def _row_text(row: pa.Table) -> str:
    """One row as JSON."""
    cells = {name: row.column(name)[0] for name in row.column_names}
    return json.dumps(
        {
            name: shown(cell) if pa.types.is_timestamp(cell.type) else cell.as_py()
            for name, cell in cells.items()
        },
        default=str,
    )
