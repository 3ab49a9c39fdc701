"""Which labs an ephemeral run made, so that it never removes one that a person did."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cli.project import Lab, open_lab
from contracts.errors import UsageError
from contracts.settings import labs_home


@dataclass
class Mark:
    """A file beside the labs that says that lab ``lab`` is to be removed.

    Raises:
        UsageError: that can't be a lab's name.
    """

    lab: str
    _opened: Lab = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._opened = open_lab(self.lab)

    @property
    def path(self) -> Path:
        return labs_home() / ".ephemeral" / f"{self.lab}.json"

    def exists(self) -> bool:
        """Whether a run made, or began to make, the lab and has not removed it."""
        return self.path.is_file()

    def lab_was_begun(self) -> bool:
        """Whether there is anything of the lab."""
        return self._opened.exists

    def make(self) -> None:
        """Claims the name.

        Raises:
            UsageError: there is a lab, or another run has the name; nothing was changed.
        """
        held = self._read()
        running = psutil.pid_exists(held.get("pid", 0))
        if self._opened.exists or running:
            by = "a run that goes on" if running else "an earlier run" if held else "somebody"
            raise UsageError(
                f"there is a lab {self.lab!r} already, which {by} made",
                value=str(self._opened.home),
                permitted="a name that no lab has: this run ends with the lab's removal",
                next_command=f"python3 ci/ephemeral.py --remove-only --name {self.lab}"
                if held and not running
                else "python3 ci/ephemeral.py --name OTHER",
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write({"pid": os.getpid()})

    def note_step(self, pid: int | None) -> None:
        """Which process works on the lab now, for whoever removes it when this one is killed."""
        self._write({"pid": os.getpid(), **({} if pid is None else {"step": pid})})

    def end_step(self, gentle_s: float) -> None:
        """Ends what a killed run left working on the lab, gently for so long."""
        pid = self._read().get("step", 0)
        try:
            process = psutil.Process(pid) if pid > 1 else None
            if process is None or os.getpgid(pid) != pid:
                return
            process.send_signal(signal.SIGINT)
            try:
                process.wait(gentle_s)
            except psutil.TimeoutExpired:
                os.killpg(pid, signal.SIGKILL)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return

    def _read(self) -> dict[str, int]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, content: dict[str, int]) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.path)

    def clear(self) -> None:
        """The lab is gone."""
        self.path.unlink(missing_ok=True)
