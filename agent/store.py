"""The agent's database: conversations, runs, the audit of their steps, registered models.

All methods raise sqlalchemy.exc.OperationalError while PostgreSQL can't be reached.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Engine, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from agent.models import SCHEMA_VERSION, ConversationRow, RunRow, SemanticModelRow, StepRow
from agent.values import Answer, Ask, Conversation, ConversationDetail, Run, RunState, Step
from contracts.errors import LabError
from governance.migrating import upgrade

_MIGRATE_LOCK = 0x6C616B65_0005
_TITLE_CHARS = 120
_ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
_ASK: TypeAdapter[Ask] = TypeAdapter(Ask)
_ACTIVE = (RunState.RUNNING.value, RunState.WAITING.value, RunState.INTERRUPTED.value)


class NotFoundError(LabError):
    """There is no such thing, or it is somebody else's, which nobody is told (404)."""


class BusyError(LabError):
    """The conversation's last question is still on its way (409)."""


class Store:
    """Methods take and give values, never rows. Everything but the audit is asked for by its owner's name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def upgrade(self) -> None:
        """Brings the schema to the newest version, and makes the one that checkpoints lie in."""
        upgrade(
            self._engine,
            migrations=Path(__file__).parent / "migrations",
            newest=SCHEMA_VERSION,
            lock=_MIGRATE_LOCK,
        )
        with self._engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA IF NOT EXISTS checkpoints"))

    # --- conversations -------------------------------------------------------------------------------

    def create(self, username: str, title: str) -> Conversation:
        """A new conversation."""
        with self._sessions.begin() as session:
            row = ConversationRow(id=uuid.uuid4(), username=username, title=title[:_TITLE_CHARS])
            session.add(row)
            session.flush()
            session.refresh(row)
            return _conversation(row, 0)

    def conversations(self, username: str, limit: int = 100) -> tuple[Conversation, ...]:
        """The user's own, the last used first."""
        count = select(func.count()).where(RunRow.conversation_id == ConversationRow.id).scalar_subquery()
        query = (
            select(ConversationRow, count)
            .where(ConversationRow.username == username)
            .order_by(ConversationRow.updated_at.desc(), ConversationRow.id)
            .limit(limit)
        )
        with self._sessions() as session:
            return tuple(_conversation(row, runs) for row, runs in session.execute(query))

    def conversation(self, username: str, conversation_id: str) -> ConversationDetail:
        """One of the user's own. Raises NotFoundError."""
        with self._sessions() as session:
            row = _own_conversation(session, username, conversation_id)
            query = select(RunRow).where(RunRow.conversation_id == row.id).order_by(RunRow.number)
            runs = tuple(_run(found) for found in session.scalars(query))
            return ConversationDetail(conversation=_conversation(row, len(runs)), runs=runs)

    def rename(self, username: str, conversation_id: str, title: str) -> Conversation:
        """Raises NotFoundError."""
        with self._sessions.begin() as session:
            row = _own_conversation(session, username, conversation_id)
            row.title = title[:_TITLE_CHARS]
            count = select(func.count()).where(RunRow.conversation_id == row.id)
            return _conversation(row, session.scalar(count) or 0)

    def forget(self, username: str, conversation_id: str) -> tuple[str, ...]:
        """Removes a conversation; the audit of its steps stays. Returns the ids of its runs. Raises
        NotFoundError, BusyError."""
        with self._sessions.begin() as session:
            row = _own_conversation(session, username, conversation_id)
            runs = list(session.scalars(select(RunRow).where(RunRow.conversation_id == row.id)))
            if any(run.state == RunState.RUNNING.value for run in runs):
                raise _busy(conversation_id)
            session.delete(row)
            return tuple(str(run.id) for run in runs)

    # --- runs ----------------------------------------------------------------------------------------

    def begin(self, username: str, conversation_id: str, question: str, planner: str) -> Run:
        """A new run at the conversation's end; one that waits for an answer is given up. Raises
        NotFoundError, BusyError."""
        with self._sessions.begin() as session:
            row = _own_conversation(session, username, conversation_id, lock=True)
            last = session.scalar(
                select(RunRow).where(RunRow.conversation_id == row.id).order_by(RunRow.number.desc()).limit(1)
            )
            if last is not None and last.state == RunState.RUNNING.value:
                raise _busy(conversation_id)
            if last is not None and last.state in _ACTIVE:
                last.state, last.ended_at = RunState.STOPPED.value, func.clock_timestamp()
            run = RunRow(
                id=uuid.uuid4(),
                conversation_id=row.id,
                number=1 if last is None else last.number + 1,
                username=username,
                question=question,
                state=RunState.RUNNING.value,
                planner=planner,
            )
            session.add(run)
            row.updated_at = func.clock_timestamp()
            if not row.title:
                row.title = question[:_TITLE_CHARS]
            session.flush()
            session.refresh(run)
            return _run(run)

    def run(self, username: str, run_id: str) -> Run:
        """One of the user's own. Raises NotFoundError."""
        with self._sessions() as session:
            return _run(_own_run(session, username, run_id))

    def proceed(self, username: str, run_id: str, *, expected: Sequence[RunState]) -> Run:
        """Sets a run going again. Raises NotFoundError, and BusyError unless it is in one of the expected
        states."""
        with self._sessions.begin() as session:
            row = _own_run(session, username, run_id, lock=True)
            if row.state not in [state.value for state in expected]:
                raise BusyError(
                    f"the run is {row.state}",
                    value=run_id,
                    permitted=f"one that is {' or '.join(expected)}",
                )
            row.state, row.ask = RunState.RUNNING.value, None
            session.flush()
            session.refresh(row)
            return _run(row)

    def settle(
        self,
        run_id: str,
        state: RunState,
        *,
        ask: Mapping[str, Any] | None = None,
        answer: Mapping[str, Any] | None = None,
        plan: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Notes how far a run has come. One that was given up meanwhile stays so."""
        values: dict[str, Any] = {
            "state": state.value,
            "ask": ask,
            "answer": answer,
            "plan": plan,
            "error": error,
        }
        if state.ended:
            values["ended_at"] = func.clock_timestamp()
        with self._sessions.begin() as session:
            session.execute(
                update(RunRow)
                .where(RunRow.id == uuid.UUID(run_id), RunRow.state == RunState.RUNNING.value)
                .values(**values)
            )

    def stop(self, username: str, run_id: str) -> Run:
        """Gives up a run that has not ended. Raises NotFoundError."""
        with self._sessions.begin() as session:
            row = _own_run(session, username, run_id, lock=True)
            if row.state in _ACTIVE:
                row.state, row.ended_at = RunState.STOPPED.value, func.clock_timestamp()
                session.flush()
                session.refresh(row)
            return _run(row)

    def history(self, conversation_id: str, before: int, limit: int = 10) -> list[dict[str, Any]]:
        """What questions before had come to, oldest first, for one that follows them."""
        query = (
            select(RunRow)
            .where(
                RunRow.conversation_id == uuid.UUID(conversation_id),
                RunRow.number < before,
                RunRow.state == RunState.ANSWERED.value,
            )
            .order_by(RunRow.number.desc())
            .limit(limit)
        )
        with self._sessions() as session:
            rows = list(session.scalars(query))
        return [
            {
                "question": row.question,
                "reading": (row.answer or {}).get("reading", ""),
                "sql": (row.answer or {}).get("sql", ""),
                "plan": row.plan,
            }
            for row in reversed(rows)
        ]

    def interrupt_all(self) -> int:
        """At the start: runs that an earlier process had on their way can be resumed. Returns how many."""
        with self._sessions.begin() as session:
            found = session.execute(
                update(RunRow)
                .where(RunRow.state == RunState.RUNNING.value)
                .values(state=RunState.INTERRUPTED.value, error="the agent was stopped meanwhile")
            )
            return int(getattr(found, "rowcount", 0))

    # --- the audit -----------------------------------------------------------------------------------

    def note(
        self,
        run_id: str,
        conversation_id: str | None,
        seq: int,
        *,
        username: str,
        channel: str,
        node: str,
        detail: Mapping[str, Any],
        query_id: str | None,
    ) -> Step:
        """One line of the audit."""
        with self._sessions.begin() as session:
            row = StepRow(
                run_id=uuid.UUID(run_id),
                conversation_id=None if conversation_id is None else uuid.UUID(conversation_id),
                seq=seq,
                username=username,
                channel=channel,
                node=node,
                detail=dict(detail),
                query_id=query_id,
            )
            session.add(row)
            session.flush()
            session.refresh(row)
            return _step(row)

    def steps(self, username: str | None, run_id: str) -> tuple[Step, ...]:
        """The steps of a run, also of one whose conversation is gone; None for any user's. Raises
        NotFoundError."""
        query = select(StepRow).where(StepRow.run_id == _uuid(run_id, "run")).order_by(StepRow.seq)
        if username is not None:
            query = query.where(StepRow.username == username)
        with self._sessions() as session:
            found = tuple(_step(row) for row in session.scalars(query))
        if not found:
            raise NotFoundError("there is no such run", value=run_id)
        return found

    def last_seq(self, run_id: str) -> int:
        """The number of a run's last step, 0 before the first."""
        query = select(func.max(StepRow.seq)).where(StepRow.run_id == uuid.UUID(run_id))
        with self._sessions() as session:
            return int(session.scalar(query) or 0)

    def retain(self, *, conversation_days: int, step_days: int) -> tuple[str, ...]:
        """Removes conversations that nobody used for long, and old steps. Returns ids of removed runs."""
        with self._sessions.begin() as session:
            old = select(ConversationRow.id).where(
                ConversationRow.updated_at < func.clock_timestamp() - timedelta(days=conversation_days)
            )
            runs = tuple(
                str(one) for one in session.scalars(select(RunRow.id).where(RunRow.conversation_id.in_(old)))
            )
            session.execute(delete(ConversationRow).where(ConversationRow.id.in_(old)))
            session.execute(text("SELECT step_retain(:days)"), {"days": step_days})
            return runs

    # --- registered models ---------------------------------------------------------------------------

    def models(self) -> dict[str, tuple[str, str]]:
        """Text and who registered it, by name."""
        with self._sessions() as session:
            rows = session.scalars(select(SemanticModelRow).order_by(SemanticModelRow.name))
            return {row.name: (row.text, row.registered_by) for row in rows}

    def put_model(self, name: str, content: str, username: str) -> None:
        """Registers a model, in the place of one of the same name."""
        values = {"name": name, "text": content, "registered_by": username}
        statement = insert(SemanticModelRow).values(**values)
        with self._sessions.begin() as session:
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"], set_={**values, "registered_at": func.clock_timestamp()}
                )
            )

    def remove_model(self, name: str) -> None:
        """Raises NotFoundError."""
        with self._sessions.begin() as session:
            found = session.get(SemanticModelRow, name)
            if found is None:
                raise NotFoundError("there is no such registered model", value=name)
            session.delete(found)


def _busy(conversation_id: str) -> BusyError:
    return BusyError(
        "the conversation's last question is still on its way",
        value=conversation_id,
        permitted="wait for it, or stop it",
    )


def _uuid(text_: str, what: str) -> uuid.UUID:
    try:
        return uuid.UUID(text_)
    except ValueError:
        raise NotFoundError(f"there is no such {what}", value=text_) from None


def _own_conversation(
    session: Session, username: str, conversation_id: str, *, lock: bool = False
) -> ConversationRow:
    key = _uuid(conversation_id, "conversation")
    row = session.get(ConversationRow, key, with_for_update=lock or None)
    if row is None or row.username != username:
        raise NotFoundError("there is no such conversation", value=conversation_id)
    return row


def _own_run(session: Session, username: str, run_id: str, *, lock: bool = False) -> RunRow:
    row = session.get(RunRow, _uuid(run_id, "run"), with_for_update=lock or None)
    if row is None or row.username != username:
        raise NotFoundError("there is no such run", value=run_id)
    return row


def _conversation(row: ConversationRow, runs: int) -> Conversation:
    return Conversation(
        id=str(row.id), title=row.title, created_at=row.created_at, updated_at=row.updated_at, runs=runs
    )


def _run(row: RunRow) -> Run:
    return Run(
        id=str(row.id),
        conversation=str(row.conversation_id),
        number=row.number,
        question=row.question,
        state=RunState(row.state),
        planner=row.planner,
        created_at=row.created_at,
        ended_at=row.ended_at,
        ask=None if row.ask is None else _ASK.validate_python(row.ask),
        answer=None if row.answer is None else _ANSWER.validate_python(row.answer),
        error=row.error,
    )


def _step(row: StepRow) -> Step:
    return Step(
        run=str(row.run_id),
        seq=row.seq,
        at=row.recorded_at,
        node=row.node,
        detail=row.detail,
        query_id=row.query_id,
    )
