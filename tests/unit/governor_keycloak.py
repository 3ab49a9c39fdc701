"""A stand-in that answers as Keycloak's admin API was observed to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.unit.governor_http import WRITES, Reply, document_of, path_of, response

REALM = "lab"
CLIENT_SECRET = "governor-secret"


class FakeKeycloak:
    """A realm's groups, members and the client ``catalog``, behind the admin API and token endpoint."""

    def __init__(self, members: dict[str, set[str]]) -> None:
        self.members = {group: set(users) for group, users in members.items()}
        self.disabled: set[str] = set()
        self.children: dict[str, list[str]] = {}
        self.attributes: dict[str, dict[str, list[str]]] = {}
        self.roles = {"catalog_service"}
        self.group_roles: set[tuple[str, str]] = set()
        self.user_roles: set[tuple[str, str]] = {
            ("service-account-trino", "catalog_service"),
            ("service-account-governor", "catalog_service"),
        }
        self.may_manage_clients = True
        self.down = False
        self.writes: list[str] = []
        self.after_write: list[Callable[[], None]] = []

    def token_roles(self, user: str) -> set[str]:
        """What the claim ``catalog_roles`` of a user's token maps to in Polaris."""
        held = {role for holder, role in self.user_roles if holder == user}
        for group, role in self.group_roles:
            below = {group, *self.children.get(group, ())}
            if any(user in self.members.get(name, ()) for name in below):
                held.add(role)
        return {role.removeprefix("catalog_") for role in held}

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answers one request."""
        if self.down:
            raise httpx.ConnectError("connection refused", request=request)
        if request.url.path.endswith("/protocol/openid-connect/token"):
            form = httpx.QueryParams(request.content.decode())
            if form["client_secret"] != CLIENT_SECRET:
                return httpx.Response(401, json={"error": "unauthorized_client"})
            return httpx.Response(200, json={"access_token": "keycloak-governor", "expires_in": 300})
        if request.headers.get("Authorization") != "Bearer keycloak-governor":
            return httpx.Response(401)
        reply = self._admin(request, path_of(request)[3:], document_of(request))
        if request.method in WRITES and reply[0] < 300:
            self.writes.append(f"{request.method} {request.url.path} {request.content.decode()}")
            for watch in self.after_write:
                watch()
        return response(reply)

    def _admin(self, request: httpx.Request, path: list[str], body: Any) -> Reply:
        match request.method, path:
            case "GET", ["clients"]:
                return 200, [{"id": "catalog-uuid", "clientId": "catalog"}]
            case "GET", ["groups"]:
                below = {child for children in self.children.values() for child in children}
                wanted = request.url.params.get("search")
                names = [n for n in self.members if n not in below and wanted in (None, n)]
                return self._paged(request, [self._group(name) for name in names])
            case "POST", ["groups"]:
                if body["name"] in self.members:
                    return 409, {"errorMessage": f"Top level group named '{body['name']}' already exists."}
                self.members[body["name"]] = set()
                self.attributes[body["name"]] = body["attributes"]
                return 201, None
            case _, ["groups", group] if group[2:] not in self.members:
                return 404, {"error": "Could not find group by id"}
            case "GET", ["groups", group]:
                return 200, {**self._group(group[2:]), "attributes": self.attributes.get(group[2:], {})}
            case "DELETE", ["groups", group]:
                del self.members[group[2:]]
                self.group_roles = {pair for pair in self.group_roles if pair[0] != group[2:]}
                return 204, None
            case "PUT", ["users", user, "groups", group]:
                self.members[group[2:]].add(user[2:])
                return 204, None
            case "DELETE", ["users", user, "groups", group]:
                self.members[group[2:]].discard(user[2:])
                return 204, None
            case "GET", ["groups", group, "children"]:
                return self._paged(request, [self._group(name) for name in self.children.get(group[2:], ())])
            case "GET", ["groups", group, "members"]:
                return self._paged(request, [self._user(name) for name in sorted(self.members[group[2:]])])
            case _, ["groups", group, "role-mappings", "clients", "catalog-uuid"]:
                return self._map(request.method, self.group_roles, group[2:], body)
            case "GET", ["users"]:
                known = sorted(set().union(*self.members.values()))
                wanted = request.url.params.get("username")
                return 200, [self._user(name) for name in known if wanted in (None, name)]
            case "GET", ["users", user, "groups"]:
                return self._paged(
                    request, [self._group(g) for g, m in self.members.items() if user[2:] in m]
                )
            case _, ["users", user, "role-mappings", "clients", "catalog-uuid"]:
                return self._map(request.method, self.user_roles, user[2:], body)
            case _, ["clients", "catalog-uuid", "roles", *rest]:
                return self._roles(request, rest, body)
        return 404, {"error": "not found"}

    def _roles(self, request: httpx.Request, path: list[str], body: Any) -> Reply:
        match request.method, path:
            case "GET", []:
                return self._paged(request, [self._role(name) for name in sorted(self.roles)])
            case "POST", []:
                if not self.may_manage_clients:
                    return 403, {"error": "HTTP 403 Forbidden"}
                if body["name"] in self.roles:
                    return 409, {"errorMessage": "Role already exists"}
                self.roles.add(body["name"])
                return 201, None
            case "GET", [name] if name in self.roles:
                return 200, self._role(name)
            case "GET", [name, "groups"]:
                return self._paged(
                    request, [self._group(g) for g, r in sorted(self.group_roles) if r == name]
                )
            case "GET", [name, "users"]:
                return self._paged(request, [self._user(u) for u, r in sorted(self.user_roles) if r == name])
        return 404, {"error": "not found"}

    @staticmethod
    def _map(method: str, pairs: set[tuple[str, str]], holder: str, body: Any) -> Reply:
        for role in body:
            if method == "POST":
                pairs.add((holder, role["name"]))
            else:
                pairs.discard((holder, role["name"]))
        return 204, None

    def _group(self, name: str) -> dict[str, Any]:
        return {"id": f"g-{name}", "name": name, "subGroupCount": len(self.children.get(name, ()))}

    def _user(self, name: str) -> dict[str, Any]:
        return {"id": f"u-{name}", "username": name, "enabled": name not in self.disabled}

    @staticmethod
    def _role(name: str) -> dict[str, Any]:
        return {"id": f"r-{name}", "name": name, "clientRole": True}

    @staticmethod
    def _paged(request: httpx.Request, items: list[Any]) -> Reply:
        first = int(request.url.params["first"])
        return 200, items[first : first + int(request.url.params["max"])]
