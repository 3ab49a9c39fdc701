"""Port blocks: each lab on this machine has 200 loopback ports of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from cli.project import existing_labs, parse_config, write_private
from contracts.errors import PreflightError
from placements.local.ports import PORTS_PER_LAB
from placements.local.supervisor.processes import port_is_free, port_owner

FIRST_PORT = 28000
# Ports above are handed out by Linux to outgoing connections (net.ipv4.ip_local_port_range).
END_PORT = 32700


def blocks_in_use(labs_folder: Path) -> dict[int, str]:
    """First ports of the blocks that labs under ``labs_folder`` hold, with the lab's name."""
    used: dict[int, str] = {}
    for name in existing_labs(labs_folder):
        project = labs_folder / name / "project"
        for stack_file in project.glob("Pulumi.*.yaml"):
            if stack_file.name == "Pulumi.persistent.yaml" and (project / "owner").exists():
                continue  # another lab's, with that one's ports
            try:
                base = parse_config(stack_file.read_text(encoding="utf-8")).get("portBase", "")
            except (OSError, yaml.YAMLError):
                continue
            if base.isdecimal():
                used[int(base)] = name
    return used


def remember_folder(cache: Path, labs_folder: Path) -> list[Path]:
    """Notes in the per-user cache that labs are made in ``labs_folder``; returns the other such folders
    that are still there."""
    path = cache / "labs-folders"
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    others = [folder for folder in known if folder != str(labs_folder) and Path(folder).is_dir()]
    if [*others, str(labs_folder)] != known:
        cache.mkdir(parents=True, exist_ok=True)
        write_private(path, "\n".join([*others, str(labs_folder)]) + "\n")
    return [Path(folder) for folder in others]


def choose_block(
    labs_folder: Path,
    others: Iterable[Path] = (),
    free: Callable[[int], bool] = port_is_free,
    owner: Callable[[int], str] = port_owner,
) -> int:
    """The first block that no other lab holds and in which nothing listens; where possible one that no
    lab in the folders ``others`` holds either, which may be down now or about to come up.

    Raises:
        PreflightError: there is none left; says of each who holds it.
    """
    used = blocks_in_use(labs_folder)
    elsewhere = {base for folder in others for base in blocks_in_use(folder)}
    bases = range(FIRST_PORT, END_PORT - PORTS_PER_LAB + 1, PORTS_PER_LAB)
    taken: dict[int, int] = {}
    for base in sorted(bases, key=lambda base: _holder(base, elsewhere) is not None):
        if _holder(base, used) is not None:
            continue
        port = next((port for port in range(base, base + PORTS_PER_LAB) if not free(port)), None)
        if port is None:
            return base
        taken[base] = port
    reasons = [f"{base} by lab {name!r}" for base, name in sorted(used.items())]
    reasons += [f"{base} since {port} is taken by {owner(port)}" for base, port in taken.items()]
    raise PreflightError(
        f"no block of {PORTS_PER_LAB} free loopback ports is left: {'; '.join(reasons)}",
        value=f"{FIRST_PORT} to {END_PORT}",
        permitted="a block that no lab holds and in which nothing listens",
        next_command="lab --name OTHER destroy, or lab up --set portBase=N with a block elsewhere",
    )


def check_block(labs_folder: Path, lab: str, port_base: int) -> None:
    """Raises PreflightError when another lab's block overlaps the one from ``port_base``, also while that
    lab is down."""
    others = {base: name for base, name in blocks_in_use(labs_folder).items() if name != lab}
    found = _holder(port_base, others)
    if found is not None:
        raise PreflightError(
            f"the block of ports from {port_base} overlaps that of lab {others[found]!r}, "
            f"{found} to {found + PORTS_PER_LAB - 1}",
            value=port_base,
            permitted=f"{PORTS_PER_LAB} ports that no other lab holds",
            next_command=another_block(labs_folder),
        )


def another_block(labs_folder: Path) -> str:
    """The command that gives a lab a block of ports that is free now."""
    try:
        return f"lab up --set portBase={choose_block(labs_folder)}"
    except PreflightError:
        return "lab up --set portBase=N, with 200 free ports from N"


def _holder(port_base: int, used: Iterable[int]) -> int | None:
    """The first port of the block among ``used`` that overlaps the one from ``port_base``."""
    return next((other for other in used if abs(port_base - other) < PORTS_PER_LAB), None)
