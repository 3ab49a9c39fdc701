"""The history of queries in the database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, delete, select, tuple_, update
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from control_plane.api.schemas.queries import QueryState
from control_plane.api.storage.models import QueryRow
from control_plane.api.storage.paging import cursor_of, place

RETENTION = timedelta(days=90)


class QueryStore:
    """What people ran, and how it went. Methods raise sqlalchemy.exc.OperationalError."""

    def __init__(self, sessions: sessionmaker[Transaction]) -> None:
        self._sessions = sessions

    def add(self, **values: Any) -> None:
        """Notes a query that begins."""
        with self._sessions.begin() as transaction:
            transaction.add(QueryRow(state=QueryState.QUEUED.value, outcome={}, row_count=0, **values))

    def end(
        self,
        query_id: UUID,
        *,
        state: QueryState,
        trino_query_id: str | None,
        row_count: int,
        outcome: Mapping[str, Any],
        ended_at: datetime,
    ) -> None:
        """Notes how a query ended."""
        values = {
            "state": state.value,
            "trino_query_id": trino_query_id,
            "row_count": row_count,
            "outcome": dict(outcome),
            "ended_at": ended_at,
        }
        with self._sessions.begin() as transaction:
            transaction.execute(update(QueryRow).where(QueryRow.id == query_id).values(values))

    def lose_running(self) -> int:
        """What an earlier process did not see the end of is lost; returns how many."""
        running = (QueryState.QUEUED.value, QueryState.RUNNING.value)
        values = {"state": QueryState.LOST.value, "ended_at": datetime.now(tz=UTC)}
        with self._sessions.begin() as transaction:
            done = transaction.execute(update(QueryRow).where(QueryRow.state.in_(running)).values(values))
            return cast(CursorResult[Any], done).rowcount

    def get(self, owner: str, query_id: UUID) -> QueryRow | None:
        """One of the owner's queries."""
        query = select(QueryRow).where(QueryRow.id == query_id, QueryRow.owner == owner)
        with self._sessions() as transaction:
            return transaction.scalar(query)

    def page(
        self,
        owner: str,
        *,
        text: str = "",
        state: QueryState | None = None,
        saved_query_id: UUID | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> tuple[list[QueryRow], str | None]:
        """Queries of the owner's, newest first, and the cursor of what follows. Raises UsageError."""
        query = select(QueryRow).where(QueryRow.owner == owner)
        if text:
            query = query.where(QueryRow.statement.icontains(text, autoescape=True))
        if state is not None:
            query = query.where(QueryRow.state == state.value)
        if saved_query_id is not None:
            query = query.where(QueryRow.saved_query_id == saved_query_id)
        if cursor is not None:
            query = query.where(tuple_(QueryRow.created_at, QueryRow.id) < place(cursor))
        query = query.order_by(QueryRow.created_at.desc(), QueryRow.id.desc()).limit(limit + 1)
        with self._sessions() as transaction:
            rows = list(transaction.scalars(query))
        following = cursor_of(rows[limit - 1].created_at, rows[limit - 1].id) if len(rows) > limit else None
        return rows[:limit], following

    def remove_old(self) -> int:
        """Removes what is older than the history goes back; returns how many."""
        oldest = datetime.now(tz=UTC) - RETENTION
        with self._sessions.begin() as transaction:
            done = transaction.execute(delete(QueryRow).where(QueryRow.created_at < oldest))
            return cast(CursorResult[Any], done).rowcount
