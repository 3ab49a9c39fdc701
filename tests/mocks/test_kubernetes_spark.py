"""A lab with Spark on a cluster, under Pulumi's mocks: the gateway, and the namespace of its pods."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spark_gateway.pod_plan import PodPlan
from tests.mocks.test_kubernetes import (
    CORE,
    NAMESPACE,
    Inputs,
    Registered,
    container_of,
    make_inputs,
    opened,
    pod_of,
    recorded,
)
from tests.unit.fake_kubectl import install

APART = f"{NAMESPACE}-spark"
READ = "spark-pull-secret"
"""The secret that people made in the lab's namespace."""
SPARK = ("components=spark", "sparkMaxRuns=3", "sparkDriverMillicores=250")
"""Each driver has two executors of 500 millicores, unless it is said otherwise."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def found(inputs: Inputs) -> Registered:
    made = recorded(inputs, "lab", *SPARK, "imagePullSecret=registry")
    assert made.error is None
    return made


def plan_of(found: Registered) -> PodPlan:
    return PodPlan.from_json(found.objects("ConfigMap")["spark-files"]["data"]["pods.json"])


def test_the_gateway_is_a_workload_like_others(found: Registered) -> None:
    assert set(found.controllers) == {*CORE, "spark"}
    container = container_of(found.controllers["spark"])
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["SPARK_GATEWAY_PODS_FILE"] == "/etc/lakehouse-lab/pods.json"
    assert environment["SPARK_GATEWAY_CONNECT_URL"].startswith("sc://localhost:28")
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "100Mi"}
    assert plan_of(found).template["spec"]["containers"][0]["image"] == container["image"]


def test_pods_lie_in_a_namespace_that_goes_with_the_lab_stack(found: Registered) -> None:
    (space,) = found.objects("Namespace").values()
    assert space["metadata"]["name"] == plan_of(found).namespace == APART
    assert space["metadata"]["labels"]["lakehouse-lab/stack"] == "lab"
    (quota,) = found.objects("ResourceQuota").values()
    assert quota["metadata"]["namespace"] == APART
    # Three drivers with two executors each, and room for one more.
    assert quota["spec"]["hard"]["requests.cpu"] == "5"
    assert quota["spec"]["hard"]["pods"] == "12"
    for resource in found.on_the_cluster:
        if resource["name"].startswith("spark-apart-"):
            before = resource["options"]["depends_on"]
            assert [one for one in before if one.endswith("::spark-apart")], (resource["name"], before)


def test_executors_are_made_by_the_gateway_or_there_are_none(found: Registered, inputs: Inputs) -> None:
    plan = plan_of(found)
    assert plan.executor_template is not None
    assert plan.executor_template["spec"]["serviceAccountName"] == "spark-run"
    assert plan.master_url == f"http://spark.{NAMESPACE}.svc:8080"
    alone = recorded(inputs, "lab", *SPARK, "sparkMaxExecutors=0")
    assert alone.error is None
    assert plan_of(alone).executor_template is None
    (quota,) = alone.objects("ResourceQuota").values()
    assert quota["spec"]["hard"]["pods"] == "4"


def test_the_gateways_rights_end_at_that_namespace(found: Registered) -> None:
    (role,) = found.objects("Role").values()
    (binding,) = found.objects("RoleBinding").values()
    for one in (role, binding):
        assert one["metadata"]["namespace"] == APART
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "spark", "namespace": NAMESPACE}]
    assert not found.objects("ClusterRole")
    assert not found.objects("ClusterRoleBinding")
    with_token = [
        name for name, one in found.controllers.items() if "serviceAccountToken" in json.dumps(pod_of(one))
    ]
    assert with_token == ["spark"]
    (account,) = [o for o in found.objects("ServiceAccount").values() if o["metadata"]["namespace"] == APART]
    assert account["metadata"]["name"] == plan_of(found).template["spec"]["serviceAccountName"]


def test_the_api_is_reached_by_the_gateway_and_by_nothing_else(found: Registered) -> None:
    reached: dict[str, set[str]] = {}
    for policy in found.objects("NetworkPolicy").values():
        for rule in policy["spec"].get("egress", []):
            for to in rule.get("to", []):
                if "ipBlock" in to and to["ipBlock"]["cidr"] in ("10.96.0.1/32", "192.0.2.10/32"):
                    name = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
                    reached.setdefault(name, set()).add(to["ipBlock"]["cidr"])
    assert reached == {"spark": {"10.96.0.1/32", "192.0.2.10/32"}}


def test_every_object_carries_the_labs_label_and_lies_in_one_of_two_namespaces(found: Registered) -> None:
    for resource in found.on_the_cluster:
        if resource["name"] == READ:
            continue
        metadata = opened(resource["inputs"])["metadata"]
        assert metadata["labels"]["lakehouse-lab/lab"] == "lab", resource["name"]
        if not resource["type"].endswith(":Namespace"):
            assert metadata["namespace"] in (NAMESPACE, APART), resource["name"]


def test_drivers_can_pull_their_image_where_the_lab_can(found: Registered) -> None:
    secrets = {name: one for name, one in found.objects("Secret").items() if name != READ}
    (copied,) = [one for one in secrets.values() if one["metadata"]["namespace"] == APART]
    assert copied["metadata"]["name"] == "registry"
    assert plan_of(found).template["spec"]["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("labels", [{"lakehouse-lab/lab": "lab-spark"}, {}])
def test_a_namespace_that_is_anothers_is_refused_before_anything_is_registered(
    inputs: Inputs, tmp_path: Path, labels: dict[str, str]
) -> None:
    install(tmp_path, namespaces={APART: labels})
    found = recorded(inputs, "lab", *SPARK, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert "is taken" in (found.error or "")
    assert found.on_the_cluster == []


def test_without_spark_nothing_more_is_asked_or_made(inputs: Inputs, tmp_path: Path) -> None:
    install(tmp_path)
    found = recorded(inputs, "lab", "components=trino", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert found.error is None
    assert not found.objects("Namespace")
    assert not found.objects("Role")
    assert "endpointslices" not in (tmp_path / "calls").read_text()
