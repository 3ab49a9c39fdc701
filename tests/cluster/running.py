"""Starts and stops the cluster: a process tree in namespaces of its own, ended by its first process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from placements.kubernetes.cluster import Cluster
from tests.cluster import certificates, settings
from tests.cluster.images import import_image, pause_image

ROOT = Path(__file__).parents[2]
_READY_S = 300.0
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, kw_only=True)
class TestCluster:
    """A running cluster. ``kubectl`` is the node's own program under that name."""

    __test__ = False

    folder: Path
    kubeconfig: Path
    kubectl: Path
    server: str
    packages: Path
    pid: int

    def cluster(self, namespace: str) -> Cluster:
        """As the placement reaches it."""
        return Cluster(kubectl=str(self.kubectl), kubeconfig=self.kubeconfig, context="", namespace=namespace)

    def api(self) -> httpx.Client:
        """The API, as an administrator."""
        context = ssl.create_default_context(cafile=str(self.folder / "pki" / "ca.crt"))
        context.load_cert_chain(self.folder / "pki" / "admin.crt", self.folder / "pki" / "admin.key")
        return httpx.Client(base_url=self.server, verify=context, trust_env=False, timeout=60)

    def run(self, *arguments: str, input_text: str | None = None) -> subprocess.CompletedProcess[str]:
        """``kubectl`` to its end."""
        command = [str(self.kubectl), f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(
            command, input=input_text, capture_output=True, text=True, check=False, timeout=300
        )

    def objects(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """All objects of a kind in a namespace."""
        done = self.run("get", kind, f"--namespace={namespace}", "--output=json")
        assert done.returncode == 0, done.stderr
        items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return items

    def with_token(self, token: str, kubeconfig: Path, namespace: str) -> Cluster:
        """As somebody else reaches the cluster."""
        document = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))
        document["users"][0]["user"] = {"token": token}
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(document), encoding="utf-8")
        return replace(self.cluster(namespace), kubeconfig=kubeconfig)

    def load(self, archive: Path) -> None:
        """Makes the image of an OCI archive known to the node."""
        import_image(self.pid, self.packages, archive)


@contextmanager
def running(programs: Path, packages: Path) -> Iterator[TestCluster]:
    """A cluster whose node is ready; everything of it is gone afterwards.

    Args:
        programs: the folder of ``node`` and ``pause``.
        packages: what is laid over ``/usr`` within the cluster.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        cgroup = f"/{folder.name}"
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.callback(_remove_cgroups, cgroup)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = f"https://127.0.0.1:{listener.getsockname()[1]}"
        _write_settings(folder, cgroup, server)
        kubectl = folder / "bin" / "kubectl"
        kubectl.parent.mkdir()
        kubectl.write_text(f'#!/bin/sh\nexec "{programs / "node"}" kubectl "$@"\n', encoding="utf-8")
        kubectl.chmod(0o755)
        outer, pid = _start(stack, folder, programs, packages, listener)
        cluster = TestCluster(
            folder=folder,
            kubeconfig=folder / "operator.kubeconfig",
            kubectl=kubectl,
            server=server,
            packages=packages,
            pid=pid,
        )
        _wait_for(lambda: _answers(cluster), outer, folder, "the API server")
        cluster.load(pause_image(programs / "pause", folder / "pause.tar"))
        _wait_for(lambda: _node_ready(cluster), outer, folder, "the node")
        yield cluster


def _start(
    stack: ExitStack, folder: Path, programs: Path, packages: Path, listener: socket.socket
) -> tuple[subprocess.Popen[bytes], int]:
    """The process that waits for the cluster, and the cluster's first one."""
    held, lifeline = os.pipe()
    command = [
        "unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--mount", "--propagation=private",
        "--mount-proc", "--net", "--ipc", "--uts",
        sys.executable, "-P", "-c",
        "import runpy, sys; root, *sys.argv = sys.argv[1:]; sys.path.insert(0, root);"
        "runpy.run_module('tests.cluster.inside', run_name='__main__', alter_sys=False)",
        str(ROOT), "inside", str(folder), str(packages), str(programs), str(listener.fileno()), str(held),
    ]  # fmt: skip
    with (folder / "logs" / "first.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(listener.fileno(), held),
            cwd="/",
        )
    os.close(held)
    stack.callback(os.close, lifeline)
    stack.callback(_stop, process)
    deadline = time.monotonic() + 30
    while not (children := _children(process.pid)):
        assert process.poll() is None, _log(folder, "first")
        assert time.monotonic() < deadline, _log(folder, "first")
        time.sleep(0.05)
    return process, children[0]


def _children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the first process, with which the kernel ends all others of its namespace."""
    for child in _children(process.pid) if process.poll() is None else ():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    process.wait(60)


def _write_settings(folder: Path, cgroup: str, server: str) -> None:
    for name in ("logs", "cni", "containerd", "etcd", "kubelet", "pod-logs"):
        (folder / name).mkdir(mode=0o700)
    certificates.make(
        folder / "pki",
        addresses=("127.0.0.1", settings.NODE_ADDRESS, settings.API_SERVICE_ADDRESS),
        names=("localhost", "kubernetes", "kubernetes.default.svc"),
    )
    inner = f"https://{settings.NODE_ADDRESS}:{settings.API_PORT}"
    files: Mapping[str, str] = {
        "admin.kubeconfig": settings.kubeconfig(folder / "pki", inner, "admin"),
        "kubelet.kubeconfig": settings.kubeconfig(folder / "pki", inner, "kubelet"),
        "operator.kubeconfig": settings.kubeconfig(folder / "pki", server, "admin"),
        "containerd.toml": settings.containerd(folder),
        "cni/10-pods.conflist": json.dumps(settings.network(folder)),
        "kubelet.yaml": yaml.safe_dump(settings.kubelet(folder, cgroup)),
        "proxy.yaml": yaml.safe_dump(settings.proxy(folder)),
        "resolv.conf": f"nameserver {settings.PEER_ADDRESS}\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _wait_for(done: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path, what: str) -> None:
    deadline = time.monotonic() + _READY_S
    while not done():
        assert process.poll() is None, f"the cluster ended while waiting for {what}\n{_logs(folder)}"
        assert time.monotonic() < deadline, f"{what} is not ready\n{_logs(folder)}"
        time.sleep(0.3)


def _answers(cluster: TestCluster) -> bool:
    with cluster.api() as api, suppress(httpx.HTTPError):
        return api.get("/readyz").is_success
    return False


def _node_ready(cluster: TestCluster) -> bool:
    with cluster.api() as api, suppress(httpx.HTTPError):
        node = api.get(f"/api/v1/nodes/{settings.NODE}")
        account = api.get("/api/v1/namespaces/default/serviceaccounts/default")
        conditions = node.json()["status"]["conditions"] if node.is_success else []
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        return ready and account.is_success
    return False


def _logs(folder: Path) -> str:
    names = sorted(path.stem for path in (folder / "logs").iterdir())
    return "\n".join(f"--- {name}\n{_log(folder, name)}" for name in names)


def _log(folder: Path, name: str) -> str:
    path = folder / "logs" / f"{name}.log"
    return path.read_text(encoding="utf-8", errors="replace")[-3000:] if path.exists() else ""


def _remove_cgroups(cgroup: str) -> None:
    """The cgroups of the ended pods: below each controller's folder, or below the only one there is."""
    for top in (_CGROUPS, *(path for path in _CGROUPS.iterdir() if path.is_dir())):
        own = top / cgroup.removeprefix("/")
        if not own.is_dir():
            continue
        for path in sorted((p for p in own.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
            with suppress(OSError):
                path.rmdir()
        with suppress(OSError):
            own.rmdir()
