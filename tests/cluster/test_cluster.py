"""The placement against a real Kubernetes: what it renders is accepted, and the real engine makes, changes
and removes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from placements.kubernetes.cluster import LAB_RIGHTS, PERSISTENT_RIGHTS, Right, check_cluster
from placements.kubernetes.leftovers import leftovers
from spark_gateway.client import Program
from spark_gateway.drivers import LaunchPlan
from spark_gateway.executor_plan import ExecutorRequest, executor_pod, executor_secret
from spark_gateway.launcher import Launch
from spark_gateway.pod_plan import PodPlan, driver_pod, run_policy, run_secret
from tests.cluster.running import TestCluster
from tests.cluster.stacks import NAMESPACE, SERVICES, Stacks, new_stacks
from tests.cluster.support import apply, rendered, volume
from tests.mocks.test_kubernetes import ALL, EXTERNAL, INGRESS, WORKERS

# What is built for it, where no cache has it, takes longest.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

DRIVERS = f"{NAMESPACE}-spark"


def test_the_api_takes_every_manifest_of_both_stacks_without_a_warning(
    cluster: TestCluster, tmp_path: Path
) -> None:
    persistent = rendered(tmp_path, "persistent", *EXTERNAL)
    lab = rendered(tmp_path, "lab", f"{ALL},spark", *WORKERS[1:], *INGRESS)
    kinds = {m["kind"] for m in lab}
    assert kinds >= {"Deployment", "StatefulSet", "Secret", "NetworkPolicy"}
    assert kinds >= {"HorizontalPodAutoscaler", "Ingress", "PodDisruptionBudget", "Role", "RoleBinding"}
    assert apply(cluster, persistent) == ""
    # What lies in a namespace, and pods with a service account, are refused before these are there.
    beside = [m for m in lab if DRIVERS in (m["metadata"]["name"], m["metadata"].get("namespace"))]
    spaces = [m for m in beside if m["kind"] == "Namespace"]
    try:
        assert apply(cluster, spaces) == ""
        assert apply(cluster, beside) == ""
        assert apply(cluster, lab, "--dry-run=server") == ""
        assert apply(cluster, drivers_of(lab), "--dry-run=server") == ""
        broken = json.loads(json.dumps(next(m for m in lab if m["kind"] == "Deployment")))
        broken["spec"]["template"]["spec"]["securityContext"] = {}
        broken["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {}
        assert "restricted" in apply(cluster, [broken], "--dry-run=server"), "a warning fails the check"
    finally:
        assert cluster.run("delete", "namespace", NAMESPACE, DRIVERS).returncode == 0


def drivers_of(lab: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the gateway makes of what it is told: a server, a job, an executor of each, and the rest."""
    (told,) = [m["data"] for m in lab if m["kind"] == "ConfigMap" and "pods.json" in m["data"]]
    plan, launches = PodPlan.from_json(told["pods.json"]), LaunchPlan.from_json(told["plan.json"])
    made: list[dict[str, Any]] = []
    for run_id, program in (("r1", None), ("r2", Program(file_name="job.py", content=b""))):
        launch = Launch(run_id=run_id, properties={"spark.x": "y"}, program=program, credential="r:s")
        owner = {"metadata": {"uid": "6f1f6c2e-7b0e-4a53-9d0b-0a4f6d1b8a11"}}
        made.append(driver_pod(plan, launches, launch))
        made += [run_secret(plan, {}, launch, owner), run_policy(plan, run_id, owner)]
        executor = ExecutorRequest(
            executor_id="1",
            profile_id="0",
            application_id="spark-1",
            driver_url="spark://CoarseGrainedScheduler@10.0.0.1:7078",
            authentication="c0ffee" * 6,
        )
        pod = executor_pod(plan, launches, run_id, executor, owner)
        found = {"metadata": {**pod["metadata"], **owner["metadata"]}}
        made += [pod, executor_secret(plan, executor, found)]
    return made


def test_missing_rights_are_named_by_the_cluster(cluster: TestCluster, tmp_path: Path) -> None:
    assert check_cluster(cluster.cluster("limited"), expected_id="", rights=(*LAB_RIGHTS, *PERSISTENT_RIGHTS))
    commands = (
        ("create", "namespace", "limited"),
        ("create", "serviceaccount", "person", "--namespace=limited"),
        ("create", "role", "some", "--namespace=limited", "--verb=get,list", "--resource=pods,services"),
        (
            "create",
            "rolebinding",
            "some",
            "--namespace=limited",
            "--role=some",
            "--serviceaccount=limited:person",
        ),
    )
    for command in commands:
        done = cluster.run(*command)
        assert done.returncode == 0, done.stderr
    token = cluster.run("create", "token", "person", "--namespace=limited").stdout.strip()
    limited = cluster.with_token(token, tmp_path / "limited.kubeconfig", "limited")
    asked = (
        Right(verb="get", resource="services"),
        Right(verb="create", resource="deployments", group="apps"),
        Right(verb="create", resource="pods", namespaced=True),
        Right(verb="create", resource="namespaces", namespaced=False),
    )
    assert [str(right) for right in limited.missing(asked)] == [
        "create deployments.apps",
        "create pods",
        "create namespaces",
    ]
    assert cluster.run("delete", "namespace", "limited").returncode == 0


@pytest.fixture(scope="module")
def lab(cluster: TestCluster, opa_image: str) -> Iterator[Stacks]:
    """Projects that hold nothing yet."""
    with new_stacks(cluster, opa_image) as found:
        yield found


def test_the_engine_makes_changes_heals_and_removes_a_lab(lab: Stacks) -> None:
    previewed = lab.persistent.run("preview")
    assert previewed.code == 0, previewed.text
    assert lab.persistent.up().counts.get("created")
    assert lab.persistent.up("--expect-no-changes").counts.get("updated") is None
    apply(lab.cluster, [volume("kept", lab.cluster.folder / "kept", "16Mi")])

    lab.lab.up()
    assert set(lab.pods()) == set(SERVICES)
    _services_have_what_they_were_given(lab)
    _nothing_to_do(lab)
    _a_change_rolls_exactly_its_pods(lab)
    _drift_is_seen_and_healed(lab)
    _an_object_is_imported(lab)
    _destroying_leaves_what_is_kept(lab)
    lab.persistent.destroy()
    assert lab.cluster.run("get", "namespace", NAMESPACE).returncode != 0


def _services_have_what_they_were_given(lab: Stacks) -> None:
    for name in SERVICES:
        environment = lab.asked(name, "lab/env")
        assert environment["PLAIN"] == "$(HOME) as it stands"
        assert environment["PASSWORD"] == lab.password
        assert lab.asked(name, "private") == lab.password
    assert lab.asked("front", "lab/page") == "first"
    state = lab.lab.run("stack", "export").text
    assert lab.password not in state
    pods = json.dumps(lab.cluster.objects("pods", NAMESPACE))
    assert lab.password not in pods, "it is in a Secret alone"


def _nothing_to_do(lab: Stacks) -> None:
    before = lab.pods()
    assert lab.lab.up("--expect-no-changes").counts.get("updated") is None
    lab.lab.refresh("--expect-no-changes")
    assert lab.pods() == before


def _a_change_rolls_exactly_its_pods(lab: Stacks) -> None:
    before, maps = lab.pods(), lab.names("configmaps")
    lab.lab.config(page="second")
    lab.lab.up()
    after = lab.pods()
    assert {name for name in SERVICES if before[name] != after[name]} == {"front"}
    assert lab.asked("front", "lab/page") == "second"
    gone, new = maps - lab.names("configmaps"), lab.names("configmaps") - maps
    assert [name.rpartition("-")[0] for name in (*gone, *new)] == ["front-files", "front-files"]


def _drift_is_seen_and_healed(lab: Stacks) -> None:
    scaled = lab.cluster.run("scale", "deployment/back", "--replicas=0", f"--namespace={NAMESPACE}")
    assert scaled.returncode == 0, scaled.stderr
    removed = lab.cluster.run("delete", "service/front", f"--namespace={NAMESPACE}")
    assert removed.returncode == 0, removed.stderr
    # Tunnels to either count as well, once they were found to lead nowhere.
    counts = lab.lab.refresh().counts
    assert (counts.get("updated") in (1, 2, 3), counts.get("deleted")) == (True, 1), counts
    counts = lab.lab.up().counts
    assert (counts.get("updated") in (1, 2, 3), counts.get("created")) == (True, 1), counts
    assert set(lab.pods()) == set(SERVICES)
    for name in SERVICES:
        assert lab.asked(name, "private") == lab.password
    lab.lab.up("--expect-no-changes")


def _an_object_is_imported(lab: Stacks) -> None:
    created = lab.cluster.run(
        "create", "configmap", "found", "--from-literal=a=b", f"--namespace={NAMESPACE}"
    )
    assert created.returncode == 0, created.stderr
    (provider,) = (one["urn"] for one in lab.lab.state() if one["type"] == "pulumi:providers:kubernetes")
    outcome = lab.lab.run(
        "import", "kubernetes:core/v1:ConfigMap", "found", f"{NAMESPACE}/found", "--yes",
        "--provider", f"cluster={provider}", "--skip-preview", "--protect=false", "--generate-code=false",
    )  # fmt: skip
    assert outcome.code == 0, outcome.text
    # No program declares it.
    lab.lab.up()
    assert "found" not in lab.names("configmaps")


def _destroying_leaves_what_is_kept(lab: Stacks) -> None:
    lab.lab.destroy()
    within = lab.cluster.cluster(NAMESPACE)
    assert leftovers(within, lab="lab", stack="lab", wait_s=30) == []
    (claim,) = lab.cluster.objects("persistentvolumeclaims", NAMESPACE)
    assert claim["metadata"]["labels"]["lakehouse-lab/stack"] == "persistent"
    assert lab.cluster.objects("pods", NAMESPACE) == []
