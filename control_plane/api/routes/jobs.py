"""Jobs: what they are, when they run, and the permission to run them while their owner is away."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from contracts.errors import UsageError
from control_plane.api.access import Authenticated, console_of
from control_plane.api.identity.keycloak import Attempt
from control_plane.api.jobs.planning import check_schedule, next_times
from control_plane.api.jobs.service import Jobs
from control_plane.api.keeping import IfMatch, require_groups, version_of
from control_plane.api.routes.session import own_path, set_attempt_cookie
from control_plane.api.schemas.jobs import (
    AskPermission,
    Job,
    JobPermission,
    JobSummary,
    JobVersion,
    JobVersionDetail,
    PermissionUrl,
    Run,
    RunPage,
    RunState,
    SaveJob,
    Schedule,
    SchedulePreview,
    StartRun,
)

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
permission = APIRouter(prefix="/api/v1/job-permission", tags=["jobs"])
schedule = APIRouter(prefix="/api/v1/job-schedule", tags=["jobs"])

_PREVIEWED = 5
_MAX_VERSION = 2**63 - 1


@router.get("")
def list_jobs(
    request: Request, caller: Authenticated, text: Annotated[str, Query(max_length=200)] = ""
) -> list[JobSummary]:
    """All that the caller may see: their own, and those shared with their groups."""
    return jobs_of(request).all(caller, text)


@router.post("", status_code=201)
def create_job(body: SaveJob, request: Request, response: Response, caller: Authenticated) -> Job:
    """Keeps a job. One that is to run by itself rests until its owner has given the permission for that."""
    require_groups(request, caller, body.shares)
    job = jobs_of(request).create(caller, body)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return _tagged(job, response)


@router.get("/{job_id}")
def get_job(job_id: UUID, request: Request, response: Response, caller: Authenticated) -> Job:
    """One of them."""
    return _tagged(jobs_of(request).get(caller, job_id), response)


@router.put("/{job_id}")
def update_job(
    job_id: UUID,
    body: SaveJob,
    request: Request,
    response: Response,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> Job:
    """Makes a new version of it, if it still is as the caller last saw it. Runs that have begun stay as they
    are."""
    version = version_of(if_match)
    require_groups(request, caller, body.shares)
    return _tagged(jobs_of(request).update(caller, job_id, version, body), response)


@router.delete("/{job_id}", status_code=204)
def delete_job(job_id: UUID, request: Request, caller: Authenticated, if_match: IfMatch = None) -> None:
    """Removes it with its runs and logs, unless it runs or another job waits for it."""
    jobs_of(request).delete(caller, job_id, version_of(if_match))


@router.post("/{job_id}/pause")
def pause_job(job_id: UUID, request: Request, response: Response, caller: Authenticated) -> Job:
    """Lets it rest: it runs only when its owner starts it. Runs under way go on."""
    return _tagged(jobs_of(request).pause(caller, job_id, paused=True), response)


@router.post("/{job_id}/resume")
def resume_job(job_id: UUID, request: Request, response: Response, caller: Authenticated) -> Job:
    """Lets it run by itself again, from its next time on."""
    return _tagged(jobs_of(request).pause(caller, job_id, paused=False), response)


@router.get("/{job_id}/versions")
def list_job_versions(job_id: UUID, request: Request, caller: Authenticated) -> list[JobVersion]:
    """Its versions, the newest first."""
    return jobs_of(request).versions(caller, job_id)


@router.get("/{job_id}/versions/{version}")
def get_job_version(job_id: UUID, version: int, request: Request, caller: Authenticated) -> JobVersionDetail:
    """One of them, whole."""
    return jobs_of(request).version(caller, job_id, max(-1, min(version, _MAX_VERSION)))


@router.post("/{job_id}/runs", status_code=202)
def start_run(job_id: UUID, body: StartRun, request: Request, caller: Authenticated) -> Run:
    """Begins a run, as soon as there is room for it. It goes on when nobody looks."""
    return jobs_of(request).start(caller, job_id, body.parameters)


@router.get("/{job_id}/runs")
def list_job_runs(
    job_id: UUID,
    request: Request,
    caller: Authenticated,
    state: RunState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> RunPage:
    """Its runs of the last 90 days."""
    return jobs_of(request).page(caller, job_id=job_id, state=state, limit=limit, cursor=cursor)


@schedule.get("")
def preview_schedule(
    _: Authenticated,
    cron: Annotated[str, Query(min_length=9, max_length=100, examples=["30 6 * * MON-FRI"])],
    time_zone: Annotated[str, Query(max_length=64, examples=["Europe/Zurich"])] = "UTC",
) -> SchedulePreview:
    """The next times of a schedule."""
    given = Schedule(cron=cron, time_zone=time_zone)
    check_schedule(given)
    return SchedulePreview(times=next_times(given, datetime.now(tz=UTC), _PREVIEWED))


@permission.get("")
def get_job_permission(request: Request, caller: Authenticated) -> JobPermission:
    """Whether the console may run the caller's jobs while they are away."""
    return jobs_of(request).permissions.get(caller.username)


@permission.post("")
def ask_job_permission(
    body: AskPermission, request: Request, response: Response, caller: Authenticated
) -> PermissionUrl:
    """Begins the sign-in that gives the permission: the browser goes to the answer's address, and comes back
    with an offline token for the console to keep."""
    console = console_of(request)
    if caller.signed.session is None:
        raise UsageError(
            "the permission is given in a browser",
            permitted="a browser's session, not a bearer token",
            next_command=f"open {console.public_url}/jobs",
        )
    attempt = Attempt.new(own_path(body.next), offline=True)
    begun = {"begun_at": time.time(), "attempt": asdict(attempt)}
    sealed = console.sealer.seal(json.dumps(begun).encode(), attempt.state)
    set_attempt_cookie(request, response, attempt.state, sealed)
    return PermissionUrl(url=console.realm.authorization_url(attempt))


@permission.delete("", status_code=204)
async def withdraw_job_permission(request: Request, caller: Authenticated) -> None:
    """Takes the permission back, at Keycloak too. The caller's jobs rest."""
    await jobs_of(request).permissions.withdraw(caller.username)


def jobs_of(request: Request) -> Jobs:
    """The console's jobs."""
    return console_of(request).jobs


def _tagged(job: Job, response: Response) -> Job:
    response.headers["ETag"] = f'"{job.version}"'
    return job
