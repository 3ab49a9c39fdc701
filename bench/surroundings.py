"""What a lab can be put into to try it: a small disk of its own, a control group with a memory limit."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def small_home(size_mib: int) -> Iterator[Path]:
    """A folder for labs; as root on a file system of its own in a file, where those can be mounted."""
    with tempfile.TemporaryDirectory(prefix="lab faults ", ignore_cleanup_errors=True) as parent:
        Path(parent).chmod(0o755)
        folder, image = Path(parent) / "labs", Path(parent) / "disk.img"
        folder.mkdir()
        mounted = os.geteuid() == 0 and _mount(image, folder, size_mib)
        print(f"the lab's disk: {f'{size_mib} MiB of its own' if mounted else 'the shared one'}", flush=True)
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(image: Path, folder: Path, size_mib: int) -> bool:
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    commands = (["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(folder)])
    try:
        return all(subprocess.run(one, capture_output=True, check=False).returncode == 0 for one in commands)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def limited_memory(limit_mib: int) -> Iterator[bool]:
    """Puts this process, and so all that it starts, into a control group with a limit, where the system
    lets one be made; yields whether it did."""
    before = _own_group()
    group = None if before is None else before / f"lab-{uuid.uuid4().hex[:8]}"
    joined = group is not None and _join(group, limit_mib)
    print(f"memory: {f'a control group of {limit_mib} MiB' if joined else 'all of the machine'}", flush=True)
    try:
        yield joined
    finally:
        if joined and before is not None and group is not None:
            for line in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (before / "cgroup.procs").write_text(line)
            group.rmdir()


def _own_group() -> Path | None:
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return _V1 / path.lstrip("/")
        if not controllers and (_V2 / path.lstrip("/") / "memory.max").exists():
            return _V2 / path.lstrip("/")
    return None


def _join(group: Path, limit_mib: int) -> bool:
    limit = "memory.max" if (group.parent / "memory.max").exists() else "memory.limit_in_bytes"
    try:
        group.mkdir()
        (group / limit).write_text(str(limit_mib << 20))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        return False
    return True
