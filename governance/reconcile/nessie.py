"""Nessie: it has no table grants; who has raw access is said by one client role in the token."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.identity import CATALOG_WRITER_ROLE
from governance.reconcile.port import ConfirmTables, DesiredRoles, Journal, TableGrants


class NessieAdmin:
    """Nothing is written to Nessie itself: its rules read the roles in the token at every request."""

    kind = "nessie"
    table_grants = False

    def role_groups(self, desired: DesiredRoles) -> Mapping[str, frozenset[str]]:
        """The writer role, for exactly the groups that no rule holds back."""
        return {CATALOG_WRITER_ROLE: desired.writers}

    def prepare(self, services: frozenset[str], journal: Journal) -> None:
        """Nessie's rules know the services' role."""

    def converge_roles(self, desired: DesiredRoles, journal: Journal) -> None:
        """Nessie keeps no principals."""

    def converge_grants(
        self, desired: DesiredRoles, grants: TableGrants, confirm: ConfirmTables, journal: Journal
    ) -> None:
        """Nessie keeps no grants."""
