"""Trino's workers on a cluster, under Pulumi's mocks."""

from __future__ import annotations

import pytest

from tests.mocks import test_kubernetes
from tests.mocks.test_kubernetes import NAMESPACE, WORKERS, Run, container_of, pod_of
from tests.mocks.test_stacks import PROCESS

run = test_kubernetes.run


def test_trino_has_workers_that_the_coordinator_alone_knows(run: Run) -> None:
    found = run("lab", *WORKERS)
    assert found.error is None
    worker, coordinator = found.controllers["trino-worker"], found.controllers["trino"]
    assert "replicas" not in worker["spec"], "the autoscaler's"
    (scaler,) = found.objects("HorizontalPodAutoscaler").values()
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 4)
    assert "trino-worker" in found.objects("PodDisruptionBudget")
    assert "trino-worker" not in found.objects("Service")
    assert "trino-worker" not in found.of(PROCESS), "no tunnel"
    assert found.objects("Service")["trino"]["spec"]["clusterIP"] == "None", (
        "its certificate is of its address"
    )
    assert [port["name"] for port in container_of(coordinator)["ports"]] == ["https"], "nothing in the clear"

    first = found.objects("ConfigMap")["trino-files"]["data"]["config.properties"]
    second = found.objects("ConfigMap")["trino-worker-files"]["data"]["config.properties"]
    assert "node-scheduler.include-coordinator=false\n" in first
    assert "discovery.uri=https://trino:8080\n" in first
    assert f"discovery.uri=https://trino.{NAMESPACE}.svc:8080\n" in second
    assert "coordinator=false\n" in second
    assert "shutdown.grace-period=" in second
    for text in (first, second):
        assert "internal-communication.https.required=true\n" in text
        assert "http-server.http.enabled=false\n" in text
        assert "node.internal-address" not in text, "each is known by its own address"

    stopped = container_of(worker)["lifecycle"]["preStop"]["exec"]["command"]
    assert stopped == [
        "/opt/lakehouse-lab/python/bin/python", "/etc/lakehouse-lab/drain.py", "https://127.0.0.1:8080"
    ]  # fmt: skip
    assert pod_of(worker)["terminationGracePeriodSeconds"] > 600
    (variables,) = container_of(worker)["envFrom"]
    secret = next(
        o for o in found.objects("Secret").values() if o["metadata"]["name"] == variables["secretRef"]["name"]
    )
    assert "TRINO_INTERNAL_SECRET" in secret["data"], "with which the worker is asked to end"
    assert "TRINO_AUDIT_TOKEN" not in secret["data"]


def test_a_fixed_number_of_workers_needs_no_autoscaler(run: Run) -> None:
    found = run("lab", "components=trino", "trinoWorkers=3")
    assert found.error is None
    assert found.controllers["trino-worker"]["spec"]["replicas"] == 3
    assert not found.objects("HorizontalPodAutoscaler")


@pytest.mark.parametrize("pairs", [("trinoMaxWorkers=2",), ("trinoWorkers=4", "trinoMaxWorkers=2")])
def test_numbers_of_workers_that_contradict_each_other_are_refused(run: Run, pairs: tuple[str, ...]) -> None:
    found = run("lab", "components=trino", *pairs)
    assert "1 <= trinoWorkers <= trinoMaxWorkers" in (found.error or "")
    assert "trino" not in found.controllers
