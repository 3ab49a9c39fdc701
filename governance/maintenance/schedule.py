"""When a table is due. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from governance.maintenance.policy import Policies, Policy
from governance.maintenance.reports import MaintenanceRun, StepOutcome

RETRY = timedelta(minutes=15)
"""After a run that did not get through, or was in somebody's way."""
_AGAIN = frozenset(
    {
        StepOutcome.WAITS,
        StepOutcome.CONFLICT,
        StepOutcome.FAILED,
        StepOutcome.INTERRUPTED,
        StepOutcome.RUNNING,
    }
)
"""Whoever really runs still holds the table; otherwise its process was killed."""


def due(
    tables: Collection[str],
    policies: Policies,
    last: Mapping[str, MaintenanceRun],
    *,
    since: datetime,
    now: datetime,
) -> list[str]:
    """Tables to maintain now, the longest due first.

    Args:
        last: each table's newest run.
        since: when this lab's maintenance began: a table that never was maintained is due a whole interval
            after that at the earliest, so that a new lab is left alone at first.
    """
    found: list[tuple[datetime, str]] = []
    for table in tables:
        policy = policies.on(table)
        if not policy.enabled:
            continue
        at = due_at(policy, last.get(table), since)
        if at <= now:
            found.append((at, table))
    return [table for _, table in sorted(found)]


def due_at(policy: Policy, last: MaintenanceRun | None, since: datetime) -> datetime:
    """When a table is due next."""
    every = timedelta(seconds=policy.every)
    if last is None:
        return since + every
    if last.outcome in _AGAIN:
        return (last.ended_at or last.started_at) + min(RETRY, every)
    # By the beginning: a run's length must not move the schedule.
    return last.started_at + every
