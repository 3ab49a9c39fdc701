"""Executors: a driver asks for its own and gets no more; what they are is not the driver's to say."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import UsageError
from governance.governor.auth import UnauthenticatedError
from spark_gateway import executors as executors_module
from spark_gateway.drivers import LaunchPlan
from spark_gateway.executor_plan import driver_properties, executor_pod, requested
from spark_gateway.pod_plan import RUN_LABEL
from tests.cluster import certificates
from tests.unit.executors_world import OF_SPARK, PODS, SHARED, Drivers, Watch, asked_pod, drivers_world
from tests.unit.fake_cluster import NAMESPACE, owners
from tests.unit.pods_world import LABELS, LAUNCHES, SECRETS, World, plan, soon
from tests.unit.spark_fakes import SCRIPT, world


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "pki"
    certificates.make(folder, addresses=["127.0.0.1"], names=["localhost"])
    return folder


@pytest.fixture
async def drivers(tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Drivers]:
    monkeypatch.setattr(executors_module, "_PAUSE_S", 0.01)
    async with drivers_world(pki, tmp_path) as made:
        yield made


# --- what is made -------------------------------------------------------------------------------------


async def test_of_the_pod_that_is_asked_for_nothing_is_taken_but_who_the_executor_is(
    drivers: Drivers,
) -> None:
    name = await drivers.executor("7")
    assert name == "run-r1-exec-7"
    pod = drivers.fake.pods[name]
    text = json.dumps(pod)
    assert "evil" not in text
    assert "64" not in text
    assert "kube-system" not in text
    assert pod["metadata"]["labels"] == {
        **LABELS,
        RUN_LABEL: "r1",
        "spark-role": "executor",
        "spark-app-selector": "spark-1",
        "spark-exec-id": "7",
        "spark-exec-resourceprofile-id": "0",
    }
    assert owners(pod) == [drivers.fake.pods["run-r1"]["metadata"]["uid"]]
    (container,) = pod["spec"]["containers"]
    assert container["command"][:2] == ["/java/bin/java", "-Xmx1024m"]
    given = container["command"]
    said = {word: given[at + 1] for at, word in enumerate(given) if word.startswith("--")}
    assert said == {
        "--driver-url": "spark://CoarseGrainedScheduler@10.1.2.3:7078",
        "--executor-id": "7",
        "--cores": "2",
        "--app-id": "spark-1",
        "--resourceProfileId": "0",
        "--hostname": "$(POD_IP)",
        "--bind-address": "$(POD_IP)",
        "--podName": "$(POD_NAME)",
    }
    names = {one["name"] for one in container["env"]}
    assert names == {
        "POD_IP",
        "POD_NAME",
        "SPARK_LOCAL_IP",
        "SPARK_LOCAL_DIRS",
        "HOME",
        "TMPDIR",
        "PATH",
        "ODD",
    }


async def test_what_driver_and_executor_share_stands_in_a_secret_that_goes_with_the_executor(
    drivers: Drivers,
) -> None:
    name = await drivers.executor()
    pod, secrets = drivers.fake.pods[name], drivers.fake.objects["secrets"]
    (files,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "files"]
    assert files["secret"]["secretName"] == name
    data = {key: base64.b64decode(text) for key, text in secrets[name]["data"].items()}
    # The executor encodes what it reads.
    assert base64.b64encode(data.pop("authentication")).decode() == SHARED
    assert data == {"log4j2.properties": b"rootLogger.level=warn\n"}
    assert owners(secrets[name]) == [pod["metadata"]["uid"]]
    seen = (await drivers.ask("GET")).text
    for text in (*SECRETS, SHARED):
        assert text not in json.dumps(pod)
        assert text not in seen
    assert SHARED not in repr(requested(asked_pod()))
    command = pod["spec"]["containers"][0]["command"]
    assert "-Dspark.authenticate=true" in command
    assert "-Dspark.master=k8s://http://spark.lakehouse-lab.svc:8080" in command, "else it reads no file"
    assert "-Dspark.authenticate.secret.file=/etc/lakehouse-lab/authentication" in command
    assert "-Dspark.network.crypto.enabled=true" in command
    await drivers.ask("DELETE", f"{PODS}/{name}")
    assert name not in secrets


async def test_of_an_executor_without_its_secret_nothing_is_left(drivers: Drivers) -> None:
    drivers.fake.refused["secrets"] = (403, "secrets is forbidden")
    answer = await drivers.ask("POST", json=asked_pod())
    assert (answer.status_code, answer.json()["message"]) == (403, "secrets is forbidden")
    assert set(drivers.fake.pods) == {"run-r1", "run-r2"}


async def test_a_driver_is_told_where_to_ask_and_with_what(drivers: Drivers) -> None:
    data = drivers.fake.objects["secrets"]["run-r1"]["data"]
    text = base64.b64decode(data["spark.properties"]).decode()
    for line in (
        "spark.master=k8s://http://spark.lakehouse-lab.svc:8080",
        "spark.kubernetes.authenticate.oauthTokenFile=/etc/lakehouse-lab/credential",
        f"spark.kubernetes.namespace={NAMESPACE}",
        "spark.dynamicAllocation.enabled=true",
    ):
        assert f"{line}\n" in text
    # With one that is no cluster's, as a program may set it, Spark would refuse to start.
    assert "spark.authenticate.secret" not in text
    assert base64.b64decode(data["credential"]).decode() == f"r1:{SECRETS[0]}"


@pytest.mark.parametrize("without", ["template", "launches"])
def test_one_that_works_alone_keeps_its_threads(without: str) -> None:
    launches: LaunchPlan = dataclasses.replace(LAUNCHES, executors=None)
    alone = dataclasses.replace(plan(), executor_template=None)
    given = (alone, LAUNCHES) if without == "template" else (plan(), launches)
    assert driver_properties(*given, "r1") == {}
    with pytest.raises(UsageError, match="sparkMaxExecutors"):
        executor_pod(*given, "r1", requested(asked_pod()), {"metadata": {"uid": "u"}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SPARK_EXECUTOR_ID", "0"),
        ("SPARK_EXECUTOR_ID", "1-exec-2"),
        ("SPARK_EXECUTOR_ID", "1\n"),
        ("SPARK_APPLICATION_ID", "a b"),
        ("SPARK_APPLICATION_ID", "x" * 64),
        ("SPARK_RESOURCE_PROFILE_ID", ""),
        ("SPARK_DRIVER_URL", "spark://CoarseGrainedScheduler@$(SECRET):1"),
        ("_SPARK_AUTH_SECRET", "short"),
        ("_SPARK_AUTH_SECRET", "c0ffe" * 5),
        ("SPARK_DRIVER_URL", "http://CoarseGrainedScheduler@host:1"),
    ],
)
def test_values_that_are_not_sparks_are_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        requested(asked_pod(**{name: value}))


@pytest.mark.parametrize(
    "pod",
    [
        [],
        {"spec": {}},
        {"spec": {"containers": []}},
        {"spec": {"containers": [{"env": None}]}},
        {"spec": {"containers": [{"env": ["x"]}]}},
        {"spec": {"containers": [{"env": [{"name": ["x"]}]}]}},
    ],
)
def test_what_is_no_pod_of_an_executor_is_refused(pod: Any) -> None:
    with pytest.raises(UsageError):
        requested(pod)


async def test_a_request_that_is_not_understood_makes_nothing(drivers: Drivers) -> None:
    requests: tuple[Any, ...] = (asked_pod("0"), [], None)
    for pod in requests:
        answer = await drivers.ask("POST", json=pod)
        assert (answer.status_code, answer.json()["kind"]) == (400, "Status")
    for selector in ("a=b\n", "a=b&watch", "a;b", "ü"):
        assert (await drivers.ask("GET", labelSelector=selector)).status_code == 400
    # It is not read to its end.
    assert (await drivers.ask("POST", json={"spec": "x" * (1 << 21)})).status_code == 413
    assert len(drivers.fake.pods) == 2


async def test_no_more_executors_are_made_than_a_driver_may_have(drivers: Drivers) -> None:
    """All at once: one is not counted while another is made."""
    answers = await asyncio.gather(*(drivers.ask("POST", json=asked_pod(str(n))) for n in range(1, 6)))
    assert sorted(one.status_code for one in answers) == [201, 201, 403, 403, 403]
    refused = next(one.json() for one in answers if one.status_code == 403)
    assert "sparkMaxExecutors" in refused["message"]
    await drivers.executor("1", run="r2")
    name = (await drivers.seen())[0]
    drivers.fake.becomes(name, {"phase": "Succeeded"})
    await drivers.executor("6")


async def test_a_driver_that_has_ended_gets_none(drivers: Drivers) -> None:
    drivers.fake.stubborn = True
    await drivers.pods.api.delete_pod("run-r1", grace_s=5)
    assert (await drivers.ask("POST", json=asked_pod())).status_code == 403
    drivers.fake.forgets("run-r1")
    assert (await drivers.ask("POST", json=asked_pod())).status_code == 403


async def test_the_clusters_refusals_are_passed_on_and_the_gateways_own_troubles_are_not(
    drivers: Drivers,
) -> None:
    drivers.fake.refused["pods"] = (403, "exceeded quota: lab")
    answer = await drivers.ask("POST", json=asked_pod())
    assert (answer.status_code, answer.json()["message"]) == (403, "exceeded quota: lab")
    drivers.fake.refused.clear()
    await drivers.executor()
    assert (await drivers.ask("POST", json=asked_pod())).status_code == 409
    drivers.fake.tokens = {"another"}
    assert (await drivers.ask("GET")).status_code == 503, "its credential is not what was refused"
    drivers.fake.down = True
    assert (await drivers.ask("GET")).status_code == 503


async def test_executors_go_with_their_driver(drivers: Drivers) -> None:
    await drivers.executor()
    kept = await drivers.executor(run="r2")
    drivers.fake.forgets("run-r1")
    assert set(drivers.fake.pods) == {"run-r2", kept}


async def test_what_a_gateway_left_is_deleted_with_its_executors(drivers: Drivers) -> None:
    await drivers.executor()
    again = World(drivers.fake, drivers.pods.folder)
    await asyncio.wait_for(again.launcher.recover(()), 30)
    assert not any(drivers.fake.objects.values())
    await again.api.close()


# --- who may see and end them -------------------------------------------------------------------------


async def test_another_runs_executors_are_neither_seen_nor_ended(drivers: Drivers) -> None:
    mine, theirs = await drivers.executor(), await drivers.executor(run="r2")
    assert await drivers.seen() == [mine]
    for selector in (
        "",
        "spark-role=executor",
        f"{RUN_LABEL}=r2",
        f"{RUN_LABEL}!=r1",
        f"{RUN_LABEL} in (r2)",
        "spark-role=driver",
    ):
        assert theirs not in await drivers.seen(selector=selector)
        answer = await drivers.ask("DELETE", labelSelector=selector, fieldSelector=f"metadata.name={theirs}")
        assert answer.status_code == 200
    for name in (theirs, "run-r2", "run-r1", "nothing"):
        for method in ("GET", "DELETE"):
            assert (await drivers.ask(method, f"{PODS}/{name}")).status_code == 404
    assert {mine, theirs, "run-r1", "run-r2"} == set(drivers.fake.pods)


async def test_without_the_runs_credential_nothing_is_answered(drivers: Drivers) -> None:
    await drivers.executor()
    shown = ("", "Bearer r1", "Bearer r1:", "Bearer r2:{}", "Bearer :{}", "Basic r1:{}", "Bearer r3:None")
    for method in ("GET", "DELETE", "POST"):
        for words in shown:
            headers = {"Authorization": words.format(SECRETS[0])} if words else {}
            answer = await drivers.http.request(method, PODS, headers=headers, json=asked_pod())
            assert (answer.status_code, answer.json()["kind"]) == (401, "Status"), words
    assert len(drivers.fake.pods) == 3


async def test_what_sparks_scheduler_does_not_ask_is_forbidden(drivers: Drivers) -> None:
    await drivers.executor()
    for method, path in (
        ("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets"),
        ("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/run-r1"),
        ("GET", "/api/v1/namespaces/lakehouse-lab/pods"),
        ("POST", "/api/v1/namespaces/lakehouse-lab/pods"),
        ("GET", "/api/v1/pods"),
        ("GET", f"{PODS}/run-r1/log"),
        ("PATCH", f"{PODS}/run-r1-exec-1"),
        ("PUT", f"{PODS}/run-r1-exec-1"),
        ("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps"),
        ("DELETE", f"/api/v1/namespaces/{NAMESPACE}/services"),
        ("GET", "/apis/apps/v1/deployments"),
        ("GET", "/api/v1"),
    ):
        answer = await drivers.ask(method, path, json=asked_pod("2"))
        assert (answer.status_code, answer.json()["reason"]) == (403, "Forbidden"), path
    assert len(drivers.fake.pods) == 3


async def test_those_that_are_asked_for_are_ended(drivers: Drivers) -> None:
    first, second = await drivers.executor("1"), await drivers.executor("2")
    other = await drivers.executor("1", run="r2")
    drivers.fake.runs(first)
    assert await drivers.seen(fieldSelector="status.phase=Running") == [first]
    assert (await drivers.ask("GET", f"{PODS}/{first}")).json()["status"]["phase"] == "Running"
    await drivers.ask("DELETE", labelSelector=f"{OF_SPARK},spark-exec-id in (2,3)")
    assert await drivers.seen() == [first]
    assert drivers.fake.removed[-1] == (second, executors_module.STOP_S)
    assert (await drivers.ask("DELETE", f"{PODS}/{first}")).json()["status"] == "Success"
    await drivers.executor("3")
    assert (await drivers.ask("DELETE", labelSelector=OF_SPARK)).status_code == 200
    assert set(drivers.fake.pods) == {"run-r1", "run-r2", other}


async def test_a_run_that_is_being_stopped_ends_its_executors_and_gets_no_more(drivers: Drivers) -> None:
    name = await drivers.executor()
    drivers.runs.ending.add("r1")
    assert (await drivers.ask("POST", json=asked_pod("2"))).status_code == 401
    assert await drivers.seen() == [name]
    assert (await drivers.ask("DELETE", labelSelector=OF_SPARK)).status_code == 200
    assert await drivers.seen() == []


# --- while they run -----------------------------------------------------------------------------------


async def test_a_driver_is_told_at_once_what_becomes_of_its_executors_alone(drivers: Drivers) -> None:
    name = await drivers.executor()
    watch = Watch(drivers)
    await soon(lambda: watch.seen == [("ADDED", name)])
    other = await drivers.executor(run="r2")
    drivers.fake.runs(other)
    drivers.fake.runs(name)
    await soon(lambda: watch.seen[1:] == [("MODIFIED", name)])
    drivers.fake.forgets(name)
    await soon(lambda: watch.seen[2:] == [("DELETED", name)])
    await watch.leave()


async def test_a_watch_that_the_cluster_ends_is_gone_on_with_where_it_was(drivers: Drivers) -> None:
    name = await drivers.executor()
    watch = Watch(drivers)
    await soon(lambda: watch.version is not None)
    drivers.fake.ends_watches()
    await watch.ended()
    drivers.fake.runs(name)
    again = Watch(drivers, resourceVersion=str(watch.version))
    await soon(lambda: again.seen == [("MODIFIED", name)])
    assert drivers.fake.watched_since[-1] == watch.version
    await again.leave()


async def test_where_the_cluster_has_forgotten_it_tells_what_is_now(drivers: Drivers) -> None:
    """Spark's client would take that error for the end, and look again after half a minute."""
    name = await drivers.executor()
    watch = Watch(drivers, resourceVersion="1")
    await soon(lambda: drivers.fake.watched_since[-1] == "1")
    drivers.fake.has_forgotten_the_past()
    await soon(lambda: ("ADDED", name) in watch.seen)
    assert drivers.fake.watched_since[-1] is None
    await watch.leave()


async def test_a_watch_ends_where_the_cluster_does_not_answer_and_the_driver_asks_again(
    drivers: Drivers,
) -> None:
    name = await drivers.executor()
    drivers.fake.down = True
    watch = Watch(drivers)
    await watch.ended()
    assert watch.seen == []
    drivers.fake.down = False
    again = Watch(drivers)
    await soon(lambda: again.seen == [("ADDED", name)])
    await again.leave()


async def test_a_web_socket_is_declined_so_that_the_stream_is_taken(drivers: Drivers) -> None:
    headers = {
        "Authorization": f"Bearer r1:{SECRETS[0]}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await drivers.http.get(PODS, params={"watch": "true"}, headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_driver_that_leaves_ends_its_watch(drivers: Drivers) -> None:
    watch = Watch(drivers)
    await soon(lambda: drivers.fake.watched_since[-1:] == [None])
    before = drivers.fake.open_watches
    assert before == 3, "the gateway watches each driver"
    await watch.leave()
    await soon(lambda: drivers.fake.open_watches == 2)


async def test_a_run_does_not_take_all_of_the_gateways_connections(drivers: Drivers) -> None:
    watches = [Watch(drivers) for _ in range(4)]
    await soon(lambda: drivers.fake.open_watches == 2 + 4)
    await Watch(drivers).ended()
    await watches[0].leave()
    await soon(lambda: drivers.fake.open_watches == 2 + 3)
    again = Watch(drivers)
    await soon(lambda: drivers.fake.open_watches == 2 + 4)
    for watch in (*watches[1:], again):
        await watch.leave()


# --- with the gateway ---------------------------------------------------------------------------------


async def test_the_gateway_knows_whose_credential_it_is(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.call("POST", "/v1/jobs", body=SCRIPT)
        run_id, _, secret = w.launcher.drivers[0].launch.credential.partition(":")
        assert w.gateway.run_of(run_id, secret) == run_id
        for given in ((run_id, "another"), ("another", secret), ("", "")):
            with pytest.raises(UnauthenticatedError):
                w.gateway.run_of(*given, ending=True)
        w.gateway._runs[run_id].stopping = "its user killed it"
        with pytest.raises(UnauthenticatedError):
            w.gateway.run_of(run_id, secret)
        assert w.gateway.run_of(run_id, secret, ending=True) == run_id
        # Where drivers work alone there is no such server.
        assert (await w.http.get(PODS)).status_code == 404
