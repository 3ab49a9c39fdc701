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
    """Whether one of the distribution's hosts answers for it now and its checksum is recorded."""
    return distribution.sha512 is not None and any(
        _answers(url, timeout_s=timeout_s) for url in distribution.urls
    )


def _answers(url: str, *, timeout_s: float) -> bool:
    try:
        return httpx.head(url, timeout=timeout_s, follow_redirects=True).is_success
    except httpx.HTTPError:
        return False


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
    try:
        found = _fetch(distribution, partial, progress, cancellation)
        if found != expected:
            raise LabError(
                f"{distribution.name} {distribution.version} has other content than was recorded",
                value=f"sha512 {found}",
                permitted=f"sha512 {expected}",
                next_command="lab doctor",
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _fetch(
    distribution: UrlDistribution, target: Path, progress: Progress, cancellation: Cancellation
) -> str:
    """Writes what the first host that has it serves; returns its SHA-512."""
    errors: list[httpx.HTTPError] = []
    for url in distribution.urls:
        progress.start(distribution.name, distribution.size_bytes)
        digest = hashlib.sha512()
        try:
            # As it is published: some hosts call a .tgz compressed on the way, which would be undone here.
            headers = {"Accept-Encoding": "identity"}
            with httpx.stream("GET", url, timeout=60.0, follow_redirects=True, headers=headers) as answer:
                answer.raise_for_status()
                with target.open("wb") as file:
                    for chunk in answer.iter_raw(_CHUNK_BYTES):
                        cancellation.check()
                        file.write(chunk)
                        digest.update(chunk)
                        progress.advance(distribution.name, len(chunk))
            return digest.hexdigest()
        except httpx.HTTPError as error:
            errors.append(error)
    raise LabError(
        f"{distribution.name} {distribution.version} could not be fetched: {errors[0]}",
        value=", ".join(distribution.urls),
        permitted="network access, HTTPS_PROXY, or the unpacked distribution in LAB_POLARIS_HOME",
        next_command="lab doctor",
    ) from errors[-1]
