"""How one property is checked, compared, and written in a REST representation.

A kind is stateless. ``same`` decides whether the actual value already is what was declared: lists that
are sets compare without order, durations by seconds, maps by the keys that were declared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from plugins.values import Unknown, has_unknown

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_EMPTY: tuple[Any, ...] = (None, "", [], {}, False, 0)
MULTI_SEPARATOR = "##"
"""Joins the values of one attribute in a text, as in the official provider."""


class Kind:
    """A text property; the base of the other kinds."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "string"}
    is_map: ClassVar[bool] = False
    is_part: ClassVar[bool] = False
    """The value names members of a set that others fill too."""

    def check(self, value: Any) -> Any:
        """``value`` in canonical form. Raises ValueError that says what is permitted."""
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise ValueError("a text")

    def write(self, value: Any, current: Any, previous: Any) -> Any:
        """The representation of ``value``, given the current one and the previously declared value."""
        return value

    def read(self, raw: Any) -> Any:
        """The property's value out of a representation."""
        return raw

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        """Whether ``actual`` is what ``declared`` asks for, ``previous`` being what was declared before."""
        if has_unknown(declared):
            return False
        if declared in _EMPTY and actual in _EMPTY:
            return True
        return bool(declared == actual)

    def shown(self, declared: Any, actual: Any) -> Any:
        """``actual`` in the form it was declared when both mean the same."""
        return declared if declared is not None and self.same(declared, actual) else actual


class Bool(Kind):
    """A boolean."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "boolean"}

    def check(self, value: Any) -> Any:
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise ValueError("true or false")


class Int(Kind):
    """A whole number."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "integer"}

    def check(self, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
            return int(value)
        raise ValueError("a whole number")


class TextBool(Bool):
    """A boolean kept as the texts ``true`` and ``false``."""

    def write(self, value: Any, current: Any, previous: Any) -> Any:
        return "true" if value else "false"

    def read(self, raw: Any) -> Any:
        return str(raw).lower() == "true"


class TextInt(Int):
    """A whole number kept as text; 0 is the absent text."""

    def write(self, value: Any, current: Any, previous: Any) -> Any:
        return str(value) if value else ""

    def read(self, raw: Any) -> Any:
        return int(raw) if isinstance(raw, str | int) and str(raw).lstrip("-").isdigit() else None


class Duration(Kind):
    """A duration such as ``1h30m`` kept as seconds."""

    def check(self, value: Any) -> Any:
        text = super().check(value)
        seconds(text)
        return text

    def write(self, value: Any, current: Any, previous: Any) -> Any:
        return seconds(value)

    def read(self, raw: Any) -> Any:
        if not isinstance(raw, int):
            return None
        hours, rest = divmod(raw, 3600)
        minutes, rest_s = divmod(rest, 60)
        if hours:
            return f"{hours}h{minutes}m{rest_s}s"
        return f"{minutes}m{rest_s}s" if minutes else f"{rest_s}s"

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        if has_unknown(declared) or not declared or not actual:
            return super().same(declared, actual)
        return seconds(declared) == seconds(actual)


def seconds(text: str) -> int:
    """Seconds of ``1h30m10s`` or of a bare number. Raises ValueError on anything else."""
    if text.isdigit():
        return int(text)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError("a duration such as 90s, 30m or 1h30m")
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest


class TextSet(Kind):
    """A list of texts whose order means nothing."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "array", "items": {"type": "string"}}

    def check(self, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(item, str | Unknown) for item in value):
            return value
        raise ValueError("a list of texts")

    def read(self, raw: Any) -> Any:
        return sorted(raw) if raw else []

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        if has_unknown(declared):
            return False
        return set(declared or ()) == set(actual or ())


class PartSet(TextSet):
    """Members that must be in a set; what others put there is kept and shown."""

    is_part = True

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        if has_unknown(declared):
            return False
        wanted, found = set(declared or ()), set(actual or ())
        dropped = set(previous or ()) - wanted
        return wanted <= found and not dropped & found

    def shown(self, declared: Any, actual: Any) -> Any:
        ordered = [item for item in declared or [] if item in (actual or [])]
        return ordered + sorted(set(actual or ()) - set(ordered))


class JoinedSet(TextSet):
    """A set of texts kept in one text."""

    def write(self, value: Any, current: Any, previous: Any) -> Any:
        return MULTI_SEPARATOR.join(value)

    def read(self, raw: Any) -> Any:
        return sorted(part for part in str(raw or "").split(MULTI_SEPARATOR) if part)


class TextMap(Kind):
    """A map of texts. Only declared keys are owned: others are kept as they are."""

    schema: ClassVar[Mapping[str, Any]] = {"type": "object", "additionalProperties": {"type": "string"}}
    is_map = True

    def check(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("a map of texts")
        plain: dict[str, Any] = {}
        for key, inner in value.items():
            if isinstance(inner, bool):
                plain[key] = "true" if inner else "false"
            elif isinstance(inner, Unknown):
                plain[key] = inner
            else:
                plain[key] = super().check(inner)
        return plain

    def write_one(self, value: str) -> Any:
        """The representation of one entry."""
        return value

    def read_one(self, raw: Any) -> str:
        """One entry out of a representation."""
        return str(raw)

    def write(self, value: Any, current: Any, previous: Any) -> Any:
        merged = dict(current or {})
        for key in (previous or {}).keys() - value.keys():
            merged.pop(key, None)
        merged.update({key: self.write_one(inner) for key, inner in value.items()})
        return merged

    def read(self, raw: Any) -> Any:
        return {key: self.read_one(inner) for key, inner in (raw or {}).items() if inner is not None}

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        if has_unknown(declared):
            return False
        declared, actual = declared or {}, actual or {}
        dropped = (previous or {}).keys() - declared.keys()
        return not (dropped & actual.keys()) and all(
            key in actual and self.same_one(inner, actual[key]) for key, inner in declared.items()
        )

    def same_one(self, declared: str, actual: str) -> bool:
        """Whether one entry is what was declared."""
        return declared == actual

    def shown(self, declared: Any, actual: Any) -> Any:
        forms = declared or {}
        return {
            key: forms[key] if key in forms and self.same_one(forms[key], inner) else inner
            for key, inner in (actual or {}).items()
        }


class DeclaredMap(TextMap):
    """A map inside a larger one that other properties and the server write too: shows declared keys only."""

    def shown(self, declared: Any, actual: Any) -> Any:
        return {key: inner for key, inner in (actual or {}).items() if key in (declared or {})}


class MultiMap(TextMap):
    """A map of lists of texts, each list written as one text joined by ``##``."""

    def write_one(self, value: str) -> Any:
        return value.split(MULTI_SEPARATOR)

    def read_one(self, raw: Any) -> str:
        return MULTI_SEPARATOR.join(raw) if isinstance(raw, list) else str(raw)

    def same_one(self, declared: str, actual: str) -> bool:
        return sorted(declared.split(MULTI_SEPARATOR)) == sorted(actual.split(MULTI_SEPARATOR))


class Json(Kind):
    """A nested value that the resource type itself reads and writes; only declared members are owned."""

    schema: ClassVar[Mapping[str, Any]] = {"$ref": "pulumi.json#/Any"}

    def check(self, value: Any) -> Any:
        return value

    def same(self, declared: Any, actual: Any, previous: Any = None) -> bool:
        return not has_unknown(declared) and _holds(actual, declared)


def _holds(actual: Any, declared: Any) -> bool:
    """Whether every declared member of a nested value is in ``actual``, lists without their order."""
    if declared in _EMPTY and actual in _EMPTY:
        return True
    if isinstance(declared, Mapping):
        return isinstance(actual, Mapping) and all(
            _holds(actual.get(key), inner) for key, inner in declared.items()
        )
    if isinstance(declared, list):
        if not isinstance(actual, list) or len(actual) != len(declared):
            return False
        if all(isinstance(item, Mapping) and "name" in item for item in [*declared, *actual]):
            named = {item["name"]: item for item in actual}
            return all(_holds(named.get(item["name"]), item) for item in declared)
        return sorted(actual, key=repr) == sorted(declared, key=repr)
    return bool(declared == actual)


TEXT, BOOL, INT = Kind(), Bool(), Int()
TEXT_BOOL, TEXT_INT, DURATION = TextBool(), TextInt(), Duration()
TEXT_SET, PART_SET, JOINED_SET = TextSet(), PartSet(), JoinedSet()
TEXT_MAP, MULTI_MAP, DECLARED_MAP, JSON = TextMap(), MultiMap(), DeclaredMap(), Json()
