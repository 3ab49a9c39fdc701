"""Jobs and runs as people read them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from control_plane.api.problems import NotFoundError
from control_plane.api.schemas.jobs import JobVersion, LogLine, RunState
from control_plane.api.storage.job_models import JobRow, JobVersionRow, RunLogRow, RunRow
from control_plane.api.storage.models import KeptRow
from control_plane.api.storage.paging import cursor_of, place

RETENTION = timedelta(days=90)


class JobReader:
    """Methods raise sqlalchemy.exc.OperationalError."""

    def __init__(self, sessions: sessionmaker[Transaction]) -> None:
        self._sessions = sessions

    def states(self, ids: Collection[UUID]) -> dict[UUID, JobRow]:
        """What changes of each job by itself."""
        with self._sessions() as transaction:
            return {row.id: row for row in transaction.scalars(select(JobRow).where(JobRow.id.in_(ids)))}

    def last_runs(self, ids: Collection[UUID]) -> dict[UUID, RunRow]:
        """The last run of each job."""
        query = (
            select(RunRow)
            .ext(distinct_on(RunRow.job_id))
            .where(RunRow.job_id.in_(ids))
            .order_by(RunRow.job_id, RunRow.number.desc())
        )
        with self._sessions() as transaction:
            return {row.job_id: row for row in transaction.scalars(query)}

    def versions(self, job_id: UUID) -> list[JobVersion]:
        """All versions, the newest first."""
        query = select(JobVersionRow).where(JobVersionRow.job_id == job_id)
        with self._sessions() as transaction:
            return [
                JobVersion(
                    version=row.version, title=row.title, created_at=row.created_at, created_by=row.created_by
                )
                for row in transaction.scalars(query.order_by(JobVersionRow.version.desc()))
            ]

    def version(self, job_id: UUID, version: int) -> JobVersionRow:
        """One of them. Raises NotFoundError."""
        with self._sessions() as transaction:
            row = transaction.get(JobVersionRow, (job_id, version))
            if row is None:
                raise NotFoundError("this job has no such version", value=version)
            return row

    def run(self, run_id: UUID) -> RunRow | None:
        """A run, whoever may see it."""
        with self._sessions() as transaction:
            return transaction.get(RunRow, run_id)

    def titles(self, ids: Collection[UUID]) -> dict[UUID, str]:
        """The jobs' titles."""
        with self._sessions() as transaction:
            found = transaction.execute(select(KeptRow.id, KeptRow.title).where(KeptRow.id.in_(ids)))
            return {row.id: row.title for row in found}

    def runs(
        self,
        *,
        job_id: UUID | None = None,
        owner: str | None = None,
        state: RunState | None,
        limit: int,
        cursor: str | None,
    ) -> tuple[list[RunRow], str | None]:
        """Runs of a job or an owner, newest first, and the cursor of what follows. Raises UsageError."""
        query = select(RunRow)
        if job_id is not None:
            query = query.where(RunRow.job_id == job_id)
        if owner is not None:
            query = query.where(RunRow.owner == owner)
        if state is not None:
            query = query.where(RunRow.state == state.value)
        if cursor is not None:
            query = query.where(tuple_(RunRow.created_at, RunRow.id) < place(cursor))
        query = query.order_by(RunRow.created_at.desc(), RunRow.id.desc()).limit(limit + 1)
        with self._sessions() as transaction:
            rows = list(transaction.scalars(query))
        more = len(rows) > limit
        return rows[:limit], cursor_of(rows[limit - 1].created_at, rows[limit - 1].id) if more else None

    def follow(self, run_id: UUID, after: int, limit: int) -> tuple[RunRow | None, Sequence[LogLine]]:
        """A run as it is now, and its log behind the line ``after``: read in this order, a run that has ended
        has no later line."""
        query = select(RunLogRow).where(RunLogRow.run_id == run_id, RunLogRow.id > after)
        with self._sessions() as transaction:
            run = transaction.get(RunRow, run_id)
            lines = transaction.scalars(query.order_by(RunLogRow.id).limit(limit))
            return run, [
                LogLine.model_validate(
                    {
                        "id": line.id,
                        "at": line.at,
                        "attempt": line.attempt,
                        "source": line.source,
                        "text": line.text,
                    }
                )
                for line in lines
            ]

    def remove_old(self) -> int:
        """Removes runs that ended before the history begins; returns how many."""
        oldest = datetime.now(tz=UTC) - RETENTION
        with self._sessions.begin() as transaction:
            done = transaction.execute(delete(RunRow).where(RunRow.ended_at < oldest))
            return cast(CursorResult[Any], done).rowcount
