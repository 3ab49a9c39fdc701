"""A lab's namespace and what holds for all of it, as pure functions."""

from __future__ import annotations

from placements.kubernetes.naming import Manifest, Scope, common_labels, cpu, memory
from placements.kubernetes.network import default_deny, dns

_LIMIT_FACTOR = 2
"""Limits may exceed requests, which is what the scheduler counts, by so much in all."""


def namespace(scope: Scope) -> Manifest:
    """The namespace, in which no pod runs that Pod Security ``restricted`` does not admit."""
    security = {
        f"pod-security.kubernetes.io/{mode}{suffix}": value
        for mode in ("enforce", "audit", "warn")
        for suffix, value in (("", "restricted"), ("-version", "latest"))
    }
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": scope.namespace,
            "labels": {**common_labels(scope.lab, scope.stack), **security},
        },
    }


def quota(scope: Scope, *, memory_mib: int, cpu_millicores: int, pods: int = 60) -> Manifest:
    """What the lab may ask of the cluster. Nothing in it is reachable from outside: services that a cloud or
    a node would publish are not admitted."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": scope.metadata("lab"),
        "spec": {
            "hard": {
                "requests.cpu": cpu(cpu_millicores),
                "requests.memory": memory(memory_mib),
                "limits.memory": memory(_LIMIT_FACTOR * memory_mib),
                "pods": str(pods),
                "services.loadbalancers": "0",
                "services.nodeports": "0",
            }
        },
    }


def limit_range(scope: Scope) -> Manifest:
    """What a container gets that says nothing, as one that somebody starts to look into the namespace."""
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": scope.metadata("lab"),
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
                    "default": {"memory": "256Mi"},
                }
            ]
        },
    }


def namespace_objects(scope: Scope, *, memory_mib: int, cpu_millicores: int) -> list[Manifest]:
    """Everything that is there before the first workload, the namespace first."""
    return [
        namespace(scope),
        quota(scope, memory_mib=memory_mib, cpu_millicores=cpu_millicores),
        limit_range(scope),
        default_deny(scope),
        dns(scope),
    ]
