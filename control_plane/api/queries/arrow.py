"""Trino's rows as Arrow's. pyarrow is imported when somebody downloads: it takes 50 MiB."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from control_plane.api.schemas.common import Column

Convert = Callable[[Any], Any]

_PARAMETRIC = re.compile(
    r"(?P<name>[a-z ]+)(?:\((?P<first>\d+)(?:\s*,\s*(?P<second>\d+))?\)(?P<rest>[a-z ]*))?", re.ASCII
)
_MICROS = 6
_INTERVAL = re.compile(r"^(?P<sign>-?)(?P<days>\d+) (?P<h>\d+):(?P<m>\d+):(?P<s>\d+)(?:\.(?P<ms>\d+))?$")


def schema(columns: Sequence[Column]) -> Any:
    """The ``pyarrow.Schema`` of a result."""
    import pyarrow as pa

    return pa.schema([pa.field(c.name, arrow_type(c.type)[0]) for c in columns])


def record_batch(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Any:
    """Rows as a ``pyarrow.RecordBatch``."""
    import pyarrow as pa

    arrays = []
    for index, column in enumerate(columns):
        kind, convert = arrow_type(column.type)
        values = [None if row[index] is None else convert(row[index]) for row in rows]
        arrays.append(pa.array(values, type=kind))
    return pa.RecordBatch.from_arrays(arrays, schema=schema(columns))


def arrow_type(trino_type: str) -> tuple[Any, Convert]:
    """Arrow's type for one of Trino's, and what makes its values of the protocol's. A type without an equal
    is text."""
    import pyarrow as pa

    plain = trino_type.strip().lower()
    for constructor, make in (("array", _array), ("map", _map), ("row", _row)):
        if plain.startswith(f"{constructor}(") and plain.endswith(")"):
            return make(trino_type.strip()[len(constructor) + 1 : -1])
    match = _PARAMETRIC.fullmatch(plain)
    if match is None:
        return pa.string(), _text
    name = f"{match['name'].strip()} {(match['rest'] or '').strip()}".strip()
    precision = int(match["first"]) if match["first"] else 3
    unit = "us" if precision <= _MICROS else "ns"
    simple: dict[str, tuple[Any, Convert]] = {
        "boolean": (pa.bool_(), bool),
        "tinyint": (pa.int8(), int),
        "smallint": (pa.int16(), int),
        "integer": (pa.int32(), int),
        "bigint": (pa.int64(), int),
        "real": (pa.float32(), float),
        "double": (pa.float64(), float),
        "varbinary": (pa.binary(), base64.b64decode),
        "date": (pa.date32(), date.fromisoformat),
        "time": (pa.time64("us"), _time),
        "timestamp": (pa.timestamp(unit), _naive(unit)),
        "timestamp with time zone": (pa.timestamp(unit, tz="UTC"), _zoned(unit)),
        "interval day to second": (pa.duration("ms"), _interval),
    }
    if name == "decimal":
        digits, scale = int(match["first"] or 38), int(match["second"] or 0)
        return pa.decimal128(digits, scale), Decimal
    return simple.get(name, (pa.string(), _text))


def _array(inner: str) -> tuple[Any, Convert]:
    import pyarrow as pa

    kind, convert = arrow_type(inner)
    return pa.list_(kind), lambda values: [_maybe(convert, value) for value in values]


def _map(inner: str) -> tuple[Any, Convert]:
    import pyarrow as pa

    key_type, value_type = (arrow_type(part) for part in _split(inner))

    def convert(value: dict[str, Any]) -> list[tuple[Any, Any]]:
        return [(_maybe(key_type[1], k), _maybe(value_type[1], v)) for k, v in value.items()]

    return pa.map_(key_type[0], value_type[0]), convert


def _row(inner: str) -> tuple[Any, Convert]:
    import pyarrow as pa

    fields: list[tuple[str, Any, Convert]] = []
    for number, part in enumerate(_split(inner)):
        name, rest = _field(part, number)
        kind, convert = arrow_type(rest)
        fields.append((name, kind, convert))

    def made(values: list[Any]) -> dict[str, Any]:
        return {name: _maybe(c, value) for (name, _, c), value in zip(fields, values, strict=True)}

    return pa.struct([pa.field(name, kind) for name, kind, _ in fields]), made


def _field(part: str, number: int) -> tuple[str, str]:
    """Name and type of a row's field; a field may have no name."""
    if part.startswith('"'):
        end = re.match(r'"(?:[^"]|"")*"', part)
        if end is not None:
            return end.group()[1:-1].replace('""', '"'), part[end.end() :].strip()
    name, _, rest = part.partition(" ")
    if not rest or "(" in name or part.lower().startswith(("timestamp", "time ", "interval", "double ")):
        return f"field{number}", part
    return name, rest.strip()


def _split(text: str) -> list[str]:
    """Parts between commas that are in no bracket and no quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for index, char in enumerate(text):
        if char == '"':
            quoted = not quoted
        elif not quoted and char in "()":
            depth += 1 if char == "(" else -1
        elif not quoted and char == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]


def _maybe(convert: Convert, value: Any) -> Any:
    return None if value is None else convert(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _time(value: str) -> time:
    return time.fromisoformat(_micros(value))


def _naive(unit: str) -> Convert:
    def convert(value: str) -> Any:
        if unit == "us":
            return datetime.fromisoformat(_micros(value))
        return _nanos(datetime.fromisoformat(_micros(value)).replace(tzinfo=UTC), value)

    return convert


def _zoned(unit: str) -> Convert:
    def convert(value: str) -> Any:
        moment, _, zone = value.rpartition(" ")
        naive = datetime.fromisoformat(_micros(moment))
        if zone[:1] in "+-":
            aware = datetime.fromisoformat(f"{naive.isoformat()}{zone}")
        else:
            aware = naive.replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
        return aware.astimezone(UTC) if unit == "us" else _nanos(aware, moment)

    return convert


def _interval(value: str) -> timedelta | None:
    match = _INTERVAL.match(value)
    if match is None:
        return None
    length = timedelta(
        days=int(match["days"]),
        hours=int(match["h"]),
        minutes=int(match["m"]),
        seconds=int(match["s"]),
        milliseconds=int(match["ms"] or 0),
    )
    return -length if match["sign"] else length


def _micros(value: str) -> str:
    """The same without digits below a microsecond: Python's times have none."""
    whole, dot, fraction = value.partition(".")
    return f"{whole}.{fraction[:_MICROS].ljust(_MICROS, '0')}" if dot else value


def _nanos(moment: datetime, value: str) -> int:
    digits = value.partition(".")[2][:9].ljust(9, "0")
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 10**9 + int(digits)
