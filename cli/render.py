"""Text forms of results: aligned tables, rows of a query in three formats, JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NULL = "<null>"
"""How NULL looks in a table; in CSV it is an empty field and an empty string is ``""``."""

_WIDTH_SAMPLE = 500
_MAX_WIDTH = 80


def to_plain(value: Any) -> Any:
    """Results as dicts, lists, numbers and text, for ``--json``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        as_dict = getattr(value, "as_dict", None)
        if callable(as_dict):
            return to_plain(as_dict())
        return {item.name: to_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, decimal.Decimal):
        # As text: a JSON number would lose digits in most readers.
        return str(value)
    if isinstance(value, dt.date | dt.time | dt.datetime):
        return value.isoformat()
    if isinstance(value, Iterable):
        return [to_plain(item) for item in value]
    if isinstance(value, Path | uuid.UUID | dt.timedelta):
        return str(value)
    return str(value)


def to_json(value: Any) -> str:
    """One JSON document, stable: the same result gives the same text."""
    return json.dumps(to_plain(value), indent=2, ensure_ascii=False)


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns aligned, two spaces between them."""
    lines = [tuple(headers), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def cell_text(value: Any) -> str:
    """One value in a table; control characters are escaped so that a row stays one line and data can't
    drive the terminal."""
    if value is None:
        return NULL
    plain = to_plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], write: Callable[[str], object]) -> int:
    """Streams rows as an aligned table: widths come from the first rows, later ones are not held back.
    Returns the number of rows."""
    source = iter(rows)
    first = [[cell_text(value) for value in row] for row in itertools.islice(source, _WIDTH_SAMPLE)]
    widths = [
        min(_MAX_WIDTH, max([len(name), *(len(row[i]) for row in first)])) for i, name in enumerate(columns)
    ]

    def line(cells: Sequence[str]) -> str:
        return " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() + "\n"

    write(line(columns))
    write("-+-".join("-" * width for width in widths) + "\n")
    count = 0
    for cells in itertools.chain(first, ([cell_text(value) for value in row] for row in source)):
        write(line(cells))
        count += 1
    return count


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], write: Callable[[str], object]) -> int:
    """Streams RFC 4180 records with a header. NULL is an empty field, an empty string is ``""``."""
    write(",".join(csv_field(name) for name in columns) + "\r\n")
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - the count is what is returned
        write(",".join(csv_field(value) for value in row) + "\r\n")
    return count


def csv_field(value: Any) -> str:
    """One field, quoted where it must be."""
    if value is None:
        return ""
    plain = to_plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    if text == "" or any(char in text for char in ',"\r\n') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def write_json_lines(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], write: Callable[[str], object]
) -> int:
    """Streams one JSON object a row."""
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - the count is what is returned
        document = dict(zip(columns, (to_plain(value) for value in row), strict=True))
        write(json.dumps(document, ensure_ascii=False) + "\n")
    return count


def ago(seconds: float) -> str:
    """How long something has been so: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def indented(lines: Iterable[str], by: str = "  ") -> Iterator[str]:
    """Each line moved to the right."""
    return (by + line for line in lines)
