"""The Pulumi engine: the installed one, else the official installer's, else built from Go modules.

An engine the lab once installed stays its choice, so that a later run neither asks the network nor
changes engines; only a fitting ``pulumi`` on PATH comes before it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx
from pulumi.automation import PulumiCommand

from contracts.errors import LabError
from contracts.versions import MINIMUM_PULUMI_VERSION, PULUMI, Artifact
from placements.local.artifacts import FetchOptions, Progress, ensure, entry_of, problems
from placements.local.artifacts.store import Entry, install, locked, prepare_cache

INSTALLER_URL = "https://get.pulumi.com/install.sh"
"""The script that pulumi's Automation API runs (https://www.pulumi.com/docs/iac/automation-api/)."""

_PROBE_TIMEOUT_S = 3.0
_VERSION_TIMEOUT_S = 20.0
_NAME = "pulumi"


class EngineSource(StrEnum):
    """Where an engine came from."""

    PATH = "path"
    INSTALLER = "installer"
    MODULES = "modules"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A usable engine.

    Args:
        program: the ``pulumi`` executable; the Python language host is found from its folder or PATH.
        root: what ``PulumiCommand(root=…)`` takes; None for an engine on PATH.
        version: of the executable, such as ``3.200.0``.
        source: where it came from.
    """

    program: Path
    root: Path | None
    version: str
    source: EngineSource

    def environment(
        self,
        *,
        python: Path,
        home: Path | None = None,
        plugin_folders: Sequence[Path] = (),
        base: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """What to set for this engine, on top of the process's environment.

        Args:
            python: the interpreter of the program and of plugins written in Python.
            home: PULUMI_HOME, where plugins and logins are kept; None leaves the user's.
            plugin_folders: folders of ``pulumi-resource-*`` executables, searched first.
            base: the environment whose PATH is extended; None is this process's.
        """
        path = (os.environ if base is None else base).get("PATH", os.defpath)
        folders = [str(self.program.parent), *(str(folder) for folder in plugin_folders), path]
        values = {
            "PATH": os.pathsep.join(folders),
            "PULUMI_PYTHON_CMD": str(python),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        if home is not None:
            values["PULUMI_HOME"] = str(home)
        if self.source is EngineSource.MODULES:
            # Where the installer can't be had, plugins can't either; asking costs 14 s of retries.
            values["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
        return values


def engine_artifacts(
    cache: Path, progress: Progress, *, use_installer: bool = True, options: FetchOptions | None = None
) -> list[Artifact]:
    """What is still to be fetched for the engine, to be fetched beside other artifacts: nothing, or the
    modules build. Tries the official installer when no engine is there yet."""
    options = options or FetchOptions()
    found = _present(cache) or (_from_installer(cache, progress, options) if use_installer else None)
    return [] if found else [PULUMI]


def pulumi_engine(
    cache: Path, progress: Progress, *, use_installer: bool = True, options: FetchOptions | None = None
) -> Engine:
    """The engine, installed first when there is none.

    Args:
        cache: the artifact cache.
        progress: hears what is being done.
        use_installer: whether the official installer may be tried. It is fetched over TLS from its
            vendor and, unlike everything else here, has no recorded checksum.
        options: for the build from modules.

    Raises:
        LabError: none can be had.
    """
    options = options or FetchOptions()
    found = _present(cache)
    if found is None and use_installer:
        found = _from_installer(cache, progress, options)
    if found is None:
        found = _built(ensure(PULUMI, cache, progress, options=options))
    return found


def engine_entries(cache: Path) -> tuple[Entry, Entry]:
    """The cache's entries for an engine, the better one first: either will do. Touches nothing."""
    return _official_entry(cache), entry_of(PULUMI, cache)


def carried_engine(cache: Path, progress: Progress) -> Entry:
    """An engine in the cache, for machines that have none of their own: one is installed there first
    even where this machine has one on PATH. Raises LabError when none can be had."""
    for entry in engine_entries(cache):
        if not problems(entry, verify=False):
            return entry
    official, built = engine_entries(cache)
    _from_installer(cache, progress, FetchOptions())
    if not problems(official, verify=False):
        return official
    ensure(PULUMI, cache, progress)
    return built


def _present(cache: Path) -> Engine | None:
    official = _official_entry(cache)
    if (engine := _on_path()) is not None:
        return engine
    if not problems(official, verify=False):
        return Engine(
            program=official.path / "bin" / _NAME,
            root=official.path,
            version=official.version,
            source=EngineSource.INSTALLER,
        )
    built = entry_of(PULUMI, cache)
    return None if problems(built, verify=False) else _built(built.path)


def _built(folder: Path) -> Engine:
    return Engine(
        program=folder / "bin" / _NAME, root=folder, version=PULUMI.version, source=EngineSource.MODULES
    )


def _on_path() -> Engine | None:
    """The installed engine, when it is new enough and has the Python language host."""
    program = shutil.which(_NAME)
    if program is None or shutil.which("pulumi-language-python", path=_search_path(program)) is None:
        return None
    version = _version_of(program)
    if version is None or version < MINIMUM_PULUMI_VERSION:
        return None
    return Engine(
        program=Path(program), root=None, version=".".join(map(str, version)), source=EngineSource.PATH
    )


def _search_path(program: str) -> str:
    """Where the engine looks for its language host: its own folder, then PATH."""
    own = [str(Path(program).parent), str(Path(program).resolve().parent)]
    return os.pathsep.join([*own, os.environ.get("PATH", os.defpath)])


def _version_of(program: str) -> tuple[int, int, int] | None:
    try:
        answer = subprocess.run(
            [program, "version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=True,
            env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer.stdout.strip())
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _official_entry(cache: Path) -> Entry:
    """The engine of the release that the installed Python SDK belongs to."""
    version = importlib.metadata.version("pulumi")
    fingerprint = hashlib.sha256(f"{INSTALLER_URL} {version}".encode()).hexdigest()
    return Entry(cache=cache.absolute(), name="pulumi-official", version=version, fingerprint=fingerprint)


def installer_reachable() -> bool:
    """Whether the vendor's host answers within a few seconds."""
    try:
        return httpx.head(INSTALLER_URL, timeout=_PROBE_TIMEOUT_S, follow_redirects=True).is_success
    except httpx.HTTPError:
        return False


def _from_installer(cache: Path, progress: Progress, options: FetchOptions) -> Engine | None:
    """The official engine, or None, said in one step, when it can't be had."""
    progress.step(_NAME, "asking for the official installer")
    if not installer_reachable():
        progress.step(_NAME, "the official installer can't be reached")
        return None
    entry = _official_entry(cache)
    prepare_cache(entry.cache)
    try:
        waiting = "waiting for its installation"
        with locked(entry.lock, options.cancellation, lambda: progress.step(_NAME, waiting)):
            if problems(entry, verify=options.verify):
                progress.step(_NAME, f"installing the official engine {entry.version}")
                install(entry, _run_installer)
    except (LabError, OSError, subprocess.SubprocessError) as error:
        progress.step(_NAME, f"the official installer failed: {type(error).__name__}")
        return None
    return _present(cache)


def _run_installer(target: Path) -> None:
    PulumiCommand.install(root=str(target))
    if not (target / "bin" / "pulumi-language-python").exists():
        raise LabError("the official installer left no Python language host", value=str(target))
