"""What a lab's pods find on the test cluster: services by their names, and the team's servers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from contracts.settings import cache_home
from tests.cluster import dns, images, servers, settings
from tests.cluster.base import system_layer
from tests.cluster.running import TestCluster
from tests.live.conftest import temporary_folder

# What is built for it, where no cache has it, takes longest.
pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

ASKED = f"""\
import json, socket
found = {{"api": socket.getaddrinfo("kubernetes.default.svc", 443)[0][4][0]}}
try:
    socket.getaddrinfo("nothing.default.svc", 443)
except OSError as error:
    found["nothing"] = error.errno
for name, port in (("database", {servers.DATABASE_PORT}), ("store", {servers.STORE_PORT})):
    with socket.create_connection(("{settings.NODE_ADDRESS}", port), timeout=10):
        found[name] = "reached"
print(json.dumps(found))
"""


def test_a_pod_finds_services_by_name_and_reaches_the_servers(cluster: TestCluster, tmp_path: Path) -> None:
    dns.start(cluster)
    archive, name = tmp_path / "python.tar", "cluster.test/python@"
    image = name + images.write_image(archive, name, [system_layer(cache_home())], {})
    cluster.load(archive)
    container = {"name": "asks", "image": image, "command": ["python3", "-c", ASKED]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "asks", "namespace": "default"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    }
    with temporary_folder() as folder, servers.running_servers(cluster, folder):
        applied = cluster.run("apply", "--filename=-", input_text=json.dumps(pod))
        assert applied.returncode == 0, applied.stderr
        try:
            deadline = time.monotonic() + 120
            while (phase := _phase(cluster)) not in ("Succeeded", "Failed"):
                assert time.monotonic() < deadline, phase
                time.sleep(0.5)
            said = cluster.run("logs", "pod/asks").stdout
        finally:
            cluster.run("delete", "pod/asks", "--now")
    assert phase == "Succeeded", said
    found = json.loads(said)
    assert found["api"] == settings.API_SERVICE_ADDRESS
    assert found["nothing"] < 0, "a name that there is not is said not to be there"
    assert (found["database"], found["store"]) == ("reached", "reached")


def _phase(cluster: TestCluster) -> str:
    (pod,) = cluster.objects("pods", "default")
    return str(pod["status"]["phase"])
