"""A narrow client of Keycloak's admin API: groups, their members, and client roles of ``catalog``.

https://www.keycloak.org/docs-api/latest/rest-api/index.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from contracts.identity import CATALOG_ROLE_PREFIX, CATALOG_SERVICE_ROLE, Audience
from governance.reconcile.port import Identities, Journal, ReconcileError

_PAGE = 500
_SERVICE_ACCOUNT_PREFIX = "service-account-"


@dataclass(frozen=True, kw_only=True)
class GroupNode:
    """One group of the realm; ``names`` are its own name and those of the groups above it, whose roles
    its members inherit."""

    id: str
    name: str
    names: frozenset[str]


class KeycloakAdmin:
    """Reads groups and members, maps client roles of ``catalog`` to groups.

    Args:
        http: a client whose base URL is ``…/admin/realms/<realm>`` and that authenticates by itself.

    Raises ReconcileError for an answer that is no success, httpx.TransportError without an answer.
    """

    def __init__(self, http: httpx.Client, *, catalog_client: str = Audience.CATALOG.value) -> None:
        self._http = http
        self._catalog_client = catalog_client
        self._client_uuid: str | None = None

    def groups(self) -> tuple[GroupNode, ...]:
        """Every group of the realm, subgroups included."""
        return tuple(self._walk("/groups", frozenset()))

    def user_groups(self, username: str) -> frozenset[str] | None:
        """Names of the groups of an enabled user, as their token names them; None when there is none."""
        found = self._get("/users", {"username": username, "exact": "true"})
        user = next((u for u in found if u["username"] == username and u.get("enabled")), None)
        if user is None or _is_service_account(user):
            return None
        return frozenset(group["name"] for group in self._pages(f"/users/{user['id']}/groups"))

    def usernames(self) -> list[str]:
        """Enabled users, service accounts left out; the first page of them, to suggest names from."""
        page = self._get("/users", {"first": "0", "max": str(_PAGE), "briefRepresentation": "true"})
        return [u["username"] for u in page if u.get("enabled") and not _is_service_account(u)]

    def identities(self, touching: frozenset[str], groups: tuple[GroupNode, ...]) -> Identities:
        """Enabled members of the ``touching`` groups, and the service accounts of the catalog."""
        members: dict[str, set[str]] = {name: set() for name in touching}
        for group in groups:
            wanted = group.names & touching
            if not wanted:
                continue
            users = {u["username"] for u in self._pages(f"/groups/{group.id}/members") if u.get("enabled")}
            for name in wanted:
                members[name] |= users
        return Identities(
            members={name: frozenset(users) for name, users in members.items()},
            services=frozenset(self._service_accounts()),
        )

    def revoke_roles(
        self,
        desired: Mapping[str, frozenset[str]],
        groups: tuple[GroupNode, ...],
        journal: Journal,
    ) -> None:
        """Takes the catalog's roles from groups and users that are not to have them. Service accounts
        keep ``catalog_service``, which the realm model gives them."""
        names = {group.id: group.name for group in groups}
        for role in self._roles().values():
            wanted = desired.get(role["name"], frozenset())
            with journal.step(f"Keycloak role {role['name']}"):
                for holder in self._pages(self._role_path(role, "groups")):
                    if names.get(holder["id"], holder["name"]) not in wanted:
                        self._unmap(f"/groups/{holder['id']}", role)
                        journal.wrote(f"Keycloak: {role['name']} taken from group {holder['name']}")
                for user in self._pages(self._role_path(role, "users")):
                    if role["name"] == CATALOG_SERVICE_ROLE and _is_service_account(user):
                        continue
                    self._unmap(f"/users/{user['id']}", role)
                    journal.wrote(f"Keycloak: {role['name']} taken from user {user['username']}")

    def grant_roles(
        self,
        desired: Mapping[str, frozenset[str]],
        groups: tuple[GroupNode, ...],
        journal: Journal,
    ) -> None:
        """Makes the roles that are missing and gives them to their groups."""
        roles = self._roles()
        for name in sorted(desired):
            with journal.step(f"Keycloak role {name}"):
                if not desired[name] and name not in roles:
                    continue
                role = roles.get(name) or self._create_role(name, journal)
                holders = {holder["id"] for holder in self._pages(self._role_path(role, "groups"))}
                for group in groups:
                    if group.name in desired[name] and group.id not in holders:
                        path = f"/groups/{group.id}/role-mappings/clients/{self._uuid()}"
                        self._send("POST", path, [_reference(role)])
                        journal.wrote(f"Keycloak: {name} given to group {group.name}")

    def _create_role(self, name: str, journal: Journal) -> dict[str, Any]:
        path = f"/clients/{self._uuid()}/roles"
        response = self._http.post(path, json={"name": name})
        # Made by another process in the meantime: as good as made here.
        if response.status_code != httpx.codes.CONFLICT:
            _checked(response)
            journal.wrote(f"Keycloak: role {name} made")
        role: dict[str, Any] = self._get(f"{path}/{quote(name, safe='')}")
        return role

    def _roles(self) -> dict[str, dict[str, Any]]:
        roles = self._pages(f"/clients/{self._uuid()}/roles")
        return {role["name"]: role for role in roles if role["name"].startswith(CATALOG_ROLE_PREFIX)}

    def _service_accounts(self) -> Iterator[str]:
        role = self._roles().get(CATALOG_SERVICE_ROLE)
        if role is None:
            return
        for user in self._pages(self._role_path(role, "users")):
            if _is_service_account(user) and user.get("enabled"):
                yield user["username"]

    def _role_path(self, role: Mapping[str, Any], holders: str) -> str:
        return f"/clients/{self._uuid()}/roles/{quote(role['name'], safe='')}/{holders}"

    def _unmap(self, holder_path: str, role: Mapping[str, Any]) -> None:
        self._send("DELETE", f"{holder_path}/role-mappings/clients/{self._uuid()}", [_reference(role)])

    def _uuid(self) -> str:
        if self._client_uuid is None:
            found = self._get("/clients", {"clientId": self._catalog_client})
            if not found:
                raise ReconcileError(
                    f"the realm has no client {self._catalog_client!r}",
                    permitted="the realm as `lab up` makes it",
                    next_command="lab up",
                )
            self._client_uuid = str(found[0]["id"])
        return self._client_uuid

    def _walk(self, path: str, above: frozenset[str]) -> Iterator[GroupNode]:
        for group in self._pages(path):
            node = GroupNode(id=group["id"], name=group["name"], names=above | {group["name"]})
            yield node
            if group.get("subGroupCount"):
                yield from self._walk(f"/groups/{node.id}/children", node.names)

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        first = 0
        while True:
            page = self._get(path, {"first": str(first), "max": str(_PAGE), "briefRepresentation": "true"})
            yield from page
            if len(page) < _PAGE:
                return
            first += _PAGE

    def _get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        response = self._http.get(path, params=parameters)
        if response.status_code == httpx.codes.NOT_FOUND:
            # The client may have been made anew since its id was read.
            self._client_uuid = None
        return _checked(response).json()

    def _send(self, method: str, path: str, body: Any) -> None:
        _checked(self._http.request(method, path, json=body))


def _is_service_account(user: Mapping[str, Any]) -> bool:
    return str(user["username"]).startswith(_SERVICE_ACCOUNT_PREFIX)


def _reference(role: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": role["id"], "name": role["name"]}


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    request = response.request
    permitted = None
    if response.status_code == httpx.codes.FORBIDDEN:
        permitted = "client governor with the realm-management roles of the realm model"
    raise ReconcileError(
        f"Keycloak answered {response.status_code} to {request.method} {request.url.path}",
        value=response.text[:200] or None,
        permitted=permitted,
        next_command="lab logs keycloak",
    )
