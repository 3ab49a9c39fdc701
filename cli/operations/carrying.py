"""The cache as one file: ``lab cache export`` and ``lab cache import``.

The file holds what a lab needs to come up without a network: the software of every component, an engine,
and the wheels of the virtual environment. Build caches, virtual environments and whatever belongs to a
lab are not in it, since it is made from named entries of the cache and not from its folders.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from cli import virtualenv
from cli.components import artifacts_of
from cli.drawing import human_bytes
from cli.provider_plugins import cloud_plugins, ensure_cached, pulumi_homes
from cli.session import Session
from cli.wheelhouse import (
    MANIFEST,
    HashingReader,
    Manifest,
    Member,
    PackedArtifact,
    check_fits,
    environment_name,
    opened,
    replace_folder,
    system,
    take_wheels,
)
from components.registry import COMPONENTS
from contracts.errors import LabError, UsageError
from contracts.versions import POLARIS, Artifact
from placements.local import artifacts as artifact_cache
from placements.local.artifacts.command import Cancellation, CommandFailed, run
from placements.local.artifacts.packing import pack, unpack
from placements.local.artifacts.store import (
    Entry,
    installed_bytes,
    prepare_cache,
    problems,
    require_free_space,
    sha256_of,
)

_CHUNK_BYTES = 1 << 20
_NAME = "export"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A written export. ``python`` and ``system`` are what it fits; ``left_out`` says what is not in it
    and why; sizes in bytes."""

    file: str
    size_bytes: int
    system: str
    python: str
    wheels: int
    artifacts: tuple[str, ...]
    left_out: tuple[str, ...]
    manifest_sha256: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A cache after an import. ``artifacts`` were put there, ``present`` were there intact before."""

    cache: str
    wheels: int
    artifacts: tuple[str, ...]
    present: tuple[str, ...]
    manifest_sha256: str
    seconds: float


def export_cache(session: Session, file: Path, *, replace: bool = False, cloud: bool = False) -> Exported:
    """Writes the cache's export for this system and Python to ``file``, which appears whole or not at all.
    What is missing in the cache is fetched first. ``cloud``: with the packages of labs elsewhere than here,
    and those of the engine's providers for them that this machine has.

    Raises:
        UsageError: the file is there and ``replace`` is not set, or its folder is not.
        PreflightError: it would not fit on the disk; nothing was written.
        LabError: something can't be fetched or written.
    """
    began = time.monotonic()
    _check_target(file, replace)
    kinds = ("local", "cloud") if cloud else ("local",)
    wheels = {kind: ensure_wheels(session, kind) for kind in kinds}
    files = {wheel.name: wheel for of_kind in wheels.values() for wheel in of_kind}
    entries, left_out = _ensure_entries(session)
    if cloud:
        providers, absent = _ensure_providers(session)
        entries, left_out = [*entries, *providers], (*left_out, *absent)
    sizes = {entry.name: installed_bytes(entry) for entry in entries}
    total = sum(sizes.values()) + sum(wheel.stat().st_size for wheel in files.values())
    require_free_space(file.absolute().parent, total, file.name)
    with _replacing(file) as target, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        progress = _Progress(session, total)
        members = {name: _write_wheel(archive, wheel, progress) for name, wheel in sorted(files.items())}
        held = {kind: tuple(members[wheel.name] for wheel in wheels[kind]) for kind in kinds}
        packed = tuple(_write_artifact(archive, entry, sizes[entry.name], progress) for entry in entries)
        manifest = Manifest(
            system=system(),
            python=str(sys.implementation.cache_tag),
            environment=environment_name(session.lab.root),
            wheels=held["local"],
            artifacts=packed,
            cloud_environment=environment_name(session.lab.root, "cloud") if cloud else "",
            cloud_wheels=held.get("cloud", ()),
        )
        archive.writestr(MANIFEST, manifest.to_json())
    session.progress.done(_NAME, time.monotonic() - began)
    return Exported(
        file=str(file),
        size_bytes=file.stat().st_size,
        system=manifest.system,
        python=manifest.python,
        wheels=len(files),
        artifacts=tuple(f"{entry.name} {entry.version}" for entry in entries),
        left_out=left_out,
        manifest_sha256=_digest(manifest),
        seconds=round(time.monotonic() - began, 1),
    )


def import_cache(session: Session, file: Path) -> Imported:
    """Puts what an export holds into the cache. Each artifact appears whole, its checksum compared, or not
    at all; after an interruption the same import goes on with what is missing.

    Raises:
        PreflightError: the export is for another system or Python, or would not fit; nothing was written.
        LabError: the file is damaged, or was made by another version of the lab.
    """
    began, cache = time.monotonic(), session.lab.cache
    with opened(file) as (archive, manifest):
        check_fits(manifest, session.lab.root)
        pairs = _matched(manifest, session.lab.root, cache)
        prepare_cache(cache)
        absent = [(entry, one) for entry, one in pairs if problems(entry, verify=True)]
        room = sum(one.installed_bytes for _, one in absent)
        require_free_space(cache, room, f"the artifacts of {file.name}")
        take_wheels(file, session.lab.root, cache)
        for entry, one in absent:
            _install(session, archive, entry, one)
    done = {one.name for _, one in absent}
    return Imported(
        cache=str(cache),
        wheels=len({wheel.member for wheels in manifest.environments.values() for wheel in wheels}),
        artifacts=tuple(f"{one.name} {one.version}" for _, one in absent),
        present=tuple(f"{one.name} {one.version}" for _, one in pairs if one.name not in done),
        manifest_sha256=_digest(manifest),
        seconds=round(time.monotonic() - began, 1),
    )


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(manifest.to_json().encode()).hexdigest()


def carried_artifacts() -> list[Artifact]:
    """What every component of this version runs, but Polaris, which can't be had everywhere."""
    everything = artifacts_of(list(COMPONENTS.values()), polaris_home=None)
    return [artifact for artifact in everything if artifact is not POLARIS]


def _check_target(file: Path, replace: bool) -> None:
    if file.is_dir() or (file.exists() and not replace):
        raise UsageError(
            "there is a file or folder of that name already",
            value=str(file),
            permitted="a new file, or --replace",
            next_command=f"lab cache export {file}.new",
        )
    if not file.absolute().parent.is_dir():
        raise UsageError(
            "the folder to export into does not exist",
            value=str(file.absolute().parent),
            permitted="a folder",
        )


def _ensure_entries(session: Session) -> tuple[list[Entry], tuple[str, ...]]:
    """The cache's entries to carry, each intact, and what is left out."""
    from cli.toolchain import carried_engine

    cache, progress = session.lab.cache, session.progress
    wanted = carried_artifacts()
    left_out: tuple[str, ...] = ()
    if not artifact_cache.missing([POLARIS], cache) or artifact_cache.reachable(POLARIS):
        wanted.append(POLARIS)
    else:
        left_out = (f"polaris {POLARIS.version}: it can't be had here; a new lab there runs Nessie",)
    session.say("comparing every file of the cache with its checksum")
    options = artifact_cache.FetchOptions(verify=True)
    artifact_cache.ensure_all(wanted, cache, progress, options=options)
    engine = carried_engine(cache, progress)
    if wrong := problems(engine, verify=True):
        raise LabError(
            f"the engine in the cache is damaged: {wrong[0]}",
            value=str(engine.path),
            next_command=f"rm -r {engine.path}, then lab cache export FILE",
        )
    return [*(artifact_cache.entry_of(artifact, cache) for artifact in wanted), engine], left_out


def _ensure_providers(session: Session) -> tuple[list[Entry], list[str]]:
    """The cache's entries of the engine's providers, and what is said of those that this machine lacks."""
    lab = session.lab
    entries, absent = ensure_cached(
        cloud_plugins(lab.root), lab.cache, pulumi_homes(lab.pulumi_home, session.environ), session.say
    )
    return entries, [
        f"the engine's provider {one.name} {one.version}: it is not on this machine; "
        f"pulumi plugin install resource {one.name} {one.version}, then export again"
        for one in absent
    ]


def ensure_wheels(session: Session, kind: str = "local") -> list[Path]:
    """The wheels of one of this checkout's virtual environments in the cache, downloaded when they are not
    there.

    Raises:
        LabError: pip can't get them; the index serves other content than was pinned.
    """
    root, cache = session.lab.root, session.lab.cache
    folder = virtualenv.wheels_folder(cache, environment_name(root, kind))
    pinned = (root / virtualenv.REQUIREMENTS[kind]).read_text(encoding="utf-8")
    if not folder.is_dir() or not all(sha256_of(wheel) in pinned for wheel in folder.glob("*.whl")):
        session.say(f"fetching the wheels of {virtualenv.REQUIREMENTS[kind]}")
        prepare_cache(cache)
        staging = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
        try:
            staging.mkdir(parents=True)
            _download(root / virtualenv.REQUIREMENTS[kind], staging, session)
            replace_folder(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return sorted(folder.glob("*.whl"))


def _download(requirements: Path, folder: Path, session: Session) -> None:
    fetched = 0

    def on_line(line: str) -> None:
        nonlocal fetched
        if line.startswith(("Collecting ", "Processing ")):
            fetched += 1
            session.progress.step("wheels", f"{fetched} of {virtualenv.count(requirements)} packages")

    arguments: list[str | Path] = [
        sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps",
        "--only-binary", ":all:", "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
        "--dest", folder, "--requirement", requirements,
    ]  # fmt: skip
    began = time.monotonic()
    try:
        run(
            arguments,
            cancellation=Cancellation(),
            env=virtualenv.pip_environment(os.environ),
            on_line=on_line,
        )
    except CommandFailed as error:
        session.progress.failed("wheels", error)
        raise LabError(
            f"the wheels of {requirements.name} can't be fetched\n{error.tail}",
            permitted="network access, or an index or proxy in pip's configuration",
            next_command="lab cache export FILE",
        ) from error
    session.progress.done("wheels", time.monotonic() - began)


@contextmanager
def _replacing(file: Path) -> Iterator[IO[bytes]]:
    """A file beside ``file`` that takes its place once all was written, and is removed otherwise."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        # Neither cut short while another export may write it, nor opened for appending: a zip's headers
        # are written once what follows them is known.
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w+b") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LabError("another export writes this file", value=str(file)) from None
            try:
                stream.truncate(0)
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise LabError(
            f"the export can't be written: {error.strerror or error}",
            value=str(file),
            permitted="a folder of yours with free space",
        ) from error


class _Progress:
    """Says how much of the whole is done."""

    def __init__(self, session: Session, total_bytes: int) -> None:
        self._session, self._total, self._done = session, total_bytes, 0

    def advance(self, what: str, count_bytes: int) -> None:
        self._done += count_bytes
        share = f"{human_bytes(self._done)} of {human_bytes(self._total)}"
        self._session.progress.step(_NAME, f"packing {what}: {share}")


class _HashingWriter:
    """Passes on what is written and sums it up."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self.size_bytes += len(data)
        return self._target.write(data)

    def flush(self) -> None:
        self._target.flush()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _write_wheel(archive: zipfile.ZipFile, wheel: Path, progress: _Progress) -> Member:
    member = f"wheels/{wheel.name}"
    archive.write(wheel, member)
    size = wheel.stat().st_size
    progress.advance("wheels", size)
    return Member(member=member, size_bytes=size, sha256=sha256_of(wheel))


def _write_artifact(
    archive: zipfile.ZipFile, entry: Entry, size_bytes: int, progress: _Progress
) -> PackedArtifact:
    member = f"artifacts/{entry.name}-{entry.path.name}.tar.zst"
    with archive.open(zipfile.ZipInfo(member), "w", force_zip64=True) as stream:
        writer = _HashingWriter(stream)
        pack(entry, cast(IO[bytes], writer), lambda count: progress.advance(entry.name, count))
    return PackedArtifact(
        member=member,
        size_bytes=writer.size_bytes,
        sha256=writer.sha256,
        name=entry.name,
        version=entry.version,
        fingerprint=entry.fingerprint,
        installed_bytes=size_bytes,
    )


def _matched(manifest: Manifest, root: Path, cache: Path) -> list[tuple[Entry, PackedArtifact]]:
    """This version's entries that the export holds. Raises LabError when it lacks a needed one."""
    from cli.toolchain import engine_entries

    held = {(one.name, one.fingerprint): one for one in manifest.artifacts}

    def found(entries: Sequence[Entry]) -> list[tuple[Entry, PackedArtifact]]:
        return [(e, held[e.name, e.fingerprint]) for e in entries if (e.name, e.fingerprint) in held]

    needed = [artifact_cache.entry_of(artifact, cache) for artifact in carried_artifacts()]
    lacking = [f"{e.name} {e.version}" for e in needed if (e.name, e.fingerprint) not in held]
    engines = found(engine_entries(cache))
    if not engines:
        lacking.append("an engine")
    if lacking:
        raise LabError(
            f"the export was made by another version of the lab: it lacks {', '.join(lacking)}",
            value=", ".join(f"{one.name} {one.version}" for one in manifest.artifacts),
            permitted=", ".join(f"{entry.name} {entry.version}" for entry in needed),
            next_command="lab cache export FILE, with this version",
        )
    providers = [plugin.entry(cache) for plugin in cloud_plugins(root)]
    return [*found(needed), *found([artifact_cache.entry_of(POLARIS, cache)]), *found(providers), *engines]


def _install(session: Session, archive: zipfile.ZipFile, entry: Entry, one: PackedArtifact) -> None:
    progress, began = session.progress, time.monotonic()
    progress.step(entry.name, f"unpacking {human_bytes(one.installed_bytes)}")
    try:
        with archive.open(one.member) as stream:
            reader = HashingReader(stream)
            unpack(entry, cast(IO[bytes], reader), lambda: reader.check(one))
    except BaseException as error:
        progress.failed(entry.name, error)
        raise
    progress.done(entry.name, time.monotonic() - began)
