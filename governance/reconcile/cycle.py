"""One run of the reconciler, over Keycloak, the catalog's tables and the catalog.

The order keeps every moment safe: roles are taken in Keycloak first, then the catalog revokes and adds,
then Keycloak gives roles, and only if the catalog took everything, since a role that the catalog does
not know shuts its holder out.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from contracts.access import AccessData
from contracts.errors import LabError
from governance.client import ReconcileReport
from governance.derivation import derive_raw_grants, namespace_rights, unreadable_namespaces, writer_groups
from governance.reconcile.keycloak import GroupNode, KeycloakAdmin
from governance.reconcile.port import (
    RESERVED_GROUPS,
    CatalogAdmin,
    DesiredRoles,
    Journal,
    TableGrants,
)
from governance.reconcile.tables import CatalogTables


class Reconciler:
    """Runs one at a time; a second caller waits for the first.

    ``closed_namespaces`` are those that a catalog without table grants keeps from the writer role by its
    own rules; None when that is not known.
    """

    def __init__(
        self,
        keycloak: KeycloakAdmin,
        tables: CatalogTables,
        catalog: CatalogAdmin,
        *,
        closed_namespaces: frozenset[str] | None = None,
    ) -> None:
        self._closed_namespaces = closed_namespaces
        self._keycloak = keycloak
        self._tables = tables
        self._catalog = catalog
        self._lock = threading.Lock()
        self._converged_on: str | None = None

    @property
    def tables(self) -> CatalogTables:
        """The tables as they are known here."""
        return self._tables

    def group_names(self) -> frozenset[str]:
        """Names of the realm's groups, asked now. Raises ReconcileError or httpx.HTTPError."""
        return frozenset(group.name for group in self._keycloak.groups())

    def members(self) -> Mapping[str, frozenset[str]]:
        """Enabled members of every group of the realm, those of its subgroups among them."""
        groups = self._keycloak.groups()
        return self._keycloak.identities(frozenset(group.name for group in groups), groups).members

    def user_groups(self, username: str) -> frozenset[str] | None:
        """Groups of a user, None when there is no such user. Raises as :meth:`group_names`."""
        return self._keycloak.user_groups(username)

    def usernames(self) -> list[str]:
        """Users to suggest. Raises as :meth:`group_names`."""
        return self._keycloak.usernames()

    def raw_grants(self, access: AccessData, owners: Mapping[str, str]) -> TableGrants:
        """What raw engines may do in each group's name on this catalog, with the tables as they are known
        here. Without table grants only writers have access at all."""
        grants = self._derive(access, owners)
        if self._catalog.table_grants:
            return grants
        writers = self._writers(access, owners)
        return {group: tables for group, tables in grants.items() if group in writers}

    def run(
        self,
        access: AccessData | None,
        *,
        revision: int | None,
        owners: Mapping[str, str],
        everything: bool = False,
    ) -> ReconcileReport:
        """Converges the catalog on ``access``; before the first revision (None) only its services.

        ``everything`` loads every table anew. Never raises for what Keycloak or the catalog answer:
        that is in the report.
        """
        with self._lock:
            started, started_at = time.monotonic(), datetime.now(tz=UTC)
            journal = Journal()
            inputs: str | None = None
            with journal.step("reconcile"):
                inputs = self._converge(access, owners, everything, journal)
            undone = journal.changes if inputs is not None and inputs == self._converged_on else []
            if not journal.errors:
                self._converged_on = inputs
            return ReconcileReport(
                catalog_kind=self._catalog.kind,
                revision=revision,
                started_at=started_at,
                duration_s=round(time.monotonic() - started, 3),
                tables=len(self._tables.names()),
                changes=tuple(journal.changes),
                drift=tuple(undone),
                pending=tuple(journal.pending),
                errors=tuple(journal.errors),
            )

    def _converge(
        self, access: AccessData | None, owners: Mapping[str, str], everything: bool, journal: Journal
    ) -> str | None:
        """Does the work; returns a digest of all that it followed from."""
        groups = self._keycloak.groups()
        self._read_tables(groups, everything, journal)
        if access is None:
            self._catalog.prepare(self._keycloak.identities(frozenset(), groups).services, journal)
            return None
        grants = self._derive(access, owners)
        desired = self._desired(access, owners, grants, groups, journal)
        role_groups = self._catalog.role_groups(desired)
        self._keycloak.revoke_roles(role_groups, groups, journal)
        self._catalog.converge_roles(desired, journal)

        def confirm(named: frozenset[str]) -> TableGrants:
            self._tables.confirm(named)
            return self._derive(access, owners)

        self._catalog.converge_grants(desired, grants, confirm, journal)
        if not journal.errors:
            self._keycloak.grant_roles(role_groups, groups, journal)
        return self._digest(desired, grants)

    def _read_tables(self, groups: tuple[GroupNode, ...], everything: bool, journal: Journal) -> None:
        try:
            self._tables.refresh(everything=everything)
        except LabError:
            # On a new catalog the governor's own account may not read yet: give the services their
            # due, touch nobody else, and ask again. What still fails ends this run.
            services = self._keycloak.identities(frozenset(), groups).services
            self._catalog.prepare(services, journal)
            self._tables.refresh(everything=everything)

    def _derive(self, access: AccessData, owners: Mapping[str, str]) -> TableGrants:
        return derive_raw_grants(access, self._tables.columns(), owners)

    def _desired(
        self,
        access: AccessData,
        owners: Mapping[str, str],
        grants: TableGrants,
        groups: tuple[GroupNode, ...],
        journal: Journal,
    ) -> DesiredRoles:
        names = frozenset(group.name for group in groups)
        creators, loaders = _creators(access, owners)
        writers = self._writers(access, owners)
        readers = frozenset(group for group, tables in grants.items() if any(tables.values()))
        touching = readers | writers | frozenset().union(*creators.values())
        for group in sorted(touching & RESERVED_GROUPS):
            journal.errors.append(
                f"group {group!r} has a name that the catalog keeps for itself: no raw access"
            )
        allowed = (touching & names) - RESERVED_GROUPS
        return DesiredRoles(
            identities=self._keycloak.identities(allowed, groups),
            groups=allowed,
            creators={namespace: held & allowed for namespace, held in creators.items()},
            loaders={namespace: held & allowed for namespace, held in loaders.items()},
            writers=writers & allowed,
        )

    def _writers(self, access: AccessData, owners: Mapping[str, str]) -> frozenset[str]:
        """Groups for the role that opens a catalog without table grants. When it is known which
        namespaces the catalog's own rules keep from that role, a group must need no other kept from it."""
        tables = self._tables.columns()
        writers = frozenset(writer_groups(access, tables, owners))
        closed = self._closed_namespaces
        if closed is None:
            return writers
        return frozenset(
            group for group in writers if unreadable_namespaces(access, tables, owners, [group]) <= closed
        )

    def _digest(self, desired: DesiredRoles, grants: TableGrants) -> str:
        uuids = sorted((name, info.uuid) for name, info in self._tables.known().items())
        canonical = (
            sorted((group, sorted(users)) for group, users in desired.identities.members.items()),
            sorted(desired.identities.services),
            sorted((place, sorted(groups)) for place, groups in desired.creators.items()),
            sorted((place, sorted(groups)) for place, groups in desired.loaders.items()),
            sorted(desired.writers),
            sorted((g, t, sorted(p)) for g, tables in grants.items() for t, p in tables.items()),
            uuids,
        )
        return hashlib.sha256(repr(canonical).encode()).hexdigest()


def _creators(
    access: AccessData, owners: Mapping[str, str]
) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """Namespace → groups that may create any table in it, and → those that may write every one of it."""
    creators: dict[str, set[str]] = {}
    loaders: dict[str, set[str]] = {}
    for group, rights in namespace_rights(access, owners).items():
        for namespace in rights.creatable:
            creators.setdefault(namespace, set()).add(group)
            if namespace in rights.writable:
                loaders.setdefault(namespace, set()).add(group)
    return _frozen(creators), _frozen(loaders)


def _frozen(groups: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {namespace: frozenset(held) for namespace, held in groups.items()}
