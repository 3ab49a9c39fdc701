"""The queue of jobs: procrastinate's, in the console's own database.

Entries are added in the transaction of what they are about, so that there is never one without the other. A
worker has each entry to itself and beats while it lives; what a worker that is gone had is given to another.
https://procrastinate.readthedocs.io/
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision, SyncPsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session as Transaction

from control_plane.api.problems import UnavailableError
from governance.tasks import end

log = logging.getLogger(__name__)
# It logs each entry's outcome with a traceback; what people need stands in the run's own log.
logging.getLogger("procrastinate").setLevel(logging.CRITICAL)

_QUEUE = "jobs"
_RUN = "run"
_TICK = "tick"
_POLL_S = 1.0
_BEAT_S = 5.0
GONE_AFTER_S = 20.0
"""A worker that has not beaten for so long is gone."""
_RECOVER_EVERY_S = 5.0
_AGAIN_S = 5.0
_STOP_S = 3.0

Handler = Callable[[UUID], Awaitable[datetime | None]]
"""Works on a run; gives when to come back to it."""
TickHandler = Callable[[UUID, UUID], Awaitable[None]]


class AgainError(Exception):
    """The entry has to come back later."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        super().__init__(at.isoformat())


class _ComeBack(BaseRetryStrategy):
    """What asks to come back does at its time, what was cut off by the end of the worker at once, and what
    failed unexpectedly after a pause: an entry is never given up, its run says how often to try."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:  # noqa: ARG002 - the library's form
        if isinstance(exception, AgainError):
            return RetryDecision(retry_at=exception.at)
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision(retry_in={"seconds": 0})
        return RetryDecision(retry_in={"seconds": int(_AGAIN_S)})


class Entries:
    """Entries of the queue, within somebody's transaction."""

    def __init__(self) -> None:
        # Never opened: it writes on connections of others.
        self._app = App(connector=SyncPsycopgConnector())

    def add_run(self, transaction: Transaction, run_id: UUID) -> int:
        """A run to work on, as soon as a worker is free; returns the entry's id."""
        return self._add(transaction, _RUN, None, run_id=str(run_id))

    def add_tick(self, transaction: Transaction, job_id: UUID, tick: UUID, at: datetime) -> int:
        """A job's next scheduled time; returns the entry's id."""
        return self._add(transaction, _TICK, at, job_id=str(job_id), tick=str(tick))

    def remove(self, transaction: Transaction, entry: int | None) -> None:
        """Takes an entry away that nobody works on yet."""
        if entry is not None:
            transaction.execute(text("SELECT procrastinate_cancel_job_v1(:id, false, true)"), {"id": entry})

    def _add(self, transaction: Transaction, task: str, at: datetime | None, **arguments: Any) -> int:
        connection = transaction.connection().connection.driver_connection
        assert isinstance(connection, psycopg.Connection)  # noqa: S101 - the engine's driver
        deferrer = self._app.configure_task(task, queue=_QUEUE, schedule_at=at, connection=connection)
        try:
            return deferrer.defer(**arguments)
        except ConnectorException as error:
            raise UnavailableError(
                "the console's database does not answer", next_command="lab status"
            ) from error


class Worker:
    """Works on entries until it is canceled, and on those that workers before it left.

    Args:
        database_url: SQLAlchemy's.
        concurrency: how many entries at once.
    """

    def __init__(self, database_url: str, run: Handler, tick: TickHandler, *, concurrency: int) -> None:
        url = make_url(database_url).set(drivername="postgresql")
        self._concurrency = concurrency
        self._conninfo = url.render_as_string(hide_password=False)
        self._run_handler, self._tick_handler = run, tick
        self.started = 0
        """How often it was started: once more after each loss of the database."""

    async def work(self) -> None:
        """Runs until canceled; never raises anything else."""
        said = ""
        while True:
            try:
                await self._work()
                said = ""
            except Exception as error:
                line = (str(error).splitlines() or [type(error).__name__])[0]
                if line != said:
                    log.warning("the queue of jobs can't be worked on: %s", line)
                said = line
            await asyncio.sleep(1.0)

    async def _work(self) -> None:
        app = App(
            connector=PsycopgConnector(
                conninfo=self._conninfo,
                kwargs={"application_name": "console-jobs", "connect_timeout": 5},
                min_size=2,
                max_size=2,
                timeout=10.0,
            )
        )
        self._add_tasks(app)
        async with app.open_async():
            self.started += 1
            recovering = asyncio.create_task(self._recover(app))
            try:
                await app.run_worker_async(
                    queues=[_QUEUE],
                    name="console",
                    concurrency=self._concurrency,
                    fetch_job_polling_interval=_POLL_S,
                    abort_job_polling_interval=60.0,
                    update_heartbeat_interval=_BEAT_S,
                    stalled_worker_timeout=GONE_AFTER_S,
                    shutdown_graceful_timeout=0.0,
                    delete_jobs="always",
                    install_signal_handlers=False,
                )
            finally:
                await end(recovering)

    def _add_tasks(self, app: App) -> None:
        @app.task(name=_RUN, queue=_QUEUE, retry=_ComeBack())
        async def run(run_id: str) -> None:
            at = await self._run_handler(UUID(run_id))
            if at is not None:
                raise AgainError(at)

        @app.task(name=_TICK, queue=_QUEUE, retry=_ComeBack())
        async def tick(job_id: str, tick: str) -> None:
            await self._tick_handler(UUID(job_id), UUID(tick))

    async def _recover(self, app: App) -> None:
        """Gives entries of workers that are gone to the queue again."""
        while True:
            try:
                gone = await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=GONE_AFTER_S)
                for job in gone:
                    log.warning("%s of a worker that is gone is taken up again", job.task_name)
                    await app.job_manager.retry_job(job, retry_at=datetime.now(tz=UTC))
            except ConnectorException as error:
                log.warning("what was left could not be looked for: %s", str(error).splitlines()[0])
            await asyncio.sleep(_RECOVER_EVERY_S)
