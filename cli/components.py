"""The lab's saved set of components, and what it takes to run them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.project import Lab, read_config
from components.registry import COMPONENTS, ComponentInfo, resolve, selected
from contracts.errors import UsageError
from contracts.settings import SETTINGS, Role

if TYPE_CHECKING:
    from contracts.versions import Artifact

FOUNDATION_ARTIFACTS = ("postgresql", "minio")


def saved_set(lab: Lab) -> tuple[str, ...]:
    """The components beside the core that ``lab up`` runs: as configured, else the setting's default."""
    configured = read_config(lab, Role.LAB).get("components") if lab.exists else None
    text = _default("components") if configured is None else configured
    return tuple(name.strip() for name in text.split(",") if name.strip())


def merge(saved: Sequence[str], add: Sequence[str], without: Sequence[str]) -> tuple[str, ...]:
    """The saved set with ``add`` joined and ``without`` removed, in the registry's names, order kept.

    Raises:
        UsageError: an unknown name (nearest suggested), one both added and removed, a part of the core
            removed, or something removed that another component of the set needs.
    """
    adding = [resolve(name) for name in add]
    # What the saved set names and this checkout does not have can leave it all the same.
    forgotten = [name for name in without if name in saved and name not in COMPONENTS]
    removing = [resolve(name) for name in without if name not in forgotten]
    for info in removing:
        if info in adding:
            raise UsageError(f"{info.name} is both named and removed", value=info.name)
        if info.core:
            raise UsageError(
                f"{info.name} belongs to the core, which always runs",
                value=info.name,
                permitted="components beside the core",
                next_command="lab components",
            )
    gone = {info.name for info in removing}
    kept = [name for name in saved if name not in forgotten]
    wanted = [resolve(name, next_command=f"lab up --without {name}") for name in kept] + adding
    names = tuple(dict.fromkeys(info.name for info in wanted if not info.core and info.name not in gone))
    for name in names:
        for needed in resolve(name).needs:
            if needed in gone:
                raise UsageError(
                    f"{name} needs {needed}", value=needed, next_command=f"lab up --without {name},{needed}"
                )
    return names


def check_placement(chosen: Sequence[ComponentInfo], placement: str) -> None:
    """Raises UsageError when a component can't run on the lab's placement."""
    for info in chosen:
        if placement not in info.placements:
            raise UsageError(
                f"{info.name} does not run on placement {placement!r}",
                value=placement,
                permitted=", ".join(info.placements),
                next_command=f"lab up --without {info.name}",
            )


def chosen_components(saved: Sequence[str], catalog: str) -> tuple[ComponentInfo, ...]:
    """Everything that will run: the core, the catalog, the saved set and what it needs."""
    return selected(saved, catalog)


def artifacts_of(chosen: Sequence[ComponentInfo], *, polaris_home: Path | None) -> list[Artifact]:
    """What has to be in the cache before the services can start, each once."""
    from contracts.versions import ARTIFACTS
    from placements.local.software import java_of

    names = [*FOUNDATION_ARTIFACTS]
    for info in chosen:
        for name in info.artifacts:
            if name in ARTIFACTS and not (name == "polaris" and polaris_home):
                names.append(name)
            java = java_of(name)
            if java is not None:
                names.append(java)
    return [ARTIFACTS[name] for name in dict.fromkeys(names)]


def _default(key: str) -> str:
    return next(setting.default for setting in SETTINGS if setting.key == key)
