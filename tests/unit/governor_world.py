"""A realm and a catalog that behave as observed, and a reconciler between them."""

from __future__ import annotations

import httpx
import pytest

from contracts.access import AccessData, Grant, Mask, Privilege, Rule, RuleKind, TagAssignment
from governance.client import ReconcileReport
from governance.reconcile.cycle import Reconciler
from governance.reconcile.groups import RealmGroups
from governance.reconcile.keycloak import KeycloakAdmin
from governance.reconcile.namespaces import Namespaces
from governance.reconcile.nessie import NessieAdmin
from governance.reconcile.oauth import ClientCredentials
from governance.reconcile.polaris import PolarisAdmin
from governance.reconcile.polaris_api import PolarisApi
from governance.reconcile.tables import CatalogTables
from tests.unit.governor_http import client
from tests.unit.governor_keycloak import CLIENT_SECRET, REALM, FakeKeycloak
from tests.unit.governor_polaris import CATALOG, ROOT_SECRET, FakePolaris

ALL = tuple(Privilege)
READ = (Privilege.SELECT,)

ACCESS = AccessData(
    grants=(
        Grant(group="data_engineers", object="retail.*", privileges=ALL),
        Grant(group="auditors", object="retail.*", privileges=READ),
        Grant(group="analysts", object="retail.orders", privileges=READ),
        Grant(group="analysts", object="retail.customer", privileges=READ),
    ),
    tags=(TagAssignment(object="retail.customer.email", tag="pii.email"),),
    rules=(
        Rule(
            id="email",
            kind=RuleKind.COLUMN_MASK,
            tag="pii.email",
            mask=Mask.EMAIL_DOMAIN,
            exempt=("data_engineers",),
        ),
    ),
)
STORAGE = {"storageType": "S3", "allowedLocations": ["s3://b/w"], "kmsUnavailable": True}

RETAIL = [f"retail.{name}" for name in ("customer", "nation", "orders", "part", "region")]
UNRULED = [name for name in RETAIL if name != "retail.customer"]
EXPECTED = {
    "engineer": RETAIL,
    "Ada.Lovelace@x": RETAIL,
    "auditor": UNRULED,
    "analyst": ["retail.orders"],
    "stranger": [],
}
"""Who reads which table raw, once converged."""


class World:
    """A realm, a catalog, and the reconciler between them."""

    def __init__(self, *, nessie: bool = False, closed: frozenset[str] = frozenset()) -> None:
        self.keycloak = FakeKeycloak(
            {
                "data_engineers": {"engineer", "Ada.Lovelace@x"},
                "auditors": {"auditor"},
                "analysts": {"analyst", "engineer"},
                "strangers": {"stranger"},
            }
        )
        self.polaris = FakePolaris()
        for name in ("orders", "customer", "part", "region", "nation"):
            self.polaris.create_table("retail", name, ("id", "email"))
        self.access: AccessData | None = ACCESS
        self.owners: dict[str, str] = {}
        self.nessie = nessie
        self.closed = closed
        self.reconciler = self.restart()

    def restart(self) -> Reconciler:
        """A new process: nothing remembered."""
        token_url = "http://kc/realms/lab/protocol/openid-connect/token"

        def answer(request: httpx.Request) -> httpx.Response:
            handler = self.keycloak.handle if request.url.host == "kc" else self.polaris.handle
            return handler(request)

        token = ClientCredentials(token_url, "governor", CLIENT_SECRET)
        realm = client(answer, f"http://kc/admin/realms/{REALM}")
        rest = client(answer, "http://polaris/api/catalog")
        realm.auth = rest.auth = token
        management = client(answer, "http://polaris/api/management/v1")
        management.auth = ClientCredentials(
            "http://polaris/api/catalog/v1/oauth/tokens", "root", ROOT_SECRET, scope="PRINCIPAL_ROLE:ALL"
        )
        properties = {"default-base-location": "s3://b/w"}
        polaris = PolarisAdmin(PolarisApi(management, CATALOG), properties=properties, storage=STORAGE)
        self.groups, self.namespaces = RealmGroups(realm), Namespaces(rest, CATALOG)
        self.reconciler = Reconciler(
            KeycloakAdmin(realm),
            CatalogTables(rest, CATALOG),
            NessieAdmin() if self.nessie else polaris,
            closed_namespaces=self.closed,
        )
        return self.reconciler

    def run(self, *, everything: bool = False) -> ReconcileReport:
        """One run."""
        return self.reconciler.run(self.access, revision=1, owners=self.owners, everything=everything)

    def converge(self) -> ReconcileReport:
        """One run that must leave nothing to do."""
        report = self.run()
        assert report.complete, report
        return report

    def read(self, user: str, table: str) -> int:
        """Status of a raw read with the user's current token."""
        return self.polaris.read(user, self.keycloak.token_roles(user), table)

    def matrix(self) -> dict[str, list[str]]:
        """Who reads which table raw."""
        users = sorted({user for members in self.keycloak.members.values() for user in members})
        tables = [f"{'.'.join(ns)}.{name}" for ns, held in self.polaris.tables.items() for name in held]
        return {user: sorted(t for t in tables if self.read(user, t) == 200) for user in users}

    @property
    def writes(self) -> list[str]:
        """All writes to both products."""
        return [*self.polaris.writes, *self.keycloak.writes]


@pytest.fixture
def world() -> World:
    """A realm and an empty Polaris."""
    return World()


@pytest.fixture
def settled(world: World) -> World:
    """The same, converged."""
    world.converge()
    world.polaris.writes.clear()
    world.keycloak.writes.clear()
    return world
