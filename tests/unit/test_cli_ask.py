"""``lab ask`` and ``lab agent`` without an agent: what is shown, answers on a terminal, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from agent.client import AgentClient, AgentError, RefusedInputError
from agent.values import About, Answer, Ask, Choice, Conversation, ModelInfo, Run, RunState, Step
from cli import app, operations
from cli.commands.common import Options
from cli.operations.asking import agent_client
from cli.project import ensure_project, write_private
from contracts.errors import LabError
from contracts.outputs import to_exports
from tests.unit.cli_fakes import FakeRun, fake_run, lab_outputs

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ANSWER = Answer(
    text="Number of customers by region (2 rows): A 5; B 6.",
    reading="number of customers by region",
    sql="SELECT r, count(*) FROM x",
    columns=("region", "n"),
    types=("varchar", "bigint"),
    rows=(("A", 5), ("B", 6)),
    row_count=25,
    truncated=False,
    chart=None,
    notes=("Of x these are the rows that you may see (rule r).",),
    rules=(),
    hints=(),
    query_ids=("q1",),
    narrator="template",
)
ASK = Ask(question="Which one?", options=(Choice(id="a", label="first"), Choice(id="b", label="second")))


def run(state: RunState, **changes: Any) -> Run:
    given: dict[str, Any] = {
        "id": "r1",
        "conversation": "c1",
        "number": 1,
        "question": "customers by region",
        "state": state,
        "planner": "semantic layer",
        "created_at": NOW,
        "ended_at": None,
        "ask": None,
        "answer": None,
        "error": None,
    }
    return Run(**{**given, **changes})


def step(seq: int, node: str, **detail: Any) -> Step:
    return Step(run="r1", seq=seq, at=NOW, node=node, detail=detail, query_id=None)


def event(value: Step | Run) -> str:
    kind: Any = type(value)
    data = TypeAdapter(kind).dump_json(value).decode()
    return f"event: {'step' if kind is Step else 'run'}\nid: 1\ndata: {data}\n\n"


class FakeAgent:
    """Answers by path; ``ends`` are what runs come to, one after the other."""

    def __init__(self, *ends: Run) -> None:
        self.ends = list(ends)
        self.asked: list[tuple[str, str, Any]] = []
        self.refuse: tuple[int, dict[str, Any]] | None = None

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        path = request.url.path.removeprefix("/v1/chat")
        self.asked.append((request.method, path, body))
        assert request.headers["authorization"] == "Bearer the-token"
        if self.refuse is not None:
            return httpx.Response(self.refuse[0], json=self.refuse[1])
        kind, value = self._answer(request.method, path)
        if kind is str:
            return httpx.Response(200, text=value)
        if value is None:
            return httpx.Response(204)
        return httpx.Response(200, content=TypeAdapter(kind).dump_json(value))

    def _answer(self, method: str, path: str) -> tuple[Any, Any]:
        conversation = Conversation(id="c1", title="t", created_at=NOW, updated_at=NOW, runs=1)
        if method == "DELETE":
            return None, None
        if path.endswith("/events"):
            end = self.ends.pop(0)
            return str, event(step(2, "understand", reading="customers")) + event(end)
        if path.endswith("/messages") or path.endswith("/resume"):
            return Run, run(RunState.RUNNING)
        if path.endswith("/steps"):
            return tuple[Step, ...], (step(1, "question"), step(2, "understand", reading="customers"))
        if path == "/conversations" and method == "GET":
            return tuple[Conversation, ...], (conversation,)
        if path == "/about":
            return About, About(
                planner="semantic layer", model=None, summary="I count.", measures=("revenue",),
                dimensions=("region",), things=("orders",),
            )  # fmt: skip
        if path == "/models":
            info = ModelInfo(
                name="m", description="d", tables=("a.b",), registered_by="steward", problem=None
            )
            return (ModelInfo, info) if method == "PUT" else (tuple[ModelInfo, ...], (info,))
        return Conversation, conversation


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAgent:
    made, fake = fake_run(tmp_path), FakeAgent()
    monkeypatch.setattr(Options, "session", lambda _: made.session)

    def client(_session: Any, _persona: Any) -> AgentClient:
        return AgentClient("http://agent", lambda: "the-token", transport=httpx.MockTransport(fake.handle))

    monkeypatch.setattr(operations, "agent_client", client, raising=False)
    return fake


def test_an_answer_is_shown_with_its_rows_what_limits_it_and_the_sql(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.ends = [run(RunState.ANSWERED, answer=ANSWER)]
    assert app.run(["ask", "customers by region", "--as", "engineer"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(ANSWER.text)
    assert "A      | 5" in out
    assert "… 5 more rows" in out
    assert "the rows that you may see" in out
    assert ANSWER.sql in out
    assert "in the words of the agent; query q1" in out
    assert "understand: customers" in err
    assert "--conversation c1" in err


def test_what_has_no_answer_exits_with_one(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = [run(RunState.FAILED, error="Trino went away")]
    assert app.run(["ask", "customers"]) == 1
    assert "failed: Trino went away" in capsys.readouterr().out


def test_what_is_asked_back_is_answered_on_a_terminal(
    agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.ends = [run(RunState.WAITING, ask=ASK), run(RunState.ANSWERED, answer=ANSWER)]
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.prompt", lambda *_, **__: "2")
    assert app.run(["ask", "customers by region"]) == 0
    assert ("POST", "/conversations/c1/messages", {"text": "2"}) in agent.asked
    assert "2  second" in capsys.readouterr().err


def test_elsewhere_it_is_said_how_to_answer(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = [run(RunState.WAITING, ask=ASK)]
    assert app.run(["ask", "customers by region", "--as", "engineer"]) == 1
    out, err = capsys.readouterr()
    assert "Which one?" in out
    assert "1  first" in out
    assert "--as engineer --conversation c1" in err


def test_going_on_asks_in_the_same_conversation(agent: FakeAgent) -> None:
    agent.ends = [run(RunState.ANSWERED, answer=ANSWER)]
    assert app.run(["ask", "and by year?", "-c", "c1"]) == 0
    assert ("POST", "/conversations", {"title": ""}) not in agent.asked


def test_json_is_the_whole_run(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = [run(RunState.ANSWERED, answer=ANSWER)]
    assert app.run(["--json", "ask", "customers"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["answer"]["rows"] == [["A", 5], ["B", 6]]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["agent", "about"], "I count."),
        (["agent", "conversations"], "c1"),
        (["agent", "steps", "r1"], "understand"),
        (["agent", "models"], "steward"),
        (["agent", "forget", "c1"], "forgotten"),
        (["agent", "unregister", "m"], "removed 'm'"),
    ],
)
def test_what_the_agent_knows(
    agent: FakeAgent, capsys: pytest.CaptureFixture[str], arguments: list[str], shown: str
) -> None:
    assert app.run(arguments) == 0
    assert shown in capsys.readouterr().out


def test_a_model_is_registered_from_a_file(
    agent: FakeAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "m.yaml"
    file.write_text("model: m")
    assert app.run(["agent", "register", str(file)]) == 0
    assert ("PUT", "/models", {"text": "model: m"}) in agent.asked
    assert "registered 'm' over a.b" in capsys.readouterr().out
    file.write_bytes(b"\xff\xfe\x00")
    assert app.run(["agent", "register", str(file)]) == 2


def test_a_resumed_run_is_followed(agent: FakeAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.ends = [run(RunState.ANSWERED, answer=ANSWER)]
    assert app.run(["agent", "resume", "r1"]) == 0
    assert ANSWER.text in capsys.readouterr().out


# --- the client ------------------------------------------------------------------------------------------


def client(handle: Callable[[httpx.Request], httpx.Response]) -> AgentClient:
    return AgentClient("http://agent", lambda: "the-token", transport=httpx.MockTransport(handle))


@pytest.mark.parametrize(("status", "kind"), [(404, AgentError), (422, RefusedInputError), (503, AgentError)])
def test_refusals_are_errors_with_the_agents_words(status: int, kind: type[AgentError]) -> None:
    fake = FakeAgent()
    fake.refuse = (status, {"title": "no", "permitted": "yes", "next_command": "lab status"})
    for call in (lambda c: c.run("r1"), lambda c: list(c.follow("r1")), lambda c: c.forget("c1")):
        with pytest.raises(kind) as caught:
            call(client(fake.handle))
        assert (caught.value.what, caught.value.status, caught.value.permitted) == ("no", status, "yes")


def test_an_agent_that_is_away_or_of_another_version_is_named() -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("nobody listens")

    for call in (lambda c: c.about(), lambda c: list(c.follow("r1"))):
        with pytest.raises(AgentError, match="does not answer"):
            call(client(away))
    with pytest.raises(AgentError, match="not understood"):
        client(lambda _: httpx.Response(200, json={"x": 1})).about()
    with pytest.raises(AgentError, match="answered 500"):
        client(lambda _: httpx.Response(500, text="<html>")).about()


def test_ids_stay_one_segment_of_the_path() -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return httpx.Response(404, json={"title": "no"})

    with pytest.raises(AgentError):
        client(handle).run("../about?x=1#y")
    assert seen == ["/v1/chat/runs/%2E%2E%2Fabout%3Fx%3D1%23y"]


def test_a_lab_without_the_agent_says_how_to_get_it(tmp_path: Path) -> None:
    made: FakeRun = fake_run(tmp_path)
    ensure_project(made.session.lab, virtualenv=tmp_path, port_base=28000)
    write_private(made.session.outputs_file, json.dumps(to_exports(lab_outputs())))
    with pytest.raises(LabError) as caught:
        agent_client(made.session, "engineer")
    assert caught.value.next_command == "lab up agent"
