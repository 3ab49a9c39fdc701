"""The life of one service: a single task that moves it towards what is wanted."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from contracts.errors import LabError
from placements.local.supervisor import leftovers, logs, probe, processes
from placements.local.supervisor.model import ServiceSpec, ServiceState, ServiceStatus
from placements.local.supervisor.options import Options
from placements.local.supervisor.paths import HomePaths, write_private
from placements.local.supervisor.prepare import prepare
from placements.local.supervisor.processes import ProcessIdentity

_log = logging.getLogger(__name__)


class Neighbours(Protocol):
    """What a service asks about the others."""

    def not_ready(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those of ``names`` that are not ready."""
        ...

    def stopping_dependents(self, name: str) -> bool:
        """Whether services that depend on ``name`` are still on their way down."""
        ...


class Service:
    """One declared service. Its methods only set what is wanted; :meth:`run` brings it about.

    The process may be a child of this supervisor or of an earlier one that was killed; both are watched
    by pid and birth, so that no difference remains but the exit status, which only a parent learns.
    """

    def __init__(self, spec: ServiceSpec, paths: HomePaths, options: Options, neighbours: Neighbours) -> None:
        self.spec = spec
        self.wanted = False
        self.state = ServiceState.STOPPED
        self.reason: str | None = None
        self.process: ProcessIdentity | None = None
        self.waiting_for: tuple[str, ...] = ()
        self._paths = paths
        self._options = options
        self._neighbours = neighbours
        self._child: subprocess.Popen[bytes] | None = None
        self._running_hash = ""
        self._proven = False
        self._deaths = 0
        self._restarts = 0
        self._since = time.time()
        self._log_start = 0
        self._last_death: str | None = None
        self._wake = asyncio.Event()

    # What is wanted

    def want(self, wanted: bool) -> None:
        """Asks for the service to run or to be down."""
        if wanted and not self.wanted:
            self._forget_past()
        self.wanted = wanted
        self._save()
        self._wake.set()

    def replace(self, spec: ServiceSpec) -> None:
        """Takes another specification; the process restarts if the plan's hash differs."""
        write_private(self._paths.spec(spec.name), spec.to_json())
        if spec.plan_hash != self.spec.plan_hash or not self.ready:
            self._forget_past()
        self.spec = spec
        self.want(True)

    def _forget_past(self) -> None:
        self._proven = False
        self._deaths = 0
        self._restarts = 0
        self.reason = None
        self._enter(ServiceState.STARTING if self.process else ServiceState.WAITING)

    @property
    def is_current(self) -> bool:
        """Whether what runs is what was specified, and wanted."""
        return self.wanted and self.process is not None and self._running_hash == self.spec.plan_hash

    @property
    def ready(self) -> bool:
        return self.state is ServiceState.READY and self.is_current

    def status(self) -> ServiceStatus:
        """The service as it is now, its memory not measured."""
        return ServiceStatus(
            name=self.spec.name,
            state=self.state,
            pid=self.process.pid if self.process else None,
            since=self._since,
            restarts=self._restarts,
            plan_hash=self.spec.plan_hash,
            waiting_for=self.waiting_for,
            reason=self.reason,
            ports=dict(self.spec.ports),
            depends_on=self.spec.depends_on,
            log_file=str(self._log_file),
        )

    def failure(self) -> LabError:
        """Why the service is down, with the last lines it wrote."""
        lines = logs.tail(self._log_file, since=self._log_start)
        shown = "".join(f"\n    {line}" for line in lines)
        return LabError(
            f"{self.spec.name} did not become ready: {self.reason or 'no reason is known'}{shown}",
            next_command=f"lab logs {self.spec.name}",
        )

    # Bringing it about

    async def run(self) -> None:
        """Moves the service towards what is wanted, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._cycle()
            except (LabError, OSError) as error:
                await self._start_failed(self._in_words(error))
            except Exception as error:  # a defect in one service's handling must not end the others'
                _log.exception("%s: unexpected error", self.spec.name)
                await self._start_failed(f"unexpected {type(error).__name__}: {error}")

    def _in_words(self, error: LabError | OSError) -> str:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space is left on the disk of {self._paths.home}"
        return str(error)

    async def _cycle(self) -> None:
        if self.process is not None and not self.is_current:
            await self._stop()
        elif not self.wanted:
            if self.state is not ServiceState.FAILED:
                self._enter(ServiceState.STOPPED)
            await self._wake.wait()
        elif self.process is None:
            if await self._dependencies_ready():
                await self._start()
        elif await self._becomes_ready():
            await self._watch()

    async def _dependencies_ready(self) -> bool:
        missing = self._neighbours.not_ready(self.spec.depends_on)
        self.waiting_for = missing
        if missing:
            self._enter(ServiceState.WAITING)
            await self._pause(0.05)
        return not missing

    async def _start(self) -> None:
        self._enter(ServiceState.STARTING)
        spec = self.spec
        self._log_start = logs.size(self._log_file)
        processes.refuse_taken_ports({f"{spec.name} {name}": port for name, port in spec.ports.items()})
        ids = processes.unprivileged_ids() if spec.unprivileged else None
        marker = leftovers.marker_of(self._paths, spec.name)
        env = processes.service_environment(spec.env, Path(spec.scratch_dir), marker)
        folder = self._paths.service(spec.name)
        await asyncio.to_thread(prepare, spec, env, self._log_file, folder, ids)
        if not self.wanted or spec is not self.spec:
            return
        self._child = processes.spawn(
            spec.argv, env=env, cwd=Path(spec.cwd or spec.scratch_dir), log=self._log_file, ids=ids
        )
        self._running_hash = spec.plan_hash
        self.process = processes.identify(self._child.pid)
        if self.process is None:
            await self._died()
            return
        self._since = time.time()
        self._save()
        _log.info("%s: started as process %d", spec.name, self.process.pid)

    async def _becomes_ready(self) -> bool:
        """Probes until the service is ready (True), or died, or is no longer wanted (False)."""
        self._enter(ServiceState.STARTING)
        check = self.spec.probe
        deadline = time.monotonic() + (check.timeout_s if check else 0)
        while self.is_current:
            not_yet = None if check is None else await asyncio.to_thread(probe.check, check)
            if not self._running():
                await self._died()
                return False
            if not_yet is None:
                break
            self.reason = f"not ready yet: {not_yet}"
            if check is not None and time.monotonic() > deadline:
                await self._died(f"not ready within {check.timeout_s:g} s: {not_yet}")
                return False
            await self._pause(check.period_s if check else 0)
        if not self.is_current:
            return False
        self._proven = True
        self.reason = self._last_death if self._restarts else None
        self._enter(ServiceState.READY)
        self._save()
        return True

    async def _watch(self) -> None:
        began, limits, check = time.monotonic(), self._limits, self.spec.liveness
        failures, asked_at = 0, began
        asking: asyncio.Task[str | None] | None = None
        while self.is_current:
            if not self._running():
                await self._died()
                return
            if self._deaths and time.monotonic() - began >= limits.stable_s:
                self._deaths = 0
            if check is not None and asking is None and time.monotonic() - asked_at >= check.period_s:
                # Beside this loop: what hangs must not keep a service from being stopped.
                asking = asyncio.create_task(asyncio.to_thread(probe.check, check))
            if asking is not None and asking.done():
                wrong, asking, asked_at = asking.result(), None, time.monotonic()
                failures = failures + 1 if wrong else 0
                if failures >= limits.liveness_failures:
                    await self._died(f"it answered no more, {failures} times in a row: {wrong}")
                    return
            await self._pause(limits.tick_s)

    @property
    def _limits(self) -> Options:
        return self._options.of(self.spec.restarts)

    def _running(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            return False
        return self.process is not None and self.process.alive

    async def _died(self, ended_for: str | None = None) -> None:
        child = self._child
        await self._clear_process()
        # Known only now: the first thread of a process may be gone before the others are.
        reason = ended_for or _exit_reason(child)
        self._restarts += 1
        self._last_death = reason
        hopeless = ended_for is not None or self._deaths + 1 >= self._limits.attempts
        await self._back_off(reason, fatal=hopeless and not self._proven)

    async def _start_failed(self, reason: str) -> None:
        # What was refused before anything ran is refused again, unless the service ran before.
        await self._back_off(reason, fatal=not self._proven)

    async def _back_off(self, reason: str, *, fatal: bool) -> None:
        _log.warning("%s: %s", self.spec.name, reason)
        self.reason = reason
        if not self.wanted:
            return
        self._deaths += 1
        if fatal:
            self.wanted = False
            self._enter(ServiceState.FAILED)
            self._save()
            return
        delay = self._limits.delay_s(self._deaths)
        self._enter(ServiceState.BACKOFF)
        self.reason = f"{reason}; started again after {delay:g} s"
        self._save()
        end = time.monotonic() + delay
        spec = self.spec
        while self.wanted and self.spec is spec and time.monotonic() < end:
            await self._pause(end - time.monotonic())

    async def _stop(self) -> None:
        identity = self.process
        if identity is None:
            return
        self._enter(ServiceState.STOPPING)
        while not self.wanted and self._neighbours.stopping_dependents(self.spec.name):
            await asyncio.sleep(0.05)
        if self.is_current:
            return
        processes.send(identity, processes.end_signal(self.spec.stop_signal))
        deadline = time.monotonic() + self.spec.stop_timeout_s
        while self._running() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if self._running():
            _log.warning(
                "%s: killed, since it did not stop within %g s", self.spec.name, self.spec.stop_timeout_s
            )
        await self._clear_process()
        self._save()
        if not self.wanted:
            self._enter(ServiceState.STOPPED)

    async def _clear_process(self) -> None:
        """Kills what is left of the process and its group, and reaps it."""
        if self.process is not None:
            await asyncio.to_thread(processes.kill_group, self.process)
            while self._running():
                await asyncio.sleep(0.02)
        if self._child is not None:
            await asyncio.to_thread(self._child.wait)
        self._child = None
        self.process = None

    async def _pause(self, seconds: float) -> None:
        """Sleeps, but no longer than until something else is wanted."""
        self._wake.clear()
        try:
            # Not wait_for, which before Python 3.12 loses a cancellation that comes with the event.
            async with asyncio.timeout(max(0.01, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return

    # State on disk

    @property
    def _log_file(self) -> Path:
        return self._paths.log(self.spec.name)

    def _enter(self, state: ServiceState) -> None:
        if state is not self.state:
            self.state = state
            self._since = time.time()
        if state is not ServiceState.WAITING:
            self.waiting_for = ()

    def _save(self) -> None:
        document: dict[str, Any] = {"wanted": self.wanted, "proven": self._proven, "process": None}
        if self.process is not None:
            document["process"] = {
                "pid": self.process.pid,
                "birth": self.process.birth,
                "plan_hash": self._running_hash,
            }
        try:
            write_private(self._paths.state(self.spec.name), json.dumps(document))
        except OSError as error:
            # The process is found by its marker too; a full disk must not end its supervision.
            _log.warning("%s: its state can't be written: %s", self.spec.name, error)

    def remember_wanted(self) -> None:
        """Notes on disk that the service is wanted, without starting it now."""
        self.wanted = True
        self._save()
        self.wanted = False

    def adopt(self) -> None:
        """Takes over what an earlier supervisor left: what was wanted, and the process if it is still
        the same one."""
        saved = leftovers.read_state(self._paths, self.spec.name)
        self.wanted = bool(saved.get("wanted", False))
        self._proven = bool(saved.get("proven", False))
        self.process = leftovers.running_process(self._paths, self.spec.name)
        if self.process is not None:
            # One that is not recorded has no known hash, so it is replaced by a process that is known.
            recorded = self.process == leftovers.recorded_process(saved)
            self._running_hash = str(saved["process"].get("plan_hash", "")) if recorded else ""
            self._enter(ServiceState.STARTING)
            _log.info("%s: adopted process %d", self.spec.name, self.process.pid)


def _exit_reason(child: subprocess.Popen[bytes] | None) -> str:
    """How a process ended that is reaped; one that an earlier supervisor started can't be."""
    code = child.returncode if child else None
    if code is None:
        return "its process ended (how is not known: it was started by an earlier supervisor)"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with status {code}"
