"""What the supervisor is told about a service, and what it tells about one: values, no I/O."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from contracts.errors import LabError, UsageError

SERVICE_NAME_PATTERN = r"[a-z][a-z0-9-]{0,40}"


class ServiceState(StrEnum):
    """Where a service stands."""

    WAITING = "waiting"
    """Wanted; one of its dependencies is not ready."""
    STARTING = "starting"
    """Its process runs; the readiness probe has not passed."""
    READY = "ready"
    BACKOFF = "backoff"
    """It died or did not become ready; it is started again after a delay."""
    FAILED = "failed"
    """It never became ready, and stays down until it is applied or started again; or its specification
    can't be read, and it stays down until it is applied."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    UNSUPERVISED = "unsupervised"
    """Its process runs and the supervisor does not; the next start adopts it."""


@dataclass(frozen=True, kw_only=True)
class ProbeSpec:
    """A probe with everything resolved.

    ``path`` None: passed once ``port`` accepts a connection, or, with ``postgresql``, once the server
    behind it takes logins: it accepts connections before, while it recovers. ``statuses`` that are empty:
    any answer will do. With ``tls`` the path is asked for by HTTPS, verified against the authorities in
    ``ca_file``, else against the machine's, or, without ``verified``, not at all: for what is asked alone
    whether somebody answers.
    """

    port: int
    tls: bool = False
    host: str = "127.0.0.1"
    path: str | None = None
    statuses: tuple[int, ...] = (200,)
    body_contains: str | None = None
    timeout_s: float = 600.0
    period_s: float = 0.2
    ca_file: str | None = None
    postgresql: bool = False
    verified: bool = True


@dataclass(frozen=True, kw_only=True)
class Restarts:
    """How a service is started again for which the supervisor's own ways (``Options``) are wrong:
    ``attempts`` before it was ever ready, at most ``delay_max_s`` between two of them, and after ``stable_s``
    of being ready the delay begins anew."""

    attempts: int
    delay_max_s: float
    stable_s: float


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command that ends by itself and runs before the service starts, as the service's own user.

    ``creates``: a directory that the command makes. It is given ``<creates>.new`` in place of
    ``{new}`` in ``argv``, which becomes ``creates`` only after success, so that a half-made directory
    is never used; where ``creates`` exists the step is done.
    ``stdin_file``: name of a generated file fed to standard input; the step is done as long as the
    file's content is what it was when the step last succeeded.
    """

    name: str
    argv: tuple[str, ...]
    creates: str | None = None
    stdin_file: str | None = None
    timeout_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """One service, with everything resolved. Paths are absolute.

    ``env`` is complete: beside it a service sees only PATH, LANG, TZ, a UTF-8 LC_ALL, a private HOME and
    TMPDIR.
    ``files`` maps names below ``files_dir`` to contents, which may be secret, as ``env`` may; ``argv``
    may not, since every user of the machine can read it. ``discard`` lists directories that are deleted
    together with the service; ``shared_dirs`` are made where missing and never deleted: their content is
    of use to others and no secret. ``copies`` maps directories to make, readable by everybody, to the
    directories whose content they get once. ``memory_mib`` is the expected resident size. ``pid_file``:
    the file with whose first line, its own pid, the service keeps a second one out; what a crash left of
    it is deleted before a start, since the pid may be another process's by then. ``liveness`` is asked each
    ``period_s`` of its own while the service is ready; one that fails it several times in a row is ended and
    started again. ``restarts`` None: as the supervisor's options say.
    """

    name: str
    argv: tuple[str, ...]
    plan_hash: str
    files_dir: str
    scratch_dir: str
    data_dir: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    probe: ProbeSpec | None = None
    steps: tuple[Step, ...] = ()
    depends_on: tuple[str, ...] = ()
    unprivileged: bool = False
    stop_signal: str = "SIGTERM"
    stop_timeout_s: float = 20.0
    memory_mib: int = 128
    discard: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)
    pid_file: str | None = None
    shared_dirs: tuple[str, ...] = ()
    liveness: ProbeSpec | None = None
    restarts: Restarts | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(SERVICE_NAME_PATTERN, self.name):
            raise UsageError(
                "a service's name is not valid",
                value=self.name,
                permitted=f"what matches {SERVICE_NAME_PATTERN}",
            )
        if not self.argv:
            raise UsageError(f"service {self.name} has no command")
        if self.stop_signal not in signal.Signals.__members__:
            raise UsageError(
                f"service {self.name} has an unknown stop signal",
                value=self.stop_signal,
                permitted="a name such as SIGTERM or SIGINT",
            )
        for file in self.files:
            if file.startswith("/") or ".." in file.split("/") or not file:
                raise UsageError(
                    f"service {self.name} has a file outside its own folder",
                    value=file,
                    permitted="a relative path without '..'",
                )

    def to_json(self) -> str:
        """The form on disk and on the wire."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ServiceSpec:
        """The reverse of :meth:`to_json`. Raises LabError when the text is not a service's."""
        try:
            document: dict[str, Any] = json.loads(text)
            probe, liveness = document.pop("probe", None), document.pop("liveness", None)
            restarts = document.pop("restarts", None)
            steps = document.pop("steps", ())
            for key in ("argv", "depends_on", "discard", "shared_dirs"):
                document[key] = tuple(document.get(key) or ())
            return cls(
                **document,
                probe=None if probe is None else _probe(probe),
                liveness=None if liveness is None else _probe(liveness),
                restarts=None if restarts is None else Restarts(**restarts),
                steps=tuple(Step(**{**step, "argv": tuple(step["argv"])}) for step in steps),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LabError(f"a service's specification can't be read: {error}") from error


def _probe(document: Mapping[str, Any]) -> ProbeSpec:
    return ProbeSpec(**{**document, "statuses": tuple(document["statuses"])})


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One service as the supervisor sees it. ``since`` is when the state began, in seconds since the
    epoch; ``restarts`` counts since the service was last applied or started by hand; ``memory_mib``,
    where it was measured, is resident memory now, of the process and all below it; ``reason`` says
    why it is not ready, or why it last died."""

    name: str
    state: ServiceState
    pid: int | None = None
    since: float = 0.0
    restarts: int = 0
    plan_hash: str = ""
    waiting_for: tuple[str, ...] = ()
    reason: str | None = None
    memory_mib: int | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    log_file: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for the wire and ``--json``."""
        return {**dataclasses.asdict(self), "state": self.state.value}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ServiceStatus:
        """The reverse of :meth:`as_dict`."""
        return cls(
            **{
                **document,
                "state": ServiceState(document["state"]),
                "waiting_for": tuple(document["waiting_for"]),
                "depends_on": tuple(document["depends_on"]),
            }
        )


def start_order(depends_on: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names so that each comes after what it depends on; names that are not keys are left out.

    Raises:
        LabError: the dependencies form a circle, which is named.
    """
    order: list[str] = []
    visiting: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in depends_on:
            return
        if name in visiting:
            circle = [*visiting[visiting.index(name) :], name]
            raise LabError("services depend on each other in a circle", value=" -> ".join(circle))
        visiting.append(name)
        for dependency in sorted(depends_on[name]):
            visit(dependency)
        visiting.pop()
        order.append(name)

    for name in sorted(depends_on):
        visit(name)
    return order


def with_dependencies(names: list[str], depends_on: Mapping[str, tuple[str, ...]]) -> set[str]:
    """``names`` and everything they depend on, directly or not."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(depends_on.get(name, ()))
    return found
