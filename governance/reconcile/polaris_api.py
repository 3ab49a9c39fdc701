"""Apache Polaris' management API, call by call, with the answers it gives.

https://polaris.apache.org/releases/1.7.0/polaris-api-specs/polaris-management-api/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from urllib.parse import quote

import httpx

from governance.reconcile.port import ReconcileError


class Outcome(Enum):
    """What a write did. ``UNCHANGED``: it was so already; ``PENDING``: the object does not exist yet."""

    CHANGED = auto()
    UNCHANGED = auto()
    PENDING = auto()


@dataclass(frozen=True, kw_only=True, order=True)
class PolarisGrant:
    """A privilege on the catalog (no namespace), a namespace (no name), a table or a view."""

    type: str
    privilege: str
    namespace: tuple[str, ...] = ()
    name: str = ""

    def as_body(self) -> dict[str, Any]:
        """The form of requests."""
        body: dict[str, Any] = {"type": self.type, "privilege": self.privilege}
        if self.type != "catalog":
            body["namespace"] = list(self.namespace)
        if self.name:
            body[f"{self.type}Name"] = self.name
        return body

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> PolarisGrant:
        """The reverse of :meth:`as_body`; policies are kept apart by their name too."""
        kind = str(body["type"])
        return cls(
            type=kind,
            privilege=str(body["privilege"]),
            namespace=tuple(body.get("namespace") or ()),
            name=str(body.get(f"{kind}Name") or ""),
        )

    def __str__(self) -> str:
        target = ".".join((*self.namespace, self.name)).rstrip(".") or "the catalog"
        return f"{self.privilege} on {self.type} {target}" if target != "the catalog" else self.privilege


class PolarisApi:
    """One catalog's management calls.

    Args:
        http: a client with base URL ``…/api/management/v1`` that authenticates by itself.
        catalog: the catalog's name.

    Raises ReconcileError for an answer that is not expected, httpx.TransportError without an answer.
    """

    def __init__(self, http: httpx.Client, catalog: str) -> None:
        self._http = http
        self._catalog = f"/catalogs/{_quoted(catalog)}"
        self.catalog_name = catalog

    def catalog(self) -> dict[str, Any] | None:
        """The catalog, None when it does not exist."""
        response = self._http.get(self._catalog)
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        found: dict[str, Any] = _expect(response).json()
        return found

    def create_catalog(self, properties: Mapping[str, str], storage: Mapping[str, Any]) -> Outcome:
        """Makes the catalog."""
        body = {
            "catalog": {
                "type": "INTERNAL",
                "name": self.catalog_name,
                "properties": dict(properties),
                "storageConfigInfo": dict(storage),
            }
        }
        return self._create("/catalogs", body)

    def update_catalog(self, version: int, properties: Mapping[str, str], storage: Mapping[str, Any]) -> bool:
        """Changes the catalog; False when ``version`` is no longer its version."""
        body = {
            "currentEntityVersion": version,
            "properties": dict(properties),
            "storageConfigInfo": dict(storage),
        }
        response = self._http.put(self._catalog, json=body)
        if response.status_code == httpx.codes.CONFLICT:
            return False
        _expect(response)
        return True

    def principals(self) -> dict[str, dict[str, str]]:
        """Name → properties of all principals."""
        return _named(self._list("/principals", "principals"))

    def principal_roles(self) -> dict[str, dict[str, str]]:
        """Name → properties of all principal roles."""
        return _named(self._list("/principal-roles", "roles"))

    def catalog_roles(self) -> dict[str, dict[str, str]]:
        """Name → properties of the catalog's roles."""
        return _named(self._list(f"{self._catalog}/catalog-roles", "roles"))

    def create_principal(self, name: str, properties: Mapping[str, str]) -> Outcome:
        """Makes a principal. Its secret is in the answer, which nobody reads: its users come by token."""
        principal = {"name": name, "properties": dict(properties)}
        return self._create("/principals", {"principal": principal, "credentialRotationRequired": False})

    def create_principal_role(self, name: str, properties: Mapping[str, str]) -> Outcome:
        """Makes a principal role."""
        body = {"principalRole": {"name": name, "properties": dict(properties)}}
        return self._create("/principal-roles", body)

    def create_catalog_role(self, name: str, properties: Mapping[str, str]) -> Outcome:
        """Makes a role of the catalog."""
        body = {"catalogRole": {"name": name, "properties": dict(properties)}}
        return self._create(f"{self._catalog}/catalog-roles", body)

    def delete_principal(self, name: str) -> Outcome:
        """Removes a principal."""
        return self._delete(f"/principals/{_quoted(name)}")

    def delete_principal_role(self, name: str) -> Outcome:
        """Removes a principal role; its assignments go with it."""
        return self._delete(f"/principal-roles/{_quoted(name)}")

    def delete_catalog_role(self, name: str) -> Outcome:
        """Removes a role of the catalog; its grants and assignments go with it."""
        return self._delete(f"{self._catalog}/catalog-roles/{_quoted(name)}")

    def principals_with(self, principal_role: str) -> frozenset[str]:
        """The principals that have a principal role."""
        return frozenset(self._names(f"/principal-roles/{_quoted(principal_role)}/principals", "principals"))

    def assign_principal_role(self, principal: str, role: str) -> Outcome:
        """Gives a principal role to a principal; repeating it is harmless."""
        path = f"/principals/{_quoted(principal)}/principal-roles"
        _expect(self._http.put(path, json={"principalRole": {"name": role}}))
        return Outcome.CHANGED

    def unassign_principal_role(self, principal: str, role: str) -> Outcome:
        """Takes a principal role from a principal."""
        return self._delete(f"/principals/{_quoted(principal)}/principal-roles/{_quoted(role)}")

    def principal_roles_with(self, catalog_role: str) -> frozenset[str]:
        """The principal roles that have a role of the catalog."""
        path = f"{self._catalog}/catalog-roles/{_quoted(catalog_role)}/principal-roles"
        return frozenset(self._names(path, "roles"))

    def assign_catalog_role(self, principal_role: str, catalog_role: str) -> Outcome:
        """Gives a role of the catalog to a principal role; repeating it is harmless."""
        path = f"/principal-roles/{_quoted(principal_role)}/catalog-roles/{_quoted(self.catalog_name)}"
        _expect(self._http.put(path, json={"catalogRole": {"name": catalog_role}}))
        return Outcome.CHANGED

    def unassign_catalog_role(self, principal_role: str, catalog_role: str) -> Outcome:
        """Takes a role of the catalog from a principal role."""
        base = f"/principal-roles/{_quoted(principal_role)}/catalog-roles/{_quoted(self.catalog_name)}"
        return self._delete(f"{base}/{_quoted(catalog_role)}")

    def grants(self, catalog_role: str) -> frozenset[PolarisGrant]:
        """All grants of a role of the catalog."""
        found = self._list(self._grants_path(catalog_role), "grants")
        return frozenset(PolarisGrant.from_body(grant) for grant in found)

    def add_grant(self, catalog_role: str, grant: PolarisGrant) -> Outcome:
        """Adds a grant. PENDING: 404, which Polaris answers for a namespace or table that does not
        exist, sometimes in words about the role."""
        response = self._http.put(self._grants_path(catalog_role), json={"grant": grant.as_body()})
        if response.status_code == httpx.codes.NOT_FOUND:
            return Outcome.PENDING
        _expect(response)
        return Outcome.CHANGED

    def revoke_grant(self, catalog_role: str, grant: PolarisGrant) -> Outcome:
        """Takes a grant back, by POST. UNCHANGED: it or its object is gone already."""
        response = self._http.post(self._grants_path(catalog_role), json={"grant": grant.as_body()})
        return _taken(response)

    def _grants_path(self, catalog_role: str) -> str:
        return f"{self._catalog}/catalog-roles/{_quoted(catalog_role)}/grants"

    def _create(self, path: str, body: Mapping[str, Any]) -> Outcome:
        response = self._http.post(path, json=body)
        # A duplicate was made by somebody else since the listing, and will do.
        if response.status_code == httpx.codes.CONFLICT:
            return Outcome.UNCHANGED
        _expect(response)
        return Outcome.CHANGED

    def _delete(self, path: str) -> Outcome:
        return _taken(self._http.delete(path))

    def _list(self, path: str, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = _expect(self._http.get(path)).json()[key]
        return found

    def _names(self, path: str, key: str) -> list[str]:
        response = self._http.get(path)
        # Deleted since it was listed: nobody has it.
        if response.status_code == httpx.codes.NOT_FOUND:
            return []
        return [str(entity["name"]) for entity in _expect(response).json()[key]]


def _named(entities: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    return {str(entity["name"]): dict(entity.get("properties") or {}) for entity in entities}


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _taken(response: httpx.Response) -> Outcome:
    """What a deletion or revocation did. An entity that is gone answers 404, an assignment or grant that
    is gone 400."""
    gone = response.status_code == httpx.codes.NOT_FOUND or (
        response.status_code == httpx.codes.BAD_REQUEST and "GRANT_NOT_FOUND" in response.text
    )
    if gone:
        return Outcome.UNCHANGED
    _expect(response)
    return Outcome.CHANGED


def _expect(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    # The body of a refusal names entities and privileges; credentials come in successes only.
    raise ReconcileError(
        f"Polaris answered {response.status_code} to {response.request.method} {response.request.url.path}",
        value=response.text[:200] or None,
        next_command="lab logs catalog",
    )
