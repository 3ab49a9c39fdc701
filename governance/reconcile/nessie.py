"""Nessie: it has no table grants, and takes nobody but the services; raw engines come through the
governor's own door (``governance.rawcatalog``)."""

from __future__ import annotations

from collections.abc import Mapping

from governance.reconcile.port import ConfirmTables, DesiredRoles, Journal, TableGrants


class NessieAdmin:
    """Nothing is written to Nessie itself: its rules read the services' role in the token."""

    kind = "nessie"
    table_grants = False

    def role_groups(self, desired: DesiredRoles) -> Mapping[str, frozenset[str]]:  # noqa: ARG002 - the port's signature
        """None: a role would open every table alike."""
        return {}

    def prepare(self, services: frozenset[str], journal: Journal) -> None:
        """Nessie's rules know the services' role."""

    def converge_roles(self, desired: DesiredRoles, journal: Journal) -> None:
        """Nessie keeps no principals."""

    def converge_grants(
        self, desired: DesiredRoles, grants: TableGrants, confirm: ConfirmTables, journal: Journal
    ) -> None:
        """Nessie keeps no grants."""
