"""Spark: the gateway that starts a Connect server for each user, and batch jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import urlsplit

import pulumi

from components.service import LabContext, Service
from components.spark.properties import (
    ARTIFACTS,
    LOG_LEVELS_FILE,
    ExecutorSize,
    defaults,
    launch_plan,
    log_levels,
)
from contracts.outputs import Slot
from contracts.workload import Helpers, Layout, PerUser, Port, Probe, Scheme, Volume, Workload, WorkloadClass
from spark_gateway.drivers import CONNECT_PORT

GATEWAY_MIB = 100
GATEWAY_MILLICORES = 100
DRIVER_MIB = 350
"""What a driver or an executor takes beside its heap."""

PORTS = ("http", "connect")
"""The gateway's own, and the one for clients of all users' Connect servers."""


@dataclass(frozen=True, kw_only=True)
class SparkArgs:
    """Identity provider, limits, ``connect_url`` (where clients of Spark Connect come to), ``catalog_edge``
    (what drivers know as the catalog, ``workload/port``), and ``defaults``: the properties that every driver
    has (JSON)."""

    issuer_url: str
    jwks_url: str
    token_url: str
    governor_url: str
    connect_url: str
    heap_mib: int
    max_runs: int
    driver_millicores: int
    executors: ExecutorSize
    executor_millicores: int
    catalog_edge: str
    idle_s: int
    defaults: pulumi.Input[str]
    client_secret: pulumi.Input[str]


def workload(args: SparkArgs, layout: Layout) -> Workload:
    """The gateway; drivers come and go with their users. ``memory_mib`` counts one of them."""
    driver_mib = args.heap_mib + DRIVER_MIB
    return Workload(
        name="spark",
        artifact="python",
        command=[layout.python, "-m", "spark_gateway"],
        ports=(
            Port(name="http", number=layout.ports["http"]),
            Port(name="connect", number=layout.ports["connect"], scheme=Scheme.TCP),
        ),
        readiness=Probe(port="http", path="/health/ready"),
        env={
            "PYTHONPATH": str(layout.source_dir),
            # Compiled once, and nothing is written beside the sources.
            "PYTHONPYCACHEPREFIX": str(layout.cache_dir / "bytecode"),
            # A server that ends says so to its clients: no line for each of their connections.
            "GRPC_VERBOSITY": "ERROR",
            "SPARK_GATEWAY_BIND": layout.bind_address,
            "SPARK_GATEWAY_PORT": str(layout.ports["http"]),
            "SPARK_GATEWAY_CONNECT_PORT": str(layout.ports["connect"]),
            "SPARK_GATEWAY_CONNECT_URL": args.connect_url,
            "SPARK_GATEWAY_ISSUER_URL": args.issuer_url,
            "SPARK_GATEWAY_JWKS_URL": args.jwks_url,
            "SPARK_GATEWAY_TOKEN_URL": args.token_url,
            "SPARK_GATEWAY_CLIENT_SECRET": args.client_secret,
            "SPARK_GATEWAY_GOVERNOR_URL": args.governor_url,
            "SPARK_GATEWAY_PLAN_FILE": layout.file("plan.json"),
            "SPARK_GATEWAY_DEFAULTS_FILE": layout.file("defaults.json"),
            "SPARK_GATEWAY_DATA_DIR": str(layout.data_dir),
            "SPARK_GATEWAY_CACHE_DIR": str(layout.cache_dir),
            "SPARK_GATEWAY_MAX_RUNS": str(args.max_runs),
            "SPARK_GATEWAY_IDLE_S": str(args.idle_s),
        },
        files={
            "plan.json": launch_plan(layout, heap_mib=args.heap_mib, executors=args.executors),
            "defaults.json": args.defaults,
            LOG_LEVELS_FILE: log_levels(),
        },
        source=("contracts", "governance", "spark_gateway"),
        volumes=(Volume(name="runs", size_mib=4096), Volume(name="jobs")),
        memory_mib=GATEWAY_MIB + driver_mib,
        cpu_millicores=GATEWAY_MILLICORES + args.driver_millicores,
        depends_on=("governor",),
        reaches=("keycloak/http", "governor/http"),
        identity="spark",
        per_user=PerUser(
            plan_variable="SPARK_GATEWAY_PODS_FILE",
            port=CONNECT_PORT,
            reaches=(args.catalog_edge, "s3/http", "spark/http"),
            maximum=args.max_runs,
            memory_mib=driver_mib,
            cpu_millicores=args.driver_millicores,
            files=(LOG_LEVELS_FILE,),
            workload_class=WorkloadClass.BATCH,
            helpers=_executors(args),
        ),
    )


def _executors(args: SparkArgs) -> Helpers | None:
    if not args.executors.maximum:
        return None
    return Helpers(
        maximum=args.executors.maximum,
        memory_mib=args.executors.heap_mib + DRIVER_MIB,
        cpu_millicores=args.executor_millicores,
    )


def connect_url(operator_url: str) -> str:
    """The address for ``SPARK_REMOTE``, from the one where the operator reaches the port. By that name
    clients know it for this machine's own, which they give a token without TLS."""
    return f"sc://localhost:{urlsplit(operator_url).port}"


class Spark(Service):
    """The gateway service."""

    kind: ClassVar[str] = "spark"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        placement, values = context.placement, context.settings.values
        heap_mib = int(values["sparkHeapMib"])
        layout = placement.layout("spark", "python", PORTS, also=ARTIFACTS)
        token_url = f"{placement.internal_url('spark', 'http')}/v1/token"

        def with_warehouse(slot: Slot) -> str:
            return defaults(
                catalog_kind=context.catalog_kind,
                catalog_uri=context.raw_catalog_uri,
                token_url=token_url,
                bind_address=layout.bind_address,
                heap_mib=heap_mib,
                warehouse=slot.warehouse,
            )

        args = SparkArgs(
            issuer_url=context.issuer_url,
            jwks_url=context.jwks_url,
            token_url=context.token_url,
            governor_url=placement.internal_url("governor", "http"),
            connect_url=connect_url(placement.operator_url("spark", "connect", Scheme.TCP)),
            heap_mib=heap_mib,
            max_runs=values["sparkMaxRuns"],
            driver_millicores=values["sparkDriverMillicores"],
            executors=ExecutorSize(
                maximum=values["sparkMaxExecutors"], heap_mib=values["sparkExecutorHeapMib"]
            ),
            executor_millicores=values["sparkExecutorMillicores"],
            catalog_edge=context.raw_catalog_edge,
            idle_s=values["sparkIdleS"],
            defaults=context.slot.apply(with_warehouse),
            client_secret=context.client_secret("spark"),
        )
        super().__init__(placement, workload(args, layout), opts)
