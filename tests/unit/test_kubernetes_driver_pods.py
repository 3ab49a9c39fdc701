"""Pods that a service makes for its users: what it is told of them, and what its own pod has for that."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from contracts.errors import LabError
from contracts.workload import Helpers, PerUser, Port, Probe, Workload, WorkloadClass
from placements.kubernetes import driver_pods, drivers, objects
from placements.kubernetes.layout import image_layout
from placements.kubernetes.naming import Manifest, Scope
from placements.kubernetes.pods import CA_FILE, TOKEN_FILE, Content
from spark_gateway.client import Program
from spark_gateway.drivers import ExecutorPlan, LaunchPlan
from spark_gateway.executor_plan import ExecutorRequest, driver_properties, executor_pod
from spark_gateway.launcher import Launch
from spark_gateway.pod_plan import PodPlan, driver_pod

SCOPE = Scope(lab="lab", namespace="lakehouse-lab", stack="lab", pull_secret="registry")
IMAGE = f"registry.example/spark@sha256:{'0' * 64}"
LAYOUT = image_layout("spark", "python", ("http", "connect"), ("spark", "java21"))
PER_USER = PerUser(
    plan_variable="SPARK_GATEWAY_PODS_FILE",
    port=15002,
    reaches=("catalog/http", "spark/http"),
    maximum=4,
    memory_mib=1118,
    cpu_millicores=500,
    files=("log4j2.properties",),
    helpers=Helpers(maximum=2, memory_mib=1374, cpu_millicores=250),
)
GATEWAY = Workload(
    name="spark",
    artifact="python",
    command=["python"],
    ports=(Port(name="http", number=8080), Port(name="connect", number=8081)),
    readiness=Probe(port="http", path="/health/ready"),
    env={"OTHER": "x"},
    files={"log4j2.properties": "rootLogger.level=warn\n"},
    memory_mib=1218,
    cpu_millicores=600,
    per_user=PER_USER,
)
LAUNCHES = LaunchPlan(
    java=("java",),
    classpath=("/x",),
    environment={},
    catalog="lake",
    spark_version="4",
    executors=ExecutorPlan(java=("java",), threads=2, maximum=2, properties={}),
)


def plan(scope: Scope = SCOPE) -> PodPlan:
    return driver_pods.pod_plan(GATEWAY, PER_USER, LAYOUT, scope, IMAGE)


def job() -> Manifest:
    """The pod of a job, as the gateway makes it from the placement's template."""
    launch = Launch(run_id="r1", properties={}, program=Program(file_name="job.py", content=b""))
    return driver_pod(PodPlan.from_json(plan().to_json()), LAUNCHES, launch)


def executor() -> Manifest:
    """The pod of an executor of that job."""
    request = ExecutorRequest(
        executor_id="1", profile_id="0", application_id="app", driver_url="spark://x", authentication="x"
    )
    return executor_pod(
        PodPlan.from_json(plan().to_json()), LAUNCHES, "r1", request, {"metadata": {"uid": "u"}}
    )


def gateway_pod() -> dict[str, Any]:
    made = objects.controller(GATEWAY, LAYOUT, SCOPE, image=IMAGE, command=["x"], content=Content())
    spec: dict[str, Any] = made["spec"]["template"]["spec"]
    return spec


def test_the_gateway_is_told_and_asks_for_itself_alone() -> None:
    made = driver_pods.beside(GATEWAY, PER_USER, LAYOUT, SCOPE, IMAGE)
    assert made.env == {"OTHER": "x", "SPARK_GATEWAY_PODS_FILE": "/etc/lakehouse-lab/pods.json"}
    assert PodPlan.from_json(str(made.files["pods.json"])) == plan()
    assert (made.memory_mib, made.cpu_millicores) == (100, 100)


@pytest.mark.parametrize("pod", [job, executor])
def test_a_driver_is_what_restricted_pod_security_admits_and_has_no_token(
    pod: Callable[[], Manifest],
) -> None:
    spec = pod()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] == "spark-run"
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert container["image"] == IMAGE
        assert container["resources"]["limits"]["memory"]
    text = json.dumps(spec)
    assert "serviceAccountToken" not in text
    assert TOKEN_FILE not in text
    assert spec["imagePullSecrets"] == [{"name": "registry"}]


def test_a_driver_runs_on_nodes_of_its_class() -> None:
    spec = job()["spec"]
    assert spec["tolerations"][0]["value"] == WorkloadClass.BATCH.value
    assert "batch" in json.dumps(spec["affinity"])
    (container,) = spec["containers"]
    assert container["resources"]["requests"] == {"cpu": "500m", "memory": "1118Mi"}


def test_an_executor_runs_where_its_driver_does_and_has_its_own_size() -> None:
    spec, of_driver = executor()["spec"], job()["spec"]
    for key in ("affinity", "tolerations", "securityContext", "imagePullSecrets"):
        assert spec[key] == of_driver[key]
    assert "initContainers" not in spec
    (container,) = spec["containers"]
    assert container["image"] == IMAGE
    assert container["resources"]["requests"] == {"cpu": "250m", "memory": "1374Mi"}
    assert executor()["metadata"]["labels"].items() >= job()["metadata"]["labels"].items()
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["workingDir"] in mounts, "it writes what it fetches there"


def test_drivers_ask_the_gateway_for_executors_where_they_may_have_some() -> None:
    assert driver_properties(plan(), LAUNCHES, "r1")["spark.master"] == (
        "k8s://http://spark.lakehouse-lab.svc:8080"
    )
    alone = dataclasses.replace(PER_USER, helpers=None)
    without = driver_pods.pod_plan(GATEWAY, alone, LAYOUT, SCOPE, IMAGE)
    assert without.executor_template is None
    assert without.template == plan().template


@pytest.mark.parametrize("pod", [job, executor])
def test_every_mount_has_its_volume_and_scratch_is_there_under_both_names(
    pod: Callable[[], Manifest],
) -> None:
    spec = pod()["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    places = {mount["mountPath"]: mount for mount in spec["containers"][0]["volumeMounts"]}
    assert places["/tmp"]["name"] == places["/var/lib/lakehouse-lab/tmp"]["name"] == "scratch"
    # Hadoop's libraries refuse to run as a user who has no name.
    assert places["/etc/passwd"]["subPath"] == "passwd"
    assert plan().files["passwd"].startswith("spark:x:10001:10001:")


def test_pods_of_a_run_are_found_by_the_labels_that_policies_select() -> None:
    labels = job()["metadata"]["labels"]
    own = drivers.drivers_scope(SCOPE)
    assert own.selector(drivers.DRIVERS).items() <= labels.items()
    assert labels["lakehouse-lab/stack"] == "lab"
    assert plan().namespace == own.namespace == "lakehouse-lab-spark"
    assert plan().fetch_url == "http://spark.lakehouse-lab.svc:8080/v1/files"


def test_the_gateway_alone_has_a_token_for_the_api() -> None:
    spec = gateway_pod()
    assert spec["automountServiceAccountToken"] is False, "nothing but what is asked for"
    (api,) = [volume for volume in spec["volumes"] if volume["name"] == "api"]
    token, authority = api["projected"]["sources"]
    assert token["serviceAccountToken"] == {"path": "token", "expirationSeconds": 3600}
    assert authority["configMap"]["name"] == "kube-root-ca.crt"
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "api"]
    assert mount["readOnly"] is True
    assert {f"{mount['mountPath']}/token", f"{mount['mountPath']}/ca.crt"} == {TOKEN_FILE, CA_FILE}
    assert (plan().token_file, plan().ca_file) == (TOKEN_FILE, CA_FILE)
    without = dataclasses.replace(GATEWAY, per_user=None)
    made = objects.controller(without, LAYOUT, SCOPE, image=IMAGE, command=["x"], content=Content())
    assert "serviceAccountToken" not in json.dumps(made)


@pytest.mark.parametrize(
    ("helpers", "memory", "cpu", "pods"),
    [(None, "5590Mi", "2500m", "5"), (PER_USER.helpers, "19330Mi", "5", "15")],
)
def test_the_quota_has_room_for_all_and_one_that_is_being_ended(
    helpers: Helpers | None, memory: str, cpu: str, pods: str
) -> None:
    found = drivers.drivers_objects(GATEWAY, dataclasses.replace(PER_USER, helpers=helpers), SCOPE)
    (quota,) = [one for one in found if one["kind"] == "ResourceQuota"]
    hard = quota["spec"]["hard"]
    assert (hard["requests.memory"], hard["requests.cpu"], hard["pods"]) == (memory, cpu, pods)
    assert found[0]["kind"] == "Namespace"
    of_driver, of_executor = (
        int(pod()["spec"]["containers"][0]["resources"]["limits"]["memory"][:-2]) for pod in (job, executor)
    )
    limits = 5 * (of_driver + (helpers.maximum if helpers else 0) * of_executor)
    assert limits <= int(hard["limits.memory"].removesuffix("Mi"))


async def test_a_file_that_holds_a_secret_is_given_to_nobody() -> None:
    secret = dataclasses.replace(GATEWAY, files={"log4j2.properties": pulumi.Output.secret("x")})
    for workload in (secret, dataclasses.replace(GATEWAY, files={})):
        with pytest.raises(LabError, match="can't be given this file"):
            driver_pods.beside(workload, PER_USER, LAYOUT, SCOPE, IMAGE)
