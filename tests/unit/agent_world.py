"""Runs of the agent's graph on the sample tables in DuckDB, as one sample user."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from agent.graph import MAX_STEPS, build_graph
from agent.semantic.layer import layer_of
from agent.semantic_planner import SemanticPlanner
from agent.state import Planner, RunContext, State
from tests.unit.agent_lake import LakeEngine, explain

TODAY = dt.date(2026, 11, 28)


@dataclass(kw_only=True)
class Outcome:
    """What became of a question. ``asked`` are the questions that were asked back."""

    answer: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    steps: list[tuple[str, Mapping[str, Any], str | None]] = field(default_factory=list)
    state: State = field(default_factory=lambda: State())
    engine: LakeEngine

    @property
    def rows(self) -> list[list[Any]]:
        found: list[list[Any]] = self.answer["rows"]
        return found

    @property
    def nodes(self) -> list[str]:
        return [node for node, _, _ in self.steps]

    def history(self) -> dict[str, Any]:
        """The run as the one after it is given it."""
        return {
            "question": self.state["question"],
            "reading": self.state.get("reading", ""),
            "sql": self.answer["sql"],
            "plan": self.state.get("plan"),
        }


async def ask(
    question: str,
    user: str = "engineer",
    *,
    planner: Planner | None = None,
    answers: Sequence[str] = (),
    history: Sequence[dict[str, Any]] = (),
    repairs: int = 2,
    max_scan_mib: int = 2048,
    engine: LakeEngine | None = None,
) -> Outcome:
    """One run to its end; ``answers`` are given, in order, to what is asked back."""
    outcome = Outcome(engine=engine or LakeEngine(user))

    async def step(node: str, detail: Mapping[str, Any], query_id: str | None) -> None:
        outcome.steps.append((node, detail, query_id))

    context = RunContext(
        planner=planner or SemanticPlanner(layer_of()),
        engine=outcome.engine,
        catalog="lake",
        max_scan_mib=max_scan_mib,
        repairs=repairs,
        username=user,
        today=TODAY,
        explain=partial(explain, user),
        step=step,
    )
    graph = build_graph(InMemorySaver())
    config = {"configurable": {"thread_id": uuid.uuid4().hex}, "recursion_limit": MAX_STEPS}
    given: Any = State(question=question, history=list(history))
    left = list(answers)
    while True:
        found = await graph.ainvoke(given, config, context=context)
        outcome.state = found
        if "__interrupt__" not in found:
            break
        outcome.asked.append(found["__interrupt__"][0].value)
        if not left:
            return outcome
        given = Command(resume=left.pop(0))
    assert not left, f"nobody asked for {left}"
    outcome.answer = found["answer"]
    return outcome
