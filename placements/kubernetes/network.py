"""Network policies: everything is denied but the edges that workloads declare, as pure functions.

Policies add up, so that each workload's own come with it, whatever else is deployed before or after.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from pulumi import Input

from contracts.errors import LabError
from contracts.workload import Workload
from placements.kubernetes.naming import LAB_LABEL, NAMESPACE_LABEL, Manifest, Scope

_DNS_NAMESPACE = "kube-system"


def default_deny(scope: Scope) -> Manifest:
    """No pod of the namespace sends or receives anything."""
    return policy(scope, "default-deny", "", {}, {"policyTypes": ["Ingress", "Egress"]})


def dns(scope: Scope) -> Manifest:
    """Every pod may ask the cluster's DNS, which lies in ``kube-system``."""
    to = [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: _DNS_NAMESPACE}}}]
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    egress = {"policyTypes": ["Egress"], "egress": [{"to": to, "ports": ports}]}
    return policy(scope, "dns", "", {}, egress)


def edges(workload: Workload, scope: Scope) -> list[Manifest]:
    """What lets ``workload`` reach each port that it declares: its own egress, and an ingress of each
    workload at the other end.

    Raises:
        LabError: a declared edge is not ``workload/port``.
    """
    egress: list[Input[Manifest]] = []
    found: list[Manifest] = []
    source = scope.selector(workload.name)
    for peer, ports in peers(workload.name, workload.reaches).items():
        external = scope.external.get(peer)
        if external is not None:
            egress.append(external)
            continue
        target = scope.selector(peer)
        named = [{"protocol": "TCP", "port": port} for port in ports]
        egress.append({"to": [{"podSelector": {"matchLabels": target}}], "ports": named})
        rule = {"from": [{"podSelector": {"matchLabels": source}}], "ports": named}
        name = f"{peer}-from-{workload.name}"
        spec = {"policyTypes": ["Ingress"], "ingress": [rule]}
        found.append(policy(scope, name, workload.name, target, spec))
    egress += [outside(port) for port in workload.reaches_outside]
    egress += scope.also_reaches.get(workload.name, ())
    if egress:
        spec = {"policyTypes": ["Egress"], "egress": egress}
        found.insert(0, policy(scope, f"{workload.name}-egress", workload.name, source, spec))
    return found


def peers(name: str, reaches: Iterable[str]) -> dict[str, list[str]]:
    """The ports that ``name`` declares to reach, by the workload that has them.

    Raises:
        LabError: a declared edge is not ``workload/port``.
    """
    found: dict[str, list[str]] = {}
    for edge in reaches:
        peer, _, port = edge.partition("/")
        if not peer or not port or "/" in port:
            raise LabError(
                f"{name} declares a connection that is not understood",
                value=edge,
                permitted="WORKLOAD/PORT, for example opa/http",
            )
        found.setdefault(peer, []).append(port)
    return found


def outside(port: int, host: str = "") -> Manifest:
    """The egress rule to a TCP port of a host that is no pod. Policies know addresses, not names: a host
    that is not given by its address may be any."""
    try:
        address = ipaddress.ip_address(host)
        blocks = [f"{address}/{address.max_prefixlen}"]
    except ValueError:
        blocks = ["0.0.0.0/0", "::/0"]
    return {
        "to": [{"ipBlock": {"cidr": block}} for block in blocks],
        "ports": [{"protocol": "TCP", "port": port}],
    }


def beside(port: int, workload: str, namespace: str, lab: str) -> Manifest:
    """The egress rule to a TCP port of a workload of the same lab in another namespace."""
    return {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
                "podSelector": {"matchLabels": {LAB_LABEL: lab, "app.kubernetes.io/component": workload}},
            }
        ],
        "ports": [{"protocol": "TCP", "port": port}],
    }


def within(port: int, cidr: str) -> Manifest:
    """The egress rule to a TCP port of any host of a network."""
    return {"to": [{"ipBlock": {"cidr": cidr}}], "ports": [{"protocol": "TCP", "port": port}]}


def policy(scope: Scope, name: str, component: str, labels: dict[str, str], spec: Manifest) -> Manifest:
    """A policy for the pods with ``labels``, all of the namespace where there are none."""
    selector: Manifest = {"matchLabels": labels} if labels else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": scope.metadata(name, component),
        "spec": {"podSelector": selector, **spec},
    }
