"""What the test cluster is made of: Kubernetes built from Go modules, and Debian's packages of what runs
containers, laid out in a folder of their own. Nothing is installed on the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from contracts.versions import GoBuild, GoTool
from placements.local.artifacts import Cancellation, SilentProgress, ensure_all
from placements.local.artifacts.gomodules import CHECKOUT
from placements.local.artifacts.store import locked

MODULE = "tests/cluster/go"
PACKAGES = ("containerd", "runc", "containernetworking-plugins", "iptables", "conntrack")
_LAYOUT = "1"
"""Changes when the folder of packages is made in another way."""


def kubernetes_version() -> str:
    """As the tool module pins it, such as ``1.34.2``."""
    pinned = re.search(r"k8s\.io/kubernetes v(\S+)", (CHECKOUT / MODULE / "go.mod").read_text("utf-8"))
    assert pinned, f"{MODULE}/go.mod requires no k8s.io/kubernetes"
    return pinned[1]


def node_tool() -> GoTool:
    """All components in one program, and the program that holds pods."""
    version = kubernetes_version()
    major, minor, _ = version.split(".")
    stamp = "k8s.io/component-base/version"
    flags = f"-X {stamp}.gitVersion=v{version} -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
    sources = hashlib.sha256()
    for path in sorted((CHECKOUT / MODULE).rglob("*.go")):
        sources.update(path.read_bytes())
    return GoTool(
        name="kubernetes-node",
        version=f"{version}-{sources.hexdigest()[:8]}",
        download_bytes=420_000_000,
        installed_bytes=150_000_000,
        scratch_bytes=5_300_000_000,
        builds=(
            GoBuild(module_directory=MODULE, package="./node", target="node", ldflags=flags),
            GoBuild(module_directory=MODULE, package="./pause", target="pause"),
        ),
    )


def node_programs(cache: Path) -> Path:
    """The folder with ``node`` and ``pause``, built first where it is not there. Raises LabError."""
    tool = node_tool()
    return ensure_all([tool], cache, SilentProgress())[tool.name]


def missing_need() -> str | None:
    """Why no cluster can run on this machine, or None."""
    if os.geteuid() != 0:
        return "needs root; this is an ordinary user"
    if platform.system() != "Linux" or shutil.which("apt-get") is None:
        return "no Debian packages on this machine"
    probe = [
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--mount",
        "--mount-proc",
        "mount",
        "-t",
        "tmpfs",
        "x",
        "/run",
    ]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "this machine gives out no network namespaces"
    return None


def packages(cache: Path) -> Path:
    """A folder with the files of :data:`PACKAGES` and of what they need and the machine does not have, to be
    laid over ``/usr``. Its signatures are verified by APT."""
    release = platform.freedesktop_os_release()
    text = " ".join((_LAYOUT, release["ID"], release.get("VERSION_ID", ""), platform.machine(), *PACKAGES))
    target = cache / "cluster-packages" / hashlib.sha256(text.encode()).hexdigest()[:12]
    with locked(target.with_suffix(".lock"), Cancellation(), lambda: None):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                _lay_out(_downloaded(Path(folder), PACKAGES), Path(folder) / "root")
                (Path(folder) / "root").rename(target)
    return target


def _downloaded(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Packages with what they need beyond what is installed. APT's own lists and cache are left alone."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    options = [
        *("-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"),
        *("-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=true", "-qq"),
    ]
    _run("apt-get", *options, "update")
    wanted = ("--download-only", "--reinstall", "--no-install-recommends", "--yes", "install", *names)
    _run("apt-get", *options, *wanted)
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _lay_out(archives: list[Path], root: Path) -> None:
    root.mkdir()
    for archive in archives:
        _run("dpkg-deb", "--extract", str(archive), str(root))
    # What a package outside of /usr has belongs there on a system whose /lib is a link.
    for name in ("bin", "sbin", "lib"):
        if (root / name).is_dir():
            shutil.copytree(root / name, root / "usr" / name, symlinks=True, dirs_exist_ok=True)
    for name in ("iptables", "iptables-save", "iptables-restore"):
        for family in (name, name.replace("ip", "ip6", 1)):
            link = root / "usr" / "sbin" / family
            link.unlink(missing_ok=True)
            link.symlink_to("xtables-nft-multi")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
