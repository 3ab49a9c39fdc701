"""Artifacts from package registries in the per-user cache: pinned, verified, fetched once."""

from __future__ import annotations

from .command import Cancellation, Cancelled
from .distribution import reachable
from .gomodules import remove_build_caches
from .host import host_platform
from .progress import Progress, SilentProgress
from .recipes import KEYCLOAK_JAVA_OPTIONS, home_of
from .resolver import FetchOptions, ensure, ensure_all, entry_of, missing
from .store import problems

__all__ = [
    "KEYCLOAK_JAVA_OPTIONS",
    "Cancellation",
    "Cancelled",
    "FetchOptions",
    "Progress",
    "SilentProgress",
    "ensure",
    "ensure_all",
    "entry_of",
    "home_of",
    "host_platform",
    "missing",
    "problems",
    "reachable",
    "remove_build_caches",
]
