"""Chooses the placement that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pulumi

from components.registry import SERVICE_ORDER, ComponentInfo
from contracts.errors import LabError
from contracts.outputs import Slot
from contracts.settings import Role, Settings, cache_home
from contracts.workload import Placement
from placements.local.placement import LocalPlacement

if TYPE_CHECKING:
    from placements.kubernetes.naming import Manifest

BUILT = ("local", "kubernetes")
"""Placements that this version has."""


def refuse_unbuilt(settings: Settings) -> None:
    """Raises LabError for a placement that this version does not have: of aws it has the persistent stack."""
    if settings.placement not in BUILT and not (
        settings.placement == "aws" and settings.role is Role.PERSISTENT
    ):
        raise LabError(
            f"placement {settings.placement!r} is not part of this version",
            value=settings.placement,
            permitted=", ".join(BUILT),
            next_command="pulumi config set placement local",
        )


def local_placement(settings: Settings) -> LocalPlacement:
    """Supervised processes on this machine."""
    given = {"polaris": settings.polaris_home} if settings.polaris_home else {}
    return LocalPlacement(settings.home, settings.port_base, cache_home(), SERVICE_ORDER, given)


def kubernetes_placement(
    settings: Settings,
    slot: pulumi.Output[Slot],
    cluster_id: pulumi.Output[object],
    chosen: Sequence[ComponentInfo],
) -> Placement:
    """Objects of the lab's namespace on a cluster, which is asked first. ``cluster_id`` is of the cluster
    that the persistent stack was made on; ``chosen`` are the components that will be deployed.

    Raises:
        PreflightError: an image has no digest, kubectl or the kubeconfig is missing, the cluster is another
            one or grants too little.
        UsageError: the file of image references is not usable.
    """
    # Loaded here: a lab on this machine has no use for it.
    from placements.kubernetes.cluster import LAB_RIGHTS, check_cluster, cluster_of, require_same_cluster
    from placements.kubernetes.images import image_references, require_images
    from placements.kubernetes.naming import Scope
    from placements.kubernetes.network import outside
    from placements.kubernetes.placement import KubernetesPlacement
    from placements.kubernetes.resources import provider

    values = settings.values
    given = values["imagesFile"]
    images = image_references(Path(given).expanduser() if given else None)
    # Before anything is registered, not when the first workload misses its own.
    require_images([info.image for info in chosen], images)
    cluster = cluster_of(settings)
    found = check_cluster(cluster, expected_id=values["clusterId"], rights=LAB_RIGHTS)
    same = cluster_id.apply(lambda expected: require_same_cluster(expected, found))

    def to(pick: Callable[[Slot], tuple[str, int]]) -> pulumi.Output[Manifest]:
        def rule(known: Slot) -> Manifest:
            host, port = pick(known)
            return outside(port, host)

        # Where the servers are is no secret; the slot is one as a whole.
        return pulumi.Output.unsecret(slot.apply(rule))

    scope = Scope(
        lab=settings.name,
        namespace=cluster.namespace,
        stack="lab",
        classes_required=values["nodeClasses"] == "required",
        external={
            "postgres": to(lambda s: (s.catalog_database.host, s.catalog_database.port)),
            "s3": to(lambda s: host_and_port(s.warehouse.endpoint_url)),
        },
        storage_class=values["storageClass"],
        pull_secret=values["imagePullSecret"],
    )
    return KubernetesPlacement(
        cluster=cluster,
        scope=scope,
        images=images,
        # Nothing is registered with it before the clusters were compared.
        provider=provider(cluster, cluster_id=same),
        home=settings.home,
        port_base=settings.port_base,
        cache=cache_home(),
        service_order=SERVICE_ORDER,
    )


def host_and_port(url: str) -> tuple[str, int]:
    """Host and TCP port of a URL."""
    parts = urlsplit(url)
    return str(parts.hostname), parts.port or {"http": 80, "https": 443}[parts.scheme]
