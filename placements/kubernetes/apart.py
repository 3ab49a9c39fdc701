"""What has to be so on a cluster before a service may make pods there, in the namespace beside the lab's."""

from __future__ import annotations

from dataclasses import replace

from contracts.errors import PreflightError
from placements.kubernetes.cluster import API_RIGHTS, DRIVERS_RIGHTS, Cluster, require_rights
from placements.kubernetes.drivers import drivers_namespace_of
from placements.kubernetes.naming import LAB_LABEL, STACK_LABEL, Manifest
from placements.kubernetes.network import outside

_API = "kubernetes"
"""The service of the cluster's API, in namespace ``default``."""


def beside_of(cluster: Cluster) -> Cluster:
    """The same cluster, in the namespace where a lab's services make pods."""
    return replace(cluster, namespace=drivers_namespace_of(cluster.namespace))


def check_apart(cluster: Cluster, *, lab: str) -> tuple[Manifest, ...]:
    """The egress rules to the cluster's API, once the operator may make what pods beside the lab's need.
    ``cluster`` is as the lab's namespace is reached.

    Raises:
        PreflightError: missing rights (each named), a namespace that is not this lab's, or no answer.
    """
    beside = beside_of(cluster)
    require_rights(beside, DRIVERS_RIGHTS)
    require_own_namespace(beside, lab=lab, stack="lab")
    outer = replace(cluster, namespace="default")
    require_rights(outer, API_RIGHTS)
    return api_egress(outer)


def api_egress(outer: Cluster) -> tuple[Manifest, ...]:
    """What lets a pod reach the cluster's API: the addresses behind its service, which most networks compare,
    and the service's own, which others do. ``outer`` is namespace ``default``.

    Raises:
        PreflightError: the cluster can't be asked.
    """
    service = outer.read("service", _API) or {}
    found = [
        (address, port["port"])
        for address in service.get("spec", {}).get("clusterIPs") or ()
        for port in service["spec"]["ports"]
    ]
    slices = outer.labelled(["endpointslices.discovery.k8s.io"], {"kubernetes.io/service-name": _API})
    found += [
        (address, port["port"])
        for one in slices
        for endpoint in one.get("endpoints") or ()
        for address in endpoint["addresses"]
        for port in one.get("ports") or ()
    ]
    return tuple(outside(port, address) for address, port in dict.fromkeys(found))


def require_own_namespace(cluster: Cluster, *, lab: str, stack: str) -> None:
    """Raises PreflightError where the namespace of ``cluster`` is another lab's. One of the lab stack, which
    goes with it, must be nobody else's either."""
    found = cluster.read("namespace", cluster.namespace)
    if found is None:
        return
    labels = found["metadata"].get("labels") or {}
    owner, made_by = labels.get(LAB_LABEL), labels.get(STACK_LABEL)
    if (owner, made_by) == (lab, stack) or (owner is None and stack != "lab"):
        return
    whose = f"lab {owner!r}, stack {made_by}" if owner else "somebody else"
    raise PreflightError(
        f"the namespace that lab {lab!r} would have is taken: {whose} has it",
        value=cluster.namespace,
        permitted="a namespace of the lab's own; pods of Spark are in NAMESPACE-spark",
        next_command="pulumi config set namespace OTHER",
    )
