"""Every component, one row each; a new one is a folder and a row at the end (the order fixes ports).

Rows name modules and import nothing, so that listing components costs nothing.
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


@dataclass(frozen=True, kw_only=True)
class ComponentInfo:
    """What one component is and needs.

    ``service`` is the workload's name; ``module`` and ``class_name`` hold its ``Service``; ``artifacts``
    name rows of ``contracts.versions``; ``needs`` names other components; ``memory_mib`` is its expected
    resident size, beside the Java heap that ``heap_setting`` names a setting of, where it does.
    """

    name: str
    title: str
    service: str
    module: str
    class_name: str
    core: bool = False
    memory_mib: int = 128
    heap_setting: str | None = None
    needs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    placements: tuple[str, ...] = ("local", "kubernetes", "aws")

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
        service="keycloak",
        module="components.keycloak",
        class_name="Keycloak",
        core=True,
        memory_mib=380,
        artifacts=("keycloak", "java25"),
    ),
    ComponentInfo(
        name="polaris",
        title="Iceberg REST catalog: Apache Polaris",
        service="catalog",
        module="components.polaris",
        class_name="Polaris",
        core=True,
        memory_mib=380,
        needs=("keycloak",),
        artifacts=("polaris", "java25"),
    ),
    ComponentInfo(
        name="nessie",
        title="Iceberg REST catalog: Nessie",
        service="catalog",
        module="components.nessie",
        class_name="Nessie",
        core=True,
        memory_mib=320,
        needs=("keycloak",),
        artifacts=("nessie", "java25"),
    ),
    ComponentInfo(
        name="opa",
        title="Policy decisions",
        service="opa",
        module="components.opa",
        class_name="Opa",
        core=True,
        memory_mib=64,
        artifacts=("opa",),
    ),
    ComponentInfo(
        name="governor",
        title="Access data: history, publication, catalog grants",
        service="governor",
        module="components.governor",
        class_name="Governor",
        core=True,
        memory_mib=140,
        needs=("keycloak", "opa"),
    ),
    ComponentInfo(
        name="trino",
        title="SQL engine: Trino",
        service="trino",
        module="components.trino",
        class_name="Trino",
        memory_mib=300,
        heap_setting="trinoHeapMib",
        needs=("keycloak", "opa"),
        artifacts=("trino", "java25"),
    ),
)

COMPONENTS: dict[str, ComponentInfo] = {row.name: row for row in _ROWS}

CATALOGS = ("polaris", "nessie")
"""Exactly one of these runs, as the persistent stack pins it."""

RESERVED_SERVICES = ("spark", "control-plane", "agent")
"""Services that clients of the realm already name; their ports are kept for them."""

_SERVICES = [row.service for row in _ROWS]
SERVICE_ORDER: tuple[str, ...] = tuple(dict.fromkeys([*_SERVICES[:6], *RESERVED_SERVICES, *_SERVICES[6:]]))
"""Workload names in the order that fixes their ports; it only grows at its end."""


def resolve(name: str) -> ComponentInfo:
    """The component of that name or alias. Raises UsageError with the nearest name."""
    for row in _ROWS:
        if name == row.name or name in row.aliases:
            return row
    known = [n for row in _ROWS for n in (row.name, *row.aliases)]
    raise unknown_name("component", name, known, next_command="lab components")


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
        if resolve(name).name not in CATALOGS:
            add(name)
    return tuple(row for row in _ROWS if row.name in wanted)
