"""Ctrl-C while the Pulumi engine runs: it is told once, finishes what is in flight and ends cleanly.

The engine is started in a process group of its own, so that a terminal's Ctrl-C reaches this process
alone; a second SIGINT would make the engine give up at once and leave pending operations behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """A context in which the signals are passed on, exactly once, to the child that runs.

    ``requested`` says afterwards whether somebody asked to stop; no new child should be started then.
    """

    def __init__(self) -> None:
        self.requested = False
        self._child: int | None = None
        self._told: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Handlers can be set from the main thread only; elsewhere the caller has the say over signals.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # What the caller ignores stays ignored: nohup, a script's background job.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def watch(self, pid: int) -> None:
        """A child has started; it is told at once when the request came before it."""
        self._child = pid
        if self.requested:
            self._tell()

    def forget(self) -> None:
        """The child has ended."""
        self._child = None

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        again = self.requested
        self.requested = True
        text = (
            "still finishing what is in flight" if again else "stopping: what is in flight is finished first"
        )
        print(f"\n{text}; nothing is lost", file=sys.stderr, flush=True)
        self._tell()

    def _tell(self) -> None:
        if self._child is None or self._child == self._told:
            return
        self._told = self._child
        try:
            os.kill(self._child, signal.SIGINT)
        except ProcessLookupError:
            self._child = None
