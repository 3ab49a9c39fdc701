"""What is remembered of jobs, on disk, so that it outlives the gateway."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from spark_gateway.client import Job, RunState

log = logging.getLogger(__name__)

KEPT_JOBS = 50
"""Jobs that have ended are kept up to this many a user, the newest."""

_JOB = TypeAdapter(Job)


class JobStore:
    """One JSON file a job in ``folder``, which is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._jobs = {job.id: job for job in self._read()}

    def _read(self) -> list[Job]:
        found = []
        for path in self._folder.glob("*.json"):
            try:
                found.append(_JOB.validate_json(path.read_bytes()))
            except ValidationError:
                log.warning("%s is no job: left alone", path)
        return found

    def put(self, job: Job) -> None:
        """Keeps a job as it is now, in one step."""
        self._jobs[job.id] = job
        path = self._folder / f"{job.id}.json"
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(json.dumps(_JOB.dump_python(job, mode="json")).encode())
        partial.replace(path)

    def get(self, username: str, job_id: str) -> Job | None:
        """A user's job; None when there is none, or it is another's."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.username == username else None

    def of(self, username: str) -> tuple[Job, ...]:
        """A user's jobs, newest first."""
        mine = [job for job in self._jobs.values() if job.username == username]
        return tuple(sorted(mine, key=lambda job: (job.submitted_at, job.id), reverse=True))

    def ids(self) -> frozenset[str]:
        """Of everybody's jobs."""
        return frozenset(self._jobs)

    def unfinished(self) -> tuple[Job, ...]:
        """Jobs of everybody that have not ended, as far as is known here."""
        return tuple(job for job in self._jobs.values() if not job.state.ended)

    def surplus(self, username: str) -> tuple[Job, ...]:
        """A user's ended jobs beyond those kept."""
        return tuple(job for job in self.of(username)[KEPT_JOBS:] if job.state.ended)

    def remove(self, job: Job) -> None:
        """Forgets a job."""
        self._jobs.pop(job.id, None)
        (self._folder / f"{job.id}.json").unlink(missing_ok=True)


def lost(job: Job) -> Job:
    """The job as it is after the gateway that ran it was killed."""
    reason = "the Spark gateway ended while the job ran, and the job with it"
    return dataclasses.replace(job, state=RunState.LOST, reason=reason)
