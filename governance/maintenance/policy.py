"""How tables are maintained: policies by table, namespace and for all, as values.

A policy document is ``{"policies": [...]}``, one item per object (``*``, ``ns.*`` or ``ns.table``); an item
says only what differs from the wider one. ``policies/data/maintenance/tables.yaml`` explains every field.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from contracts.errors import UsageError, unknown_name

EVERYTHING = "*"
"""The object of the policy for all tables."""

DAY_S = 86400
_OBJECT = re.compile(r"\*|[^.*\s\"]+(\.[^.*\s\"]+)*\.([^.*\s\"]+|\*)")
_DURATION = re.compile(r"(\d{1,9})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": DAY_S}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What no policy can go below, in seconds.

    ``snapshots_s``: since a snapshot stopped being the current one; ``orphans_s``: since a file was written.
    ``margin_s``: kept on top, for the time between reading a table's state and Trino's start of the
    statement.
    """

    snapshots_s: int = 7 * DAY_S
    orphans_s: int = 7 * DAY_S
    margin_s: int = 60


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How one table is maintained. Durations are in seconds, sizes in MiB."""

    enabled: bool = True
    every: int = DAY_S
    compact: bool = True
    small_file_mib: int = 64
    min_files: int = 8
    rewrite_manifests: bool = True
    min_manifests: int = 8
    expire_snapshots: bool = True
    keep_snapshots: int = 7 * DAY_S
    keep_last: int = 1
    remove_orphans: bool = True
    keep_orphans: int = 7 * DAY_S
    orphans_every: int = 7 * DAY_S

    def as_document(self) -> dict[str, Any]:
        """Field → value as a policy file has it."""
        return {f.name: _written(f.name, getattr(self, f.name)) for f in fields(self)}


def _flag(value: Any) -> bool:
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _count(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def _duration(low_s: int, high_s: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = int(match[1]) * _UNITS_S[match[2]] if match else -1
        if not low_s <= seconds <= high_s:
            raise ValueError(
                f"a duration from {duration_text(low_s)} to {duration_text(high_s)}, like 12h or 7d"
            )
        return seconds

    return parse


_LONGEST_S = 3650 * DAY_S
_DURATIONS = ("every", "keep_snapshots", "keep_orphans", "orphans_every")
_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "enabled": _flag,
    "every": _duration(900, 365 * DAY_S),
    "compact": _flag,
    "small_file_mib": _count(1, 1024),
    "min_files": _count(2, 1_000_000),
    "rewrite_manifests": _flag,
    "min_manifests": _count(2, 1_000_000),
    "expire_snapshots": _flag,
    "keep_snapshots": _duration(0, _LONGEST_S),
    "keep_last": _count(1, 1_000_000),
    "remove_orphans": _flag,
    "keep_orphans": _duration(0, _LONGEST_S),
    "orphans_every": _duration(900, 365 * DAY_S),
}
FIELD_NAMES = tuple(_FIELDS)


def duration_text(seconds: int) -> str:
    """``7d``, ``90m``: in the largest unit that says it exactly."""
    for unit, size_s in (("d", DAY_S), ("h", 3600), ("m", 60)):
        if seconds and seconds % size_s == 0:
            return f"{seconds // size_s}{unit}"
    return f"{seconds}s"


@dataclass(frozen=True, kw_only=True)
class Policies:
    """All policies: object → what its item says."""

    items: Mapping[str, Mapping[str, Any]]

    @classmethod
    def from_document(cls, document: Mapping[str, Any], limits: Limits | None = None) -> Policies:
        """Checks a document; with ``limits`` retention below them is refused, too.

        Raises:
            UsageError: an unknown key (nearest suggested), a malformed value or object, or too short a
                retention.
        """
        if not isinstance(document, Mapping) or set(document) != {"policies"}:
            raise UsageError("a maintenance document has one key", permitted="policies: [...]")
        entries = document["policies"]
        if not isinstance(entries, list | tuple):
            raise UsageError("'policies' must be a list", value=entries, permitted="policies: [...]")
        items: dict[str, Mapping[str, Any]] = {}
        for entry in entries:
            name, item = _item(entry)
            if name in items:
                raise UsageError("an object has two policies", value=name, permitted="one item an object")
            if limits is not None:
                _require_limits(name, item, limits)
            items[name] = item
        return cls(items=dict(sorted(items.items())))

    def as_document(self) -> dict[str, Any]:
        """The canonical form, by object."""
        return {
            "policies": [
                {"object": name, **{key: _written(key, value) for key, value in sorted(item.items())}}
                for name, item in sorted(self.items.items())
            ]
        }

    def on(self, table: str) -> Policy:
        """What holds for ``ns.table``: the table's own item over its namespace's over the one for all."""
        found: dict[str, Any] = {}
        for name in (EVERYTHING, f"{table.rpartition('.')[0]}.*", table):
            found |= self.items.get(name, {})
        return Policy(**found)

    def changed(self, name: str, values: Mapping[str, Any], unset: tuple[str, ...] = ()) -> Policies:
        """With fields of one object set and unset; ``unset`` of ``*`` takes the whole item away.

        Raises:
            UsageError: as :meth:`from_document`, or there is nothing to unset.
        """
        item = dict(self.items.get(name, {}))
        for key in unset:
            if key == EVERYTHING:
                item = {}
            elif key not in _FIELDS:
                raise unknown_name("field of a policy", key, FIELD_NAMES)
            else:
                item.pop(key, None)
        entry = {key: _written(key, value) for key, value in item.items()} | dict(values)
        others = [
            {"object": other, **_document_of(self.items[other])} for other in self.items if other != name
        ]
        mine = [{"object": name, **entry}] if entry else []
        return Policies.from_document({"policies": [*others, *mine]})


def read_policies_file(folder: Path) -> dict[str, Any]:
    """``tables.yaml`` of ``policies/data/maintenance`` as a document. Raises UsageError."""
    path = folder / "tables.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path.name} can't be read: {error.strerror}", value=str(path)) from None
    except yaml.YAMLError as error:
        raise UsageError(f"{path.name} is not YAML", value=str(path), permitted=str(error)) from None
    return Policies.from_document(content or {}).as_document()


def require_limits(policies: Policies, limits: Limits) -> None:
    """Raises UsageError when a policy keeps less than the limits."""
    for name, item in policies.items.items():
        _require_limits(name, item, limits)


def _require_limits(name: str, item: Mapping[str, Any], limits: Limits) -> None:
    for key, floor_s in (("keep_snapshots", limits.snapshots_s), ("keep_orphans", limits.orphans_s)):
        if key in item and item[key] < floor_s:
            raise UsageError(
                f"{key} of {name} is shorter than this lab permits anybody",
                value=duration_text(item[key]),
                permitted=f"{duration_text(floor_s)} or longer (the setting maintenanceMinRetentionDays)",
            )


def _item(entry: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("object"), str):
        raise UsageError("a policy names its object", value=entry, permitted="object: '*', ns.* or ns.table")
    name = entry["object"].lower()
    if not _OBJECT.fullmatch(name):
        raise UsageError("this is no object of a policy", value=name, permitted="*, ns.* or ns.table")
    item: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "object":
            continue
        if key not in _FIELDS:
            raise unknown_name("field of a policy", str(key), FIELD_NAMES)
        try:
            item[key] = _FIELDS[key](value)
        except ValueError as error:
            raise UsageError(f"{key} of {name} is not valid", value=value, permitted=str(error)) from None
    return name, item


def _document_of(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _written(key, value) for key, value in item.items()}


def _written(key: str, value: Any) -> Any:
    return duration_text(value) if key in _DURATIONS else value
