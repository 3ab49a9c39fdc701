"""A whole lab on a real Kubernetes: brought up, checked by the conformance suite, taken down and up again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.cluster.labs import NAMESPACE, ClusterLab, lab_without_servers, set_servers, settings_of
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


def test_down_leaves_nothing_running_and_up_gives_the_identical_lab(lab: ClusterLab) -> None:
    before = lab.live.json("fingerprint")
    down = lab.live.json("down")
    assert down["left"] == []
    assert lab.cluster.objects("pods,deployments,statefulsets,services,secrets", NAMESPACE) == []
    up = lab.live.run("up", timeout_s=1200)
    assert up.returncode == 0, f"{up.stdout}{up.stderr}\n{lab.explained()}"
    assert lab.live.json("fingerprint") == before


def test_destroy_removes_the_namespace(lab: ClusterLab) -> None:
    lab.live.ok("destroy", "--yes")
    assert lab.cluster.run("get", "namespace", NAMESPACE).returncode != 0
