"""What the lab's images are made on, for machines without a registry: layers with Python, out of the packages
of the machine's own Debian, and with the libraries of a requirements file, out of the package index."""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from placements.kubernetes.layout import ROOT as IMAGE_ROOT
from placements.local.artifacts import Cancellation
from placements.local.artifacts.store import locked
from tests.cluster.images import write_layer
from tests.cluster.software import downloaded

PACKAGES = ("base-files", "libstdc++6", "netbase", "python3", "tzdata")
_NOT_RUN = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian")
_MERGED = ("bin", "lib", "lib64", "sbin")
_EMPTY = (
    "tmp",
    "proc",
    "sys",
    "dev",
    "run",
    "etc/lakehouse-lab",
    "var/lib/lakehouse-lab",
    "var/cache/lakehouse-lab",
)
_GLIBC = (35, 34, 31, 28, 27, 26, 24, 17, 12, 5)
"""Minor versions of the C library, that of Debian 12 and older, for which wheels are taken."""
_LAYOUT = "1"
"""Changes when a layer is made in another way."""


def system_layer(cache: Path) -> Path:
    """A root file system with Python."""
    release = platform.freedesktop_os_release()
    key = (release["ID"], release.get("VERSION_ID", ""), *PACKAGES)
    return _kept(cache, "system", key, _make_system)


def python_layer(cache: Path, requirements: Sequence[Path]) -> Path:
    """A virtual environment of the system layer's Python, as the images' Dockerfile makes one: with the
    packages of ``requirements``, or with none."""
    system = system_layer(cache)
    key = (system.name, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in requirements))
    version = _python_version(system)
    return _kept(cache, "python", key, lambda folder: _make_environment(folder, version, requirements))


def _kept(cache: Path, name: str, key: Sequence[str], make: Callable[[Path], dict[str, Path]]) -> Path:
    """The layer of that name and key, made where it is missing. ``make`` fills a folder and says what of it
    the layer holds."""
    text = " ".join((_LAYOUT, platform.machine(), *key))
    target = cache / "cluster-layers" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.tar"
    with locked(target.with_suffix(".lock"), Cancellation(), lambda: None):
        if not target.is_file():
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                unfinished = Path(folder) / "layer.tar"
                write_layer(make(Path(folder)), unfinished)
                unfinished.rename(target)
    return target


def _make_system(folder: Path) -> dict[str, Path]:
    root = folder / "root"
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for archive in downloaded(folder, PACKAGES, all_they_need=True):
        pack = ["dpkg-deb", "--fsys-tarfile", str(archive)]
        unpack = ["tar", "--extract", "--keep-directory-symlink", f"--directory={root}"]
        with subprocess.Popen(pack, stdout=subprocess.PIPE) as packed:
            subprocess.run(unpack, stdin=packed.stdout, check=True)
        assert packed.returncode == 0, archive.name
    for name in _NOT_RUN:
        subprocess.run(["rm", "-rf", str(root / name)], check=True)
    for name in _EMPTY:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    return {name.name: name for name in sorted(root.iterdir())}


def _python_version(system: Path) -> str:
    """Such as ``3.11``: what the link ``python3`` leads to."""
    with tarfile.open(system) as tar:
        link = tar.getmember("usr/bin/python3").linkname
    found = re.fullmatch(r"python(3\.\d+)", link)
    assert found, link
    return found[1]


def _make_environment(folder: Path, version: str, requirements: Sequence[Path]) -> dict[str, Path]:
    home = folder / "python"
    packages = home / "lib" / f"python{version}" / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    for name in ("python", "python3"):
        (home / "bin" / name).symlink_to("/usr/bin/python3")
    settings = {"home": "/usr/bin", "include-system-site-packages": "false", "version": version}
    text = "".join(f"{name} = {value}\n" for name, value in settings.items())
    (home / "pyvenv.cfg").write_text(text, encoding="utf-8")
    if requirements:
        tag = f"cp{version.replace('.', '')}"
        machine = platform.machine()
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC] + [f"manylinux2014_{machine}"]
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *(
                "--no-deps",
                "--require-hashes",
                "--only-binary=:all:",
                "--no-compile",
                "--target",
                str(packages),
            ),
            *("--python-version", version, "--implementation", "cp"),
            *(word for abi in (tag, "abi3", "none") for word in ("--abi", abi)),
            *(word for name in platforms for word in ("--platform", name)),
            *(word for path in requirements for word in ("-r", str(path))),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        if version == ".".join(platform.python_version_tuple()[:2]):
            # A file system that is read-only would have each start compile everything again.
            compiled = [
                sys.executable,
                "-m",
                "compileall",
                "-q",
                "-j",
                "0",
                "--invalidation-mode=unchecked-hash",
            ]
            inside = ["-s", str(packages), "-p", str(IMAGE_ROOT / "python" / packages.relative_to(home))]
            subprocess.run([*compiled, *inside, str(packages)], check=False, capture_output=True)
    return {str((IMAGE_ROOT / "python").relative_to("/")): home}
