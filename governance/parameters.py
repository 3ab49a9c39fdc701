"""Values for ``:name`` in a statement, as typed literals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol

from contracts.errors import UsageError

_LEXEMES = re.compile(
    r"""(?P<skipped>'(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) | --[^\n]* | /\*.*?(?:\*/|\Z))
      | (?<![\w:'")\]]) : (?P<name>[A-Za-z_]\w*)""",
    re.DOTALL | re.VERBOSE,
)
_DECIMAL = re.compile(r"[+-]?\d{1,38}(\.\d{0,38})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_BIGINT = range(-(2**63), 2**63)


class ParameterType(StrEnum):
    """Types that a parameter's value may have, as Trino calls them."""

    VARCHAR = "varchar"
    BIGINT = "bigint"
    DOUBLE = "double"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIMESTAMP_TZ = "timestamp with time zone"


class Parameter(Protocol):
    """A value for ``:name``; a list stands for its members with commas between, None is NULL."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> ParameterType: ...

    @property
    def value(self) -> Any: ...


@dataclass(frozen=True)
class _Span:
    """A place in the text that was sent, and the one in the statement that it came from."""

    sent_at: int
    sent_length: int
    given_at: int
    given_length: int


@dataclass(frozen=True)
class Rendered:
    """A statement with its values in it, and the way back from a position in it."""

    text: str
    given: str
    spans: tuple[_Span, ...]
    prefix: int = 0

    def with_prefix(self, prefix: str) -> Rendered:
        """The same behind something of one line, such as ``EXPLAIN``."""
        return Rendered(prefix + self.text, self.given, self.spans, self.prefix + len(prefix))

    def position(self, line: int | None, column: int | None) -> tuple[int | None, int | None]:
        """Line and column of the given statement for those of what was sent."""
        if line is None or column is None:
            return None, None
        at = max(0, _offset(self.text, line, column) - self.prefix)
        moved = 0
        for span in self.spans:
            if at < span.sent_at:
                break
            if at < span.sent_at + span.sent_length:
                return _position(self.given, span.given_at)
            moved = span.given_at + span.given_length - span.sent_at - span.sent_length
        return _position(self.given, at + moved)


def names(statement: str) -> list[str]:
    """Parameters that a statement names, each once, in order."""
    found = (match["name"] for match in _LEXEMES.finditer(statement) if match["name"])
    return list(dict.fromkeys(found))


def render(statement: str, parameters: Sequence[Parameter]) -> Rendered:
    """Puts values in the place of ``:name``, outside of strings, quoted names and comments.

    Raises:
        UsageError: a parameter has no value, or one that is not of its type.
    """
    values = {parameter.name: parameter for parameter in parameters}
    parts: list[str] = []
    spans: list[_Span] = []
    done = sent = 0
    for match in _LEXEMES.finditer(statement):
        name = match["name"]
        if name is None:
            continue
        if name not in values:
            raise UsageError(
                f"parameter :{name} has no value", value=name, permitted=", ".join(sorted(values)) or None
            )
        value = literal(values[name])
        parts += [statement[done : match.start()], value]
        sent += match.start() - done
        spans.append(_Span(sent, len(value), match.start(), match.end() - match.start()))
        sent += len(value)
        done = match.end()
    return Rendered("".join([*parts, statement[done:]]), statement, tuple(spans))


def literal(parameter: Parameter) -> str:
    """A parameter's value as SQL. Raises UsageError."""
    if isinstance(parameter.value, list):
        if not parameter.value:
            return f"CAST(NULL AS {parameter.type.value})"
        return ", ".join(_literal(parameter.name, parameter.type, value) for value in parameter.value)
    return _literal(parameter.name, parameter.type, parameter.value)


def _literal(name: str, kind: ParameterType, value: Any) -> str:
    if value is None:
        return f"CAST(NULL AS {kind.value})"
    made = _MAKERS[kind](value)
    if made is None:
        raise UsageError(
            f"parameter :{name} is not of type {kind.value}", value=value, permitted=_EXAMPLES[kind]
        )
    return made


def _integer(value: Any) -> str | None:
    if isinstance(value, bool) or not _INTEGER.fullmatch(str(value).strip()):
        return None
    number = int(str(value))
    return f"BIGINT '{number}'" if number in _BIGINT else None


def _double(value: Any) -> str | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except ValueError:
        return None
    return f"DOUBLE '{number!r}'" if math.isfinite(number) else None


def _decimal(value: Any) -> str | None:
    plain = "" if isinstance(value, bool) else str(value).strip()
    return f"DECIMAL '{plain}'" if _DECIMAL.fullmatch(plain) else None


def _boolean(value: Any) -> str | None:
    return {"true": "TRUE", "false": "FALSE"}.get(str(value).strip().lower())


def _date(value: Any) -> str | None:
    try:
        return f"DATE '{date.fromisoformat(str(value).strip()).isoformat()}'"
    except ValueError:
        return None


def _timestamp(value: Any) -> str | None:
    moment = _moment(value)
    if moment is None or moment.tzinfo is not None:
        return None
    return f"TIMESTAMP '{moment.isoformat(sep=' ', timespec='microseconds')}'"


def _timestamp_tz(value: Any) -> str | None:
    moment = _moment(value)
    if moment is None or moment.tzinfo is None:
        return None
    plain, zone = moment.replace(tzinfo=None), moment.strftime("%z")
    return f"TIMESTAMP '{plain.isoformat(sep=' ', timespec='microseconds')} {zone[:3]}:{zone[3:5]}'"


def _moment(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None


_MAKERS: Mapping[ParameterType, Callable[[Any], str | None]] = {
    ParameterType.VARCHAR: lambda value: "'" + str(value).replace("'", "''") + "'",
    ParameterType.BIGINT: _integer,
    ParameterType.DOUBLE: _double,
    ParameterType.DECIMAL: _decimal,
    ParameterType.BOOLEAN: _boolean,
    ParameterType.DATE: _date,
    ParameterType.TIMESTAMP: _timestamp,
    ParameterType.TIMESTAMP_TZ: _timestamp_tz,
}
_EXAMPLES: Mapping[ParameterType, str] = {
    ParameterType.VARCHAR: "text",
    ParameterType.BIGINT: "a whole number of 64 bits",
    ParameterType.DOUBLE: "a number such as 1.5 or 1e9",
    ParameterType.DECIMAL: "a number such as 12.50",
    ParameterType.BOOLEAN: "true or false",
    ParameterType.DATE: "2026-01-31",
    ParameterType.TIMESTAMP: "2026-01-31T17:00:00",
    ParameterType.TIMESTAMP_TZ: "2026-01-31T17:00:00+01:00",
}


def _offset(whole: str, line: int, column: int) -> int:
    lines = whole.split("\n")
    before = sum(len(text) + 1 for text in lines[: line - 1])
    return before + column - 1


def _position(whole: str, offset: int) -> tuple[int, int]:
    before = whole[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
