"""A whole lab on a real Kubernetes: brought up, checked by the conformance suite, taken down and up again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.cluster.labs import DRIVERS, NAMESPACE, ClusterLab, lab_without_servers, set_servers, settings_of
from tests.cluster.running import TestCluster

# What is built for it, where no cache has it, takes longest.
pytestmark = [pytest.mark.engine, pytest.mark.live, pytest.mark.timeout(2400)]

PODS = {"keycloak", "catalog", "opa", "governor", "trino", "trino-tokens"}


@pytest.fixture(scope="module")
def lab(cluster: TestCluster) -> Iterator[ClusterLab]:
    """A lab that was brought up as the guide says."""
    with lab_without_servers(cluster) as found:
        settings = settings_of(cluster, found.live.home)
        # Outside: it makes the command's environment, which takes the package index.
        told = found.outside.run("up", "--catalog", "nessie", *settings, timeout_s=900)
        assert told.returncode == 2, told.stdout + told.stderr
        assert "not set: databaseUrl, objectStoreUrl, objectStoreKeys" in told.stderr
        set_servers(found)
        began = time.monotonic()
        made = found.live.run("bootstrap", timeout_s=600)
        assert made.returncode == 0, made.stdout + made.stderr
        print(f"bootstrap: {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        up = found.live.run("up", timeout_s=1200)
        assert up.returncode == 0, f"{up.stdout}{up.stderr}\n{found.explained()}"
        print(f"up: {time.monotonic() - began:.0f} s")
        yield found


def test_everything_runs_as_pods(lab: ClusterLab) -> None:
    assert set(lab.pods()) == PODS
    status = lab.live.json("status")
    assert {service["name"] for service in status["services"]} == PODS


def test_every_sample_user_sees_what_they_must(lab: ClusterLab) -> None:
    answer = lab.live.json("verify", timeout_s=900)
    wrong = [check for check in answer["checks"] if check["expected"] != check["found"]]
    assert answer["checks"]
    assert wrong == []
    assert {check["engine"] for check in answer["checks"]} == {"trino", "pyiceberg", "s3"}


def test_nothing_to_do_is_nothing_done(lab: ClusterLab) -> None:
    before = lab.pods()
    began = time.monotonic()
    answer = lab.live.json("up")
    print(f"up, nothing to do: {time.monotonic() - began:.1f} s")
    assert {key for key, count in answer["changes"].items() if count} <= {"same", "read"}
    assert lab.pods() == before


def test_no_secret_stands_in_a_pod(lab: ClusterLab) -> None:
    described = json.dumps(lab.cluster.objects("pods,configmaps,deployments,statefulsets", NAMESPACE))
    keys = lab.live.keys()["keys"]
    assert keys
    assert [name for name, value in keys.items() if str(value) in described] == []


SPARK = tuple(
    word
    for setting in (
        "sparkHeapMib=512",
        "sparkDriverMillicores=50",
        "sparkMaxRuns=1",
        "sparkMaxExecutors=1",
        "sparkExecutorHeapMib=512",
        "sparkExecutorMillicores=50",
    )
    for word in ("--set", setting)
)
"""So little that a driver and an executor fit beside everything else on a node of two processors."""
JOB = """\
import os
import sys
from pyspark.sql import SparkSession

rows = SparkSession.builder.getOrCreate().table("retail.nation").where(f"n_regionkey = {sys.argv[1]}")
print("nations", rows.count(), "lengths", rows.rdd.map(lambda row: len(row.n_name)).sum() > 0)
print("read by", *set(rows.rdd.map(lambda _: os.environ["POD_NAME"].rpartition("-exec-")[2]).collect()))
"""


def test_spark_runs_a_users_code_in_a_pod_with_that_users_rights(lab: ClusterLab) -> None:
    began = time.monotonic()
    up = lab.live.run("up", "spark", *SPARK, timeout_s=1200)
    assert up.returncode == 0, f"{up.stdout}{up.stderr}\n{lab.explained()}"
    print(f"up spark: {time.monotonic() - began:.0f} s")
    program = lab.live.home.parents[1] / "job.py"
    program.write_text(JOB, encoding="utf-8")
    began = time.monotonic()
    job = lab.live.run("spark", "submit", "--as", "engineer", str(program), "3", timeout_s=600)
    assert job.returncode == 0, f"{job.stdout}{job.stderr}\n{_drivers(lab)}"
    assert "nations 5 lengths True" in job.stdout
    assert "read by 1\n" in job.stdout, "an executor of its own"
    print(f"job: {time.monotonic() - began:.0f} s")
    deadline = time.monotonic() + 60
    while lab.cluster.objects("pods", DRIVERS):
        assert time.monotonic() < deadline, _drivers(lab)
        time.sleep(0.5)
    began = time.monotonic()
    # Not what Iceberg's metadata tell: the files have to be read.
    summed = ("spark", "sql", "SELECT sum(n_nationkey) AS n FROM retail.nation", "--as", "engineer")
    answer = lab.live.run(*summed, timeout_s=600)
    assert answer.returncode == 0, f"{answer.stdout}{answer.stderr}\n{_drivers(lab)}"
    assert "300" in answer.stdout
    print(f"first statement: {time.monotonic() - began:.0f} s")
    pods = lab.cluster.objects("pods", DRIVERS)
    assert sorted(pod["metadata"]["name"].rpartition("-exec-")[1] for pod in pods) == ["", "-exec-"]
    assert not [pod for pod in pods if pod["spec"]["automountServiceAccountToken"] is not False]
    refused = lab.live.run("spark", "sql", "SELECT 1", "--as", "analyst_emea", timeout_s=600)
    assert refused.returncode != 0
    assert "may not run code in Spark" in refused.stderr


def _drivers(lab: ClusterLab) -> str:
    return lab.cluster.run("get", "pods,events", f"--namespace={DRIVERS}").stdout


def test_down_leaves_nothing_running_and_up_gives_the_identical_lab(lab: ClusterLab) -> None:
    before = lab.live.json("fingerprint")
    down = lab.live.json("down")
    assert down["left"] == []
    assert lab.cluster.objects("pods,deployments,statefulsets,services,secrets", NAMESPACE) == []
    assert lab.cluster.run("get", "namespace", DRIVERS).returncode != 0, "a server ran there"
    up = lab.live.run("up", timeout_s=1200)
    assert up.returncode == 0, f"{up.stdout}{up.stderr}\n{lab.explained()}"
    assert lab.live.json("fingerprint") == before


def test_destroy_removes_the_namespace(lab: ClusterLab) -> None:
    lab.live.ok("destroy", "--yes")
    assert lab.cluster.run("get", "namespace", NAMESPACE).returncode != 0
