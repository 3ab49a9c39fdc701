"""What is built from a folder of the checkout with packages from npm, by the Node.js that comes from the
package index.

``npm ci`` installs exactly what the committed lock file lists and compares each package with its checksum
there; no script of a package is run. Registry, proxies and certificates are npm's own configuration. Packages
that were fetched once are kept in the artifact cache, so that changed pages are built without a network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from contracts.errors import LabError
from contracts.versions import NpmProject
from placements.local.artifacts.command import Cancellation, CommandFailed, repeated, run
from placements.local.artifacts.gomodules import CHECKOUT
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.store import DISK_FULL, disk_full, remove_tree

LOCK_FILE = "package-lock.json"
_PROJECT_FILES = ("package.json", LOCK_FILE, ".npmrc")
_PACKAGE = re.compile(r"npm http (?:fetch GET 200|cache) \S+\.tgz")
_UNREACHABLE = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ERR_SOCKET_TIMEOUT|EHOSTUNREACH|ENETUNREACH"
    r"|ENOTCACHED|EPROTO|CERT_|SELF_SIGNED|UNABLE_TO_VERIFY|socket hang up|network timeout"
)
_REFUSED = re.compile(r"npm (?:error|ERR!) (?:code )?(?:E40[134]|ETARGET|ENOVERSIONS)")
_OUT_OF_STEP = "can only install packages when your package.json and"
_PAUSE_S = 2.0
_KEPT_LINES = 40


def packages_cache(cache: Path) -> Path:
    """Where npm keeps what it fetched."""
    return cache / "npm"


def project_files(project: NpmProject, checkout: Path = CHECKOUT) -> Iterator[Path]:
    """The files of the checkout that decide what is installed and built, in a fixed order."""
    folder = checkout / project.directory
    for name in _PROJECT_FILES:
        yield folder / name
    for name in sorted(project.sources):
        path = folder / name
        yield from (sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path])


def sources_digest(project: NpmProject, checkout: Path = CHECKOUT) -> str:
    """SHA-256 over name and content of all :func:`project_files`.

    Raises:
        LabError: one is missing.
    """
    digest = hashlib.sha256()
    for path in project_files(project, checkout):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise LabError(
                f"{project.name} can't be built: a file of the checkout is missing",
                value=str(path),
                permitted="a whole checkout",
                next_command="git status",
            ) from None
        digest.update(path.relative_to(checkout).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def build_project(
    project: NpmProject,
    node_home: Path,
    cache: Path,
    target: Path,
    progress: Progress,
    cancellation: Cancellation,
) -> None:
    """Installs the packages and runs the build in a copy of the project's files beside ``target``, which the
    result becomes.

    Raises:
        LabError: a package can't be fetched or differs from the lock file, or the build fails.
    """
    progress.start(project.name, None)
    work = target.with_name(f"{target.name}.work")
    remove_tree(work)
    try:
        _copy(project, work)
        install = partial(_install, project, node_home, cache, work, progress, cancellation)
        try:
            repeated(install, transient=_may_pass, cancellation=cancellation, pause_s=_PAUSE_S)
            if project.command:
                _build(project, node_home, cache, work, progress, cancellation)
        except CommandFailed as error:
            raise _explained(project, cache, error) from error
        (work / project.target).rename(target)
    finally:
        remove_tree(work)


def npm(node_home: Path, *arguments: str) -> list[str | Path]:
    """The command line of the npm that belongs to this Node.js."""
    return [node_program(node_home), node_home / "lib/node_modules/npm/bin/npm-cli.js", *arguments]


def node_program(node_home: Path) -> Path:
    """The ``node`` of a Node.js home folder."""
    return node_home / "bin" / "node"


def environment(node_home: Path, cache: Path) -> dict[str, str]:
    """The user's environment with this Node.js first, and npm's cache in the lab's unless they chose one."""
    own = {key: value for key, value in os.environ.items() if key not in {"NODE_OPTIONS", "NODE_PATH"}}
    if not any(key.lower() == "npm_config_cache" for key in own):
        own["npm_config_cache"] = str(packages_cache(cache))
    path = own.get("PATH", os.defpath)
    return own | {"PATH": f"{node_home / 'bin'}{os.pathsep}{path}", "NO_COLOR": "1", "CI": "true"}


def _copy(project: NpmProject, work: Path) -> None:
    folder = CHECKOUT / project.directory
    for path in project_files(project, CHECKOUT):
        copied = work / path.relative_to(folder)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copied)


def _install(
    project: NpmProject,
    node_home: Path,
    cache: Path,
    work: Path,
    progress: Progress,
    cancellation: Cancellation,
) -> None:
    total = package_count(work / LOCK_FILE, development=project.development)
    fetched = 0
    said: list[str] = []

    def on_line(line: str) -> None:
        nonlocal fetched
        if line.startswith("npm error") and len(said) < _KEPT_LINES:
            said.append(line)
        if _PACKAGE.match(line):
            fetched += 1
            progress.step(project.name, f"fetching package {min(fetched, total)} of {total}")

    progress.step(project.name, "installing packages")
    arguments = npm(
        node_home, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
        "--loglevel", "http",
        *(() if project.development else ("--omit", "dev")),
    )  # fmt: skip
    env = environment(node_home, cache)
    try:
        run(arguments, cancellation=cancellation, cwd=work, env=env, on_line=on_line)
    except CommandFailed as error:
        # What is wrong stands before all the options that npm knows, not at the end.
        raise CommandFailed(error.program, error.code, "\n".join(said) or error.tail) from error


def package_count(lock_file: Path, *, development: bool) -> int:
    """How many packages a lock file lists that every system installs."""
    packages = json.loads(lock_file.read_text(encoding="utf-8"))["packages"]
    return sum(
        1
        for path, one in packages.items()
        if path and not one.get("optional") and (development or not one.get("dev"))
    )


def _build(
    project: NpmProject,
    node_home: Path,
    cache: Path,
    work: Path,
    progress: Progress,
    cancellation: Cancellation,
) -> None:
    progress.step(project.name, "building its pages")

    def on_line(line: str) -> None:
        if line.strip():
            progress.step(project.name, f"building its pages: {line.strip()[:60]}")

    arguments: list[str | Path] = [node_program(node_home), *project.command]
    run(arguments, cancellation=cancellation, cwd=work, env=environment(node_home, cache), on_line=on_line)


def _may_pass(error: CommandFailed) -> bool:
    return bool(_UNREACHABLE.search(error.tail)) and "ENOTCACHED" not in error.tail


def _explained(project: NpmProject, cache: Path, error: CommandFailed) -> LabError:
    tail = error.tail
    if "ENOSPC" in tail or DISK_FULL in tail:
        return disk_full(cache, project.name)
    if "EINTEGRITY" in tail:
        return LabError(
            f"an npm package of {project.name} differs from its recorded checksum",
            value=_line(tail, "EINTEGRITY"),
            permitted=f"packages as listed in {project.directory}/{LOCK_FILE}",
            next_command="lab doctor",
        )
    if _OUT_OF_STEP in tail:
        return LabError(
            f"{project.directory}/{LOCK_FILE} does not fit the package.json beside it",
            value=_line(tail, r"Missing:|Invalid:"),
            permitted="both of one commit",
            next_command="lab lock",
        )
    if _UNREACHABLE.search(tail):
        return LabError(
            f"the npm registry could not be reached while {project.name} was built",
            value=_line(tail, _UNREACHABLE.pattern),
            permitted="network access, a registry or proxy in npm's configuration, or an export of a cache "
            "that holds it (lab cache import)",
            next_command="lab up, which goes on where this stopped",
        )
    if _REFUSED.search(tail):
        return LabError(
            f"the npm registry does not serve a package of {project.name}",
            value=_line(tail, _REFUSED.pattern),
            permitted="a registry with the versions of the lock file, in npm's configuration",
            next_command="lab doctor",
        )
    return LabError(f"building {project.name} failed", value=tail, next_command="lab doctor")


def _line(text: str, pattern: str) -> str:
    """The first line that matches, else the last one."""
    lines = text.splitlines() or [""]
    return next((line.strip() for line in lines if re.search(pattern, line)), lines[-1].strip())
