"""Jobs and runs in the API's own form."""

from __future__ import annotations

from uuid import UUID

from control_plane.api.jobs.runs import with_marks
from control_plane.api.schemas.common import Parameter
from control_plane.api.schemas.jobs import (
    Attempt,
    Job,
    JobSummary,
    Run,
    RunError,
    RunState,
    RunSummary,
    SaveJob,
    Trigger,
)
from control_plane.api.storage.job_models import JobRow, RunRow
from control_plane.api.storage.kept import Kept


def summary_of(run: RunRow, title: str) -> RunSummary:
    """A run in short."""
    return RunSummary(
        id=run.id,
        job_id=run.job_id,
        job_title=title,
        number=run.number,
        version=run.version,
        trigger=Trigger(run.trigger),
        state=RunState(run.state),
        attempt=run.attempt,
        scheduled_for=run.scheduled_for,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def run_of(run: RunRow, title: str, job: SaveJob, username: str) -> Run:
    """A run as one person may see it."""
    own = run.owner == username
    attempts = [_attempt(attempt, own=own) for attempt in with_marks(run)]
    progress = run.progress or {}
    error = None if run.error is None else RunError.model_validate(run.error)
    return Run(
        **summary_of(run, title).model_dump(),
        owner=run.owner,
        parameters=[Parameter.model_validate(p) for p in run.parameters],
        requested_by=run.requested_by,
        retry_of=run.retry_of,
        attempts=attempts,
        max_attempts=1 + job.retries.count,
        next_attempt_at=run.next_attempt_at,
        stop_requested=run.stop_requested_by is not None,
        statement=min(progress["statement"] + 1, progress["statements"]) if "statement" in progress else None,
        statements=progress.get("statements"),
        fraction=progress.get("fraction"),
        error=_error(error, own=own),
        can_read_log=own,
    )


def job_of(kept: Kept, row: JobRow | None, last: RunRow | None, *, own: bool) -> Job:
    """A job as one person may see it."""
    arrived = set() if row is None else {UUID(key) for key in row.arrived}
    document = dict(kept.document)
    return Job.model_validate(
        {
            **document,
            "id": kept.id,
            "owner": kept.owner,
            "shares": kept.shares,
            "version": kept.version,
            "can_edit": own,
            "created_at": kept.created_at,
            "updated_at": kept.updated_at,
            "updated_by": kept.updated_by,
            "waiting_for": [one for one in document["after"] if UUID(one) not in arrived],
            "pause": None if row is None else row.pause,
            "pause_reason": None if row is None else row.pause_reason,
            "paused_at": None if row is None else row.paused_at,
            "next_run_at": None if row is None else row.next_run_at,
            "last_run": None if last is None else summary_of(last, document["title"]),
        }
    )


def job_summary_of(kept: Kept, row: JobRow | None, last: RunRow | None, *, own: bool) -> JobSummary:
    """A job in short."""
    document = kept.document
    return JobSummary.model_validate(
        {
            "id": kept.id,
            "owner": kept.owner,
            "title": document["title"],
            "description": document["description"],
            "kind": document["work"]["kind"],
            "schedule": document["schedule"],
            "after": document["after"],
            "pause": None if row is None else row.pause,
            "pause_reason": None if row is None else row.pause_reason,
            "next_run_at": None if row is None else row.next_run_at,
            "last_run": None if last is None else summary_of(last, document["title"]),
            "can_edit": own,
            "updated_at": kept.updated_at,
        }
    )


def _attempt(attempt: Attempt, *, own: bool) -> Attempt:
    return attempt.model_copy(update={"error": _error(attempt.error, own=own)})


def _error(error: RunError | None, *, own: bool) -> RunError | None:
    if error is None or own:
        return error
    return error.model_copy(update={"message": None})
