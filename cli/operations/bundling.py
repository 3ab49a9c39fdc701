"""All images of labs on a cluster as one file, and back into a registry, for a cluster without a network.

The file is an OCI image layout, which other tools read too
(https://github.com/opencontainers/image-spec/blob/main/image-layout.md). Nothing in it is changed on the way:
what is deployed by digest is what was built.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cli.operations.imaging import write_references
from cli.registry import INDEXES, Registry, check_tag, digest_of, place_of, registry, split_reference
from contracts.errors import LabError, UsageError
from contracts.versions import IMAGES

_LAYOUT = "oci-layout"
_INDEX = "index.json"
_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_LAYOUT_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK_BYTES = 1 << 20
_BIGGEST_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class BundledImages:
    """A written bundle: digests by the image's name, and how many blobs they share."""

    file: str
    size_bytes: int
    images: Mapping[str, str]
    blobs: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LoadedImages:
    """The references as they are now, the file they were written to, and how many blobs were there before."""

    file: str
    references: Mapping[str, str]
    blobs: int
    present: int


def bundle_images(
    file: Path,
    references_file: Path,
    say: Callable[[str], None],
    *,
    replace: bool = False,
    environ: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> BundledImages:
    """Fetches every image that ``references_file`` names by digest, each blob once and compared with its
    digest, and writes them to ``file``, which appears when it is whole.

    Raises:
        UsageError: ``file`` is there already and ``replace`` is not set, or the references are not usable.
        PreflightError: an image has no reference.
        LabError: a registry does not answer, refuses or lies, or the file can't be written.
    """
    from placements.kubernetes.images import image_references, require_images

    began = time.monotonic()
    if file.exists() and not replace:
        raise UsageError(
            "the file is there already",
            value=str(file),
            permitted="another name, or --replace",
            next_command=f"lab images bundle {file} --file {references_file} --replace",
        )
    references = image_references(references_file)
    require_images(IMAGES, references)
    env = os.environ if environ is None else environ
    with _beside(file) as folder:
        entries: list[dict[str, Any]] = []
        sizes: dict[str, int] = {}
        for name in sorted(references):
            say(f"fetching {references[name]}")
            place, repository, digest = split_reference(references[name])
            source = registry(place, env, transport)
            with source.client:
                top, media_type = source.manifest(repository, digest)
                _fetch(source, repository, top, media_type, folder, sizes)
            entries.append(
                {
                    "mediaType": media_type,
                    "digest": digest,
                    "size": len(top),
                    "annotations": {_NAME: name, _CONTAINERD_NAME: references[name]},
                }
            )
        say(f"writing {file}")
        _write(file, folder, entries, sizes)
    return BundledImages(
        file=str(file),
        size_bytes=file.stat().st_size,
        images={str(entry["annotations"][_NAME]): str(entry["digest"]) for entry in entries},
        blobs=len(sizes),
        seconds=time.monotonic() - began,
    )


def load_images(
    file: Path,
    where: str,
    tag: str,
    references_file: Path,
    say: Callable[[str], None],
    *,
    environ: Mapping[str, str] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> LoadedImages:
    """Puts every image of a bundle into the registry ``where`` (``HOST[:PORT][/PREFIX]``) under ``tag``, what
    is there already left out, and writes their references by digest to ``references_file``.

    Raises:
        UsageError: the registry or the tag is not understood.
        LabError: the file is no whole bundle (nothing was put anywhere), or the registry does not answer or
            refuses.
    """
    target = registry(place_of(where), os.environ if environ is None else environ, transport)
    check_tag(tag)
    references, present = {}, 0
    with _opened(file) as bundle, target.client, tempfile.TemporaryDirectory(prefix="lab-images-") as folder:
        say(f"checking {file}")
        images = bundle.checked()
        blobs: set[str] = set()
        for name, (digest, media_type) in images.items():
            repository = target.place.repository(name)
            say(f"putting {repository}:{tag}")
            for blob in bundle.blobs(digest, media_type):
                if not target.has(repository, blob):
                    target.upload(repository, blob, bundle.extract(blob, Path(folder) / "blob"))
                elif blob not in blobs:
                    present += 1
                blobs.add(blob)
            for child, content, kind in bundle.manifests(digest, media_type):
                target.put(repository, tag if child == digest else child, content, kind)
            references[name] = f"{target.place.host}/{repository}@{digest}"
    write_references(references_file, references)
    return LoadedImages(file=str(references_file), references=references, blobs=len(blobs), present=present)


def _fetch(
    source: Registry,
    repository: str,
    content: bytes,
    media_type: str,
    folder: Path,
    sizes: dict[str, int],
) -> None:
    """A manifest or index and all below it, into files named by their digests."""
    digest = digest_of(content)
    if digest in sizes:
        return
    for child in _children(content, media_type):
        if media_type in INDEXES:
            below, kind = source.manifest(repository, child)
            _fetch(source, repository, below, kind, folder, sizes)
        elif child not in sizes:
            sizes[child] = source.fetch(repository, child, folder / _hex(child))
    (folder / _hex(digest)).write_bytes(content)
    sizes[digest] = len(content)


def _children(content: bytes, media_type: str) -> list[str]:
    """Digests of what a manifest or index is made of. Raises LabError for one that is neither."""
    try:
        document = json.loads(content)
        if media_type in INDEXES:
            return [str(one["digest"]) for one in document["manifests"]]
        return [str(one["digest"]) for one in (document["config"], *document["layers"])]
    except (ValueError, KeyError, TypeError) as error:
        raise LabError("a manifest is not understood", value=media_type) from error


def _hex(digest: str) -> str:
    """The name of a blob's file. Raises LabError for another algorithm, or something that is no digest."""
    algorithm, _, value = digest.partition(":")
    if algorithm != "sha256" or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise LabError("a digest is not understood", value=digest, permitted="sha256:…")
    return value


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A folder on the same disk. Raises LabError when it can't be written to."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as name:
            yield Path(name)
    except OSError as error:
        raise LabError(f"the bundle can't be written: {error}", value=str(file)) from error


def _write(file: Path, folder: Path, entries: Sequence[Mapping[str, Any]], sizes: Mapping[str, int]) -> None:
    """The same images are the same file."""
    whole = folder / "bundle"
    index = {"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": list(entries)}
    with tarfile.open(whole, "w") as tar:
        for name, content in ((_LAYOUT, _LAYOUT_CONTENT), (_INDEX, _encoded(index))):
            tar.addfile(_member(name, len(content)), io.BytesIO(content))
        for digest in sorted(sizes):
            with (folder / _hex(digest)).open("rb") as blob:
                tar.addfile(_member(_blob(digest), sizes[digest]), blob)
    whole.replace(file)


def _encoded(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _blob(digest: str) -> str:
    return f"blobs/sha256/{_hex(digest)}"


def _member(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


@contextmanager
def _opened(file: Path) -> Iterator[_Bundle]:
    try:
        with tarfile.open(file, "r:") as tar:
            yield _Bundle(file, tar)
    except (OSError, tarfile.TarError) as error:
        raise LabError(
            f"the bundle can't be read: {error}",
            value=str(file),
            permitted="a file that lab images bundle wrote",
        ) from error


class _Bundle:
    """An archive that was carried here, and may have been cut short or changed."""

    def __init__(self, file: Path, tar: tarfile.TarFile) -> None:
        self._file, self._tar = file, tar

    def checked(self) -> dict[str, tuple[str, str]]:
        """Digest and media type of every image, once all that they are made of was compared with its digest.

        Raises:
            LabError: something is missing or was changed.
        """
        try:
            listed = json.loads(self._content(_INDEX, "its table of contents"))["manifests"]
            found = {
                str(one["annotations"][_NAME]): (str(one["digest"]), str(one["mediaType"])) for one in listed
            }
        except (ValueError, KeyError, TypeError) as error:
            raise self._broken("its table of contents is not understood") from error
        absent = sorted(set(IMAGES) - set(found))
        if absent:
            raise LabError(
                "the bundle lacks images that this version of the lab runs",
                value=", ".join(absent),
                permitted="a bundle that this version wrote",
                next_command="lab images bundle FILE --file lab-images.json",
            )
        images = {name: found[name] for name in sorted(IMAGES)}
        for digest in {d for top, kind in images.values() for d in self.blobs(top, kind)}:
            self._compare(digest)
        return images

    def manifests(self, digest: str, media_type: str) -> Iterator[tuple[str, bytes, str]]:
        """Digest, content and media type of an image's manifests, those that others name first."""
        content = self._content(_blob(digest), digest)
        if digest_of(content) != digest:
            raise self._broken(f"{digest} was changed")
        if media_type in INDEXES:
            for one in json.loads(content)["manifests"]:
                yield from self.manifests(str(one["digest"]), str(one["mediaType"]))
        yield digest, content, media_type

    def blobs(self, digest: str, media_type: str) -> list[str]:
        """Digests of the configurations and layers of an image."""
        return [
            child
            for _, content, kind in self.manifests(digest, media_type)
            if kind not in INDEXES
            for child in _children(content, kind)
        ]

    def extract(self, digest: str, file: Path) -> Path:
        """Writes a blob to ``file``."""
        with self._stream(_blob(digest), digest) as source, file.open("wb") as out:
            shutil.copyfileobj(source, out, _CHUNK_BYTES)
        return file

    def _compare(self, digest: str) -> None:
        sha256 = hashlib.sha256()
        with self._stream(_blob(digest), digest) as source:
            while chunk := source.read(_CHUNK_BYTES):
                sha256.update(chunk)
        if digest != f"sha256:{sha256.hexdigest()}":
            raise self._broken(f"{digest} was changed")

    def _content(self, member: str, what: str) -> bytes:
        with self._stream(member, what) as source:
            content: bytes = source.read(_BIGGEST_MANIFEST_BYTES)
            return content

    @contextmanager
    def _stream(self, member: str, what: str) -> Iterator[Any]:
        try:
            source = self._tar.extractfile(member)
        except KeyError:
            source = None
        if source is None:
            raise self._broken(f"{what} is not in it")
        with source:
            yield source

    def _broken(self, why: str) -> LabError:
        return LabError(
            f"the bundle is not whole: {why}",
            value=str(self._file),
            permitted="a file that lab images bundle wrote, carried over as it is",
        )
