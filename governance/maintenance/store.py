"""Maintenance in the governance database: policies with their history, runs, and the lock on a table.

All methods raise sqlalchemy.exc.OperationalError while PostgreSQL can't be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, func, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from contracts.errors import LabError
from governance.maintenance.reports import MaintenanceRun, PolicyRevision, Size, StepOutcome, StepReport
from governance.models import GovernorEventRow, MaintenanceRevisionRow, MaintenanceRunRow

_POLICY_LOCK = 0x6C616B65_0005
_TABLE_LOCKS = 0x6C616B65
"""With a table's hash as the second number; locks of one number are apart from these."""


class BeingMaintainedError(LabError):
    """Another run has the table (409)."""


class MaintenanceStore:
    """Policies and runs. Methods take and give values, never rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    # --- policies --------------------------------------------------------------------------------------

    def policies(self) -> PolicyRevision | None:
        """The living policies, None before the seed."""
        with self._sessions() as session:
            row = _newest(session)
            return None if row is None else _revision(row)

    def since(self) -> datetime | None:
        """When this lab's maintenance began: its first policies."""
        with self._sessions() as session:
            return session.scalar(select(func.min(MaintenanceRevisionRow.created_at)))

    def revisions(self, *, limit: int = 100) -> tuple[PolicyRevision, ...]:
        """The history, newest first."""
        query = select(MaintenanceRevisionRow).order_by(MaintenanceRevisionRow.revision.desc()).limit(limit)
        with self._sessions() as session:
            return tuple(_revision(row) for row in session.scalars(query))

    def seed(
        self,
        document: Mapping[str, Any],
        merge: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], dict[str, Any]],
    ) -> PolicyRevision:
        """Applies a seed: ``merge(living, last seed, new seed)`` gives the document. The same twice changes
        nothing."""
        with self._sessions.begin() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POLICY_LOCK})
            row = _newest(session)
            if row is not None and row.seed == document:
                return _revision(row)
            merged = dict(document) if row is None else merge(row.document, row.seed, document)
            return _add(session, row, merged, seed=document, author="governor", reason="seed")

    def change(
        self, author: str, reason: str, make: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> PolicyRevision:
        """Makes ``make(living)`` the living document; one that is equal makes no revision.

        Raises:
            LabError: there are no policies yet; or what ``make`` raises.
        """
        with self._sessions.begin() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POLICY_LOCK})
            row = _newest(session)
            if row is None:
                raise LabError("there are no maintenance policies yet", next_command="lab status")
            document = make(row.document)
            if document == row.document:
                return _revision(row)
            return _add(session, row, document, seed=row.seed, author=author, reason=reason)

    # --- runs ------------------------------------------------------------------------------------------

    @contextmanager
    def holding(self, table: str) -> Iterator[None]:
        """Holds the right to maintain a table, across processes. It goes with this process.

        Raises:
            BeingMaintainedError: somebody else holds it.
        """
        keys = {"all": _TABLE_LOCKS, "table": table}
        with self._engine.connect() as connection:
            held = connection.scalar(text("SELECT pg_try_advisory_lock(:all, hashtext(:table))"), keys)
            connection.commit()
            if not held:
                raise BeingMaintainedError(
                    f"table {table!r} is being maintained by another run",
                    value=table,
                    next_command="lab maintain history " + table,
                )
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:all, hashtext(:table))"), keys)
                connection.commit()

    def begin(self, table: str, *, asked_by: str, scheduled: bool, policy: Mapping[str, Any]) -> int:
        """Notes the beginning of a run; to be called by who holds the table. A run that an earlier process
        left open is closed: it was interrupted."""
        with self._sessions.begin() as session:
            session.execute(
                update(MaintenanceRunRow)
                .where(MaintenanceRunRow.table_name == table, MaintenanceRunRow.ended_at.is_(None))
                .values(outcome=StepOutcome.INTERRUPTED.value, ended_at=func.clock_timestamp())
            )
            row = MaintenanceRunRow(
                table_name=table,
                asked_by=asked_by,
                scheduled=scheduled,
                outcome=StepOutcome.RUNNING.value,
                detail={"policy": dict(policy), "steps": []},
            )
            session.add(row)
            session.flush()
            return row.id

    def end(
        self,
        run: int,
        outcome: StepOutcome,
        *,
        before: Size | None,
        after: Size | None,
        steps: Collection[StepReport],
        error: str | None = None,
    ) -> MaintenanceRun:
        """Notes how a run ended."""
        with self._sessions.begin() as session:
            row = session.get_one(MaintenanceRunRow, run)
            row.outcome = outcome.value
            row.ended_at = session.scalar(select(func.clock_timestamp()))
            row.detail = {
                **row.detail,
                "before": None if before is None else asdict(before),
                "after": None if after is None else asdict(after),
                "steps": [asdict(one) for one in steps],
                "error": error,
            }
            session.flush()
            return _run(row)

    def runs(self, *, tables: Collection[str] | None = None, limit: int = 100) -> tuple[MaintenanceRun, ...]:
        """Runs, newest first; of ``tables`` alone unless None."""
        query = select(MaintenanceRunRow).order_by(MaintenanceRunRow.id.desc()).limit(limit)
        if tables is not None:
            query = query.where(MaintenanceRunRow.table_name.in_(sorted(tables)))
        with self._sessions() as session:
            return tuple(_run(row) for row in session.scalars(query))

    def last_runs(self) -> dict[str, MaintenanceRun]:
        """The newest run of each table."""
        newest = select(func.max(MaintenanceRunRow.id)).group_by(MaintenanceRunRow.table_name)
        query = select(MaintenanceRunRow).where(MaintenanceRunRow.id.in_(newest))
        with self._sessions() as session:
            return {row.table_name: _run(row) for row in session.scalars(query)}

    def last_step(self, table: str, procedure: str) -> datetime | None:
        """When a procedure was done on a table last."""
        done = MaintenanceRunRow.detail["steps"].contains(
            [{"procedure": procedure, "outcome": StepOutcome.DONE.value}]
        )
        query = select(func.max(MaintenanceRunRow.started_at)).where(
            MaintenanceRunRow.table_name == table, done
        )
        with self._sessions() as session:
            return session.scalar(query)

    def forget(self, days: int) -> int:
        """Removes runs that began more than ``days`` days ago; how many."""
        old = text("started_at < clock_timestamp() - make_interval(days => :days)")
        with self._sessions.begin() as session:
            result = session.execute(
                delete(MaintenanceRunRow).where(old).returning(MaintenanceRunRow.id), {"days": days}
            )
            return len(result.all())


def _newest(session: Session) -> MaintenanceRevisionRow | None:
    query = select(MaintenanceRevisionRow).order_by(MaintenanceRevisionRow.revision.desc()).limit(1)
    return session.scalars(query).first()


def _add(
    session: Session,
    before: MaintenanceRevisionRow | None,
    document: Mapping[str, Any],
    *,
    seed: Mapping[str, Any],
    author: str,
    reason: str,
) -> PolicyRevision:
    row = MaintenanceRevisionRow(
        document=dict(document),
        seed=dict(seed),
        author=author,
        reason=reason,
        based_on=None if before is None else before.revision,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    detail = {"revision": row.revision, "based_on": row.based_on, "reason": reason}
    session.add(GovernorEventRow(who=author, what="maintenance.policy", detail=detail))
    return _revision(row)


def _revision(row: MaintenanceRevisionRow) -> PolicyRevision:
    return PolicyRevision(
        revision=row.revision,
        author=row.author,
        reason=row.reason,
        created_at=row.created_at,
        based_on=row.based_on,
        document=row.document,
    )


def _run(row: MaintenanceRunRow) -> MaintenanceRun:
    detail = row.detail
    return MaintenanceRun(
        id=row.id,
        table=row.table_name,
        asked_by=row.asked_by,
        scheduled=row.scheduled,
        started_at=row.started_at,
        ended_at=row.ended_at,
        outcome=StepOutcome(row.outcome),
        before=Size(**detail["before"]) if detail.get("before") else None,
        after=Size(**detail["after"]) if detail.get("after") else None,
        steps=tuple(
            StepReport(**{**one, "outcome": StepOutcome(one["outcome"])}) for one in detail.get("steps", ())
        ),
        policy=detail.get("policy", {}),
        error=detail.get("error"),
    )
