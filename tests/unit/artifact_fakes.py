"""A Maven source and artifacts small enough for tests of the artifact cache."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from contracts.versions import MavenArtifact, MavenFile, Packing
from placements.local.artifacts import SilentProgress


def archive(members: Sequence[tuple[str, bytes]], links: Sequence[tuple[str, str]] = ()) -> bytes:
    """A tar.gz with regular files, then hard links (name, target)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type = tarfile.LNKTYPE
            info.linkname = target
            tar.addfile(info)
    return gzip.compress(stream.getvalue(), mtime=0)


def tar_artifact(content: bytes, *, name: str = "sample", keep: tuple[str, ...] = ()) -> MavenArtifact:
    """An artifact whose recorded checksum is that of ``content``."""
    return MavenArtifact(
        name=name,
        group="org.example",
        version="1.0",
        packaging="tar.gz",
        packing=Packing.TAR_GZ,
        keep=keep,
        installed_bytes=1000,
        files={
            None: MavenFile(
                artifact=name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content)
            )
        },
    )


class FakeSource:
    """Serves the given answers in order, the last one for ever; counts the calls."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0
        self._guard = threading.Lock()

    def fetch(
        self, artifact: MavenArtifact, file: MavenFile, folder: Path, on_bytes: Callable[[int], None]
    ) -> Path:
        """Write the next answer below ``folder`` or raise it."""
        with self._guard:
            answer = self.answers[min(self.calls, len(self.answers) - 1)]
            self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        path = folder / "file"
        path.write_bytes(answer)
        on_bytes(len(answer))
        return path


class RecordingProgress(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, object]] = []

    def start(self, name: str, total_bytes: int | None) -> None:
        """Recorded."""
        self.events.append(("start", name, total_bytes))

    def advance(self, name: str, count_bytes: int) -> None:
        """Recorded."""
        self.events.append(("advance", name, count_bytes))

    def step(self, name: str, text: str) -> None:
        """Recorded."""
        self.events.append(("step", name, text))

    def done(self, name: str, seconds: float) -> None:
        """Recorded."""
        self.events.append(("done", name, seconds))

    def failed(self, name: str, error: BaseException) -> None:
        """Recorded."""
        self.events.append(("failed", name, error))

    def kinds(self) -> list[str]:
        """The kinds of event in order."""
        return [kind for kind, _, _ in self.events]
