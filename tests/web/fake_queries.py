"""The fake console's queries: statements with known words behave in known ways."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from control_plane.api.schemas.common import Column
from control_plane.api.schemas.queries import (
    ColumnsEvent,
    EndEvent,
    HistoryEntry,
    Query,
    QueryError,
    QueryOrigin,
    QueryState,
    RowsEvent,
    StartQuery,
    StateEvent,
    Statistics,
)
from tests.web import samples

SLOW_S = 30.0
CHUNK = 500


@dataclass
class FakeQuery:
    """One query. ``slow`` runs until it is canceled, ``many`` has 100,000 rows, ``boom`` fails at its
    position, ``forbidden`` is denied; others have a few rows at once."""

    body: StartQuery
    user: str
    origin: QueryOrigin = QueryOrigin.WORKSHEET
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    created_at: datetime = field(default_factory=lambda: datetime.now(tz=UTC))
    ended_at: datetime | None = None
    state: QueryState = QueryState.RUNNING
    error: QueryError | None = None

    @property
    def types(self) -> Mapping[str, str]:
        """Columns of the result."""
        text = self.body.statement.lower()
        if "revenue" in text:
            return {name: kind for name, kind in samples.SUMMARY_COLUMNS.items() if name in text}
        for tables in samples.TABLES.values():
            for name, types in tables.items():
                if name.lower() in text:
                    return types
        return {"answer": "bigint", "note": "varchar"}

    @property
    def columns(self) -> list[Column]:
        return samples.columns(self.types)

    @property
    def row_count(self) -> int:
        if self.error is not None:
            return 0
        text = self.body.statement.lower()
        count = 100_000 if "many" in text else 36 if "revenue" in text else 240 if "from" in text else 1
        return min(count, self.body.max_rows or count)

    def rows(self, offset: int, limit: int) -> list[list[Any]]:
        """A page of the result."""
        if "revenue" in self.body.statement.lower():
            kept = [i for i, name in enumerate(samples.SUMMARY_COLUMNS) if name in self.types]
            return [[row[i] for i in kept] for row in samples.summary_rows()[offset : offset + limit]]
        if self.row_count == 1:
            return [[42, "the whole answer"]][offset : offset + limit]
        return [
            samples.row(self.types, number) for number in range(offset, min(self.row_count, offset + limit))
        ]

    def end(self, state: QueryState) -> None:
        """Ends it, once."""
        if self.ended_at is None:
            self.state, self.ended_at = state, datetime.now(tz=UTC)

    def statistics(self) -> Statistics:
        elapsed = ((self.ended_at or datetime.now(tz=UTC)) - self.created_at).total_seconds()
        done = self.ended_at is not None
        return Statistics(
            state="FINISHED" if done else "RUNNING",
            progress=1.0 if done else min(0.9, elapsed / SLOW_S),
            elapsed_s=elapsed,
            cpu_s=elapsed / 2,
            processed_rows=self.row_count * 3,
            processed_bytes=self.row_count * 410,
            peak_memory_bytes=7_340_032,
            nodes=1,
            splits=12,
            completed_splits=12 if done else 4,
        )

    def model(self) -> Query:
        """As the API tells it."""
        ended = self.ended_at is not None
        return Query(
            id=self.id,
            trino_query_id="20260115_093000_00042_fakes",
            state=self.state,
            origin=self.origin,
            statement=self.body.statement,
            catalog=self.body.catalog,
            namespace=self.body.namespace,
            parameters=self.body.parameters,
            saved_query_id=self.body.saved_query_id,
            columns=self.columns if ended and self.error is None else None,
            row_count=self.row_count if ended else 0,
            truncated=self.body.max_rows is not None and self.row_count == self.body.max_rows,
            available=ended and self.error is None,
            update_type=None,
            update_count=None,
            statistics=self.statistics(),
            warnings=[],
            error=self.error,
            created_at=self.created_at,
            ended_at=self.ended_at,
        )

    def entry(self) -> HistoryEntry:
        """As the history lists it."""
        facts = self.model().model_dump()
        return HistoryEntry.model_validate({name: facts[name] for name in HistoryEntry.model_fields})

    def events(self, offset: int, max_rows: int | None) -> Iterator[str]:
        """Lines of the event stream."""

        def line(event: StateEvent | ColumnsEvent | RowsEvent | EndEvent) -> str:
            return json.dumps(event.model_dump(mode="json")) + "\n"

        def state(rows: int) -> str:
            return line(
                StateEvent(
                    state=self.state,
                    trino_query_id="20260115_093000_00042_fakes",
                    row_count=rows,
                    statistics=self.statistics(),
                )
            )

        yield state(0)
        text = self.body.statement.lower()
        if "boom" in text:
            lines = self.body.statement[: text.index("boom")].split("\n")
            self.error = QueryError(
                message="line 1:8: Column 'boom' cannot be resolved",
                name="COLUMN_NOT_FOUND",
                kind="USER_ERROR",
                line=len(lines),
                column=len(lines[-1]) + 1,
            )
            self.end(QueryState.FAILED)
        elif "forbidden" in text:
            self.error = QueryError(
                message="Access Denied: Cannot select from table lake.hr.forbidden",
                name="PERMISSION_DENIED",
                denied=True,
            )
            self.end(QueryState.FAILED)
        elif "slow" in text:
            until = time.monotonic() + SLOW_S
            while self.ended_at is None and time.monotonic() < until:
                yield state(0)
                time.sleep(0.1)
        if self.error is None and self.state is QueryState.RUNNING:
            yield line(ColumnsEvent(columns=self.columns))
            last = min(self.row_count, offset + (self.row_count if max_rows is None else max_rows))
            for start in range(offset, last, CHUNK):
                rows = self.rows(start, min(CHUNK, last - start))
                yield line(RowsEvent(offset=start, rows=rows))
                yield state(start + len(rows))
            self.end(QueryState.FINISHED)
        yield line(EndEvent(query=self.model()))
