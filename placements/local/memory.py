"""How much memory this process and its children can still get: the machine's and its control groups'.

A control group's limit (a container's, a systemd unit's, a batch job's) is not in the machine's own
figures: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files, and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html for the older hierarchy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

_MIB = 1 << 20
_UNLIMITED_BYTES = 1 << 60
"""The older hierarchy's way to say that there is no limit is a number near 2^63."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """``limit_mib`` is the control group's that leaves least, None when the machine itself does."""

    available_mib: int
    limit_mib: int | None = None

    def __str__(self) -> str:
        limit = f" (a control group limits this to {self.limit_mib} MiB)" if self.limit_mib else ""
        return f"{self.available_mib} MiB are available{limit}"


@dataclass(frozen=True, kw_only=True)
class _Names:
    """How one version of control groups calls its files, and the counter of file pages that can go."""

    limit: str
    usage: str
    reclaimable: str


_V2 = _Names(limit="memory.max", usage="memory.current", reclaimable="inactive_file")
_V1 = _Names(limit="memory.limit_in_bytes", usage="memory.usage_in_bytes", reclaimable="total_inactive_file")


def memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> Memory:
    """What can still be had, by the machine and by every control group that this process is in."""
    found = [Memory(available_mib=psutil.virtual_memory().available // _MIB)]
    for folder, names in _groups(proc, cgroups):
        limit, usage = _number(folder / names.limit), _number(folder / names.usage)
        if limit is None or usage is None or limit >= _UNLIMITED_BYTES:
            continue
        free = limit - usage + _statistic(folder / "memory.stat", names.reclaimable)
        found.append(Memory(available_mib=max(0, free // _MIB), limit_mib=limit // _MIB))
    return min(found, key=lambda one: one.available_mib)


def _groups(proc: Path, cgroups: Path) -> Iterator[tuple[Path, _Names]]:
    """Folders of this process's groups and of all above them. In a container the mount's own top is the
    group, whatever path the process's file names."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, names = (cgroups / "memory", _V1) if controllers else (cgroups, _V2)
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            yield mount / group, names


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _statistic(path: Path, key: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(value) for name, value in (line.split() for line in lines) if name == key), 0)
