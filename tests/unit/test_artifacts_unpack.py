"""What an archive may put into an artifact's folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from contracts.errors import LabError
from placements.local.artifacts.unpack import unpack_tar, unpack_txz_in_zip
from tests.unit.artifact_fakes import archive


def unpacked(tmp_path: Path, content: bytes, keep: tuple[str, ...] = ()) -> Path:
    source = tmp_path / "a.tar.gz"
    source.write_bytes(content)
    target = tmp_path / "out"
    unpack_tar(source, target, strip_top=True, keep=keep)
    return target


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_kept_files_survive_as_links_to_files_that_are_removed(tmp_path: Path) -> None:
    content = archive(
        [("t-1/lib/a.jar", b"a"), ("t-1/plugin/hive/b.jar", b"b"), ("t-1/plugin/hive/c.jar", b"c")],
        links=[("t-1/plugin/iceberg/b.jar", "t-1/plugin/hive/b.jar")],
    )
    target = unpacked(tmp_path, content, keep=("lib/", "plugin/iceberg/"))
    assert files(target) == {"lib/a.jar": b"a", "plugin/iceberg/b.jar": b"b"}
    assert not (target / "plugin/hive").exists()


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "top/sub/../../../evil"])
def test_climbing_member_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match="leaves the target folder"):
        unpacked(tmp_path, archive([(name, b"x")]))
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path.parent / "evil").exists()


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="leaves the target folder"):
        unpacked(tmp_path, archive([("top/a", b"x")], links=[("top/b", "../../etc/hostname")]))


def test_nested_archive_is_unpacked_and_must_be_the_only_one(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        info = tarfile.TarInfo("bin/postgres")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"pg"))
    outer = tmp_path / "o.jar"
    with zipfile.ZipFile(outer, "w") as file:
        file.writestr("postgres.txz", inner.getvalue())
    unpack_txz_in_zip(outer, tmp_path / "one")
    assert files(tmp_path / "one") == {"bin/postgres": b"pg"}
    with zipfile.ZipFile(outer, "a") as file:
        file.writestr("second.txz", b"")
    with pytest.raises(LabError, match="exactly one"):
        unpack_txz_in_zip(outer, tmp_path / "two")
