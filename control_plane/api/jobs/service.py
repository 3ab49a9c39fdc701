"""What people do with jobs. Methods that are not coroutines are for worker threads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from uuid import UUID

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from contracts.errors import UsageError
from control_plane.api.access import Caller
from control_plane.api.jobs.ledger import Ledger, take_turn
from control_plane.api.jobs.parameters import OWN, check_parameters
from control_plane.api.jobs.permissions import Permissions
from control_plane.api.jobs.planning import check_schedule
from control_plane.api.jobs.queue import Worker
from control_plane.api.jobs.quotas import Quotas
from control_plane.api.jobs.runs import Begin, Runs
from control_plane.api.jobs.spark_engine import Spark
from control_plane.api.jobs.views import job_of, job_summary_of, run_of, summary_of
from control_plane.api.keeping import document_of, viewer_of
from control_plane.api.problems import ConflictError, NotFoundError
from control_plane.api.queries.service import Queries
from control_plane.api.queries.sql import spans
from control_plane.api.schemas.common import Parameter, ShareAccess
from control_plane.api.schemas.jobs import (
    Job,
    JobSummary,
    JobVersion,
    JobVersionDetail,
    LogLine,
    Run,
    RunEndEvent,
    RunEvent,
    RunLog,
    RunLogEvent,
    RunPage,
    RunState,
    RunStateEvent,
    SaveJob,
    SqlWork,
    Trigger,
)
from control_plane.api.storage.job_models import JobRow, RunRow
from control_plane.api.storage.jobs import JobReader
from control_plane.api.storage.kept import Kept, KeptStore
from control_plane.api.storage.models import KeptRow
from governance.governor.auth import ForbiddenError

log = logging.getLogger(__name__)

LOG_PAGE = 1000
_FOLLOW_EVERY_S = 0.5
_KEEP_ALIVE = 20
_CHECK_EVERY_S = 900.0
_QUOTAS_EVERY_S = 60.0
_PREPARED_EVERY_S = 0.2


class Jobs:
    """The use cases."""

    def __init__(
        self,
        *,
        sessions: sessionmaker[Transaction],
        kept: KeptStore,
        reader: JobReader,
        ledger: Ledger,
        runs: Runs,
        permissions: Permissions,
        quotas: Quotas,
        worker: Worker,
        queries: Queries,
        spark: Spark,
    ) -> None:
        self._sessions, self._kept, self._reader, self._ledger = sessions, kept, reader, ledger
        self._runs, self._queries, self.spark = runs, queries, spark
        self.permissions, self.quotas, self.worker = permissions, quotas, worker

    # --- jobs ----------------------------------------------------------------------------------------

    def all(self, caller: Caller, text: str) -> list[JobSummary]:
        """All that the caller may see, the last changed first."""
        kept = self._kept.all(viewer_of(caller), text)
        ids = [one.id for one in kept]
        rows, last = self._reader.states(ids), self._reader.last_runs(ids)
        return [
            job_summary_of(one, rows.get(one.id), last.get(one.id), own=one.owner == caller.username)
            for one in kept
        ]

    def get(self, caller: Caller, job_id: UUID) -> Job:
        """One of them. Raises NotFoundError."""
        return self._shown(caller, self._kept.get(viewer_of(caller), job_id))

    def create(self, caller: Caller, body: SaveJob) -> Job:
        """Keeps a job. Raises UsageError."""
        _check(caller, body)
        kept = self._kept.create(viewer_of(caller), body.title, document_of(body), body.shares)
        return self._shown(caller, kept)

    def update(self, caller: Caller, job_id: UUID, version: int, body: SaveJob) -> Job:
        """Replaces it. Raises NotFoundError, ForbiddenError, StaleError, UsageError."""
        self._own(caller, job_id)
        _check(caller, body)
        kept = self._kept.update(
            viewer_of(caller), job_id, version, body.title, document_of(body), body.shares
        )
        return self._shown(caller, kept)

    def delete(self, caller: Caller, job_id: UUID, version: int) -> None:
        """Removes it with its runs. Raises NotFoundError, ForbiddenError, StaleError, ConflictError."""
        self._kept.delete(viewer_of(caller), job_id, version)

    def pause(self, caller: Caller, job_id: UUID, *, paused: bool) -> Job:
        """Lets it rest, or run by itself again. Raises NotFoundError, ForbiddenError, ConflictError."""
        self._own(caller, job_id)
        change = self._ledger.pause if paused else self._ledger.resume
        change(caller.username, job_id)
        return self.get(caller, job_id)

    def versions(self, caller: Caller, job_id: UUID) -> list[JobVersion]:
        """Its versions, the newest first. Raises NotFoundError."""
        self._kept.get(viewer_of(caller), job_id)
        return self._reader.versions(job_id)

    def version(self, caller: Caller, job_id: UUID, version: int) -> JobVersionDetail:
        """One of them. Raises NotFoundError."""
        self._kept.get(viewer_of(caller), job_id)
        row = self._reader.version(job_id, version)
        return JobVersionDetail(
            version=row.version,
            title=row.title,
            created_at=row.created_at,
            created_by=row.created_by,
            job=SaveJob.model_validate({**row.document, "title": row.title}),
        )

    # --- runs ----------------------------------------------------------------------------------------

    def start(self, caller: Caller, job_id: UUID, given: list[Parameter]) -> Run:
        """Begins a run. Raises NotFoundError, ForbiddenError, UsageError, ConflictError, BusyError,
        AbsentServiceError."""
        kept = self._own(caller, job_id)
        self._require_engine(SaveJob.model_validate(kept.document))
        return self._begin(caller, job_id, Trigger.MANUAL, given)

    def retry(self, caller: Caller, run_id: UUID) -> Run:
        """Begins the same again: the version, values and time of a run that has ended. Raises as
        :meth:`start`."""
        row = self._own_run(caller, run_id)
        if not RunState(row.state).ended:
            raise ConflictError("the run has not ended", value=run_id, next_command="stop it, or wait")
        version = self._reader.version(row.job_id, row.version)
        self._require_engine(SaveJob.model_validate({**version.document, "title": version.title}))
        values = [Parameter.model_validate(p) for p in row.parameters if p["name"] not in OWN]
        return self._begin(caller, row.job_id, Trigger.RETRY, values, retry_of=row)

    def stop(self, caller: Caller, run_id: UUID) -> Run:
        """Stops a run, in its engine too. Raises NotFoundError, ForbiddenError."""
        self._own_run(caller, run_id)
        self._runs.stop(caller.username, run_id, caller.username)
        return self.run(caller, run_id)

    def run(self, caller: Caller, run_id: UUID) -> Run:
        """A run. Raises NotFoundError."""
        row, kept = self._run(caller, run_id)
        return self._run_shown(row, str(kept.document["title"]), caller.username)

    def page(
        self, caller: Caller, *, job_id: UUID | None, state: RunState | None, limit: int, cursor: str | None
    ) -> RunPage:
        """Runs of one job that the caller may see, or of all jobs of theirs. Raises NotFoundError,
        UsageError."""
        owner = None
        if job_id is None:
            owner = caller.username
        else:
            self._kept.get(viewer_of(caller), job_id)
        rows, following = self._reader.runs(
            job_id=job_id, owner=owner, state=state, limit=limit, cursor=cursor
        )
        titles = self._reader.titles({row.job_id for row in rows})
        return RunPage(runs=[summary_of(row, titles.get(row.job_id, "")) for row in rows], next=following)

    def read_log(self, caller: Caller, run_id: UUID, after: int, limit: int) -> RunLog:
        """Lines of a run's log. Raises NotFoundError, ForbiddenError."""
        self._own_run(caller, run_id, "the log of a run is its owner's: it may hold rows")
        run, lines = self._reader.follow(run_id, after, limit)
        ended = run is None or RunState(run.state).ended
        return RunLog(lines=list(lines), complete=ended and len(lines) < limit)

    async def events(self, caller: Caller, run_id: UUID, after: int) -> AsyncIterator[bytes]:
        """What happens to a run from now on, a JSON document a line, until it has ended. Raises
        NotFoundError at once."""
        row, kept = await to_thread.run_sync(self._run, caller, run_id)
        own, title = row.owner == caller.username, str(kept.document["title"])
        return self._events(run_id, title, caller.username, after if own else None)

    # --- the service ---------------------------------------------------------------------------------

    async def work(self, prepared: Callable[[], bool]) -> None:
        """Works on runs, and asks after permissions, until canceled."""
        while not prepared():
            await asyncio.sleep(_PREPARED_EVERY_S)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.worker.work())
            tasks.create_task(self._check_permissions())
            tasks.create_task(self._hear_quotas())

    async def tidy(self) -> None:
        """Takes away runs past their time."""
        await to_thread.run_sync(self._reader.remove_old)

    async def _check_permissions(self) -> None:
        while True:
            try:
                await self.permissions.check_all()
            except SQLAlchemyError as error:
                log.warning("permissions could not be checked: %s", str(error).splitlines()[0])
            except Exception:
                # Runs must go on.
                log.exception("permissions could not be checked")
            await asyncio.sleep(_CHECK_EVERY_S)

    async def _hear_quotas(self) -> None:
        while True:
            try:
                await self.quotas.ask_all(self.permissions.token)
            except SQLAlchemyError as error:
                log.warning("quotas could not be heard: %s", str(error).splitlines()[0])
            except Exception:
                # Runs must go on.
                log.exception("quotas could not be heard")
            await asyncio.sleep(_QUOTAS_EVERY_S)

    async def _events(
        self, run_id: UUID, title: str, username: str, after: int | None
    ) -> AsyncIterator[bytes]:
        said = b""
        quiet = 0
        while True:
            row, lines = await to_thread.run_sync(self._reader.follow, run_id, after or 0, LOG_PAGE)
            if row is None:
                return
            shown = await to_thread.run_sync(self._run_shown, row, title, username)
            line = _line(RunStateEvent(run=shown))
            quiet += 1
            if line != said or quiet > _KEEP_ALIVE:
                said, quiet = line, 0
                yield line
            if lines and after is not None:
                after, quiet = lines[-1].id, 0
                yield _line(RunLogEvent(lines=[LogLine.model_validate(one) for one in lines]))
                if len(lines) == LOG_PAGE:
                    continue
            if shown.state.ended:
                yield _line(RunEndEvent(run=shown))
                return
            await asyncio.sleep(_FOLLOW_EVERY_S)

    def _begin(
        self,
        caller: Caller,
        job_id: UUID,
        trigger: Trigger,
        given: list[Parameter],
        retry_of: RunRow | None = None,
    ) -> Run:
        begin = Begin(
            trigger=trigger,
            requested_by=caller.username,
            given=given,
            session_key=self._session_key(caller),
            retry_of=None if retry_of is None else retry_of.id,
            version=None if retry_of is None else retry_of.version,
            groups=caller.groups,
            scheduled_for=None if retry_of is None else retry_of.scheduled_for or retry_of.created_at,
        )
        self.quotas.ask(caller)
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            kept, row = transaction.get(KeptRow, job_id), transaction.get(JobRow, job_id)
            if kept is None or row is None:
                raise NotFoundError("there is no job of that id", value=job_id)
            run_id = self._runs.begin(transaction, kept, row, begin).id
        return self.run(caller, run_id)

    def _session_key(self, caller: Caller) -> str | None:
        """The sign-in that a run by hand has its rights from; None for the permission, which lasts longer."""
        if self.permissions.get(caller.username).granted:
            return None
        session = caller.signed.session
        if session is None:
            raise ConflictError(
                "a job outlives the token of one request",
                permitted="a session, or a permission to run your jobs while you are away",
                next_command="give the permission on the page of jobs",
            )
        return session.key

    def _require_engine(self, job: SaveJob) -> None:
        """Raises AbsentServiceError."""
        if isinstance(job.work, SqlWork):
            _ = self._queries.trino
        else:
            self.spark.require()

    def _own(self, caller: Caller, job_id: UUID) -> Kept:
        kept = self._kept.get(viewer_of(caller), job_id)
        if kept.owner != caller.username:
            raise ForbiddenError(
                "a job runs with its owner's rights: nobody else changes or starts it",
                value=job_id,
                permitted=kept.owner,
                next_command="make a copy of your own",
            )
        return kept

    def _run(self, caller: Caller, run_id: UUID) -> tuple[RunRow, Kept]:
        row = self._reader.run(run_id)
        unknown = NotFoundError("there is no run of that id", value=run_id)
        if row is None:
            raise unknown
        try:
            return row, self._kept.get(viewer_of(caller), row.job_id)
        except NotFoundError:
            raise unknown from None

    def _own_run(self, caller: Caller, run_id: UUID, why: str | None = None) -> RunRow:
        row, _ = self._run(caller, run_id)
        if row.owner != caller.username:
            raise ForbiddenError(why or "a run is its owner's", value=run_id, permitted=row.owner)
        return row

    def _shown(self, caller: Caller, kept: Kept) -> Job:
        row, last = self._reader.states([kept.id]), self._reader.last_runs([kept.id])
        return job_of(kept, row.get(kept.id), last.get(kept.id), own=kept.owner == caller.username)

    def _run_shown(self, row: RunRow, title: str, username: str) -> Run:
        version = self._reader.version(row.job_id, row.version)
        job = SaveJob.model_validate({**version.document, "title": version.title})
        return run_of(row, title, job, username)


def _check(caller: Caller, body: SaveJob) -> None:
    """Raises UsageError unless the job could run."""
    check_parameters(body)
    if body.schedule is not None:
        check_schedule(body.schedule)
    if isinstance(body.work, SqlWork) and not spans(body.work.statement):
        raise UsageError("there is no statement in it", permitted="at least one")
    if body.group is not None and body.group not in caller.groups:
        raise UsageError(
            "a job can only need a group that its owner is in",
            value=body.group,
            permitted=", ".join(sorted(caller.groups)) or "none",
        )
    if any(share.access is ShareAccess.EDIT for share in body.shares):
        raise UsageError(
            "a job runs with its owner's rights, so that nobody else may change it",
            value=ShareAccess.EDIT.value,
            permitted=ShareAccess.READ.value,
            next_command="share it to read: others make copies of their own",
        )


def _line(event: RunEvent) -> bytes:
    return event.model_dump_json().encode() + b"\n"
