"""Data services inside a real Kubernetes: what they hold outlives their pods, the lab stack and damage."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.outputs import to_exports
from placements.kubernetes.layout import USER_ID
from tests.cluster.kept_lab import DATA, NAMESPACE, SERVICES, KeptLab, lab_on
from tests.cluster.running import ROOT, TestCluster
from tests.cluster.servers import in_node_network
from tests.cluster.support import apply

# What is built for it, where no cache has it, takes longest.
pytestmark = [pytest.mark.engine, pytest.mark.live, pytest.mark.timeout(2400)]

WITHIN = {"postgres": f"postgres.{DATA}.svc", "s3": f"http://s3.{DATA}.svc:9000"}
CHECK = """\
import json, sys
from placements.kubernetes.external import store_checks
store_checks.check(json.load(sys.stdin))
print(json.dumps("narrowed"))
"""


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


def test_full_volumes_are_said_and_nothing_is_lost(lab: KeptLab) -> None:
    much = "CREATE TABLE much AS SELECT generate_series(1, 1000000) AS number"
    with lab.full("postgres"):
        with pytest.raises(AssertionError, match="No space left on device"):
            lab.sql(much)
        assert lab.repeated(lambda: lab.sql("SELECT count(*) FROM kept")) == [[1000]], "it still reads"
        assert "volume of postgres: it is full: 0 B of " in lab.doctor()
        lab.cluster.run("delete", "pod", "postgres-0", f"--namespace={DATA}", "--now")
        end = time.monotonic() + 180
        while "the volume is full: 0 MiB of" not in " ".join(lab.troubles()):
            assert time.monotonic() < end, lab.explained()
            time.sleep(1)
        said = lab.doctor()
        assert re.search("pod postgres-0: ended .*: the volume is full: 0 MiB of", said), said
        (tunnel,) = [one for one in lab.live.json("status")["services"] if one["name"] == "postgres"]
        assert tunnel["state"] != "ready", "it leads nowhere"
    lab.await_pods({})
    assert lab.repeated(lambda: lab.sql("SELECT count(*) FROM kept")) == [[1000]]
    assert lab.repeated(lambda: lab.sql(f"{much}; DROP TABLE much")) == []

    with lab.full("s3"):
        with pytest.raises(AssertionError, match=r"XMinioStorageFull|minimum free drive threshold"):
            lab.object("more", put="x" * (1 << 20))
        assert lab.object("kept") == "an object", "it still reads"
        assert "volume of s3: it is full" in lab.doctor()
        refused = lab.live.run("backup", timeout_s=300)
        assert refused.returncode == 1, refused.stdout + refused.stderr
        assert "room in the store's volume" in refused.stderr
    assert lab.repeated(lambda: lab.object("more", put="there is room")) == "there is room"
    assert not {"volume", "pod"} & set(lab.doctor().split()), "all is well again"


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
    print(restored.stdout)
    # A login to each database ended no tunnel, and the one to the pod of before was waited for by nobody.
    (tunnel,) = [one for one in lab.live.json("status")["services"] if one["name"] == "postgres"]
    assert (tunnel["state"], tunnel["restarts"]) == ("ready", 0), tunnel
    assert lab.repeated(lambda: lab.sql("SELECT count(*), sum(number) FROM kept")) == [[1000, 500500]]
    assert lab.repeated(lambda: lab.object("kept")) == "an object", "objects are as they were"


def test_the_schedule_is_there_and_its_backups_are_bounded(lab: KeptLab) -> None:
    (schedule,) = lab.cluster.objects("cronjobs", DATA)
    assert schedule["spec"]["schedule"] == "17 2 * * *"
    for text, taken in (("0 0 1-7/2 jul MON-FRI", True), ("0 0 L * *", False), ("0 0 * * 7", False)):
        given = json.dumps({**schedule, "spec": {**schedule["spec"], "schedule": text}})
        asked = lab.cluster.run("replace", "--dry-run=server", "--filename=-", input_text=given)
        assert (asked.returncode == 0) == taken, asked.stderr
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
