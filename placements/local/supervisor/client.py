"""The way to the supervisor, for the dynamic provider and the CLI."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import LabError
from placements.local.supervisor import logs, processes
from placements.local.supervisor.code_version import code_version
from placements.local.supervisor.leftovers import (
    read_spec,
    read_state,
    recorded_process,
    unreadable_status,
)
from placements.local.supervisor.model import ServiceSpec, ServiceState, ServiceStatus, start_order
from placements.local.supervisor.options import Options
from placements.local.supervisor.paths import HomePaths
from placements.local.supervisor.processes import SAFE_ENVIRONMENT, ProcessIdentity

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 600.0
PING_TIMEOUT_S = 10.0
_LAUNCHES = 2
_SOURCE_ROOT = Path(__file__).parents[3]


class SupervisorClient:
    """Speaks to the supervisor of the lab at ``home``. Every method may raise LabError.

    Methods that change something start the supervisor when it does not run; :meth:`status`,
    :meth:`watch`, :meth:`running` and :meth:`shutdown` never do.
    """

    def __init__(self, home: Path, options: Options | None = None) -> None:
        self.paths = HomePaths(home=Path(home).absolute())
        self._options = options or Options()

    def running(self) -> bool:
        """Whether the supervisor of this home runs and answers."""
        control = self._control()
        return control is not None and self._ping(control) is not None

    def ensure_running(self) -> None:
        """Starts the supervisor when it does not run: it adopts services that run and starts those that
        are wanted. One that runs other code than this client is replaced; services go on meanwhile."""
        control = self._control()
        version = self._ping(control) if control else None
        if version == code_version():
            return
        if version is not None:
            self.shutdown(stop_services=False)
        self._launch()

    def apply(self, spec: ServiceSpec) -> ServiceStatus:
        """Declares or changes a service and returns once it is ready; a service that runs with the same
        plan hash is left alone. Raises LabError with the last lines of its log when it does not become
        ready."""
        self.ensure_running()
        return ServiceStatus.from_dict(self._call({"op": "apply", "spec": spec.to_json()}))

    def start(self, names: Sequence[str] | None = None) -> list[ServiceStatus]:
        """Starts services (None: all that are declared) and what they depend on; returns once ready."""
        self.ensure_running()
        answer = self._call({"op": "start", "names": None if names is None else list(names)})
        return [ServiceStatus.from_dict(status) for status in answer]

    def resume(self, names: Sequence[str]) -> list[str]:
        """Starts those of ``names`` that are declared, or were when they were removed, as they were then;
        returns their names at once. A head start: whoever applies them next finds them on their way."""
        self.ensure_running()
        return [str(name) for name in self._call({"op": "resume", "names": list(names)})]

    def stop(self, names: Sequence[str], *, wait: bool = True) -> None:
        """Stops services, in order; they stay declared and down until started or applied. Without
        ``wait`` returns once they have been told."""
        self.ensure_running()
        self._call({"op": "stop", "names": list(names), "wait": wait})

    def stop_all(self) -> None:
        """Stops every service in reverse order of dependency; all stay declared."""
        if not self.paths.declared():
            return
        self.ensure_running()
        self._call({"op": "stop", "names": None})

    def remove(self, name: str) -> None:
        """Stops and forgets a service. Retained data and logs stay. Unknown names are no error."""
        if name not in self.paths.declared():
            return
        self.ensure_running()
        self._call({"op": "remove", "name": name})

    def status(self) -> list[ServiceStatus]:
        """All declared services, each after what it depends on, with their memory. Without a supervisor the
        answer comes from disk: ``unsupervised`` for what runs, ``stopped`` for the rest."""
        found = self._services()
        # Measured here: the supervisor, which probes and starts services meanwhile, has no time for it.
        memory_mib = processes.resident_mib(one.pid for one in found if one.pid is not None)
        return [
            one if one.pid is None else dataclasses.replace(one, memory_mib=memory_mib.get(one.pid))
            for one in found
        ]

    def status_of(self, name: str) -> ServiceStatus | None:
        """One service, its memory not measured; None when it is not declared."""
        return next((status for status in self._services() if status.name == name), None)

    def watch(self) -> Generator[ServiceStatus, None, None]:
        """Every service as it is now, then every change, until the supervisor ends. Raises LabError
        when it does not run."""
        for answer in self._exchange({"op": "watch"}, timeout_s=None):
            yield ServiceStatus.from_dict(answer["event"])

    def shutdown(self, *, stop_services: bool = True) -> None:
        """Ends the supervisor and waits until it is gone. With ``stop_services`` they stop first and
        run again when the supervisor does; without, they go on and are adopted then."""
        control = self._control()
        if control is None:
            return
        self._call({"op": "shutdown", "stop_services": stop_services})
        identity = _identity(control)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while identity.alive:
            if time.monotonic() > deadline:
                raise LabError(
                    f"the supervisor did not end within {STOP_TIMEOUT_S:g} s",
                    value=f"process {identity.pid}",
                    next_command="lab status",
                )
            time.sleep(0.02)

    def tail(self, name: str, lines: int = 50) -> list[str]:
        """The last lines of a service's log."""
        return logs.tail(self.paths.log(name), lines)

    # What a crash left

    def left_behind(self) -> list[str]:
        """Without a supervisor: what an earlier one and its services left on disk, one line each. Empty
        after an orderly end."""
        if self.running():
            return []
        control, found = self._control(), []
        if control is not None:
            found.append(f"the supervisor, process {control['pid']}, does not answer")
        elif self.paths.control.exists():
            found.append("the supervisor was killed, or the machine restarted")
        for name in self.paths.declared():
            recorded = recorded_process(read_state(self.paths, name))
            if recorded is not None and not recorded.alive:
                found.append(f"{name} was process {recorded.pid}, which runs no more")
        return found

    def unreadable(self) -> list[str]:
        """Services whose specification on disk is damaged, or written by other code; they are down until
        they are applied again."""
        return [name for name in self.paths.declared() if not self._readable(name)]

    def recover(self) -> None:
        """Makes way for a new supervisor and starts it: ends one that does not answer. Services go on, but
        for those whose specification can't be read: they end and are forgotten."""
        control = self._control()
        if control is not None and self._ping(control) is None:
            processes.send(_identity(control), signal.SIGKILL)
        self.ensure_running()
        for name in self.unreadable():
            self.remove(name)

    # How it works

    def _services(self) -> list[ServiceStatus]:
        if self.running():
            return [ServiceStatus.from_dict(status) for status in self._call({"op": "status"})]
        return self._status_from_disk()

    def _control(self) -> dict[str, Any] | None:
        """Port and token of a supervisor whose process still is the one that wrote them."""
        try:
            control: dict[str, Any] = json.loads(self.paths.control.read_text(encoding="utf-8"))
            identity = _identity(control)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return control if identity.alive else None

    def _ping(self, control: dict[str, Any]) -> str | None:
        try:
            return str(next(self._talk(control, {"op": "ping"}, PING_TIMEOUT_S))["result"]["code_version"])
        except (OSError, LabError, StopIteration, KeyError):
            return None

    def _launch(self) -> None:
        """Starts a supervisor and waits until one answers; again when the one that had the home before
        was just ending."""
        for _ in range(_LAUNCHES):
            self._spawn()
            deadline = time.monotonic() + START_TIMEOUT_S
            while not self.running():
                if self._lock_is_free():
                    break
                if time.monotonic() > deadline:
                    raise self._not_started(f"it does not answer after {START_TIMEOUT_S:g} s")
                time.sleep(0.02)
            else:
                return
        raise self._not_started("it ended at once")

    def _spawn(self) -> None:
        command = [
            *(sys.executable, "-m", "placements.local.supervisor", "--detach"),
            *("--home", str(self.paths.home), "--options", self._options.to_json()),
        ]
        # Only what a service may see is passed on: no passphrase or token of the caller.
        env = {name: os.environ[name] for name in (*SAFE_ENVIRONMENT, "HOME") if name in os.environ}
        try:
            self.paths.prepare()
            with open(self._trouble, "ab", opener=_private) as trouble:
                subprocess.run(
                    command,
                    env={**env, "PYTHONPATH": str(_SOURCE_ROOT)},
                    cwd=self.paths.home,
                    stdin=subprocess.DEVNULL,
                    stdout=trouble,
                    stderr=trouble,
                    check=True,
                    timeout=START_TIMEOUT_S,
                )
        except (OSError, subprocess.SubprocessError) as error:
            raise self._not_started(str(error)) from error

    def _lock_is_free(self) -> bool:
        """Whether no supervisor holds this home: one that is about to answer does."""
        with self.paths.lock.open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        return True

    @property
    def _trouble(self) -> Path:
        """What a supervisor prints that can't log."""
        return self.paths.logs / "supervisor.err"

    def _not_started(self, why: str) -> LabError:
        lines = "".join(f"\n    {line}" for line in logs.tail(self._trouble))
        return LabError(f"the supervisor did not start: {why}{lines}", next_command="lab doctor")

    def _call(self, request: dict[str, Any]) -> Any:
        # No time limit: the supervisor limits each start by its probe's.
        for answer in self._exchange(request, timeout_s=None):
            return answer["result"]
        raise LabError(
            "the supervisor ended before it answered", value=request["op"], next_command="lab status"
        )

    def _exchange(self, request: dict[str, Any], timeout_s: float | None) -> Iterator[dict[str, Any]]:
        control = self._control()
        if control is None:
            raise LabError("the supervisor of this lab does not run", next_command="lab up")
        try:
            yield from self._talk(control, request, timeout_s)
        except OSError as error:
            raise LabError(
                f"the supervisor can't be reached: {error}", value=request["op"], next_command="lab status"
            ) from error

    def _talk(
        self, control: dict[str, Any], request: dict[str, Any], timeout_s: float | None
    ) -> Iterator[dict[str, Any]]:
        with socket.create_connection(("127.0.0.1", int(control["port"])), timeout=10.0) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(json.dumps({"token": control["token"], **request}).encode() + b"\n")
            with connection.makefile("r", encoding="utf-8") as answers:
                for line in answers:
                    answer: dict[str, Any] = json.loads(line)
                    if "error" in answer:
                        raise _as_error(answer["error"])
                    yield answer

    def _status_from_disk(self) -> list[ServiceStatus]:
        specs: dict[str, ServiceSpec] = {}
        unreadable: list[ServiceStatus] = []
        for name in self.paths.declared():
            try:
                specs[name] = read_spec(self.paths, name)
            except LabError as error:
                unreadable.append(unreadable_status(self.paths, name, error))
        order = start_order({name: spec.depends_on for name, spec in specs.items()})
        return [*(self._offline(specs[name]) for name in order), *unreadable]

    def _readable(self, name: str) -> bool:
        try:
            read_spec(self.paths, name)
        except LabError:
            return False
        return True

    def _offline(self, spec: ServiceSpec) -> ServiceStatus:
        process = recorded_process(read_state(self.paths, spec.name))
        runs = process is not None and process.alive
        return ServiceStatus(
            name=spec.name,
            state=ServiceState.UNSUPERVISED if runs else ServiceState.STOPPED,
            pid=process.pid if process is not None and runs else None,
            plan_hash=spec.plan_hash,
            reason="the supervisor does not run",
            ports=dict(spec.ports),
            depends_on=spec.depends_on,
            log_file=str(self.paths.log(spec.name)),
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _identity(control: dict[str, Any]) -> ProcessIdentity:
    return ProcessIdentity(pid=int(control["pid"]), birth=str(control["birth"]))


def _as_error(document: dict[str, Any]) -> LabError:
    return LabError(
        str(document["error"]),
        value=document.get("value"),
        permitted=document.get("permitted"),
        next_command=document.get("next_command"),
    )
