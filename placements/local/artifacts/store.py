"""The per-user cache of installed artifacts: its layout, stamps, locks and free space.

``<cache>/<name>/<version>-<fingerprint>/`` is one installed artifact, with ``.artifact.json`` inside:
the fingerprint and the size and SHA-256 of every file. A folder appears by one rename, stamp included,
so a folder without a stamp does not occur and an interrupted fetch leaves nothing that looks
installed. The fingerprint covers the recorded checksums and how the folder is made, so checkouts with
different recipes share a cache without disturbing each other.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from contracts.errors import LabError, PreflightError
from placements.local.artifacts.command import Cancellation

STAMP = ".artifact.json"
DISK_FULL = "No space left on device"
_MIB = 1 << 20
_LOCK_POLL_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where one artifact is or will be."""

    cache: Path
    name: str
    version: str
    fingerprint: str

    @property
    def path(self) -> Path:
        """The installed folder."""
        return self.cache / self.name / f"{self.version}-{self.fingerprint[:12]}"

    @property
    def lock(self) -> Path:
        """What whoever makes or removes the folder holds; see :func:`locked`."""
        return self.path.parent / f".{self.path.name}.lock"

    @property
    def downloads(self) -> Path:
        """Where its verified archives wait until they are installed."""
        return self.cache / "downloads" / f"{self.name}-{self.path.name}"


def installed_bytes(entry: Entry) -> int:
    """The size of all files of an intact artifact, as its stamp says."""
    stamp = json.loads((entry.path / STAMP).read_text())
    return sum(size for size, _ in stamp["files"].values() if size > 0)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest(folder: Path) -> dict[str, list[Any]]:
    """Size and SHA-256 of every file below a folder; a symbolic link has its target instead."""
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = [-1, str(path.readlink())]
        elif path.is_file() and name != STAMP:
            found[name] = [path.stat().st_size, sha256_of(path)]
    return found


def problems(entry: Entry, *, verify: bool) -> list[str]:
    """What is wrong with an installed artifact; empty when it can be used.

    Sizes of all files are compared always (milliseconds), contents only with ``verify``.
    """
    try:
        stamp = json.loads((entry.path / STAMP).read_text())
        files: Mapping[str, list[Any]] = stamp["files"]
        if stamp["fingerprint"] != entry.fingerprint:
            return ["the stamp belongs to another artifact"]
    except (FileNotFoundError, NotADirectoryError):
        return ["not installed"]
    except (ValueError, KeyError, TypeError):
        return ["the stamp is unreadable"]
    return list(_differences(entry.path, files, verify=verify))


def _differences(folder: Path, files: Mapping[str, list[Any]], *, verify: bool) -> Iterator[str]:
    for name, (size, digest) in files.items():
        path = folder / name
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            yield f"{name} is missing"
            continue
        if stat.S_ISLNK(status.st_mode):
            if size != -1 or str(path.readlink()) != digest:
                yield f"{name} is another link"
        elif status.st_size != size:
            yield f"{name} has {status.st_size} bytes instead of {size}"
        elif verify and sha256_of(path) != digest:
            yield f"{name} has other content"


def install(entry: Entry, make: Callable[[Path], None]) -> None:
    """Make the artifact's folder in a private place and put it in place by one rename.

    The caller holds the entry's lock. ``make`` gets a path that does not exist and creates it.
    """
    parent = entry.path.parent
    parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(entry)
    staging = parent / f".staging-{entry.path.name}-{uuid.uuid4().hex[:8]}"
    try:
        make(staging)
        _readable_by_all(staging)
        stamp = {"fingerprint": entry.fingerprint, "files": manifest(staging)}
        (staging / STAMP).write_text(json.dumps(stamp))
        if entry.path.exists():
            old = parent / f".removed-{entry.path.name}-{uuid.uuid4().hex[:8]}"
            entry.path.rename(old)
            staging.rename(entry.path)
            remove_tree(old)
        else:
            staging.rename(entry.path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(entry.cache, entry.name) from error
        raise
    finally:
        remove_tree(staging)


def _remove_leftovers(entry: Entry) -> None:
    """Remove what killed fetches of the same entry left; its lock is held, so nobody uses them."""
    for prefix in ("staging", "removed"):
        for path in entry.path.parent.glob(f".{prefix}-{entry.path.name}-*"):
            remove_tree(path)


def _readable_by_all(folder: Path) -> None:
    """Let other users read and run it: PostgreSQL runs as an unprivileged user when the lab is root's."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            execute = 0o555 if mode & 0o100 else 0o444
            path.chmod(stat.S_IMODE(mode) | execute | 0o200)


def remove_tree(path: Path) -> None:
    """Remove a folder, read-only ones inside it too; nothing when it is not there."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        for folder, _, _ in os.walk(path):
            Path(folder).chmod(0o700)
        shutil.rmtree(path)


@contextmanager
def locked(path: Path, cancellation: Cancellation, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file against other threads and processes; ``on_wait`` is called once if it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    told = False
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_S)
            break
        except Timeout:
            if not told:
                on_wait()
                told = True
            cancellation.check()
    try:
        yield
    finally:
        lock.release()


def prepare_cache(cache: Path) -> None:
    """Make the cache folder.

    Raises:
        LabError: it can't be written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe = cache / f".writable-{uuid.uuid4().hex[:8]}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise LabError(
            f"the artifact cache can't be written: {error.strerror}",
            value=str(cache),
            permitted="a folder of yours",
            next_command="LAB_CACHE=<folder> lab up",
        ) from error


def require_free_space(cache: Path, needed_bytes: int, what: str) -> None:
    """Refuse before anything is fetched when it would not fit.

    Raises:
        PreflightError: less than ``needed_bytes`` are free.
    """
    free = shutil.disk_usage(cache).free
    if free < needed_bytes:
        raise PreflightError(
            f"too little free space in {cache} for {what}",
            value=f"{free // _MIB} MiB free",
            permitted=f"at least {-(-needed_bytes // _MIB)} MiB",
            next_command="LAB_CACHE=<folder on a larger disk> lab up",
        )


def disk_full(cache: Path, name: str) -> LabError:
    """The error for a disk that filled up while an artifact was fetched."""
    return LabError(
        f"the disk filled up while {name} was installed",
        value=f"{os.fspath(cache)}: {shutil.disk_usage(cache).free // _MIB} MiB free",
        permitted="more free space, or a cache on another disk",
        next_command="LAB_CACHE=<folder on a larger disk> lab up",
    )
