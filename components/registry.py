"""Every component, one row each; a new one is a folder and a row at the end (the order fixes ports).

Rows import nothing, so that listing components costs nothing: what component ``some-name`` is made of is
class ``SomeName`` in ``components/some_name``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from contracts.errors import unknown_name
from contracts.settings import SETTINGS

if TYPE_CHECKING:
    from components.service import LabContext, Service

BESIDE = frozenset({"java21", "java25", "web", "agent-libraries"})
"""Artifacts that a service has beside what it runs."""

WORKER_PLACEMENTS = ("kubernetes", "aws")
"""Placements that run several processes of one component."""


@dataclass(frozen=True, kw_only=True)
class ComponentInfo:
    """What one component is and needs.

    ``name`` and ``title`` are all that a row must say. ``service`` is the workload's name, the component's
    own where it is not given; ``beside`` names workloads that it always has with it. ``artifacts`` name rows
    of ``contracts.versions``; ``needs`` names other components; ``memory_mib`` is the expected resident size
    of all its workloads, beside the Java heap that ``heap_setting`` names a setting of, where it does.
    ``workers_setting`` names one that asks for further processes, where a placement runs them;
    ``pods_per_user``: on a cluster its service makes pods for its users.
    """

    name: str
    title: str
    service: str = ""
    beside: tuple[str, ...] = ()
    core: bool = False
    memory_mib: int = 128
    heap_setting: str | None = None
    workers_setting: str | None = None
    needs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    placements: tuple[str, ...] = ("local", "kubernetes", "aws")
    pods_per_user: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "service", self.service or self.name)

    @property
    def services(self) -> tuple[str, ...]:
        """All its workloads, the one that it is known by first."""
        return (self.service, *self.beside)

    @property
    def module(self) -> str:
        """The component's folder, as Python imports it."""
        return f"components.{self.name.replace('-', '_')}"

    @property
    def image(self) -> str:
        """The container image it runs in, where it runs in one: that of its first artifact, or its own."""
        runs = next((name for name in self.artifacts if name not in BESIDE), None)
        return runs or self.service

    @property
    def class_name(self) -> str:
        """Its ``Service`` in that module."""
        return "".join(part.capitalize() for part in self.name.split("-"))

    def memory_at(self, config: Mapping[str, str]) -> int:
        """The expected resident size in MiB with these settings, defaults filled in."""
        if self.heap_setting is None:
            return self.memory_mib
        setting = next(setting for setting in SETTINGS if setting.key == self.heap_setting)
        return self.memory_mib + int(config.get(setting.key, setting.default))

    def deploy(self, context: LabContext, opts: Any = None) -> Service:
        """Registers the component."""
        service: Service = getattr(import_module(self.module), self.class_name)(context, opts)
        return service


_ROWS = (
    ComponentInfo(
        name="keycloak",
        title="Identity provider",
        core=True,
        memory_mib=380,
        artifacts=("keycloak", "java25"),
    ),
    ComponentInfo(
        name="polaris",
        title="Iceberg REST catalog: Apache Polaris",
        service="catalog",
        core=True,
        memory_mib=380,
        needs=("keycloak",),
        artifacts=("polaris", "java25"),
    ),
    ComponentInfo(
        name="nessie",
        title="Iceberg REST catalog: Nessie",
        service="catalog",
        core=True,
        memory_mib=320,
        needs=("keycloak",),
        artifacts=("nessie", "java25"),
    ),
    ComponentInfo(
        name="opa",
        title="Policy decisions",
        core=True,
        memory_mib=128,
        artifacts=("opa",),
    ),
    ComponentInfo(
        name="governor",
        title="Access data: history, publication, catalog grants",
        core=True,
        memory_mib=140,
        needs=("keycloak", "opa"),
    ),
    ComponentInfo(
        name="trino",
        title="SQL engine: Trino",
        beside=("trino-tokens",),
        memory_mib=350,
        heap_setting="trinoHeapMib",
        workers_setting="trinoWorkers",
        needs=("keycloak", "opa"),
        artifacts=("trino", "java25"),
    ),
    ComponentInfo(
        name="spark",
        title="Spark: a Connect server per user, batch jobs",
        memory_mib=450,
        heap_setting="sparkHeapMib",
        needs=("keycloak", "governor"),
        artifacts=("spark", "iceberg-spark-runtime", "iceberg-aws-bundle", "java21"),
        pods_per_user=True,
    ),
    ComponentInfo(
        name="control-plane",
        title="Console: worksheet, explorer, dashboards, governance",
        memory_mib=160,
        needs=("keycloak", "governor", "trino"),
        aliases=("console", "viz-app"),
        artifacts=("web",),
    ),
    ComponentInfo(
        name="agent",
        title="Agent: answers questions about tables as the asking user; MCP server",
        memory_mib=180,
        needs=("keycloak", "governor", "trino"),
        aliases=("langgraph-worker",),
        artifacts=("agent-libraries",),
    ),
    # A new component's row goes here, the last one.
)

COMPONENTS: dict[str, ComponentInfo] = {row.name: row for row in _ROWS}

CATALOGS = ("polaris", "nessie")
"""Exactly one of these runs, as the persistent stack pins it."""

_FIRST_SERVICES = (
    *("keycloak", "catalog", "opa", "governor", "trino"),
    *("spark", "control-plane", "agent", "trino-worker", "trino-tokens"),
)
"""Services whose ports are fixed whether or not they are components already: clients of the realm name
them."""

SERVICE_ORDER: tuple[str, ...] = tuple(dict.fromkeys([*_FIRST_SERVICES, *(row.service for row in _ROWS)]))
"""Workload names in the order that fixes their ports; it only grows at its end."""


def resolve(name: str, *, next_command: str = "lab components") -> ComponentInfo:
    """The component of that name or alias. Raises UsageError with the nearest name and ``next_command``."""
    for row in _ROWS:
        if name == row.name or name in row.aliases:
            return row
    known = [n for row in _ROWS for n in (row.name, *row.aliases)]
    raise unknown_name("component", name, known, next_command=next_command)


def selected(saved: Iterable[str], catalog_kind: str) -> tuple[ComponentInfo, ...]:
    """The core with the pinned catalog, and the saved set with what it needs, in registry order."""
    wanted: set[str] = set()

    def add(name: str) -> None:
        info = resolve(name)
        if info.name in wanted:
            return
        wanted.add(info.name)
        for needed in info.needs:
            add(needed)

    for row in _ROWS:
        if row.core and row.name not in CATALOGS:
            add(row.name)
    add(catalog_kind)
    for name in saved:
        # One that an older checkout had is still in the saved set, and must be let go.
        if resolve(name, next_command=f"lab up --without {name}").name not in CATALOGS:
            add(name)
    return tuple(row for row in _ROWS if row.name in wanted)
