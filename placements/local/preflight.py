"""Whether this machine can carry a lab; asked before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import psutil

from contracts.errors import PreflightError
from placements.local.foundation import postgres, store
from placements.local.memory import memory
from placements.local.supervisor import SupervisorClient
from placements.local.supervisor.processes import refuse_taken_ports

RESERVED_MEMORY_MIB = 512
"""Left to everything else on the machine."""


def check_ports(
    home: Path, ports: Mapping[str, int], *, another: Callable[[], str] = lambda: "lab doctor"
) -> None:
    """Every port is free or held by this lab itself. ``ports`` maps a label to a port; ``another`` gives
    the command that chooses another block.

    Raises:
        PreflightError: one is taken; names the owner of each.
    """
    own = {
        port
        for status in SupervisorClient(home).status()
        if status.pid is not None
        for port in status.ports.values()
    }
    others = {label: port for label, port in ports.items() if port not in own}
    refuse_taken_ports(others, another=another)


def check_memory(needed_mib: int, *, running_mib: int = 0, smaller: Mapping[str, int] | None = None) -> None:
    """The services fit in memory, the machine's and that of the control groups this process is in.

    Args:
        needed_mib: what they take, of which ``running_mib`` is in use by them already.
        smaller: what less would take, by the command that brings it up; the first that fits is named.

    Raises:
        PreflightError: they do not.
    """
    found = memory()
    free_mib = found.available_mib + running_mib - RESERVED_MEMORY_MIB
    if needed_mib > free_mib:
        fits = next((command for command, mib in (smaller or {}).items() if mib <= free_mib), None)
        raise PreflightError(
            f"the selected services need about {needed_mib} MiB of memory beside the {RESERVED_MEMORY_MIB} "
            f"MiB left to the rest; {found}",
            value=needed_mib,
            permitted=f"up to {max(0, free_mib)} MiB",
            next_command=fits or "more memory, or a higher limit, then lab up",
        )


def check_disk(needed_mib: Mapping[Path, int]) -> None:
    """There is room for what will be written below each folder; folders on one disk are added up.

    Raises:
        PreflightError: there is not; names the disk's folder.
    """
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, mib in needed_mib.items():
        existing = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
        disk = existing.stat().st_dev
        by_disk[disk] = (existing, by_disk.get(disk, (existing, 0))[1] + mib)
    for existing, mib in by_disk.values():
        free_mib = psutil.disk_usage(str(existing)).free // 2**20
        if mib > free_mib:
            raise PreflightError(
                f"{mib} MiB of disk are needed below {existing} and {free_mib} MiB are free",
                value=str(existing),
                permitted=f"at least {mib} MiB free",
                next_command="LAB_HOME=/path/on/another/disk lab up",
            )


def memory_needed_mib(expected: Iterable[int]) -> int:
    """What the foundation and the given services take together."""
    return postgres.MEMORY_MIB + store.MEMORY_MIB + sum(expected)
