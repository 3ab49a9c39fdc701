"""Questions to the agent, and what it knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.client import AgentClient
from agent.values import ModelInfo, Run, RunState, Step
from cli.access import user_tokens
from cli.components import saved_set
from cli.session import Session
from contracts.errors import LabError, UsageError
from contracts.identity import Audience


def agent_client(session: Session, persona: str | None) -> AgentClient:
    """The agent, asked as the sample user ``persona`` or as whoever is signed in.

    Raises:
        UsageError: there is no such sample user.
        LabError: the agent is not part of what runs.
    """
    outputs = session.outputs()
    url = (outputs.component_urls or {}).get("agent")
    if url is None:
        raise LabError(
            f"the agent does not run in lab {session.lab.name!r}",
            permitted=", ".join(outputs.components),
            next_command="lab up agent" if "agent" not in saved_set(session.lab) else "lab up",
        )
    return AgentClient(url, user_tokens(session, outputs, persona, Audience.AGENT))


def ask(
    client: AgentClient,
    text: str,
    *,
    conversation: str | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
    reply: Callable[[Run], str | None] = lambda _: None,
) -> Run:
    """Asks, and follows the run until it has ended or waits for an answer that nobody gives.

    Args:
        conversation: the id of one to go on with; None begins another.
        reply: is given a run that asks back; its text is the answer, None leaves it waiting.

    Raises:
        AgentError: the agent refuses, or went away.
    """
    conversation = conversation or client.begin().id
    run = client.say(conversation, text)
    # What a run that waited had done before was shown then.
    seen = max((step.seq for step in client.steps(run.id)), default=0) if run.question != text else 0
    run, seen = follow(client, run, on_step, seen)
    while run.state is RunState.WAITING and (answer := reply(run)) is not None:
        run, seen = follow(client, client.say(conversation, answer), on_step, seen)
    return run


def follow(client: AgentClient, run: Run, on_step: Callable[[Step], None], seen: int = 0) -> tuple[Run, int]:
    """The run once it has ended or waits, and the number of its last step; steps after ``seen`` are shown."""
    while run.state is RunState.RUNNING:
        for event in client.follow(run.id, seen):
            if isinstance(event, Step):
                seen = event.seq
                on_step(event)
            else:
                run = event
    return run, seen


def register_model(client: AgentClient, file: Path) -> ModelInfo:
    """Registers a model of the semantic layer. Raises UsageError when the file can't be read, AgentError."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}", value=str(file)) from error
    return client.register(text)
