"""The cluster that a lab runs on: whether it is the right one, lets us in, and runs the lab's pods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cli.accounts import check_aws_lab
from cli.checks.findings import Finding, ok, problem
from cli.clusters import check_cluster_lab, keeps_inside
from cli.project import settings
from cli.session import Session
from components.registry import ComponentInfo
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
