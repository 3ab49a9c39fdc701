"""The console: its API and web app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pulumi

from components.control_plane.properties import Probed, components_json, host_of
from components.service import TRINO_CATALOG, LabContext, Service, secret
from contracts.versions import KEYCLOAK, NESSIE, OPA, POLARIS, SPARK, TRINO, WEB
from contracts.workload import Entrance, Layout, Port, Probe, Scheme, Volume, Workload


@dataclass(frozen=True, kw_only=True)
class ControlPlaneArgs:
    """The values of its environment (see ``control_plane.api.settings``); secrets may be Outputs.
    ``components`` is what it asks after, as JSON."""

    plain: Mapping[str, str]
    from_slot: Mapping[str, pulumi.Input[str]]
    components: str
    ca_certificate: pulumi.Input[str]


def workload(args: ControlPlaneArgs, layout: Layout) -> Workload:
    """Ready once its database is migrated; the services that it asks may come later."""
    return Workload(
        name="control-plane",
        artifact="python",
        command=[layout.python, "-m", "control_plane.api"],
        ports=(Port(name="http", number=layout.ports["http"]),),
        readiness=Probe(port="http", path="/health/ready"),
        env={
            **args.plain,
            **args.from_slot,
            "PYTHONPATH": str(layout.source_dir),
            "PYTHONDONTWRITEBYTECODE": "1",
            "CONSOLE_BIND": layout.bind_address,
            "CONSOLE_PORT": str(layout.ports["http"]),
            "CONSOLE_CA_FILE": layout.file("ca.pem"),
            "CONSOLE_COMPONENTS_FILE": layout.file("components.json"),
            "CONSOLE_LOGS_DIR": "" if layout.logs_dir is None else str(layout.logs_dir),
            "CONSOLE_SPOOL_DIR": str(layout.data_dir / "results"),
            "CONSOLE_UPLOAD_DIR": str(layout.data_dir / "uploads"),
            "CONSOLE_WEB_DIR": str(layout.also[WEB.name]),
        },
        files={"ca.pem": args.ca_certificate, "components.json": args.components},
        source=("contracts", "governance", "ingestion", "spark_gateway", "control_plane/api"),
        volumes=(Volume(name="results", size_mib=2048), Volume(name="uploads", size_mib=4096)),
        memory_mib=160,
        cpu_millicores=200,
        depends_on=("postgres",),
        reaches=(
            "keycloak/http",
            "catalog/http",
            "catalog/management",
            "opa/http",
            "governor/http",
            "trino/https",
            "spark/http",
            "agent/http",
            "postgres/tcp",
            # Its workers write files of tables.
            "s3/http",
        ),
        entrance=Entrance(port="http"),
        identity="control-plane",
    )


def control_plane_args(context: LabContext) -> ControlPlaneArgs:
    """The slot's values for the console."""
    slot, placement = context.slot, context.placement
    public_url = context.redirect_base_url("control-plane")
    return ControlPlaneArgs(
        plain={
            "CONSOLE_LAB": context.settings.name,
            "CONSOLE_PUBLIC_URL": public_url,
            "CONSOLE_ALSO_HOSTS": host_of(placement.internal_url("control-plane", "http")),
            "CONSOLE_ISSUER_URL": context.issuer_url,
            "CONSOLE_REALM_URL": context.realm_url,
            "CONSOLE_TRINO_URL": placement.internal_url("trino", "https", Scheme.HTTPS),
            "CONSOLE_AGENT_URL": (
                placement.internal_url("agent", "http") if "agent" in context.services else ""
            ),
            "CONSOLE_SPARK_URL": (
                placement.internal_url("spark", "http") if "spark" in context.services else ""
            ),
            "CONSOLE_GOVERNOR_URL": placement.internal_url("governor", "http"),
            "CONSOLE_CATALOG": TRINO_CATALOG,
            "CONSOLE_CATALOG_KIND": context.catalog_kind,
            "CONSOLE_CATALOG_URI": context.raw_catalog_uri,
            "CONSOLE_TELLS_USE": "true" if context.settings.values["idleStopHours"] else "false",
            "CONSOLE_CONNECT_TO": ",".join(context.settings.values["consoleConnectTo"]),
            "CONSOLE_FILE_ROOTS": ",".join(context.settings.values["consoleFileRoots"]),
        },
        from_slot={
            "CONSOLE_DATABASE_HOST": slot.apply(lambda s: s.control_plane_database.host),
            "CONSOLE_DATABASE_PORT": slot.apply(lambda s: str(s.control_plane_database.port)),
            "CONSOLE_DATABASE_NAME": slot.apply(lambda s: s.control_plane_database.name),
            "CONSOLE_DATABASE_ROLE": slot.apply(lambda s: s.control_plane_database.role),
            "CONSOLE_DATABASE_PASSWORD": secret(slot, lambda s: s.control_plane_database.password),
            "CONSOLE_ENCRYPTION_KEY": secret(slot, lambda s: s.secrets.encryption_key),
            "CONSOLE_CLIENT_SECRET": context.client_secret("control-plane"),
            "CONSOLE_OWN_URLS": slot.apply(lambda s: s.warehouse.endpoint_url),
        },
        components=components_json(probed(context)),
        ca_certificate=slot.apply(lambda s: s.pki.ca_certificate),
    )


def probed(context: LabContext) -> list[Probed]:
    """What the console asks after, core first. Probes are what anybody may ask without a token."""
    internal, public = context.placement.internal_url, context.placement.public_url
    running = context.services
    catalog = POLARIS if context.catalog_kind == "polaris" else NESSIE
    return [
        Probed(
            name="keycloak",
            title="Sign-in",
            probe_url=f"{context.realm_url}/.well-known/openid-configuration",
            url=public("keycloak", "http"),
            version=KEYCLOAK.version,
        ),
        Probed(
            name="catalog",
            title=f"Iceberg catalog: {context.catalog_kind.capitalize()}",
            probe_url=f"{internal('catalog', 'management')}/q/health/ready",
            version=catalog.version,
        ),
        Probed(
            name="opa",
            title="Policy decisions",
            probe_url=f"{internal('opa', 'http')}/health?bundles=true",
            version=OPA.version,
        ),
        Probed(
            name="governor",
            title="Access data and audit",
            probe_url=f"{internal('governor', 'http')}/health/ready",
        ),
        Probed(
            name="trino",
            title="SQL engine: Trino",
            probe_url=f"{internal('trino', 'https', Scheme.HTTPS)}/v1/info" if "trino" in running else None,
            url=context.redirect_base_url("trino"),
            version=TRINO.version,
        ),
        Probed(
            name="spark",
            title="Spark",
            probe_url=f"{internal('spark', 'http')}/health/ready" if "spark" in running else None,
            version=SPARK.version,
        ),
        Probed(
            name="agent",
            title="Agent",
            probe_url=f"{internal('agent', 'http')}/health/ready" if "agent" in running else None,
        ),
    ]


class ControlPlane(Service):
    """The console's service."""

    kind: ClassVar[str] = "control-plane"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        layout = context.placement.layout("control-plane", "python", ("http",), also=(WEB.name,))
        super().__init__(context.placement, workload(control_plane_args(context), layout), opts)
