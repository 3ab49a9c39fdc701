"""Unpacking archives into a new folder, without trusting their member names."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any

from contracts.errors import LabError


def unpack_tar(source: Path | IO[bytes], target: Path, *, strip_top: bool, keep: Sequence[str] = ()) -> None:
    """Unpack a tar of any compression into ``target``, which must not exist.

    Args:
        source: the file, or a stream of it.
        target: the folder to make.
        strip_top: leave out the archive's single top folder.
        keep: path prefixes (after stripping) that stay; empty keeps everything. All regular files are
            written first and the others removed afterwards, since kept names may be hard links to
            members that are not kept.

    Raises:
        LabError: a member's path or link leaves the folder.
    """
    data_filter = getattr(tarfile, "data_filter", None)
    if data_filter is None:
        raise LabError(
            "this Python can't unpack archives safely: tarfile has no extraction filters",
            permitted="Python 3.11.4 or newer",
            next_command="python3 --version",
        )
    target.mkdir(parents=True)
    label = str(source) if isinstance(source, Path) else target.name

    def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for member in archive:
            if strip_top:
                name = _below_top(member.name)
                if name is None:
                    continue
                changes: dict[str, Any] = {"name": name}
                if member.islnk():
                    changes["linkname"] = _below_top(member.linkname) or member.linkname
                member = member.replace(**changes, deep=False)
            yield member

    try:
        with _open_tar(source) as archive:
            archive.extractall(target, members=members(archive), filter="data")
    except tarfile.FilterError as error:
        raise LabError(
            f"refused to unpack {label}: a member leaves the target folder",
            value=error.tarinfo.name,
            permitted="paths inside the archive's own folder",
        ) from error
    if keep:
        prune(target, keep)


def _open_tar(source: Path | IO[bytes]) -> tarfile.TarFile:
    if isinstance(source, Path):
        return tarfile.open(source, "r|*")
    return tarfile.open(fileobj=source, mode="r|*")


def _below_top(name: str) -> str | None:
    """The name without its first folder; None for the folder itself. Climbing names stay as they are,
    for the filter to refuse."""
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/"):
        return name
    return "/".join(parts[1:]) or None


def unpack_txz_in_zip(source: Path, target: Path) -> None:
    """Unpack the one ``.txz`` inside a zip.

    Raises:
        LabError: there is not exactly one, or it is unsafe.
    """
    with zipfile.ZipFile(source) as outer:
        inner = [name for name in outer.namelist() if name.endswith(".txz")]
        if len(inner) != 1:
            raise LabError(
                f"{source.name} should hold exactly one .txz archive", value=inner, permitted="one .txz"
            )
        with outer.open(inner[0]) as stream:
            unpack_tar(stream, target, strip_top=False)


def prune(folder: Path, keep: Sequence[str]) -> None:
    """Remove every file whose path in ``folder`` starts with none of ``keep``, then empty folders."""
    for path in sorted(folder.rglob("*"), reverse=True):
        relative = path.relative_to(folder).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif not any(relative.startswith(prefix) for prefix in keep):
            path.unlink()


def copy_executable(source: Path, target: Path) -> None:
    """Copy a file and make it executable for everybody."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    os.chmod(target, 0o755)  # noqa: PTH101, S103 - other users' services run it
