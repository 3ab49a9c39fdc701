"""Who may reach the data services: pure functions. Their namespace denies everything first."""

from __future__ import annotations

from placements.kubernetes.naming import LAB_LABEL, NAMESPACE_LABEL, Manifest, Scope, reaches_label
from placements.kubernetes.network import policy

PORTS = {"postgres": "tcp", "s3": "http"}
"""The data services and their ports."""


def admissions(scope: Scope, lab_namespace: str) -> list[Manifest]:
    """For each service: the pods of the lab that declare to reach it, and no others of its namespace or of
    any other."""
    found = []
    for service, port in PORTS.items():
        pods = {LAB_LABEL: scope.lab, reaches_label(service): "true"}
        source = {
            "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: lab_namespace}},
            "podSelector": {"matchLabels": pods},
        }
        rule = {"from": [source], "ports": [{"protocol": "TCP", "port": port}]}
        spec = {"policyTypes": ["Ingress"], "ingress": [rule]}
        found.append(policy(scope, f"{service}-from-lab", service, scope.selector(service), spec))
    return found
