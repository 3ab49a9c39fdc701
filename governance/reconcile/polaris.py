"""Polaris: principals, roles, assignments and grants, both ways, from the access data.

One principal role and one catalog role for each Keycloak group that may touch the catalog, and one of
each for the services. A token's roles only select: what is not assigned here answers 401, so Polaris
converges before Keycloak gives a role, and after it took one. What the lab makes carries a property;
only such entities are ever deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contracts.access import Privilege
from contracts.identity import CATALOG_ROLE_PREFIX
from governance.reconcile.polaris_api import Outcome, PolarisApi, PolarisGrant
from governance.reconcile.port import (
    SERVICE_PRINCIPAL_ROLE,
    ConfirmTables,
    DesiredRoles,
    Journal,
    ReconcileError,
    TableGrants,
)

MANAGED: Mapping[str, str] = {"managed-by": "lakehouse-lab"}

_ROOT = "root"
_UPDATE_ATTEMPTS = 3
_SERVICE_GRANTS = frozenset({PolarisGrant(type="catalog", privilege="CATALOG_MANAGE_CONTENT")})
_NAMESPACE_PRIVILEGES = ("NAMESPACE_READ_PROPERTIES", "TABLE_LIST", "VIEW_LIST")
_TABLE_PRIVILEGES: Mapping[Privilege, tuple[str, ...]] = {
    Privilege.SELECT: ("TABLE_READ_DATA",),
    Privilege.INSERT: ("TABLE_WRITE_DATA",),
    Privilege.UPDATE: ("TABLE_WRITE_DATA",),
    Privilege.DELETE: ("TABLE_WRITE_DATA",),
    Privilege.MAINTAIN: ("TABLE_WRITE_DATA",),
    Privilege.ALTER: ("TABLE_WRITE_PROPERTIES",),
    Privilege.DROP: ("TABLE_DROP",),
    Privilege.CREATE: (),
}
"""Every commit to an Iceberg table is one write in Polaris; creating is a privilege on the namespace."""


class PolarisAdmin:
    """Converges one Polaris catalog.

    Args:
        api: management calls, with a principal that has ``service_admin``.
        properties: the catalog's properties; others that it has are left alone.
        storage: its ``storageConfigInfo``.
    """

    kind = "polaris"
    table_grants = True

    def __init__(self, api: PolarisApi, *, properties: Mapping[str, str], storage: Mapping[str, Any]) -> None:
        self._api = api
        self._properties = dict(properties)
        self._storage = dict(storage)

    def role_groups(self, desired: DesiredRoles) -> Mapping[str, frozenset[str]]:
        """A role of its own for every group."""
        return {f"{CATALOG_ROLE_PREFIX}{group}": frozenset({group}) for group in desired.groups}

    def prepare(self, services: frozenset[str], journal: Journal) -> None:
        """Catalog, and the services' right to all content; takes nothing from anybody."""
        self._converge({SERVICE_PRINCIPAL_ROLE: services}, journal, prune=False)

    def converge_roles(self, desired: DesiredRoles, journal: Journal) -> None:
        """Catalog, principals, roles, assignments and what the services may do."""
        holders = {
            **{group: desired.identities.members.get(group, frozenset()) for group in desired.groups},
            SERVICE_PRINCIPAL_ROLE: desired.identities.services,
        }
        self._converge(holders, journal, prune=True)

    def converge_grants(
        self, desired: DesiredRoles, grants: TableGrants, confirm: ConfirmTables, journal: Journal
    ) -> None:
        """Grants of the groups on namespaces and tables."""
        current: dict[str, frozenset[PolarisGrant]] = {}
        for group in sorted(desired.groups):
            with journal.step(f"Polaris grants of {group}"):
                current.update(self._current([group]))
        wanted = _group_grants(desired, grants)
        unsure = {
            _table_name(grant)
            for group, held in current.items()
            for grant in wanted[group] - held
            if grant.type == "table"
        }
        if unsure:
            # Should the tables not answer, what is surplus goes and nothing is added.
            certain = {group: wanted[group] & current[group] for group in current}
            with journal.step("tables whose grants are missing"):
                certain = _group_grants(desired, confirm(frozenset(unsure)))
            wanted = certain
        self._apply({group: wanted[group] for group in current}, current, journal)

    def _converge(self, holders: Mapping[str, frozenset[str]], journal: Journal, *, prune: bool) -> None:
        with journal.step("Polaris catalog"):
            self._converge_catalog(journal)
        with journal.step("Polaris principals and principal roles"):
            self._converge_principals(holders, journal, prune)
        with journal.step("Polaris catalog roles"):
            self._converge_catalog_roles(frozenset(holders), journal, prune)
        with journal.step("Polaris grants of the services"):
            held = self._current([SERVICE_PRINCIPAL_ROLE])
            self._apply({SERVICE_PRINCIPAL_ROLE: _SERVICE_GRANTS}, held, journal)

    def _converge_catalog(self, journal: Journal) -> None:
        for _ in range(_UPDATE_ATTEMPTS):
            found = self._api.catalog()
            if found is None:
                if self._api.create_catalog(self._properties, self._storage) is Outcome.CHANGED:
                    journal.wrote(f"Polaris: catalog {self._api.catalog_name} made")
                    return
                continue
            held = dict(found.get("properties") or {})
            if _holds(held, self._properties) and _holds(found.get("storageConfigInfo"), self._storage):
                return
            properties = {**held, **self._properties}
            if self._api.update_catalog(int(found["entityVersion"]), properties, self._storage):
                journal.wrote(f"Polaris: catalog {self._api.catalog_name} updated")
                return
        raise ReconcileError(
            f"catalog {self._api.catalog_name!r} changed {_UPDATE_ATTEMPTS} times while it was being updated",
            next_command="lab status",
        )

    def _converge_principals(
        self, holders: Mapping[str, frozenset[str]], journal: Journal, prune: bool
    ) -> None:
        api = self._api
        principals, roles = api.principals(), api.principal_roles()
        people = frozenset().union(*holders.values()) - {_ROOT}
        gone = _surplus(principals, people) if prune else frozenset()
        for role in sorted(_surplus(roles, frozenset(holders)) if prune else ()):
            _note(journal, api.delete_principal_role(role), f"principal role {role} removed")
            del roles[role]
        for principal in sorted(gone):
            _note(journal, api.delete_principal(principal), f"principal {principal} removed")
        held = {role: api.principals_with(role) - gone for role in roles}
        if prune:
            self._revoke_assignments(holders, held, people, api.unassign_principal_role, journal)
        for role in sorted(holders.keys() - roles.keys()):
            _note(journal, api.create_principal_role(role, MANAGED), f"principal role {role} made")
        for principal in sorted(people - principals.keys()):
            _note(journal, api.create_principal(principal, MANAGED), f"principal {principal} made")
        for role, wanted in sorted(holders.items()):
            for principal in sorted(wanted - {_ROOT} - held.get(role, frozenset())):
                with journal.step(f"Polaris principal {principal}"):
                    outcome = api.assign_principal_role(principal, role)
                    _note(journal, outcome, f"principal role {role} given to {principal}")

    def _converge_catalog_roles(self, roles: frozenset[str], journal: Journal, prune: bool) -> None:
        api = self._api
        found = api.catalog_roles()
        for role in sorted(_surplus(found, roles) if prune else ()):
            _note(journal, api.delete_catalog_role(role), f"catalog role {role} removed")
            del found[role]
        held = {role: api.principal_roles_with(role) for role in found}
        wanted = {role: frozenset({role}) for role in roles}
        if prune:
            self._revoke_assignments(wanted, held, roles, api.unassign_catalog_role, journal)
        for role in sorted(roles - found.keys()):
            _note(journal, api.create_catalog_role(role, MANAGED), f"catalog role {role} made")
        for role in sorted(roles):
            if role not in held.get(role, frozenset()):
                with journal.step(f"Polaris catalog role {role}"):
                    outcome = api.assign_catalog_role(role, role)
                    _note(journal, outcome, f"catalog role {role} given to principal role {role}")

    def _revoke_assignments(
        self,
        wanted: Mapping[str, frozenset[str]],
        held: Mapping[str, frozenset[str]],
        ours: frozenset[str],
        unassign: Callable[[str, str], Outcome],
        journal: Journal,
    ) -> None:
        """Takes roles of the lab from whoever is not to have them, and other roles from the lab's own."""
        for role, holders in sorted(held.items()):
            surplus = holders - wanted[role] if role in wanted else holders & ours
            for holder in sorted(surplus):
                with journal.step(f"Polaris role {role}"):
                    _note(journal, unassign(holder, role), f"role {role} taken from {holder}")

    def _current(self, roles: list[str]) -> dict[str, frozenset[PolarisGrant]]:
        return {role: self._api.grants(role) for role in roles}

    def _apply(
        self,
        wanted: Mapping[str, frozenset[PolarisGrant]],
        current: Mapping[str, frozenset[PolarisGrant]],
        journal: Journal,
    ) -> None:
        for role in sorted(wanted):
            for grant in sorted(current[role] - wanted[role]):
                with journal.step(f"Polaris grant {grant} of {role}"):
                    _note(journal, self._api.revoke_grant(role, grant), f"{grant} taken from {role}")
        for role in sorted(wanted):
            for grant in sorted(wanted[role] - current[role]):
                with journal.step(f"Polaris grant {grant} of {role}"):
                    outcome = self._api.add_grant(role, grant)
                    if outcome is Outcome.PENDING:
                        journal.pending.append(f"Polaris: {grant} for {role}: no such object yet")
                    _note(journal, outcome, f"{grant} given to {role}")


def _group_grants(desired: DesiredRoles, grants: TableGrants) -> dict[str, frozenset[PolarisGrant]]:
    """Everything each group is to hold."""
    wanted: dict[str, set[PolarisGrant]] = {
        group: {PolarisGrant(type="catalog", privilege="NAMESPACE_LIST")} for group in desired.groups
    }
    for group, tables in grants.items():
        if group not in wanted:
            continue
        for table, privileges in tables.items():
            *levels, name = table.split(".")
            namespace = tuple(levels)
            needed = {p for privilege in privileges for p in _TABLE_PRIVILEGES[privilege]}
            wanted[group] |= _namespace_grants(namespace, _NAMESPACE_PRIVILEGES)
            wanted[group] |= {
                PolarisGrant(type="table", privilege=p, namespace=namespace, name=name) for p in needed
            }
    for place, groups in desired.creators.items():
        for group in groups & wanted.keys():
            namespace = tuple(place.split("."))
            wanted[group] |= _namespace_grants(namespace, (*_NAMESPACE_PRIVILEGES, "TABLE_CREATE"))
            if group in desired.loaders.get(place, frozenset()):
                # Credentials for the files of a table that is being created need it on the namespace,
                # where it reaches every table: only for groups that may write each of them.
                wanted[group] |= _namespace_grants(namespace, ("TABLE_WRITE_DATA",))
    return {group: frozenset(held) for group, held in wanted.items()}


def _namespace_grants(namespace: tuple[str, ...], privileges: tuple[str, ...]) -> set[PolarisGrant]:
    return {PolarisGrant(type="namespace", privilege=p, namespace=namespace) for p in privileges}


def _table_name(grant: PolarisGrant) -> str:
    return ".".join((*grant.namespace, grant.name))


def _managed(properties: Mapping[str, str]) -> bool:
    return all(properties.get(key) == value for key, value in MANAGED.items())


def _surplus(found: Mapping[str, Mapping[str, str]], wanted: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name, held in found.items() if name not in wanted and _managed(held))


def _holds(found: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether ``found`` has all that is wanted; what the server adds does not matter, nor list order."""
    if not isinstance(found, Mapping):
        return False
    for key, value in wanted.items():
        held = found.get(key)
        if isinstance(value, list) and isinstance(held, list):
            if sorted(value) != sorted(held):
                return False
        elif held != value:
            return False
    return True


def _note(journal: Journal, outcome: Outcome, change: str) -> None:
    if outcome is Outcome.CHANGED:
        journal.wrote(f"Polaris: {change}")
