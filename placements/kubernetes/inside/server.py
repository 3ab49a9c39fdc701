"""What runs as the first process of PostgreSQL's pod: makes the data once, then runs the server. It knows the
standard library alone and is a generated file of the pod.

``server.py PROGRAMS VOLUME``; beside it ``server.py --receive VOLUME`` takes a backup from its standard input
and unpacks it, while the server runs. What lies in the volume:

- ``data``: the server's data. ``data.new`` is an unfinished first one.
- ``restoring``: a backup that is being received.
- ``restored``: a backup that is whole and was compared with its manifest. The next start takes it in place
  of ``data``, which becomes ``before``. Everything up to that is done beside the running server, and each
  step from there is one renaming, so that whatever ends it in the middle, the next start goes on.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

FILES = Path(__file__).parent
CONFIGURATION, ACCESS, STATEMENTS = "postgresql.conf", "pg_hba.conf", "statements.sql"


class Server:
    """One program at a time, in the foreground. Asked to end, it ends that one and starts no other."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        # Nobody else forwards signals: the first process of a pod has none by default.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def run(self, *command: str, stdin: Path | None = None) -> int:
        """Its exit code; that of a program which was asked to end before it began is 1."""
        if self._ending.is_set():
            return 1
        with (stdin or Path(os.devnull)).open("rb") as given:
            self._child = subprocess.Popen(command, stdin=given)
        if self._ending.is_set():
            self._child.send_signal(signal.SIGINT)
        return self._child.wait()

    def _end(self, *_: Any) -> None:
        self._ending.set()
        if self._child is not None and self._child.poll() is None:
            # PostgreSQL's fast shutdown: it does not wait for clients to leave.
            self._child.send_signal(signal.SIGINT)


def main(programs: Path, volume: Path) -> int:
    """Makes or takes the data, applies the statements, and runs the server to its end."""
    lock = (volume / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("another server has this volume", file=sys.stderr)
        return 1
    server, data = Server(), volume / "data"
    # Nobody sends it any more: who did was ended with the pod of before.
    shutil.rmtree(volume / "restoring", ignore_errors=True)
    take_restored(volume)
    if not data.exists():
        unfinished = volume / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        options = (
            *("-U", "postgres", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
            *("--builtin-locale=C.UTF-8", "--data-checksums", "--auth=reject"),
        )
        code = server.run(str(programs / "bin" / "initdb"), "-D", str(unfinished), *options)
        if code:
            explain_full(volume)
            return code
        unfinished.rename(data)
    # The lock says that no server runs, whatever process has now the number that is noted there.
    (data / "postmaster.pid").unlink(missing_ok=True)
    postgres, settings = str(programs / "bin" / "postgres"), _settings(data)
    single = (postgres, "--single", *settings, "-c", "exit_on_error=on", "postgres")
    code = server.run(*single, stdin=FILES / STATEMENTS) or server.run(postgres, *settings)
    if code:
        explain_full(volume)
    return code


def explain_full(volume: Path) -> None:
    """Says that a server ended on a volume without room, if that is so: its own last line does not."""
    room = shutil.disk_usage(volume)
    if room.free < _LEAST_BYTES:
        print(
            f"the volume is full: {room.free >> 20} MiB of {room.total >> 20} MiB are left; nothing is lost, "
            "and the server starts once it has grown",
            file=sys.stderr,
        )


_LEAST_BYTES = 32 * 1024 * 1024
"""Two files of the server's log (https://www.postgresql.org/docs/18/wal-configuration.html)."""


def take_restored(volume: Path) -> None:
    """Puts a restored backup in the place of the data, which is kept until the next one."""
    data, restored, before = volume / "data", volume / "restored", volume / "before"
    if not restored.exists():
        return
    if data.exists():
        shutil.rmtree(before, ignore_errors=True)
        data.rename(before)
    restored.rename(data)
    print("a restored backup was taken into use", file=sys.stderr)


class ReceivingError(Exception):
    """What came is no whole backup, or there is no room for it; says what is wrong."""


def receive(volume: Path, given: BinaryIO) -> None:
    """Unpacks a backup beside the data and compares each file with the manifest. Only what is whole is left.

    ``given`` is a line of JSON (``manifest_bytes``, ``archive_bytes``, ``data_bytes``, ``sha256`` of the
    archive), the manifest and the archive, one after the other.

    Raises:
        ReceivingError: see there.
    """
    os.umask(0o077)
    header = json.loads(given.readline())
    manifest = given.read(header["manifest_bytes"])
    unfinished, restored = volume / "restoring", volume / "restored"
    for folder in (unfinished, restored):
        shutil.rmtree(folder, ignore_errors=True)
    free = shutil.disk_usage(volume).free
    if free < header["data_bytes"] + _SPARE_BYTES:
        raise ReceivingError(f"the volume has {free} bytes left, and {header['data_bytes']} are unpacked")
    unfinished.mkdir()
    try:
        archive = _Hashed(given, header["archive_bytes"])
        found = _unpacked(archive, unfinished)
        while archive.read(1 << 20):
            pass
        if archive.left or archive.digest.hexdigest() != header["sha256"]:
            raise ReceivingError("the archive did not arrive as it was sent")
        _compare(manifest, found)
        (unfinished / "backup_manifest").write_bytes(manifest)
        os.sync()
        unfinished.rename(restored)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


_SPARE_BYTES = 256 * 1024 * 1024
"""Left for the running server to write into."""


class _Hashed:
    """The next ``left`` bytes of a stream, and their digest."""

    def __init__(self, stream: BinaryIO, left: int) -> None:
        self._stream, self.left, self.digest = stream, left, hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self.left))
        self.left -= len(data)
        self.digest.update(data)
        return data


def _unpacked(archive: _Hashed, folder: Path) -> dict[str, tuple[int, str]]:
    """Size and digest of each file that was unpacked, by its path in ``folder``."""
    found = {}
    try:
        with tarfile.open(fileobj=archive, mode="r|gz") as tar:  # type: ignore[call-overload]  # it only reads
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isdir() or member.isfile()):
                    raise ReceivingError(f"the archive holds what no backup does: {member.name}")
                target = folder / path
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                content, digest = tar.extractfile(member), hashlib.sha256()
                with target.open("xb") as file:
                    while content is not None and (data := content.read(1 << 20)):
                        file.write(data)
                        digest.update(data)
                found[path.as_posix()] = (member.size, digest.hexdigest())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ReceivingError(f"the archive can't be unpacked: {error}") from error
    return found


def _compare(manifest: bytes, found: dict[str, tuple[int, str]]) -> None:
    """As ``pg_verifybackup`` does (https://www.postgresql.org/docs/18/backup-manifest-format.html)."""
    body, mark, _ = manifest.rpartition(b'"Manifest-Checksum"')
    document = json.loads(manifest) if mark else {}
    if hashlib.sha256(body).hexdigest() != document.get("Manifest-Checksum"):
        raise ReceivingError("the manifest is not as the server wrote it")
    wanted = {
        one["Path"] if "Path" in one else bytes.fromhex(one["Encoded-Path"]).decode(): one
        for one in document["Files"]
    }
    for path, one in wanted.items():
        size, digest = found.get(path, (None, None))
        if size != one["Size"] or digest != one["Checksum"]:
            raise ReceivingError(f"{path} is {'missing' if size is None else 'damaged'} in the backup")
    # The log that makes it consistent is no part of the manifest.
    strange = [path for path in found if path not in wanted and not path.startswith("pg_wal/")]
    if strange:
        raise ReceivingError(f"the backup has a file more than its manifest: {strange[0]}")


def _settings(data: Path) -> list[str]:
    files = {"config_file": FILES / CONFIGURATION, "hba_file": FILES / ACCESS}
    return ["-D", str(data), *(word for key, path in files.items() for word in ("-c", f"{key}={path}"))]


def run(arguments: Sequence[str]) -> int:
    """The exit code of the program with these arguments."""
    if arguments[0] != "--receive":
        return main(Path(arguments[0]), Path(arguments[1]))
    try:
        receive(Path(arguments[1]), sys.stdin.buffer)
    except (ReceivingError, OSError, ValueError) as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
