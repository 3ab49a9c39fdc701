"""Maintenance of tables through the governor, with the user's own token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.access import user_tokens
from cli.session import Session
from contracts.errors import UsageError
from contracts.identity import Audience

if TYPE_CHECKING:
    from governance.maintenance.calls import MaintenanceCalls
    from governance.maintenance.reports import (
        MaintenancePlan,
        MaintenanceRun,
        MaintenanceScope,
        PolicyRevision,
    )

_RUN_S = 6 * 3600.0
"""How long one table may take: its answer comes when it is done."""


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """What would be done to each table. ``scope``: what the catalog bears."""

    scope: MaintenanceScope
    plans: tuple[MaintenancePlan, ...]


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """What was done to each table, in order; ``errors``: tables that no run was begun for, and why."""

    scope: MaintenanceScope
    runs: tuple[MaintenanceRun, ...]
    errors: Mapping[str, str]

    @property
    def failed(self) -> bool:
        """Whether a table was not maintained for want of anything but time."""
        return bool(self.errors) or any(run.outcome.value == "failed" for run in self.runs)


@contextmanager
def _maintenance(session: Session, persona: str | None) -> Iterator[MaintenanceCalls]:
    from governance.client import GovernorClient

    outputs = session.outputs()
    token = user_tokens(session, outputs, persona, Audience.GOVERNOR)
    with GovernorClient(outputs.governor_url, token, timeout_s=_RUN_S) as client:
        yield client.maintenance


def plan_maintenance(
    session: Session, tables: Sequence[str] = (), *, persona: str | None = None
) -> PlanReport:
    """What maintaining tables now would come to: those named, or all that the user may have maintained.

    Raises:
        UsageError: there is no such table.
        GovernorError: one of them is not the user's to maintain, or the lab has no Trino.
    """
    with _maintenance(session, persona) as calls:
        scope = calls.scope(tables)
        return PlanReport(scope=scope, plans=tuple(calls.plan(table) for table in scope.tables))


def maintain(session: Session, tables: Sequence[str] = (), *, persona: str | None = None) -> RunReport:
    """Maintains tables one after another, due or not; one that fails keeps no other waiting.

    Raises:
        UsageError, GovernorError: as :func:`plan_maintenance`, before anything is done.
    """
    from governance.client import GovernorError

    runs: list[MaintenanceRun] = []
    errors: dict[str, str] = {}
    with _maintenance(session, persona) as calls:
        scope = calls.scope(tables)
        for number, table in enumerate(scope.tables, start=1):
            session.say(f"{number} of {len(scope.tables)}: {table}")
            try:
                runs.append(calls.run(table))
            except GovernorError as error:
                if error.status is None:
                    raise
                errors[table] = error.what
    return RunReport(scope=scope, runs=tuple(runs), errors=errors)


def maintenance_history(
    session: Session, tables: Sequence[str] = (), *, limit: int = 20, persona: str | None = None
) -> tuple[MaintenanceRun, ...]:
    """Runs of the schedule and of people, newest first."""
    with _maintenance(session, persona) as calls:
        return calls.runs(tables, limit)


def maintenance_policies(session: Session, *, persona: str | None = None) -> PolicyRevision:
    """The living maintenance policies."""
    with _maintenance(session, persona) as calls:
        return calls.policies()


def maintenance_policy_history(
    session: Session, *, limit: int = 20, persona: str | None = None
) -> tuple[PolicyRevision, ...]:
    """Who changed the maintenance policies, when and why; newest first."""
    with _maintenance(session, persona) as calls:
        return calls.revisions(limit)


def change_maintenance_policy(
    session: Session,
    name: str,
    *,
    values: Mapping[str, Any] | None = None,
    unset: Sequence[str] = (),
    reason: str,
    persona: str | None = None,
) -> PolicyRevision:
    """Sets and unsets fields of what holds for ``*``, ``ns.*`` or ``ns.table``.

    Raises:
        UsageError: a field or value is not valid, or retention is below the lab's limits.
        GovernorError: the object is not the user's to maintain.
    """
    with _maintenance(session, persona) as calls:
        return calls.change(name, values=values or {}, unset=unset, reason=reason)


def field_values(assignments: Sequence[str]) -> dict[str, str]:
    """``every=6h keep_last=3`` as fields. Raises UsageError."""
    found: dict[str, str] = {}
    for one in assignments:
        field, equals, value = one.partition("=")
        if not equals or not field or not value:
            raise UsageError("a field is set as FIELD=VALUE", value=one, permitted="keep_snapshots=30d")
        found[field] = value
    return found
