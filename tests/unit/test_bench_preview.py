"""The benchmark of previews reads the engine's plans: what waits for what, and for how long."""

from __future__ import annotations

from typing import Any

from bench.preview import NODE_GROUP, behind, longest, planned, published

STACK = "urn:pulumi:new::p::pulumi:pulumi:Stack::p-new"
CLUSTER = "aws:eks/cluster:Cluster"
PROVIDER = "pulumi:providers:aws"


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:new::p::{kind}::{name}"


def goal(
    kind: str, name: str, *after: str, parent: str = STACK, custom: bool = True, provider: str = ""
) -> Any:
    return {
        urn(kind, name): {
            "goal": {
                "type": kind,
                "name": name,
                "custom": custom,
                "parent": parent,
                "dependencies": list(after) or None,
                "provider": provider,
            },
            "steps": ["create"],
        }
    }


BOX = urn("lab:Box", "box")
PLAN = {
    "resourcePlans": {
        **goal("pulumi:pulumi:Stack", "p-new", parent="", custom=False),
        **goal(PROVIDER, "account"),
        **goal("lab:Box", "box", custom=False),
        **goal(CLUSTER, "cluster", parent=BOX, provider=f"{urn(PROVIDER, 'account')}::04da6b54"),
        **goal(NODE_GROUP, "system", urn(CLUSTER, "cluster")),
        **goal(NODE_GROUP, "batch", urn(CLUSTER, "cluster")),
        **goal("kubernetes:apps/v1:Deployment", "opa", urn(NODE_GROUP, "system"), "urn:of:another::stack"),
        **goal("lab:Last", "last", BOX),
        urn("lab:Gone", "gone"): {"steps": ["delete"]},
    }
}
DEPLOYMENT = urn("kubernetes:apps/v1:Deployment", "opa")


def test_a_resource_waits_for_what_it_names_and_for_its_provider() -> None:
    found = planned(PLAN)
    assert urn("lab:Gone", "gone") not in found
    assert found[urn(CLUSTER, "cluster")].waits_for == {urn(PROVIDER, "account")}
    assert found[DEPLOYMENT].waits_for == {urn(NODE_GROUP, "system")}


def test_a_component_that_is_named_stands_for_what_it_holds() -> None:
    assert planned(PLAN)[urn("lab:Last", "last")].waits_for == {urn(CLUSTER, "cluster")}


def test_the_chain_that_takes_most_time_is_told_in_the_order_of_creation() -> None:
    took, chain = longest(planned(PLAN), DEPLOYMENT, published)
    assert [one.name for one in chain] == ["account", "cluster", "system", "opa"]
    assert took == 513 + 119


def test_who_waits_for_one_node_group_does_not_wait_for_the_other() -> None:
    assert urn(NODE_GROUP, "batch") not in behind(planned(PLAN), DEPLOYMENT)
