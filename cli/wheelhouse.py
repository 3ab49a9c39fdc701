"""What an exported cache says of itself, and the wheels in it. Standard library only: on a machine without
a network the virtual environment is made from these wheels, before any package is there.

An export is an uncompressed zip: ``manifest.json``, ``wheels/*.whl`` and ``artifacts/*.tar.zst``, each
member with its size and SHA-256 in the manifest. A zip's directory is at its end, so a file that was cut
short is told at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import sys
import sysconfig
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from cli import virtualenv
from contracts.errors import LabError, PreflightError

MANIFEST = "manifest.json"
FORMAT = "lakehouse-lab cache 1"
_CHUNK_BYTES = 1 << 20
_WHEEL = re.compile(r"wheels/[A-Za-z0-9_.+!-]+\.whl")
_WHOLE = "a whole file that lab cache export wrote"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of the zip. ``size_bytes`` and ``sha256`` (hexadecimal) are of the member as it is
    stored."""

    member: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PackedArtifact(Member):
    """An installed artifact as a ``tar.zst``; ``fingerprint`` is the cache entry's, ``installed_bytes``
    the size of its files."""

    name: str
    version: str
    fingerprint: str
    installed_bytes: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an export holds and whom it fits: ``system`` and ``python`` as of :func:`system` and
    ``sys.implementation.cache_tag``, ``environment`` the virtual environment's name in the cache. Those with
    ``cloud`` are of the environment for labs elsewhere than on this machine; empty in an export without. A
    wheel of both is one member of the zip."""

    system: str
    python: str
    environment: str
    wheels: tuple[Member, ...]
    artifacts: tuple[PackedArtifact, ...]
    cloud_environment: str = ""
    cloud_wheels: tuple[Member, ...] = ()

    @property
    def environments(self) -> dict[str, tuple[Member, ...]]:
        """Wheels by the name of the environment that is made from them."""
        found = {self.environment: self.wheels}
        return found | ({self.cloud_environment: self.cloud_wheels} if self.cloud_environment else {})

    def to_json(self) -> str:
        """The text of ``manifest.json``."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Reads what :meth:`to_json` wrote. Raises ValueError, KeyError or TypeError on anything else."""
        document: Mapping[str, Any] = json.loads(text)
        if document["format"] != FORMAT:
            raise ValueError(document["format"])
        return cls(
            system=str(document["system"]),
            python=str(document["python"]),
            environment=str(document["environment"]),
            wheels=tuple(Member(**one) for one in document["wheels"]),
            artifacts=tuple(PackedArtifact(**one) for one in document["artifacts"]),
            cloud_environment=str(document.get("cloud_environment", "")),
            cloud_wheels=tuple(Member(**one) for one in document.get("cloud_wheels", ())),
        )


def system() -> str:
    """Operating system, processor and C library that wheels and binaries are made for."""
    musl = "-musl" if "musl" in str(sysconfig.get_config_var("SOABI") or "") else ""
    return f"{virtualenv.machine()}{musl}"


def environment_name(root: Path, kind: str = "local") -> str:
    """The name, in the cache, of this checkout's virtual environment for running labs of a kind."""
    return virtualenv.environment_name(root, kind)


@contextlib.contextmanager
def opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """An export and its manifest.

    Raises:
        LabError: it can't be read, was cut short, or is something else; also when that shows only while
            a member is read inside the context.
    """
    try:
        archive = zipfile.ZipFile(file)
    except OSError as error:
        raise LabError(
            f"the export can't be read: {error.strerror or error}", value=str(file), permitted=_WHOLE
        ) from error
    except zipfile.BadZipFile as error:
        raise damaged(file, error) from error
    with archive:
        try:
            manifest = Manifest.from_json(archive.read(MANIFEST).decode())
        except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
            raise damaged(file, error) from error
        try:
            yield archive, manifest
        except (zipfile.BadZipFile, EOFError) as error:
            raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> LabError:
    """The error for a file that is not a whole export."""
    return LabError(
        f"the file is damaged or no export of a lab's cache ({error})",
        value=str(file),
        permitted=_WHOLE,
        next_command="copy it again, then lab cache import FILE",
    )


def check_fits(manifest: Manifest, root: Path) -> None:
    """Raises PreflightError unless the export was made on such a system with such a Python, and LabError
    unless by a checkout with the same requirements."""
    if manifest.system != system():
        raise PreflightError(
            "the export was made for another system",
            value=f"this machine: {system()}",
            permitted=manifest.system,
            next_command=f"lab cache export FILE, on a {system()} machine",
        )
    python = sys.implementation.cache_tag
    if manifest.python != python:
        version = manifest.python.replace("cpython-3", "python3.")
        raise PreflightError(
            "the export was made with another Python, whose packages this one can't use",
            value=f"this one: {python} ({sys.executable})",
            permitted=manifest.python,
            next_command=f"{version} ./lab cache import FILE",
        )
    environments = {"local": manifest.environment}
    if manifest.cloud_environment:
        environments["cloud"] = manifest.cloud_environment
    for kind, given in environments.items():
        if given != environment_name(root, kind):
            raise LabError(
                "the export was made by another version of the lab, which pins other packages",
                value=given,
                permitted=environment_name(root, kind),
                next_command="lab cache export FILE, with this version",
            )


def take_wheels(file: Path, root: Path, cache: Path) -> bool:
    """Puts the export's wheels into the cache, of each environment all or none. Returns whether that was
    needed.

    Raises:
        PreflightError, LabError: as :func:`opened` and :func:`check_fits`, a wheel differs from its
            checksum, or the cache can't be written.
    """
    with opened(file) as (archive, manifest):
        check_fits(manifest, root)
        taken = [
            _take_all(archive, wheels, virtualenv.wheels_folder(cache, environment))
            for environment, wheels in manifest.environments.items()
        ]
    return any(taken)


def _take_all(archive: zipfile.ZipFile, wheels: Sequence[Member], target: Path) -> bool:
    """The wheels of one environment, all or none. Returns whether that was needed."""
    if all(_is_there(wheel, target) for wheel in wheels):
        return False
    staging = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
    try:
        staging.mkdir(parents=True)
        for wheel in wheels:
            _take(archive, wheel, staging)
        replace_folder(staging, target)
    except OSError as error:
        raise LabError(
            f"the wheels can't be written into the cache: {error.strerror or error}",
            value=str(target.parent.parent),
            permitted="a folder of yours with free space",
            next_command="LAB_CACHE=FOLDER lab cache import FILE",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return True


def replace_folder(staging: Path, target: Path) -> None:
    """Puts ``staging`` in the place of ``target``, which may be there already."""
    if target.exists():
        old = target.with_name(f".{target.name}-{uuid.uuid4().hex[:8]}")
        target.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    staging.rename(target)


def _is_there(wheel: Member, folder: Path) -> bool:
    path = folder / Path(wheel.member).name
    if not path.is_file() or path.stat().st_size != wheel.size_bytes:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == wheel.sha256


def _take(archive: zipfile.ZipFile, wheel: Member, folder: Path) -> None:
    if not _WHEEL.fullmatch(wheel.member):
        raise LabError("the export holds a wheel whose name is not one", value=wheel.member, permitted=_WHOLE)
    target = folder / wheel.member.removeprefix("wheels/")
    with archive.open(wheel.member) as source, target.open("wb") as kept:
        reader = HashingReader(source)
        shutil.copyfileobj(reader, kept, _CHUNK_BYTES)
        reader.check(wheel)


class HashingReader:
    """Passes on what it reads and sums it up."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        chunk = self._source.read(size)
        self._digest.update(chunk)
        return chunk

    def check(self, member: Member) -> None:
        """Reads to the end. Raises LabError unless all that was read is what the manifest says."""
        while self.read(_CHUNK_BYTES):
            pass
        found = self._digest.hexdigest()
        if found != member.sha256:
            raise LabError(
                f"{member.member} in the export differs from its checksum; nothing of it was kept",
                value=f"sha256 {found}",
                permitted=f"sha256 {member.sha256}",
                next_command="copy the file again, then lab cache import FILE",
            )
