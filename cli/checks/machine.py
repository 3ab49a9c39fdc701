"""Memory, disks and ports."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence

from cli.checks.findings import Finding, of_error, ok, warning
from cli.project import read_config, settings
from cli.session import Session
from cli.steps import DATA_FREE_MIB, check_ports, memory_needed_mib, ports_of, smaller_labs
from components.registry import ComponentInfo
from contracts.errors import LabError
from contracts.settings import Role
from placements.local import preflight

TEMPORARY_FREE_MIB = 64
"""What the engine's event logs and a browser's sign-in leave in the folder for temporary files, amply."""


def machine(session: Session, chosen: Sequence[ComponentInfo]) -> Iterator[Finding]:
    """Whether the machine can carry the lab, as ``lab up`` asks before it starts anything."""
    lab = session.lab
    services = session.supervisor.status() if lab.exists else []
    config = read_config(lab, Role.LAB) if lab.exists else {}
    needed_mib = memory_needed_mib(chosen, config)
    running_mib = sum(service.memory_mib or 0 for service in services)
    checks: list[tuple[str, str, Callable[[], None]]] = [
        (
            "memory",
            f"{needed_mib} MiB needed, {running_mib} MiB in use by this lab",
            lambda: preflight.check_memory(
                needed_mib, running_mib=running_mib, smaller=smaller_labs(chosen, config)
            ),
        ),
        (
            "disk",
            f"at least {DATA_FREE_MIB} MiB free for {lab.home}",
            lambda: preflight.check_disk({lab.home: DATA_FREE_MIB}),
        ),
    ]
    if lab.exists:
        base = settings(lab, Role.LAB, session.environ).port_base
        ports = ports_of(base, chosen)
        checks.append(("ports", f"block from {base}", lambda: check_ports(session, ports)))
    for subject, detail, check in checks:
        try:
            check()
        except LabError as error:
            yield of_error(subject, error)
        else:
            yield ok(subject, detail)
    yield from temporary_files()


def temporary_files() -> Iterator[Finding]:
    """Said only when it is small: nothing large is put there."""
    folder = tempfile.gettempdir()
    free_mib = shutil.disk_usage(folder).free >> 20
    if free_mib < TEMPORARY_FREE_MIB:
        yield warning(
            "temporary files",
            f"{free_mib} MiB are free in {folder}, {TEMPORARY_FREE_MIB} are advisable",
            "TMPDIR=/another/folder lab up",
        )
