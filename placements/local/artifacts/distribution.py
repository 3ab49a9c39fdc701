"""Archives from a project's own download host, verified by their recorded SHA-512."""

from __future__ import annotations

import hashlib
from pathlib import Path

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
    import httpx  # a tenth of a second that most commands need not spend

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
        if _sha512(target) == expected:
            return target
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "partial.tgz"
    _fetch(distribution, partial, progress, cancellation)
    found = _sha512(partial)
    if found != expected:
        partial.unlink()
        raise LabError(
            f"{distribution.name} {distribution.version} has other content than was recorded",
            value=f"sha512 {found}",
            permitted=f"sha512 {expected}",
            next_command="lab doctor",
        )
    return partial.replace(target)


def _sha512(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha512").hexdigest()


def _fetch(
    distribution: UrlDistribution, partial: Path, progress: Progress, cancellation: Cancellation
) -> None:
    """Writes what the first host that has it serves, going on after what an earlier download left."""
    import httpx

    errors: list[httpx.HTTPError] = []
    for url in distribution.urls:
        progress.start(distribution.name, distribution.size_bytes)
        have = partial.stat().st_size if partial.exists() else 0
        # As it is published: some hosts call a .tgz compressed on the way, which would be undone here.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            with httpx.stream("GET", url, timeout=60.0, follow_redirects=True, headers=headers) as answer:
                if have and answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # all of it is there
                answer.raise_for_status()
                resumes = answer.status_code == httpx.codes.PARTIAL_CONTENT
                if resumes:
                    progress.advance(distribution.name, have)
                with partial.open("ab" if resumes else "wb") as file:
                    for chunk in answer.iter_raw(_CHUNK_BYTES):
                        cancellation.check()
                        file.write(chunk)
                        progress.advance(distribution.name, len(chunk))
            return
        except httpx.HTTPError as error:
            errors.append(error)
    raise LabError(
        f"{distribution.name} {distribution.version} could not be fetched: {errors[0]}",
        value=", ".join(distribution.urls),
        permitted="network access, HTTPS_PROXY, or the unpacked distribution in LAB_POLARIS_HOME",
        next_command="lab up, which goes on where this stopped",
    ) from errors[-1]
