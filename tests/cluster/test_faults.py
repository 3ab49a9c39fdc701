"""Faults of a cluster under a lab: what is said, and that the same command makes it whole again."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from placements.kubernetes.troubles import KINDS, troubles
from tests.cluster import forward
from tests.cluster.running import TestCluster
from tests.cluster.stacks import NAMESPACE, SERVICES, Stacks, new_stacks
from tests.cluster.support import apply, volume
from tests.engine.plugins_support import Outcome

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

LIMIT_S = 120.0
MISSING = "cluster.test/lab/none@sha256:" + "0" * 64
AWAY = "the cluster does not answer"
"""As the provider of these tests says it, whether a connection breaks off or is refused."""
TOO_MUCH_MIB = "4096"
"""More than the namespace's quota."""


class Wire:
    """The operator's way to the cluster, which can be cut."""

    def __init__(self, cluster: TestCluster, folder: Path) -> None:
        self._server = cluster.server.removeprefix("https://").split(":")
        with socket.create_server(("127.0.0.1", 0)) as found:
            self._port: int = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.kubeconfig = folder / "wired.kubeconfig"
        document = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self._port}"
        self.kubeconfig.touch(mode=0o600)
        self.kubeconfig.write_text(yaml.safe_dump(document), encoding="utf-8")

    def mend(self) -> None:
        """Leads to the cluster."""
        if self._process is None:
            with socket.create_server(("127.0.0.1", self._port)) as listener:
                number = listener.fileno()
                command = [sys.executable, "-P", str(forward.__file__), str(number), *self._server]
                self._process = subprocess.Popen(command, pass_fds=(number,))

    def cut(self) -> None:
        """Ends what is under way and takes nothing new."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="module")
def wire(cluster: TestCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    found = Wire(cluster, tmp_path_factory.mktemp("wire"))
    found.mend()
    yield found
    found.cut()


@pytest.fixture(scope="module")
def stacks(cluster: TestCluster, opa_image: str, wire: Wire) -> Iterator[Stacks]:
    """A small lab that runs."""
    with ExitStack() as stack:
        found = stack.enter_context(new_stacks(cluster, opa_image, kubeconfig=wire.kubeconfig))
        found.persistent.up()
        stack.callback(found.persistent.destroy)
        failed = apply(cluster, [volume("kept-in-faults", cluster.folder / "kept-in-faults", "16Mi")])
        assert not failed, failed
        found.lab.up()
        stack.callback(found.lab.destroy)
        stack.callback(wire.mend)
        yield found


@pytest.fixture(autouse=True)
def whole(stacks: Stacks) -> Iterator[None]:
    """Each test begins with a lab that is as declared, and leaves one."""
    claims = {one["metadata"]["uid"]: one["spec"]["volumeName"] for one in _claims(stacks)}
    assert set(stacks.pods()) == set(SERVICES)
    yield
    assert set(stacks.pods()) == set(SERVICES)
    for name in SERVICES:
        assert stacks.asked(name, "private") == stacks.password
    stacks.lab.up("--expect-no-changes")
    assert {one["metadata"]["uid"]: one["spec"]["volumeName"] for one in _claims(stacks)} == claims


def _claims(stacks: Stacks) -> list[dict[str, dict[str, str]]]:
    return stacks.cluster.objects("persistentvolumeclaims", NAMESPACE)


def on_the_cluster(stacks: Stacks) -> set[str]:
    """What the lab stack knows to be on the cluster."""
    return {one["urn"] for one in stacks.lab.state() if one["type"].startswith("kubernetes:")}


def wait_until(reached: Callable[[], bool], told: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not reached():
        assert time.monotonic() < deadline, told()
        time.sleep(0.3)


def complaints(stacks: Stacks) -> str:
    """What is wrong, as ``lab doctor`` tells it."""
    return "\n".join(
        line for item in stacks.cluster.objects(",".join(KINDS), NAMESPACE) for line in troubles(item)
    )


def all_ready(stacks: Stacks) -> bool:
    pods = stacks.cluster.objects("pods", NAMESPACE)
    ready = [
        pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        for one in pod["status"].get("conditions", ())
        if (one["type"], one["status"]) == ("Ready", "True")
    ]
    return sorted(ready) == sorted(SERVICES) and len(pods) == len(SERVICES)


@contextmanager
def up_under_way(stacks: Stacks) -> Iterator[subprocess.Popen[str]]:
    """``pulumi up``, which the test brings to its end with :func:`ended`."""
    process = stacks.lab.start("up", "--yes", "--skip-preview")
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)


def ended(process: subprocess.Popen[str]) -> Outcome:
    text, _ = process.communicate(timeout=300)
    return Outcome(code=process.returncode, text=text, counts={})


def interrupted_once(stacks: Stacks, word: str) -> str:
    """What ``up`` prints when it is interrupted with Ctrl-C after the cluster complained with ``word``."""
    with up_under_way(stacks) as process:
        wait_until(lambda: word in complaints(stacks), lambda: complaints(stacks))
        process.send_signal(signal.SIGINT)
        outcome = ended(process)
    assert outcome.code != 0, outcome.text
    return outcome.text


def test_a_killed_pod_comes_back(stacks: Stacks) -> None:
    before = stacks.pods()
    for name in ("back", "kept"):
        chosen = ("--selector", f"app.kubernetes.io/component={name}")
        killed = stacks.cluster.run(
            "delete", "pod", *chosen, f"--namespace={NAMESPACE}", "--grace-period=0", "--force"
        )
        assert killed.returncode == 0, killed.stderr
    wait_until(lambda: all_ready(stacks), lambda: complaints(stacks))
    after = stacks.pods()
    assert {name for name in SERVICES if before[name] != after[name]} == {"back", "kept"}


def test_a_drained_node_gives_its_pods_up_and_takes_them_again(stacks: Stacks) -> None:
    (node,) = json.loads(stacks.cluster.run("get", "nodes", "--output=json").stdout)["items"]
    name = node["metadata"]["name"]
    before = stacks.pods()
    drained = stacks.cluster.run(
        "drain", name, "--delete-emptydir-data", "--timeout=120s",
        f"--pod-selector=app.kubernetes.io/component in ({', '.join(SERVICES)})",
    )  # fmt: skip
    try:
        assert drained.returncode == 0, drained.stderr
        wait_until(lambda: complaints(stacks).count("no node takes it") == len(SERVICES), stacks.pods)
        assert "unschedulable" in complaints(stacks)
    finally:
        assert stacks.cluster.run("uncordon", name).returncode == 0
    wait_until(lambda: all_ready(stacks), lambda: complaints(stacks))
    assert not set(before.values()) & set(stacks.pods().values())


def test_a_missing_image_is_named_and_the_right_one_goes_on(stacks: Stacks, opa_image: str) -> None:
    stacks.lab.config(images=json.dumps({"opa": MISSING}))
    said = interrupted_once(stacks, "ErrImagePull")
    assert MISSING.partition("@")[0] in said
    stacks.lab.config(images=json.dumps({"opa": opa_image}))
    stacks.lab.up()


def test_a_quota_that_is_used_up_is_named(stacks: Stacks) -> None:
    stacks.lab.config(memory=TOO_MUCH_MIB)
    said = interrupted_once(stacks, "exceeded quota")
    assert "exceeded quota" in said
    assert "4Gi" in said
    stacks.lab.config(memory="48")
    stacks.lab.up()


def test_an_api_that_goes_away_in_the_middle_of_up_is_said_and_up_goes_on(stacks: Stacks, wire: Wire) -> None:
    maps = stacks.names("configmaps")
    stacks.lab.config(page="second")
    with up_under_way(stacks) as process:
        wait_until(lambda: bool(stacks.names("configmaps") - maps), lambda: process.poll())
        wire.cut()
        outcome = ended(process)
    wire.mend()
    assert outcome.code != 0, outcome.text
    assert AWAY in outcome.text, outcome.text
    stacks.lab.up()
    assert stacks.asked("front", "lab/page") == "second"


def test_a_cluster_that_is_away_keeps_destroy_from_forgetting_anything(stacks: Stacks, wire: Wire) -> None:
    known = on_the_cluster(stacks)
    assert len(known) > len(SERVICES)
    wire.cut()
    try:
        outcome = stacks.lab.run("destroy", "--yes", "--skip-preview")
        assert outcome.code != 0, outcome.text
        assert AWAY in outcome.text, outcome.text
    finally:
        wire.mend()
    assert on_the_cluster(stacks) == known
    # Tunnels are this machine's, and may have gone before the first object could not.
    stacks.lab.up()
