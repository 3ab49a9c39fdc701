"""Artifacts from package registries in the per-user cache: pinned, verified, fetched once."""

from __future__ import annotations

from placements.local.artifacts.command import Cancellation, Cancelled
from placements.local.artifacts.distribution import reachable
from placements.local.artifacts.gomodules import discard_build_caches, remove_discarded
from placements.local.artifacts.host import host_platform
from placements.local.artifacts.progress import Progress, SilentProgress
from placements.local.artifacts.recipes import KEYCLOAK_JAVA_OPTIONS, home_of
from placements.local.artifacts.resolver import (
    FetchOptions,
    ensure,
    ensure_all,
    entry_of,
    missing,
    require_room,
    silent_repositories,
)
from placements.local.artifacts.store import problems

__all__ = [
    "KEYCLOAK_JAVA_OPTIONS",
    "Cancellation",
    "Cancelled",
    "FetchOptions",
    "Progress",
    "SilentProgress",
    "discard_build_caches",
    "ensure",
    "ensure_all",
    "entry_of",
    "home_of",
    "host_platform",
    "missing",
    "problems",
    "reachable",
    "remove_discarded",
    "require_room",
    "silent_repositories",
]
