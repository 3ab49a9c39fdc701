"""Trino: SQL for every persona, with OPA's rules on every query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
    resource_groups,
    worker_config,
)
from contracts.access import MASK_KEY
from contracts.errors import UsageError
from contracts.workload import (
    Capability,
    Drain,
    Entrance,
    Layout,
    Port,
    Probe,
    Scaling,
    Scheme,
    Workload,
    WorkloadClass,
)
from governance.tokens.settings import TOKEN_PATH

CLIENT = "trino"
TOKENS = "trino-tokens"
TOKENS_MIB = 50
WORKER = "trino-worker"
QUEUES_FILE = "etc/resource-groups.properties"
_DRAIN_FILE = "drain.py"


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many processes work beside the coordinator: from ``minimum`` to ``maximum``; none where that is 0.
    One that is taken away may go on for ``drain_s``."""

    minimum: int = 0
    maximum: int = 0
    drain_s: int = 600


def workers_of(values: Mapping[str, Any]) -> Workers:
    """What the settings say.

    Raises:
        UsageError: a largest number below the smallest one, or without one.
    """
    minimum, maximum = values["trinoWorkers"], values["trinoMaxWorkers"]
    if maximum and not 0 < minimum <= maximum:
        raise UsageError(
            "Trino's largest number of workers is not above its smallest one",
            value=f"trinoWorkers={minimum}, trinoMaxWorkers={maximum}",
            permitted="1 <= trinoWorkers <= trinoMaxWorkers, or trinoMaxWorkers=0",
            next_command="pulumi config set trinoMaxWorkers 0",
        )
    return Workers(minimum=minimum, maximum=maximum or minimum, drain_s=values["trinoDrainS"])


@dataclass(frozen=True, kw_only=True)
class TrinoArgs:
    """Identity provider, catalog, object store, policy decisions, the masks' key, audit, and the server's
    certificate. ``token_url`` is where the engine gets its own tokens."""

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
    workers: Workers = Workers()


def port_names(workers: Workers) -> tuple[str, ...]:
    """The coordinator's ports, by which its layout is asked for."""
    return ("https",) if workers.maximum else ("https", "internal")


def workload(args: TrinoArgs, layout: Layout) -> Workload:
    """The coordinator, which also works where nobody else does."""
    helped = args.workers.maximum > 0
    schemes = {"https": Scheme.HTTPS, "internal": Scheme.HTTP}
    return Workload(
        name="trino",
        artifact="trino",
        command=command(layout, heap_mib=args.heap_mib),
        ports=[
            Port(name=name, number=layout.ports[name], scheme=schemes[name])
            for name in port_names(args.workers)
        ],
        readiness=Probe(port="https", path="/v1/info", body_contains='"starting":false'),
        env={**_engine_env(args), "TRINO_AUDIT_TOKEN": args.audit_token},
        files={
            "config.properties": config(
                layout,
                issuer_url=args.issuer_url,
                realm_url=args.realm_url,
                heap_mib=args.heap_mib,
                workers=args.workers.maximum,
            ),
            "event-listener.properties": event_listener(args.audit_url),
            QUEUES_FILE: resource_groups(),
            **_engine_files(args),
            "server.pem": args.server_pem,
            "ca.pem": args.ca_certificate,
        },
        memory_mib=args.heap_mib + 300,
        cpu_millicores=1000,
        depends_on=("opa", "postgres"),
        reaches=(
            *_ENGINE_REACHES,
            "governor/http",
            *(("trino/https", f"{WORKER}/https") if helped else ("trino/internal",)),
        ),
        needs=frozenset({Capability.PROCESS}),
        identity="trino",
        workload_class=WorkloadClass.QUERY,
        direct=helped,
        entrance=Entrance(port="https"),
        stop_timeout_s=30.0,
    )


def worker(args: TrinoArgs, layout: Layout, *, coordinator_url: str) -> Workload:
    """What works for the coordinator, as often as the settings say. It finishes its work before it ends."""
    workers, port = args.workers, layout.ports["https"]
    return Workload(
        name=WORKER,
        artifact="trino",
        command=command(layout, heap_mib=args.heap_mib),
        ports=(Port(name="https", number=port, scheme=Scheme.HTTPS),),
        readiness=Probe(port="https", path="/v1/info", body_contains='"starting":false'),
        env=_engine_env(args),
        files={
            "config.properties": worker_config(
                layout,
                coordinator_url=coordinator_url,
                issuer_url=args.issuer_url,
                realm_url=args.realm_url,
                heap_mib=args.heap_mib,
                workers=workers.maximum,
            ),
            **_engine_files(args),
            _DRAIN_FILE: Path(__file__).with_name(_DRAIN_FILE).read_text(encoding="utf-8"),
        },
        memory_mib=args.heap_mib + 300,
        cpu_millicores=1000,
        depends_on=("trino",),
        reaches=(*_ENGINE_REACHES, "trino/https", f"{WORKER}/https"),
        needs=frozenset({Capability.PROCESS, Capability.REPLICAS}),
        identity="trino",
        workload_class=WorkloadClass.QUERY,
        replicas=workers.minimum,
        scaling=Scaling(maximum=workers.maximum) if workers.maximum > workers.minimum else None,
        drain=Drain(
            command=(layout.python, layout.file(_DRAIN_FILE), f"https://127.0.0.1:{port}"),
            timeout_s=workers.drain_s,
        ),
        addressed=False,
        stop_timeout_s=30.0,
    )


def tokens(token_url: str, layout: Layout) -> Workload:
    """What keeps the engine's own tokens while they are valid: its Iceberg client asks for one at each call
    of the catalog, which Keycloak would have to answer each time. It holds no secret.

    Args:
        token_url: Keycloak's token endpoint.
    """
    return Workload(
        name=TOKENS,
        artifact="python",
        command=[layout.python, "-m", "governance.tokens"],
        ports=(Port(name="http", number=layout.ports["http"]),),
        readiness=Probe(port="http", path="/health/ready"),
        env={
            "PYTHONPATH": str(layout.source_dir),
            # Compiled once, and nothing is written beside the sources.
            "PYTHONPYCACHEPREFIX": str(layout.cache_dir / "bytecode"),
            "TOKENS_BIND": layout.bind_address,
            "TOKENS_PORT": str(layout.ports["http"]),
            "TOKENS_ISSUER_TOKEN_URL": token_url,
            "TOKENS_CLIENT_ID": CLIENT,
        },
        source=("contracts", "governance"),
        memory_mib=TOKENS_MIB,
        cpu_millicores=50,
        reaches=("keycloak/http",),
        identity=TOKENS,
    )


_ENGINE_REACHES = (
    *("keycloak/http", f"{TOKENS}/http", "catalog/http", "opa/http"),
    *("postgres/tcp", "s3/http"),
)


def _engine_env(args: TrinoArgs) -> dict[str, pulumi.Input[str]]:
    """What the files of coordinator and worker expand."""
    return {
        "TRINO_CLIENT_SECRET": args.client_secret,
        "TRINO_INTERNAL_SECRET": args.internal_secret,
        "TRINO_MASKING_JDBC_URL": args.masking_jdbc_url,
        "TRINO_MASKING_ROLE": args.masking_role,
        "TRINO_MASKING_PASSWORD": args.masking_password,
        "S3_ENDPOINT_URL": args.s3_endpoint_url,
        "S3_REGION": args.s3_region,
        "S3_PATH_STYLE": args.s3_path_style,
    }


def _engine_files(args: TrinoArgs) -> dict[str, pulumi.Input[str]]:
    """What coordinator and worker have alike."""
    return {
        "access-control.properties": access_control(args.opa_url),
        "log.properties": log_levels(),
        "catalog/lake.properties": lake_catalog(
            catalog_uri=args.catalog_uri,
            warehouse=TRINO_CATALOG,
            token_url=args.token_url,
            min_retention_days=args.min_retention_days,
        ),
        f"catalog/{MASK_KEY.catalog}.properties": masking_catalog(),
    }


class Trino(Service):
    """The query engine."""

    kind: ClassVar[str] = "trino"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        slot = context.slot
        args = TrinoArgs(
            issuer_url=context.issuer_url,
            realm_url=context.realm_url,
            token_url=f"{context.placement.internal_url(TOKENS, 'http')}{TOKEN_PATH}",
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
            workers=workers_of(context.settings.values),
        )
        placement = context.placement
        layout = placement.layout("trino", "trino", port_names(args.workers))
        super().__init__(placement, workload(args, layout), opts)
        kept = tokens(context.token_url, placement.layout(TOKENS, "python", ("http",)))
        placement.deploy(kept, pulumi.ResourceOptions(parent=self))
        if args.workers.maximum:
            url = placement.internal_url("trino", "https", Scheme.HTTPS)
            workers = worker(args, placement.layout(WORKER, "trino", ("https",)), coordinator_url=url)
            placement.deploy(workers, pulumi.ResourceOptions(parent=self))
