"""Commands that go on until Ctrl-C: each shows what happens meanwhile, and ends quietly."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from tests.live.conftest import LiveLab
from tests.live.injection import kill_service, wait_for_return

pytestmark = pytest.mark.live
TIMEOUT_S = 60.0


class Following:
    """Lines of a command under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)

    def close(self) -> None:
        """Ends the command, whatever it is at."""
        self.process.kill()
        self.process.wait()
        self._reader.join(TIMEOUT_S)

    def until(self, wanted: Callable[[str], bool]) -> str:
        """The first line that is wanted. Raises queue.Empty when none comes in time."""
        while not wanted(line := self._lines.get(timeout=TIMEOUT_S)):
            pass
        return line


@contextmanager
def following(lab: LiveLab, *arguments: str) -> Iterator[Following]:
    """The command, ended by Ctrl-C, which is no failure."""
    process = lab.start(*arguments)
    with closing(Following(process)) as shown:
        yield shown
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 0


def test_a_restart_is_shown_as_it_happens(lab: LiveLab) -> None:
    with (
        following(lab, "status", "--watch") as states,
        following(lab, "logs", "supervisor", "-n", "0", "--follow") as log,
    ):
        states.until(lambda line: line.startswith("opa ") and " ready " in line)
        pid = kill_service(lab, "opa")
        seen = states.until(lambda line: line.startswith("opa ") and f" {pid} " not in line)
        assert seen.split()[1] in ("backoff", "starting", "ready")
        assert "SIGKILL" in log.until(lambda line: "opa" in line)
        wait_for_return(lab, "opa", pid)
