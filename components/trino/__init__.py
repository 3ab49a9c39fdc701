"""Trino: SQL for every persona, with OPA's rules on every query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pulumi

from components.service import TRINO_CATALOG, LabContext, Service, secret
from components.trino.properties import (
    access_control,
    command,
    config,
    event_listener,
    lake_catalog,
    log_levels,
    masking_catalog,
)
from contracts.access import MASK_KEY
from contracts.workload import Capability, Layout, Port, Probe, Scheme, Workload, WorkloadClass


@dataclass(frozen=True, kw_only=True)
class TrinoArgs:
    """Identity provider, catalog, object store, policy decisions, the masks' key, audit, and the server's
    certificate."""

    issuer_url: str
    realm_url: str
    token_url: str
    catalog_uri: str
    opa_url: str
    audit_url: str
    heap_mib: int
    masking_jdbc_url: pulumi.Input[str]
    masking_role: pulumi.Input[str]
    masking_password: pulumi.Input[str]
    min_retention_days: int
    s3_endpoint_url: pulumi.Input[str]
    s3_region: pulumi.Input[str]
    s3_path_style: pulumi.Input[str]
    client_secret: pulumi.Input[str]
    internal_secret: pulumi.Input[str]
    audit_token: pulumi.Input[str]
    server_pem: pulumi.Input[str]
    ca_certificate: pulumi.Input[str]


def workload(args: TrinoArgs, layout: Layout) -> Workload:
    """One coordinator that also works."""
    return Workload(
        name="trino",
        artifact="trino",
        command=command(layout, heap_mib=args.heap_mib),
        ports=(
            Port(name="https", number=layout.ports["https"], scheme=Scheme.HTTPS),
            Port(name="internal", number=layout.ports["internal"]),
        ),
        readiness=Probe(port="https", path="/v1/info", body_contains='"starting":false'),
        env={
            "TRINO_CLIENT_SECRET": args.client_secret,
            "TRINO_INTERNAL_SECRET": args.internal_secret,
            "TRINO_AUDIT_TOKEN": args.audit_token,
            "TRINO_MASKING_JDBC_URL": args.masking_jdbc_url,
            "TRINO_MASKING_ROLE": args.masking_role,
            "TRINO_MASKING_PASSWORD": args.masking_password,
            "S3_ENDPOINT_URL": args.s3_endpoint_url,
            "S3_REGION": args.s3_region,
            "S3_PATH_STYLE": args.s3_path_style,
        },
        files={
            "config.properties": config(
                layout, issuer_url=args.issuer_url, realm_url=args.realm_url, heap_mib=args.heap_mib
            ),
            "access-control.properties": access_control(args.opa_url),
            "event-listener.properties": event_listener(args.audit_url),
            "log.properties": log_levels(),
            "catalog/lake.properties": lake_catalog(
                catalog_uri=args.catalog_uri,
                warehouse=TRINO_CATALOG,
                token_url=args.token_url,
                min_retention_days=args.min_retention_days,
            ),
            f"catalog/{MASK_KEY.catalog}.properties": masking_catalog(),
            "server.pem": args.server_pem,
            "ca.pem": args.ca_certificate,
        },
        memory_mib=args.heap_mib + 300,
        cpu_millicores=1000,
        depends_on=("opa", "postgres"),
        reaches=(
            "keycloak/http",
            "catalog/http",
            "opa/http",
            "governor/http",
            "postgres/tcp",
            "s3/http",
            "trino/internal",
        ),
        needs=frozenset({Capability.PROCESS}),
        identity="trino",
        workload_class=WorkloadClass.QUERY,
        stop_timeout_s=30.0,
    )


class Trino(Service):
    """The query engine."""

    kind: ClassVar[str] = "trino"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        slot = context.slot
        args = TrinoArgs(
            issuer_url=context.issuer_url,
            realm_url=context.realm_url,
            token_url=context.token_url,
            catalog_uri=context.catalog_uri,
            opa_url=context.placement.internal_url("opa", "http"),
            audit_url=context.placement.internal_url("governor", "http"),
            heap_mib=context.settings.trino_heap_mib,
            masking_jdbc_url=slot.apply(lambda s: s.masking_database.jdbc_url),
            masking_role=slot.apply(lambda s: s.masking_database.role),
            masking_password=secret(slot, lambda s: s.masking_database.password),
            min_retention_days=context.settings.values["maintenanceMinRetentionDays"],
            s3_endpoint_url=slot.apply(lambda s: s.warehouse.endpoint_url),
            s3_region=slot.apply(lambda s: s.warehouse.region),
            s3_path_style=slot.apply(lambda s: str(s.warehouse.path_style).lower()),
            client_secret=context.client_secret("trino"),
            internal_secret=secret(slot, lambda s: s.secrets.trino_internal_secret),
            audit_token=secret(slot, lambda s: s.secrets.audit_trino_token),
            server_pem=secret(slot, lambda s: s.pki.server_key + s.pki.server_certificate),
            ca_certificate=slot.apply(lambda s: s.pki.ca_certificate),
        )
        layout = context.placement.layout("trino", "trino", ("https", "internal"))
        super().__init__(context.placement, workload(args, layout), opts)
