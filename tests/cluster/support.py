"""What the tests on the cluster have in common."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from plugins.install import launcher
from tests.cluster import certificates
from tests.cluster.running import TestCluster
from tests.mocks.test_kubernetes import make_inputs, opened, recorded

PLUGIN = "pulumi-resource-kubernetes"


def rendered(folder: Path, role: str, *pairs: str) -> list[dict[str, Any]]:
    """The manifests of everything that a stack registers on a cluster."""
    found = recorded(make_inputs(folder / role), role, *pairs)
    assert found.error is None
    manifests = []
    for one in found.on_the_cluster:
        _, module, kind = one["type"].split(":")
        if module != "pulumi" and kind != "kubernetes":
            inputs = {key: value for key, value in opened(one["inputs"]).items() if value is not None}
            manifests.append({**inputs, "apiVersion": module.removeprefix("core/"), "kind": kind})
    assert manifests
    _with_certificate(manifests, folder / role / "pki")
    return manifests


def _with_certificate(manifests: Sequence[dict[str, Any]], folder: Path) -> None:
    """The API looks into certificates, and a rendered one is no more than a word."""
    certificates.make(folder, addresses=[], names=["*.lab.example"])
    for manifest in manifests:
        if manifest.get("type") == "kubernetes.io/tls":
            files = {"tls.crt": "server.crt", "tls.key": "server.key"}
            assert manifest["data"].keys() == files.keys()
            manifest["data"] = {
                key: base64.b64encode((folder / file).read_bytes()).decode() for key, file in files.items()
            }


def apply(cluster: TestCluster, manifests: Sequence[dict[str, Any]], *options: str) -> str:
    """Server-side apply of all; what went wrong, warnings included."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    command = ("apply", "--server-side", "--warnings-as-errors", "--filename=-", *options)
    done = cluster.run(*command, input_text=text)
    return "" if done.returncode == 0 and not done.stderr else f"exit code {done.returncode}: {done.stderr}"


def volume(name: str, folder: Path, size: str) -> dict[str, Any]:
    """A volume of the class ``by-hand`` that is a folder of this machine."""
    folder.mkdir(mode=0o777, exist_ok=True)
    folder.chmod(0o777)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "by-hand",
            "hostPath": {"path": str(folder)},
        },
    }


def bounded(cluster: TestCluster, folder: Path, size_kib: int) -> None:
    """Makes the folder of a :func:`volume` a file system of its own on the node, before a pod has it; with
    another size later, that volume becomes full or grows."""
    there = run_on_node(cluster, "mountpoint", "--quiet", str(folder)).returncode == 0
    options = f"{'remount,' if there else ''}size={size_kib}k,mode=0777"
    done = run_on_node(cluster, "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    assert done.returncode == 0, done.stderr


def used_kib(cluster: TestCluster, folder: Path) -> int:
    """What is in use of a folder that is :func:`bounded`."""
    done = run_on_node(cluster, "stat", "--file-system", "--format=%S %b %f", str(folder))
    block_bytes, blocks, free = (int(word) for word in done.stdout.split())
    return (blocks - free) * block_bytes // 1024


def run_on_node(cluster: TestCluster, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a program with the node's file systems."""
    inside = ["nsenter", f"--target={cluster.pid}", "--mount", "--"]
    return subprocess.run([*inside, *command], capture_output=True, text=True, check=False, timeout=60)


def install_provider(folder: Path) -> None:
    """Puts the provider plugin of the tests into a folder, where the official one is not on PATH."""
    if shutil.which(PLUGIN) is not None:
        return
    folder.mkdir(exist_ok=True)
    program = folder / PLUGIN
    text = launcher("kubernetes", Path(sys.executable)).replace(
        "plugins.kubernetes", "tests.cluster.provider"
    )
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)


def with_provider(project: Path) -> None:
    """Gives a project the provider plugin of the tests, where the official one is not on PATH."""
    home = project / "plugins"
    install_provider(home)
    if not (home / PLUGIN).exists():
        return
    described = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))
    described["plugins"]["providers"].append({"name": "kubernetes", "path": str(home)})
    (project / "Pulumi.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
