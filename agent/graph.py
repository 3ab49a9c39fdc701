"""The graph of one run: understand → find tables → plan → SQL → check → run → verify → chart → narrate.

LangGraph is imported here and by :mod:`agent.checkpoints` only, which are loaded with the first question.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt

from agent import nodes
from agent.state import Move, RunContext, State

Handler = Callable[[State, RunContext], Awaitable[Move]]

_PLANNED = ("understand", "find_tables", "plan", "look", "write_sql", "repair")
"""Nodes that are the planner's own."""

_COMMON: dict[str, Handler] = {
    "check": nodes.check,
    "run": nodes.run,
    "verify": nodes.verify,
    "chart": nodes.chart,
    "narrate": nodes.narrate,
}

MAX_STEPS = 80
"""Nodes of one run at most; a model that goes in circles ends there."""


def build_graph(checkpointer: Any) -> Any:
    """The compiled graph. Its runs take a :class:`RunContext` as context."""
    graph: Any = StateGraph(State, context_schema=RunContext)
    for name in _PLANNED:
        graph.add_node(name, _node(name, _planned(name)))
    for name, handler in _COMMON.items():
        graph.add_node(name, _node(name, handler))
    graph.add_node("ask", _ask)
    graph.add_edge(START, "understand")
    return graph.compile(checkpointer=checkpointer)


def _planned(name: str) -> Handler:
    async def call(state: State, context: RunContext) -> Move:
        move: Move = await getattr(context.planner, name)(state, context)
        return move

    return call


def _node(name: str, handler: Handler) -> Callable[[State, Runtime[RunContext]], Awaitable[Command[Any]]]:
    async def node(state: State, runtime: Runtime[RunContext]) -> Command[Any]:
        began = time.monotonic()
        move = await handler(state, runtime.context)
        await _noted(runtime.context, name, move, began)
        return _command(move)

    return node


async def _ask(state: State, runtime: Runtime[RunContext]) -> Command[Any]:
    """Pauses until the user has answered; the run is then begun again at this node."""
    began = time.monotonic()
    text = str(interrupt(state["ask"]))
    move = await runtime.context.planner.answered(state, runtime.context, text)
    await _noted(runtime.context, "ask", move, began)
    return _command(move)


async def _noted(context: RunContext, name: str, move: Move, began: float) -> None:
    detail = {**move.detail, "seconds": round(time.monotonic() - began, 3)}
    query_id = detail.pop("query_id", None)
    await context.step(name, detail, query_id)


def _command(move: Move) -> Command[Any]:
    return Command(goto=END if move.goto == "end" else move.goto, update=dict(move.update))
