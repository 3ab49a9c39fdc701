"""``ensure``: an artifact's folder in the cache, fetched, verified and prepared when it is not there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.versions import (
    GO,
    JAVA_25,
    NODE,
    Artifact,
    GoTool,
    HostPlatform,
    MavenArtifact,
    NpmProject,
    PyPiLibraries,
    PyPiSource,
    PyPiTool,
    UrlDistribution,
)
from placements.local.artifacts.command import Cancellation, Cancelled
from placements.local.artifacts.distribution import download_distribution, required_sha512
from placements.local.artifacts.gomodules import build_tool, discard_build_caches, remove_discarded
from placements.local.artifacts.host import host_platform
from placements.local.artifacts.npm import build_project
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.pypi import download_source, install_libraries, install_tool, wheel_of
from placements.local.artifacts.recipes import file_of, fingerprint, home_of, prepare, unpack
from placements.local.artifacts.store import (
    Entry,
    install,
    locked,
    prepare_cache,
    problems,
    remove_tree,
    require_free_space,
)
from placements.local.artifacts.unpack import unpack_tar

if TYPE_CHECKING:
    from placements.local.artifacts.maven import MavenSource

WORKERS = 3
"""Downloads side by side: enough to fill a link without holding up the builds beside them."""

_BUILT = (GoTool, NpmProject)


@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How artifacts are fetched.

    Args:
        verify: compare the content of every installed file, not only its size, and fetch again what
            differs.
        refetch: fetch again even what is intact.
        platform: fetch for this platform; None is this machine.
        maven: where Maven files come from; None is jgo.
        cancellation: ends the fetch from another thread.
    """

    verify: bool = False
    refetch: bool = False
    platform: HostPlatform | None = None
    maven: MavenSource | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)


def entry_of(artifact: Artifact, cache: Path, platform: HostPlatform | None = None) -> Entry:
    """Where an artifact is or will be in the cache, without touching it."""
    return Entry(
        cache=cache.absolute(),
        name=artifact.name,
        version=artifact.version,
        fingerprint=fingerprint(artifact, platform or host_platform()),
    )


def missing(artifacts: Sequence[Artifact], cache: Path, *, verify: bool = False) -> list[Artifact]:
    """Those of ``artifacts`` that are not installed intact."""
    return [artifact for artifact in artifacts if problems(entry_of(artifact, cache), verify=verify)]


def ensure(
    artifact: Artifact, cache: Path, progress: Progress, *, options: FetchOptions | None = None
) -> Path:
    """The folder of an artifact, installed first when it is missing or damaged.

    Nothing is downloaded and no content read when it is intact. Safe to call from several threads and
    processes at once: one installs, the others wait for it.

    Raises:
        LabError: it can't be fetched, verified or prepared; PreflightError when this machine or its
            free space does not suffice.
    """
    options = options or FetchOptions()
    platform = options.platform or host_platform()
    entry = entry_of(artifact, cache, platform)
    if not options.refetch and not problems(entry, verify=options.verify):
        return entry.path
    prepare_cache(entry.cache)
    waiting = "waiting while another task or lab installs it"
    began = time.monotonic()
    with locked(entry.lock, options.cancellation, lambda: progress.step(artifact.name, waiting)):
        if not options.refetch and not problems(entry, verify=options.verify):
            return entry.path
        try:
            require_free_space(entry.cache, needed_bytes(artifact, platform), artifact.name)
            _Installation(artifact, entry, platform, progress, options).run()
        except BaseException as error:
            progress.failed(artifact.name, error)
            raise
    progress.done(artifact.name, time.monotonic() - began)
    return entry.path


def needed_bytes(artifact: Artifact, platform: HostPlatform) -> int:
    """Free space that installing an artifact takes at its peak."""
    if isinstance(artifact, MavenArtifact):
        fetched = file_of(artifact, platform).size_bytes + artifact.scratch_bytes
    elif isinstance(artifact, PyPiTool):
        fetched = wheel_of(artifact, platform).size_bytes
    elif isinstance(artifact, PyPiSource):
        fetched = artifact.size_bytes + artifact.scratch_bytes
    elif isinstance(artifact, PyPiLibraries):
        fetched = artifact.download_bytes
    elif isinstance(artifact, GoTool | NpmProject):
        fetched = artifact.download_bytes + artifact.scratch_bytes
    else:
        fetched = artifact.size_bytes or artifact.installed_bytes
    return fetched + artifact.installed_bytes


def peak_bytes(artifacts: Sequence[Artifact], platform: HostPlatform) -> int:
    """Free space that installing several takes: all results, the caches of all Go builds, which are kept
    until the last one, and what one worker each needs for the largest downloads."""
    results = sum(artifact.installed_bytes for artifact in artifacts)
    passing = [
        (isinstance(artifact, _BUILT), needed_bytes(artifact, platform) - artifact.installed_bytes)
        for artifact in artifacts
    ]
    downloads = sorted((size for is_built, size in passing if not is_built), reverse=True)[:WORKERS]
    return results + sum(size for is_built, size in passing if is_built) + sum(downloads)


class _Installation:
    """One artifact being installed, its lock held."""

    def __init__(
        self,
        artifact: Artifact,
        entry: Entry,
        platform: HostPlatform,
        progress: Progress,
        options: FetchOptions,
    ) -> None:
        self.artifact = artifact
        self.entry = entry
        self.platform = platform
        self.progress = progress
        self.options = options

    def run(self) -> None:
        if isinstance(self.artifact, UrlDistribution):
            required_sha512(self.artifact)
        install(self.entry, self._make)
        remove_tree(self.entry.downloads)

    def _make(self, target: Path) -> None:
        stop = self.options.cancellation
        if isinstance(self.artifact, MavenArtifact):
            from placements.local.artifacts.maven import download  # jgo takes a third of a second

            file = file_of(self.artifact, self.platform)
            folder = self.entry.downloads
            archive = download(self.artifact, file, folder, self.progress, stop, self.options.maven)
            self.progress.step(self.artifact.name, "unpacking")
            unpack(self.artifact, archive, target)
        elif isinstance(self.artifact, PyPiTool):
            install_tool(self.artifact, self.platform, target, self.progress, stop)
        elif isinstance(self.artifact, PyPiLibraries):
            install_libraries(self.artifact, target, self.progress, stop)
        elif isinstance(self.artifact, PyPiSource):
            archive = download_source(self.artifact, self.entry.downloads, self.progress, stop)
            self.progress.step(self.artifact.name, "unpacking")
            unpack_tar(archive, target, strip_top=True, keep=self.artifact.keep)
        elif isinstance(self.artifact, GoTool):
            go_root = home_of(GO, self._need(GO))
            build_tool(self.artifact, go_root, self.entry.cache, target, self.progress, stop)
        elif isinstance(self.artifact, NpmProject):
            node_home = home_of(NODE, self._need(NODE))
            build_project(self.artifact, node_home, self.entry.cache, target, self.progress, stop)
        else:
            archive = download_distribution(self.artifact, self.entry.downloads, self.progress, stop)
            unpack_tar(archive, target, strip_top=True)
        prepare(self.artifact, target, self._need, self.progress, stop)

    def _need(self, artifact: Artifact) -> Path:
        needed = FetchOptions(maven=self.options.maven, cancellation=self.options.cancellation)
        return ensure(artifact, self.entry.cache, self.progress, options=needed)


def ensure_all(
    artifacts: Sequence[Artifact],
    cache: Path,
    progress: Progress,
    *,
    workers: int = WORKERS,
    options: FetchOptions | None = None,
    keep_build_caches: bool = False,
) -> dict[str, Path]:
    """The folders of several artifacts by name, fetched side by side.

    Downloads share ``workers`` threads; Go programs and pages are built one after the other beside them,
    since each build uses all cores. The first failure stops the rest; what was installed stays. Go's caches
    are removed in the background after the last build unless ``keep_build_caches``.

    Raises:
        LabError: as :func:`ensure`; PreflightError before anything is fetched when all of it does not
            fit on the disk.
    """
    options = options or FetchOptions()
    platform = options.platform or host_platform()
    prepare_cache(cache)
    wanted = _with_needs(artifacts, cache, platform)
    absent = [artifact for artifact in wanted if problems(entry_of(artifact, cache, platform), verify=False)]
    _require_room(absent, cache, platform)
    building = any(isinstance(artifact, GoTool) for artifact in absent)
    with ThreadPoolExecutor(workers) as downloads, ThreadPoolExecutor(1) as builds:
        futures: dict[str, Future[Path]] = {}
        for artifact in wanted:
            pool = builds if isinstance(artifact, _BUILT) else downloads
            futures[artifact.name] = pool.submit(ensure, artifact, cache, progress, options=options)
        try:
            _finish(list(futures.values()))
        except BaseException:
            options.cancellation.cancel()
            for future in futures.values():
                future.cancel()
            raise
    if building and not keep_build_caches:
        discard_build_caches(cache, options.cancellation)
    remove_discarded(cache)
    return {artifact.name: futures[artifact.name].result() for artifact in artifacts}


def require_room(artifacts: Sequence[Artifact], cache: Path) -> None:
    """Raises PreflightError when installing all of these, and what building them needs, does not fit on
    the cache's disk."""
    platform = host_platform()
    needed = [
        artifact
        for artifact in _with_needs(artifacts, cache, platform)
        if artifact in artifacts or problems(entry_of(artifact, cache, platform), verify=False)
    ]
    disk = next(folder for folder in (cache.absolute(), *cache.absolute().parents) if folder.exists())
    _require_room(needed, disk, platform)


def _require_room(absent: Sequence[Artifact], cache: Path, platform: HostPlatform) -> None:
    require_free_space(cache, peak_bytes(absent, platform), ", ".join(artifact.name for artifact in absent))


def silent_repositories(timeout_s: float = 5.0) -> dict[str, str]:
    """Configured Maven repositories that do not answer, by name, with the reason."""
    from placements.local.artifacts.maven import silent_repositories as silent

    return silent(timeout_s)


def _finish(futures: list[Future[Path]]) -> None:
    """Wait for all; raise the first failure that is not merely a consequence of another."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    failures = [error for future in done if (error := future.exception()) is not None]
    real = [error for error in failures if not isinstance(error, Cancelled)]
    if failures:
        raise (real or failures)[0]


def _with_needs(artifacts: Sequence[Artifact], cache: Path, platform: HostPlatform) -> list[Artifact]:
    """The artifacts with what building the absent ones needs, runtimes first, each once."""
    absent = [
        artifact for artifact in artifacts if problems(entry_of(artifact, cache, platform), verify=False)
    ]
    needs: list[Artifact] = []
    if any(isinstance(artifact, GoTool) for artifact in absent):
        needs.append(GO)
    if any(isinstance(artifact, NpmProject) for artifact in absent):
        needs.append(NODE)
    if any(artifact.name == "keycloak" for artifact in absent):
        needs.append(JAVA_25)
    by_name = {artifact.name: artifact for artifact in (*needs, *artifacts)}
    runtimes = [artifact for artifact in by_name.values() if isinstance(artifact, PyPiTool)]
    others = [artifact for artifact in by_name.values() if not isinstance(artifact, PyPiTool)]
    return [*runtimes, *others]
