"""No lab outlives the run of the tests that made it, however that run ends: tests that run side by side are
given a few seconds to end by whoever started them, and a lab takes longer."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from contracts.errors import LabError
from placements.local.supervisor import SupervisorClient

VARIABLE = "LAB_TESTS_FOLDER"
"""Names the folder in which all processes of one run make their labs."""

PATIENCE_S = 120


def make_folder() -> Path:
    """The run's own folder for labs. Other users may pass through it: PostgreSQL is one of them when root
    runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="lab live "))
    folder.chmod(0o755)
    os.environ[VARIABLE] = str(folder)
    return folder


def remove_folder(folder: Path) -> None:
    """Ends what runs of labs below ``folder``, commands first, and removes it."""
    if any(folder.iterdir()):
        commands = list(_commands(folder))
        for command in commands:
            with contextlib.suppress(psutil.Error):
                command.terminate()
        psutil.wait_procs(commands, timeout=PATIENCE_S)
        for control in folder.rglob("run/services"):
            client = SupervisorClient(control.parents[1])
            with contextlib.suppress(LabError, OSError):
                # One that was killed left services behind, which another adopts.
                client.ensure_running()
                client.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


def _commands(folder: Path) -> Iterator[psutil.Process]:
    """Runs of ``lab`` on labs below ``folder``."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            of_a_lab = process.environ().get("LAB_HOME", "").startswith(str(folder))
            if of_a_lab and process.cmdline()[1:4] == ["-P", "-m", "cli"]:
                yield process
