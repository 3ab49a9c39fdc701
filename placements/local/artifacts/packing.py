"""An installed artifact as one compressed stream, and back into a cache."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import zstandard

from contracts.errors import LabError
from placements.local.artifacts.command import Cancellation
from placements.local.artifacts.store import STAMP, Entry, install, locked, problems
from placements.local.artifacts.unpack import unpack_tar

_LEVEL = 3


def pack(entry: Entry, target: IO[bytes], on_bytes: Callable[[int], None]) -> None:
    """Write the files of an installed artifact as ``tar.zst``. The stamp is left out: whoever unpacks
    makes their own. ``on_bytes`` hears the size of each file before it is written."""

    def ours(member: tarfile.TarInfo) -> tarfile.TarInfo:
        # Whose files they are here is nobody's business there.
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    with (
        compressor.stream_writer(target, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(entry.path.rglob("*")):
            name = path.relative_to(entry.path).as_posix()
            if name == STAMP:
                continue
            on_bytes(path.lstat().st_size if path.is_file() and not path.is_symlink() else 0)
            archive.add(path, arcname=name, recursive=False, filter=ours)


def unpack(
    entry: Entry, source: IO[bytes], check: Callable[[], None], on_wait: Callable[[], None] = lambda: None
) -> bool:
    """Install an artifact from what :func:`pack` wrote; nothing is done when it is there intact.

    Args:
        source: the compressed stream.
        check: is called once all was read, before the artifact is put in place; raises to refuse.
        on_wait: is called when another process makes or removes the same artifact.

    Returns whether it was missing.

    Raises:
        LabError: the stream is damaged, a member leaves the folder, or the disk is full.
    """

    def make(target: Path) -> None:
        with zstandard.ZstdDecompressor().stream_reader(source, closefd=False) as stream:
            try:
                unpack_tar(stream, target, strip_top=False)
            except (zstandard.ZstdError, tarfile.ReadError) as error:
                raise LabError(f"{entry.name} can't be unpacked: {error}") from error
        check()

    with locked(entry.lock, Cancellation(), on_wait):
        if not problems(entry, verify=True):
            return False
        install(entry, make)
    return True
