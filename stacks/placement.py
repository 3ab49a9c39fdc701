"""Chooses the placement that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pulumi

from components.registry import SERVICE_ORDER, ComponentInfo
from components.service import secret
from contracts.outputs import Slot
from contracts.settings import Settings, cache_home
from contracts.slots import data_namespace
from contracts.workload import Placement
from placements.local.placement import LocalPlacement

if TYPE_CHECKING:
    from placements.kubernetes.naming import Manifest


def local_placement(settings: Settings) -> LocalPlacement:
    """Supervised processes on this machine."""
    given = {"polaris": settings.polaris_home} if settings.polaris_home else {}
    return LocalPlacement(settings.home, settings.port_base, cache_home(), SERVICE_ORDER, given)


def kubernetes_placement(
    settings: Settings,
    slot: pulumi.Output[Slot],
    cluster_id: pulumi.Output[object],
    ingress_domain: pulumi.Output[object],
    chosen: Sequence[ComponentInfo],
) -> Placement:
    """Objects of the lab's namespace on a cluster, which is asked first. ``cluster_id`` is of the cluster
    that the persistent stack was made on, ``ingress_domain`` what its certificate is for; ``chosen`` are the
    components that will be deployed.

    Raises:
        PreflightError: an image has no digest, kubectl or the kubeconfig is missing, the cluster is another
            one or grants too little, or a namespace is another lab's.
        UsageError: the file of image references is not usable, or what is to be published is not said whole.
    """
    # Loaded here: a lab on this machine has no use for it.
    from placements.kubernetes.apart import check_apart
    from placements.kubernetes.cluster import LAB_RIGHTS, check_cluster, cluster_of, require_same_cluster
    from placements.kubernetes.ingress import publishing_of, require_same_domain
    from placements.kubernetes.naming import Scope
    from placements.kubernetes.placement import KubernetesPlacement
    from placements.kubernetes.resources import provider

    values = settings.values
    images = _images(settings, chosen)

    def certificate() -> dict[str, pulumi.Input[str]]:
        domain = ingress_domain.apply(lambda known: require_same_domain(known, values["ingressDomain"]))
        return {
            "tls.crt": pulumi.Output.all(slot, domain).apply(lambda both: both[0].pki.server_certificate),
            "tls.key": secret(slot, lambda s: s.pki.server_key),
        }

    publishing = publishing_of(settings, certificate)
    cluster = cluster_of(settings)
    found = check_cluster(cluster, expected_id=values["clusterId"], rights=LAB_RIGHTS)
    makers = [info.service for info in chosen if info.pods_per_user]
    to_api = check_apart(cluster, lab=settings.name) if makers else ()
    same = cluster_id.apply(lambda expected: require_same_cluster(expected, found))

    scope = Scope(
        lab=settings.name,
        namespace=cluster.namespace,
        stack="lab",
        classes_required=values["nodeClasses"] == "required",
        external=_kept_servers(slot, settings.name, cluster.namespace),
        storage_class=values["storageClass"],
        pull_secret=values["imagePullSecret"],
        also_reaches=dict.fromkeys(makers, to_api),
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
        publishing=publishing,
    )


def aws_placement(
    settings: Settings,
    slot: pulumi.Output[Slot],
    network: pulumi.Output[object],
    chosen: Sequence[ComponentInfo],
) -> Placement:
    """A cluster in the network that the persistent stack keeps, and the objects of the lab on it.

    Raises:
        PreflightError: an image has no digest, or a program that reaches the cluster is missing.
        UsageError: the file of image references is not usable, or the catalog does not run there.
    """
    # Loaded here: a lab on this machine has no use for it.
    from placements.aws.lab import aws_lab

    return aws_lab(
        settings,
        network=network,
        slot=slot,
        external=_kept_servers(slot),
        images=_images(settings, chosen),
        makers=[info.service for info in chosen if info.pods_per_user],
        cache=cache_home(),
        service_order=SERVICE_ORDER,
    )


def _images(settings: Settings, chosen: Sequence[ComponentInfo]) -> Mapping[str, str]:
    """References of all images that will run, before anything is registered, not when the first workload
    misses its own."""
    from placements.kubernetes.images import image_references, require_images

    given = settings.values["imagesFile"]
    images = image_references(Path(given).expanduser() if given else None)
    require_images([info.image for info in chosen], images)
    return images


def _kept_servers(
    slot: pulumi.Output[Slot], lab: str = "", namespace: str = ""
) -> dict[str, pulumi.Output[Manifest]]:
    """Egress rules to what the persistent stack keeps, by the workload that is, or would be, in its place. It
    may run beside the lab's ``namespace``."""
    from placements.kubernetes.network import beside, outside

    inside = f".{data_namespace(namespace)}.svc"

    def to(pick: Callable[[Slot], tuple[str, int]]) -> pulumi.Output[Manifest]:
        def rule(known: Slot) -> Manifest:
            host, port = pick(known)
            if namespace and host.endswith(inside):
                return beside(port, host.removesuffix(inside), data_namespace(namespace), lab)
            return outside(port, host)

        # Where the servers are is no secret; the slot is one as a whole.
        return pulumi.Output.unsecret(slot.apply(rule))

    return {
        "postgres": to(lambda s: (s.catalog_database.host, s.catalog_database.port)),
        "s3": to(lambda s: host_and_port(s.warehouse.endpoint_url)),
    }


def host_and_port(url: str) -> tuple[str, int]:
    """Host and TCP port of a URL."""
    parts = urlsplit(url)
    return str(parts.hostname), parts.port or {"http": 80, "https": 443}[parts.scheme]
