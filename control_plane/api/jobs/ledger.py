"""What becomes of jobs: saved, due, paused, removed. Each method is one transaction, or a part of its
caller's; all of them take turns, so that what may run at once is counted exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from contracts.errors import UsageError
from control_plane.api.jobs.planning import missed, next_time
from control_plane.api.jobs.queue import Entries
from control_plane.api.jobs.runs import Begin, Runs
from control_plane.api.problems import ConflictError, NotFoundError
from control_plane.api.schemas.jobs import Pause, SaveJob, Trigger
from control_plane.api.storage.job_models import JobRow, JobVersionRow, PermissionRow
from control_plane.api.storage.kept import Kind
from control_plane.api.storage.models import KeptRow

NO_PERMISSION = "its owner has not let the console run jobs for them"
_TURN = 0x6C616B65_0012


def take_turn(transaction: Transaction) -> None:
    """Waits for other transactions that change jobs or runs."""
    transaction.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TURN})


def given(document: Mapping[str, Any]) -> SaveJob:
    """What the store has of a job, as it was given."""
    return SaveJob.model_validate({"title": "-", **document})


class Ledger:
    """Jobs, apart from their runs. Methods raise sqlalchemy.exc.OperationalError."""

    def __init__(self, sessions: sessionmaker[Transaction], entries: Entries, runs: Runs) -> None:
        self._sessions, self._entries, self._runs = sessions, entries, runs

    def saved(self, transaction: Transaction, kept: KeptRow) -> None:
        """A job was made or changed: notes the version, and plans its next run.

        Raises:
            UsageError: it waits for a job that is not the owner's, or in the end for itself.
        """
        take_turn(transaction)
        job = given(kept.document)
        self._require_order(transaction, kept, job.after)
        transaction.add(
            JobVersionRow(
                job_id=kept.id,
                version=kept.version,
                title=kept.title,
                document=kept.document,
                created_by=kept.updated_by,
            )
        )
        row = transaction.get(JobRow, kept.id)
        if row is None:
            row = JobRow(id=kept.id, arrived={}, last_number=0)
            transaction.add(row)
        row.arrived = {key: run for key, run in row.arrived.items() if UUID(key) in job.after}
        by_itself = job.schedule is not None or bool(job.after)
        if by_itself and row.pause is None and not self._permitted(transaction, kept.owner):
            _pause(row, Pause.PERMISSION, NO_PERMISSION)
        elif not by_itself and row.pause == Pause.PERMISSION:
            _resume(row)
        self._plan(transaction, row, job, datetime.now(tz=UTC))

    def removing(self, transaction: Transaction, kept: KeptRow) -> None:
        """A job is about to be removed. Raises ConflictError when it is in use."""
        take_turn(transaction)
        waiting = [other.title for other in self._after(transaction, kept.owner, kept.id)]
        if waiting:
            raise ConflictError("other jobs run after this one", value=", ".join(sorted(waiting)))
        if self._runs.open_of(transaction, kept.id):
            raise ConflictError("it is running", value=kept.id, next_command="stop its runs first")
        row = transaction.get(JobRow, kept.id)
        if row is not None:
            self._entries.remove(transaction, row.tick_entry)

    def pause(self, owner: str, job_id: UUID) -> None:
        """Lets a job rest. Raises NotFoundError."""
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            kept, row = self._own(transaction, owner, job_id)
            _pause(row, Pause.OWNER, f"{owner} paused it")
            self._plan(transaction, row, given(kept.document), datetime.now(tz=UTC))

    def resume(self, owner: str, job_id: UUID) -> None:
        """Lets it run by itself again. Raises NotFoundError, ConflictError (no permission)."""
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            kept, row = self._own(transaction, owner, job_id)
            job = given(kept.document)
            if (job.schedule or job.after) and not self._permitted(transaction, owner):
                raise ConflictError(
                    "you have not let the console run jobs for you, or Keycloak has taken it back",
                    permitted="a permission to run your jobs while you are away",
                    next_command="give it on the page of jobs",
                )
            _resume(row)
            self._plan(transaction, row, job, datetime.now(tz=UTC))

    def permission_given(self, transaction: Transaction, owner: str) -> None:
        """The owner's jobs that waited for a permission go on."""
        take_turn(transaction)
        for kept, row in self._jobs(transaction, owner):
            if row.pause in (Pause.PERMISSION, Pause.RIGHTS):
                _resume(row)
                self._plan(transaction, row, given(kept.document), datetime.now(tz=UTC))

    def permission_ended(self, transaction: Transaction, owner: str, pause: Pause, reason: str) -> int:
        """None of the owner's jobs runs by itself any more; returns how many that stops."""
        take_turn(transaction)
        stopped = 0
        for kept, row in self._jobs(transaction, owner):
            job = given(kept.document)
            if (job.schedule or job.after) and row.pause is None:
                _pause(row, pause, reason)
                self._plan(transaction, row, job, datetime.now(tz=UTC))
                stopped += 1
        return stopped

    def group_left(self, job_id: UUID, reason: str) -> None:
        """The owner is no member of the job's group any more."""
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            kept, row = transaction.get(KeptRow, job_id), transaction.get(JobRow, job_id)
            if kept is not None and row is not None and row.pause is None:
                _pause(row, Pause.RIGHTS, reason)
                self._plan(transaction, row, given(kept.document), datetime.now(tz=UTC))

    def tick(self, job_id: UUID, tick: UUID) -> None:
        """A job's time has come: begins a run and plans the next one, or neither. One that comes late, since
        nobody worked, makes up for all that were missed."""
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            kept, row = transaction.get(KeptRow, job_id), transaction.get(JobRow, job_id)
            if kept is None or row is None or row.tick != tick or row.next_run_at is None:
                return
            job, due, now = given(kept.document), row.next_run_at, datetime.now(tz=UTC)
            if job.schedule is None:
                return
            late = missed(job.schedule, due, now)
            begin = Begin(trigger=Trigger.SCHEDULE, requested_by=kept.owner, scheduled_for=due)
            run = self._runs.begin(transaction, kept, row, begin)
            if late:
                self._runs.say(transaction, run.id, 0, f"it makes up for {late} later times that were missed")
            row.tick_entry = None
            self._plan(transaction, row, job, now)

    def succeeded(self, transaction: Transaction, job_id: UUID, owner: str, run_id: UUID) -> None:
        """A run of the job succeeded: begins what waited for it last."""
        for kept in self._after(transaction, owner, job_id):
            row = transaction.get(JobRow, kept.id)
            if row is None or row.pause is not None:
                continue
            after = {str(one) for one in given(kept.document).after}
            row.arrived = {**row.arrived, str(job_id): str(run_id)}
            if after <= set(row.arrived):
                row.arrived = {}
                self._runs.begin(
                    transaction, kept, row, Begin(trigger=Trigger.DEPENDENCY, requested_by=owner)
                )

    def _plan(self, transaction: Transaction, row: JobRow, job: SaveJob, after: datetime) -> None:
        self._entries.remove(transaction, row.tick_entry)
        row.tick = row.tick_entry = row.next_run_at = None
        if job.schedule is not None and row.pause is None:
            row.next_run_at, row.tick = next_time(job.schedule, after), uuid4()
            row.tick_entry = self._entries.add_tick(transaction, row.id, row.tick, row.next_run_at)
        transaction.flush()

    def _own(self, transaction: Transaction, owner: str, job_id: UUID) -> tuple[KeptRow, JobRow]:
        kept, row = transaction.get(KeptRow, job_id), transaction.get(JobRow, job_id)
        if kept is None or row is None or kept.owner != owner:
            raise NotFoundError("there is no job of yours of that id", value=job_id)
        return kept, row

    def _jobs(self, transaction: Transaction, owner: str) -> Sequence[tuple[KeptRow, JobRow]]:
        query = select(KeptRow, JobRow).join(JobRow, JobRow.id == KeptRow.id).where(KeptRow.owner == owner)
        return [(kept, row) for kept, row in transaction.execute(query)]

    def _after(self, transaction: Transaction, owner: str, job_id: UUID) -> Sequence[KeptRow]:
        waits = KeptRow.document["after"].contains([str(job_id)])
        of_owner = (KeptRow.kind == Kind.JOB.value, KeptRow.owner == owner)
        return list(transaction.scalars(select(KeptRow).where(*of_owner, waits).order_by(KeptRow.id)))

    def _require_order(self, transaction: Transaction, kept: KeptRow, after: Sequence[UUID]) -> None:
        if not after:
            return
        of_owner = (KeptRow.kind == Kind.JOB.value, KeptRow.owner == kept.owner)
        jobs = {row.id: row for row in transaction.scalars(select(KeptRow).where(*of_owner))}
        for one in after:
            if one not in jobs:
                raise UsageError(
                    "a job runs after others of its owner's", value=one, permitted="ids of jobs of yours"
                )
        seen: set[UUID] = set()
        following = list(after)
        while following:
            one = following.pop()
            if one == kept.id:
                raise UsageError("a job can't run after itself, nor in a circle", value=kept.id)
            if one in jobs and one not in seen:
                seen.add(one)
                following += [UUID(other) for other in jobs[one].document.get("after", [])]

    def _permitted(self, transaction: Transaction, owner: str) -> bool:
        permission = transaction.get(PermissionRow, owner)
        return permission is not None and permission.ended_reason is None


def _pause(row: JobRow, pause: Pause, reason: str) -> None:
    row.pause, row.pause_reason, row.paused_at = pause.value, reason, datetime.now(tz=UTC)


def _resume(row: JobRow) -> None:
    row.pause = row.pause_reason = row.paused_at = None
