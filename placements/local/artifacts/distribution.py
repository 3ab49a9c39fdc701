"""Archives from a project's own download host, verified by their recorded SHA-512."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx

from contracts.errors import LabError
from contracts.versions import UrlDistribution
from placements.local.artifacts.command import Cancellation
from placements.local.artifacts.progress import Progress

_CHUNK_BYTES = 1 << 18


def required_sha512(distribution: UrlDistribution) -> str:
    """The recorded checksum.

    Raises:
        LabError: none is recorded: nothing unverified is ever run.
    """
    if distribution.sha512 is None:
        raise LabError(
            f"{distribution.name} {distribution.version} has no recorded checksum, so it is not fetched",
            value=distribution.url,
            permitted="a checksum in contracts/versions.py, or the unpacked distribution in LAB_POLARIS_HOME",
            next_command="lab images lock",
        )
    return distribution.sha512


def reachable(distribution: UrlDistribution, *, timeout_s: float = 3.0) -> bool:
    """Whether the distribution's host answers for it now and its checksum is recorded."""
    if distribution.sha512 is None:
        return False
    try:
        answer = httpx.head(distribution.url, timeout=timeout_s, follow_redirects=True)
    except httpx.HTTPError:
        return False
    return answer.is_success


def download_distribution(
    distribution: UrlDistribution, folder: Path, progress: Progress, cancellation: Cancellation
) -> Path:
    """The verified archive in ``folder``.

    Raises:
        LabError: no checksum is recorded, the host can't be reached, or the content differs.
    """
    expected = required_sha512(distribution)
    target = folder / f"{expected[:64]}.tgz"
    if target.exists():
        progress.step(distribution.name, "verifying the archive fetched before")
        with target.open("rb") as stream:
            if hashlib.file_digest(stream, "sha512").hexdigest() == expected:
                return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial.tgz"
    digest = hashlib.sha512()
    progress.start(distribution.name, distribution.size_bytes)
    try:
        with (
            httpx.stream("GET", distribution.url, timeout=60.0, follow_redirects=True) as answer,
            partial.open("wb") as file,
        ):
            answer.raise_for_status()
            for chunk in answer.iter_bytes(_CHUNK_BYTES):
                cancellation.check()
                file.write(chunk)
                digest.update(chunk)
                progress.advance(distribution.name, len(chunk))
        if digest.hexdigest() != expected:
            raise LabError(
                f"{distribution.name} {distribution.version} has other content than was recorded",
                value=f"sha512 {digest.hexdigest()}",
                permitted=f"sha512 {expected}",
                next_command="lab doctor",
            )
        partial.replace(target)
    except httpx.HTTPError as error:
        raise LabError(
            f"{distribution.name} {distribution.version} could not be fetched: {error}",
            value=distribution.url,
            permitted="network access, HTTPS_PROXY, or the unpacked distribution in LAB_POLARIS_HOME",
            next_command="lab doctor",
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target
