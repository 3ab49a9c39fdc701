"""The placement against a real Kubernetes: what it renders is accepted, and the real engine makes, changes
and removes it."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from placements.kubernetes.cluster import LAB_RIGHTS, PERSISTENT_RIGHTS, Right, check_cluster
from placements.kubernetes.leftovers import leftovers
from placements.local.supervisor import SupervisorClient
from placements.local.unprivileged import remove_unprivileged
from tests.cluster.running import TestCluster
from tests.cluster.support import apply, rendered, with_provider
from tests.engine.plugins_support import Project, new_project
from tests.mocks.test_kubernetes import ALL, EXTERNAL

# What is built for it, where no cache has it, takes longest.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]
NAMESPACE = "lakehouse-lab"
SERVICES = ("front", "back", "kept")
"""What ``program.py`` deploys."""


def test_the_api_takes_every_manifest_of_both_stacks_without_a_warning(
    cluster: TestCluster, tmp_path: Path
) -> None:
    persistent, lab = rendered(tmp_path, "persistent", *EXTERNAL), rendered(tmp_path, "lab", ALL)
    assert {m["kind"] for m in lab} >= {"Deployment", "StatefulSet", "Secret", "NetworkPolicy"}
    assert apply(cluster, persistent) == ""
    try:
        assert apply(cluster, lab, "--dry-run=server") == ""
        broken = json.loads(json.dumps(next(m for m in lab if m["kind"] == "Deployment")))
        broken["spec"]["template"]["spec"]["securityContext"] = {}
        broken["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {}
        assert "restricted" in apply(cluster, [broken], "--dry-run=server"), "a warning fails the check"
    finally:
        assert cluster.run("delete", "namespace", NAMESPACE).returncode == 0


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


@dataclass(kw_only=True)
class Lab:
    """Both stacks of a lab on the cluster."""

    cluster: TestCluster
    persistent: Project
    lab: Project
    home: Path
    password: str

    def pods(self) -> dict[str, str]:
        """UIDs of the running pods by their workload."""
        return {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["uid"]
            for pod in self.cluster.objects("pods", NAMESPACE)
            if "deletionTimestamp" not in pod["metadata"]
        }

    def names(self, kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in self.cluster.objects(kind, NAMESPACE)}

    def asked(self, service: str, path: str) -> Any:
        """What a service answers through its tunnel."""
        url = self.lab.run("stack", "output", service).text.strip()
        deadline = time.monotonic() + 30
        while True:
            try:
                answer = httpx.post(f"{url}/v1/data/{path}", json={}, trust_env=False, timeout=10)
                return answer.raise_for_status().json().get("result")
            except httpx.TransportError:
                # A tunnel whose pod was replaced is started again.
                assert time.monotonic() < deadline
                time.sleep(0.3)


@pytest.fixture(scope="module")
def lab(cluster: TestCluster, opa_image: str) -> Iterator[Lab]:
    """Projects that hold nothing yet."""
    folder = Path(tempfile.mkdtemp(prefix="cluster lab-"))
    home, password = folder / "a lab", secrets.token_hex(16)
    program = (ROOT / "tests" / "cluster" / "program.py").read_text(encoding="utf-8")
    projects = {}
    for role in ("persistent", "lab"):
        (folder / role).mkdir()
        made = new_project(folder / role)
        with_provider(folder / role)
        (folder / role / "__main__.py").write_text(program, encoding="utf-8")
        projects[role] = replace(made, environment={**made.environment, "PYTHONPATH": str(ROOT)})
        projects[role].config(
            role=role, kubectl=str(cluster.kubectl), kubeconfig=str(cluster.kubeconfig), namespace=NAMESPACE
        )
    projects["lab"].config(
        secret={"password": password},
        images=json.dumps({"opa": opa_image}),
        home=str(home),
        portBase=str(20000 + secrets.randbelow(40) * 200),
        page="first",
        storageClass="by-hand",
    )
    try:
        yield Lab(
            cluster=cluster,
            persistent=projects["persistent"],
            lab=projects["lab"],
            home=home,
            password=password,
        )
    finally:
        SupervisorClient(home).shutdown()
        remove_unprivileged(home)
        shutil.rmtree(folder)


def test_the_engine_makes_changes_heals_and_removes_a_lab(lab: Lab) -> None:
    previewed = lab.persistent.run("preview")
    assert previewed.code == 0, previewed.text
    assert lab.persistent.up().counts.get("created")
    assert lab.persistent.up("--expect-no-changes").counts.get("updated") is None
    apply(lab.cluster, [_volume(lab.cluster.folder / "kept")])

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


def _services_have_what_they_were_given(lab: Lab) -> None:
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


def _nothing_to_do(lab: Lab) -> None:
    before = lab.pods()
    assert lab.lab.up("--expect-no-changes").counts.get("updated") is None
    lab.lab.refresh("--expect-no-changes")
    assert lab.pods() == before


def _a_change_rolls_exactly_its_pods(lab: Lab) -> None:
    before, maps = lab.pods(), lab.names("configmaps")
    lab.lab.config(page="second")
    lab.lab.up()
    after = lab.pods()
    assert {name for name in SERVICES if before[name] != after[name]} == {"front"}
    assert lab.asked("front", "lab/page") == "second"
    gone, new = maps - lab.names("configmaps"), lab.names("configmaps") - maps
    assert [name.rpartition("-")[0] for name in (*gone, *new)] == ["front-files", "front-files"]


def _drift_is_seen_and_healed(lab: Lab) -> None:
    scaled = lab.cluster.run("scale", "deployment/back", "--replicas=0", f"--namespace={NAMESPACE}")
    assert scaled.returncode == 0, scaled.stderr
    removed = lab.cluster.run("delete", "service/front", f"--namespace={NAMESPACE}")
    assert removed.returncode == 0, removed.stderr
    counts = lab.lab.refresh().counts
    assert (counts.get("updated"), counts.get("deleted")) == (1, 1)
    counts = lab.lab.up().counts
    assert (counts.get("updated"), counts.get("created")) == (1, 1)
    assert set(lab.pods()) == set(SERVICES)
    lab.lab.up("--expect-no-changes")


def _an_object_is_imported(lab: Lab) -> None:
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


def _destroying_leaves_what_is_kept(lab: Lab) -> None:
    lab.lab.destroy()
    within = lab.cluster.cluster(NAMESPACE)
    assert leftovers(within, lab="lab", stack="lab", wait_s=30) == []
    (claim,) = lab.cluster.objects("persistentvolumeclaims", NAMESPACE)
    assert claim["metadata"]["labels"]["lakehouse-lab/stack"] == "persistent"
    assert lab.cluster.objects("pods", NAMESPACE) == []


def _volume(folder: Path) -> dict[str, Any]:
    folder.mkdir(mode=0o777, exist_ok=True)
    folder.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "kept"},
        "spec": {
            "capacity": {"storage": "16Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "by-hand",
            "hostPath": {"path": str(folder)},
        },
    }
