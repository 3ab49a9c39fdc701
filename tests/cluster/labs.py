"""A whole lab on the test cluster, by the ``lab`` command that people type.

The operator's machine has the node's network: the cluster, the team's servers and the tunnels' loopback ports
are reached there, and nothing else.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.toolchain import pulumi_engine
from contracts.settings import cache_home
from placements.local.artifacts import SilentProgress
from placements.local.unprivileged import remove_unprivileged
from tests.cluster import dns, servers
from tests.cluster.lab_images import load_images
from tests.cluster.running import ROOT, TestCluster
from tests.cluster.support import apply, install_provider, volume
from tests.live.conftest import LiveLab, clean_environment, temporary_folder

NAME = "team"
NAMESPACE = f"lakehouse-{NAME}"
DRIVERS = f"{NAMESPACE}-spark"
IMAGES = ("keycloak", "nessie", "opa", "governor", "trino", "spark")
SCALE_FACTOR = "0.01"


@dataclass(frozen=True, kw_only=True)
class ClusterLab:
    """A lab on the cluster. ``live`` runs the command in the node's network, ``outside`` in the machine's."""

    cluster: TestCluster
    live: LiveLab
    outside: LiveLab
    servers: servers.Servers

    def pods(self) -> dict[str, str]:
        """UIDs of the running pods by their workload."""
        return {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["metadata"]["uid"]
            for pod in self.cluster.objects("pods", NAMESPACE)
            if "deletionTimestamp" not in pod["metadata"]
        }

    def explained(self) -> str:
        """What the cluster says of the lab's pods, and what they said last."""
        parts = [self.cluster.run("get", "pods,events", f"--namespace={NAMESPACE}").stdout]
        for name in self.pods():
            pods = ("--selector", f"app.kubernetes.io/component={name}", "--tail=40")
            parts.append(f"--- {name}\n{self.cluster.run('logs', f'--namespace={NAMESPACE}', *pods).stdout}")
        return "\n".join(parts)


@contextmanager
def lab_without_servers(cluster: TestCluster) -> Iterator[ClusterLab]:
    """The team's servers, a name server and images; and the folder of a lab that nothing was said of yet."""
    cache = cache_home()
    pulumi_engine(cache, SilentProgress(), use_installer=False)
    dns.start(cluster)
    references = load_images(cluster, IMAGES, cache)
    with temporary_folder() as folder, servers.running_servers(cluster, folder) as team:
        home = folder / "labs" / NAME
        (folder / "images.json").write_text(json.dumps(references), encoding="utf-8")
        failed = apply(cluster, [volume("audit", folder / "audit", "1Gi")])
        assert not failed, failed
        install_provider(folder / "plugins")
        environment = environment_of(cluster, folder)
        root = in_the_nodes_network(cluster, folder / "operator")
        lab = ClusterLab(
            cluster=cluster,
            live=LiveLab(environment=environment, home=home, root=root),
            outside=LiveLab(environment=environment, home=home, root=ROOT),
            servers=team,
        )
        try:
            yield lab
        finally:
            lab.live.run("destroy", "--yes", timeout_s=300)
            remove_unprivileged(home)


def environment_of(cluster: TestCluster, folder: Path) -> Mapping[str, str]:
    """What the command runs with: the cluster's kubectl and labs below ``folder``."""
    known = clean_environment()
    path = f"{cluster.kubectl.parent}:{folder / 'plugins'}:{known['PATH']}"
    return {**known, "PATH": path, "LAB_HOME": str(folder / "labs"), "LAB_NAME": NAME}


def in_the_nodes_network(cluster: TestCluster, folder: Path) -> Path:
    """A folder whose ``lab`` is the checkout's, run there."""
    folder.mkdir()
    command = shlex.join([*servers.in_node_network(cluster), str(ROOT / "lab")])
    (folder / "lab").write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    (folder / "lab").chmod(0o755)
    return folder


def settings_of(cluster: TestCluster, home: Path) -> tuple[str, ...]:
    """What the lab is told on the command line, as options of ``up`` and ``bootstrap``."""
    values = {
        "placement": "kubernetes",
        "kubeconfig": str(cluster.folder / "admin.kubeconfig"),
        "imagesFile": str(home.parents[1] / "images.json"),
        "storageClass": "by-hand",
        "scaleFactor": SCALE_FACTOR,
        "warehouseBucket": servers.BUCKET,
        "policyBucket": servers.POLICY_BUCKET,
        "trinoHeapMib": "768",
    }
    return tuple(word for key, value in values.items() for word in ("--set", f"{key}={value}"))


def set_servers(lab: ClusterLab) -> None:
    """Tells the lab's servers as the guide does."""
    create = 'eval "$(./lab env)"\npulumi stack select --create persistent\n'
    made = lab.outside.shell(create, timeout_s=120)
    assert made.returncode == 0, made.stdout + made.stderr
    values = (
        ("--secret", "databaseUrl", lab.servers.database_url),
        ("--plaintext", "objectStoreUrl", lab.servers.store_url),
        (
            "--secret",
            "objectStoreKeys",
            json.dumps({u: list(pair) for u, pair in lab.servers.store_keys.items()}),
        ),
    )
    for kind, key, value in values:
        script = f'eval "$(./lab env)"\npulumi config set -s persistent {kind} {key}\n'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            input=value,
            env=dict(lab.outside.environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{key}: {done.stdout}{done.stderr}"
