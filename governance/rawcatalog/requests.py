"""What raw engines may ask of the catalog, told from a request alone. Pure.

Paths and bodies: https://iceberg.apache.org/rest-catalog-spec/. What is not listed here is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from contracts.errors import LabError, UsageError

LEVEL_SEPARATOR = "\x1f"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .-]*")
"""Nessie reads a branch after ``@`` and a commit after ``#``: such names, and paths, are not passed on."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
PLACE_PROPERTIES = frozenset(
    {
        "location",
        "write.data.path",
        "write.folder-storage.path",
        "write.location-provider.impl",
        "write.metadata.path",
        "write.object-storage.enabled",
        "write.object-storage.path",
    }
)
"""Table properties that say where files lie: the catalog opens those places with the table's credentials."""
_FREE_TEXT = frozenset({"comment"})

DATA_UPDATES = frozenset(
    {
        "add-snapshot",
        "remove-partition-statistics",
        "remove-snapshot-ref",
        "remove-snapshots",
        "remove-statistics",
        "set-partition-statistics",
        "set-snapshot-ref",
        "set-statistics",
    }
)
"""Updates of a commit that change rows, or what is known of them."""
LAYOUT_UPDATES = frozenset(
    {
        "add-schema",
        "add-sort-order",
        "add-spec",
        "assign-uuid",
        "remove-partition-specs",
        "remove-properties",
        "remove-schemas",
        "set-current-schema",
        "set-default-sort-order",
        "set-default-spec",
        "set-location",
        "set-properties",
        "upgrade-format-version",
    }
)
"""Updates of a commit that change what a table is like."""


class RefusedError(LabError):
    """A raw engine may not ask this (403)."""


class Action(StrEnum):
    """What a request is, by method and path."""

    CONFIG = "config"
    LIST_NAMESPACES = "list namespaces"
    LOAD_NAMESPACE = "load a namespace"
    LIST_TABLES = "list tables"
    CREATE_TABLE = "create a table"
    LOAD_TABLE = "load a table"
    COMMIT = "commit to a table"
    DROP_TABLE = "drop a table"
    RENAME_TABLE = "rename a table"
    COMMIT_SEVERAL = "commit to several tables"
    REPORT_METRICS = "report metrics"
    LIST_VIEWS = "list views"
    LOAD_VIEW = "load a view"


@dataclass(frozen=True, kw_only=True)
class Table:
    """``namespace`` in levels, and a name."""

    namespace: tuple[str, ...]
    name: str

    @property
    def dotted(self) -> str:
        return ".".join((*self.namespace, self.name))

    @property
    def namespace_name(self) -> str:
        return ".".join(self.namespace)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request's action and what its path names."""

    action: Action
    namespace: tuple[str, ...] = ()
    table: Table | None = None


_ROUTES: Sequence[tuple[str, str, Action]] = (
    ("GET", "namespaces", Action.LIST_NAMESPACES),
    ("GET", "namespaces/{n}", Action.LOAD_NAMESPACE),
    ("HEAD", "namespaces/{n}", Action.LOAD_NAMESPACE),
    ("GET", "namespaces/{n}/tables", Action.LIST_TABLES),
    ("POST", "namespaces/{n}/tables", Action.CREATE_TABLE),
    ("GET", "namespaces/{n}/tables/{t}", Action.LOAD_TABLE),
    ("HEAD", "namespaces/{n}/tables/{t}", Action.LOAD_TABLE),
    ("POST", "namespaces/{n}/tables/{t}", Action.COMMIT),
    ("DELETE", "namespaces/{n}/tables/{t}", Action.DROP_TABLE),
    ("POST", "namespaces/{n}/tables/{t}/metrics", Action.REPORT_METRICS),
    ("GET", "namespaces/{n}/views", Action.LIST_VIEWS),
    ("GET", "namespaces/{n}/views/{t}", Action.LOAD_VIEW),
    ("HEAD", "namespaces/{n}/views/{t}", Action.LOAD_VIEW),
    ("POST", "tables/rename", Action.RENAME_TABLE),
    ("POST", "transactions/commit", Action.COMMIT_SEVERAL),
)


def read_path(method: str, raw_path: str, prefix: str) -> Asked:
    """What ``method`` on ``/v1/…`` (still percent-encoded) asks; ``prefix`` follows ``/v1``.

    Raises:
        RefusedError: it is not among what raw engines may ask, or a name is not one to pass on.
    """
    segments = [unquote(part) for part in raw_path.strip("/").split("/")]
    if (method, segments) == ("GET", ["v1", "config"]):
        return Asked(action=Action.CONFIG)
    if segments[:2] == ["v1", prefix]:
        for wanted, pattern, action in _ROUTES:
            names = _match(segments[2:], pattern.split("/"))
            if method == wanted and names is not None:
                namespace = read_namespace(names["n"].split(LEVEL_SEPARATOR)) if "n" in names else ()
                table = Table(namespace=namespace, name=_named(names["t"])) if "t" in names else None
                return Asked(action=action, namespace=namespace, table=table)
    raise RefusedError(
        "this is not open to raw engines",
        value=f"{method} /{'/'.join(segments)}",
        permitted="tables: list, create, load, commit, drop, rename",
    )


def read_namespace(levels: Any) -> tuple[str, ...]:
    """A namespace's levels. Raises RefusedError for a name that is not one to pass on."""
    if not isinstance(levels, list) or not levels:
        raise RefusedError("a namespace has at least one level", value=levels)
    return tuple(_named(level) for level in levels)


def read_identifier(document: Any) -> Table:
    """A table identifier of a body. Raises RefusedError, UsageError."""
    if not isinstance(document, Mapping):
        raise UsageError("a table identifier is an object", value=document)
    return Table(namespace=read_namespace(document.get("namespace")), name=_named(document.get("name")))


def _match(segments: Sequence[str], pattern: Sequence[str]) -> dict[str, str] | None:
    if len(segments) != len(pattern):
        return None
    names = {}
    for segment, part in zip(segments, pattern, strict=True):
        if part.startswith("{"):
            names[part.strip("{}")] = segment
        elif segment != part:
            return None
    return names


def _named(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name:
        raise RefusedError(
            "this name is not passed on",
            value=name,
            permitted="letters, digits, spaces, '_', '-' and '.'",
        )
    return name


def check_properties(properties: Any) -> None:
    """Raises RefusedError when properties of a table name a place for its files."""
    if not isinstance(properties or {}, Mapping):
        raise UsageError("properties are an object", value=properties)
    for key, value in (properties or {}).items():
        if key in PLACE_PROPERTIES or (key not in _FREE_TEXT and "://" in str(value)):
            raise RefusedError(
                "where a table's files lie is not a raw engine's to choose",
                value=f"{key}={value}",
                permitted="properties that name no place",
            )


def check_location(location: Any, table: Table, warehouse: str) -> None:
    """Raises RefusedError unless ``location`` is one that the catalog itself gives a table of this name."""
    expected = f"{warehouse.rstrip('/')}/{'/'.join(table.namespace)}/{table.name}_"
    given = str(location or "")
    if not given.startswith(expected) or not _UUID.fullmatch(given.removeprefix(expected)):
        raise RefusedError(
            "where a table's files lie is not a raw engine's to choose",
            value=location,
            permitted=f"{expected}<the catalog's own id>, or no location",
        )


def check_loaded(metadata: Mapping[str, Any], table: Table, warehouse: str) -> None:
    """Raises RefusedError when a table's files lie elsewhere than in its namespace's folder: the credentials
    that come with it would open that place."""
    folder = _folder(table, warehouse)
    location = str(metadata.get("location") or "")
    if not location.startswith(folder) or "/../" in location:
        raise RefusedError(
            f"the files of {table.dotted} lie outside of its namespace's folder",
            value=location,
            permitted=f"tables below {folder}; use Trino for this one",
        )
    check_properties(metadata.get("properties"))


def updates_of(body: Any) -> list[dict[str, Any]]:
    """The updates of a commit, each of a known kind. Raises RefusedError, UsageError."""
    updates = body.get("updates") if isinstance(body, Mapping) else None
    if not isinstance(updates, list) or not all(isinstance(update, dict) for update in updates):
        raise UsageError("a commit has a list of updates", value=updates)
    for update in updates:
        if update.get("action") not in DATA_UPDATES | LAYOUT_UPDATES:
            raise RefusedError(
                "this update is not open to raw engines",
                value=update.get("action"),
                permitted=", ".join(sorted(DATA_UPDATES | LAYOUT_UPDATES)),
            )
    return updates


def creates(body: Mapping[str, Any]) -> bool:
    """Whether a commit requires that there is no such table yet."""
    required = body.get("requirements") or ()
    return any(isinstance(one, Mapping) and one.get("type") == "assert-create" for one in required)


def check_updates(updates: Sequence[Mapping[str, Any]], table: Table, warehouse: str, *, new: bool) -> None:
    """Raises RefusedError for an update that chooses a place. A new table's location comes from the
    catalog, which staged it, and is sent back with the first commit."""
    for update in updates:
        if update["action"] == "set-properties":
            check_properties(update.get("updates", update.get("updated")))
        if update["action"] == "set-location":
            if not new:
                raise RefusedError(
                    "where a table's files lie is not a raw engine's to choose", value=update.get("location")
                )
            check_location(update.get("location"), table, warehouse)
        for place in _places(update):
            folder = _folder(table, warehouse)
            if not str(place).startswith(folder) or "/../" in str(place):
                raise RefusedError(
                    "a table's metadata lies in the folder of its namespace",
                    value=place,
                    permitted=f"files below {folder}",
                )


def _places(update: Mapping[str, Any]) -> Iterator[Any]:
    """Files that an update brings into the table."""
    snapshot, statistics = update.get("snapshot"), update.get("statistics")
    if isinstance(snapshot, Mapping):
        if snapshot.get("manifests"):
            yield snapshot["manifests"]
        yield snapshot.get("manifest-list")
    for found in (statistics, update.get("partition-statistics")):
        if isinstance(found, Mapping):
            yield found.get("statistics-path")


def _folder(table: Table, warehouse: str) -> str:
    return f"{warehouse.rstrip('/')}/{'/'.join(table.namespace)}/"


def check_names_kept(updates: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any]) -> None:
    """Raises RefusedError when a commit gives a column of the current schema another name: rules are about
    names and would be left behind."""
    current = metadata.get("current-schema-id")
    schemas = {schema.get("schema-id"): schema for schema in metadata.get("schemas") or ()}
    before = dict(_names(schemas.get(current) or {}))
    added = [update.get("schema") or {} for update in updates if update["action"] == "add-schema"]
    chosen = [u.get("schema-id") for u in updates if u["action"] == "set-current-schema"]
    wanted = added + [schemas[number] for number in chosen if number in schemas]
    for schema in wanted:
        for number, name in _names(schema):
            if before.get(number, name) != name:
                raise RefusedError(
                    "a column of a table that a rule is about keeps its name",
                    value=f"{before[number]} as {name}",
                    permitted="the same after the rule was changed",
                )


def _names(kind: Any, above: str = "") -> Iterator[tuple[Any, str]]:
    """Field ids and dotted names of a schema or type."""
    if not isinstance(kind, Mapping):
        return
    for field in kind.get("fields") or ():
        name = f"{above}{field.get('name')}"
        yield field.get("id"), name
        yield from _names(field.get("type"), f"{name}.")
    for part in ("element", "key", "value"):
        if f"{part}-id" in kind:
            yield kind[f"{part}-id"], f"{above}{part}"
            yield from _names(kind.get(part), f"{above}{part}.")
