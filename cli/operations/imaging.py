"""Images of the lab: what each holds, and the digest it has in a registry
(https://github.com/opencontainers/distribution-spec)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.registry import check_tag, digest_of, place_of
from cli.registry import registry as open_registry
from contracts.errors import LabError
from contracts.versions import IMAGES


@dataclass(frozen=True, kw_only=True)
class ImageRow:
    """One image. ``reference`` is by digest, None where none is known."""

    name: str
    artifacts: tuple[str, ...]
    source: tuple[str, ...]
    reference: str | None


@dataclass(frozen=True, kw_only=True)
class LockedImages:
    """The file that was written and what stands in it."""

    file: str
    references: Mapping[str, str]


def list_images(file: Path | None = None) -> tuple[ImageRow, ...]:
    """All images, with their references of ``file`` where one is given. Raises UsageError when it is not
    usable."""
    from placements.kubernetes.images import image_references

    references = image_references(file)
    return tuple(
        ImageRow(
            name=image.name,
            artifacts=image.artifacts,
            source=image.source,
            reference=references.get(image.name),
        )
        for image in IMAGES.values()
    )


def lock_image_digests(
    registry: str,
    tag: str,
    file: Path,
    say: Callable[[str], None],
    *,
    environ: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> LockedImages:
    """Reads the digest that ``tag`` has now of every image below ``registry`` (``HOST[:PORT]/PREFIX``; with
    ``http://`` for one without TLS), and writes the references to ``file``. A digest is computed from the
    manifest, not taken from the answer's header. Credentials are those of ``docker login`` for the host.

    Raises:
        UsageError: registry or tag is not understood.
        LabError: an image can't be read; nothing was written.
    """
    place = place_of(registry)
    check_tag(tag)
    known = open_registry(place, os.environ if environ is None else environ, transport)
    references = {}
    with known.client:
        for name in IMAGES:
            repository = place.repository(name)
            say(f"reading {repository}:{tag}")
            content, _ = known.manifest(repository, tag)
            references[name] = f"{place.host}/{repository}@{digest_of(content)}"
    write_references(file, references)
    return LockedImages(file=str(file), references=references)


def write_references(file: Path, references: Mapping[str, str]) -> None:
    """Writes the file that the setting ``imagesFile`` names, in one step. Raises LabError when it can't."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(references, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise LabError(f"the references can't be written: {error}", value=str(file)) from error
