"""What becomes of runs: begun, admitted, claimed by a worker, ended. Methods that are given a transaction are
a part of it, and their caller has taken its turn; the others are one of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Executable, func, select, text, update
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from control_plane.api.jobs.parameters import resolve
from control_plane.api.jobs.planning import wait
from control_plane.api.jobs.queue import Entries
from control_plane.api.problems import BusyError, NotFoundError
from control_plane.api.schemas.common import Parameter
from control_plane.api.schemas.jobs import (
    ACTIVE,
    Attempt,
    RunError,
    RunState,
    SaveJob,
    SqlWork,
    Trigger,
    WhenBusy,
)
from control_plane.api.schemas.workspaces import IngestState
from control_plane.api.storage.job_models import JobRow, JobVersionRow, PermissionRow, QuotaRow, RunRow
from control_plane.api.storage.models import IngestRow, KeptRow
from governance.workspaces.model import DEFAULT_JOBS, GROUP_PREFIX

MAX_WAITING = 100
"""How many runs of one job may wait; a scheduled one beyond it is skipped."""
MAX_LOST = 3
"""How many attempts of a run may be lost before it fails."""
MAX_LOG = 4 << 20
_AFTER_LOSS = timedelta(seconds=2)


class SupersededError(Exception):
    """Another worker has the run: this one has nothing more to say."""


@dataclass(frozen=True, kw_only=True)
class Begin:
    """How a run begins. ``version`` None: the job's newest; ``groups`` None: the owner's, as Keycloak said
    last of who let the console run jobs for them."""

    trigger: Trigger
    requested_by: str
    given: Sequence[Parameter] = ()
    scheduled_for: datetime | None = None
    retry_of: UUID | None = None
    session_key: str | None = None
    version: int | None = None
    groups: Collection[str] | None = None


@dataclass(kw_only=True)
class Claimed:
    """A run that this worker has. ``progress`` is where its attempt stands: empty for one that begins now."""

    run_id: UUID
    claim: UUID
    job_id: UUID
    number: int
    owner: str
    trigger: Trigger
    session_key: str | None
    job: SaveJob
    parameters: list[Parameter]
    attempt: int
    attempt_started_at: datetime
    progress: dict[str, Any]
    resumed: bool
    stop_requested: bool


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an attempt ended. ``retryable``: it may go better the next time."""

    state: RunState
    error: RunError | None = None
    lost: bool = False
    retryable: bool = False


@dataclass(frozen=True)
class Limits:
    """How many runs there may be at once: of one person's jobs, and of all."""

    per_owner: int
    total: int


@dataclass(kw_only=True)
class Runs:
    """Methods raise sqlalchemy.exc.OperationalError. ``succeeded`` is told of each run that did, within the
    transaction."""

    sessions: sessionmaker[Transaction]
    entries: Entries
    limits: Limits
    take_turn: Callable[[Transaction], None]
    succeeded: Callable[[Transaction, UUID, str, UUID], None] = field(default=lambda *_: None)

    def begin(self, transaction: Transaction, kept: KeptRow, job_row: JobRow, begin: Begin) -> RunRow:
        """A new run; it goes to the queue if it may.

        Raises:
            UsageError: parameters. BusyError: too many wait already.
        """
        version = transaction.get(JobVersionRow, (kept.id, begin.version or kept.version))
        if version is None:
            raise NotFoundError("there is no such version", value=begin.version)
        job = SaveJob.model_validate({**version.document, "title": version.title})
        now = datetime.now(tz=UTC)
        job_row.last_number += 1
        run = RunRow(
            id=uuid4(),
            job_id=kept.id,
            owner=kept.owner,
            number=job_row.last_number,
            version=version.version,
            trigger=begin.trigger.value,
            state=RunState.WAITING.value,
            parameters=[
                p.model_dump(mode="json") for p in resolve(job, begin.given, begin.scheduled_for or now)
            ],
            scheduled_for=begin.scheduled_for,
            retry_of=begin.retry_of,
            requested_by=begin.requested_by,
            session_key=begin.session_key,
            workspace=_workspace_of(job, self._groups(transaction, kept.owner, begin)),
            attempt=0,
            attempts=[],
            created_at=now,
        )
        transaction.add(run)
        transaction.flush()
        self._skip_or_refuse(transaction, job, run)
        full = self.admit(transaction)
        if run.workspace in full and run.state == RunState.WAITING.value:
            most = full[run.workspace]
            self.say(
                transaction,
                run.id,
                0,
                f"waits: {most} runs and ingests of workspace {run.workspace!r} may be under way at once",
            )
        return run

    def admit(self, transaction: Transaction) -> Mapping[str | None, int]:
        """Gives waiting runs to the queue, the oldest first, as far as the limits go; returns which
        workspaces had no room for one, and how many of each may run."""
        active = [state.value for state in ACTIVE]
        of_owner: Counter[str] = Counter()
        of_job: Counter[UUID] = Counter()
        for owner, job_id in transaction.execute(
            select(RunRow.owner, RunRow.job_id).where(RunRow.state.in_(active), RunRow.ended_at.is_(None))
        ):
            of_owner[owner] += 1
            of_job[job_id] += 1
        of_workspace = self.under_way(transaction)
        quotas = {row.workspace: row.jobs for row in transaction.scalars(select(QuotaRow))}
        full: dict[str | None, int] = {}
        waiting = (
            select(RunRow, KeptRow.document["max_concurrent"].astext)
            .join(KeptRow, KeptRow.id == RunRow.job_id)
            .where(RunRow.state == RunState.WAITING.value, RunRow.ended_at.is_(None))
            .order_by(RunRow.created_at, RunRow.id)
        )
        for run, most in transaction.execute(waiting).all():
            if of_owner.total() >= self.limits.total:
                break
            if of_owner[run.owner] >= self.limits.per_owner or of_job[run.job_id] >= int(most):
                continue
            if run.workspace is not None:
                quota = quotas.get(run.workspace, DEFAULT_JOBS)
                if of_workspace[run.workspace] >= quota:
                    full[run.workspace] = quota
                    continue
                of_workspace[run.workspace] += 1
            of_owner[run.owner] += 1
            of_job[run.job_id] += 1
            run.state = RunState.QUEUED.value
            run.queue_entry = self.entries.add_run(transaction, run.id)
        transaction.flush()
        return full

    def under_way(self, transaction: Transaction) -> Counter[str]:
        """How many runs and ingests of each workspace there are that count towards its quota."""
        found: Counter[str] = Counter()
        active = [state.value for state in ACTIVE]
        runs = select(RunRow.workspace, func.count()).where(
            RunRow.state.in_(active), RunRow.ended_at.is_(None), RunRow.workspace.is_not(None)
        )
        ingests = (
            select(QuotaRow.workspace, func.count())
            .join(IngestRow, IngestRow.workspace_id == QuotaRow.workspace_id)
            .where(IngestRow.state == IngestState.RUNNING.value)
        )
        counts: Sequence[Executable] = (
            runs.group_by(RunRow.workspace),
            ingests.group_by(QuotaRow.workspace),
        )
        for query in counts:
            for name, count in transaction.execute(query):
                found[name] += count
        return found

    def claim(self, run_id: UUID) -> Claimed | datetime | None:
        """Makes a run this worker's: a new attempt of it, or the one that an earlier worker began. A time
        when it is not due before that, None when there is nothing to do."""
        with self.sessions.begin() as transaction:
            self.take_turn(transaction)
            row = transaction.get(RunRow, run_id, with_for_update=True)
            if row is None or RunState(row.state).ended:
                return None
            now = datetime.now(tz=UTC)
            if row.next_attempt_at is not None and row.next_attempt_at > now:
                return row.next_attempt_at
            version = transaction.get(JobVersionRow, (row.job_id, row.version))
            if version is None:
                return None
            resumed = row.progress is not None
            if not resumed:
                row.attempt += 1
                begun = Attempt(number=row.attempt, state=RunState.RUNNING, started_at=now)
                row.attempts = [*row.attempts, begun.model_dump(mode="json")]
                row.progress = {}
            row.state, row.next_attempt_at, row.claim = RunState.RUNNING.value, None, uuid4()
            row.started_at = row.started_at or now
            return Claimed(
                run_id=row.id,
                claim=row.claim,
                job_id=row.job_id,
                number=row.number,
                owner=row.owner,
                trigger=Trigger(row.trigger),
                session_key=row.session_key,
                job=SaveJob.model_validate({**version.document, "title": version.title}),
                parameters=[Parameter.model_validate(p) for p in row.parameters],
                attempt=row.attempt,
                attempt_started_at=Attempt.model_validate(row.attempts[-1]).started_at,
                progress=dict(row.progress or {}),
                resumed=resumed,
                stop_requested=row.stop_requested_by is not None,
            )

    def note(self, run: Claimed) -> bool:
        """Keeps where the attempt stands; returns whether somebody wants it stopped. Raises
        SupersededError."""
        with self.sessions.begin() as transaction:
            changed = transaction.execute(
                update(RunRow)
                .where(RunRow.id == run.run_id, RunRow.claim == run.claim, RunRow.ended_at.is_(None))
                .values(progress=run.progress)
                .returning(RunRow.stop_requested_by)
            ).first()
        if changed is None:
            raise SupersededError
        return changed[0] is not None

    def end_attempt(self, run: Claimed, outcome: Outcome) -> datetime | None:
        """Closes the attempt; returns when the next one is due, None when the run has ended. Raises
        SupersededError."""
        with self.sessions.begin() as transaction:
            self.take_turn(transaction)
            row = transaction.get(RunRow, run.run_id, with_for_update=True)
            if row is None or row.claim != run.claim or RunState(row.state).ended:
                raise SupersededError
            now = datetime.now(tz=UTC)
            closed = Attempt.model_validate(
                {
                    **row.attempts[-1],
                    **_marks(run.progress),
                    "state": outcome.state,
                    "lost": outcome.lost,
                    "ended_at": now,
                    "error": outcome.error,
                }
            )
            row.attempts = [*row.attempts[:-1], closed.model_dump(mode="json")]
            row.progress = row.claim = None
            row.error = None if outcome.error is None else outcome.error.model_dump(mode="json")
            again = None if row.stop_requested_by else _next_attempt(run.job, row.attempts, outcome)
            if again is not None:
                row.state, row.next_attempt_at = RunState.RETRYING.value, now + again
                return row.next_attempt_at
            row.state, row.ended_at = outcome.state.value, now
            transaction.flush()
            if outcome.state is RunState.SUCCEEDED:
                self.succeeded(transaction, row.job_id, row.owner, row.id)
            self.admit(transaction)
            return None

    def stop(self, owner: str, run_id: UUID, by: str) -> None:
        """Ends a run: at once when nobody works on it, else its worker hears of it. One that has ended stays
        as it is. Raises NotFoundError."""
        with self.sessions.begin() as transaction:
            self.take_turn(transaction)
            row = transaction.get(RunRow, run_id, with_for_update=True)
            if row is None or row.owner != owner:
                raise NotFoundError("there is no run of yours of that id", value=run_id)
            state = RunState(row.state)
            if state.ended:
                return
            row.stop_requested_by = by
            self.say(transaction, row.id, row.attempt, f"{by} stops it")
            if state is not RunState.RUNNING:
                self.entries.remove(transaction, row.queue_entry)
                row.state, row.ended_at, row.next_attempt_at = (
                    RunState.CANCELED.value,
                    datetime.now(tz=UTC),
                    None,
                )
                transaction.flush()
                self.admit(transaction)

    def open_of(self, transaction: Transaction, job_id: UUID) -> int:
        """How many runs of a job have not ended."""
        query = select(func.count()).where(RunRow.job_id == job_id, RunRow.ended_at.is_(None))
        return int(transaction.scalar(query) or 0)

    def say(
        self, transaction: Transaction, run_id: UUID, attempt: int, line: str, source: str = "console"
    ) -> None:
        """Adds to a run's log, as far as there is room."""
        transaction.execute(
            text(
                "INSERT INTO job_log (run_id, attempt, source, text) "
                "SELECT :run, :attempt, :source, :text WHERE coalesce("
                "(SELECT sum(length(text)) FROM job_log WHERE run_id = :run), 0) < :most"
            ),
            {
                "run": run_id,
                "attempt": attempt,
                "source": source,
                "text": line.replace("\0", "\ufffd"),
                "most": MAX_LOG,
            },
        )

    def log(self, run: Claimed, line: str, source: str = "console") -> None:
        """The same in a transaction of its own."""
        with self.sessions.begin() as transaction:
            self.say(transaction, run.run_id, run.attempt, line, source)

    @staticmethod
    def _groups(transaction: Transaction, owner: str, begin: Begin) -> Collection[str]:
        if begin.groups is not None:
            return begin.groups
        permission = transaction.get(PermissionRow, owner)
        return () if permission is None else permission.groups

    def _skip_or_refuse(self, transaction: Transaction, job: SaveJob, run: RunRow) -> None:
        others = self.open_of(transaction, run.job_id) - 1
        by_hand = Trigger(run.trigger) in (Trigger.MANUAL, Trigger.RETRY)
        if others >= MAX_WAITING + job.max_concurrent:
            if by_hand:
                raise BusyError(
                    f"{others} runs of this job have not ended",
                    permitted=str(MAX_WAITING + job.max_concurrent),
                )
            self._skip(transaction, run, f"{others} runs of this job have not ended")
        elif not by_hand and job.when_busy is WhenBusy.SKIP and others >= job.max_concurrent:
            self._skip(transaction, run, "the run before it has not ended")

    def _skip(self, transaction: Transaction, run: RunRow, reason: str) -> None:
        run.state, run.ended_at = RunState.SKIPPED.value, datetime.now(tz=UTC)
        run.error = RunError(message=f"skipped: {reason}").model_dump(mode="json")
        self.say(transaction, run.id, 0, f"skipped: {reason}")
        transaction.flush()


def _workspace_of(job: SaveJob, groups: Collection[str]) -> str | None:
    """The workspace that a run counts for: of its owner's the one in whose namespace it works, else the one
    whose group it needs, else the first by name; as Trino chooses a queue."""
    names = sorted(one.removeprefix(GROUP_PREFIX) for one in groups if one.startswith(GROUP_PREFIX))
    namespace = job.work.namespace if isinstance(job.work, SqlWork) else None
    wanted = ((namespace or "").lower(), (job.group or "").removeprefix(GROUP_PREFIX))
    return next((one for one in (*wanted, *names) if one in names), None)


def _marks(progress: Mapping[str, Any]) -> dict[str, Any]:
    """What an attempt's progress says of the engines' own names."""
    return {
        "trino_query_ids": progress.get("trino_query_ids", []),
        "spark_job_id": progress.get("spark_job_id"),
    }


def _next_attempt(job: SaveJob, attempts: Sequence[Mapping[str, Any]], outcome: Outcome) -> timedelta | None:
    """The pause before another attempt; None when there is none."""
    if outcome.lost:
        lost = sum(bool(attempt["lost"]) for attempt in attempts)
        return _AFTER_LOSS if job.restart_lost and lost <= MAX_LOST else None
    if not outcome.retryable:
        return None
    failed = sum(not attempt["lost"] for attempt in attempts)
    return wait(job.retries, failed) if failed <= job.retries.count else None


def with_marks(row: RunRow) -> list[Attempt]:
    """A run's attempts, the one under way with what it has reached."""
    found = [Attempt.model_validate(attempt) for attempt in row.attempts]
    if found and row.progress is not None:
        found[-1] = found[-1].model_copy(update=_marks(row.progress))
    return found
