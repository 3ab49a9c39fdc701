"""Programs built from pinned Go modules, with the Go that comes from the package index.

Each program has a committed tool module (https://go.dev/doc/modules/managing-dependencies#tools);
``-mod=readonly`` makes the build fail rather than accept a module that its ``go.sum`` does not list.
The user's GOPROXY, GOFLAGS, GOSUMDB, GOPRIVATE and proxies are respected; module and build caches are
in the artifact cache unless GOMODCACHE and GOCACHE say otherwise.
"""

from __future__ import annotations

import os
import re
import threading
import uuid
from functools import partial
from pathlib import Path

from contracts.errors import LabError
from contracts.versions import GoBuild, GoTool
from placements.local.artifacts.command import Cancellation, CommandFailed, repeated, run
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.store import DISK_FULL, disk_full, locked, remove_tree
from placements.local.artifacts.unpack import copy_executable

CHECKOUT = Path(__file__).resolve().parents[3]
"""The checkout, which ``GoBuild.module_directory`` is relative to."""

_DISCARDED = ".discarded-"
_UNREACHABLE = re.compile(
    r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake|proxyconnect|unexpected EOF"
)
_PAUSE_S = 2.0
_REFUSED = re.compile(r"40[34] |410 |not available|unknown revision")


def build_caches(cache: Path) -> Path:
    """The folder of module and build caches."""
    return cache / "go-caches"


def build_tool(
    tool: GoTool,
    go_root: Path,
    cache: Path,
    target: Path,
    progress: Progress,
    cancellation: Cancellation,
) -> None:
    """Build a tool's programs into ``target``. One build runs at a time on a cache: each uses all cores.

    Raises:
        LabError: a module can't be fetched, differs from its ``go.sum``, or does not compile.
    """
    progress.start(tool.name, None)
    lock = build_caches(cache) / "build.lock"
    waiting = "waiting for another Go build to end"
    with locked(lock, cancellation, lambda: progress.step(tool.name, waiting)):
        for build in tool.builds:
            # Modules that have arrived are kept, so that each attempt goes on where the last one broke off.
            work = partial(_build, tool, build, go_root, cache, target, progress, cancellation)
            try:
                repeated(work, transient=_may_pass, cancellation=cancellation, pause_s=_PAUSE_S)
            except CommandFailed as error:
                raise _explained(tool, build, cache, error) from error


def _may_pass(error: CommandFailed) -> bool:
    return bool(_UNREACHABLE.search(error.tail))


def _build(
    tool: GoTool,
    build: GoBuild,
    go_root: Path,
    cache: Path,
    target: Path,
    progress: Progress,
    cancellation: Cancellation,
) -> None:
    directory = CHECKOUT / build.module_directory
    env = environment(go_root, cache)
    go = go_root / "bin" / "go"
    program = Path(build.target).name
    packages = _packages(tool, build, go, directory, env, progress, cancellation)
    compiled = 0

    def on_line(line: str) -> None:
        nonlocal compiled
        if not line.startswith("go: "):
            compiled += 1
            progress.step(tool.name, f"compiling {program}: {min(compiled, packages)} of {packages} packages")

    # Debugging tables would be stripped by the linker all the same; not making them saves an eighth.
    arguments: list[str | Path] = [
        go, "build", "-v", "-mod=readonly", "-modcacherw", "-trimpath", "-buildvcs=false",
        "-gcflags=all=-dwarf=false",
        "-ldflags", f"-s -w {build.ldflags}".strip(), "-o", target / build.target, build.package,
    ]  # fmt: skip
    run(arguments, cancellation=cancellation, cwd=directory, env=env, on_line=on_line)
    for file in build.module_files:
        source = _module_directory(file.module, go, directory, env, cancellation) / file.path
        copy_executable(source, target / file.target)


def _packages(
    tool: GoTool,
    build: GoBuild,
    go: Path,
    directory: Path,
    env: dict[str, str],
    progress: Progress,
    cancellation: Cancellation,
) -> int:
    """Fetch the modules of a build; the number of packages it is made of."""
    packages = modules = 0

    def on_line(line: str) -> None:
        nonlocal packages, modules
        if line.startswith("go: downloading"):
            modules += 1
            progress.step(tool.name, f"fetching module {modules} of {Path(build.target).name}")
        elif not line.startswith("go: "):
            packages += 1

    arguments: list[str | Path] = [go, "list", "-mod=readonly", "-modcacherw", "-deps", build.package]
    run(arguments, cancellation=cancellation, cwd=directory, env=env, on_line=on_line)
    return packages


def _module_directory(
    module: str, go: Path, directory: Path, env: dict[str, str], cancellation: Cancellation
) -> Path:
    lines: list[str] = []
    arguments: list[str | Path] = [go, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
    run(arguments, cancellation=cancellation, cwd=directory, env=env, on_line=lines.append)
    return Path(lines[-1])


def environment(go_root: Path, cache: Path) -> dict[str, str]:
    """The environment of the ``go`` command: the user's, for this machine, without a C compiler."""
    own = {key: value for key, value in os.environ.items() if key not in {"GOOS", "GOARCH", "GOROOT"}}
    own.setdefault("GOMODCACHE", str(build_caches(cache) / "mod"))
    own.setdefault("GOCACHE", str(build_caches(cache) / "build"))
    # The system's folder for temporary files may be a small memory disk.
    own.setdefault("GOTMPDIR", str(build_caches(cache)))
    return own | {
        "GOROOT": str(go_root),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def discard_build_caches(cache: Path, cancellation: Cancellation) -> None:
    """Put the lab's own module and build caches aside: several gigabytes in 200,000 files that only a new
    version needs. :func:`remove_discarded` frees the space."""
    folder = build_caches(cache)
    with locked(folder / "build.lock", cancellation, lambda: None):
        for name in ("mod", "build"):
            if (folder / name).exists():
                (folder / name).rename(folder / f"{_DISCARDED}{uuid.uuid4().hex[:8]}")


def remove_discarded(cache: Path) -> threading.Thread:
    """Remove discarded caches beside other work, also those that an ended process left. What the end of
    this process interrupts is left to the next call; join the thread to wait for it."""
    found = list(build_caches(cache).glob(f"{_DISCARDED}*"))

    def remove() -> None:
        for path in found:
            remove_tree(path)

    thread = threading.Thread(target=remove, name="removal of Go build caches", daemon=True)
    thread.start()
    return thread


def _explained(tool: GoTool, build: GoBuild, cache: Path, error: CommandFailed) -> LabError:
    if DISK_FULL in error.tail:
        return disk_full(cache, tool.name)
    if "SECURITY ERROR" in error.tail or "checksum mismatch" in error.tail:
        return LabError(
            f"a Go module of {tool.name} differs from its recorded checksum",
            value=error.tail,
            permitted=f"modules as listed in {build.module_directory}/go.sum",
            next_command="lab doctor",
        )
    if _UNREACHABLE.search(error.tail):
        return LabError(
            f"the Go module proxy could not be reached while fetching {tool.name}",
            value=error.tail.splitlines()[-1],
            permitted="network access, HTTPS_PROXY, or a mirror in GOPROXY",
            next_command="lab up, which goes on where this stopped",
        )
    if _REFUSED.search(error.tail):
        return LabError(
            f"the Go module proxy does not serve a module of {tool.name}",
            value=error.tail,
            permitted="a proxy in GOPROXY that serves the pinned versions",
            next_command="lab doctor",
        )
    return LabError(f"building {tool.name} failed", value=error.tail, next_command="lab doctor")
