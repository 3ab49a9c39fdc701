"""Chooses the placement that the settings name."""

from __future__ import annotations

from components.registry import SERVICE_ORDER
from contracts.errors import LabError
from contracts.settings import Settings, cache_home
from contracts.workload import Placement
from placements.local.placement import LocalPlacement


def local_placement(settings: Settings) -> LocalPlacement:
    """Supervised processes on this machine."""
    given = {"polaris": settings.polaris_home} if settings.polaris_home else {}
    return LocalPlacement(settings.home, settings.port_base, cache_home(), SERVICE_ORDER, given)


def placement_for(settings: Settings) -> Placement:
    """The placement of ``settings``. Raises LabError for one that this version does not have."""
    if settings.placement != "local":
        raise LabError(
            f"placement {settings.placement!r} is not part of this version",
            value=settings.placement,
            permitted="local",
            next_command="pulumi config set placement local",
        )
    return local_placement(settings)
