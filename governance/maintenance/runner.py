"""Maintains tables one after another: what one table's run does, and what it leaves in the history."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from contracts.errors import LabError
from governance.maintenance.engine import ConflictError, Engine, MaintenanceError
from governance.maintenance.planning import (
    REMOVING,
    Procedure,
    Step,
    Surroundings,
    TableState,
    Verdict,
    plan,
    settled,
    statement,
    step,
)
from governance.maintenance.policy import Limits, Policies, Policy
from governance.maintenance.reports import (
    MaintenancePlan,
    MaintenanceRun,
    PlannedStep,
    Size,
    StepOutcome,
    StepReport,
)
from governance.maintenance.schedule import due
from governance.maintenance.store import BeingMaintainedError, MaintenanceStore

log = logging.getLogger(__name__)

_WORST = (StepOutcome.FAILED, StepOutcome.CONFLICT, StepOutcome.WAITS, StepOutcome.DONE)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A table to maintain. ``shares``: other tables whose location lies in this one's, or the reverse."""

    name: str
    shares: tuple[str, ...] = ()


class Maintainer:
    """Plans and runs maintenance.

    Args:
        unsafe: procedures that the catalog does not bear, and why.
        stopping: once set, no further step is begun.
        clock: the time now (UTC).
    """

    def __init__(
        self,
        store: MaintenanceStore,
        engine: Engine,
        *,
        unsafe: Mapping[Procedure, str],
        limits: Limits,
        stopping: threading.Event | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self.store = store
        self.limits = limits
        self.unsafe = unsafe
        self.stopping = stopping or threading.Event()
        self._engine = engine
        self._clock = clock

    def plan(self, subject: Subject, policies: Policies) -> MaintenancePlan:
        """What a run would do now; nothing is done. Raises MaintenanceError."""
        policy = policies.on(subject.name)
        state = self._engine.state(subject.name, policy.small_file_mib)
        steps = plan(subject.name, state, policy, self.limits, self._around(subject, policy))
        return MaintenancePlan(
            table=subject.name,
            policy=policy.as_document(),
            size=_size(state),
            steps=tuple(
                PlannedStep(
                    procedure=one.procedure.value,
                    verdict=one.verdict.value,
                    reason=one.reason,
                    statement=statement(subject.name, one, policy) if one.verdict is Verdict.RUN else None,
                )
                for one in steps
            ),
        )

    def run(
        self, subject: Subject, policies: Policies, *, asked_by: str, scheduled: bool = False
    ) -> MaintenanceRun:
        """Maintains one table and keeps what came of it. A step that fails does not keep the others from
        being tried: each rests on the table as it is then.

        Raises:
            BeingMaintainedError: another run has the table.
        """
        policy = policies.on(subject.name)
        with self.store.holding(subject.name):
            run = self.store.begin(
                subject.name, asked_by=asked_by, scheduled=scheduled, policy=policy.as_document()
            )
            return self._run(run, subject, policy)

    def run_due(self, subjects: Iterable[Subject], policies: Policies, since: datetime) -> dict[str, str]:
        """Maintains what the schedule says, one table after another; a table that fails keeps no other
        waiting.

        Returns:
            Tables whose run failed, with the reason; those that were tried and did not fail with "".
        """
        found = {subject.name: subject for subject in subjects}
        last = self.store.last_runs()
        answers: dict[str, str] = {}
        for name in due(found, policies, last, since=since, now=self._clock()):
            if self.stopping.is_set():
                break
            try:
                run = self.run(found[name], policies, asked_by="schedule", scheduled=True)
            except BeingMaintainedError:
                continue
            answers[name] = (run.error or "it failed") if run.outcome is StepOutcome.FAILED else ""
        return answers

    # --- one run -----------------------------------------------------------------------------------------

    def _run(self, run: int, subject: Subject, policy: Policy) -> MaintenanceRun:
        before: TableState | None = None
        after: TableState | None = None
        steps: list[StepReport] = []
        error: str | None = None
        try:
            before = after = self._engine.state(subject.name, policy.small_file_mib)
            for procedure in Procedure:
                if self.stopping.is_set():
                    error = "the governor was stopped before all steps were done"
                    break
                known = None if any(one.outcome is StepOutcome.DONE for one in steps) else before
                steps.append(self._step(procedure, subject, policy, known))
                if steps[-1].outcome in (StepOutcome.FAILED, StepOutcome.CONFLICT):
                    error = error or f"{procedure.value}: {steps[-1].reason}"
            if any(one.outcome is StepOutcome.DONE for one in steps):
                after = self._engine.state(subject.name, policy.small_file_mib)
        except LabError as failure:
            error = failure.what
        except Exception as failure:  # a defect must end neither the schedule nor another table's run
            log.exception("maintenance of %s", subject.name)
            error = f"{type(failure).__name__}: {failure}"
        return self.store.end(
            run,
            _outcome(steps, error),
            before=None if before is None else _size(before),
            after=None if after is None else _size(after),
            steps=steps,
            error=error,
        )

    def _step(
        self, procedure: Procedure, subject: Subject, policy: Policy, known: TableState | None
    ) -> StepReport:
        """Plans and does one step. ``known`` is the table's state while no step changed it; one that
        removes files is planned on the table and the queries of that moment, whatever is known."""
        planned = settled(procedure, policy, self.unsafe)
        read_at = time.monotonic()
        if planned is None:
            removes = procedure in REMOVING
            state = known
            if state is None or removes:
                state = self._engine.state(subject.name, policy.small_file_mib)
            around = self._around(subject, policy) if removes else Surroundings(unsafe={}, running=())
            planned = step(procedure, subject.name, state, policy, self.limits, around)
        if planned.verdict is not Verdict.RUN:
            return StepReport(
                procedure=procedure.value, outcome=StepOutcome(planned.verdict.value), reason=planned.reason
            )
        begun = time.monotonic()
        sql = statement(subject.name, _since(planned, begun - read_at), policy)
        outcome, reason = StepOutcome.DONE, planned.reason
        try:
            self._engine.execute(sql)
        except ConflictError as error:
            outcome = StepOutcome.CONFLICT
            reason = f"another writer's commit came first, nothing was changed: {error.what}"
        except MaintenanceError as error:
            outcome, reason = StepOutcome.FAILED, error.what
        return StepReport(
            procedure=procedure.value,
            outcome=outcome,
            reason=reason,
            statement=sql,
            duration_s=round(time.monotonic() - begun, 3),
        )

    def _around(self, subject: Subject, policy: Policy) -> Surroundings:
        last = self.store.last_step(subject.name, Procedure.REMOVE_ORPHAN_FILES.value)
        again = None if last is None else last + timedelta(seconds=policy.orphans_every)
        return Surroundings(
            unsafe=self.unsafe,
            running=self._engine.running(),
            orphans_due=again is None or again <= self._clock(),
            shares=subject.shares,
        )


def _since(planned: Step, elapsed_s: float) -> Step:
    """The retention counts from when the state was read: what passed since is kept on top."""
    if planned.retention_ms is None:
        return planned
    return replace(planned, retention_ms=planned.retention_ms + int(elapsed_s * 1000) + 1)


def _outcome(steps: Iterable[StepReport], error: str | None) -> StepOutcome:
    met = {one.outcome for one in steps}
    if error is not None and not met & {StepOutcome.FAILED, StepOutcome.CONFLICT}:
        return StepOutcome.FAILED
    return next((one for one in _WORST if one in met), StepOutcome.NOTHING)


def _size(state: TableState) -> Size:
    return Size(
        files=state.files,
        small_files=state.small_files,
        delete_files=state.delete_files,
        bytes=state.bytes,
        manifests=state.manifests,
        snapshots=len(state.snapshots),
    )
