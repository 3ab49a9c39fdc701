"""The fake console's jobs: runs are ended at once, but for those of statements that hold ``slow``."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

from contracts.errors import UsageError
from control_plane.api.jobs.planning import check_schedule, next_time, next_times
from control_plane.api.schemas.jobs import (
    AskPermission,
    Attempt,
    Job,
    JobPermission,
    JobSummary,
    JobVersion,
    JobVersionDetail,
    LogLine,
    Pause,
    PermissionUrl,
    Run,
    RunEndEvent,
    RunError,
    RunEvent,
    RunLogEvent,
    RunPage,
    RunState,
    RunStateEvent,
    RunSummary,
    SaveJob,
    Schedule,
    SchedulePreview,
    StartRun,
    Trigger,
)
from tests.web.samples import NASTY, NOW

JOB_ID = uuid.UUID("00000000-0000-4000-8000-000000000001")
RUN_ID = uuid.UUID("00000000-0000-4000-8000-00000000000f")
_STATEMENT = f"-- {NASTY}\nINSERT INTO raw.daily SELECT :since, count(*) FROM retail.orders"  # noqa: S608 - shown, not run
SAMPLE = SaveJob.model_validate(
    {
        "title": f"Daily orders {NASTY}",
        "description": "Orders of a day, for the dashboard.",
        "work": {"kind": "sql", "statement": _STATEMENT, "catalog": "lake"},
        "parameters": [{"name": "since", "type": "date", "default": "2026-01-01"}],
        "schedule": {"cron": "0 6 * * MON-FRI", "time_zone": "Europe/Zurich"},
        "retries": {"count": 2},
    }
)


class Jobs:
    """Jobs of everybody."""

    def __init__(self) -> None:
        self.saved: dict[uuid.UUID, list[SaveJob]] = {JOB_ID: [SAMPLE]}
        self.owners: dict[uuid.UUID, str] = {JOB_ID: "engineer"}
        self.runs: dict[uuid.UUID, Run] = {}
        self.permitted = False
        failed = RunError(
            message=f"Table {NASTY} does not exist", name="TABLE_NOT_FOUND", statement=1, line=2
        )
        self.begin(JOB_ID, Trigger.SCHEDULE, run_id=RUN_ID, state=RunState.FAILED, error=failed)

    def begin(
        self,
        job_id: uuid.UUID,
        trigger: Trigger,
        *,
        run_id: uuid.UUID | None = None,
        state: RunState | None = None,
        error: RunError | None = None,
    ) -> Run:
        job = self.saved[job_id][-1]
        slow = "slow" in job.model_dump_json()
        state = state or (RunState.RUNNING if slow else RunState.SUCCEEDED)
        end = NOW + timedelta(seconds=9) if state.ended else None
        attempt = Attempt(number=1, state=state, started_at=NOW, ended_at=end, error=error)
        run = Run(
            id=run_id or uuid.uuid4(),
            job_id=job_id,
            job_title=job.title,
            number=1 + sum(one.job_id == job_id for one in self.runs.values()),
            version=len(self.saved[job_id]),
            trigger=trigger,
            state=state,
            attempt=1,
            scheduled_for=NOW,
            created_at=NOW,
            started_at=NOW,
            ended_at=end,
            owner=self.owners[job_id],
            parameters=[],
            requested_by=self.owners[job_id],
            retry_of=None,
            attempts=[attempt.model_copy(update={"trino_query_ids": ["20260115_093002_00002_fakes"]})],
            max_attempts=1 + job.retries.count,
            next_attempt_at=None,
            stop_requested=False,
            statement=None if end else 1,
            statements=None if end else 2,
            fraction=None if end else 0.4,
            error=error,
            can_read_log=True,
        )
        self.runs[run.id] = run
        return run

    def of(self, job_id: uuid.UUID) -> list[Run]:
        return [run for run in reversed(self.runs.values()) if run.job_id == job_id]

    def shown(self, job_id: uuid.UUID, user: str) -> Job:
        if job_id not in self.saved:
            raise HTTPException(404, "there is no job of that id")
        job, runs = self.saved[job_id][-1], self.of(job_id)
        rests = job.schedule is not None and not self.permitted
        return Job.model_validate(
            {
                **job.model_dump(),
                "id": job_id,
                "owner": self.owners[job_id],
                "version": len(self.saved[job_id]),
                "can_edit": self.owners[job_id] == user,
                "created_at": NOW,
                "updated_at": NOW,
                "updated_by": self.owners[job_id],
                "waiting_for": job.after,
                "pause": Pause.PERMISSION if rests else None,
                "pause_reason": "its owner has not let the console run jobs for them" if rests else None,
                "paused_at": NOW if rests else None,
                "next_run_at": (
                    next_time(job.schedule, datetime.now(tz=UTC)) if job.schedule and not rests else None
                ),
                "last_run": _summary(runs[0]) if runs else None,
            }
        )

    def run(self, run_id: uuid.UUID) -> Run:
        if run_id not in self.runs:
            raise HTTPException(404, "there is no run of that id")
        return self.runs[run_id]


def _summary(run: Run) -> RunSummary:
    return RunSummary.model_validate(run.model_dump())


def make_router() -> APIRouter:
    """A console's jobs."""
    router, jobs = APIRouter(prefix="/api/v1"), Jobs()

    @router.get("/jobs")
    def every(request: Request, text: str = "") -> list[JobSummary]:
        user = request.state.username
        shown = [jobs.shown(one, user) for one in jobs.saved]
        return [
            JobSummary.model_validate({**job.model_dump(), "kind": job.work.kind})
            for job in shown
            if job.owner == user and text.lower() in job.title.lower()
        ]

    @router.post("/jobs", status_code=201)
    def create(body: SaveJob, request: Request) -> Job:
        job_id = uuid.uuid4()
        jobs.saved[job_id], jobs.owners[job_id] = [body], request.state.username
        return jobs.shown(job_id, request.state.username)

    @router.get("/jobs/{job_id}")
    def get(job_id: uuid.UUID, request: Request) -> Job:
        return jobs.shown(job_id, request.state.username)

    @router.put("/jobs/{job_id}")
    def put(job_id: uuid.UUID, body: SaveJob, request: Request) -> Job:
        if request.headers.get("if-match") != f'"{len(jobs.saved[job_id])}"':
            raise HTTPException(412, "somebody changed it in the meantime")
        jobs.saved[job_id].append(body)
        return jobs.shown(job_id, request.state.username)

    @router.get("/jobs/{job_id}/versions")
    def versions(job_id: uuid.UUID) -> list[JobVersion]:
        found = enumerate(jobs.saved[job_id], 1)
        return [
            JobVersion(version=n, title=one.title, created_at=NOW, created_by=jobs.owners[job_id])
            for n, one in reversed(list(found))
        ]

    @router.get("/jobs/{job_id}/versions/{version}")
    def version(job_id: uuid.UUID, version: int) -> JobVersionDetail:
        one = jobs.saved[job_id][version - 1]
        return JobVersionDetail(
            version=version, title=one.title, created_at=NOW, created_by=jobs.owners[job_id], job=one
        )

    @router.get("/jobs/{job_id}/runs")
    def runs(job_id: uuid.UUID) -> RunPage:
        return RunPage(runs=[_summary(run) for run in jobs.of(job_id)], next=None)

    @router.post("/jobs/{job_id}/runs", status_code=202)
    def start(job_id: uuid.UUID, body: StartRun) -> Run:
        run = jobs.begin(job_id, Trigger.MANUAL)
        jobs.runs[run.id] = run.model_copy(update={"parameters": body.parameters})
        return jobs.runs[run.id]

    @router.get("/job-runs/{run_id}")
    def run(run_id: uuid.UUID) -> Run:
        return jobs.run(run_id)

    @router.post("/job-runs/{run_id}/stop")
    def stop(run_id: uuid.UUID) -> Run:
        ended: dict[str, Any] = {"state": RunState.CANCELED, "ended_at": NOW + timedelta(seconds=3)}
        jobs.runs[run_id] = jobs.run(run_id).model_copy(update=ended)
        return jobs.runs[run_id]

    @router.post("/job-runs/{run_id}/retry", status_code=202)
    def retry(run_id: uuid.UUID) -> Run:
        return jobs.begin(jobs.run(run_id).job_id, Trigger.RETRY)

    @router.get("/job-runs/{run_id}/events")
    def events(run_id: uuid.UUID, after: int = 0) -> StreamingResponse:
        jobs.run(run_id)
        return StreamingResponse(_events(jobs, run_id, after), media_type="application/x-ndjson")

    @router.get("/job-schedule")
    def preview(cron: str, time_zone: str = "UTC") -> SchedulePreview:
        schedule = Schedule(cron=cron, time_zone=time_zone)
        try:
            check_schedule(schedule)
        except UsageError as error:
            raise HTTPException(422, error.what) from error
        return SchedulePreview(times=next_times(schedule, datetime.now(tz=UTC), 5))

    @router.get("/job-permission")
    def permission() -> JobPermission:
        return JobPermission(
            granted=jobs.permitted,
            granted_at=NOW if jobs.permitted else None,
            checked_at=NOW if jobs.permitted else None,
            groups=["data_engineers"] if jobs.permitted else [],
            ended_reason=None,
        )

    @router.post("/job-permission")
    def ask(body: AskPermission) -> PermissionUrl:
        jobs.permitted = True
        return PermissionUrl(url=body.next)

    @router.delete("/job-permission", status_code=204)
    def withdraw() -> None:
        jobs.permitted = False

    return router


async def _events(jobs: Jobs, run_id: uuid.UUID, after: int) -> AsyncIterator[bytes]:
    def line(event: RunEvent) -> bytes:
        return event.model_dump_json().encode() + b"\n"

    lines = [
        LogLine(id=1, at=NOW, attempt=1, source="console", text="attempt 1, as engineer"),
        LogLine(id=2, at=NOW, attempt=1, source="trino", text=f"statement 1: {NASTY}"),
    ]
    yield line(RunStateEvent(run=jobs.run(run_id)))
    yield line(RunLogEvent(lines=[one for one in lines if one.id > after]))
    while not jobs.run(run_id).state.ended:
        await asyncio.sleep(0.1)
    yield line(RunEndEvent(run=jobs.run(run_id)))
