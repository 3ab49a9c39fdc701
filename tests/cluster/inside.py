"""The first process of the cluster's own namespaces: lays the node out, starts the components, and ends, and
with it everything in the cluster, when one of them does or when whoever started it is gone."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster import settings

_API_READY_S = 240
_KERNEL = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What a kubelet sets for the whole machine. Here it finds it set already, in files of its own."""


def main(folder_text: str, packages: str, programs: str, listener: str, lifeline: str) -> None:
    """``listener`` is a listening socket of the machine that leads to the API; the cluster lives as long as
    somebody holds the other end of ``lifeline``."""
    folder = Path(folder_text)
    _mounts(folder, Path(packages))
    _cgroups(folder.name)
    _network()
    env = {**os.environ, "PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)}
    node = Path(programs) / "node"
    started: dict[int, str] = {}
    kept: list[subprocess.Popen[bytes]] = []
    threading.Thread(target=_end_with, args=(int(lifeline),), daemon=True).start()

    def start(name: str, command: list[str], pass_fds: tuple[int, ...] = ()) -> None:
        with (folder / "logs" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=pass_fds
            )
        started[process.pid] = name
        kept.append(process)

    commands = settings.commands(folder)
    start("containerd", ["containerd", "--config", str(folder / "containerd.toml")])
    for name in ("etcd", "kube-apiserver"):
        start(name, [str(node), name, *commands[name]])
    forward = [sys.executable, "-P", str(Path(__file__).with_name("forward.py")), listener]
    start("forward", [*forward, settings.NODE_ADDRESS, str(settings.API_PORT)], (int(listener),))
    threading.Thread(target=_start_others, args=(folder, node, commands, start), daemon=True).start()
    while True:
        pid, status = os.wait()
        if pid in started:
            print(f"{started[pid]} ended with status {status}", file=sys.stderr, flush=True)
            os._exit(1)


def _start_others(
    folder: Path, node: Path, commands: Mapping[str, list[str]], start: Callable[[str, list[str]], None]
) -> None:
    context = ssl.create_default_context(cafile=str(folder / "pki" / "ca.crt"))
    context.load_cert_chain(folder / "pki" / "admin.crt", folder / "pki" / "admin.key")
    url = f"https://{settings.NODE_ADDRESS}:{settings.API_PORT}/readyz"
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    deadline = time.monotonic() + _API_READY_S
    while True:
        try:
            with opener.open(url, timeout=5):
                break
        except (OSError, urllib.error.URLError):
            if time.monotonic() > deadline:
                os._exit(1)
            time.sleep(0.2)
    for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"):
        start(name, [str(node), name, *commands[name]])


def _end_with(lifeline: int) -> None:
    os.read(lifeline, 1)
    os._exit(0)


def _mounts(folder: Path, packages: Path) -> None:
    """A node's file system: the machine's, with the packages over ``/usr`` and a ``/run`` of its own."""
    _run("mount", "--make-rshared", "/")
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={packages / 'usr'}:/usr", "/usr")
    cgroups = folder / "cgroups"
    cgroups.mkdir()
    _run("mount", "--rbind", "/sys/fs/cgroup", str(cgroups))
    _run("mount", "-t", "sysfs", "sysfs", "/sys")
    _run("mount", "--rbind", str(cgroups), "/sys/fs/cgroup")
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    # What is written to fixed places is written to nowhere.
    for name in ("lib", "log"):
        upper, work = Path("/run/upper", name), Path("/run/work", name)
        upper.mkdir(parents=True)
        work.mkdir(parents=True)
        options = f"lowerdir=/var/{name},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "overlay", "-o", options, f"/var/{name}")
    values = folder / "kernel"
    for name, value in _KERNEL.items():
        file = values / name.replace("/", "-")
        file.parent.mkdir(exist_ok=True)
        file.write_text(value + "\n")
        if Path("/proc/sys", name).exists():
            _run("mount", "--bind", str(file), f"/proc/sys/{name}")


def _cgroups(name: str) -> None:
    """The cgroup that all pods are in, of each controller, or of all where there is one hierarchy."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.controllers").exists():
        (top / name).mkdir()
        wanted = [f"+{one}" for one in ("cpu", "cpuset", "memory", "pids")]
        for folder in (top, top / name):
            (folder / "cgroup.subtree_control").write_text(" ".join(wanted))
        return
    for controller in top.iterdir():
        if not controller.is_symlink() and (controller / "cgroup.procs").exists():
            (controller / name).mkdir()


def _network() -> None:
    """A pair of interfaces, one of which is the node's address; nothing leads to the machine's network."""
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "node0", "type", "veth", "peer", "name", "peer0")
    _run("ip", "address", "add", f"{settings.NODE_ADDRESS}/24", "dev", "node0")
    _run("ip", "link", "set", "node0", "up")
    _run("ip", "link", "set", "peer0", "up")
    _run("ip", "route", "add", "default", "via", settings.PEER_ADDRESS)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(json.dumps([command, done.stdout, done.stderr]), file=sys.stderr, flush=True)
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
