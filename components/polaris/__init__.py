"""Apache Polaris as the lab's Iceberg REST catalog (the ``Catalog`` contract's default)."""

from __future__ import annotations

from typing import ClassVar

import pulumi

from components.catalog import CatalogArgs, catalog_args, store_environment
from components.java import java_command
from components.polaris.properties import admin_properties, application_properties, root_credentials
from components.service import LabContext, Service
from contracts.workload import Layout, Port, Probe, Workload


def workload(args: CatalogArgs, layout: Layout) -> Workload:
    """The server, started by ``launch.py``, which bootstraps the realm first: a second bootstrap is a
    no-op and never changes secrets. The script is run by its path, since the package needs the engine's
    libraries and it does not."""
    server = java_command(layout, heap_mib=256, options=("-XX:TieredStopAtLevel=1",))
    admin = java_command(layout, heap_mib=128, options=("-XX:TieredStopAtLevel=1",), archive="admin-classes")
    return Workload(
        name="catalog",
        artifact="polaris",
        command=[
            layout.python,
            str(layout.source_dir / "components" / "polaris" / "launch.py"),
            layout.file_uri("admin.properties"),
            "--",
            *admin,
            *("-jar", f"{layout.artifact_dir}/admin/quarkus-run.jar"),
            *("bootstrap", "--credentials-file", layout.file("root-credentials.json")),
            "--",
            *server,
            *("-jar", f"{layout.artifact_dir}/server/quarkus-run.jar"),
        ],
        ports=(
            Port(name="http", number=layout.ports["http"]),
            Port(name="management", number=layout.ports["management"]),
        ),
        readiness=Probe(port="management", path="/q/health/ready"),
        env={
            **store_environment(args),
            "AWS_REGION": args.s3_region,
            "AWS_ACCESS_KEY_ID": args.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": args.s3_secret_key,
            "QUARKUS_CONFIG_LOCATIONS": layout.file_uri("application.properties"),
        },
        files={
            "application.properties": application_properties(
                layout, realm_url=args.realm_url, issuer_url=args.issuer_url, jwks_url=args.jwks_url
            ),
            "admin.properties": admin_properties(),
            "root-credentials.json": pulumi.Output.from_input(args.root_secret).apply(root_credentials),
            "token-private.pem": args.token_private_key,
            "token-public.pem": args.token_public_key,
        },
        memory_mib=380,
        cpu_millicores=300,
        depends_on=("postgres", "s3"),
        reaches=("keycloak/http", "postgres/tcp", "s3/http"),
        identity="catalog",
    )


class Polaris(Service):
    """The catalog service."""

    kind: ClassVar[str] = "polaris"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        layout = context.placement.layout("catalog", "polaris", ("http", "management"))
        super().__init__(context.placement, workload(catalog_args(context), layout), opts)
