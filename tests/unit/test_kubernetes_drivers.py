"""Where Spark's drivers run on a cluster: what their gateway may do there, and what they reach."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from contracts.errors import LabError
from contracts.workload import Port, Probe, Workload
from placements.kubernetes import drivers
from placements.kubernetes.naming import Manifest, Scope

SCOPE = Scope(lab="lab", namespace="lakehouse-lab", stack="lab")
GATEWAY = Workload(
    name="spark",
    artifact="python",
    command=["python"],
    ports=(Port(name="http", number=8080), Port(name="connect", number=8081)),
    readiness=Probe(port="http", path="/health/ready"),
)
REACHES = ("catalog/http", "s3/http", "spark/http")
ABROAD = {"to": [{"ipBlock": {"cidr": "10.0.0.9/32"}}], "ports": [{"protocol": "TCP", "port": 9000}]}


def edges(scope: Scope = SCOPE, reaches: tuple[str, ...] = REACHES) -> dict[str, Manifest]:
    found = drivers.edges(GATEWAY, scope, reaches, connect_port=15002)
    names = [(policy["metadata"]["namespace"], policy["metadata"]["name"]) for policy in found]
    assert len(set(names)) == len(names)
    return {policy["metadata"]["name"]: policy for policy in found}


def rights(rules: list[Manifest]) -> set[tuple[str, str]]:
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def everything() -> list[Manifest]:
    return [
        *drivers.drivers_namespace(SCOPE, memory_mib=8192, cpu_millicores=4000, pods=20),
        drivers.role(GATEWAY, SCOPE),
        drivers.role_binding(GATEWAY, SCOPE),
        drivers.service_account(GATEWAY, SCOPE),
        *edges().values(),
    ]


def test_the_gateway_has_exactly_the_rights_it_needs_and_none_in_the_labs_namespace() -> None:
    role = drivers.role(GATEWAY, SCOPE)
    assert rights(role["rules"]) == {
        *(("pods", verb) for verb in ("create", "delete", "get", "list", "watch")),
        ("pods/log", "get"),
        ("secrets", "create"),
        ("networkpolicies", "create"),
    }
    binding = drivers.role_binding(GATEWAY, SCOPE)
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "lakehouse-lab-spark"
    assert binding["roleRef"]["kind"] == "Role"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "spark", "namespace": "lakehouse-lab"}]


def test_nothing_is_granted_in_the_whole_cluster_and_nothing_by_a_wildcard() -> None:
    assert not [m for m in everything() if m["kind"].startswith("Cluster")]
    for rule in drivers.role(GATEWAY, SCOPE)["rules"]:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_users_code_has_an_identity_without_rights_and_without_a_token() -> None:
    account = drivers.service_account(GATEWAY, SCOPE)
    assert account["automountServiceAccountToken"] is False
    subjects = drivers.role_binding(GATEWAY, SCOPE)["subjects"]
    assert account["metadata"]["name"] not in [subject["name"] for subject in subjects]


def test_the_namespace_admits_restricted_pods_alone_within_a_quota_of_its_own() -> None:
    space, quota, _, deny, dns = drivers.drivers_namespace(
        SCOPE, memory_mib=8192, cpu_millicores=4000, pods=20
    )
    assert space["metadata"]["name"] == "lakehouse-lab-spark"
    assert space["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    hard = quota["spec"]["hard"]
    assert (hard["requests.memory"], hard["requests.cpu"], hard["pods"]) == ("8Gi", "4", "20")
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert dns["spec"]["policyTypes"] == ["Egress"]


def selected(peer: Manifest) -> tuple[str, str]:
    space = peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    return space, peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"]


def test_drivers_reach_what_is_declared_and_nothing_else() -> None:
    found = edges()
    own = found["spark-run-egress"]
    assert own["metadata"]["namespace"] == "lakehouse-lab-spark"
    reached = {
        (selected(to), rule["ports"][0]["port"]) for rule in own["spec"]["egress"] for to in rule["to"]
    }
    assert reached == {
        (("lakehouse-lab", "catalog"), "http"),
        (("lakehouse-lab", "s3"), "http"),
        (("lakehouse-lab", "spark"), "http"),
    }
    for peer in ("catalog", "s3", "spark"):
        other_end = found[f"{peer}-from-spark-run"]
        assert other_end["metadata"]["namespace"] == "lakehouse-lab"
        assert other_end["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == peer
        (rule,) = other_end["spec"]["ingress"]
        assert [selected(source) for source in rule["from"]] == [("lakehouse-lab-spark", "spark-run")]


def test_a_peer_outside_the_cluster_is_reached_by_its_own_rule() -> None:
    found = edges(dataclasses.replace(SCOPE, external={"s3": ABROAD}))
    assert ABROAD in found["spark-run-egress"]["spec"]["egress"]
    assert "s3-from-spark-run" not in found


def test_drivers_are_reached_by_the_gateway_alone_at_one_port() -> None:
    found = edges()
    ports = [{"protocol": "TCP", "port": 15002}]
    into = [
        rule
        for policy in found.values()
        if policy["metadata"]["namespace"] == "lakehouse-lab-spark"
        for rule in policy["spec"].get("ingress", [])
    ]
    assert [(selected(source), rule["ports"]) for rule in into for source in rule["from"]] == [
        (("lakehouse-lab", "spark"), ports)
    ]
    out: dict[str, Any] = found["spark-to-spark-run"]["spec"]
    assert out["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "spark"
    assert [(selected(to), rule["ports"]) for rule in out["egress"] for to in rule["to"]] == [
        (("lakehouse-lab-spark", "spark-run"), ports)
    ]


def test_whatever_is_left_can_be_found_by_its_labels() -> None:
    for manifest in everything():
        assert manifest["metadata"]["labels"]["lakehouse-lab/lab"] == "lab", manifest


def test_an_edge_that_is_not_understood_is_refused() -> None:
    with pytest.raises(LabError, match="spark-run declares a connection that is not understood"):
        edges(reaches=("catalog",))
