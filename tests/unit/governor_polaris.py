"""A stand-in that answers as Polaris with its Iceberg REST catalog was observed to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.unit.governor_http import WRITES, Reply, document_of, path_of, response

CATALOG = "lake"
ROOT_SECRET = "root-secret"

_PRIVILEGES = {
    "catalog": {
        "CATALOG_MANAGE_CONTENT",
        "CATALOG_MANAGE_ACCESS",
        "CATALOG_MANAGE_METADATA",
        "NAMESPACE_LIST",
    },
    "namespace": {
        "NAMESPACE_READ_PROPERTIES",
        "TABLE_LIST",
        "VIEW_LIST",
        "TABLE_CREATE",
        "TABLE_READ_DATA",
        "TABLE_WRITE_DATA",
    },
    "table": {"TABLE_READ_DATA", "TABLE_WRITE_DATA", "TABLE_WRITE_PROPERTIES", "TABLE_DROP"},
}

GrantKey = tuple[str, str, tuple[str, ...], str]


def _error(status: int, kind: str, message: str) -> Reply:
    return status, {"error": {"message": message, "type": kind, "code": status}}


@dataclass
class Entity:
    """A catalog, principal or role."""

    name: str
    properties: dict[str, str] = field(default_factory=dict)
    version: int = 1
    extra: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """As the management API shows it."""
        shown = {"name": self.name, "properties": self.properties, "entityVersion": self.version}
        return {**shown, **self.extra}


class FakePolaris:
    """Polaris 1.7 as observed: management API, token endpoint and the reading part of Iceberg REST."""

    def __init__(self) -> None:
        self.catalogs: dict[str, Entity] = {}
        self.principals = {"root": Entity("root")}
        self.principal_roles = {"service_admin": Entity("service_admin")}
        self.catalog_roles: dict[str, Entity] = {}
        self.assigned: set[tuple[str, str]] = {("root", "service_admin")}
        self.mapped: set[tuple[str, str]] = set()
        self.grants: dict[str, set[GrantKey]] = {}
        self.tables: dict[tuple[str, ...], dict[str, tuple[str, tuple[str, ...]]]] = {}
        self.writes: list[str] = []
        self.loads = 0
        self.locations: dict[str, str] = {}
        self.namespace_properties: dict[tuple[str, ...], dict[str, str]] = {}
        self.sizes: dict[str, int] = {}
        self.faults: list[tuple[re.Pattern[str], int]] = []
        self.before_write: list[Callable[[str], None]] = []
        self.after_write: list[Callable[[], None]] = []
        self._uuids = 0

    # --- what people and engines do --------------------------------------------------------------------

    def create_table(self, namespace: str, name: str, columns: Iterable[str] = ("id",)) -> None:
        """A table comes into being, without any grant."""
        self._uuids += 1
        tables = self.tables.setdefault(tuple(namespace.split(".")), {})
        tables[name] = (f"uuid-{self._uuids}", tuple(columns))

    def drop_table(self, namespace: str, name: str) -> None:
        """A table goes, and its grants with it."""
        levels = tuple(namespace.split("."))
        del self.tables[levels][name]
        for held in self.grants.values():
            held -= {grant for grant in held if grant[0] == "table" and grant[2:] == (levels, name)}

    def read(self, principal: str, token_roles: Iterable[str], table: str) -> int:
        """Status of loading a table with a token that maps to ``token_roles``."""
        roles = set(token_roles)
        if principal not in self.principals or any((principal, role) not in self.assigned for role in roles):
            return 401
        if not roles:
            return 403
        namespace, _, name = table.rpartition(".")
        held = {g for role in roles for cr, pr in self.mapped if pr == role for g in self.grants.get(cr, ())}
        levels = tuple(namespace.split("."))
        wanted = {
            ("catalog", "CATALOG_MANAGE_CONTENT", (), ""),
            ("table", "TABLE_READ_DATA", levels, name),
            ("table", "TABLE_WRITE_DATA", levels, name),
            ("namespace", "TABLE_READ_DATA", levels, ""),
            ("namespace", "TABLE_WRITE_DATA", levels, ""),
        }
        if not held & wanted:
            return 403
        return 200 if name in self.tables.get(levels, {}) else 404

    def load(self, role: str, namespace: str) -> int:
        """Status of beginning to create a table with credentials for its files, by a principal role:
        both privileges must be held on the namespace."""
        levels = tuple(namespace.split("."))
        held = {g for cr, pr in self.mapped if pr == role for g in self.grants.get(cr, ())}
        if ("catalog", "CATALOG_MANAGE_CONTENT", (), "") in held:
            return 200
        needed = {("namespace", p, levels, "") for p in ("TABLE_CREATE", "TABLE_WRITE_DATA")}
        return 200 if needed <= held else 403

    # --- HTTP ------------------------------------------------------------------------------------------

    def fail(self, pattern: str, status: int) -> None:
        """The next request whose ``METHOD /path`` matches is answered with ``status`` and not done."""
        self.faults.append((re.compile(pattern), status))

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answers one request."""
        path = request.url.path
        what = f"{request.method} {path}"
        for index, (pattern, status) in enumerate(self.faults):
            if pattern.search(what):
                del self.faults[index]
                return httpx.Response(status)
        if path == "/api/catalog/v1/oauth/tokens":
            return response(self._token(request))
        if path.startswith("/api/catalog/"):
            return response(self._rest(request, path_of(request)[2:]))
        if request.headers.get("Authorization") != "Bearer polaris-root":
            return httpx.Response(401)
        if request.method in WRITES:
            for hook in list(self.before_write):
                hook(what)
        reply = self._manage(request.method, path_of(request)[3:], document_of(request))
        if request.method in WRITES and reply[0] < 300:
            self.writes.append(f"{what} {request.content.decode()}")
            for watch in self.after_write:
                watch()
        return response(reply)

    def _token(self, request: httpx.Request) -> Reply:
        form = httpx.QueryParams(request.content.decode())
        if (form["client_id"], form["client_secret"]) != ("root", ROOT_SECRET):
            return 401, {"error": "unauthorized_client", "error_description": "The client is not authorized"}
        if form.get("scope") != "PRINCIPAL_ROLE:ALL":
            return 400, {"error": "invalid_scope", "error_description": "The scope is invalid"}
        return 200, {"access_token": "polaris-root", "expires_in": 3600}

    def _manage(self, method: str, path: list[str], body: Any) -> Reply:
        match method, path:
            case "POST", ["catalogs"]:
                return self._create_catalog(body["catalog"])
            case _, ["catalogs", name] if name not in self.catalogs:
                return _error(404, "NotFoundException", f"Catalog not found: {name}")
            case "GET", ["catalogs", name]:
                return 200, self.catalogs[name].body()
            case "PUT", ["catalogs", name]:
                return self._update_catalog(self.catalogs[name], body)
            case _, ["principals", *rest]:
                return self._principals(method, rest, body)
            case _, ["principal-roles", *rest]:
                return self._principal_roles(method, rest, body)
            case _, ["catalogs", name, "catalog-roles", *rest] if name in self.catalogs:
                return self._catalog_roles(method, rest, body)
        return _error(404, "NotFoundException", "/".join(path))

    def _create_catalog(self, body: Any) -> Reply:
        if body["name"] in self.catalogs:
            return _error(409, "AlreadyExistsException", "Catalog already exists")
        storage = {**body["storageConfigInfo"], "userArn": None}
        extra = {"type": body["type"], "storageConfigInfo": storage}
        self.catalogs[body["name"]] = Entity(body["name"], dict(body["properties"]), extra=extra)
        self.catalog_roles["catalog_admin"] = Entity("catalog_admin")
        self.grants["catalog_admin"] = {
            ("catalog", "CATALOG_MANAGE_ACCESS", (), ""),
            ("catalog", "CATALOG_MANAGE_METADATA", (), ""),
        }
        self.mapped.add(("catalog_admin", "service_admin"))
        return 201, None

    def _update_catalog(self, catalog: Entity, body: Any) -> Reply:
        if body["currentEntityVersion"] != catalog.version:
            return _error(
                409, "CommitConflictException", "Failed to update Catalog; currentEntityVersion '1'"
            )
        catalog.properties = body["properties"]
        catalog.extra["storageConfigInfo"] = body["storageConfigInfo"]
        catalog.version += 1
        return 200, catalog.body()

    def _create(self, known: dict[str, Entity], body: Any, answer: Any = None) -> Reply:
        if body["name"] in known:
            return _error(409, "AlreadyExistsException", f"{body['name']} already exists")
        known[body["name"]] = Entity(body["name"], dict(body.get("properties") or {}))
        return 201, answer

    def _principals(self, method: str, path: list[str], body: Any) -> Reply:
        if path and path[0] not in self.principals:
            return _error(404, "NotFoundException", f"Principal not found: {path[0]}")
        match method, path:
            case "GET", []:
                return 200, {"principals": [p.body() for p in self.principals.values()]}
            case "POST", []:
                secret = {"clientId": "x", "clientSecret": "generated-secret"}
                return self._create(self.principals, body["principal"], {"credentials": secret})
            case "DELETE", [name]:
                del self.principals[name]
                self.assigned = {pair for pair in self.assigned if pair[0] != name}
                return 204, None
            case "PUT", [name, "principal-roles"]:
                role = body["principalRole"]["name"]
                if role not in self.principal_roles:
                    return _error(404, "NotFoundException", f"PrincipalRole not found: {role}")
                self.assigned.add((name, role))
                return 201, None
            case "DELETE", [name, "principal-roles", role]:
                return self._unassign(self.assigned, (name, role))
        return _error(404, "NotFoundException", "/".join(path))

    def _principal_roles(self, method: str, path: list[str], body: Any) -> Reply:
        if path and path[0] not in self.principal_roles:
            return _error(404, "NotFoundException", f"PrincipalRole not found: {path[0]}")
        match method, path:
            case "GET", []:
                return 200, {"roles": [r.body() for r in self.principal_roles.values()]}
            case "POST", []:
                return self._create(self.principal_roles, body["principalRole"])
            case "DELETE", [name]:
                del self.principal_roles[name]
                self.assigned = {pair for pair in self.assigned if pair[1] != name}
                self.mapped = {pair for pair in self.mapped if pair[1] != name}
                return 204, None
            case "GET", [name, "principals"]:
                return 200, {"principals": [{"name": p} for p, role in sorted(self.assigned) if role == name]}
            case "PUT", [name, "catalog-roles", catalog]:
                role = body["catalogRole"]["name"]
                if catalog not in self.catalogs or role not in self.catalog_roles:
                    return _error(404, "NotFoundException", f"CatalogRole not found: {role}")
                self.mapped.add((role, name))
                return 201, None
            case "DELETE", [name, "catalog-roles", _, role]:
                return self._unassign(self.mapped, (role, name))
        return _error(404, "NotFoundException", "/".join(path))

    @staticmethod
    def _unassign(held: set[tuple[str, str]], pair: tuple[str, str]) -> Reply:
        if pair not in held:
            return _error(400, "GRANT_NOT_FOUND", "Operation failed: GRANT_NOT_FOUND")
        held.discard(pair)
        return 204, None

    def _catalog_roles(self, method: str, path: list[str], body: Any) -> Reply:
        if path and path[0] not in self.catalog_roles:
            return _error(404, "NotFoundException", f"CatalogRole not found: {path[0]}")
        match method, path:
            case "GET", []:
                return 200, {"roles": [r.body() for r in self.catalog_roles.values()]}
            case "POST", []:
                return self._create(self.catalog_roles, body["catalogRole"])
            case "DELETE", [name]:
                del self.catalog_roles[name]
                self.grants.pop(name, None)
                self.mapped = {pair for pair in self.mapped if pair[0] != name}
                return 204, None
            case "GET", [name, "principal-roles"]:
                return 200, {"roles": [{"name": pr} for cr, pr in sorted(self.mapped) if cr == name]}
            case _, [name, "grants"]:
                return self._grants(method, name, body)
        return _error(404, "NotFoundException", "/".join(path))

    def _grants(self, method: str, role: str, body: Any) -> Reply:
        held = self.grants.setdefault(role, set())
        if method == "GET":
            return 200, {"grants": [_grant_body(grant) for grant in sorted(held)]}
        grant = body["grant"]
        kind, levels = grant["type"], tuple(grant.get("namespace", ()))
        name = grant.get(f"{kind}Name", "")
        if grant["privilege"] not in _PRIVILEGES.get(kind, set()):
            return 400, None
        key: GrantKey = (kind, grant["privilege"], levels, name)
        if kind == "namespace" and levels not in self.tables:
            return _error(404, "NoSuchNamespaceException", f"Namespace does not exist: {'.'.join(levels)}")
        if kind == "table" and levels not in self.tables:
            # Observed: the message names the role, although it is the namespace that is missing.
            return _error(404, "NotFoundException", f"CatalogRole not found: {CATALOG}.{role}")
        if kind == "table" and name not in self.tables[levels]:
            return _error(404, "NoSuchTableException", f"Table does not exist: {'.'.join(levels)}.{name}")
        if method == "POST":
            if key not in held:
                return _error(400, "GRANT_NOT_FOUND", "Operation failed: GRANT_NOT_FOUND")
            held.discard(key)
            return 201, None
        held.add(key)
        return 201, None

    def _rest(self, request: httpx.Request, path: list[str]) -> Reply:
        if request.headers.get("Authorization") != "Bearer keycloak-governor":
            return 401, None
        if ("service-account-governor", "service") not in self.assigned:
            return 401, None
        if request.method == "POST" and path[-1] == "namespaces":
            body = document_of(request)
            self.tables[tuple(body["namespace"])] = {}
            self.namespace_properties[tuple(body["namespace"])] = body["properties"]
            return 200, body
        match path:
            case ["v1", "config"]:
                if request.url.params["warehouse"] not in self.catalogs:
                    return _error(404, "NotFoundException", "Unable to find warehouse")
                return 200, {"defaults": {}, "overrides": {"prefix": CATALOG}}
            case ["v1", str(), "namespaces"]:
                parent = request.url.params.get("parent")
                above = tuple(parent.split("\x1f")) if parent else ()
                found = {ns[: len(above) + 1] for ns in self.tables if len(ns) > len(above)}
                return 200, {"namespaces": [list(ns) for ns in sorted(found) if ns[: len(above)] == above]}
            case ["v1", str(), "namespaces", ns, "views"]:
                return 200, {"identifiers": []}
            case ["v1", str(), "namespaces", ns] if request.method == "DELETE":
                if self.tables.get((ns,)):
                    return _error(400, "NamespaceNotEmptyException", "Namespace is not empty")
                return (204, None) if self.tables.pop((ns,), None) is not None else (404, None)
            case ["v1", str(), "namespaces", ns]:
                if (ns,) not in self.tables:
                    return _error(404, "NoSuchNamespaceException", "Namespace does not exist")
                held = {"location": f"s3://b/w/{ns}", **self.namespace_properties.get((ns,), {})}
                return 200, {"namespace": [ns], "properties": held}
            case ["v1", str(), "namespaces", ns, "tables"]:
                levels = tuple(ns.split("\x1f"))
                names = sorted(self.tables.get(levels, {}))
                return self._page(request, [{"namespace": list(levels), "name": name} for name in names])
            case ["v1", str(), "namespaces", ns, "tables", name]:
                if request.method == "DELETE":
                    assert request.url.params["purgeRequested"] == "true"
                    self.drop_table(ns, name)
                    return 204, None
                self.loads += 1
                found_table = self.tables.get(tuple(ns.split("\x1f")), {}).get(name)
                if found_table is None:
                    return _error(404, "NoSuchTableException", name)
                fields = [{"name": column} for column in found_table[1]]
                schemas = [{"schema-id": 0, "fields": []}, {"schema-id": 1, "fields": fields}]
                metadata = {
                    "table-uuid": found_table[0],
                    "location": self.locations.get(
                        f"{ns}.{name}".replace("\x1f", "."), f"s3://b/w/{found_table[0]}"
                    ),
                    "current-schema-id": 1,
                    "schemas": schemas,
                    "current-snapshot-id": 7,
                    "snapshots": [
                        {"snapshot-id": 6, "summary": {"total-files-size": "1"}},
                        {
                            "snapshot-id": 7,
                            "summary": {"total-files-size": str(self.sizes.get(f"{ns}.{name}", 0))},
                        },
                    ],
                }
                return 200, {"metadata": metadata}
        return _error(404, "NotFoundException", "/".join(path))

    @staticmethod
    def _page(request: httpx.Request, identifiers: list[Any]) -> Reply:
        first = int(request.url.params.get("pageToken") or 0)
        size = min(int(request.url.params["pageSize"]), 3)
        answer: dict[str, Any] = {"identifiers": identifiers[first : first + size]}
        if first + size < len(identifiers):
            answer["next-page-token"] = str(first + size)
        return 200, answer


def _grant_body(grant: GrantKey) -> dict[str, Any]:
    kind, privilege, levels, name = grant
    body: dict[str, Any] = {"type": kind, "privilege": privilege}
    if kind != "catalog":
        body["namespace"] = list(levels)
    if name:
        body[f"{kind}Name"] = name
    return body
