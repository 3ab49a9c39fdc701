"""The governor's loops: publishing (and signing anew), reconciling, delivering the audit, Trino's queues."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from contracts.errors import LabError
from governance.audit.collector import Collector
from governance.governor.service import Governor
from governance.workspaces.queues import QueueStore
from governance.workspaces.store import WorkspaceStore

log = logging.getLogger(__name__)

_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 30.0
_PENDING_RETRY_S = 5.0
CLOCK_CHECK_S = 5.0
"""How soon it is noticed that the clock was moved."""
_CLOCK_MOVED_S = 30.0
"""More than a time service corrects in one step of ordinary life."""


def retry_delay_s(failures: int) -> float:
    """Pause after the n-th failure in a row: doubling, capped, with up to a fifth less at random."""
    delay_s = min(_FIRST_RETRY_S * 2.0 ** (failures - 1), _LONGEST_RETRY_S)
    return delay_s * (1 - random.uniform(0, 0.2))  # noqa: S311 - spreads retries, guards nothing


class Loop:
    """Runs ``work`` every ``every_s``, at once when woken, and with back-off while it fails.

    ``work`` returns the pause until the next run, None for ``every_s``. What it raises as LabError or
    database error is kept in the governor's status under ``name`` until it succeeds again. ``stopping`` is
    set when the loop is to end, for work that can end early.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], float | None],
        *,
        wake: threading.Event,
        every_s: float,
        errors: dict[str, str],
        clock: Callable[[], float] = time.time,
        stopping: threading.Event | None = None,
    ) -> None:
        self._clock = clock
        self._name = name
        self._work = work
        self._wake = wake
        self._every_s = every_s
        self._errors = errors
        self._failures = 0
        self._stopping = stopping or threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Starts the loop's thread."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Lets a run under way end, up to ``timeout_s``; False when it did not."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def step(self) -> float:
        """One run; returns the pause until the next."""
        try:
            pause_s = self._work()
        except (LabError, SQLAlchemyError) as error:
            return self._failed(str(error).splitlines()[0])
        except Exception as error:  # a defect must show in the status, and must not end the loop
            log.exception("%s failed", self._name)
            return self._failed(f"{type(error).__name__}: {error}")
        if self._errors.pop(self._name, None) is not None:
            log.info("%s works again", self._name)
        self._failures = 0
        return self._every_s if pause_s is None else pause_s

    def _failed(self, message: str) -> float:
        self._failures += 1
        if self._errors.get(self._name) != message:
            log.warning("%s: %s", self._name, message)
        self._errors[self._name] = message
        return min(retry_delay_s(self._failures), self._every_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            # Cleared before the work: a change that comes during it is done again, never lost.
            self._wake.clear()
            pause_s = self.step()
            if not self._stopping.is_set():
                self._pause(pause_s)

    def _pause(self, pause_s: float) -> None:
        """Waits until woken, or for ``pause_s``, or until the machine's clock is moved or the machine has
        slept: a signature's time is by that clock, and OPA denies all by one of another hour."""
        ends = time.monotonic() + pause_s
        apart = self._clock() - time.monotonic()
        while (left_s := ends - time.monotonic()) > 0:
            if self._wake.wait(min(left_s, CLOCK_CHECK_S)):
                return
            moved_s = self._clock() - time.monotonic() - apart
            if abs(moved_s) > _CLOCK_MOVED_S:
                log.warning("the clock moved by %.0f s: %s at once", moved_s, self._name)
                return


def publish_loop(governor: Governor, every_s: float) -> Loop:
    """Publishes on change and renews the signature every ``every_s``."""

    def work() -> float | None:
        governor.prepare()
        governor.publish()
        return None

    return Loop("publish", work, wake=governor.signals.publish, every_s=every_s, errors=governor.errors)


def reconcile_loop(governor: Governor, every_s: float) -> Loop:
    """Reconciles on change and every ``every_s``; sooner while something waits for an object."""

    def work() -> float | None:
        governor.prepare()
        report = governor.reconcile(everything=False)
        if report.errors:
            raise LabError("; ".join(report.errors))
        return min(_PENDING_RETRY_S, every_s) if report.pending else None

    return Loop("reconcile", work, wake=governor.signals.reconcile, every_s=every_s, errors=governor.errors)


def audit_loop(governor: Governor, collector: Collector, every_s: float = 60.0) -> Loop:
    """Delivers what the collector took as soon as it came, and sees to gaps and retention."""

    def work() -> float | None:
        governor.prepare()
        collector.work()
        return None

    return Loop("audit", work, wake=collector.wake, every_s=every_s, errors=governor.errors)


def queues_loop(
    governor: Governor, workspaces: WorkspaceStore, queues: QueueStore, every_s: float = 60.0
) -> Loop:
    """Keeps Trino's queues as the workspaces' quotas say."""

    def work() -> float | None:
        governor.prepare()
        if queues.write(workspaces.all()):
            log.info("Trino's queues are written")
        return None

    return Loop("queues", work, wake=governor.signals.queues, every_s=every_s, errors=governor.errors)
