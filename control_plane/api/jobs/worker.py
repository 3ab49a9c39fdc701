"""Carries out runs: claims one, tries it, and says how it ended."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from contracts.errors import LabError, UsageError
from control_plane.api.identity.sealing import Sealer
from control_plane.api.identity.sessions import Sessions
from control_plane.api.jobs.attempts import (
    Engine,
    Ground,
    LostError,
    NoRetryError,
    StopRequestedError,
    patiently,
)
from control_plane.api.jobs.ledger import Ledger
from control_plane.api.jobs.permissions import Identity, Permissions, RightsGoneError
from control_plane.api.jobs.runs import Claimed, Outcome, Runs, SupersededError
from control_plane.api.jobs.spark_engine import Spark, SparkEngine
from control_plane.api.jobs.sql_engine import SqlEngine, StatementError
from control_plane.api.problems import AbsentServiceError
from control_plane.api.queries.service import Queries
from control_plane.api.schemas.jobs import RunError, RunState, SqlWork

log = logging.getLogger(__name__)

_CANCEL_TIMEOUT_S = 20.0
_USER_ERROR = "USER_ERROR"


class Carrier:
    """Works on entries of the queue."""

    def __init__(
        self,
        *,
        runs: Runs,
        ledger: Ledger,
        permissions: Permissions,
        sessions: Sessions,
        sealer: Sealer,
        queries: Queries,
        spark: Spark,
    ) -> None:
        self._runs, self._ledger, self._permissions, self._sessions = runs, ledger, permissions, sessions
        self._sealer, self._queries, self._spark = sealer, queries, spark

    async def tick(self, job_id: UUID, tick: UUID) -> None:
        """A job's time has come."""
        await patiently(partial(self._ledger.tick, job_id, tick))

    async def run(self, run_id: UUID) -> datetime | None:
        """Tries a run; returns when to come back to it. Canceled, it leaves the run as it stands: whoever has
        it next takes it up there."""
        claimed = await patiently(partial(self._runs.claim, run_id))
        if not isinstance(claimed, Claimed):
            return claimed
        try:
            outcome = await self._attempt(claimed)
            if outcome.error is not None and outcome.error.message:
                await patiently(partial(self._runs.log, claimed, outcome.error.message))
            again = await patiently(partial(self._runs.end_attempt, claimed, outcome))
        except SupersededError:
            log.warning("run %s was taken over by another worker", run_id)
            return None
        how = (
            outcome.state.value
            if again is None
            else f"{outcome.state.value}, tried again at {again:%H:%M:%S}"
        )
        log.info("run %s, attempt %s: %s", run_id, claimed.attempt, how)
        return again

    async def _attempt(self, run: Claimed) -> Outcome:
        identity = Identity(self._permissions, self._sessions, run.owner, run.session_key)
        ground = Ground(run, self._runs, identity, self._sealer)
        engine: Engine | None = None
        try:
            if run.stop_requested and not run.resumed:
                raise StopRequestedError
            engine = self._engine(run, ground)
            async with asyncio.timeout(_remaining_s(run)):
                await ground.say(_beginning(run))
                await self._require_rights(run, identity)
                await engine.execute()
            return Outcome(state=RunState.SUCCEEDED)
        except SupersededError:
            raise
        except TimeoutError:
            error = RunError(message=f"it took longer than {run.job.timeout_s} s", name="TIMEOUT")
            outcome = Outcome(state=RunState.TIMED_OUT, error=error, retryable=True)
        except StopRequestedError:
            outcome = Outcome(state=RunState.CANCELED)
        except Exception as error:
            outcome = _failure(run, error)
        if engine is not None:
            await self._cancel(engine, ground)
        return outcome

    async def _require_rights(self, run: Claimed, identity: Identity) -> None:
        """The owner must be who the job needs, as Keycloak says now. Raises RightsGoneError."""
        person = await identity.person()
        group = run.job.group
        if group is not None and group not in person.groups:
            reason = f"{run.owner!r} is no member of {group!r} any more"
            await patiently(partial(self._ledger.group_left, run.job_id, reason))
            raise RightsGoneError(
                reason, value=", ".join(sorted(person.groups)) or "no group", permitted=group
            )

    def _engine(self, run: Claimed, ground: Ground) -> Engine:
        work = run.job.work
        if isinstance(work, SqlWork):
            return SqlEngine(self._queries.trino, work, ground)
        self._spark.require()
        return SparkEngine(self._spark, work, ground)

    @staticmethod
    async def _cancel(engine: Engine, ground: Ground) -> None:
        try:
            async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                await engine.cancel()
        except (LabError, TimeoutError) as error:
            what = error.what if isinstance(error, LabError) else "the engine does not answer"
            await ground.say(f"what was running could not be ended: {what}")


def _beginning(run: Claimed) -> str:
    if run.resumed:
        return "taken up again after the console was restarted"
    return f"attempt {run.attempt}, as {run.owner}"


def _remaining_s(run: Claimed) -> float:
    gone = (datetime.now(tz=UTC) - run.attempt_started_at).total_seconds()
    return max(0.0, run.job.timeout_s - gone)


def _failure(run: Claimed, error: Exception) -> Outcome:
    match error:
        case StatementError():
            cause = error.cause
            told = RunError(
                message=cause.what,
                name=cause.error_name,
                statement=error.statement,
                line=error.line,
                column=error.column,
            )
            return Outcome(state=RunState.FAILED, error=told, retryable=cause.kind != _USER_ERROR)
        case LostError():
            return Outcome(state=RunState.FAILED, error=RunError(message=error.what, name="LOST"), lost=True)
        case RightsGoneError():
            return Outcome(state=RunState.FAILED, error=RunError(message=error.what, name="RIGHTS_GONE"))
        case NoRetryError() | AbsentServiceError() | UsageError():
            return Outcome(state=RunState.FAILED, error=RunError(message=_whole(error)))
        case LabError():
            return Outcome(state=RunState.FAILED, error=RunError(message=_whole(error)), retryable=True)
    log.error("run %s failed", run.run_id, exc_info=error)
    return Outcome(
        state=RunState.FAILED, error=RunError(message="the console failed at this run"), retryable=True
    )


def _whole(error: LabError) -> str:
    return error.what if error.next_command is None else f"{error.what} (next: {error.next_command})"
