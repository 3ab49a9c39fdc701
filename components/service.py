"""The base of every component that is one service, and what components are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import pulumi

from components.registry import selected
from contracts.identity import CATALOG_DOOR_PATH, RealmModel
from contracts.outputs import Slot
from contracts.settings import Settings
from contracts.workload import Deployed, Placement, Scheme, Workload

TRINO_CATALOG = "lake"
"""The name of the lab's one Iceberg catalog, in Trino and as the catalog's warehouse."""


@dataclass(frozen=True, kw_only=True)
class LabContext:
    """What a component may know: settings, where to deploy, and this lab's slot of what is kept."""

    settings: Settings
    placement: Placement
    slot: pulumi.Output[Slot]
    realm: RealmModel
    catalog_kind: str

    @property
    def services(self) -> frozenset[str]:
        """Names of the services that this lab runs."""
        chosen = selected(self.settings.components, self.catalog_kind)
        return frozenset(name for info in chosen for name in info.services)

    @property
    def issuer_url(self) -> str:
        """The one issuer string of this lab; every token carries it."""
        return f"{self.placement.public_url('keycloak', 'http')}/realms/{self.realm.realm}"

    @property
    def operator_realm_url(self) -> str:
        """The realm as the operator's machine reaches it."""
        return f"{self.placement.operator_url('keycloak', 'http')}/realms/{self.realm.realm}"

    @property
    def realm_url(self) -> str:
        """The realm as services reach it: JWKS and token endpoints lie below it."""
        return f"{self.placement.internal_url('keycloak', 'http')}/realms/{self.realm.realm}"

    @property
    def jwks_url(self) -> str:
        return f"{self.realm_url}/protocol/openid-connect/certs"

    @property
    def token_url(self) -> str:
        return f"{self.realm_url}/protocol/openid-connect/token"

    @property
    def catalog_uri(self) -> str:
        """The Iceberg REST endpoint as services reach it."""
        return self._catalog_uri(self.placement.internal_url)

    @property
    def raw_catalog_uri(self) -> str:
        """The Iceberg REST endpoint of raw engines. Nessie has no grants on tables and takes services alone:
        the governor answers in its place."""
        return self._raw_catalog_uri(self.placement.internal_url)

    @property
    def raw_catalog_edge(self) -> str:
        """The workload and port behind ``raw_catalog_uri``, as a workload declares what it reaches."""
        return "governor/http" if self.catalog_kind == "nessie" else "catalog/http"

    @property
    def operator_catalog_uri(self) -> str:
        """``catalog_uri`` as the operator's machine reaches it."""
        return self._catalog_uri(self.placement.operator_url)

    @property
    def operator_raw_catalog_uri(self) -> str:
        """``raw_catalog_uri`` as the operator's machine reaches it."""
        return self._raw_catalog_uri(self.placement.operator_url)

    @property
    def operator_token_url(self) -> str:
        """``token_url`` as the operator's machine reaches it."""
        return f"{self.operator_realm_url}/protocol/openid-connect/token"

    def _catalog_uri(self, url: Callable[[str, str], str]) -> str:
        path = {"nessie": "/iceberg", "polaris": "/api/catalog"}[self.catalog_kind]
        return f"{url('catalog', 'http')}{path}"

    def _raw_catalog_uri(self, url: Callable[[str, str], str]) -> str:
        if self.catalog_kind == "nessie":
            return f"{url('governor', 'http')}{CATALOG_DOOR_PATH}"
        return self._catalog_uri(url)

    @property
    def trino_url(self) -> str:
        return self.placement.operator_url("trino", "https", Scheme.HTTPS)

    def redirect_base_url(self, client_id: str) -> str:
        """Where browsers reach the service that signs people in as ``client_id``."""
        if client_id == "trino":
            return self.placement.public_url("trino", "https", Scheme.HTTPS)
        return self.placement.public_url(client_id, "http")

    def client_secret(self, client_id: str) -> pulumi.Output[str]:
        """The secret of one of the realm's clients."""
        return secret(self.slot, lambda slot: slot.secrets.client_secrets[client_id])

    def persona_password(self, username: str) -> pulumi.Output[str]:
        """The initial password of one sample user."""
        return secret(self.slot, lambda slot: slot.secrets.persona_passwords[username])


def secret(slot: pulumi.Output[Slot], pick: Callable[[Slot], str]) -> pulumi.Output[str]:
    """One value of the slot, marked secret."""
    return pulumi.Output.secret(slot.apply(pick))


class Service(pulumi.ComponentResource):
    """A component that is one workload. Subclasses set ``kind`` and build the workload."""

    kind: ClassVar[str]
    deployed: Deployed

    def __init__(
        self,
        placement: Placement,
        workload: Workload,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(f"lab:component:{self.kind}", workload.name, None, opts)
        self.deployed = placement.deploy(workload, pulumi.ResourceOptions(parent=self))
        self.register_outputs({"urls": dict(self.deployed.operator_urls)})

    @property
    def address(self) -> str:
        """The URL of its first port, as people reach it."""
        return next(iter(self.deployed.operator_urls.values()))
