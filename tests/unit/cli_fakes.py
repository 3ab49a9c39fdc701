"""Stand-ins for the engine and the supervisor, which note in which order they were asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.engine import RunResult
from cli.project import Lab
from cli.session import Session
from contracts.errors import LabError
from contracts.outputs import LabOutputs, to_exports
from contracts.settings import Role
from placements.local.supervisor import ServiceState, ServiceStatus
from tests.unit.slots import make_slot

ROOT = Path(__file__).resolve().parents[2]


def lab_outputs(lab: str = "lab", **changes: Any) -> LabOutputs:
    values: dict[str, Any] = {
        "lab": lab,
        "catalog_kind": "nessie",
        "catalog_uri": "http://127.0.0.1:28020/iceberg",
        "catalog_warehouse": "lake",
        "issuer_url": f"http://127.0.0.1:28008/realms/{lab}",
        "governor_url": "http://127.0.0.1:28016",
        "opa_url": "http://127.0.0.1:28012",
        "trino_url": "https://127.0.0.1:28028",
        "components": ("keycloak", "nessie", "opa", "governor", "trino"),
        "ca_certificate": "PEM",
    }
    return LabOutputs(**{**values, **changes})


@dataclass
class FakeEngine:
    """Keeps what was asked in ``calls``; ``fail_on`` makes one call raise."""

    calls: list[str] = field(default_factory=list)
    stacks: set[Role] = field(default_factory=set)
    fail_on: str | None = None
    config_files: list[Path | None] = field(default_factory=list)
    changes: Mapping[str, int] = field(default_factory=lambda: {"create": 3})
    shown: Mapping[str, Any] = field(default_factory=dict)
    """The outputs that a run shows."""
    settings_there: dict[Role, str] = field(default_factory=dict)
    settings_file: Callable[[Role], Path] = lambda role: Path(f"{role}.yaml")
    """Files of stacks as their last run had them, and where they are written to."""
    others: list[str] = field(default_factory=list)
    """Names of the stacks of other labs in the same backend."""
    slots: tuple[str, ...] = ("lab",)
    """The labs that the persistent stack has a slot for."""

    def up(self, role: Role, *, config_file: Path | None = None) -> RunResult:
        self.config_files.append(config_file)
        result = self._run("up", role)
        self.stacks.add(role)
        return result

    def preview(self, role: Role, *, diff: bool = False) -> RunResult:
        return self._run("preview", role)

    def refresh(self, role: Role, *, clear_pending: bool = False) -> RunResult:
        return self._run("refresh", role)

    def destroy(self, role: Role) -> RunResult:
        return self._run("destroy", role)

    def remove(self, role: Role) -> None:
        self._run("remove", role)
        self.stacks.discard(role)

    def take_settings(self, role: Role) -> None:
        self.calls.append(f"take settings of {role.value}")
        self.settings_file(role).write_text(self.settings_there[role], encoding="utf-8")

    def exists(self, role: Role) -> bool:
        return role in self.stacks

    def create(self, role: Role) -> bool:
        self.calls.append(f"create {role.value}")
        made = role not in self.stacks
        self.stacks.add(role)
        return made

    def stack_names(self) -> list[str]:
        return sorted([*(role.value for role in self.stacks), *self.others])

    def outputs(self, role: Role, *, secrets: bool = False) -> dict[str, Any] | None:
        if role not in self.stacks:
            return None
        if role is Role.LAB:
            document: dict[str, Any] = to_exports(lab_outputs())
            return document
        slots = {name: to_exports(make_slot()) for name in self.slots}
        return {"placement": "local", "catalog_kind": "nessie", "slots": slots}

    def _run(self, operation: str, role: Role) -> RunResult:
        call = f"{operation} {role.value}"
        self.calls.append(call)
        if call == self.fail_on:
            raise LabError(f"{call} failed")
        return RunResult(
            stack=role.value, operation=operation, changes=self.changes, seconds=1.0, outputs=self.shown
        )


@dataclass
class FakeSupervisor:
    """Shares its ``calls`` with an engine, so that their order shows."""

    calls: list[str] = field(default_factory=list)
    services: list[ServiceStatus] = field(default_factory=list)
    fail_start: bool = False
    remains: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def running(self) -> bool:
        return bool(self.services) and not self.remains

    def watch(self) -> list[ServiceStatus]:
        return self.services

    def left_behind(self) -> list[str]:
        return self.remains

    def unreadable(self) -> list[str]:
        return self.damaged

    def recover(self) -> None:
        self.calls.append("recover")
        self.remains, self.damaged = [], []

    def status(self) -> list[ServiceStatus]:
        return self.services

    def start(self, names: Sequence[str] | None = None) -> list[ServiceStatus]:
        self.calls.append(f"start {','.join(names) if names else 'all'}")
        if self.fail_start:
            raise LabError("postgres did not become ready")
        return self.services

    def resume(self, names: Sequence[str]) -> list[str]:
        self.calls.append(f"resume {','.join(names)}")
        return list(names)

    def stop(self, names: Sequence[str], *, wait: bool = True) -> None:
        self.calls.append(f"{'stop' if wait else 'begin to stop'} {','.join(names)}")

    def remove(self, name: str) -> None:
        self.calls.append(f"remove {name}")
        self.services = [service for service in self.services if service.name != name]

    def stop_all(self) -> None:
        self.calls.append("stop all")

    def shutdown(self, *, stop_services: bool = True) -> None:
        self.calls.append("shutdown")


def service(name: str, state: ServiceState = ServiceState.READY, **values: Any) -> ServiceStatus:
    return ServiceStatus(**{"name": name, "state": state, "pid": 4242, "memory_mib": 64, **values})


@dataclass
class FakeRun:
    """A session on a lab below ``home`` with a fake engine and supervisor, and what it said."""

    session: Session
    engine: FakeEngine
    supervisor: FakeSupervisor
    said: list[str]

    @property
    def lab(self) -> Lab:
        return self.session.lab

    @property
    def calls(self) -> list[str]:
        return self.engine.calls


def fake_run(home: Path, name: str = "lab") -> FakeRun:
    engine = FakeEngine()
    supervisor = FakeSupervisor(calls=engine.calls)
    said: list[str] = []
    environ = {"LAB_HOME": str(home), "LAB_CACHE": str(home / "cache"), "PATH": "/usr/bin:/bin"}
    lab = Lab(name=name, home=home / name, root=ROOT, cache=home / "cache")
    engine.settings_file = lab.stack_file
    session = Session(lab, say=said.append, environ=environ, engine=engine, supervisor=supervisor)
    return FakeRun(session=session, engine=engine, supervisor=supervisor, said=said)
