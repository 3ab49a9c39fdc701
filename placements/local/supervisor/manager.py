"""All services of one lab: their order, and the operations on them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from contracts.errors import LabError, unknown_name
from placements.local.supervisor import logs
from placements.local.supervisor.leftovers import end_process, read_spec, unreadable_status
from placements.local.supervisor.model import (
    ServiceSpec,
    ServiceState,
    ServiceStatus,
    start_order,
    with_dependencies,
)
from placements.local.supervisor.options import Options
from placements.local.supervisor.paths import HomePaths, remove_tree, write_private
from placements.local.supervisor.service import Service

_log = logging.getLogger(__name__)
_POLL_S = 0.05


class Manager:
    """Holds the services; one task each. Every method runs in the event loop's thread."""

    def __init__(self, paths: HomePaths, options: Options) -> None:
        self._paths = paths
        self._options = options
        self._services: dict[str, Service] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unreadable: dict[str, LabError] = {}

    # What services ask about each other

    def not_ready(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in self._services or not self._services[name].ready)

    def stopping_dependents(self, name: str) -> bool:
        return any(
            name in service.spec.depends_on and not service.wanted and service.process is not None
            for service in self._services.values()
        )

    # Life of the manager

    async def load(self) -> None:
        """Reads what is declared, adopts what runs and starts what was wanted. A service whose
        specification can't be read, since other code wrote it, ends: nobody would look after it."""
        for name in self._paths.declared():
            try:
                spec = read_spec(self._paths, name)
            except LabError as error:
                _log.error("%s: left out: %s", name, error)
                self._unreadable[name] = error
                continue
            service = Service(spec, self._paths, self._options, self)
            service.adopt()
            self._services[name] = service
        await asyncio.gather(*(end_process(self._paths, name) for name in self._unreadable))
        for name in list(self._services):
            self._watch(name)

    async def rotate_logs(self) -> None:
        """Rotates logs that have grown too long, for ever."""
        while True:
            for name in list(self._services):
                log = self._paths.log(name)
                try:
                    await asyncio.to_thread(
                        logs.rotate, log, self._options.log_max_bytes, self._options.log_keep
                    )
                except OSError as error:
                    _log.warning("%s: its log can't be rotated: %s", name, error)
            await asyncio.sleep(self._options.log_check_s)

    async def close(self, *, stop_services: bool) -> None:
        """Ends supervision. With ``stop_services`` all are stopped in order first, and remembered as
        wanted; without, they go on and the next supervisor adopts them."""
        if stop_services:
            wanted = [name for name, service in self._services.items() if service.wanted]
            await self.stop(list(self._services))
            for name in wanted:
                self._services[name].remember_wanted()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _watch(self, name: str) -> None:
        self._tasks[name] = asyncio.create_task(self._services[name].run(), name=f"service {name}")

    # Operations

    async def apply(self, spec: ServiceSpec) -> ServiceStatus:
        """Declares a service or changes it, starts it and what it depends on, and waits for readiness.

        Raises:
            LabError: a dependency is not declared, a circle, a taken port, or the service did not become
                ready.
        """
        graph = {**self._graph(), spec.name: spec.depends_on}
        for dependency in spec.depends_on:
            if dependency not in graph:
                raise LabError(
                    f"{spec.name} depends on {dependency}, which is not declared",
                    value=dependency,
                    permitted=", ".join(sorted(graph)),
                    next_command="pulumi up",
                )
        start_order(graph)
        if spec.name in self._services:
            self._services[spec.name].replace(spec)
        else:
            self._declare(spec)
        return (await self.start([spec.name]))[0]

    def _declare(self, spec: ServiceSpec) -> None:
        write_private(self._paths.spec(spec.name), spec.to_json())
        self._paths.last_spec(spec.name).unlink(missing_ok=True)
        self._unreadable.pop(spec.name, None)
        service = Service(spec, self._paths, self._options, self)
        # It may run all the same, when its specification was lost.
        service.adopt()
        service.want(True)
        self._services[spec.name] = service
        self._watch(spec.name)

    def resume(self, names: Iterable[str]) -> list[str]:
        """Starts those of ``names`` that are declared or were when they were removed, as they were then,
        and returns at once with their names. Whoever applies their specification next keeps what is the
        same and restarts what is not. Left out: what is unknown, can't be read, or depends on such."""
        specs = {name: spec for name in names if (spec := self._known_spec(name)) is not None}
        while missing := [
            name
            for name, spec in specs.items()
            if any(other not in specs and other not in self._services for other in spec.depends_on)
        ]:
            for name in missing:
                del specs[name]
        order = start_order({**self._graph(), **{name: spec.depends_on for name, spec in specs.items()}})
        resumed = [name for name in order if name in specs]
        for name in with_dependencies(resumed, {**self._graph(), **{n: specs[n].depends_on for n in specs}}):
            if name in self._services:
                self._services[name].want(True)
            else:
                self._declare(specs[name])
        return resumed

    def _known_spec(self, name: str) -> ServiceSpec | None:
        if name in self._services:
            return self._services[name].spec
        try:
            return ServiceSpec.from_json(self._paths.last_spec(name).read_text(encoding="utf-8"))
        except (LabError, OSError):
            return None

    async def start(self, names: Iterable[str] | None = None) -> list[ServiceStatus]:
        """Starts services (None: all) and what they depend on, and waits until all of them are ready.
        Raises LabError when one does not become ready, its specification can't be read, or a name is
        unknown."""
        asked = [*self._services, *self._unreadable] if names is None else list(names)
        closure = with_dependencies(asked, self._graph())
        for name in closure & self._unreadable.keys():
            raise LabError(f"{name} can't be started: {self._unreadable[name].what}", next_command="lab up")
        asked = self._known(asked)
        for name in closure - self._services.keys():
            raise LabError(f"{name}, which others need, is not declared", next_command="lab up")
        for name in closure:
            self._services[name].want(True)
        while True:
            for name in closure:
                self._raise_if_down(name)
            if all(self._services[name].ready for name in closure):
                return [self._services[name].status() for name in asked]
            await asyncio.sleep(_POLL_S)

    async def stop(self, names: Iterable[str] | None = None, *, wait: bool = True) -> None:
        """Stops services (None: all), dependents before what they depend on, and waits until they have
        unless told not to."""
        asked = self._known(names)
        for name in asked:
            self._services[name].want(False)
        if not wait:
            return
        while any(self._services[n].process is not None for n in asked if not self._wanted(n)):
            await asyncio.sleep(_POLL_S)

    async def remove(self, name: str) -> None:
        """Stops a service and forgets it; data that is retained, logs and, for :meth:`resume`, its
        specification stay. Unknown: nothing."""
        if self._unreadable.pop(name, None) is not None:
            await asyncio.to_thread(remove_tree, self._paths.service(name))
        service = self._services.get(name)
        if service is None:
            return
        service.want(False)
        while service.process is not None or service.state is ServiceState.STOPPING:
            await asyncio.sleep(_POLL_S)
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del self._services[name]
        spec = service.spec
        try:
            write_private(self._paths.last_spec(name), spec.to_json())
        except OSError as error:
            # On a full disk a lab can be taken down all the same; it only misses its head start.
            _log.warning("%s: its specification is not kept: %s", name, error)
        doomed = [*spec.discard, spec.files_dir, spec.scratch_dir, str(self._paths.service(name))]
        for folder in doomed:
            await asyncio.to_thread(remove_tree, Path(folder))

    def status(self) -> list[ServiceStatus]:
        """All services, each after what it depends on, their memory not measured; last those that can't be
        read."""
        return [
            *(self._services[name].status() for name in start_order(self._graph())),
            *(unreadable_status(self._paths, name, error) for name, error in self._unreadable.items()),
        ]

    async def events(self) -> AsyncIterator[ServiceStatus]:
        """Every service now, then each change of state, pid or reason, until the reader goes."""
        seen: dict[str, tuple[object, ...]] = {}
        while True:
            for status in self.status():
                shown = (status.state, status.pid, status.waiting_for, status.reason)
                if seen.get(status.name) != shown:
                    seen[status.name] = shown
                    yield status
            await asyncio.sleep(_POLL_S)

    def _graph(self) -> dict[str, tuple[str, ...]]:
        return {name: service.spec.depends_on for name, service in self._services.items()}

    def _wanted(self, name: str) -> bool:
        return name in self._services and self._services[name].wanted

    def _known(self, names: Iterable[str] | None) -> list[str]:
        asked = list(self._services) if names is None else list(names)
        for name in asked:
            if name not in self._services:
                raise unknown_name("service", name, self._services, next_command="lab status")
        return asked

    def _raise_if_down(self, name: str) -> None:
        service = self._services.get(name)
        if service is None:
            raise LabError(f"{name} was removed, or never declared, while another service waited for it")
        if service.state is ServiceState.FAILED:
            raise service.failure()
        if not service.wanted:
            raise LabError(f"{name} was stopped while it was starting", next_command="lab up")
