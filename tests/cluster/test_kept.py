"""Data services inside a real Kubernetes: what they hold outlives their pods, the lab stack and damage."""

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

import pytest

from cli.project import Lab
from cli.session import Session
from cli.toolchain import pulumi_engine
from contracts.errors import LabError
from contracts.outputs import Slot, to_exports
from contracts.settings import cache_home
from placements.kubernetes.layout import USER_ID
from placements.local.artifacts import SilentProgress
from placements.local.supervisor import SupervisorClient
from placements.local.unprivileged import remove_unprivileged
from tests.cluster import dns
from tests.cluster.lab_images import load_images
from tests.cluster.labs import environment_of, in_the_nodes_network
from tests.cluster.running import ROOT, TestCluster
from tests.cluster.servers import in_node_network
from tests.cluster.support import apply, install_provider, volume
from tests.live.conftest import LiveLab, temporary_folder

# What is built for it, where no cache has it, takes longest.
pytestmark = [pytest.mark.engine, pytest.mark.live, pytest.mark.timeout(2400)]

NAMESPACE, DATA = "lakehouse-team", "lakehouse-team-data"
SERVICES = ("postgres", "s3")
IMAGES = ("postgresql", "minio", "governor")
WITHIN = {"postgres": f"postgres.{DATA}.svc", "s3": f"http://s3.{DATA}.svc:9000"}

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
CHECK = """\
import json, sys
from placements.kubernetes.external import store_checks
store_checks.check(json.load(sys.stdin))
print(json.dumps("narrowed"))
"""


@dataclass(frozen=True, kw_only=True)
class KeptLab:
    """A lab of which only what is kept is made. ``live`` runs the command in the node's network."""

    cluster: TestCluster
    live: LiveLab
    outside: LiveLab
    images: dict[str, str]

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
        """Rows of a statement in the catalog's database, through the tunnel."""
        database = self.slot().catalog_database
        connect = {
            "host": "127.0.0.1", "port": self.port(0), "dbname": database.name, "user": database.role,
            "password": database.password, "sslmode": "require",
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
        install_provider(folder / "plugins")
        environment = environment_of(cluster, folder)
        lab = KeptLab(
            cluster=cluster,
            live=LiveLab(
                environment=environment, home=home, root=in_the_nodes_network(cluster, folder / "operator")
            ),
            outside=LiveLab(environment=environment, home=home, root=ROOT),
            images=references,
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


@pytest.fixture(scope="module")
def lab(cluster: TestCluster) -> Iterator[KeptLab]:
    """A lab whose persistent stack was made as the guide says."""
    with lab_on(cluster) as found:
        values = {
            "placement": "kubernetes",
            "kubeconfig": str(cluster.folder / "admin.kubeconfig"),
            "dataServices": "inside",
            "storageClass": "by-hand",
            "databaseVolumeMib": "1024",
            "objectStoreVolumeMib": "2048",
            "backupKeep": "2",
        }
        settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        # Outside: it makes the command's environment, which takes the package index.
        told = found.outside.run("bootstrap", "--catalog", "nessie", *settings, timeout_s=900)
        assert told.returncode == 3, told.stdout + told.stderr
        assert "governor, minio, postgresql" in told.stderr
        file = found.live.home.parents[1] / "images.json"
        began = time.monotonic()
        made = found.live.run("bootstrap", "--set", f"imagesFile={file}", timeout_s=900)
        assert made.returncode == 0, f"{made.stdout}{made.stderr}\n{found.explained()}"
        print(f"bootstrap: {time.monotonic() - began:.0f} s")
        yield found


def test_both_services_run_and_nothing_to_do_is_nothing_done(lab: KeptLab) -> None:
    before = lab.pods()
    assert set(before) == set(SERVICES)
    answer = lab.live.json("bootstrap")
    assert {key for key, count in answer["changes"].items() if count} <= {"same", "read"}
    assert {n: p["metadata"]["uid"] for n, p in lab.pods().items()} == {
        n: p["metadata"]["uid"] for n, p in before.items()
    }
    secrets = [value for value in _values(to_exports(lab.slot())) if len(value) == 32 and value.isalnum()]
    described = json.dumps(lab.cluster.objects("pods,configmaps,statefulsets,cronjobs", DATA))
    assert secrets
    assert [s for s in secrets if s in described] == [], "a secret stands outside a Secret"


def _values(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for value in document.values():
            yield from _values(value)
    elif isinstance(document, str):
        yield document


def test_a_pod_of_the_lab_reaches_both_by_their_names(lab: KeptLab) -> None:
    slot = lab.slot()
    database, warehouse = slot.catalog_database, slot.warehouse
    assert (database.host, warehouse.endpoint_url) == (WITHIN["postgres"], WITHIN["s3"])
    assert lab.object("by-name", put="seen from a pod") == "seen from a pod"
    code = f"""\
import os, psycopg, urllib.request
connection = psycopg.connect(
    host={database.host!r}, dbname={database.name!r}, user={database.role!r}, sslmode="require",
    password=os.environ["DATABASE_PASSWORD"], connect_timeout=20,
)
print(connection.pgconn.ssl_in_use)
print(urllib.request.urlopen("{warehouse.endpoint_url}/minio/health/live", timeout=20).status)
"""
    name = "client"
    container = {
        "name": name,
        "image": lab.images["governor"],
        "command": ["/opt/lakehouse-lab/python/bin/python", "-c", code],
        "env": [{"name": "DATABASE_PASSWORD", "value": database.password}],
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
    assert apply(lab.cluster, [pod]) == ""
    try:
        end = time.monotonic() + 180
        while (phase := lab.cluster.objects("pods", NAMESPACE)[0]["status"]["phase"]) not in (
            "Succeeded",
            "Failed",
        ):
            assert time.monotonic() < end, phase
            time.sleep(1)
        said = lab.cluster.run("logs", name, f"--namespace={NAMESPACE}").stdout
    finally:
        lab.cluster.run("delete", "pod", name, f"--namespace={NAMESPACE}", "--now")
    assert said.splitlines() == ["True", "200"], said


def test_policies_let_in_what_declares_it_and_nobody_else(lab: KeptLab) -> None:
    policies = {
        item["metadata"]["name"]: item["spec"] for item in lab.cluster.objects("networkpolicies", DATA)
    }
    assert policies["default-deny"]["policyTypes"] == ["Ingress", "Egress"]
    for service in SERVICES:
        sources = [
            source
            for policy in policies.values()
            if policy["podSelector"].get("matchLabels", {}).get("app.kubernetes.io/component") == service
            for rule in policy.get("ingress") or ()
            for source in rule["from"]
        ]
        selected = sorted(json.dumps(source, sort_keys=True) for source in sources)
        assert len(selected) == 2, selected
        assert any(f'"kubernetes.io/metadata.name": "{NAMESPACE}"' in s for s in selected)
        assert any(f"lakehouse-lab/reaches-{service}" in s for s in selected)
        assert any('"app.kubernetes.io/component": "postgres-backup"' in s for s in selected)


def test_sessions_are_narrowed_to_their_policy(lab: KeptLab) -> None:
    slot = lab.slot()
    users = {"catalog": slot.catalog_store_user, "governor": slot.governor_store_user}
    users["opa"] = slot.opa_store_user
    store = {
        **to_exports(slot.warehouse),
        "endpoint_url": slot.warehouse.operator_endpoint_url,
        "keys": {name: [user.access_key, user.secret_key] for name, user in users.items()},
    }
    assert lab.python(CHECK, store) == "narrowed"


def test_what_they_hold_outlives_their_pods(lab: KeptLab) -> None:
    lab.sql("CREATE TABLE IF NOT EXISTS kept AS SELECT generate_series(1, 1000) AS number")
    assert lab.object("kept", put="an object") == "an object"
    for options in (("--now",), ("--force", "--grace-period=0")):
        before = lab.pods()
        for pod in before.values():
            lab.cluster.run("delete", "pod", pod["metadata"]["name"], f"--namespace={DATA}", *options)
        lab.await_pods(before)
        assert lab.repeated(lambda: lab.sql("SELECT count(*) FROM kept")) == [[1000]]
        assert lab.repeated(lambda: lab.object("kept")) == "an object"
    events = lab.cluster.run("get", "events", f"--namespace={DATA}").stdout
    assert "FailedPreStopHook" not in events
    assert "FailedKillPod" not in events


def test_down_leaves_them_and_the_next_bootstrap_finds_all(lab: KeptLab) -> None:
    before = lab.pods()
    down = lab.live.json("down")
    assert down["left"] == [], "what is kept is no leftover"
    assert {n: p["metadata"]["uid"] for n, p in lab.pods().items()} == {
        n: p["metadata"]["uid"] for n, p in before.items()
    }
    lab.live.ok("bootstrap", timeout_s=300)
    assert lab.repeated(lambda: lab.sql("SELECT count(*) FROM kept")) == [[1000]]


def test_damage_is_undone_by_a_backup(lab: KeptLab) -> None:
    assert lab.live.json("backup", "--list") == []
    first = lab.live.json("backup", timeout_s=300)["backup"]["name"]
    lab.sql("DELETE FROM kept WHERE number > 10")
    second = lab.live.json("backup", timeout_s=300)
    assert [one["name"] for one in lab.live.json("backup", "--list")] == [second["backup"]["name"], first]

    labels = {"lakehouse-lab/lab": "team", "lakehouse-lab/stack": "lab"}
    running = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "governor", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 0,
            "serviceName": "governor",
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "x", "image": lab.images["governor"]}]},
            },
        },
    }
    done = lab.cluster.run("apply", "--filename=-", input_text=json.dumps(running))
    assert done.returncode == 0, done.stderr
    refused = lab.live.run("restore", "--at", first, "--yes")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "is up, and its services would write" in refused.stderr
    lab.cluster.run("delete", "statefulset", "governor", f"--namespace={NAMESPACE}")

    unknown = lab.live.run("restore", "--at", "2001-01-01T00-00-00Z", "--yes")
    assert unknown.returncode == 2
    assert first in unknown.stderr
    assert lab.repeated(lambda: lab.sql("SELECT count(*) FROM kept")) == [[10]]

    restored = lab.live.run("restore", "--at", first, "--yes", timeout_s=600)
    assert restored.returncode == 0, f"{restored.stdout}{restored.stderr}\n{lab.explained()}"
    assert lab.repeated(lambda: lab.sql("SELECT count(*), sum(number) FROM kept")) == [[1000, 500500]]
    assert lab.repeated(lambda: lab.object("kept")) == "an object", "objects are as they were"


def test_the_schedule_is_there_and_its_backups_are_bounded(lab: KeptLab) -> None:
    (schedule,) = lab.cluster.objects("cronjobs", DATA)
    assert schedule["spec"]["schedule"] == "17 2 * * *"
    third = lab.live.json("backup", timeout_s=300)
    assert len(third["removed"]) == 1
    assert len(lab.live.json("backup", "--list")) == 2


def test_destroy_takes_them_once_nothing_protects_them(lab: KeptLab) -> None:
    refused = lab.live.run("destroy", "--yes")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert "dataProtect=false" in refused.stderr
    by_hand = subprocess.run(
        [
            *in_node_network(lab.cluster), "bash", "-euo", "pipefail", "-c",
            'eval "$(./lab env)"\npulumi destroy -s persistent --yes --skip-preview\n',
        ],
        env=dict(lab.live.environment), cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert by_hand.returncode != 0
    assert "protect" in by_hand.stdout + by_hand.stderr, by_hand.stdout + by_hand.stderr
    assert set(lab.pods()) == set(SERVICES)
    lab.live.ok("bootstrap", "--set", "dataProtect=false", timeout_s=300)
    lab.live.ok("destroy", "--yes", timeout_s=600)
    for namespace in (NAMESPACE, DATA):
        assert lab.cluster.run("get", "namespace", namespace).returncode != 0
    assert not Path(lab.live.home).exists()
