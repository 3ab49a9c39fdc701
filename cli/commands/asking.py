"""``ask`` and ``agent``: questions in words about the tables, as one user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.commands.common import Options, command, common_options, lab_command

if TYPE_CHECKING:
    from agent.values import Answer, Run, Step

_AS = click.option(
    "--as", "persona", metavar="USER", help="A sample user; default: who signed in (lab login)."
)
_SHOWN_ROWS = 20
_QUIET = ("question", "asked", "ask")


@command("ask")
@click.argument("text")
@_AS
@click.option("-c", "--conversation", metavar="ID", help="Go on with a conversation, or answer in it.")
@click.option("--steps", is_flag=True, help="Show each step with its details.")
def ask(options: Options, text: str, persona: str | None, conversation: str | None, steps: bool) -> int:
    """Ask a question in words; the answer comes with the SQL behind it, run with that user's own rights.

    Asked back, answer on the terminal, or later with --conversation. Exit code 0 when there is an answer.
    """
    from cli.operations import agent_client
    from cli.operations.asking import ask as run

    def reply(waiting: Run) -> str | None:
        if options.json or not sys.stdin.isatty() or waiting.ask is None:
            return None
        for line in _asked(waiting):
            options.say(line)
        answer: str = click.prompt("your answer", err=True)
        return answer

    with agent_client(options.session(), persona) as client:
        done = run(
            client,
            text,
            conversation=conversation,
            on_step=lambda step: _show_step(options, step, whole=steps),
            reply=reply,
        )
    options.show(done, lambda: "\n".join(_told(done)))
    who = f" --as {persona}" if persona else ""
    again = f'ask "…"{who} --conversation {done.conversation}'
    options.next_steps(lab_command(options, again), lab_command(options, f"agent steps {done.id}{who}"))
    return 0 if done.state.value == "answered" else 1


def _show_step(options: Options, step: Step, *, whole: bool) -> None:
    if options.json or (step.node in _QUIET and not whole):
        return
    if whole:
        import json

        text = json.dumps(step.detail, ensure_ascii=False, default=str)
        options.say(f"  {step.seq:3d} {step.node}: {text}{f' [{step.query_id}]' if step.query_id else ''}")
        return
    options.say(f"  {step.node.replace('_', ' ')}{_brief(step.detail)}")


def _brief(detail: Any) -> str:
    for key in ("reading", "refused", "failed", "declined", "error"):
        if detail.get(key):
            return f": {detail[key]}"
    if "query_seconds" in detail:
        return f": {detail['rows']} rows in {detail['query_seconds']:.1f} s"
    return ""


def _asked(run: Run) -> Iterator[str]:
    if run.ask is not None:
        yield run.ask.question
        yield from (f"  {number}  {option.label}" for number, option in enumerate(run.ask.options, start=1))


def _told(run: Run) -> Iterator[str]:
    """The answer, its rows, what limits it, and the SQL."""
    if run.answer is None:
        yield from _asked(run) if run.ask is not None else (f"{run.state.value}: {run.error or ''}",)
        return
    answer = run.answer
    yield answer.text
    yield from (f"  {hint}" for hint in answer.hints)
    if answer.rows and (len(answer.rows) > 1 or len(answer.columns) > 1):
        yield ""
        yield from _table(answer)
    if answer.notes:
        yield ""
        yield from answer.notes
    if answer.sql:
        yield ""
        yield answer.sql
        who = "the agent" if answer.narrator == "template" else f"the model {run.planner}"
        yield f"(read as: {answer.reading}; in the words of {who}; query {', '.join(answer.query_ids)})"


def _table(answer: Answer) -> Iterator[str]:
    from cli.render import write_table

    lines: list[str] = []
    write_table(answer.columns, answer.rows[:_SHOWN_ROWS], lines.append)
    yield "".join(lines).rstrip("\n")
    if answer.row_count > _SHOWN_ROWS:
        yield f"… {answer.row_count - _SHOWN_ROWS} more rows"


@click.group("agent")
@common_options
def agent() -> None:
    """What the agent knows and has done: conversations, steps, the semantic layer."""


@command("about")
@_AS
def about(options: Options, persona: str | None) -> None:
    """Say what the agent is, and what can be asked."""
    from cli.operations import agent_client

    with agent_client(options.session(), persona) as client:
        found = client.about()
    lists = (("things", found.things), ("measures", found.measures), ("by", found.dimensions))
    options.show(
        found,
        lambda: "\n".join(
            [f"planner: {found.planner}", found.summary, *(f"{name}: {', '.join(of)}" for name, of in lists)]
        ),
    )


@command("conversations")
@_AS
def conversations(options: Options, persona: str | None) -> None:
    """List your conversations, the last used first."""
    from cli.operations import agent_client
    from cli.render import table

    with agent_client(options.session(), persona) as client:
        found = client.conversations()
    rows = [(one.id, f"{one.updated_at:%Y-%m-%d %H:%M}", str(one.runs), one.title) for one in found]
    headers = ("conversation", "last used", "questions", "title")
    options.show(found, lambda: table(headers, rows) if rows else "no conversations")


@command("show")
@click.argument("conversation")
@_AS
def show(options: Options, conversation: str, persona: str | None) -> None:
    """Show a conversation's questions and answers."""
    from cli.operations import agent_client

    with agent_client(options.session(), persona) as client:
        found = client.conversation(conversation)

    def text() -> str:
        parts = []
        for run in found.runs:
            answer = run.answer.text if run.answer else f"{run.state.value}: {run.error or ''}"
            parts.append(f"> {run.question}\n{answer}")
        return "\n\n".join(parts) or "no question was asked in it"

    options.show(found, text)


@command("steps")
@click.argument("run")
@_AS
def steps(options: Options, run: str, persona: str | None) -> None:
    """Show what a run did, as it was audited; its queries are in `lab audit`, too."""
    from cli.operations import agent_client
    from cli.render import table

    with agent_client(options.session(), persona) as client:
        found = client.steps(run)
    rows = [
        (
            str(one.seq),
            f"{one.at:%H:%M:%S}",
            one.node,
            one.query_id or "",
            _brief(one.detail).removeprefix(": "),
        )
        for one in found
    ]
    options.show(found, lambda: table(("", "at", "step", "query", ""), rows))


@command("resume")
@click.argument("run")
@_AS
def resume(options: Options, run: str, persona: str | None) -> None:
    """Go on with a run that a restart of the agent interrupted."""
    from cli.operations import agent_client
    from cli.operations.asking import follow

    with agent_client(options.session(), persona) as client:
        done, _ = follow(client, client.resume(run), lambda step: _show_step(options, step, whole=False))
    options.show(done, lambda: "\n".join(_told(done)))


@command("forget")
@click.argument("conversation")
@_AS
def forget(options: Options, conversation: str, persona: str | None) -> None:
    """Remove a conversation; the audit of what was done in it stays."""
    from cli.operations import agent_client

    with agent_client(options.session(), persona) as client:
        client.forget(conversation)
    options.show({"forgotten": conversation}, lambda: "forgotten")


@command("models")
@_AS
def models(options: Options, persona: str | None) -> None:
    """List the models of the semantic layer."""
    from cli.operations import agent_client
    from cli.render import table

    with agent_client(options.session(), persona) as client:
        found = client.models()
    rows = [
        (one.name, one.registered_by or "built in", ", ".join(one.tables), one.problem or one.description)
        for one in found
    ]
    options.show(found, lambda: table(("model", "by", "tables", ""), rows))


@command("register")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_AS
def register(options: Options, file: Path, persona: str | None) -> None:
    """Register a model of the semantic layer (YAML), in the place of one of the same name."""
    from cli.operations import agent_client
    from cli.operations.asking import register_model

    with agent_client(options.session(), persona) as client:
        found = register_model(client, file)
    options.show(found, lambda: f"registered {found.name!r} over {', '.join(found.tables)}")
    options.next_steps(lab_command(options, "agent about"))


@command("unregister")
@click.argument("model")
@_AS
def unregister(options: Options, model: str, persona: str | None) -> None:
    """Remove a registered model."""
    from cli.operations import agent_client

    with agent_client(options.session(), persona) as client:
        client.unregister(model)
    options.show({"removed": model}, lambda: f"removed {model!r}")


for _command in (about, conversations, show, steps, resume, forget, models, register, unregister):
    agent.add_command(_command)

COMMANDS = (ask, agent)
