"""What a run of the graph holds and is given. The state is plain values, since it goes into checkpoints; what
must not (tokens, connections, the model) is context."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from agent.engine import Engine
from agent.values import RuleNote


class State(TypedDict, total=False):
    """One question on its way.

    ``history``: questions before it with their readings and SQL, newest last. ``columns``: what is known of
    the result's columns. ``attempts``: SQL that was refused or failed, with the reason. ``messages``: a
    model's. ``decline``: why there will be no answer.
    """

    question: str
    history: list[dict[str, Any]]
    choices: dict[str, str]
    values: list[Any]
    needs: list[list[str]]
    ask: dict[str, Any] | None
    asked: int
    plan: dict[str, Any] | None
    tables: dict[str, list[str]]
    reading: str
    sql: str
    columns: list[dict[str, Any]]
    reads: dict[str, list[str]]
    attempts: list[dict[str, Any]]
    result: dict[str, Any] | None
    notes: list[str]
    rules: list[dict[str, Any]]
    chart: dict[str, Any] | None
    decline: dict[str, Any] | None
    answer: dict[str, Any] | None
    query_ids: list[str]
    messages: list[Any]
    turns: int


@dataclass(frozen=True, kw_only=True)
class Move:
    """What a node decided: where to go, what changes, and what is audited of it."""

    goto: str
    update: State = field(default_factory=lambda: State())
    detail: Mapping[str, Any] = field(default_factory=dict)


class Planner(Protocol):
    """Understands questions and writes SQL: by the semantic layer, or by a model."""

    @property
    def name(self) -> str: ...

    async def understand(self, state: State, context: RunContext) -> Move: ...

    async def answered(self, state: State, context: RunContext, text: str) -> Move:
        """Goes on with the user's answer to what was asked back."""
        ...

    async def find_tables(self, state: State, context: RunContext) -> Move: ...

    async def plan(self, state: State, context: RunContext) -> Move: ...

    async def look(self, state: State, context: RunContext) -> Move:
        """Looks at what the plan wants to know of the tables."""
        ...

    async def write_sql(self, state: State, context: RunContext) -> Move: ...

    async def repair(self, state: State, context: RunContext) -> Move:
        """After SQL was refused or failed (the last of ``attempts``)."""
        ...

    async def narrate(self, state: State, context: RunContext) -> str | None:
        """The answer in words; None leaves it to the template."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What one run works with, in its user's name.

    Args:
        explain: how the access rules shape a table for the user.
        step: notes a step: node, detail, the query's id.
        repairs: how often SQL may be written anew.
    """

    planner: Planner
    engine: Engine
    catalog: str
    max_scan_mib: int
    repairs: int
    username: str
    today: dt.date
    explain: Callable[[Sequence[str]], Awaitable[tuple[tuple[RuleNote, ...], str | None]]]
    step: Callable[[str, Mapping[str, Any], str | None], Awaitable[None]]


def declined(why: str, *hints: str, **detail: Any) -> Move:
    """The way out without an answer."""
    return Move(
        goto="narrate",
        update={"decline": {"why": why, "hints": list(hints)}},
        detail={"declined": why, **detail},
    )
