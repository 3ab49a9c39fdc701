"""Spark's drivers as pods of a real Kubernetes: made and ended by the gateway's own code, with the gateway's
own rights and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components.spark import PORTS, SparkArgs, workload
from components.spark.properties import ARTIFACTS, ExecutorSize, defaults
from contracts.settings import cache_home
from contracts.workload import PerUser, Workload
from placements.kubernetes import objects
from placements.kubernetes.driver_pods import pod_plan
from placements.kubernetes.drivers import drivers_objects, drivers_scope
from placements.kubernetes.layout import image_layout
from placements.kubernetes.namespace import namespace_objects
from placements.kubernetes.naming import Scope
from spark_gateway.pod_plan import PodPlan
from tests.cluster import settings
from tests.cluster.lab_images import load_images
from tests.cluster.running import ROOT, TestCluster
from tests.cluster.servers import in_node_network
from tests.cluster.support import apply
from tests.unit.slots import make_slot

# What is built for it, where no cache has it, takes longest.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

SCOPE = Scope(lab="pods", namespace="lakehouse-pods", stack="lab")
APART = drivers_scope(SCOPE).namespace
LAYOUT = image_layout("spark", "python", PORTS, ARTIFACTS)
DEFAULTS = defaults(
    catalog_kind="nessie",
    catalog_uri="http://governor.lakehouse-pods.svc:8080/v1/catalog",
    token_url="http://spark.lakehouse-pods.svc:8080/v1/token",
    bind_address=LAYOUT.bind_address,
    heap_mib=512,
    warehouse=make_slot().warehouse,
)


def gateway() -> tuple[Workload, PerUser]:
    """The gateway as its component describes it, with drivers and an executor of which two fit any node."""
    made = workload(
        SparkArgs(
            issuer_url="",
            jwks_url="",
            token_url="",
            governor_url="",
            connect_url="",
            heap_mib=512,
            max_runs=1,
            driver_millicores=100,
            executors=ExecutorSize(maximum=1, heap_mib=512),
            executor_millicores=100,
            catalog_edge="governor/http",
            idle_s=900,
            defaults=DEFAULTS,
            client_secret="",
        ),
        LAYOUT,
    )
    assert made.per_user is not None
    return made, made.per_user


@dataclass(frozen=True)
class Told:
    """What was found, and the objects that were left."""

    found: dict[str, Any]
    left: dict[str, list[str]]


@pytest.fixture(scope="module")
def told(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The story of ``spark_story.py``, told with the token of the gateway's service account."""
    folder = tmp_path_factory.mktemp("spark")
    made, per_user = gateway()
    image = load_images(cluster, ("spark",), cache_home())["spark"]
    manifests = [
        *namespace_objects(SCOPE, memory_mib=1024, cpu_millicores=1000),
        objects.service_account(made.name, SCOPE),
        # A quota of two pods: a driver and its executor, or two drivers.
        *drivers_objects(made, replace(per_user, helpers=None), SCOPE),
    ]
    spaces = [one for one in manifests if one["kind"] == "Namespace"]
    assert apply(cluster, spaces) == ""
    assert apply(cluster, manifests) == ""
    token = cluster.run("create", "token", made.name, f"--namespace={SCOPE.namespace}")
    assert token.returncode == 0, token.stderr
    (folder / "token").touch(mode=0o600)
    (folder / "token").write_text(token.stdout)
    plan = replace(
        pod_plan(made, per_user, LAYOUT, SCOPE, image),
        api_url=f"https://{settings.NODE_ADDRESS}:{settings.API_PORT}",
        token_file=str(folder / "token"),
        ca_file=str(cluster.folder / "pki" / "ca.crt"),
    )
    try:
        yield _told(cluster, plan, str(made.files["plan.json"]), folder)
    finally:
        cluster.run("delete", "namespace", APART, SCOPE.namespace)


def _told(cluster: TestCluster, plan: PodPlan, launches: str, folder: Path) -> Told:
    given = {
        "plan": plan.to_json(),
        "launches": launches,
        "defaults": DEFAULTS,
        "runs_dir": str(folder / "runs"),
    }
    done = subprocess.run(
        [*in_node_network(cluster), sys.executable, "-m", "tests.cluster.spark_story"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=900,
    )
    seen = cluster.run("get", "pods,events", f"--namespace={APART}").stdout
    assert done.returncode == 0, f"{done.stderr}\n{seen}"
    found = json.loads(done.stdout.splitlines()[-1])
    print({key: value for key, value in found.items() if key.endswith("_s")})
    deadline = time.monotonic() + 60
    while any((left := _left(cluster)).values()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return Told(found, left)


def _left(cluster: TestCluster) -> dict[str, list[str]]:
    return {
        kind: [
            one["metadata"]["name"]
            for one in cluster.objects(kind, APART)
            if "lakehouse-lab/run" in one["metadata"].get("labels", {})
        ]
        for kind in ("pods", "secrets", "networkpolicies")
    }


def test_a_job_runs_as_a_pod_and_its_output_and_code_are_kept(told: Told) -> None:
    log = told.found["log"]
    assert "squares 328350 of the driver argument $(POD_IP)" in log
    assert told.found["code"] == 3, log


def test_users_code_finds_no_token_for_the_cluster(told: Told) -> None:
    assert "token False" in told.found["log"]


def test_a_drivers_work_is_done_by_an_executor_that_goes_when_there_is_none(told: Told) -> None:
    log = told.found["log"]
    executors = [line.split() for line in log.splitlines() if line.startswith("executor ")]
    # Its pod, what came with the program, and that it finds neither a token nor the run's credential.
    assert executors == [["executor", "run-job-exec-1", "the", "driver", "False", "False"]], (
        log,
        told.found["words"],
    )
    assert "left 1\n" in log, "the driver alone"


def test_another_run_neither_sees_nor_ends_an_executor(told: Told) -> None:
    assert told.found["others_list"] == []
    assert told.found["others_delete"] == 404
    assert told.found["others_secrets"] == 403
    assert told.found["kept"] == 1


def test_a_driver_that_is_killed_takes_its_executors_along(told: Told) -> None:
    assert told.found["killed"] < 0
    assert told.found["killed_s"] < 60


def test_a_connect_server_answers_who_has_its_token_and_nobody_else(told: Told) -> None:
    assert told.found["wrong"] == "UNAUTHENTICATED", told.found["server_log"]
    assert told.found["right"] != "UNAUTHENTICATED"


def test_a_server_is_stopped_within_the_gateways_grace_period(told: Told) -> None:
    assert told.found["stopped"] < 0
    assert told.found["stop_s"] < 20


def test_a_quota_that_is_used_up_is_the_gateway_being_full(told: Told) -> None:
    assert "no room for another driver" in told.found["full"]


def test_what_a_gateway_left_is_ended_by_the_next_and_nothing_stays(told: Told) -> None:
    assert all(code < 0 for code in told.found["left"])
    assert told.left == {"pods": [], "secrets": [], "networkpolicies": []}
