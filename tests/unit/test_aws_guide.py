"""The guide to a lab in an AWS account, as far as it goes without one: every command is one, with settings
that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from cli.app import lab
from cli.commands.lifecycle import assignments
from cli.steps import check_settings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "in-an-aws-account.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?: {4})?\./lab (.+)$", GUIDE, flags=re.M)


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> click.Context:
    """The command's context, as click understood the words, in place of a run. Raises click's errors."""
    seen: list[click.Context] = []
    monkeypatch.setattr(click.Command, "invoke", lambda _, context: seen.append(context))
    lab.main(words, prog_name="lab", standalone_mode=False)
    return seen[-1]


def test_the_guide_has_commands() -> None:
    assert {"bootstrap", "destroy"} <= {word for line in COMMANDS for word in shlex.split(line)}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_guide_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    context = parsed(shlex.split(line, comments=True), monkeypatch)
    check_settings(assignments(context.params.get("changes") or ()))
