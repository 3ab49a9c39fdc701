"""Jobs and their runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control_plane.api.schemas.common import (
    Body,
    Name,
    Owned,
    Parameter,
    ParameterSpec,
    Share,
    Statement,
    Title,
)

MAX_PROGRAM = 1_000_000
ModuleName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}\.py$", examples=["cleaning.py"])
]
ProgramText = Annotated[str, Field(max_length=MAX_PROGRAM)]


class SqlWork(Body):
    """Statements for Trino, one after the other; the first that fails ends the attempt."""

    kind: Literal["sql"] = "sql"
    statement: Statement
    catalog: Name | None = Field(default=None, examples=["lake"])
    namespace: Name | None = Field(default=None, examples=["retail"])


class SparkWork(Body):
    """A Python program for Spark. An argument that is `:name` gets that parameter's value; ``modules`` are
    further files that the program imports."""

    kind: Literal["spark"] = "spark"
    source: Annotated[str, Field(min_length=1, max_length=MAX_PROGRAM, examples=["print('hello')"])]
    arguments: list[Annotated[str, Field(max_length=10_000)]] = Field(default_factory=list, max_length=100)
    modules: dict[ModuleName, ProgramText] = Field(default_factory=dict, max_length=20)


Work = Annotated[SqlWork | SparkWork, Field(discriminator="kind")]


class Schedule(Body):
    """When a job runs: five fields of cron, read in a time zone of the IANA data base."""

    cron: str = Field(min_length=9, max_length=100, examples=["30 6 * * MON-FRI"])
    time_zone: str = Field(default="UTC", max_length=64, examples=["Europe/Zurich"])


class WhenBusy(StrEnum):
    """What becomes of a run when as many of its job's run as may."""

    QUEUE = "queue"
    SKIP = "skip"


class Retries(Body):
    """How often a failed attempt is repeated, and after what pause: ``first_wait_s``, then twice as long
    each time, ``longest_wait_s`` at most."""

    count: int = Field(default=0, ge=0, le=10)
    first_wait_s: int = Field(default=30, ge=1, le=86_400)
    longest_wait_s: int = Field(default=3600, ge=1, le=86_400)


class SaveJob(Body):
    """A job to keep.

    ``after``: jobs of the owner's; it runs when each of them has succeeded since its last such run.
    ``group``: it runs only as long as its owner is a member; without one, as long as they are in any group.
    ``timeout_s`` is an attempt's. ``restart_lost``: an attempt of which nobody knows how it
    ended, since the engine went away under it, is made again. Statements and arguments may also name
    `:scheduled_at` and `:scheduled_date`.
    """

    title: Title
    description: str = Field(default="", max_length=10_000)
    work: Work
    parameters: list[ParameterSpec] = Field(default_factory=list, max_length=100)
    schedule: Schedule | None = None
    after: list[UUID] = Field(default_factory=list, max_length=20)
    max_concurrent: int = Field(default=1, ge=1, le=10)
    when_busy: WhenBusy = WhenBusy.QUEUE
    retries: Retries = Field(default_factory=Retries)
    timeout_s: int = Field(default=3600, ge=1, le=7 * 86_400)
    restart_lost: bool = True
    group: Name | None = None
    shares: list[Share] = Field(default_factory=list, max_length=50)


class RunState(StrEnum):
    """Where a run stands. ``WAITING``: as many run as may; ``RETRYING``: an attempt failed, the next one has
    its time; ``SKIPPED``: its job was busy and does not queue."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELED = "canceled"
    SKIPPED = "skipped"

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self not in (RunState.WAITING, RunState.QUEUED, RunState.RUNNING, RunState.RETRYING)


ACTIVE = (RunState.QUEUED, RunState.RUNNING, RunState.RETRYING)
"""States that count towards what may run at once."""


class Trigger(StrEnum):
    """Why a run began."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    DEPENDENCY = "dependency"
    RETRY = "retry"


class Pause(StrEnum):
    """Why a job does not run by itself. ``PERMISSION``: its owner has not let the console run jobs for them;
    ``RIGHTS``: Keycloak gives no token for them any more, or they left the job's group."""

    OWNER = "owner"
    PERMISSION = "permission"
    RIGHTS = "rights"


class RunError(BaseModel):
    """Why an attempt failed. ``statement`` counts from 1; ``line`` and ``column`` point into the job's text.
    For others than the owner ``message`` is None: it may hold values."""

    message: str | None
    name: str | None = Field(default=None, examples=["TABLE_NOT_FOUND"])
    statement: int | None = None
    line: int | None = None
    column: int | None = None


class Attempt(BaseModel):
    """One try of a run. ``state`` is `running` as long as it is under way; ``lost``: nobody knows how it
    ended."""

    number: int
    state: RunState
    lost: bool = False
    started_at: datetime
    ended_at: datetime | None = None
    trino_query_ids: list[str] = Field(default_factory=list)
    spark_job_id: str | None = None
    error: RunError | None = None


class RunSummary(BaseModel):
    """A run, as a list shows it."""

    id: UUID
    job_id: UUID
    job_title: str
    number: int
    version: int
    trigger: Trigger
    state: RunState
    attempt: int
    scheduled_for: datetime | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class Run(RunSummary):
    """A run. ``owner`` is whose rights it has; ``fraction`` of the statement under way is done, None while it
    is not known. Only the owner reads the log (``can_read_log``)."""

    owner: str
    parameters: list[Parameter]
    requested_by: str
    retry_of: UUID | None
    attempts: list[Attempt]
    max_attempts: int
    next_attempt_at: datetime | None
    stop_requested: bool
    statement: int | None
    statements: int | None
    fraction: float | None
    error: RunError | None
    can_read_log: bool


class RunPage(BaseModel):
    """Runs, the newest first; ``next`` is the cursor of the following page."""

    runs: list[RunSummary]
    next: str | None


class JobSummary(BaseModel):
    """A job, as a list shows it."""

    id: UUID
    owner: str
    title: str
    description: str
    kind: Literal["sql", "spark"]
    schedule: Schedule | None
    after: list[UUID]
    pause: Pause | None
    pause_reason: str | None
    next_run_at: datetime | None
    last_run: RunSummary | None
    can_edit: bool
    updated_at: datetime


class Job(Owned):
    """A job. It runs with its owner's rights, so that only the owner changes and starts it; others see it
    when it is shared with a group of theirs. ``waiting_for`` are those of ``after`` that have not succeeded
    since its last run."""

    title: str
    description: str
    work: Work
    parameters: list[ParameterSpec]
    schedule: Schedule | None
    after: list[UUID]
    waiting_for: list[UUID]
    max_concurrent: int
    when_busy: WhenBusy
    retries: Retries
    timeout_s: int
    restart_lost: bool
    group: str | None
    pause: Pause | None
    pause_reason: str | None
    paused_at: datetime | None
    next_run_at: datetime | None
    last_run: RunSummary | None


class JobVersion(BaseModel):
    """A job as it was."""

    version: int
    title: str
    created_at: datetime
    created_by: str


class JobVersionDetail(JobVersion):
    """The same with everything that was kept."""

    job: SaveJob


class StartRun(Body):
    """Values for a run's parameters; what is not named has its default."""

    parameters: list[Parameter] = Field(default_factory=list, max_length=100)


class SchedulePreview(BaseModel):
    """The next times of a schedule."""

    times: list[datetime]


class LogLine(BaseModel):
    """A piece of a run's log; ``id`` grows. ``source`` is what wrote it."""

    id: int
    at: datetime
    attempt: int
    source: Literal["console", "trino", "spark"]
    text: str


class RunLog(BaseModel):
    """Lines behind the asked one; ``complete``: no more will come."""

    lines: list[LogLine]
    complete: bool


class RunStateEvent(BaseModel):
    """The run changed."""

    type: Literal["run"] = "run"
    run: Run


class RunLogEvent(BaseModel):
    """The log grew."""

    type: Literal["log"] = "log"
    lines: list[LogLine]


class RunEndEvent(BaseModel):
    """The last event: the run as it ended."""

    type: Literal["end"] = "end"
    run: Run


RunEvent = Annotated[RunStateEvent | RunLogEvent | RunEndEvent, Field(discriminator="type")]
"""A line of a run's event stream."""


class JobPermission(BaseModel):
    """Whether the console may run the caller's jobs while they are away. ``groups`` are theirs as Keycloak
    said last; ``ended_reason``: why it may no more."""

    granted: bool
    granted_at: datetime | None
    checked_at: datetime | None
    groups: list[str]
    ended_reason: str | None


class AskPermission(Body):
    """Where the browser comes back to."""

    next: str = Field(default="/", max_length=2000)


class PermissionUrl(BaseModel):
    """Where the browser goes to sign in for it."""

    url: str
