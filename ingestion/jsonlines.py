"""JSON lines (https://jsonlines.org): parsed in blocks by Arrow, and line by line where a block holds
something that does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.json as arrow_json

from ingestion.conversion import convert, convert_table, is_text, type_name
from ingestion.inference import TIMES
from ingestion.loading import BadRow, InputFile, Parsed, file_error
from ingestion.sources import Block, blocks, last_line_end


class _Misfit(ValueError):
    """A value that does not fit its column."""


class JsonLinesFile:
    """One file of JSON lines."""

    def __init__(self, source: InputFile) -> None:
        self._source = source
        self._label = str(source.path)

    def sample(self, rows: int) -> tuple[dict[str, list[Any]], int]:
        """Values by key over the first rows, keys in order of appearance; lines that are no objects
        are left out. Raises UsageError when no line is an object."""
        values: dict[str, list[Any]] = {}
        count = 0
        reason = "no line"
        for block in blocks(self._source, last_line_end):
            for _, text in _lines(block):
                try:
                    document = _object(text)
                except _Misfit as misfit:
                    reason = str(misfit)
                    continue
                for key, value in document.items():
                    values.setdefault(key, []).append(value)
                count += 1
                if count >= rows:
                    return values, count
        if not count:
            raise file_error(
                self._source.path, f"holds no JSON object: {reason}", permitted="one object a line"
            )
        return values, count

    def parsed(self, names: Mapping[str, str], schema: pa.Schema) -> Iterator[tuple[Parsed, int]]:
        """The file's rows in ``schema``, with the position on disk after each stretch.

        Args:
            names: key in the file → name in the table.
        """
        for block in blocks(self._source, last_line_end):
            yield self._parse(block, names, schema), block.position

    def _parse(self, block: Block, names: Mapping[str, str], schema: pa.Schema) -> Parsed:
        if not block.data.strip():
            return Parsed(table=schema.empty_table())
        try:
            read = self._arrow(block.data, names, schema)
            table, failures = convert_table(read, schema)
            if not failures:
                return Parsed(table=table)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
            pass  # The exact pass below finds out where and why.
        return self._parse_exactly(block, names, schema)

    @staticmethod
    def _arrow(data: bytes, names: Mapping[str, str], schema: pa.Schema) -> pa.Table:
        # Arrow reads times in several notations; as text they go through the one strict conversion.
        fields = [
            pa.field(key, pa.string() if schema.field(name).type in TIMES else schema.field(name).type)
            for key, name in names.items()
        ]
        read = arrow_json.read_json(
            pa.BufferReader(data),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 16),
            parse_options=arrow_json.ParseOptions(
                explicit_schema=pa.schema(fields), unexpected_field_behavior="error"
            ),
        )
        return read.rename_columns([names[key] for key in read.column_names])

    def _parse_exactly(self, block: Block, names: Mapping[str, str], schema: pa.Schema) -> Parsed:
        rows: list[dict[str, Any]] = []
        bad: list[BadRow] = []
        keys = {name: key for key, name in names.items()}
        for line, text in _lines(block):
            column: str | None = None
            value: Any = None
            try:
                document = _object(text)
                column = next((key for key in document if key not in names), None)
                if column is not None:
                    value = document[column]
                    raise _Misfit(f"the key is not among the {len(names)} seen in the sample")
                row = {}
                for item in schema:
                    column = keys[item.name]
                    value = document.get(column)
                    row[item.name] = _fit(value, item)
                rows.append(row)
            except _Misfit as misfit:
                bad.append(
                    BadRow(
                        file=self._label,
                        line=line,
                        column=column,
                        value=None if column is None else json.dumps(value, ensure_ascii=False, default=str),
                        reason=str(misfit),
                        text=text.decode("utf-8", "backslashreplace"),
                    )
                )
        nullable = pa.schema([item.with_nullable(True) for item in schema])
        return Parsed(table=pa.Table.from_pylist(rows, schema=nullable), bad=tuple(bad))


def _lines(block: Block) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(block.data.split(b"\n"), start=block.first_line):
        if text := line.strip():
            yield number, text


def _object(text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(
            text.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_unique_keys
        )
    except UnicodeDecodeError as error:
        raise _Misfit(f"byte 0x{text[error.start]:02x} at {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _Misfit(f"not JSON at character {error.colno}: {error.msg}") from None
    if not isinstance(document, dict):
        raise _Misfit("not a JSON object")
    return document


def _no_constant(name: str) -> Any:
    raise _Misfit(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _Misfit("a key appears twice in one object")
    return document


def _fit(value: Any, item: pa.Field) -> Any:
    """``value`` as Arrow takes it for the column; raises :class:`_Misfit`."""
    kind = item.type
    if value is None:
        if not item.nullable:
            raise _Misfit("is missing, but the column is required")
        return None
    if is_text(kind):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    misfit = _Misfit(f"{json.dumps(value, ensure_ascii=False)} is not {type_name(kind)}")
    if pa.types.is_boolean(kind) != isinstance(value, bool):
        raise misfit
    if isinstance(value, float) and pa.types.is_integer(kind):
        raise misfit
    try:
        if isinstance(value, str):
            # Text in a number's place is a mistake in JSON, unlike in CSV.
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                raise misfit
            return convert(pa.array([value]), kind)[0].as_py()
        if pa.types.is_decimal(kind):
            return pa.scalar(Decimal(str(value)), kind).as_py()
        return pa.scalar(value, kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError):
        raise misfit from None
