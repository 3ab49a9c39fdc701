"""Answers raw engines in the catalog's place: asks it as a service what the caller may, and nothing else.

Nessie decides by roles alone and never looks into a commit. Here each request is held against the access
data of the moment, table by table, and refused when it chooses where files lie: the credentials that come
with a table open that place.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from contracts.access import Privilege
from contracts.errors import LabError, UsageError
from governance.derivation import RawRights
from governance.governor.auth import Caller
from governance.rawcatalog.requests import (
    LAYOUT_UPDATES,
    LEVEL_SEPARATOR,
    Action,
    Asked,
    RefusedError,
    Table,
    check_loaded,
    check_names_kept,
    check_properties,
    check_updates,
    creates,
    read_identifier,
    read_path,
    updates_of,
)

PASSED_ON = ("pageSize", "pageToken", "parent", "purgeRequested", "snapshots")
_DELEGATION = "X-Iceberg-Access-Delegation"
_REPORTS = "rest-metrics-reporting-enabled"
_OWN_CONFIG = ("prefix", "uri", "warehouse")


class CatalogAwayError(LabError):
    """The catalog does not answer (503)."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response: JSON text, or nothing."""

    status: int
    content: bytes = b""


@dataclass(frozen=True, kw_only=True)
class _Upstream:
    """What the catalog says of itself: the path below which it serves this warehouse, where its files lie,
    and what it tells clients."""

    base: str
    warehouse: str
    defaults: Mapping[str, str]
    overrides: Mapping[str, str]


class Door:
    """The door to one warehouse.

    Args:
        http: a client whose base URL is the catalog's URI and that authenticates as a service.
        warehouse: the catalog's name of the warehouse; the only prefix that is served.
        rights: gives the rights that follow from the access data of the moment.
    """

    def __init__(self, http: httpx.Client, warehouse: str, rights: Callable[[], RawRights]) -> None:
        self._http = http
        self.warehouse = self._name = warehouse
        self.rights = rights
        self._lock = threading.Lock()
        self._known: _Upstream | None = None

    def answer(
        self,
        caller: Caller,
        method: str,
        raw_path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
        rights: RawRights | None = None,
    ) -> Answer:
        """Answers one request, by ``rights`` or those of the moment.

        Raises:
            RefusedError: the caller may not ask this.
            UsageError: the body is not what the path takes.
            CatalogAwayError: the catalog does not answer.
        """
        if caller.service is not None:
            raise RefusedError("services ask the catalog itself", value=caller.username)
        asked = read_path(method, raw_path, self._name)
        given = {key: query[key] for key in PASSED_ON if key in query}
        request = _Request(
            door=self,
            rights=self.rights() if rights is None else rights,
            groups=caller.groups,
            asked=asked,
            method=method,
            query=given,
            delegation=headers.get(_DELEGATION.lower()),
            body=body,
        )
        return request.answer()

    def config(self) -> Answer:
        """What clients are told, in the catalog's place."""
        known = self.upstream()
        document = {
            "defaults": dict(known.defaults),
            # Nessie turns engines' reports of their scans off, since it has no use for them.
            "overrides": {**known.overrides, "prefix": self._name, _REPORTS: "true"},
        }
        return Answer(status=200, content=json.dumps(document).encode())

    def upstream(self) -> _Upstream:
        """Asked once. Raises CatalogAwayError."""
        with self._lock:
            if self._known is None:
                response = self.send("GET", "/v1/config", {"warehouse": self._name})
                document = response.json() if response.is_success else {}
                defaults = document.get("defaults") or {}
                overrides = document.get("overrides") or {}
                prefix = {**defaults, **overrides}.get("prefix")
                if not prefix or not defaults.get("warehouse"):
                    raise CatalogAwayError(
                        f"the catalog does not describe itself: {response.status_code}",
                        next_command="lab logs catalog",
                    )
                self._known = _Upstream(
                    # It comes percent-encoded (main%7Clake).
                    base=f"/v1/{quote(prefix, safe='/%')}",
                    warehouse=str(defaults["warehouse"]),
                    defaults=_for_clients(defaults),
                    overrides=_for_clients(overrides),
                )
            return self._known

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes | None = None,
        delegation: str | None = None,
    ) -> httpx.Response:
        """One request as the service. Raises CatalogAwayError."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if delegation is not None:
            headers[_DELEGATION] = delegation
        try:
            return self._http.request(method, path, params=query or {}, content=body, headers=headers)
        except (httpx.HTTPError, LabError) as error:
            raise CatalogAwayError(
                f"the catalog does not answer: {error}", next_command="lab logs catalog"
            ) from error


@dataclass(frozen=True, kw_only=True)
class _Request:
    """One request on its way through the door."""

    door: Door
    rights: RawRights
    groups: frozenset[str]
    asked: Asked
    method: str
    query: Mapping[str, str]
    delegation: str | None
    body: bytes

    def answer(self) -> Answer:
        action = self.asked.action
        if action is Action.CONFIG:
            return self.door.config()
        if action is Action.REPORT_METRICS:
            self._require(self._table(), Privilege.SELECT)
            return Answer(status=204)
        if action is Action.LIST_VIEWS:
            return Answer(status=200, content=b'{"identifiers": []}')
        if action is Action.LOAD_VIEW:
            return error_answer(404, "NoSuchViewException", "raw engines see no views")
        handlers: Mapping[Action, Callable[[], Answer]] = {
            Action.LIST_NAMESPACES: self._list_namespaces,
            Action.LOAD_NAMESPACE: self._load_namespace,
            Action.LIST_TABLES: self._list_tables,
            Action.CREATE_TABLE: self._create,
            Action.LOAD_TABLE: self._load,
            Action.COMMIT: self._commit,
            Action.DROP_TABLE: self._drop,
            Action.RENAME_TABLE: self._rename,
            Action.COMMIT_SEVERAL: self._commit_several,
        }
        return handlers[action]()

    # --- reading -------------------------------------------------------------------------------------

    def _list_namespaces(self) -> Answer:
        """Only those in which the caller has anything."""
        answer = self._pass_on()
        if answer.status != 200:
            return answer
        page = json.loads(answer.content)
        page["namespaces"] = [
            one for one in page.get("namespaces") or () if self.rights.lists(self.groups, ".".join(one))
        ]
        return Answer(status=200, content=json.dumps(page).encode())

    def _load_namespace(self) -> Answer:
        self._require_namespace()
        return self._pass_on()

    def _list_tables(self) -> Answer:
        """Only what the caller has."""
        self._require_namespace()
        answer = self._pass_on()
        if answer.status != 200:
            return answer
        page = json.loads(answer.content)
        page["identifiers"] = [
            one
            for one in page.get("identifiers") or ()
            if self.rights.on_table(self.groups, ".".join((*one["namespace"], one["name"])))
        ]
        return Answer(status=200, content=json.dumps(page).encode())

    def _load(self) -> Answer:
        table = self._table()
        self._require(table, Privilege.SELECT)
        answer = self._pass_on()
        if answer.status == 200 and self.method == "GET":
            check_loaded(json.loads(answer.content)["metadata"], table, self.door.upstream().warehouse)
        return answer

    # --- writing -------------------------------------------------------------------------------------

    def _create(self) -> Answer:
        body = self._document()
        table = read_identifier({"namespace": list(self.asked.namespace), "name": body.get("name")})
        self._require_creation(table)
        if body.get("location"):
            raise RefusedError(
                "where a table's files lie is not a raw engine's to choose",
                value=body["location"],
                permitted="no location",
            )
        check_properties(body.get("properties"))
        return self._pass_on()

    def _commit(self) -> Answer:
        self._check_commit(self._table(), self._document())
        return self._pass_on()

    def _commit_several(self) -> Answer:
        changes = self._document().get("table-changes")
        if not isinstance(changes, list) or not changes:
            raise UsageError("a transaction has a list of changes", value=changes)
        for change in changes:
            if not isinstance(change, Mapping):
                raise UsageError("a change is an object", value=change)
            self._check_commit(read_identifier(change.get("identifier")), change)
        return self._pass_on()

    def _check_commit(self, table: Table, body: Mapping[str, Any]) -> None:
        updates = updates_of(body)
        new = creates(body)
        kinds = {str(update["action"]) for update in updates}
        if new:
            self._require_creation(table)
        else:
            self._require(table, Privilege.INSERT)
            if kinds & LAYOUT_UPDATES:
                self._require(table, Privilege.ALTER)
        check_updates(updates, table, self.door.upstream().warehouse, new=new)
        if not new and self.rights.ruled(table.dotted) and kinds & {"add-schema", "set-current-schema"}:
            loaded = self.door.send("GET", self._path("namespaces", table.namespace, "tables", table.name))
            if loaded.is_success:
                check_names_kept(updates, loaded.json()["metadata"])

    def _drop(self) -> Answer:
        self._require(self._table(), Privilege.DROP)
        return self._pass_on()

    def _rename(self) -> Answer:
        body = self._document()
        source, target = read_identifier(body.get("source")), read_identifier(body.get("destination"))
        self._require(source, Privilege.ALTER)
        self._require_creation(target)
        if self.rights.ruled(source.dotted):
            raise RefusedError(
                "rules are about names: a table that a rule is about keeps its name",
                value=source.dotted,
                permitted="the same after the rule was changed",
            )
        if source.namespace != target.namespace:
            raise RefusedError(
                "a table's files stay in the folder of its namespace",
                value=target.dotted,
                permitted=f"a name in {source.namespace_name}",
            )
        return self._pass_on()

    # --- helpers -------------------------------------------------------------------------------------

    def _table(self) -> Table:
        if self.asked.table is None:
            raise UsageError("the path names no table")
        return self.asked.table

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UsageError("the body is not an object in JSON")
        return document

    def _require(self, table: Table, privilege: Privilege) -> None:
        if privilege not in self.rights.on_table(self.groups, table.dotted):
            raise RefusedError(
                f"no raw access to {table.dotted}: {privilege.value}",
                value=", ".join(sorted(self.groups)),
                permitted="tables that one of the groups may read and write, and that no rule touches for it",
                next_command="lab sql, where rules are applied, or ask a lab admin for a grant",
            )

    def _require_namespace(self) -> None:
        name = ".".join(self.asked.namespace)
        if not self.rights.lists(self.groups, name):
            raise RefusedError(f"no raw access to {name}", value=", ".join(sorted(self.groups)))

    def _require_creation(self, table: Table) -> None:
        if not self.rights.may_create(self.groups, table.namespace_name):
            raise RefusedError(
                f"no raw access to {table.namespace_name}: create",
                value=", ".join(sorted(self.groups)),
                permitted="namespaces where one of the groups may create tables that no rule touches for it",
                next_command="ask a lab admin for a grant",
            )

    def _path(self, *parts: str | tuple[str, ...]) -> str:
        segments = [LEVEL_SEPARATOR.join(part) if isinstance(part, tuple) else part for part in parts]
        return "/".join((self.door.upstream().base, *(quote(segment, safe="") for segment in segments)))

    def _pass_on(self) -> Answer:
        """The request as it was understood, never as it was spelt."""
        asked = self.asked
        whole = {Action.RENAME_TABLE: "tables/rename", Action.COMMIT_SEVERAL: "transactions/commit"}
        parts: list[str | tuple[str, ...]] = [*whole.get(asked.action, "namespaces").split("/")]
        if asked.namespace:
            parts.append(asked.namespace)
        if asked.action in (Action.LIST_TABLES, Action.CREATE_TABLE) or asked.table is not None:
            parts.append("tables")
        if asked.table is not None:
            parts.append(asked.table.name)
        response = self.door.send(
            self.method,
            self._path(*parts),
            self.query,
            body=json.dumps(self._document()).encode() if self.method == "POST" else None,
            delegation=self.delegation,
        )
        return Answer(status=response.status_code, content=response.content)


def error_answer(status: int, kind: str, message: str) -> Answer:
    """An error as the specification has it."""
    document = {"error": {"message": message, "type": kind, "code": status}}
    return Answer(status=status, content=json.dumps(document).encode())


def _for_clients(settings: Mapping[str, Any]) -> dict[str, str]:
    """Without what would lead clients past this door, and Nessie's own."""
    return {
        str(key): str(value)
        for key, value in settings.items()
        if key not in _OWN_CONFIG and not str(key).startswith("nessie.")
    }
