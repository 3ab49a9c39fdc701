"""A Pulumi program for the test cluster: as its persistent stack a lab's namespace, as its lab stack two
small services and one that keeps data; with the role ``aws``, these on a cluster that it makes in an account.
``stacks.py`` and ``test_aws.py`` run it; its configuration says where."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi

from contracts.settings import cache_home, program_settings
from contracts.workload import Layout, Port, Probe, Volume, Workload
from placements.aws.lab import aws_lab
from placements.aws.naming import SERVICE_ACCOUNTS
from placements.kubernetes.cluster import Cluster
from placements.kubernetes.foundation import Namespace
from placements.kubernetes.naming import Scope
from placements.kubernetes.placement import KubernetesPlacement
from placements.kubernetes.resources import provider

SERVICES = ("front", "back", "kept")
config = pulumi.Config()
role = config.require("role")


def service(
    name: str, layout: Layout, files: dict[str, pulumi.Input[str]], volumes: tuple[Volume, ...]
) -> Workload:
    """OPA, which answers what it was given."""
    return Workload(
        name=name,
        artifact="opa",
        command=[
            f"{layout.artifact_dir}/opa", "run", "--server", "--disable-telemetry",
            f"--addr={layout.bind_address}:{layout.ports['http']}",
            *(layout.file(file) for file in sorted(files)),
        ],
        ports=(Port(name="http", number=layout.ports["http"]),),
        readiness=Probe(port="http", path="/health", timeout_s=60),
        env={"PLAIN": "$(HOME) as it stands", "PASSWORD": config.require_secret("password")},
        files=files,
        volumes=volumes,
        memory_mib=(config.get_int("memory") if name == "front" else None) or 48,
        cpu_millicores=20,
        depends_on=("back",) if name == "front" else (),
        reaches=("back/http",) if name == "front" else (),
        stop_timeout_s=2,
    )  # fmt: skip


def there() -> tuple[Cluster, Scope, Any]:
    """A cluster that somebody else made."""
    cluster = Cluster(
        kubectl=config.require("kubectl"),
        kubeconfig=Path(config.require("kubeconfig")),
        context="",
        namespace=config.require("namespace"),
    )
    scope = Scope(
        lab="lab", namespace=cluster.namespace, stack=role, storage_class=config.get("storageClass") or ""
    )
    return cluster, scope, provider(cluster, cluster_id=cluster.identity())


def on_a_cluster() -> KubernetesPlacement:
    """The placement on a cluster that is there."""
    cluster, scope, its_provider = there()
    return KubernetesPlacement(
        cluster=cluster,
        scope=scope,
        images=json.loads(config.require("images")),
        provider=its_provider,
        home=Path(config.require("home")),
        port_base=config.require_int("portBase"),
        cache=cache_home(),
        service_order=SERVICES,
    )


def in_an_account() -> KubernetesPlacement:
    """The placement on a cluster that this stack makes, in the network of ``network.json``."""
    arn = "arn:aws:iam::123456789012:role/lakehouse-lab-"
    slot = {f"{name}_store_user": SimpleNamespace(role_arn=f"{arn}{name}") for name in SERVICE_ACCOUNTS}
    given: pulumi.Output[Any] = pulumi.Output.from_input(None)
    return aws_lab(
        program_settings(),
        network=given.apply(lambda _: json.loads(Path("network.json").read_text(encoding="utf-8"))),
        slot=given.apply(lambda _: SimpleNamespace(**slot)),
        external={},
        images=json.loads(config.require("images")),
        makers=(),
        cache=cache_home(),
        service_order=SERVICES,
    )


def lab(placement: KubernetesPlacement) -> None:
    """The services."""
    page = config.require("page")
    environment = 'package lab\n\nimport rego.v1\n\nenv := opa.runtime().env\n\npage := "{}"\n'
    kept = (Volume(name="spool", retained=True, size_mib=16),)
    for name in reversed(SERVICES):
        files: dict[str, pulumi.Input[str]] = {
            "policies/lab.rego": environment.format(page if name == "front" else "none"),
            "private.json": config.require_secret("password").apply(
                lambda text: json.dumps({"private": text})
            ),
        }
        layout = placement.layout(name, "opa", ("http",))
        deployed = placement.deploy(service(name, layout, files, kept if name == "kept" else ()))
        pulumi.export(name, deployed.operator_urls["http"])


if role == "lab":
    lab(on_a_cluster())
elif role == "aws":
    lab(in_an_account())
else:
    _, its_scope, one = there()
    Namespace("namespace", provider=one, scope=its_scope, memory_mib=1024, cpu_millicores=1000)
