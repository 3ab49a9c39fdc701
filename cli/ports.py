"""Port blocks: each lab on this machine has 200 loopback ports of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from cli.project import existing_labs, parse_config
from contracts.errors import PreflightError
from placements.local.ports import PORTS_PER_LAB
from placements.local.supervisor.processes import port_is_free

FIRST_PORT = 28000
# Ports above are handed out by Linux to outgoing connections (net.ipv4.ip_local_port_range).
END_PORT = 32700


def blocks_in_use(labs_folder: Path) -> dict[int, str]:
    """First ports of the blocks that labs under ``labs_folder`` hold, with the lab's name."""
    used: dict[int, str] = {}
    for name in existing_labs(labs_folder):
        for stack_file in (labs_folder / name / "project").glob("Pulumi.*.yaml"):
            try:
                base = parse_config(stack_file.read_text(encoding="utf-8")).get("portBase", "")
            except (OSError, yaml.YAMLError):
                continue
            if base.isdecimal():
                used[int(base)] = name
    return used


def choose_block(labs_folder: Path, free: Callable[[int], bool] = port_is_free) -> int:
    """The first block that no other lab holds and in which nothing listens.

    Raises:
        PreflightError: there is none left.
    """
    used = blocks_in_use(labs_folder)
    for base in range(FIRST_PORT, END_PORT - PORTS_PER_LAB + 1, PORTS_PER_LAB):
        if any(abs(base - other) < PORTS_PER_LAB for other in used):
            continue
        if all(free(port) for port in range(base, base + PORTS_PER_LAB)):
            return base
    raise PreflightError(
        "no block of 200 free loopback ports is left",
        value=f"{FIRST_PORT} to {END_PORT}",
        permitted=f"labs hold {', '.join(sorted(set(used.values()))) or 'none'}",
        next_command="lab --name OTHER destroy",
    )
