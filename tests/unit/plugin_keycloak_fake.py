"""Keycloak in memory, behind the port the plugin uses, with the server's own habits where they matter.

A new realm has client scopes, a new client has some of them attached, a scope attached in one list is
ignored in the other, secrets are generated, passwords never come back, and 404 and 409 are as on the server.
"""

from __future__ import annotations

import copy
import re
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import unquote

from plugins.keycloak.api import AlreadyThere, KeycloakRefused

Rep = dict[str, Any]
_DEFAULT_SCOPES = ("basic", "profile", "email", "roles", "web-origins", "acr")
_OPTIONAL_SCOPES = ("offline_access", "address", "phone")
_KEYS = {"clients": "clientId", "scopes": "name", "groups": "name", "users": "username"}


class FakeRealm:
    """One realm's collections."""

    def __init__(self, rep: Rep) -> None:
        self.rep = {"attributes": {}, "smtpServer": {}, "browserSecurityHeaders": {}, **rep}
        self.clients: dict[str, Rep] = {}
        self.mappers: dict[str, dict[str, Rep]] = {}
        self.scopes: dict[str, Rep] = {}
        self.attached: dict[tuple[str, str], set[str]] = {}
        self.roles: dict[str, Rep] = {}
        self.composites: dict[str, set[str]] = {}
        self.groups: dict[str, Rep] = {}
        self.users: dict[str, Rep] = {}
        self.passwords: dict[str, str] = {}
        self.memberships: set[tuple[str, str]] = set()
        self.given: dict[str, set[str]] = {}
        self.events: Rep = {"eventsEnabled": False, "eventsListeners": ["jboss-logging"]}
        self.profile: Rep = {
            "attributes": [{"name": name} for name in ("username", "email", "firstName", "lastName")],
            "groups": [],
        }
        for name in (*_DEFAULT_SCOPES, *_OPTIONAL_SCOPES):
            self.new("scopes", {"name": name, "attributes": {}})

    def new(self, collection: str, rep: Rep) -> str:
        """Store a representation under a new id."""
        ident = str(uuid.uuid4())
        getattr(self, collection)[ident] = {**rep, "id": ident}
        return ident


class FakeKeycloak:
    """The port. ``writes`` counts requests that changed something."""

    def __init__(self) -> None:
        self.realms: dict[str, FakeRealm] = {}
        self.writes: list[str] = []
        self.reads = 0
        self.refuse: Exception | None = None
        self._lock = threading.RLock()
        self._locks: dict[str, threading.RLock] = {}

    # The port

    def get(self, path: str, **query: str) -> Any | None:
        with self._lock:
            self._open()
            self.reads += 1
            return copy.deepcopy(self._route("get", path, query))

    def post(self, path: str, body: Any, **query: str) -> str:
        with self._lock:
            self._open()
            self.writes.append(f"POST {path}")
            return str(self._route("post", path, copy.deepcopy(body)) or "")

    def put(self, path: str, body: Any) -> None:
        with self._lock:
            self._open()
            self.writes.append(f"PUT {path}")
            if self._route("put", path, copy.deepcopy(body)) is None:
                raise KeycloakRefused(f"Keycloak refused to update {path}: HTTP 404, not found")

    def delete(self, path: str, body: Any | None = None) -> bool:
        with self._lock:
            self._open()
            self.writes.append(f"DELETE {path}")
            return bool(self._route("delete", path, copy.deepcopy(body)))

    def exclusive(self, path: str) -> AbstractContextManager[Any]:
        with self._lock:
            return self._locks.setdefault(path, threading.RLock())

    def _open(self) -> None:
        if self.refuse is not None:
            raise self.refuse

    # Routes

    def _route(self, verb: str, path: str, payload: Any) -> Any:
        parts = [unquote(part) for part in path.split("/")]
        if parts == ["realms"] and verb == "post":
            if payload["realm"] in self.realms:
                raise AlreadyThere("realm exists")
            self.realms[payload["realm"]] = FakeRealm(payload)
            return payload["realm"]
        realm = self.realms.get(parts[1])
        if realm is None:
            if verb == "post":
                raise KeycloakRefused("HTTP 404, realm not found")
            return None
        rest = "/".join(re.sub(r"^[0-9a-f-]{36}$", "*", part) for part in parts[2:])
        ids = [part for part in parts[2:] if re.fullmatch(r"[0-9a-f-]{36}", part)]
        return self._in_realm(realm, parts, rest, ids, verb, payload)

    def _in_realm(
        self, realm: FakeRealm, parts: list[str], rest: str, ids: list[str], verb: str, payload: Any
    ) -> Any:
        if rest == "":
            return self._document(
                verb,
                payload,
                lambda: realm.rep,
                lambda new: setattr(realm, "rep", new),
                lambda: self.realms.pop(parts[1]),
            )
        if rest in ("events/config", "users/profile"):
            name = "events" if rest.startswith("events") else "profile"
            return self._document(
                verb,
                payload,
                lambda: getattr(realm, name),
                lambda new: setattr(
                    realm, name, {**getattr(realm, name), **new} if name == "events" else new
                ),
                lambda: None,
            )
        if "protocol-mappers" in parts:
            return self._mapper(realm, parts[3], ids[1:], verb, payload)
        if "role-mappings" in parts:
            return self._role_mappings(realm, ids[0], parts[5:], verb, payload)
        if (
            parts[2] == "clients"
            and len(parts) > 4
            and parts[4] in ("default-client-scopes", "optional-client-scopes")
        ):
            return self._client_scopes(realm, ids[0], parts[4], ids[1:], verb)
        if rest == "clients/*/service-account-user":
            return next((u for u in realm.users.values() if u.get("serviceAccountClientId") == ids[0]), None)
        if "roles" in parts or parts[2] == "roles-by-id":
            return self._roles(realm, parts, ids, verb, payload)
        if parts[2] == "users" and "groups" in parts:
            return self._user_groups(realm, ids, verb)
        if rest == "groups/*/members":
            return (
                None
                if ids[0] not in realm.groups
                else [realm.users[user] for user, group in sorted(realm.memberships) if group == ids[0]]
            )
        if parts[2] == "users" and len(parts) == 4 and not ids:
            return None
        if rest == "groups/*/children":
            return self._collection(realm, "groups", [], verb, payload, parent=ids[0])
        return self._collection(
            realm, {"client-scopes": "scopes"}.get(parts[2], parts[2]), ids, verb, payload
        )

    def _document(
        self,
        verb: str,
        payload: Any,
        read: Callable[[], Any],
        write: Callable[[Any], Any],
        remove: Callable[[], Any],
    ) -> Any:
        if verb == "get":
            return read()
        if verb == "put":
            write({**read(), **payload})
        else:
            remove()
        return True

    def _collection(
        self, realm: FakeRealm, name: str, ids: list[str], verb: str, payload: Any, parent: str | None = None
    ) -> Any:
        held: dict[str, Rep] = getattr(realm, name)
        key = _KEYS[name]
        if ids:
            if ids[0] not in held:
                return None
            if verb == "get":
                return {k: v for k, v in held[ids[0]].items() if k != "credentials"}
            if verb == "delete":
                del held[ids[0]]
                return True
            held[ids[0]] = {**held[ids[0]], **payload}
            return True
        siblings = {i: rep for i, rep in held.items() if name != "groups" or rep.get("parentId") == parent}
        if verb == "get":
            wanted = payload.get(key) or payload.get("search")
            return [rep for rep in siblings.values() if wanted is None or rep[key] == wanted]
        if any(rep[key] == payload[key] for rep in siblings.values()):
            raise AlreadyThere(f"{name} with {key} {payload[key]!r} exists")
        return self._insert(realm, name, payload, parent)

    def _insert(self, realm: FakeRealm, name: str, rep: Rep, parent: str | None) -> str:
        if name == "groups":
            above = realm.groups[parent]["path"] if parent else ""
            rep = {"attributes": {}, **rep, "path": f"{above}/{rep['name']}"}
            if parent:
                rep["parentId"] = parent
        if name == "users":
            password = next((c["value"] for c in rep.pop("credentials", [])), None)
            rep = {"requiredActions": [], **rep}
        ident = realm.new(name, rep)
        if name == "users" and password is not None:
            realm.passwords[ident] = password
        if name == "clients":
            held = realm.clients[ident]
            held.setdefault("attributes", {})
            if not held.get("publicClient"):
                held.setdefault("secret", uuid.uuid4().hex)
            by_name = {scope["name"]: scope["id"] for scope in realm.scopes.values()}
            realm.attached[ident, "default-client-scopes"] = {by_name[n] for n in _DEFAULT_SCOPES}
            realm.attached[ident, "optional-client-scopes"] = {by_name[n] for n in _OPTIONAL_SCOPES}
            if held.get("serviceAccountsEnabled"):
                realm.new(
                    "users",
                    {"username": f"service-account-{held['clientId']}", "serviceAccountClientId": ident},
                )
        return ident

    def _mapper(self, realm: FakeRealm, owner: str, ids: list[str], verb: str, payload: Any) -> Any:
        if owner not in realm.clients and owner not in realm.scopes:
            return None
        held = realm.mappers.setdefault(owner, {})
        if not ids:
            if verb == "get":
                return list(held.values())
            if any(rep["name"] == payload["name"] for rep in held.values()):
                raise AlreadyThere("mapper exists")
            ident = str(uuid.uuid4())
            held[ident] = {**payload, "id": ident}
            return ident
        if ids[0] not in held:
            return None
        return self._document(
            verb,
            payload,
            lambda: held[ids[0]],
            lambda new: held.__setitem__(ids[0], new),
            lambda: held.pop(ids[0]),
        )

    def _client_scopes(self, realm: FakeRealm, client: str, which: str, ids: list[str], verb: str) -> Any:
        if client not in realm.clients:
            return None
        held = realm.attached[client, which]
        if verb == "get":
            return [{"id": i, "name": realm.scopes[i]["name"]} for i in sorted(held)]
        if verb == "delete":
            held.discard(ids[0])
        elif not any(ids[0] in scopes for (c, _), scopes in realm.attached.items() if c == client):
            held.add(ids[0])
        return True

    def _roles(self, realm: FakeRealm, parts: list[str], ids: list[str], verb: str, payload: Any) -> Any:
        if parts[2] == "roles-by-id":
            role = realm.roles.get(parts[3])
            if role is None:
                return None
            if parts[-1] == "composites":
                held = realm.composites.setdefault(parts[3], set())
                if verb == "get":
                    return [realm.roles[i] for i in sorted(held)]
                changed = {rep["id"] for rep in payload}
                realm.composites[parts[3]] = held | changed if verb == "post" else held - changed
                return True
            return self._document(
                verb,
                payload,
                lambda: role,
                lambda new: realm.roles.__setitem__(parts[3], new),
                lambda: realm.roles.pop(parts[3]),
            )
        client = parts[3] if parts[2] == "clients" else None
        siblings = [
            r for r in realm.roles.values() if (r["containerId"] if r["clientRole"] else None) == client
        ]
        if verb == "get":
            return next((r for r in siblings if r["name"] == parts[-1]), None)
        if any(r["name"] == payload["name"] for r in siblings):
            raise AlreadyThere("role exists")
        realm.new("roles", {**payload, "clientRole": client is not None, "containerId": client or "realm"})
        return payload["name"]

    def _role_mappings(self, realm: FakeRealm, owner: str, rest: list[str], verb: str, payload: Any) -> Any:
        if owner not in realm.groups and owner not in realm.users:
            return None
        held = realm.given.setdefault(owner, set())
        roles = [realm.roles[i] for i in sorted(held) if i in realm.roles]
        if verb == "get":
            if not rest:
                clients: dict[str, Rep] = {}
                for role in (r for r in roles if r["clientRole"]):
                    clients.setdefault(role["containerId"], {"mappings": []})["mappings"].append(role)
                return {"realmMappings": [r for r in roles if not r["clientRole"]], "clientMappings": clients}
            container = rest[1] if rest[0] == "clients" else None
            return [r for r in roles if (r["containerId"] if r["clientRole"] else None) == container]
        changed = {rep["id"] for rep in payload}
        realm.given[owner] = held | changed if verb == "post" else held - changed
        return True

    def _user_groups(self, realm: FakeRealm, ids: list[str], verb: str) -> Any:
        if ids[0] not in realm.users:
            return None
        if verb == "get":
            return [realm.groups[g] for u, g in sorted(realm.memberships) if u == ids[0]]
        if verb == "put":
            realm.memberships.add((ids[0], ids[1]))
        else:
            realm.memberships.discard((ids[0], ids[1]))
        return True
