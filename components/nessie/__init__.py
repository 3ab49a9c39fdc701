"""Nessie as the lab's Iceberg REST catalog (the ``Catalog`` contract's second implementation)."""

from __future__ import annotations

from typing import ClassVar

import pulumi

from components.catalog import CatalogArgs, catalog_args, store_environment
from components.java import java_command
from components.nessie.properties import application_properties
from components.service import LabContext, Service
from contracts.workload import Layout, Port, Probe, Workload


def workload(args: CatalogArgs, layout: Layout) -> Workload:
    """Ready includes the database and the bucket."""
    return Workload(
        name="catalog",
        artifact="nessie",
        command=[
            *java_command(layout, heap_mib=192, options=("-XX:TieredStopAtLevel=1",)),
            "-jar",
            f"{layout.artifact_dir}/nessie-quarkus-runner.jar",
        ],
        ports=(
            Port(name="http", number=layout.ports["http"]),
            Port(name="management", number=layout.ports["management"]),
        ),
        readiness=Probe(port="management", path="/q/health/ready"),
        env={
            **store_environment(args),
            "QUARKUS_CONFIG_LOCATIONS": layout.file_uri("application.properties"),
        },
        files={
            "application.properties": application_properties(
                layout,
                warehouse=args.warehouse,
                realm_url=args.realm_url,
                issuer_url=args.issuer_url,
                jwks_url=args.jwks_url,
            )
        },
        memory_mib=320,
        cpu_millicores=300,
        depends_on=("postgres", "s3"),
        reaches=("keycloak/http", "postgres/tcp", "s3/http"),
        identity="catalog",
    )


class Nessie(Service):
    """The catalog service."""

    kind: ClassVar[str] = "nessie"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        layout = context.placement.layout("catalog", "nessie", ("http", "management"))
        super().__init__(context.placement, workload(catalog_args(context), layout), opts)
