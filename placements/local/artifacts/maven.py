"""Files from Maven repositories, resolved by jgo and verified by their recorded SHA-256.

Repositories are jgo's: those of the user's jgo settings (a company mirror) before its default. A download
that broke off goes on where it stopped, in this run or the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

import requests
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import Artifact as JgoArtifact
from jgo.maven import MavenContext, PythonResolver
from jgo.util import http

from contracts.errors import LabError
from contracts.versions import MavenArtifact, MavenFile
from placements.local.artifacts.command import Cancellation
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.store import remove_tree, sha256_of

_READ_TIMEOUT_S = 60
_ATTEMPTS = 3
"""Attempts in a row that bring less than ``_PROGRESS_BYTES`` before a repository counts as unreachable."""
_PROGRESS_BYTES = 1 << 20
_BACKOFF_S = 2.0
_CHUNK_BYTES = 1 << 13
_PART = ".part"

logging.getLogger("jgo").setLevel(logging.ERROR)


class MavenSource(Protocol):
    """Fetches one file of a Maven component into a folder."""

    def fetch(
        self, artifact: MavenArtifact, file: MavenFile, folder: Path, on_bytes: Callable[[int], None]
    ) -> Path:
        """The path of the fetched file, not yet verified. ``folder`` may hold what an earlier call that
        broke off left there in files named ``*.part``; ``on_bytes`` counts that as well."""


def repositories(configured: Mapping[str, str]) -> dict[str, str]:
    """The user's repositories in their order, then jgo's default unless one named ``central`` replaces
    it."""
    return dict(configured) if "central" in configured else {**configured, "central": MAVEN_CENTRAL_URL}


def silent_repositories(timeout_s: float) -> dict[str, str]:
    """Those of the configured repositories that do not answer, by name, with the reason; any answer will
    do, since many show no index."""
    silent = {}
    for name, url in repositories(GlobalSettings.load().repositories).items():
        try:
            with closing(requests.head(url, timeout=timeout_s, allow_redirects=True)):
                continue
        except requests.RequestException as error:
            silent[name] = f"{type(error).__name__}: {error}"
    return silent


class JgoSource:
    """The source used outside tests."""

    def fetch(
        self, artifact: MavenArtifact, file: MavenFile, folder: Path, on_bytes: Callable[[int], None]
    ) -> Path:
        """Download into a private Maven layout below ``folder``.

        Raises:
            requests.RequestException: the repository can't be reached or the connection broke.
            RuntimeError: no repository serves the file.
        """
        context = MavenContext(
            resolver=_ResumingResolver(folder / f"{file.sha256}{_PART}", on_bytes),
            repo_cache=folder,
            remote_repos=repositories(GlobalSettings.load().repositories),
            timeout=_READ_TIMEOUT_S,
        )
        component = context.project(artifact.group, file.artifact).at_version(artifact.version)
        path = component.artifact(classifier=artifact.classifier, packaging=artifact.packaging).resolve()
        return Path(path)


class _ResumingResolver(PythonResolver):
    """jgo's resolver, whose downloads go on after the bytes that ``part`` holds (RFC 9110, §14)."""

    def __init__(self, part: Path, on_bytes: Callable[[int], None]) -> None:
        super().__init__()
        self._part = part
        self._on_bytes = on_bytes

    def download(self, artifact: JgoArtifact) -> Path:
        """As the base class; see there."""
        for repository in artifact.context.remote_repos.values():
            url = f"{repository}/{artifact.component.path_prefix.as_posix()}/{artifact.filename}"
            if self._fetch(url, artifact.context.timeout):
                target = artifact.cached_path
                assert target is not None  # noqa: S101 - the context has a cache
                target.parent.mkdir(parents=True, exist_ok=True)
                return self._part.replace(target)
        raise RuntimeError(f"no repository serves {artifact.filename}")

    def _fetch(self, url: str, timeout_s: float) -> bool:
        """Whether the repository served the file to its end; the content is verified by the caller."""
        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with closing(http.get(url, stream=True, timeout=timeout_s, headers=headers)) as response:
            if have and response.status_code == requests.codes.requested_range_not_satisfiable:
                self._part.unlink()
                return self._fetch(url, timeout_s)
            if response.status_code >= requests.codes.server_error:
                response.raise_for_status()
            resumes = response.status_code == requests.codes.partial_content
            if not resumes and response.status_code != requests.codes.ok:
                return False
            if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise requests.RequestException(f"{url} answered another range than was asked for")
            if resumes:
                self._on_bytes(have)
            with self._part.open("ab" if resumes else "wb") as file:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    self._on_bytes(len(chunk))
        return True


def download(
    artifact: MavenArtifact,
    file: MavenFile,
    folder: Path,
    progress: Progress,
    cancellation: Cancellation,
    source: MavenSource | None = None,
) -> Path:
    """The verified archive in ``folder``: the one already there when it is whole, else a new one.

    Raises:
        LabError: the repository can't be reached, does not serve the file, or serves other content
            twice in a row.
    """
    target = folder / f"{file.sha256}.{artifact.packaging}"
    if target.exists():
        progress.step(artifact.name, "verifying the archive fetched before")
        if target.stat().st_size == file.size_bytes and sha256_of(target) == file.sha256:
            return target
        target.unlink()
    private = folder / "partial"
    mismatched: list[str] = []
    unreachable: Exception | None = None
    futile = 0
    while futile < _ATTEMPTS:
        if futile:
            progress.step(artifact.name, f"fetching again ({futile + 1} of {_ATTEMPTS})")
            cancellation.sleep(_BACKOFF_S * futile)
        private.mkdir(parents=True, exist_ok=True)
        before = _arrived_bytes(private)
        try:
            digest = _fetch_once(artifact, file, private, target, progress, cancellation, source)
        except requests.RequestException as error:
            unreachable = error
            futile = 1 if _arrived_bytes(private) - before >= _PROGRESS_BYTES else futile + 1
            continue
        except RuntimeError as error:
            raise _not_served(artifact, file) from error
        finally:
            _keep_parts_only(private)
        if digest == file.sha256:
            return target
        if digest in mismatched:
            break
        mismatched.append(digest)
        futile += 1
    if mismatched:
        raise _mismatch(artifact, file, mismatched[-1])
    raise _unreachable(artifact) from unreachable


def _arrived_bytes(private: Path) -> int:
    return sum(path.stat().st_size for path in private.glob(f"*{_PART}"))


def _keep_parts_only(private: Path) -> None:
    """Removes all but the parts that a later fetch can go on from."""
    for path in private.iterdir():
        if path.is_dir():
            remove_tree(path)
        elif path.suffix != _PART:
            path.unlink()
    if not any(private.iterdir()):
        private.rmdir()


def _fetch_once(
    artifact: MavenArtifact,
    file: MavenFile,
    private: Path,
    target: Path,
    progress: Progress,
    cancellation: Cancellation,
    source: MavenSource | None,
) -> str:
    progress.start(artifact.name, file.size_bytes)

    def on_bytes(count_bytes: int) -> None:
        cancellation.check()
        progress.advance(artifact.name, count_bytes)

    path = (source or JgoSource()).fetch(artifact, file, private, on_bytes)
    progress.step(artifact.name, "verifying")
    digest = sha256_of(path)
    if digest == file.sha256:
        path.replace(target)
    return digest


def _coordinate(artifact: MavenArtifact, file: MavenFile) -> str:
    parts = [artifact.group, file.artifact, artifact.version, artifact.classifier, artifact.packaging]
    return ":".join(part for part in parts if part)


def _mismatch(artifact: MavenArtifact, file: MavenFile, digest: str) -> LabError:
    return LabError(
        f"{_coordinate(artifact, file)} was fetched twice and its content is not what was recorded",
        value=f"sha256 {digest}",
        permitted=f"sha256 {file.sha256}, {file.size_bytes} bytes; a mirror may serve a changed file",
        next_command="lab doctor",
    )


def _not_served(artifact: MavenArtifact, file: MavenFile) -> LabError:
    return LabError(
        f"no configured Maven repository serves {artifact.name}",
        value=_coordinate(artifact, file),
        permitted="a repository with it, in the [repositories] section of jgo's settings",
        next_command="lab doctor",
    )


def _unreachable(artifact: MavenArtifact) -> LabError:
    return LabError(
        f"the Maven repository could not be reached while fetching {artifact.name}",
        permitted="network access, HTTPS_PROXY, or a mirror in the [repositories] section of jgo's settings",
        next_command="lab up, which goes on where this stopped",
    )
