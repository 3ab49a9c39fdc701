"""A lab on the test cluster of which only what is kept is made: data services inside it, and how they are
looked at."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.project import Lab
from cli.session import Session
from cli.toolchain import pulumi_engine
from contracts.errors import LabError
from contracts.outputs import Slot
from contracts.settings import cache_home
from placements.kubernetes.troubles import troubles
from placements.local.artifacts import SilentProgress
from placements.local.supervisor import SupervisorClient
from placements.local.unprivileged import remove_unprivileged
from tests.cluster import dns
from tests.cluster.lab_images import load_images
from tests.cluster.labs import environment_of, in_the_nodes_network
from tests.cluster.running import ROOT, TestCluster
from tests.cluster.servers import in_node_network
from tests.cluster.support import apply, bounded, install_provider, used_kib, volume
from tests.live.conftest import LiveLab, temporary_folder

NAMESPACE, DATA = "lakehouse-team", "lakehouse-team-data"
SERVICES = ("postgres", "s3")
IMAGES = ("postgresql", "minio", "governor")
ROOM_KIB = 1 << 20
"""Of each volume, a file system of its own."""

DATABASE = """\
import json, sys, psycopg
given = json.load(sys.stdin)
with psycopg.connect(**given["connect"], autocommit=True, connect_timeout=10) as connection:
    cursor = connection.execute(given["sql"])
    print(json.dumps(cursor.fetchall() if cursor.description else []))
"""
OBJECTS = """\
import json, sys, boto3
from botocore.config import Config
given = json.load(sys.stdin)
client = boto3.client("s3", config=Config(s3={"addressing_style": "path"}), **given["connect"])
if given.get("put"):
    client.put_object(Bucket=given["bucket"], Key=given["key"], Body=given["put"].encode())
print(json.dumps(client.get_object(Bucket=given["bucket"], Key=given["key"])["Body"].read().decode()))
"""


@dataclass(frozen=True, kw_only=True)
class KeptLab:
    """A lab of which only what is kept is made. ``live`` runs the command in the node's network."""

    cluster: TestCluster
    live: LiveLab
    outside: LiveLab
    images: dict[str, str]
    volumes: dict[str, Path]

    def slot(self) -> Slot:
        lab = Lab(name="team", home=self.live.home, root=ROOT, cache=cache_home())
        return Session(lab, environ=self.live.environment).slot()

    def python(self, code: str, given: Any) -> Any:
        """What a program on the operator's machine makes of ``given``."""
        done = subprocess.run(
            [*in_node_network(self.cluster), sys.executable, "-c", code],
            input=json.dumps(given), capture_output=True, text=True, check=False, timeout=120, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def sql(self, statement: str) -> Any:
        """Rows of a statement in the catalog's database, through the tunnel, which is encrypted itself and
        which the end of an encrypted connection in it would end."""
        database = self.slot().catalog_database
        connect = {
            "host": "127.0.0.1", "port": self.port(0), "dbname": database.name, "user": database.role,
            "password": database.password, "sslmode": "disable",
        }  # fmt: skip
        return self.python(DATABASE, {"connect": connect, "sql": statement})

    def object(self, key: str, put: str = "") -> Any:
        """An object's content, through the tunnel."""
        slot = self.slot()
        connect = {
            "endpoint_url": f"http://127.0.0.1:{self.port(4)}", "region_name": slot.warehouse.region,
            "aws_access_key_id": slot.catalog_store_user.access_key,
            "aws_secret_access_key": slot.catalog_store_user.secret_key,
        }  # fmt: skip
        given = {"bucket": slot.warehouse.bucket, "key": f"{slot.warehouse.prefix}/{key}", "put": put}
        return self.python(OBJECTS, {"connect": connect, **given})

    def port(self, offset: int) -> int:
        assert self.slot().warehouse.operator_endpoint_url is not None
        return int(str(self.slot().warehouse.operator_endpoint_url).rsplit(":", 1)[1]) - 4 + offset

    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods of both services that are ready, by service."""
        found = {}
        for pod in self.cluster.objects("pods", DATA):
            conditions = pod["status"].get("conditions") or ()
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            if ready and "deletionTimestamp" not in pod["metadata"]:
                found[pod["metadata"]["labels"]["app.kubernetes.io/component"]] = pod
        return {name: pod for name, pod in found.items() if name in SERVICES}

    def await_pods(self, other_than: dict[str, dict[str, Any]]) -> None:
        old = {pod["metadata"]["uid"] for pod in other_than.values()}
        end = time.monotonic() + 300
        while not (len(new := self.pods()) == 2 and not {p["metadata"]["uid"] for p in new.values()} & old):
            assert time.monotonic() < end, self.explained()
            time.sleep(1)

    @contextmanager
    def full(self, service: str) -> Iterator[None]:
        """Its volume is full; afterwards it has grown."""
        folder = self.volumes[service]
        bounded(self.cluster, folder, used_kib(self.cluster, folder))
        try:
            yield
        finally:
            bounded(self.cluster, folder, ROOM_KIB)

    def troubles(self) -> list[str]:
        """What the API says of pods that do not run."""
        return [line for pod in self.cluster.objects("pods", DATA) for line in troubles(pod)]

    def doctor(self) -> str:
        """What stands in the lab's way, a line each."""
        findings = json.loads(self.live.run("doctor", "--json").stdout)["findings"]
        return "\n".join(
            f"{one['subject']}: {one['detail']}" for one in findings if one["verdict"] == "problem"
        )

    def repeated(self, ask: Callable[[], Any]) -> Any:
        """What :meth:`sql` or :meth:`object` gives once the tunnel to a new pod is there."""
        end = time.monotonic() + 120
        while True:
            try:
                return ask()
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    def explained(self) -> str:
        parts = [self.cluster.run("get", "pods,events,pvc,jobs", f"--namespace={DATA}").stdout]
        for pod in self.cluster.objects("pods", DATA):
            name = pod["metadata"]["name"]
            said = self.cluster.run("logs", name, f"--namespace={DATA}", "--tail=40")
            parts.append(f"--- {name}\n{said.stdout}{said.stderr}")
        return "\n".join(parts)


@contextmanager
def lab_on(cluster: TestCluster) -> Iterator[KeptLab]:
    """A name server, images, and a volume for each service; and a lab that was not made yet."""
    cache = cache_home()
    pulumi_engine(cache, SilentProgress(), use_installer=False)
    dns.start(cluster)
    references = load_images(cluster, IMAGES, cache)
    with temporary_folder() as folder:
        home = folder / "labs" / "team"
        (folder / "images.json").write_text(json.dumps(references), encoding="utf-8")
        for name, size in (("postgres", "1Gi"), ("s3", "2Gi")):
            failed = apply(cluster, [volume(f"kept-{name}", folder / name, size)])
            assert not failed, failed
            bounded(cluster, folder / name, ROOM_KIB)
        install_provider(folder / "plugins")
        environment = environment_of(cluster, folder)
        lab = KeptLab(
            cluster=cluster,
            live=LiveLab(
                environment=environment, home=home, root=in_the_nodes_network(cluster, folder / "operator")
            ),
            outside=LiveLab(environment=environment, home=home, root=ROOT),
            images=references,
            volumes={name: folder / name for name in SERVICES},
        )
        try:
            yield lab
        finally:
            # Where they did not come up there is nothing to wait for: the cluster goes with all of it.
            if home.exists():
                for words in (("bootstrap", "--set", "dataProtect=false"), ("destroy", "--yes")):
                    with suppress(subprocess.TimeoutExpired):
                        lab.live.run(*words, timeout_s=120)
                with suppress(LabError):
                    SupervisorClient(home).shutdown()
            remove_unprivileged(home)
