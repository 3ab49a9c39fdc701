"""What is left of a lab on a cluster after it was destroyed, and what keeps it there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from placements.kubernetes.cluster import Cluster
from placements.kubernetes.naming import LAB_LABEL, STACK_LABEL, Manifest

KINDS = (
    *("deployments.apps", "statefulsets.apps", "pods", "services", "configmaps", "secrets"),
    *("serviceaccounts", "networkpolicies.networking.k8s.io", "poddisruptionbudgets.policy"),
    "persistentvolumeclaims",
)
"""Everything that a stack makes in the namespace, or that is made for it."""

_WAIT_S = 60.0
_PAUSE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """One object. ``finalizers`` are what has to be done before it goes, where it is being deleted."""

    kind: str
    name: str
    deleting: bool = False
    finalizers: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.deleting:
            return f"{self.kind} {self.name}"
        waits = f", waits for {', '.join(self.finalizers)}" if self.finalizers else ""
        return f"{self.kind} {self.name}: being deleted{waits}"


def leftovers(
    cluster: Cluster,
    *,
    lab: str,
    stack: str,
    wait_s: float = _WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> list[Leftover]:
    """Objects of the namespace that carry the labels of one stack of a lab, once all that are being deleted
    are gone or ``wait_s`` is over.

    Raises:
        PreflightError: the cluster can't be asked.
    """
    end = clock() + wait_s
    while True:
        found = [_leftover(item) for item in cluster.labelled(KINDS, {LAB_LABEL: lab, STACK_LABEL: stack})]
        if not any(one.deleting for one in found) or clock() >= end:
            return sorted(found, key=str)
        sleep(_PAUSE_S)


def _leftover(item: Manifest) -> Leftover:
    metadata = item["metadata"]
    return Leftover(
        kind=str(item["kind"]),
        name=str(metadata["name"]),
        deleting="deletionTimestamp" in metadata,
        finalizers=tuple(metadata.get("finalizers") or ()),
    )
