"""Subprocesses that end when the fetch is cancelled."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_KEPT_LINES = 60
_GRACE_S = 10.0


class Cancelled(Exception):
    """The fetch was interrupted, or another artifact failed first."""


class CommandFailed(Exception):
    """A subprocess ended with a code other than 0; ``tail`` is the end of what it printed."""

    def __init__(self, program: str, code: int, tail: str) -> None:
        self.program = program
        self.code = code
        self.tail = tail
        super().__init__(f"{program} ended with {code}:\n{tail}")


class Cancellation:
    """A flag that running downloads and subprocesses watch."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask everything that watches to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise :class:`Cancelled` once cancelled."""
        if self.cancelled:
            raise Cancelled

    def sleep(self, seconds: float) -> None:
        """Sleep, ended early with :class:`Cancelled`."""
        if self._event.wait(seconds):
            raise Cancelled


def run(
    arguments: Sequence[str | Path],
    *,
    cancellation: Cancellation,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a program to its end; its output (both streams) goes line by line to ``on_line``.

    Raises:
        CommandFailed: it ended with a code other than 0.
        Cancelled: it was stopped.
    """
    cancellation.check()
    tail: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        [str(argument) for argument in arguments],
        cwd=cwd,
        env=None if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:

        def read() -> None:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            for line in process.stdout:
                tail.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))

        reader = threading.Thread(target=read, name=f"output of {arguments[0]}", daemon=True)
        reader.start()
        try:
            while True:
                try:
                    code = process.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    cancellation.check()
        except BaseException:
            _stop(process)
            raise
        finally:
            reader.join(timeout=_GRACE_S)
    if code:
        cancellation.check()
        raise CommandFailed(Path(str(arguments[0])).name, code, "".join(tail).strip())


def repeated(
    work: Callable[[], None],
    *,
    transient: Callable[[CommandFailed], bool],
    cancellation: Cancellation,
    attempts: int = 3,
    pause_s: float = 2.0,
) -> None:
    """Does ``work`` again when a command of it failed for a reason that may pass.

    Raises:
        CommandFailed: of the last attempt, or for another reason.
    """
    for attempt in range(1, attempts + 1):
        try:
            work()
        except CommandFailed as error:
            if attempt == attempts or not transient(error):
                raise
            cancellation.sleep(pause_s * attempt)
        else:
            return


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
