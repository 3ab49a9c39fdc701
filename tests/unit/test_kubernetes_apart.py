"""What is asked of a cluster before a service may make pods there: rights, namespace and API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import PreflightError
from placements.kubernetes import drivers
from placements.kubernetes.apart import beside_of, check_apart, require_own_namespace
from placements.kubernetes.cluster import DRIVERS_RIGHTS, LAB_RIGHTS, Cluster
from tests.unit.fake_kubectl import install
from tests.unit.test_kubernetes_drivers import GATEWAY, SCOPE


def cluster(tmp_path: Path, **world: Any) -> Cluster:
    program = install(tmp_path / "bin", **world)
    return Cluster(kubectl=str(program), kubeconfig=None, context="", namespace="lakehouse-x")


def test_the_operator_has_every_right_that_the_gateway_is_given() -> None:
    """Nobody can hand out what they lack."""
    own = {(right.resource, right.verb) for right in DRIVERS_RIGHTS}
    for rule in drivers.role(GATEWAY, SCOPE)["rules"]:
        assert {(resource, verb) for resource in rule["resources"] for verb in rule["verbs"]} <= own


def test_missing_rights_are_named_with_the_namespace_they_are_missing_in(tmp_path: Path) -> None:
    allowed = [str(right) for right in (*LAB_RIGHTS, *DRIVERS_RIGHTS) if right.resource != "rolebindings"]
    with pytest.raises(PreflightError, match=r"create rolebindings\.rbac\.authorization\.k8s\.io") as caught:
        check_apart(cluster(tmp_path, rules=(), allowed=allowed), lab="x")
    assert caught.value.value == "namespace lakehouse-x-spark"
    allowed = [str(right) for right in DRIVERS_RIGHTS]
    with pytest.raises(PreflightError, match="get services") as caught:
        check_apart(cluster(tmp_path, rules=(), allowed=allowed), lab="x")
    assert caught.value.value == "namespace default"


def test_the_gateway_may_reach_the_apis_service_and_what_is_behind_it(tmp_path: Path) -> None:
    rules = check_apart(cluster(tmp_path), lab="x")
    found = [(rule["to"][0]["ipBlock"]["cidr"], rule["ports"][0]["port"]) for rule in rules]
    assert found == [("10.96.0.1/32", 443), ("192.0.2.10/32", 6443)]


def labels(lab: str, stack: str) -> dict[str, str]:
    return {"lakehouse-lab/lab": lab, "lakehouse-lab/stack": stack}


@pytest.mark.parametrize("given", [labels("x-spark", "persistent"), labels("y", "lab"), {}])
def test_pods_are_made_in_no_namespace_that_is_anothers(tmp_path: Path, given: dict[str, str]) -> None:
    """It goes with the lab stack, and whatever is in it: nobody else's may be taken over."""
    with pytest.raises(PreflightError, match="is taken") as caught:
        check_apart(cluster(tmp_path, namespaces={"lakehouse-x-spark": given}), lab="x")
    assert caught.value.value == "lakehouse-x-spark"
    check_apart(cluster(tmp_path, namespaces={"lakehouse-x-spark": labels("x", "lab")}), lab="x")


def test_a_lab_is_not_made_in_the_namespace_of_anothers_drivers(tmp_path: Path) -> None:
    """Lab ``x-spark`` beside lab ``x``, which share nothing but the cluster."""
    own = beside_of(cluster(tmp_path, namespaces={"lakehouse-x-spark": labels("x", "lab")}))
    with pytest.raises(PreflightError, match="lab 'x', stack lab has it"):
        require_own_namespace(own, lab="x-spark", stack="persistent")
    free: list[dict[str, dict[str, str]]] = [
        {},
        {"lakehouse-x-spark": labels("x-spark", "persistent")},
        # Made by hand, for this lab.
        {"lakehouse-x-spark": {}},
    ]
    for namespaces in free:
        place = beside_of(cluster(tmp_path, namespaces=namespaces))
        require_own_namespace(place, lab="x-spark", stack="persistent")
