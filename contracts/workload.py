"""One description of a service that every placement realises (DESIGN §4).

A component builds a :class:`Workload` from a :class:`Layout`, which the placement hands out, so that
the component writes paths and ports without knowing where it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Protocol

from pulumi import Input, Output


class Capability(StrEnum):
    """What a workload may need of its placement; a placement without it refuses before registering."""

    PROCESS = "process"
    LOOPBACK_TLS = "loopback-tls"
    PERSISTENT_VOLUME = "persistent-volume"
    BUILD_FROM_SOURCE = "build-from-source"
    POD_PER_USER = "pod-per-user"
    REPLICAS = "replicas"
    """Several processes of one workload, each with an address of its own that the others reach."""


class WorkloadClass(StrEnum):
    """Which node class a cluster should give a workload; ignored where there is one machine."""

    SYSTEM = "system"
    QUERY = "query"
    BATCH = "batch"


class Scheme(StrEnum):
    """How a port is spoken to."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"


@dataclass(frozen=True, kw_only=True)
class Port:
    """A named port; ``number`` comes from the layout."""

    name: str
    number: int
    scheme: Scheme = Scheme.HTTP


@dataclass(frozen=True, kw_only=True)
class Probe:
    """When a service counts as ready.

    HTTP(S): ``path`` on ``port`` answers with a status in ``statuses`` and, where given, a body that
    contains ``body_contains``. TCP (``path`` None): the port accepts a connection, or, with ``postgresql``,
    the server takes logins.
    """

    port: str
    path: str | None = None
    statuses: tuple[int, ...] = (200,)
    body_contains: str | None = None
    postgresql: bool = False
    timeout_s: float = 600.0
    period_s: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Volume:
    """Storage for one service. ``retained`` data survives the service's removal."""

    name: str
    retained: bool = False
    size_mib: int = 1024


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a placement puts a workload: what command lines and generated files may refer to.

    ``cache_dir`` is shared by all labs that run the same version of the artifact and may be emptied at
    any time: it holds what makes a start fast.
    """

    artifact_dir: PurePosixPath
    files_dir: PurePosixPath
    data_dir: PurePosixPath
    scratch_dir: PurePosixPath
    python: str
    source_dir: PurePosixPath
    cache_dir: PurePosixPath
    java_home: PurePosixPath | None
    bind_address: str
    ports: Mapping[str, int]
    also: Mapping[str, PurePosixPath] = field(default_factory=dict)
    """Folders of further artifacts that were asked for, by name."""
    logs_dir: PurePosixPath | None = None
    """Where the logs of all workloads are files, ``NAME.log``; None where they are not."""
    host: str = ""
    """The name or address by which a workload's own parts find each other; ``bind_address`` where none is
    given."""
    proxied: bool = False
    """Whether people come through a proxy that ends their TLS and says so in ``X-Forwarded`` headers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", self.host or self.bind_address)

    def file(self, name: str) -> str:
        """The absolute path a generated file will have."""
        return str(self.files_dir / name)

    def file_uri(self, name: str) -> str:
        """The same as a ``file:`` URI, for programs that split plain paths at blanks."""
        return (self.files_dir / name).as_uri()


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """Where people come in, for a placement that publishes what they use: the port, and what its paths begin
    with."""

    port: str
    paths: tuple[str, ...] = ("/",)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How many processes of a workload may run: from its ``replicas`` to ``maximum``, as many as keep their
    use of processors near ``cpu_percent`` of what they ask for."""

    maximum: int
    cpu_percent: int = 70


@dataclass(frozen=True, kw_only=True)
class Drain:
    """What a process needs before it may be stopped: ``command`` runs beside it, with its environment and
    files, and returns once its work is done. It may take ``timeout_s``."""

    command: Sequence[str]
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Helpers:
    """Further pods that one of those that :class:`PerUser` describes may have made for its work: up to
    ``maximum`` each, of ``memory_mib`` and ``cpu_millicores``, with the same ``files``."""

    maximum: int
    memory_mib: int
    cpu_millicores: int


@dataclass(frozen=True, kw_only=True)
class PerUser:
    """What a workload starts for its users while it runs: processes beside its own, or pods where the
    placement offers ``POD_PER_USER``, in the workload's image and without any right.

    ``plan_variable`` is the environment variable that names the file which tells the workload how pods are
    made; it is set where there are pods, and nowhere else. One of them opens connections to ``reaches``, and
    the workload reaches its ``port``. Up to ``maximum`` run side by side, each with ``memory_mib`` and
    ``cpu_millicores``, of which the workload's own numbers count one. ``files`` names generated files of the
    workload, without secrets, that each gets. ``helpers`` are pods that one of them works with, where there
    are pods; None: it works alone.
    """

    plan_variable: str
    port: int
    reaches: Sequence[str]
    maximum: int
    memory_mib: int
    cpu_millicores: int
    files: Sequence[str] = ()
    workload_class: WorkloadClass = WorkloadClass.BATCH
    helpers: Helpers | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One service, described once.

    ``env`` and ``files`` values may be secret; ``files`` maps a name relative to the layout's
    ``files_dir`` to its content. A changed value changes the workload's hash, which restarts exactly
    this workload. ``memory_mib`` is the expected resident size; ``depends_on`` names other workloads.
    ``source`` names the folders of the checkout whose code a workload of artifact ``python`` runs: a change
    in them restarts it too. ``reaches`` names the ports, as ``workload/port``, that it opens connections to,
    ``reaches_outside`` the TCP ports of hosts that are no part of the lab: a placement with a network of its
    own lets nothing else through.

    ``addressed`` False: nobody is told where its processes are, they make themselves known to the workload
    that they work for; it has neither a name nor a way for the operator. ``direct``: its name leads to the
    address of its one process, not to one that stands for it.
    """

    name: str
    artifact: str
    command: Sequence[Input[str]]
    ports: Sequence[Port]
    readiness: Probe
    env: Mapping[str, Input[str]] = field(default_factory=dict)
    files: Mapping[str, Input[str]] = field(default_factory=dict)
    source: Sequence[str] = ()
    volumes: Sequence[Volume] = ()
    memory_mib: int = 128
    cpu_millicores: int = 100
    depends_on: Sequence[str] = ()
    reaches: Sequence[str] = ()
    reaches_outside: Sequence[int] = ()
    needs: frozenset[Capability] = frozenset({Capability.PROCESS})
    identity: str | None = None
    replicas: int = 1
    scaling: Scaling | None = None
    drain: Drain | None = None
    entrance: Entrance | None = None
    addressed: bool = True
    direct: bool = False
    per_user: PerUser | None = None
    stop_timeout_s: float = 20.0
    workload_class: WorkloadClass = WorkloadClass.SYSTEM
    unprivileged: bool = False
    """True: never runs as root (PostgreSQL refuses it)."""

    @property
    def alone(self) -> bool:
        """Whether it is one process that never runs beside another of its kind."""
        return self.replicas == 1 and self.scaling is None and Capability.REPLICAS not in self.needs


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A running workload. ``ready`` resolves once the readiness probe has passed; consumers depend on
    ``resource``, which is done only then."""

    internal_urls: Mapping[str, str]
    operator_urls: Mapping[str, str]
    ready: Output[bool]
    resource: Any
    public_url: str | None = None
    """Where it is published, if it is."""


class Placement(Protocol):
    """Where workloads run."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def layout(
        self, workload: str, artifact: str, ports: Sequence[str], *, also: Sequence[str] = ()
    ) -> Layout:
        """Paths and ports for a workload; deterministic for one lab. ``also`` names artifacts it needs
        beside its own; Java is the one that any of them needs. Raises LabError when the placement lacks
        room for it."""
        ...

    def internal_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        """The URL other workloads use, known before the workload is deployed."""
        ...

    def operator_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        """The URL that reaches the port from the operator's machine."""
        ...

    def public_url(self, workload: str, port: str, scheme: Scheme = Scheme.HTTP) -> str:
        """The URL that people's browsers and clients use for a workload with an :class:`Entrance`: the
        operator's, unless the placement publishes it."""
        ...

    def deploy(self, workload: Workload, opts: Any = None) -> Deployed:
        """Registers the workload. Raises LabError before anything is registered when a capability
        is missing."""
        ...


def missing_capabilities(workload: Workload, offered: frozenset[Capability]) -> list[str]:
    """What ``workload`` needs and the placement does not offer, sorted."""
    return sorted(need.value for need in workload.needs - offered)
