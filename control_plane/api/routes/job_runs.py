"""Runs of jobs: what they do, their logs, and an end to them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from control_plane.api.access import Authenticated
from control_plane.api.jobs.service import LOG_PAGE
from control_plane.api.routes.jobs import jobs_of
from control_plane.api.routes.queries import NdjsonResponse
from control_plane.api.schemas.jobs import Run, RunEvent, RunLog, RunPage, RunState

router = APIRouter(prefix="/api/v1/job-runs", tags=["jobs"])

_After = Annotated[int, Query(ge=0, le=2**63 - 1, description="Only lines behind the one of this id.")]


@router.get("")
def list_runs(
    request: Request,
    caller: Authenticated,
    state: RunState | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> RunPage:
    """Runs of all jobs of the caller's own."""
    return jobs_of(request).page(caller, job_id=None, state=state, limit=limit, cursor=cursor)


@router.get("/{run_id}")
def get_run(run_id: UUID, request: Request, caller: Authenticated) -> Run:
    """A run."""
    return jobs_of(request).run(caller, run_id)


@router.get("/{run_id}/log")
def get_run_log(
    run_id: UUID,
    request: Request,
    caller: Authenticated,
    after: _After = 0,
    limit: Annotated[int, Query(ge=1, le=LOG_PAGE)] = LOG_PAGE,
) -> RunLog:
    """Lines of its log; for its owner alone, since a program may print rows."""
    return jobs_of(request).read_log(caller, run_id, after, limit)


@router.get("/{run_id}/events", response_class=NdjsonResponse, response_model=RunEvent)
async def stream_run(run_id: UUID, request: Request, caller: Authenticated, after: _After = 0) -> Response:
    """What happens to the run, one JSON document a line: `run`, for its owner `log`, and at last `end`."""
    events = await jobs_of(request).events(caller, run_id, after)
    return NdjsonResponse(events, headers={"X-Accel-Buffering": "no"})


@router.post("/{run_id}/stop")
def stop_run(run_id: UUID, request: Request, caller: Authenticated) -> Run:
    """Stops it, in its engine too; one that has ended stays as it is."""
    return jobs_of(request).stop(caller, run_id)


@router.post("/{run_id}/retry", status_code=202)
def retry_run(run_id: UUID, request: Request, caller: Authenticated) -> Run:
    """Begins the same again: the version, the values and the time of one that has ended."""
    return jobs_of(request).retry(caller, run_id)
