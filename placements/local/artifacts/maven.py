"""Files from Maven repositories, resolved by jgo and verified by their recorded SHA-256.

Repositories are jgo's: those of the user's jgo settings (a company mirror) before its default.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import requests
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, PythonResolver

from contracts.errors import LabError
from contracts.versions import MavenArtifact, MavenFile
from placements.local.artifacts.command import Cancellation
from placements.local.artifacts.progress import Progress
from placements.local.artifacts.store import remove_tree, sha256_of

_READ_TIMEOUT_S = 60
_ATTEMPTS = 3
_BACKOFF_S = 2.0

logging.getLogger("jgo").setLevel(logging.ERROR)


class MavenSource(Protocol):
    """Fetches one file of a Maven component into a folder."""

    def fetch(
        self, artifact: MavenArtifact, file: MavenFile, folder: Path, on_bytes: Callable[[int], None]
    ) -> Path:
        """The path of the fetched file, not yet verified."""


def repositories(configured: Mapping[str, str]) -> dict[str, str]:
    """The user's repositories in their order, then jgo's default unless one named ``central`` replaces
    it."""
    return dict(configured) if "central" in configured else {**configured, "central": MAVEN_CENTRAL_URL}


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

        @contextmanager
        def count(_: str, __: int) -> Iterator[Callable[[int], None]]:
            yield on_bytes

        context = MavenContext(
            resolver=PythonResolver(progress_callback=count),
            repo_cache=folder,
            remote_repos=repositories(GlobalSettings.load().repositories),
            timeout=_READ_TIMEOUT_S,
        )
        component = context.project(artifact.group, file.artifact).at_version(artifact.version)
        path = component.artifact(classifier=artifact.classifier, packaging=artifact.packaging).resolve()
        return Path(path)


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
    mismatched: list[str] = []
    unreachable: Exception | None = None
    for attempt in range(_ATTEMPTS):
        if attempt:
            progress.step(artifact.name, f"fetching again ({attempt + 1} of {_ATTEMPTS})")
            cancellation.sleep(_BACKOFF_S * attempt)
        private = folder / "partial"
        remove_tree(private)
        private.mkdir(parents=True)
        try:
            digest = _fetch_once(artifact, file, private, target, progress, cancellation, source)
        except requests.RequestException as error:
            unreachable = error
            continue
        except RuntimeError as error:
            raise _not_served(artifact, file) from error
        finally:
            remove_tree(private)
        if digest == file.sha256:
            return target
        if digest in mismatched:
            break
        mismatched.append(digest)
    if mismatched:
        raise _mismatch(artifact, file, mismatched[-1])
    raise _unreachable(artifact) from unreachable


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
        next_command="lab doctor",
    )
