"""The namespace that Spark's drivers and executors run in, and what the gateway may do there: pure functions.

Whoever may make pods in a namespace may read every Secret in it and act as every service account of it. So
these pods have a namespace of their own, and what the gateway may do there gives it none of the lab's
Secrets. The pods themselves, which run users' code, may do nothing at all: they have no token for the API.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pulumi import Input

from contracts.workload import Helpers, PerUser, Workload
from placements.kubernetes.namespace import limit_range, namespace, quota
from placements.kubernetes.naming import Manifest, Scope
from placements.kubernetes.network import default_deny, dns, peers, policy

DRIVERS = "spark-run"
"""Component of all pods that run users' code, and the service account that they have."""

_RULES = (
    ("", "pods", ("create", "delete", "get", "list", "watch")),
    ("", "pods/log", ("get",)),
    # Written and never read. They go with the pod that owns them.
    ("", "secrets", ("create",)),
    ("networking.k8s.io", "networkpolicies", ("create",)),
)


def drivers_scope(scope: Scope) -> Scope:
    """What objects beside the drivers of a lab share: they lie in the namespace ``NAME-spark``."""
    return replace(scope, namespace=drivers_namespace_of(scope.namespace))


def drivers_namespace_of(namespace: str) -> str:
    """The namespace of the drivers of the lab in ``namespace``."""
    return f"{namespace}-spark"


def drivers_namespace(scope: Scope, *, memory_mib: int, cpu_millicores: int, pods: int) -> list[Manifest]:
    """The namespace and what holds for all of it, the namespace first; ``scope`` is the lab's. The quota is
    for the drivers and executors of all users together, which take nothing of the lab's own."""
    own = drivers_scope(scope)
    return [
        namespace(own),
        quota(own, memory_mib=memory_mib, cpu_millicores=cpu_millicores, pods=pods),
        limit_range(own),
        default_deny(own),
        dns(own),
    ]


def drivers_objects(gateway: Workload, per_user: PerUser, scope: Scope) -> list[Manifest]:
    """Everything that is there before the first driver, the namespace first. There is room for as many as may
    run side by side, and one that is still being ended, with the helpers of each.

    Raises:
        LabError: a declared edge is not ``workload/port``.
    """
    room = per_user.maximum + 1
    helpers = per_user.helpers or Helpers(maximum=0, memory_mib=0, cpu_millicores=0)
    return [
        *drivers_namespace(
            scope,
            memory_mib=room * (per_user.memory_mib + helpers.maximum * helpers.memory_mib),
            cpu_millicores=room * (per_user.cpu_millicores + helpers.maximum * helpers.cpu_millicores),
            pods=room * (1 + helpers.maximum),
        ),
        role(gateway, scope),
        role_binding(gateway, scope),
        service_account(gateway, scope),
        *edges(gateway, scope, per_user.reaches, connect_port=per_user.port),
    ]


def role(gateway: Workload, scope: Scope) -> Manifest:
    """What the gateway may do among the drivers, and nowhere else."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": drivers_scope(scope).metadata(gateway.name, gateway.name),
        "rules": [
            {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
            for group, resource, verbs in _RULES
        ],
    }


def role_binding(gateway: Workload, scope: Scope) -> Manifest:
    """Gives that role to the gateway's service account, which is in the lab's namespace."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": drivers_scope(scope).metadata(gateway.name, gateway.name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": gateway.name},
        "subjects": [{"kind": "ServiceAccount", "name": gateway.name, "namespace": scope.namespace}],
    }


def service_account(gateway: Workload, scope: Scope) -> Manifest:
    """The identity of drivers and executors: without any right, and without a token in their pods."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": drivers_scope(scope).metadata(DRIVERS, gateway.name),
        "automountServiceAccountToken": False,
    }


def edges(gateway: Workload, scope: Scope, reaches: Iterable[str], *, connect_port: int) -> list[Manifest]:
    """What drivers and executors may open connections to, at both ends: ``reaches``, as a workload declares
    it. The gateway reaches ``connect_port`` of the drivers, and nothing else reaches any of these pods.

    Raises:
        LabError: a declared edge is not ``workload/port``.
    """
    own = drivers_scope(scope)
    pods = own.selector(DRIVERS)
    egress: list[Input[Manifest]] = []
    found: list[Manifest] = []
    for peer, ports in peers(DRIVERS, reaches).items():
        external = scope.external.get(peer)
        if external is not None:
            egress.append(external)
            continue
        named = [{"protocol": "TCP", "port": port} for port in ports]
        egress.append({"to": [_pods(scope, scope.selector(peer))], "ports": named})
        rule = {"from": [_pods(own, pods)], "ports": named}
        name = f"{peer}-from-{DRIVERS}"
        spec = {"policyTypes": ["Ingress"], "ingress": [rule]}
        found.append(policy(scope, name, gateway.name, scope.selector(peer), spec))
    listening = [{"protocol": "TCP", "port": connect_port}]
    to_drivers = [{"to": [_pods(own, pods)], "ports": listening}]
    from_gateway = [{"from": [_pods(scope, scope.selector(gateway.name))], "ports": listening}]
    return [
        policy(own, f"{DRIVERS}-egress", gateway.name, pods, {"policyTypes": ["Egress"], "egress": egress}),
        *found,
        policy(
            scope,
            f"{gateway.name}-to-{DRIVERS}",
            gateway.name,
            scope.selector(gateway.name),
            {"policyTypes": ["Egress"], "egress": to_drivers},
        ),
        policy(
            own,
            f"{DRIVERS}-from-{gateway.name}",
            gateway.name,
            pods,
            {"policyTypes": ["Ingress"], "ingress": from_gateway},
        ),
    ]


def _pods(scope: Scope, labels: dict[str, str]) -> Manifest:
    """The pods with ``labels`` in the namespace of ``scope``, for a policy of another one."""
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": scope.namespace}},
        "podSelector": {"matchLabels": labels},
    }
