"""What the agent says: values that its API, its client and the ``lab`` command speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """How far a question has come. ``WAITING``: for the user's answer to a question that was asked back.
    ``INTERRUPTED``: the agent ended meanwhile; it can be resumed. The rest are ends."""

    RUNNING = "running"
    WAITING = "waiting"
    INTERRUPTED = "interrupted"
    ANSWERED = "answered"
    DECLINED = "declined"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ended(self) -> bool:
        return self in (RunState.ANSWERED, RunState.DECLINED, RunState.FAILED, RunState.STOPPED)


class ChartKind(StrEnum):
    """How a result is best drawn."""

    BIG_NUMBER = "big_number"
    BAR = "bar"
    LINE = "line"
    SCATTER = "scatter"
    TABLE = "table"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing of a result's columns: ``x`` and ``y`` name them, ``series`` tells lines or bars apart.
    ``formats`` maps columns to ``number``, ``money``, ``ratio``, ``milliseconds`` or ``days``."""

    kind: ChartKind
    title: str
    x: str | None = None
    y: tuple[str, ...] = ()
    series: str | None = None
    formats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to take a question; any of its two names is an answer."""

    id: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the agent asks back."""

    question: str
    options: tuple[Choice, ...]


@dataclass(frozen=True, kw_only=True)
class RuleNote:
    """How the access rules shaped what the user sees of one table: ids of row filters and masked columns."""

    table: str
    filters: tuple[str, ...]
    masked: tuple[str, ...]
    hidden: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a question. ``reading`` is how it was understood; ``notes`` say what limits it;
    ``rules`` whose rows these are. ``sql`` is empty when nothing was run. ``narrator`` is ``model`` or
    ``template``."""

    text: str
    reading: str
    sql: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    row_count: int
    truncated: bool
    chart: Chart | None
    notes: tuple[str, ...]
    rules: tuple[RuleNote, ...]
    hints: tuple[str, ...]
    query_ids: tuple[str, ...]
    narrator: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One question and what became of it. ``planner`` is ``semantic layer`` or the model's name."""

    id: str
    conversation: str
    number: int
    question: str
    state: RunState
    planner: str
    created_at: datetime
    ended_at: datetime | None
    ask: Ask | None
    answer: Answer | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Questions that follow each other, of one user."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    runs: int


@dataclass(frozen=True, kw_only=True)
class ConversationDetail:
    """A conversation with its runs, oldest first."""

    conversation: Conversation
    runs: tuple[Run, ...]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a run, as it was audited. ``query_id`` is Trino's, where the step ran a statement."""

    run: str
    seq: int
    at: datetime
    node: str
    detail: Mapping[str, Any]
    query_id: str | None


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A model of the semantic layer. ``registered_by`` is None for those of the sample tables."""

    name: str
    description: str
    tables: tuple[str, ...]
    registered_by: str | None
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class About:
    """What the agent is and can do. ``planner`` as in :class:`Run`; ``model`` None without one."""

    planner: str
    model: str | None
    summary: str
    measures: tuple[str, ...]
    dimensions: tuple[str, ...]
    things: tuple[str, ...]
