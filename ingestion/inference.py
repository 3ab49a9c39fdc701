"""Which type a column of text has, by a bounded sample; afterwards loading holds it to that strictly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.types import IcebergType

from contracts.errors import UsageError, unknown_name
from ingestion.conversion import convert
from ingestion.loading import Column

TIMESTAMP = pa.timestamp("us")
TIMESTAMPTZ = pa.timestamp("us", "UTC")

# What must match as text before a cast is tried: 007 is a number to a cast, and an identifier to people.
_WHOLE = r"^\s*-?(0|[1-9][0-9]*)\s*$"
_NUMBER = r"^\s*-?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*$"
_BOOLEAN = r"^\s*(?i:true|false)\s*$"
_DATE = r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}"

_CANDIDATES: tuple[tuple[pa.DataType, str, str], ...] = (
    (pa.int64(), _WHOLE, "whole numbers"),
    (pa.float64(), _NUMBER, "numbers"),
    (pa.bool_(), _BOOLEAN, "booleans"),
    (pa.date32(), _DATE + r"\s*$", "dates"),
    (TIMESTAMP, _DATE, "times"),
    (TIMESTAMPTZ, _DATE, "times with a zone"),
)
TIMES = (pa.date32(), TIMESTAMP, TIMESTAMPTZ)


def infer_text(
    values: pa.ChunkedArray | pa.Array, allowed: tuple[pa.DataType, ...] | None = None
) -> tuple[pa.DataType, str]:
    """The narrowest type all values fit, and a note when there was something to decide.

    Args:
        values: text; nulls and blanks say nothing.
        allowed: the types to consider besides text; all when None.
    """
    blank = pc.equal(pc.utf8_trim_whitespace(values), "")
    given = values.filter(pc.invert(pc.fill_null(blank, True)))
    if len(given) == 0:
        return pa.string(), "no value in the sample"
    matches: list[tuple[str, int, str]] = []
    for kind, pattern, name in _CANDIDATES:
        if allowed is not None and kind not in allowed:
            continue
        matching = pc.match_substring_regex(given, pattern)
        count = pc.sum(matching).as_py()
        if count == len(given):
            try:
                convert(given, kind)
            except pa.ArrowInvalid:
                continue
            return kind, ""
        if count:
            odd = given.filter(pc.invert(matching))[0].as_py()
            matches.append((name, count, odd))
    if not matches:
        return pa.string(), ""
    name, count, odd = max(matches, key=lambda match: match[1])
    return pa.string(), f"mixed: {count} {name} and {len(given) - count} others such as {odd!r}"


def infer_json(values: list[Any]) -> tuple[pa.DataType, str]:
    """The type of one key's values over JSON objects, and a note when there was something to decide."""
    kinds = Counter(_json_kind(value) for value in values if value is not None)
    if not kinds:
        return pa.string(), "no value in the sample"
    if set(kinds) == {"text"}:
        return infer_text(pa.array([value for value in values if value is not None], pa.string()), TIMES)
    if set(kinds) <= {"whole number", "number"}:
        return _json_number(values, kinds)
    if set(kinds) == {"boolean"}:
        return pa.bool_(), ""
    if len(kinds) == 1:
        return _json_nested(values)
    return pa.string(), "mixed: " + ", ".join(f"{count} × {kind}" for kind, count in kinds.most_common())


def combine(columns: list[tuple[pa.DataType, str]]) -> tuple[pa.DataType, str]:
    """One type for the same column of several files."""
    kinds = list(dict.fromkeys(kind for kind, note in columns if note != "no value in the sample"))
    notes = "; ".join(dict.fromkeys(note for _, note in columns if note))
    if not kinds:
        return columns[0][0], notes
    if len(kinds) == 1:
        return kinds[0], "" if notes == "no value in the sample" else notes
    for wide, narrow in ((pa.float64(), pa.int64()), (pa.int64(), pa.int32()), (TIMESTAMP, pa.date32())):
        if set(kinds) == {wide, narrow}:
            return wide, notes
    return pa.string(), "mixed between files: " + ", ".join(str(kind) for kind in kinds)


def override(columns: list[Column], types: Mapping[str, str]) -> list[Column]:
    """Puts the types people asked for (Iceberg's names) in the place of inferred ones.

    Raises:
        UsageError: a column or a type is unknown.
    """
    names = [column.name for column in columns]
    for name in types:
        if name not in names:
            raise unknown_name("column", name, names, next_command="lab load … --inspect")
    return [
        Column(name=c.name, source=c.source, type=arrow_type(types[c.name])) if c.name in types else c
        for c in columns
    ]


def arrow_type(name: str) -> pa.DataType:
    """Arrow's type for a primitive type of Iceberg, such as ``decimal(12,2)``.

    Raises:
        UsageError: there is no such type.
    """
    try:
        kind: Any = TypeAdapter(IcebergType).validate_python(name.strip().lower())
        return plain(schema_to_pyarrow(kind, include_field_ids=False))
    except (ValidationError, ValueError, TypeError, AttributeError):
        raise UsageError(
            f"there is no type {name!r}",
            value=name,
            permitted="boolean, int, long, float, double, decimal(P,S), date, time, timestamp, timestamptz, "
            "string",
        ) from None


def plain(kind: pa.DataType) -> pa.DataType:
    """The type with 32-bit offsets in place of 64-bit ones, as the parsers give it."""
    if kind == pa.large_string():
        return pa.string()
    if kind == pa.large_binary():
        return pa.binary()
    return kind


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "whole number"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list" if isinstance(value, list) else "object"


def _json_number(values: list[Any], kinds: Counter[str]) -> tuple[pa.DataType, str]:
    wide = next((v for v in values if isinstance(v, int) and not -(2**63) <= v < 2**63), None)
    if wide is not None:
        return pa.string(), f"{wide} is too large for a long"
    return (pa.int64() if set(kinds) == {"whole number"} else pa.float64()), ""


def _json_nested(values: list[Any]) -> tuple[pa.DataType, str]:
    try:
        kind = pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.string(), "mixed inside: kept as JSON text"
    if _has_null(kind):
        return pa.string(), "empty inside: kept as JSON text"
    return kind, ""


def _has_null(kind: pa.DataType) -> bool:
    if pa.types.is_null(kind):
        return True
    return any(_has_null(kind.field(i).type) for i in range(kind.num_fields))
