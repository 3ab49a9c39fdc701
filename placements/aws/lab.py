"""Where a lab's workloads run in an account: the cluster, its namespace, and the placement on both."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi

from contracts.errors import PreflightError, UsageError
from contracts.outputs import Network, Slot, from_exports
from contracts.settings import Settings
from placements.aws.cluster import AwsCluster
from placements.aws.foundation.network import POSTGRESQL_PORT
from placements.aws.kubeconfig import Kubeconfig
from placements.aws.naming import KUBECONFIG, SERVICE_ACCOUNTS
from placements.kubernetes.cluster import Cluster, namespace_of
from placements.kubernetes.foundation import Namespace
from placements.kubernetes.naming import Manifest, Scope, common_labels
from placements.kubernetes.network import outside, within
from placements.kubernetes.placement import KubernetesPlacement
from placements.kubernetes.resources import provider_of, register

STORAGE_CLASS = "lakehouse-lab"
CATALOG = "polaris"
"""The catalog here. Nessie's vended credentials can't be given the right on the warehouse's key."""

_AGENT_ADDRESS, _AGENT_PORT = "169.254.170.23", 80
"""Where the Pod Identity agent of a node hands pods their credentials."""

_API_PORT = 443
_API_SERVICES = ("10.100.0.1", "172.20.0.1")
"""One of these is the API's own address in the cluster; behind it is an interface in the network's subnets
(https://docs.aws.amazon.com/eks/latest/APIReference/API_KubernetesNetworkConfigRequest.html)."""

_PROGRAMS = {
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
    "aws": "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
}


def check_catalog(kind: str) -> None:
    """Raises UsageError for a catalog that does not run in an account."""
    if kind != CATALOG:
        raise UsageError(
            f"placement aws runs catalog {CATALOG}",
            value=kind,
            permitted=CATALOG,
            next_command=f"lab --name OTHER bootstrap --placement aws --catalog {CATALOG}",
        )


def check_programs(path: str | None) -> None:
    """Raises PreflightError where a program is missing that the tunnels run. ``path`` is PATH."""
    for program, how in _PROGRAMS.items():
        if shutil.which(program, path=path) is None:
            raise PreflightError(
                f"{program} is not on PATH",
                permitted="kubectl, and the AWS command line, from which it gets its tokens",
                next_command=how,
            )


def storage_class() -> Manifest:
    """Encrypted volumes, made in the zone of the pod that wants one, and deleted with it: nothing of value is
    in a cluster that comes and goes."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS},
        "provisioner": "ebs.csi.aws.com",
        "parameters": {"type": "gp3", "encrypted": "true"},
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def scope_on(settings: Settings, external: Mapping[str, pulumi.Input[Manifest]]) -> Scope:
    """What all objects of the lab share. Pods run on nodes of their class alone: those of Spark may end any
    moment. Nodes pull images in the name of their own role, from the account's registry or a public one."""
    agent = outside(_AGENT_PORT, _AGENT_ADDRESS)
    return Scope(
        lab=settings.name,
        namespace=namespace_of(settings),
        stack="lab",
        classes_required=True,
        external=external,
        storage_class=STORAGE_CLASS,
        also_reaches=dict.fromkeys(SERVICE_ACCOUNTS, (agent,)),
    )


def aws_lab(
    settings: Settings,
    *,
    network: pulumi.Output[Any],
    slot: pulumi.Output[Slot],
    external: Mapping[str, pulumi.Input[Manifest]],
    images: Mapping[str, str],
    makers: Sequence[str],
    cache: Path,
    service_order: Sequence[str],
) -> KubernetesPlacement:
    """Registers cluster and namespace, and gives the placement whose workloads come after both.

    Args:
        network: the persistent stack's output.
        external: the egress rule to what runs outside the cluster, by the workload in whose place it is.
        images: references by the image's name, each with a digest.
        makers: workloads that make pods, and reach the cluster's API for that.

    Raises:
        PreflightError: a program that the tunnels run is not on PATH.
        UsageError: the catalog does not run here.
    """
    check_catalog(settings.catalog)
    check_programs(None)
    inside = network.apply(lambda known: within(POSTGRESQL_PORT, from_exports(Network, known).cidr))
    to_api = network.apply(lambda known: within(_API_PORT, from_exports(Network, known).cidr))
    scope = scope_on(settings, {**external, "postgres": inside})
    scope = replace(
        scope,
        also_reaches={
            **scope.also_reaches,
            **dict.fromkeys(makers, (to_api, *(outside(_API_PORT, one) for one in _API_SERVICES))),
        },
    )
    made = AwsCluster(
        "cluster", settings, network=network, role_arns=_role_arns(slot), namespace=scope.namespace
    )
    child = pulumi.ResourceOptions(parent=made)
    file = Kubeconfig("kubeconfig", path=settings.home / KUBECONFIG, content=made.kubeconfig, opts=child)
    provider = provider_of(made.kubeconfig, identifier=made.name, opts=child)
    ready = pulumi.ResourceOptions(parent=made, provider=provider, depends_on=made.ready)
    volumes = register(_labelled(storage_class(), settings.name), "volumes", ready)
    namespace = Namespace(
        "namespace",
        provider=provider,
        scope=scope,
        memory_mib=settings.values["quotaMemoryMib"],
        cpu_millicores=settings.values["quotaCpuMillicores"],
        # It goes before the nodes and the storage driver do, which have to end its pods and its volumes.
        after=made.ready,
        opts=pulumi.ResourceOptions(parent=made),
    )
    kubectl = shutil.which("kubectl")
    return KubernetesPlacement(
        cluster=Cluster(
            kubectl=str(kubectl),
            kubeconfig=settings.home / KUBECONFIG,
            context="",
            namespace=scope.namespace,
        ),
        scope=scope,
        images=images,
        provider=provider,
        home=settings.home,
        port_base=settings.port_base,
        cache=cache,
        service_order=service_order,
        # The associations are among what is ready: a pod that starts before its own has no identity.
        after=[file, volumes, *namespace.objects, *made.ready],
    )


def _role_arns(slot: pulumi.Output[Slot]) -> dict[str, pulumi.Output[str]]:
    def arn(workload: str) -> pulumi.Output[str]:
        # Names of roles are no secret; the slot is one as a whole.
        return pulumi.Output.unsecret(
            slot.apply(lambda s: str(getattr(s, f"{workload}_store_user").role_arn))
        )

    return {workload: arn(workload) for workload in SERVICE_ACCOUNTS}


def _labelled(manifest: Manifest, lab: str) -> Manifest:
    labels = common_labels(lab, "lab")
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}}
