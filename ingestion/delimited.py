"""CSV and TSV (RFC 4180): parsed and converted in blocks by Arrow, and by a slower pass that knows
lines and columns where a block holds a row that can't be loaded."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as arrow_csv

from ingestion.conversion import Failure, convert_table
from ingestion.loading import BadRow, Format, InputFile, LoadOptions, Parsed, file_error
from ingestion.sources import MAX_RECORD_BYTES, Block, blocks, last_record_end

_DELIMITERS = (",", ";", "\t", "|")


class DelimitedFile:
    """One CSV or TSV file. ``names`` are the header's, as they stand; without a header column_1 ….

    Raises:
        UsageError: the header can't be read.
    """

    def __init__(self, source: InputFile, options: LoadOptions) -> None:
        self._source = source
        self._options = options
        self._label = str(source.path)
        first = next(blocks(source, last_record_end))
        self.delimiter = _delimiter(source.format, options, first.data)
        header, self._header_lines, self._header_bytes = self._first_record(first)
        self.names = header if options.header else [f"column_{i}" for i in range(1, len(header) + 1)]
        if not options.header:
            self._header_lines = self._header_bytes = 0

    def parsed(self, columns: Sequence[str], schema: pa.Schema) -> Iterator[tuple[Parsed, int]]:
        """The file's rows in ``schema``, with the position on disk after each stretch.

        Args:
            columns: the table's name of each field of a record, in the file's order.
        """
        for block in self._blocks():
            yield self._parse(block, columns, schema), block.position

    def sample(self, columns: Sequence[str], rows: int) -> pa.Table:
        """The first rows as text; rows that can't be read are left out."""
        schema = pa.schema([(name, pa.string()) for name in columns])
        tables, count = [schema.empty_table()], 0
        for parsed, _ in self.parsed(columns, schema):
            tables.append(parsed.table)
            count += parsed.table.num_rows
            if count >= rows:
                break
        return pa.concat_tables(tables).slice(0, rows)

    def _blocks(self) -> Iterator[Block]:
        for number, block in enumerate(blocks(self._source, last_record_end)):
            if number or not self._header_bytes:
                yield block
                continue
            yield Block(
                data=block.data[self._header_bytes :],
                first_line=block.first_line + self._header_lines,
                offset=block.offset + self._header_bytes,
                position=block.position,
                complete=block.complete,
            )

    def _parse(self, block: Block, columns: Sequence[str], schema: pa.Schema) -> Parsed:
        if not block.data.strip():
            return Parsed(table=schema.empty_table())
        try:
            text = self._arrow(block.data, columns)
            if block.complete and not _ends_inside_quotes(text, block.data):
                table, failures = convert_table(text, schema)
                if not failures:
                    return Parsed(table=table)
        except pa.ArrowInvalid:
            pass  # The exact pass below finds out where and why.
        return self._parse_exactly(block, columns, schema)

    def _arrow(self, data: bytes, columns: Sequence[str]) -> pa.Table:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, column_names=list(columns), block_size=len(data) + 16
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=b'"' in data),
            convert_options=arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in columns},
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=["", *self._options.null_values],
            ),
        )

    def _parse_exactly(self, block: Block, columns: Sequence[str], schema: pa.Schema) -> Parsed:
        lines: list[int] = []
        texts: list[str] = []
        bad: list[BadRow] = []
        for line, text, fields in self._records(block):
            row = self._flaw(line, text, fields, columns)
            if row is not None:
                bad.append(row)
            elif fields:
                lines.append(line)
                texts.append(text)
        if not texts:
            return Parsed(table=schema.empty_table(), bad=tuple(bad))
        read = self._arrow("".join(t if t.endswith("\n") else t + "\n" for t in texts).encode(), columns)
        if read.num_rows != len(texts):
            raise file_error(
                self._source.path,
                f"has quotes out of pairs between lines {lines[0]} and {lines[-1]}",
                permitted="a field with a quote in it quoted, and the quote doubled",
            )
        table, failures = convert_table(read, schema)
        bad += [self._bad(failure, lines, texts) for failure in failures]
        return Parsed(table=table, bad=tuple(sorted(bad, key=lambda row: row.line)))

    def _bad(self, failure: Failure, lines: list[int], texts: list[str]) -> BadRow:
        return BadRow(
            file=self._label,
            line=lines[failure.row],
            column=failure.column,
            value=failure.value,
            reason=failure.reason,
            text=texts[failure.row].rstrip("\r\n"),
        )

    def _flaw(self, line: int, text: str, fields: list[str], columns: Sequence[str]) -> BadRow | None:
        """What is wrong with a record as such, None when its fields can be looked at."""
        if not fields:
            return None
        column = value = None
        if _is_open(text, self.delimiter):
            reason = "a quoted field is not closed before the end"
        elif len(fields) != len(columns):
            reason = f"the row has {len(fields)} fields, the header {len(columns)}"
        else:
            broken = next((i for i, item in enumerate(fields) if not _is_unicode(item)), None)
            if broken is None:
                return None
            column, value = columns[broken], fields[broken]
            byte, before = _first_broken_byte(value)
            value = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            reason = f"byte 0x{byte:02x} after {before} characters is not UTF-8"
        return BadRow(
            file=self._label, line=line, column=column, value=value, reason=reason, text=text.rstrip("\r\n")
        )

    def _records(self, block: Block) -> Iterator[tuple[int, str, list[str]]]:
        """Each record of the block: its first line, its text, its fields (none for a blank line)."""
        csv.field_size_limit(MAX_RECORD_BYTES)
        taken: list[str] = []
        stream = io.StringIO(block.data.decode("utf-8", "surrogateescape"), newline="")

        def lines() -> Iterator[str]:
            for text in stream:
                taken.append(text)
                yield text

        line = block.first_line
        for fields in csv.reader(lines(), delimiter=self.delimiter):
            text = "".join(taken)
            yield line, text, fields
            line += text.count("\n")
            taken.clear()

    def _first_record(self, block: Block) -> tuple[list[str], int, int]:
        for line, text, fields in self._records(block):
            if not fields:
                continue
            raw = text.encode("utf-8", "surrogateescape")
            for name in fields:
                if not _is_unicode(name):
                    raise file_error(self._source.path, f"has a header that is not UTF-8, on line {line}")
            end = block.data.index(raw) + len(raw)
            return fields, block.data.count(b"\n", 0, end), end
        raise file_error(self._source.path, "holds only blank lines: not even a header")


def _delimiter(kind: Format, options: LoadOptions, data: bytes) -> str:
    if options.delimiter is not None:
        return options.delimiter
    if kind is Format.TSV:
        return "\t"
    line = data.lstrip().split(b"\n", 1)[0].decode("utf-8", "replace")
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def _ends_inside_quotes(table: pa.Table, data: bytes) -> bool:
    """Arrow takes an unclosed quote to the end of the block as a value; it then ends in the block's own
    last line feed."""
    if b'"' not in data or table.num_rows == 0 or not data.endswith(b"\n"):
        return False
    last = table.column(table.num_columns - 1)[-1].as_py()
    return last is not None and last.endswith("\n") and not data.rstrip(b"\r\n").endswith(b'"')


def _is_open(text: str, delimiter: str) -> bool:
    if text.count('"') % 2 == 0:
        return False
    try:
        list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= character <= "\udcff" for character in text)


def _first_broken_byte(text: str) -> tuple[int, int]:
    for position, character in enumerate(text):
        if "\udc80" <= character <= "\udcff":
            return ord(character) - 0xDC00, position
    raise ValueError("every character is Unicode")
