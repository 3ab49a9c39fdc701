"""The catalog's tables and their columns, through the Iceberg REST API, with a cache.

https://iceberg.apache.org/rest-catalog-spec/. A listing gives names only; what a table holds comes from
loading it. Tables are loaded when first seen and then in turn, a few each time, oldest first; whoever
must know now asks for a full or a named refresh.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from governance.reconcile.port import ReconcileError

_LEVEL_SEPARATOR = "\x1f"
_PAGE = 1000
_LOADERS = 4


@dataclass(frozen=True, kw_only=True)
class TableInfo:
    """What is known of one table. ``uuid`` tells a table from its successor of the same name; ``required``
    columns hold no null; ``location`` is the root of its files, ``size_bytes`` that of those of its current
    snapshot, as the snapshot says."""

    uuid: str
    columns: tuple[str, ...]
    required: frozenset[str] = frozenset()
    location: str = ""
    size_bytes: int = 0


class CatalogTables:
    """Names, identities and columns of all tables of one warehouse.

    Args:
        http: a client whose base URL is the catalog's URI and that authenticates by itself.
        warehouse: sent to the catalog's ``/v1/config``, which gives the prefix of all other paths.
        reload_budget: known tables loaded again at each refresh.

    Raises ReconcileError for an answer that is no success, httpx.TransportError without an answer.
    """

    def __init__(self, http: httpx.Client, warehouse: str, *, reload_budget: int = 50) -> None:
        self._http = http
        self._warehouse = warehouse
        self._reload_budget = reload_budget
        self._lock = threading.Lock()
        self._prefix: str | None = None
        self._listed = False
        self._namespace_names: frozenset[str] = frozenset()
        # In order of loading: the first one is the oldest knowledge.
        self._known: dict[str, TableInfo] = {}

    @property
    def listed(self) -> bool:
        """Whether the tables were ever listed."""
        with self._lock:
            return self._listed

    def names(self) -> frozenset[str]:
        """Names of the tables as of the last refresh, without asking the catalog."""
        with self._lock:
            return frozenset(self._known)

    def namespaces(self) -> frozenset[str]:
        """Namespaces as of the last refresh, those without a table included."""
        with self._lock:
            return self._namespace_names

    def columns(self) -> dict[str, tuple[str, ...]]:
        """``ns.table`` → columns of the current schema, as of the last refresh."""
        with self._lock:
            return {name: info.columns for name, info in sorted(self._known.items())}

    def required(self) -> dict[str, frozenset[str]]:
        """``ns.table`` → columns that hold no null, as of the last refresh."""
        with self._lock:
            return {name: info.required for name, info in sorted(self._known.items()) if info.required}

    def known(self) -> Mapping[str, TableInfo]:
        """All that is known, as of the last refresh."""
        with self._lock:
            return dict(self._known)

    def refresh(self, *, everything: bool = False, named: frozenset[str] = frozenset()) -> None:
        """Lists all tables; loads new ones, ``named`` ones, and all or the oldest of the others."""
        namespaces = list(self._namespaces(()))
        listed = {
            ".".join((*namespace, name)): (namespace, name)
            for namespace in namespaces
            for name in self._listing(namespace)
        }
        with self._lock:
            known = [name for name in self._known if name in listed]
        again = known if everything else known[: self._reload_budget]
        self._load(
            listed, [*(listed.keys() - set(known)), *dict.fromkeys([*again, *(named & listed.keys())])]
        )
        with self._lock:
            self._known = {name: info for name, info in self._known.items() if name in listed}
            self._namespace_names = frozenset(".".join(namespace) for namespace in namespaces)
            self._listed = True

    def confirm(self, named: frozenset[str]) -> None:
        """Loads the named tables now; one that is gone is forgotten."""
        places = {name: (tuple(name.split(".")[:-1]), name.rpartition(".")[2]) for name in named}
        self._load(places, sorted(named))

    def _load(self, places: Mapping[str, tuple[tuple[str, ...], str]], wanted: list[str]) -> None:
        if not wanted:
            return
        with ThreadPoolExecutor(max_workers=_LOADERS, thread_name_prefix="tables") as pool:
            loaded = list(pool.map(lambda name: self._table(*places[name]), wanted))
        with self._lock:
            for name, info in zip(wanted, loaded, strict=True):
                self._known.pop(name, None)
                if info is not None:
                    self._known[name] = info

    def _table(self, namespace: tuple[str, ...], name: str) -> TableInfo | None:
        path = f"{self._base()}/namespaces/{_namespace(namespace)}/tables/{quote(name, safe='')}"
        # Only the current state: the answer of a table with many snapshots is large otherwise.
        response = self._http.get(path, params={"snapshots": "refs"})
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        metadata = _json(response)["metadata"]
        schemas = {schema["schema-id"]: schema for schema in metadata.get("schemas") or ()}
        schema = schemas.get(metadata.get("current-schema-id")) or metadata.get("schema") or {"fields": []}
        return TableInfo(
            uuid=str(metadata.get("table-uuid") or ""),
            columns=tuple(str(field["name"]) for field in schema["fields"]),
            required=frozenset(str(field["name"]) for field in schema["fields"] if field.get("required")),
            location=str(metadata.get("location") or ""),
            size_bytes=_size_bytes(metadata),
        )

    def _namespaces(self, parent: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        parameters = {"parent": _LEVEL_SEPARATOR.join(parent)} if parent else {}
        for page in self._pages("/namespaces", parameters):
            for levels in page.get("namespaces") or ():
                namespace = tuple(str(level) for level in levels)
                # A catalog that ignores `parent` would list its top level for ever.
                if namespace[:-1] != parent:
                    continue
                yield namespace
                yield from self._namespaces(namespace)

    def _listing(self, namespace: tuple[str, ...]) -> Iterator[str]:
        for page in self._pages(f"/namespaces/{_namespace(namespace)}/tables", {}):
            for identifier in page.get("identifiers") or ():
                if tuple(identifier["namespace"]) == namespace:
                    yield str(identifier["name"])

    def _pages(self, path: str, parameters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            paging = {"pageToken": token, "pageSize": str(_PAGE)}
            response = self._http.get(f"{self._base()}{path}", params={**parameters, **paging})
            # A namespace dropped since it was listed has no tables.
            if response.status_code == httpx.codes.NOT_FOUND:
                return
            page = _json(response)
            yield page
            token = page.get("next-page-token") or ""
            if not token:
                return

    def _base(self) -> str:
        if self._prefix is None:
            self._prefix = base_path(self._http, self._warehouse)
        return self._prefix


def base_path(http: httpx.Client, warehouse: str) -> str:
    """Where a warehouse's resources are, as the catalog's configuration says. Raises as CatalogTables."""
    config = _json(http.get("/v1/config", params={"warehouse": warehouse}))
    settings = {**(config.get("defaults") or {}), **(config.get("overrides") or {})}
    # A prefix may come encoded (Nessie: main%7Cwarehouse); it is not encoded twice.
    prefix = str(settings.get("prefix") or "")
    return f"/v1/{quote(prefix, safe='/%')}" if prefix else "/v1"


def _size_bytes(metadata: Mapping[str, Any]) -> int:
    current = metadata.get("current-snapshot-id")
    for snapshot in metadata.get("snapshots") or ():
        if snapshot.get("snapshot-id") == current:
            size = str((snapshot.get("summary") or {}).get("total-files-size") or "")
            return int(size) if size.isdecimal() else 0
    return 0


def _namespace(levels: tuple[str, ...]) -> str:
    return quote(_LEVEL_SEPARATOR.join(levels), safe="")


def _json(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise ReconcileError(
            f"the catalog answered {response.status_code} to GET {response.request.url.path}",
            value=response.text[:200] or None,
            permitted="an Iceberg REST catalog in which the governor's service account may read",
            next_command="lab logs catalog",
        )
    body: dict[str, Any] = response.json()
    return body
