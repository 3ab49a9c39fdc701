"""What ``lab maintain`` shows: values that the governor and its client both speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class StepOutcome(StrEnum):
    """How a run or one of its steps ended. Steps: ``done`` to ``failed``; runs also ``nothing`` (no step was
    needed), ``running`` and ``interrupted`` (the governor ended meanwhile)."""

    DONE = "done"
    UNNEEDED = "unneeded"
    OFF = "off"
    UNSAFE = "unsafe"
    WAITS = "waits"
    CONFLICT = "conflict"
    FAILED = "failed"
    NOTHING = "nothing"
    RUNNING = "running"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a table's metadata makes it. ``bytes``: of the data and delete files of the current
    snapshot; those of older snapshots are not counted."""

    files: int
    small_files: int
    delete_files: int
    bytes: int
    manifests: int
    snapshots: int


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """What would be done, or why not. ``verdict``: run, unneeded, off, unsafe or waits."""

    procedure: str
    verdict: str
    reason: str
    statement: str | None = None


@dataclass(frozen=True, kw_only=True)
class MaintenancePlan:
    """What maintaining a table now would come to; nothing was done."""

    table: str
    policy: Mapping[str, Any]
    size: Size
    steps: tuple[PlannedStep, ...]


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step of a run. ``duration_s`` is None for a step that did not run."""

    procedure: str
    outcome: StepOutcome
    reason: str
    statement: str | None = None
    duration_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class MaintenanceRun:
    """One run on one table, with its sizes before and after (None where they could not be read)."""

    id: int
    table: str
    asked_by: str
    scheduled: bool
    started_at: datetime
    ended_at: datetime | None
    outcome: StepOutcome
    before: Size | None
    after: Size | None
    steps: tuple[StepReport, ...]
    policy: Mapping[str, Any]
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class MaintenanceScope:
    """Tables that the caller may maintain, of those asked for, and the catalog's limits.

    ``unsafe`` maps procedures that this lab's catalog does not bear to the reason; ``every_s`` is how often
    the schedule looks, 0 when it is off.
    """

    tables: tuple[str, ...]
    catalog_kind: str
    unsafe: Mapping[str, str]
    min_retention_s: int
    every_s: int


@dataclass(frozen=True, kw_only=True)
class PolicyRevision:
    """One revision of the maintenance policies with its whole document."""

    revision: int
    author: str
    reason: str
    created_at: datetime
    based_on: int | None
    document: dict[str, Any]
