"""Drivers as pods: nothing is left of what fails; followed while they run, deleted at their end."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spark_gateway import pods
from spark_gateway.cluster_api import ClusterApi, ClusterApiError
from spark_gateway.launcher import FullError, LaunchError
from spark_gateway.pod_plan import RUN_LABEL, PodPlan
from spark_gateway.pods import LOG_LIMIT_BYTES, PodDriver
from tests.cluster import certificates
from tests.unit.fake_cluster import NAMESPACE, fake_cluster, owners
from tests.unit.pods_world import LABELS, SECRETS, World, ended, plan, soon


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "pki"
    certificates.make(folder, addresses=["127.0.0.1"], names=["localhost"])
    return folder


@pytest.fixture
async def world(tmp_path: Path, pki: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(pods, "_PAUSE_S", 0.01)
    async with fake_cluster(pki) as fake:
        made = World(fake, tmp_path)
        yield made
        await made.api.close()


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Where a stand-in of a Connect server takes connections."""

    def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    number: int = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(pods, "CONNECT_PORT", number)
    yield number
    server.close()
    await server.wait_closed()


# --- what is made -------------------------------------------------------------------------------------


async def test_the_pod_comes_first_and_owns_what_belongs_to_it(world: World) -> None:
    driver = await world.server()
    kinds = [kind for kind, _ in world.fake.made]
    assert kinds == ["pods", "secrets", "networkpolicies"]
    (_, pod), (_, secret), (_, policy) = world.fake.made
    for one in (secret, policy):
        assert owners(one) == [pod["metadata"]["uid"]]
        assert one["metadata"]["labels"] == {**LABELS, RUN_LABEL: "r1"}
    (files,) = [v for v in pod["spec"]["volumes"] if v["name"] == "files"]
    assert files["secret"]["secretName"] == secret["metadata"]["name"]
    mates = {"podSelector": {"matchLabels": {RUN_LABEL: "r1"}}}
    assert policy["spec"]["ingress"] == [{"from": [mates]}]
    assert policy["spec"]["egress"] == [{"to": [mates]}]
    await driver.stop(hurried=True)
    assert not any(world.fake.objects.values())


async def test_what_is_secret_stands_in_the_secret_alone(world: World) -> None:
    driver = await world.server()
    (_, pod), (_, secret), (_, policy) = world.fake.made
    for one in (pod, policy):
        assert not [text for text in SECRETS if text in json.dumps(one)]
    data = {name: base64.b64decode(text).decode() for name, text in secret["data"].items()}
    assert data["credential"] == f"r1:{SECRETS[0]}"
    assert "spark.connect.authenticate.token=connect-token\n" in data["spark.properties"]
    assert "spark.connect.grpc.binding.port=15002\n" in data["spark.properties"]
    assert data["log4j2.properties"] == "rootLogger.level=warn\n"
    await driver.stop(hurried=True)


async def test_a_driver_listens_on_the_address_of_its_pod(world: World) -> None:
    driver = await world.server()
    container = world.fake.made[0][1]["spec"]["containers"][0]
    command = container["command"]
    after = command.index("--properties-file") + 2
    # On the command line they are stronger than in the file.
    assert command[after : after + 6] == [
        *("--conf", "spark.driver.host=$(POD_IP)"),
        *("--conf", "spark.driver.bindAddress=$(POD_IP)"),
        *("--conf", "spark.connect.grpc.binding.address=$(POD_IP)"),
    ]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert container["env"][0]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert environment["SPARK_LOCAL_IP"] == "$(POD_IP)"
    assert environment["ODD"] == "$$(HOME)", "the kubelet would have put something in its place"
    assert "initContainers" not in world.fake.made[0][1]["spec"]
    await driver.stop(hurried=True)


async def test_a_jobs_files_are_fetched_and_its_arguments_stay_as_they_are(world: World) -> None:
    driver = await world.job("$(POD_IP)", "--conf", "x")
    spec = world.fake.made[0][1]["spec"]
    (fetching,) = spec["initContainers"]
    assert fetching["args"] == [
        "http://spark.lakehouse-lab.svc:8080/v1/files",
        "/etc/lakehouse-lab/credential",
        "/var/lib/lakehouse-lab",
        *("job.py", "more.py"),
    ]
    assert spec["containers"][0]["command"][-6:] == [
        *("--py-files", "/var/lib/lakehouse-lab/more.py", "/var/lib/lakehouse-lab/job.py"),
        *("$$(POD_IP)", "--conf", "x"),
    ]
    path = world.launcher.program_file("j1", "job.py")
    assert path is not None
    assert path.read_bytes() == b"print(1)"
    assert world.launcher.program_file("j1", "../log") is None
    assert world.launcher.program_file("other", "job.py") is None
    world.fake.runs(world.fake.only_pod())
    assert await ended(world, driver) == 0
    assert world.launcher.program_file("j1", "job.py") is None


@pytest.mark.parametrize("resource", ["secrets", "networkpolicies"])
async def test_nothing_is_left_of_a_run_that_could_not_be_made_whole(world: World, resource: str) -> None:
    world.fake.refused[resource] = (403, f"{resource} is forbidden")
    with pytest.raises(LaunchError, match=f"{resource} is forbidden"):
        await world.job()
    assert not any(world.fake.objects.values())
    assert world.launcher.program_file("j1", "job.py") is None


async def test_a_start_that_is_broken_off_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(resource: str, manifest: Any, create: Any = world.api.create) -> Any:
        if resource != "secrets":
            return await create(resource, manifest)
        asked.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(world.api, "create", never)
    starting = asyncio.create_task(world.server())
    await asyncio.wait_for(asked.wait(), 30)
    assert world.fake.pods
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not world.fake.pods


async def test_a_quota_that_is_used_up_is_said_in_the_gateways_words(world: World) -> None:
    message = (
        'pods "run-r1" is forbidden: exceeded quota: lab, requested: requests.memory=1118Mi, '
        "used: requests.memory=4472Mi, limited: requests.memory=4472Mi"
    )
    world.fake.refused["pods"] = (403, message)
    with pytest.raises(FullError, match="no room for another driver") as caught:
        await world.server()
    assert str(caught.value.value).startswith("lab, requested: requests.memory=1118Mi")
    world.fake.refused["pods"] = (403, 'pods is forbidden: User "spark" cannot create resource "pods"')
    with pytest.raises(LaunchError, match="cannot create"):
        await world.server("r2")


# --- until it is ready --------------------------------------------------------------------------------


async def test_a_server_is_ready_once_its_port_takes_connections(world: World, port: int) -> None:
    driver = await world.server()
    waiting = asyncio.create_task(driver.ready())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    world.fake.runs(world.fake.only_pod())
    await asyncio.wait_for(waiting, 30)
    assert driver.address == ("127.0.0.1", port)
    await driver.stop(hurried=True)


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient memory.",
        }
    ],
}


def waiting_for(reason: str, message: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "driver", "state": state}]}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (UNSCHEDULABLE, "no node of the cluster takes the pod: Unschedulable, 0/1 nodes are available"),
        (waiting_for("ImagePullBackOff", "not found"), "its image can't be had: ImagePullBackOff, not found"),
        (waiting_for("ContainerCreating", ""), "its pod is pending"),
    ],
)
async def test_what_holds_a_server_up_is_named(
    world: World, status: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await world.server()
    world.fake.becomes(world.fake.only_pod(), status)
    assert isinstance(driver, PodDriver)
    await soon(lambda: driver._pod["status"] == status)
    monkeypatch.setattr(pods, "READY_TIMEOUT_S", 0.1)
    with pytest.raises(LaunchError, match=said):
        await driver.ready()
    await driver.stop(hurried=True)


async def test_what_will_not_pass_is_not_waited_for(world: World) -> None:
    driver = await world.server()
    world.fake.becomes(world.fake.only_pod(), waiting_for("InvalidImageName", "no such name"))
    with pytest.raises(LaunchError, match="Spark can't start: its image can't be had: InvalidImageName"):
        await asyncio.wait_for(driver.ready(), 30)
    await driver.stop(hurried=True)


async def test_a_server_that_ends_before_it_is_ready_shows_its_last_lines(world: World) -> None:
    driver = await world.server()
    name = world.fake.only_pod()
    world.fake.runs(name, "127.0.0.2")
    world.fake.says(name, "java.net.BindException")
    world.fake.ends(name, 1)
    with pytest.raises(LaunchError, match=r"ended with 1 before it was ready:\n    java.net.BindException"):
        await asyncio.wait_for(driver.ready(), 30)


async def test_why_a_job_waits_stands_in_its_log_once(world: World) -> None:
    driver = await world.job()
    name = world.fake.only_pod()
    world.fake.becomes(name, UNSCHEDULABLE)
    await soon(lambda: "Insufficient memory" in world.log("j1"))
    world.fake.becomes(name, {**UNSCHEDULABLE, "nominatedNodeName": "x"})
    world.fake.runs(name)
    await ended(world, driver)
    assert world.log("j1").count("Insufficient memory") == 1


# --- while it runs ------------------------------------------------------------------------------------


async def test_output_is_kept_whole_and_outlives_the_pod(world: World) -> None:
    driver = await world.job()
    name = world.fake.only_pod()
    world.fake.runs(name)
    world.fake.says(name, "one", "two", "three")
    await soon(lambda: "three" in world.log("j1"))
    world.fake.cuts_logs()
    world.fake.says(name, "four")
    await soon(lambda: "four" in world.log("j1"))
    world.fake.says(name, "five ü")
    assert await ended(world, driver) == 0
    assert world.log("j1") == "one\ntwo\nthree\nfour\nfive ü\n"
    assert world.fake.asked_logs[0] is None
    assert world.fake.asked_logs[1] is not None, "it is not read from the start again"
    assert not world.fake.pods
    world.launcher.forget("j1")
    assert world.log("j1") == ""


async def test_a_log_without_end_does_not_fill_the_gateways_disk(world: World) -> None:
    driver = await world.job()
    name = world.fake.only_pod()
    world.fake.runs(name)
    world.fake.says(name, *["x" * (1 << 20)] * 5)
    await ended(world, driver)
    kept = world.launcher.log("j1", 0, 1 << 30)
    assert LOG_LIMIT_BYTES <= len(kept) < LOG_LIMIT_BYTES + 100
    assert kept.endswith(b"bytes are kept\n")


async def test_a_watch_that_breaks_is_begun_anew(world: World) -> None:
    driver = await world.job()
    name = world.fake.only_pod()
    world.fake.runs(name)
    await soon(lambda: world.fake.watches == 1)
    world.fake.has_forgotten_the_past()
    await soon(lambda: world.fake.watches >= 2)
    world.fake.down = True
    world.fake.has_forgotten_the_past()
    await asyncio.sleep(0.1)
    world.fake.down = False
    assert await ended(world, driver, 3) == 3


async def test_a_token_that_the_kubelet_changed_is_used(world: World) -> None:
    driver = await world.job()
    world.fake.tokens = {"the-next-token"}
    with pytest.raises(LaunchError, match="Unauthorized"):
        await world.server()
    world.token_file.write_text("the-next-token")
    other = await world.server("r2")
    for one in (driver, other):
        await one.stop(hurried=True)


# --- its end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (3, 3), (137, -9), (143, -15), (255, 255)])
async def test_the_code_is_the_programs(world: World, code: int, expected: int) -> None:
    driver = await world.job()
    world.fake.runs(world.fake.only_pod())
    assert await ended(world, driver, code) == expected


async def test_memory_that_was_too_little_is_said(world: World) -> None:
    driver = await world.job()
    name = world.fake.only_pod()
    world.fake.runs(name)
    world.fake.ends(name, 137, reason="OOMKilled")
    assert await asyncio.wait_for(driver.ended(), 30) == -9
    assert "more memory than its limit" in world.log("j1")


async def test_what_the_cluster_ended_is_said_with_its_words(world: World) -> None:
    driver = await world.job()
    name = world.fake.only_pod()
    world.fake.runs(name)
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    world.fake.becomes(name, evicted)
    assert await asyncio.wait_for(driver.ended(), 30) == -9
    assert "the cluster ended the pod: Evicted, The node was low on resource" in world.log("j1")


async def test_files_that_did_not_come_are_the_reason(world: World) -> None:
    driver = await world.job()
    ended_state = {"terminated": {"exitCode": 1, "reason": "Error", "message": "can't be fetched: 401"}}
    failed = {"phase": "Failed", "initContainerStatuses": [{"name": "files", "state": ended_state}]}
    world.fake.becomes(world.fake.only_pod(), failed)
    assert await asyncio.wait_for(driver.ended(), 30) == 1
    assert "the job's files did not come: Error, can't be fetched: 401" in world.log("j1")


async def test_a_pod_that_somebody_deletes_has_ended(world: World) -> None:
    driver = await world.job()
    name = world.fake.only_pod()
    world.fake.runs(name)
    world.fake.forgets(name)
    assert await asyncio.wait_for(driver.ended(), 30) == -9


@pytest.mark.parametrize(("hurried", "grace_s"), [(True, pods.HURRIED_STOP_S), (False, pods.STOP_S)])
async def test_a_driver_is_stopped_within_its_grace_period(world: World, hurried: bool, grace_s: int) -> None:
    driver = await world.server()
    name = world.fake.only_pod()
    world.fake.runs(name)
    await asyncio.gather(driver.stop(hurried=hurried), driver.stop(hurried=hurried))
    assert world.fake.removed[0] == (name, grace_s)
    assert await driver.ended() == -15
    assert not any(world.fake.objects.values())


async def test_a_pod_whose_node_is_lost_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "HURRIED_STOP_S", 0.1)
    monkeypatch.setattr(pods, "PATIENCE_S", 0.1)
    world.fake.stubborn = True
    driver = await world.server()
    world.fake.runs(world.fake.only_pod())

    async def grace(name: str, *, grace_s: float, delete: Any = world.api.delete_pod) -> None:
        await delete(name, grace_s=int(grace_s + 0.9))

    monkeypatch.setattr(world.api, "delete_pod", grace)
    await asyncio.wait_for(driver.stop(hurried=True), 30)
    assert world.fake.removed[-1][1] == 0 or not world.fake.pods
    assert not world.fake.pods


def test_a_hurried_end_of_all_fits_the_gateways_own() -> None:
    """The kubelet gives the gateway its ``stop_timeout_s`` and five seconds."""
    assert pods.HURRIED_STOP_S + pods.PATIENCE_S < 20 - 2


# --- after a gateway that died ------------------------------------------------------------------------


async def test_what_a_gateway_left_is_deleted(world: World) -> None:
    left = await world.server()
    job = await world.job()
    other = json.loads(json.dumps(next(iter(world.fake.pods.values()))))
    other["metadata"] |= {"name": "another-labs", "labels": {**LABELS, "lakehouse-lab/lab": "lab2"}}
    world.fake.pods["another-labs"] = other
    again = World(world.fake, world.folder)
    await asyncio.wait_for(again.launcher.recover({"j1"}), 30)
    assert set(world.fake.pods) == {"another-labs"}
    assert (world.folder / "runs" / "j1" / "log").exists()
    assert not (world.folder / "runs" / "j1" / "program").exists()
    assert not (world.folder / "runs" / "r1").exists()
    for driver in (left, job):
        await asyncio.wait_for(driver.ended(), 30)
    await again.api.close()


async def test_without_an_answer_nothing_is_started(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "RECOVER_TIMEOUT_S", 0.1)
    world.fake.down = True
    with pytest.raises(LaunchError, match="can't be asked which drivers were left: the server is shutting"):
        await world.launcher.recover(())


async def test_a_server_that_another_authority_vouches_for_is_not_spoken_to(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "pki"
    certificates.make(other, addresses=["127.0.0.1"], names=["localhost"])
    api = ClusterApi(
        world.fake.url, namespace=NAMESPACE, token_file=world.token_file, ca_file=other / "ca.crt"
    )
    with pytest.raises(ClusterApiError, match="does not answer"):
        await api.pods(LABELS)
    await api.close()


def test_a_plan_comes_back_as_it_was() -> None:
    assert PodPlan.from_json(plan().to_json()) == plan()
