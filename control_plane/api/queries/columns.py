"""Trino's types and values as browsers can have them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from control_plane.api.schemas.common import Column, ColumnKind

_SAFE_INTEGER = 2**53 - 1
"""Beyond it JavaScript's numbers skip some."""

_KINDS = {
    "tinyint": ColumnKind.NUMBER,
    "smallint": ColumnKind.NUMBER,
    "integer": ColumnKind.NUMBER,
    "bigint": ColumnKind.NUMBER,
    "real": ColumnKind.NUMBER,
    "double": ColumnKind.NUMBER,
    "decimal": ColumnKind.NUMBER,
    "varchar": ColumnKind.TEXT,
    "char": ColumnKind.TEXT,
    "uuid": ColumnKind.TEXT,
    "ipaddress": ColumnKind.TEXT,
    "boolean": ColumnKind.BOOLEAN,
    "date": ColumnKind.DATE,
    "time": ColumnKind.TIME,
    "timestamp": ColumnKind.TIMESTAMP,
    "interval": ColumnKind.INTERVAL,
    "array": ColumnKind.ARRAY,
    "map": ColumnKind.MAP,
    "row": ColumnKind.ROW,
    "json": ColumnKind.JSON,
    "varbinary": ColumnKind.BINARY,
}
_WORD = re.compile(r"[a-z]+")
_NESTED = (ColumnKind.ARRAY, ColumnKind.MAP, ColumnKind.ROW)


def column(name: str, trino_type: str) -> Column:
    """A column of Trino's."""
    word = _WORD.match(trino_type.lower())
    kind = _KINDS.get(word.group(), ColumnKind.OTHER) if word else ColumnKind.OTHER
    return Column(name=name, type=trino_type, kind=kind)


def safe_rows(columns: Sequence[Column]) -> Callable[[list[list[Any]]], None]:
    """Makes whole numbers that JavaScript would change text, in place; costs nothing where no column can
    have them."""
    plain = [i for i, c in enumerate(columns) if c.type.lower() == "bigint"]
    nested = [i for i, c in enumerate(columns) if c.kind in _NESTED and "bigint" in c.type.lower()]

    def make_safe(rows: list[list[Any]]) -> None:
        for index in plain:
            if any(
                row[index] is not None and not -_SAFE_INTEGER <= row[index] <= _SAFE_INTEGER for row in rows
            ):
                for row in rows:
                    row[index] = _safe(row[index])
        for index in nested:
            for row in rows:
                row[index] = _safe(row[index])

    return make_safe


def _safe(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _SAFE_INTEGER:
        return str(value)
    if isinstance(value, list):
        return [_safe(item) for item in value]
    if isinstance(value, dict):
        return {key: _safe(item) for key, item in value.items()}
    return value
