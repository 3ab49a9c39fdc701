"""The fake console's agent: its own values, and answers that follow words of the question.

``lowest`` asks back, ``why`` has no answer, ``slow`` runs until it is stopped, ``broken`` fails, ``cut``
loses its stream once, ``nasty`` has markup wherever a row or a model could put some.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from agent.values import (
    About,
    Answer,
    Ask,
    Chart,
    ChartKind,
    Choice,
    Conversation,
    ConversationDetail,
    RuleNote,
    Run,
    RunState,
    Step,
)
from tests.web.samples import NASTY

router = APIRouter(prefix="/api/v1/chat")

_RUN: TypeAdapter[Run] = TypeAdapter(Run)
_STEP: TypeAdapter[Step] = TypeAdapter(Step)
_STEP_S = 0.05
_SQL = "SELECT region_name, sum(o_totalprice) AS revenue\nFROM lake.retail.orders\nGROUP BY 1"
_NODES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("question", {"planner": "semantic layer"}),
    ("understand", {"reading": "revenue by customer region", "seconds": 0.01}),
    ("find_tables", {"visible": ["retail.customer", "retail.orders"], "seconds": 0.2}),
    ("plan", {"reads": {"retail.orders": ["o_totalprice"]}, "seconds": 0.0}),
    ("write_sql", {"sql": _SQL, "seconds": 0.0}),
    ("check", {"tables": ["retail.orders"], "scanned_bytes": 1 << 20, "widest_rows": 100, "seconds": 0.3}),
    ("run", {"sql": _SQL, "rows": 2, "truncated": False, "seconds": 0.8}),
    ("verify", {"rows": 2, "notes": [], "rules": ["retail.customer"], "seconds": 0.1}),
    ("chart", {"kind": "bar", "seconds": 0.0}),
    ("narrate", {"state": "answered", "narrator": "template", "seconds": 0.0}),
)


class FakeAgent:
    """Conversations and runs of everybody."""

    def __init__(self) -> None:
        self.conversations: dict[str, tuple[str, Conversation]] = {}
        self.runs: dict[str, Run] = {}
        self.steps: dict[str, list[Step]] = {}
        self.cut: set[str] = set()

    def own(self, request: Request, conversation_id: str) -> Conversation:
        user, found = self.conversations.get(conversation_id, ("", None))
        if found is None or user != request.state.username:
            raise HTTPException(404, "there is no such conversation")
        return found

    def runs_of(self, conversation_id: str) -> tuple[Run, ...]:
        return tuple(run for run in self.runs.values() if run.conversation == conversation_id)


def _agent(request: Request) -> FakeAgent:
    found: FakeAgent = request.app.state.agent
    return found


def _answer(question: str) -> Answer:
    nasty = "nasty" in question
    chart = Chart(
        kind=ChartKind.BAR,
        title="revenue by customer region",
        x="region_name",
        y=("revenue",),
        formats={"revenue": "money"},
    )
    name = NASTY if nasty else "ASIA"
    return Answer(
        text=f"{name} **is** first. [{name}](javascript:window.hacked=1) ![x](http://evil.example/x.png) "
        "[a page](http://evil.example/?rows)"
        if nasty
        else f"Revenue by customer region (2 rows): {name} 1,200.00; EUROPE 900.50.",
        reading=f"revenue by customer region{f', region is {NASTY}' if nasty else ''}",
        sql=_SQL + (f"\n-- {NASTY}" if nasty else ""),
        columns=("region_name", "revenue"),
        types=("varchar", "decimal(38,2)"),
        rows=((name, "1200.00"), ("EUROPE", "900.50")),
        row_count=2,
        truncated=False,
        chart=chart,
        notes=(
            f"1 row has no {name!r}." if nasty else "Of retail.customer these are the rows that you may see.",
        ),
        rules=(RuleNote(table="retail.customer", filters=("region-by-key",), masked=(), hidden=0),),
        hints=(),
        query_ids=("20260115_093002_00002_fakes",),
        narrator="model" if nasty else "template",
    )


def _nothing(why: str, *hints: str) -> Answer:
    return Answer(
        text=why,
        reading="",
        sql="",
        columns=(),
        types=(),
        rows=(),
        row_count=0,
        truncated=False,
        chart=None,
        notes=(),
        rules=(),
        hints=hints,
        query_ids=(),
        narrator="template",
    )


@router.get("/about")
def about() -> About:
    return About(
        planner="semantic layer",
        model=None,
        summary="No language model is configured. I count, sum up, rank and list.",
        measures=("revenue", "number of customers", "account balance"),
        dimensions=("customer region", "market segment", "order date"),
        things=("customers", "orders"),
    )


@router.post("/conversations", status_code=201)
def create(request: Request) -> Conversation:
    now = datetime.now(tz=UTC)
    made = Conversation(id=str(uuid.uuid4()), title="", created_at=now, updated_at=now, runs=0)
    _agent(request).conversations[made.id] = (request.state.username, made)
    return made


@router.get("/conversations")
def conversations(request: Request) -> list[Conversation]:
    own = [one for user, one in _agent(request).conversations.values() if user == request.state.username]
    return sorted(own, key=lambda one: one.updated_at, reverse=True)


@router.get("/conversations/{conversation_id}")
def conversation(conversation_id: str, request: Request) -> ConversationDetail:
    agent = _agent(request)
    return ConversationDetail(
        conversation=agent.own(request, conversation_id), runs=agent.runs_of(conversation_id)
    )


@router.patch("/conversations/{conversation_id}")
def rename(conversation_id: str, body: dict[str, str], request: Request) -> Conversation:
    agent = _agent(request)
    named = replace(agent.own(request, conversation_id), title=body["title"])
    agent.conversations[conversation_id] = (request.state.username, named)
    return named


@router.delete("/conversations/{conversation_id}", status_code=204)
def forget(conversation_id: str, request: Request) -> Response:
    agent = _agent(request)
    agent.own(request, conversation_id)
    del agent.conversations[conversation_id]
    return Response(status_code=204)


@router.post("/conversations/{conversation_id}/messages", status_code=202)
def say(conversation_id: str, body: dict[str, str], request: Request) -> Run:
    agent = _agent(request)
    found = agent.own(request, conversation_id)
    text = body["text"]
    earlier = agent.runs_of(conversation_id)
    if earlier and earlier[-1].state is RunState.WAITING:
        run = replace(earlier[-1], state=RunState.RUNNING, ask=None, question="revenue by region")
    else:
        run = Run(
            id=str(uuid.uuid4()),
            conversation=conversation_id,
            number=len(earlier) + 1,
            question=text,
            state=RunState.RUNNING,
            planner="semantic layer",
            created_at=datetime.now(tz=UTC),
            ended_at=None,
            ask=None,
            answer=None,
            error=None,
        )
    named = replace(found, title=found.title or text, updated_at=datetime.now(tz=UTC), runs=run.number)
    agent.conversations[conversation_id] = (request.state.username, named)
    agent.runs[run.id] = run
    agent.steps.setdefault(run.id, [])
    return run


def _run(request: Request, run_id: str) -> Run:
    agent = _agent(request)
    if run_id not in agent.runs:
        raise HTTPException(404, "there is no such run")
    agent.own(request, agent.runs[run_id].conversation)
    return agent.runs[run_id]


@router.get("/runs/{run_id}/steps")
def steps(run_id: str, request: Request) -> list[Step]:
    _run(request, run_id)
    return _agent(request).steps[run_id]


@router.post("/runs/{run_id}/stop")
def stop(run_id: str, request: Request) -> Run:
    run = replace(_run(request, run_id), state=RunState.STOPPED, ended_at=datetime.now(tz=UTC))
    _agent(request).runs[run_id] = run
    return run


@router.get("/runs/{run_id}/events")
async def events(run_id: str, request: Request, after: int = 0) -> StreamingResponse:
    _run(request, run_id)
    return StreamingResponse(_events(_agent(request), run_id, after), media_type="text/event-stream")


async def _events(agent: FakeAgent, run_id: str, after: int) -> AsyncIterator[str]:
    yield ": keepalive\n\n"
    noted = agent.steps[run_id]
    for step in [one for one in noted if one.seq > after]:
        yield _event("step", _STEP.dump_python(step, mode="json"), step.seq)
    question = agent.runs[run_id].question
    for node, detail in _NODES[len(noted) :]:
        if agent.runs[run_id].state is not RunState.RUNNING:
            break
        await asyncio.sleep(_STEP_S)
        query = "20260115_093002_00002_fakes" if node == "run" else None
        seq = len(noted) + 1
        step = Step(
            run=run_id,
            seq=seq,
            at=datetime.now(tz=UTC),
            node=node,
            detail=_detail(node, detail, question),
            query_id=query,
        )
        noted.append(step)
        yield _event("step", _STEP.dump_python(step, mode="json"), seq)
        if node == "understand" and ("lowest" in question or "why" in question):
            break
        if node == "find_tables" and "cut" in question and run_id not in agent.cut:
            agent.cut.add(run_id)
            return
        while node == "check" and "slow" in question and agent.runs[run_id].state is RunState.RUNNING:
            await asyncio.sleep(_STEP_S)
    agent.runs[run_id] = _ended(agent.runs[run_id])
    yield _event("run", _RUN.dump_python(agent.runs[run_id], mode="json"))


def _detail(node: str, detail: dict[str, Any], question: str) -> dict[str, Any]:
    if "nasty" in question and node in ("understand", "find_tables"):
        return {**detail, "reading": NASTY, "visible": [NASTY]}
    return detail


def _ended(run: Run) -> Run:
    if run.state is not RunState.RUNNING:
        return run
    now = datetime.now(tz=UTC)
    if "lowest" in run.question:
        ask = Ask(
            question="Which of these do you mean?",
            options=(
                Choice(id="rows", label="the customers with the lowest"),
                Choice(id="min", label="the lowest account balance itself"),
            ),
        )
        return replace(run, state=RunState.WAITING, ask=ask)
    if "why" in run.question:
        answer = _nothing("I don't know the word 'why'.", "I know of customers, orders.")
        return replace(run, state=RunState.DECLINED, answer=answer, ended_at=now)
    if "broken" in run.question:
        return replace(run, state=RunState.FAILED, error="Trino does not answer", ended_at=now)
    return replace(run, state=RunState.ANSWERED, answer=_answer(run.question), ended_at=now)


def _event(name: str, data: Any, seq: int | None = None) -> str:
    number = "" if seq is None else f"id: {seq}\n"
    return f"event: {name}\n{number}data: {json.dumps(data)}\n\n"
