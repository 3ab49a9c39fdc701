"""What the reconciler needs of a catalog, and the values it works with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import httpx

from contracts.access import Privilege
from contracts.errors import LabError
from contracts.identity import CATALOG_ROLE_PREFIX, CATALOG_SERVICE_ROLE

log = logging.getLogger(__name__)

SERVICE_PRINCIPAL_ROLE = CATALOG_SERVICE_ROLE.removeprefix(CATALOG_ROLE_PREFIX)

RESERVED_GROUPS: frozenset[str] = frozenset(
    {
        SERVICE_PRINCIPAL_ROLE,
        "root",
        "service_admin",
        "catalog_admin",
    }
)
"""A Keycloak group of such a name would turn into one of the catalog's own roles: never reconciled."""


class ReconcileError(LabError):
    """A product answered what the reconciler can't go on from."""


@dataclass(frozen=True, kw_only=True)
class Identities:
    """What is read from Keycloak. ``members`` holds the enabled users of each group that may touch the
    catalog, those of its subgroups included, since they inherit its roles; ``services`` the service
    accounts with ``catalog_service``."""

    members: Mapping[str, frozenset[str]]
    services: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class DesiredRoles:
    """Who is to be what in the catalog.

    ``groups`` are those that may touch it, ``creators`` maps a namespace to the groups that may create
    tables in it, ``loaders`` to those of them that may also read and write every table of it raw.
    """

    identities: Identities
    groups: frozenset[str]
    creators: Mapping[str, frozenset[str]]
    loaders: Mapping[str, frozenset[str]]


TableGrants = Mapping[str, Mapping[str, frozenset[Privilege]]]
"""group → ``ns.table`` → privileges."""

ConfirmTables = Callable[[frozenset[str]], TableGrants]
"""Reads the named tables anew and gives all grants as they follow from that. Asked before grants are
added to tables: a table whose grants are missing may have been dropped and made anew."""


@dataclass(kw_only=True)
class Journal:
    """What a run did. A failed step is noted, and the steps that do not build on it go on."""

    changes: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def wrote(self, change: str) -> None:
        """Notes a write that was made."""
        log.info("reconcile: %s", change)
        self.changes.append(change)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Notes what the body raises as an error of this run, and goes on behind it."""
        try:
            yield
        except (LabError, httpx.HTTPError) as error:
            self.errors.append(f"{what}: {_first_line(error)}")


class CatalogAdmin(Protocol):
    """A catalog's own administration."""

    @property
    def kind(self) -> str:
        """``polaris`` or ``nessie``."""
        ...

    @property
    def table_grants(self) -> bool:
        """Whether it has grants on tables; without, raw engines have what ``RawRights`` gives."""
        ...

    def role_groups(self, desired: DesiredRoles) -> Mapping[str, frozenset[str]]:
        """Client role of the Keycloak client ``catalog`` → the groups that are to have it."""
        ...

    def prepare(self, services: frozenset[str], journal: Journal) -> None:
        """Catalog, and the services' right to all content; only adds."""
        ...

    def converge_roles(self, desired: DesiredRoles, journal: Journal) -> None:
        """Catalog, principals, roles and assignments; revokes before it adds."""
        ...

    def converge_grants(
        self, desired: DesiredRoles, grants: TableGrants, confirm: ConfirmTables, journal: Journal
    ) -> None:
        """Grants on namespaces and tables; revokes before it adds."""
        ...


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0]
