"""The words of workspaces, spoken by both sides of the governor's API."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from contracts.errors import UsageError

GROUP_PREFIX = "workspace_"
"""A workspace's group is this and its name: groups of people and of workspaces never meet."""

_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
RESERVED = frozenset({"information_schema", "system", "default"})
DEFAULT_QUERIES = 4
DEFAULT_JOBS = 2
DEFAULT_STORAGE_MIB = 10 * 1024
MIB = 1024 * 1024


class WorkspaceState(StrEnum):
    """``MAKING`` and ``REMOVING`` go on by themselves after a failure."""

    MAKING = "making"
    READY = "ready"
    REMOVING = "removing"


class Step(StrEnum):
    """What a workspace is made of, in the order of making it; ``TABLES`` is there to remove only."""

    GROUP = "group"
    MEMBERS = "members"
    NAMESPACE = "namespace"
    ACCESS = "access"
    TABLES = "tables"


MAKING = (Step.GROUP, Step.MEMBERS, Step.NAMESPACE, Step.ACCESS)
REMOVING = (Step.ACCESS, Step.TABLES, Step.NAMESPACE, Step.GROUP)
"""Rights first: nothing that is being removed can be reached."""


class WorkspaceRole(StrEnum):
    """What somebody is in a workspace. A ``VIEWER`` reads access data and so knows of every workspace."""

    OWNER = "owner"
    MEMBER = "member"
    VIEWER = "viewer"


@dataclass(frozen=True, kw_only=True)
class WorkspaceQuota:
    """``queries`` and ``jobs`` run at once at most; more than ``storage_mib`` of live data is warned of."""

    queries: int = DEFAULT_QUERIES
    jobs: int = DEFAULT_JOBS
    storage_mib: int = DEFAULT_STORAGE_MIB


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One step that was done, and what it did."""

    step: Step
    at: datetime
    detail: str


@dataclass(frozen=True, kw_only=True)
class WorkspaceUsage:
    """Tables of the workspace and the size of their live data, as of the governor's last look."""

    tables: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A workspace as one caller has it; ``role`` is the caller's, ``may_manage`` whether they may change
    its members. ``location`` is the root of its files, where the catalog says it. ``error`` is what stands
    in the way of a step, None while nothing does."""

    id: UUID
    name: str
    description: str
    namespace: str
    group: str
    location: str | None
    owners: tuple[str, ...]
    quota: WorkspaceQuota
    state: WorkspaceState
    steps: tuple[StepDone, ...]
    error: str | None
    created_by: str
    created_at: datetime
    role: WorkspaceRole
    may_manage: bool
    may_set_quota: bool
    usage: WorkspaceUsage
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WorkspaceMember:
    """A member, and whether they are an owner."""

    username: str
    owner: bool


@dataclass(frozen=True, kw_only=True)
class WorkspaceRemoval:
    """What removing a workspace takes away. ``refused`` says why it can't be done as asked, None when it
    can; ``done`` whether it was."""

    name: str
    namespace: str
    group: str
    tables: tuple[str, ...]
    members: tuple[str, ...]
    access: tuple[str, ...] = field(default=())
    refused: str | None = None
    done: bool = False


def group_of(name: str) -> str:
    """The Keycloak group of a workspace."""
    return f"{GROUP_PREFIX}{name}"


def require_name(name: str) -> None:
    """Raises UsageError unless ``name`` can be a workspace's: it becomes a namespace of every engine."""
    if _NAME.fullmatch(name) and name not in RESERVED:
        return
    raise UsageError(
        "this can't be the name of a workspace",
        value=name,
        permitted="2 to 40 lower-case letters, digits and underscores, a letter first; not "
        + ", ".join(sorted(RESERVED)),
    )


def storage_warnings(quota: WorkspaceQuota, usage: WorkspaceUsage) -> tuple[str, ...]:
    """What to say of the storage that a workspace takes: from nine tenths of its quota on."""
    limit_bytes = quota.storage_mib * MIB
    if usage.size_bytes * 10 < limit_bytes * 9:
        return ()
    used_mib = usage.size_bytes / MIB
    over = "is over" if usage.size_bytes > limit_bytes else "comes near"
    return (f"{used_mib:,.0f} MiB of live data {over} the workspace's {quota.storage_mib:,} MiB",)


def without_duplicates(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` in their order, each once."""
    return tuple(dict.fromkeys(names))
