"""The cluster that a lab runs on: whether it is the right one, lets us in, and runs the lab's pods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cli.accounts import check_aws_lab
from cli.checks.findings import Finding, ok, problem, warning
from cli.clusters import check_cluster_lab, keeps_inside
from cli.drawing import human_bytes
from cli.project import settings
from cli.session import Session
from components.registry import ComponentInfo
from contracts.errors import LabError
from contracts.settings import Role
from contracts.slots import data_namespace


def cluster(session: Session, chosen: Sequence[ComponentInfo]) -> Iterator[Finding]:
    """What ``lab up`` asks before it starts anything. Raises its LabError."""
    if session.placement() == "aws":
        yield ok("account", f"{check_aws_lab(session, chosen)}, with all that is needed")
        return
    found = check_cluster_lab(session, chosen)
    yield ok("cluster", f"{found}, with all rights that are needed")


def pods(session: Session) -> Iterator[Finding]:
    """Pods that do not run, and why. Raises LabError when the cluster can't be asked."""
    from placements.aws.naming import KUBECONFIG
    from placements.kubernetes.apart import beside_of
    from placements.kubernetes.cluster import cluster_of
    from placements.kubernetes.naming import LAB_LABEL
    from placements.kubernetes.troubles import KINDS, troubles

    own = settings(session.lab, Role.LAB, session.environ)
    if session.placement() == "aws":
        file = session.lab.home / KUBECONFIG
        if not file.exists():
            # It is written with the cluster and goes with it.
            return
        own = replace(own, values={**own.values, "kubeconfig": str(file)})
    cluster = cluster_of(own, session.environ)
    places = [cluster, beside_of(cluster)]
    if session.placement() == "kubernetes" and not session.lab.owner and keeps_inside(session.lab):
        places.append(replace(cluster, namespace=data_namespace(cluster.namespace)))
    items = [item for place in places for item in place.labelled(KINDS, {LAB_LABEL: own.name})]
    found = [line for item in items for line in troubles(item)]
    for line in found:
        yield problem("pods", line, "lab up, once that is mended")
    count = sum(item["kind"] == "Pod" for item in items)
    if not found and count:
        yield ok("pods", f"{count} without trouble")


def volumes(session: Session) -> Iterator[Finding]:
    """How full the volumes of data services inside the cluster are; those alone that run can be asked."""
    from placements.kubernetes.cluster import cluster_of
    from placements.kubernetes.inside.operating import room
    from placements.kubernetes.naming import STACK_LABEL
    from placements.local.ports import FOUNDATION_ORDER

    if session.placement() != "kubernetes" or session.lab.owner or not keeps_inside(session.lab):
        return
    cluster = cluster_of(settings(session.lab, Role.LAB, session.environ), session.environ)
    beside = replace(cluster, namespace=data_namespace(cluster.namespace))
    running = {item["metadata"]["name"] for item in beside.labelled(["pods"], {STACK_LABEL: Role.PERSISTENT})}
    for service in FOUNDATION_ORDER:
        if f"{service}-0" not in running:
            continue
        try:
            found = room(beside, service)
        except LabError as error:
            yield warning(f"volume of {service}", f"it can't be asked: {error.what}", "lab status")
            continue
        left = f"{human_bytes(found.free_bytes)} of {human_bytes(found.total_bytes)} are left"
        patch = json.dumps({"spec": {"resources": {"requests": {"storage": "SIZE"}}}})
        grow = (
            "let it grow, where its class permits that: "
            f"{' '.join([*beside.command, 'patch', 'pvc', found.claim])} --patch '{patch}'"
        )
        if found.is_used_up:
            yield problem(f"volume of {service}", f"it is full: {left}; what is in it is kept", grow)
        elif found.is_scarce:
            yield warning(f"volume of {service}", f"it is nearly full: {left}", grow)
        else:
            yield ok(f"volume of {service}", left)
