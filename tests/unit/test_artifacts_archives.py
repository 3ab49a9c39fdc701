"""Source archives from the package index: only what was recorded runs, only what is wanted stays."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from contracts.errors import LabError
from contracts.versions import PyPiSource
from placements.local.artifacts import ensure
from tests.unit.artifact_fakes import RecordingProgress, archive


def source_archive(setup: bytes = b"") -> bytes:
    header = b"from setuptools import setup\nsetup(name='labsample', version='1.0')\n"
    metadata = b"Metadata-Version: 2.1\nName: labsample\nVersion: 1.0\n"
    return archive(
        [
            ("labsample-1.0/setup.py", setup + header),
            ("labsample-1.0/PKG-INFO", metadata),
            ("labsample-1.0/LICENSE", b"free"),
            ("labsample-1.0/deps/jars/a.jar", b"a" * 1000),
            ("labsample-1.0/examples/b.py", b"b"),
        ]
    )


def source_of(content: bytes) -> PyPiSource:
    return PyPiSource(
        name="sample",
        package="labsample",
        version="1.0",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        keep=("LICENSE", "deps/jars/"),
        installed_bytes=2000,
        scratch_bytes=2000,
    )


def index_of(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package index that is a folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    (folder / "labsample-1.0.tar.gz").write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def test_of_a_source_archive_what_is_wanted_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = source_archive()
    index_of(tmp_path, content, monkeypatch)
    folder = ensure(source_of(content), tmp_path / "cache", RecordingProgress())
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert kept == {".artifact.json", "LICENSE", "deps/jars/a.jar"}
    assert (folder / "deps/jars/a.jar").read_bytes() == b"a" * 1000


def test_a_source_archive_with_other_content_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    index_of(tmp_path, source_archive(f"open({str(mark)!r}, 'w')\n".encode()), monkeypatch)
    with pytest.raises(LabError, match="other content than was recorded"):
        ensure(source_of(source_archive()), tmp_path / "cache", RecordingProgress())
    assert not mark.exists()
    assert not list((tmp_path / "cache").rglob("*.jar"))
