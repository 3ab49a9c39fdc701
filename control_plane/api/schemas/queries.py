"""The worksheet: statements, their results and plans."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control_plane.api.schemas.common import (
    Body,
    Column,
    Name,
    Owned,
    Parameter,
    ParameterName,
    ParameterSpec,
    Row,
    Share,
    Statement,
    Title,
)


class QueryState(StrEnum):
    """Where a query stands. ``ABANDONED``: nobody listened any more; ``LOST``: the console ended."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELED = "canceled"
    ABANDONED = "abandoned"
    LOST = "lost"

    @property
    def ended(self) -> bool:
        """Whether nothing changes any more."""
        return self not in (QueryState.QUEUED, QueryState.RUNNING)


class QueryOrigin(StrEnum):
    """What asked for a query."""

    WORKSHEET = "worksheet"
    CHART = "chart"
    API = "api"


class StartQuery(Body):
    """One statement to run. ``max_rows`` ends it early; without it the result is bounded by the room that
    the console gives one result."""

    statement: Statement
    catalog: Name | None = Field(default=None, examples=["lake"])
    namespace: Name | None = Field(default=None, examples=["retail"])
    parameters: list[Parameter] = Field(default_factory=list, max_length=100)
    saved_query_id: UUID | None = None
    max_rows: int | None = Field(default=None, ge=1, le=100_000_000)


class Statistics(BaseModel):
    """Trino's numbers. Times in seconds; ``progress`` from 0 to 1, None while it is not known."""

    state: str = Field(examples=["RUNNING"])
    queued: bool = False
    progress: float | None = None
    elapsed_s: float = 0
    queued_s: float = 0
    cpu_s: float = 0
    wall_s: float = 0
    processed_rows: int = 0
    processed_bytes: int = 0
    physical_input_bytes: int = 0
    peak_memory_bytes: int = 0
    spilled_bytes: int = 0
    nodes: int = 0
    splits: int = 0
    completed_splits: int = 0


class QueryError(BaseModel):
    """Why a query failed. ``line`` and ``column`` count from 1 in the statement as it was sent."""

    message: str
    name: str | None = Field(default=None, examples=["COLUMN_NOT_FOUND"])
    kind: str | None = Field(default=None, examples=["USER_ERROR"])
    line: int | None = None
    column: int | None = None
    denied: bool = False


class Query(BaseModel):
    """A query. ``row_count`` is what there is of the result so far; ``truncated``: it was stopped at a
    limit; ``available``: its rows can be read. ``update_type`` and ``update_count`` are of statements that
    change something."""

    id: UUID
    trino_query_id: str | None
    state: QueryState
    origin: QueryOrigin
    statement: str
    catalog: str | None
    namespace: str | None
    parameters: list[Parameter]
    saved_query_id: UUID | None
    columns: list[Column] | None
    row_count: int
    truncated: bool
    available: bool
    update_type: str | None
    update_count: int | None
    statistics: Statistics | None
    warnings: list[str]
    error: QueryError | None
    created_at: datetime
    ended_at: datetime | None


class HistoryEntry(BaseModel):
    """A query of the past, as a list shows it."""

    id: UUID
    trino_query_id: str | None
    state: QueryState
    origin: QueryOrigin
    statement: str
    catalog: str | None
    namespace: str | None
    saved_query_id: UUID | None
    row_count: int
    error: QueryError | None
    available: bool
    created_at: datetime
    ended_at: datetime | None


class History(BaseModel):
    """A page of the caller's own queries, newest first; ``next`` is the cursor of the following page."""

    queries: list[HistoryEntry]
    next: str | None


class StateEvent(BaseModel):
    """The query's state or statistics changed."""

    type: Literal["state"] = "state"
    state: QueryState
    trino_query_id: str | None
    row_count: int
    statistics: Statistics | None


class ColumnsEvent(BaseModel):
    """The result's columns, before its first row."""

    type: Literal["columns"] = "columns"
    columns: list[Column]


class RowsEvent(BaseModel):
    """A page of rows; ``offset`` is the number of its first one."""

    type: Literal["rows"] = "rows"
    offset: int
    rows: list[Row]


class EndEvent(BaseModel):
    """The last event: the query as it ended, without its rows."""

    type: Literal["end"] = "end"
    query: Query


QueryEvent = Annotated[StateEvent | ColumnsEvent | RowsEvent | EndEvent, Field(discriminator="type")]
"""A line of the event stream."""


class RowsPage(BaseModel):
    """Rows from ``offset`` on. ``row_count`` is how many there are so far; ``complete``: no more come."""

    columns: list[Column]
    offset: int
    rows: list[Row]
    row_count: int
    complete: bool


class DownloadFormat(StrEnum):
    """Formats of a downloaded result."""

    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"
    JSONL = "jsonl"


class SqlText(Body):
    """A text that may hold several statements."""

    statement: Statement


class StatementInfo(BaseModel):
    """One statement of a text: where it lies (UTF-16 code units, as editors count), what it does, and the
    parameters that it names."""

    start: int
    end: int
    kind: str = Field(examples=["select"])
    reads_only: bool
    parameters: list[ParameterName]


class SyntaxProblem(BaseModel):
    """Where a text can't be read as Trino's SQL."""

    message: str
    line: int
    column: int


class SqlCheck(BaseModel):
    """A text as parsed without asking Trino."""

    statements: list[StatementInfo]
    problems: list[SyntaxProblem]


class PlanKind(StrEnum):
    """What EXPLAIN gives. ``ANALYZE`` runs the statement."""

    LOGICAL = "logical"
    DISTRIBUTED = "distributed"
    IO = "io"
    VALIDATE = "validate"
    ANALYZE = "analyze"


class ExplainStatement(StartQuery):
    """A statement to plan."""

    kind: PlanKind = PlanKind.DISTRIBUTED


class Plan(BaseModel):
    """Trino's plan: ``text`` as it prints it; ``document`` where the kind is JSON (logical, io)."""

    kind: PlanKind
    text: str
    document: dict[str, object] | list[object] | None = None


class CompletionTable(BaseModel):
    """A table with its columns, name → type."""

    name: str
    columns: dict[str, str]


class CompletionNamespace(BaseModel):
    """A namespace with its tables."""

    name: str
    tables: list[CompletionTable]


class Completion(BaseModel):
    """What an editor offers, as far as the caller may see it."""

    catalog: str
    namespaces: list[CompletionNamespace]
    functions: list[str]
    keywords: list[str]


class SaveQuery(Body):
    """A query to keep."""

    title: Title
    description: str = Field(default="", max_length=10_000)
    statement: Statement
    catalog: Name | None = None
    namespace: Name | None = None
    parameters: list[ParameterSpec] = Field(default_factory=list, max_length=100)
    shares: list[Share] = Field(default_factory=list, max_length=50)


class SavedQuery(Owned):
    """A kept query. Only its owner sees and changes ``shares``; others get those of their own groups."""

    title: str
    description: str
    statement: str
    catalog: str | None
    namespace: str | None
    parameters: list[ParameterSpec]
