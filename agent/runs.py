"""Runs on their way: each a task of its own, which lives on when its asker's connection ends.

A run holds its user's tokens in memory and nowhere else. What it does is audited before it goes on; when that
can't be written, the run fails.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from agent.access import AccessNotes, ClientFor
from agent.checkpoints import Graphs
from agent.engine import Engine, Limits, TrinoEngine
from agent.identity import Identities, User, UserTokens
from agent.state import Planner, RunContext, State
from agent.store import Store
from agent.threads import in_thread
from agent.values import Run, RunState, Step
from contracts.errors import LabError
from contracts.identity import Audience
from governance.tasks import end

log = logging.getLogger(__name__)

CHAT = "chat"
_SETTLE_TRIES = 8
_SETTLE_PAUSE_S = 0.5
_MAX_QUESTION = 4_000


class TooManyError(LabError):
    """As many questions are on their way as may be (429)."""


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """``total`` and ``per_user`` runs side by side; ``seconds`` of one; ``repairs`` of its SQL."""

    total: int = 8
    per_user: int = 3
    seconds: float = 300.0
    repairs: int = 2


@dataclass(kw_only=True)
class _Active:
    run: Run
    username: str
    task: asyncio.Task[None] | None = None
    seq: int = 0
    first: int = 1
    steps: list[Step] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    stopped: bool = False
    done: bool = False

    async def after(self, seq: int) -> tuple[list[Step], bool]:
        """The steps after a number, once there are some, and whether the run's task has ended."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.done or any(step.seq > seq for step in self.steps))
            return [step for step in self.steps if step.seq > seq], self.done


EngineFor = Callable[[UserTokens, str], Engine]
"""Makes a user's engine for a run's id."""


def trino_engines(url: str, ca_certificate: str, catalog: str, limits: Limits) -> EngineFor:
    """Engines on the lab's Trino, tagged with the run."""

    def make(tokens: UserTokens, run_id: str) -> TrinoEngine:
        return TrinoEngine(
            url=url,
            ca_certificate=ca_certificate,
            catalog=catalog,
            token=partial(tokens.from_thread, Audience.TRINO),
            tags=(f"run={run_id}",),
            limits=limits,
        )

    return make


class Runs:
    """Begins, resumes, stops and shows runs."""

    def __init__(
        self,
        *,
        store: Store,
        graphs: Graphs,
        identities: Identities,
        engine_for: EngineFor,
        governor: ClientFor,
        planner: Callable[[], Planner],
        catalog: str,
        max_scan_mib: int,
        limits: RunLimits | None = None,
    ) -> None:
        self._store, self._graphs, self._identities = store, graphs, identities
        self._engine_for, self._governor, self._planner = engine_for, governor, planner
        self._catalog, self._max_scan_mib = catalog, max_scan_mib
        self._limits = limits or RunLimits()
        self._active: dict[str, _Active] = {}
        self._closing = False

    # --- what users do -------------------------------------------------------------------------------

    async def say(self, user: User, conversation_id: str, text: str) -> Run:
        """A text in a conversation: the answer to what was asked back there, else a new question.

        Raises:
            NotFoundError, BusyError, TooManyError, SignInEndedError, IdentityUnavailableError.
        """
        text = text.strip()[:_MAX_QUESTION]
        self._require_room(user)
        detail = await in_thread(self._store.conversation, user.username, conversation_id)
        tokens = await self._identities.of(user)
        last = detail.runs[-1] if detail.runs else None
        if last is not None and last.state is RunState.WAITING:
            run = await in_thread(self._store.proceed, user.username, last.id, expected=[RunState.WAITING])
            return await self._start(run, user, tokens, {"answer": text})
        planner = await in_thread(self._planner)
        run = await in_thread(self._store.begin, user.username, conversation_id, text, planner.name)
        history = await in_thread(self._store.history, conversation_id, run.number)
        return await self._start(run, user, tokens, {"question": text, "history": history}, planner)

    async def resume(self, user: User, run_id: str) -> Run:
        """Goes on with a run that the agent's end interrupted. Raises as :meth:`say`."""
        self._require_room(user)
        await self.get(user, run_id)
        tokens = await self._identities.of(user)
        run = await in_thread(self._store.proceed, user.username, run_id, expected=[RunState.INTERRUPTED])
        return await self._start(run, user, tokens, {})

    async def stop(self, user: User, run_id: str) -> Run:
        """Ends a run; its statement is ended on the server. Raises NotFoundError."""
        run = await in_thread(self._store.stop, user.username, run_id)
        active = self._active.get(run.id)
        if active is not None and active.task is not None:
            active.stopped = True
            active.task.cancel()
            await asyncio.wait([active.task])
        return await in_thread(self._store.run, user.username, run_id)

    async def get(self, user: User, run_id: str) -> Run:
        """A run as it is now. Raises NotFoundError."""
        run = await in_thread(self._store.run, user.username, run_id)
        if run.state is RunState.RUNNING and run.id not in self._active:
            # Its end could not be written: the database was away.
            await in_thread(self._store.settle, run.id, RunState.INTERRUPTED)
            return await in_thread(self._store.run, user.username, run_id)
        return run

    async def forget(self, user: User, conversation_id: str) -> None:
        """Removes a conversation. Raises NotFoundError, BusyError."""
        runs = await in_thread(self._store.forget, user.username, conversation_id)
        await self._graphs.forget(runs)

    async def events(self, user: User, run_id: str, after: int = 0) -> AsyncIterator[Step | Run]:
        """The steps after a number as they come, then the run as it stands. Raises NotFoundError."""
        run = await self.get(user, run_id)
        active = self._active.get(run.id)
        if active is None:
            with suppress(LabError):
                for step in await in_thread(self._store.steps, user.username, run.id):
                    if step.seq > after:
                        yield step
            yield await self.get(user, run_id)
            return
        if after < active.first - 1:
            # Steps of before it was resumed, or answered.
            for step in await in_thread(self._store.steps, user.username, run.id):
                if after < step.seq < active.first:
                    after = step.seq
                    yield step
        done = False
        while not done:
            found, done = await active.after(after)
            for step in found:
                after = step.seq
                yield step
        yield await self.get(user, run_id)

    def _require_room(self, user: User) -> None:
        own = sum(active.username == user.username for active in self._active.values())
        if len(self._active) >= self._limits.total or own >= self._limits.per_user:
            raise TooManyError(
                "too many questions are on their way",
                value=f"{len(self._active)} in all, {own} of {user.username!r}",
                permitted=f"{self._limits.total} in all, {self._limits.per_user} a user",
            )

    async def close(self) -> None:
        """Ends all runs so that they can be resumed."""
        self._closing = True
        tasks = [active.task for active in self._active.values() if active.task is not None]
        await end(*tasks)

    # --- one run -------------------------------------------------------------------------------------

    async def _start(
        self,
        run: Run,
        user: User,
        tokens: UserTokens,
        given: Mapping[str, Any],
        planner: Planner | None = None,
    ) -> Run:
        """Begins with a ``question``, goes on with an ``answer``, or from where it was interrupted."""
        chosen: Planner = planner if planner is not None else await in_thread(self._planner)
        active = _Active(run=run, username=user.username)
        active.seq = await in_thread(self._store.last_seq, run.id)
        active.first = active.seq + 1
        self._active[run.id] = active
        active.task = asyncio.create_task(self._execute(active, tokens, given, chosen), name=f"run {run.id}")
        return run

    async def _execute(
        self, active: _Active, tokens: UserTokens, given: Mapping[str, Any], planner: Planner
    ) -> None:
        engine = self._engine_for(tokens, active.run.id)
        outcome: dict[str, Any] = {"state": RunState.FAILED, "error": "it ended for no known reason"}
        try:
            async with asyncio.timeout(self._limits.seconds):
                outcome = await self._run(active, tokens, given, planner, engine)
        except asyncio.CancelledError:
            ended = RunState.INTERRUPTED if self._closing and not active.stopped else RunState.STOPPED
            outcome = {"state": ended, "error": "stopped" if active.stopped else None}
        except TimeoutError:
            error = f"it took longer than {self._limits.seconds:.0f} s"
            outcome = {"state": RunState.FAILED, "error": error}
        except (LabError, SQLAlchemyError) as error:
            outcome = {"state": RunState.FAILED, "error": str(error).splitlines()[0]}
        except Exception as error:  # a defect must end the run, not the agent
            log.exception("run %s failed", active.run.id)
            outcome = {"state": RunState.FAILED, "error": f"unexpected: {type(error).__name__}"}
        finally:
            await asyncio.shield(self._finish(active, engine, outcome))

    async def _run(
        self,
        active: _Active,
        tokens: UserTokens,
        given: Mapping[str, Any],
        planner: Planner,
        engine: Engine,
    ) -> dict[str, Any]:
        from langgraph.types import Command

        from agent.graph import MAX_STEPS

        graph = await self._graphs.graph()
        context = RunContext(
            planner=planner,
            engine=engine,
            catalog=self._catalog,
            max_scan_mib=self._max_scan_mib,
            repairs=self._limits.repairs,
            username=active.username,
            today=dt.datetime.now(tz=dt.UTC).date(),
            explain=AccessNotes(self._governor, tokens).notes,
            step=partial(self._note, active),
        )
        if "question" in given:
            what: Any = State(question=given["question"], history=list(given["history"]))
            await self._note(
                active, "question", {"question": given["question"], "planner": planner.name}, None
            )
        elif "answer" in given:
            what = Command(resume=given["answer"])
        else:
            what = None
            await self._note(active, "resume", {}, None)
        config = {"configurable": {"thread_id": active.run.id}, "recursion_limit": MAX_STEPS}
        # Each node's outcome is on the disk before the next begins: what goes on repeats one at most.
        found = await graph.ainvoke(what, config, context=context, durability="sync")
        if "__interrupt__" in found:
            ask = found["__interrupt__"][0].value
            await self._note(active, "asked", {"question": ask["question"]}, None)
            return {"state": RunState.WAITING, "ask": {key: ask[key] for key in ("question", "options")}}
        declined = found.get("decline") is not None
        state = RunState.DECLINED if declined else RunState.ANSWERED
        return {"state": state, "answer": found["answer"], "plan": found.get("plan")}

    async def _note(
        self, active: _Active, node: str, detail: Mapping[str, Any], query_id: str | None
    ) -> None:
        active.seq += 1
        step = await in_thread(
            self._store.note,
            active.run.id,
            active.run.conversation,
            active.seq,
            username=active.username,
            channel=CHAT,
            node=node,
            detail=detail,
            query_id=query_id,
        )
        async with active.changed:
            active.steps.append(step)
            active.changed.notify_all()

    async def _finish(self, active: _Active, engine: Engine, outcome: dict[str, Any]) -> None:
        state: RunState = outcome.pop("state")
        with suppress(Exception):  # a connection that does not close is no reason to keep the run
            await engine.close()
        await self._settle(active.run.id, state, outcome)
        self._active.pop(active.run.id, None)
        async with active.changed:
            active.done = True
            active.changed.notify_all()
        if state.ended:
            try:
                await self._graphs.forget([active.run.id])
            except Exception as error:  # its rows go with the conversation's end at the latest
                log.warning("checkpoints of run %s are not removed: %s", active.run.id, type(error).__name__)

    async def _settle(self, run_id: str, state: RunState, outcome: Mapping[str, Any]) -> None:
        """Writes the end down, again while the database is away for a moment."""
        for attempt in range(1, _SETTLE_TRIES + 1):
            try:
                await in_thread(self._store.settle, run_id, state, **outcome)
            except SQLAlchemyError as error:
                if attempt == _SETTLE_TRIES or self._closing:
                    log.warning("the end of run %s is not written: %s", run_id, type(error).__name__)
                    return
                await asyncio.sleep(_SETTLE_PAUSE_S * attempt)
            else:
                return
