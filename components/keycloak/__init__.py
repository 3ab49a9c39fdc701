"""Keycloak, the lab's identity provider, on the slot's own database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pulumi

from components.keycloak.properties import ADMIN_CLIENT_ID, command, environment
from components.service import LabContext, Service, secret
from contracts.workload import Layout, Port, Probe, Workload

__all__ = ["ADMIN_CLIENT_ID", "Keycloak", "KeycloakArgs", "workload"]


@dataclass(frozen=True, kw_only=True)
class KeycloakArgs:
    """What Keycloak needs. The database's values may be secret."""

    hostname_url: str
    database_jdbc_url: pulumi.Input[str]
    database_role: pulumi.Input[str]
    database_password: pulumi.Input[str]
    admin_client_secret: pulumi.Input[str]


def workload(args: KeycloakArgs, layout: Layout) -> Workload:
    """Ready once realm ``master`` answers: the port opens earlier."""
    return Workload(
        name="keycloak",
        artifact="keycloak",
        command=command(layout),
        ports=(
            Port(name="http", number=layout.ports["http"]),
            Port(name="management", number=layout.ports["management"]),
        ),
        readiness=Probe(
            port="http", path="/realms/master/.well-known/openid-configuration", body_contains="issuer"
        ),
        env={
            **environment(layout, hostname_url=args.hostname_url),
            "KC_DB_URL": args.database_jdbc_url,
            "KC_DB_USERNAME": args.database_role,
            "KC_DB_PASSWORD": args.database_password,
            "KC_BOOTSTRAP_ADMIN_CLIENT_SECRET": args.admin_client_secret,
        },
        memory_mib=380,
        cpu_millicores=500,
        depends_on=("postgres",),
        reaches=("postgres/tcp", "control-plane/http"),
    )


class Keycloak(Service):
    """The identity provider."""

    kind: ClassVar[str] = "keycloak"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        slot = context.slot
        args = KeycloakArgs(
            hostname_url=context.placement.operator_url("keycloak", "http"),
            database_jdbc_url=slot.apply(lambda s: s.keycloak_database.jdbc_url),
            database_role=slot.apply(lambda s: s.keycloak_database.role),
            database_password=secret(slot, lambda s: s.keycloak_database.password),
            admin_client_secret=secret(slot, lambda s: s.secrets.keycloak_admin_client_secret),
        )
        layout = context.placement.layout("keycloak", "keycloak", ("http", "management"))
        super().__init__(context.placement, workload(args, layout), opts)
