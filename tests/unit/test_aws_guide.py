"""The guide to a lab in an AWS account, as far as it goes without one: every command is one, with settings
that there are."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import click
import pytest

from cli.app import lab
from cli.backend import backend_url, secrets_provider
from cli.commands.lifecycle import assignments
from cli.project import open_lab
from cli.steps import check_settings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "in-an-aws-account.md").read_text(encoding="utf-8")
SCRIPT = "\n".join(line[4:] for line in GUIDE.splitlines() if line.startswith("    "))
COMMANDS = re.findall(r"^\./lab (.+)$", SCRIPT.replace("\\\n", ""), flags=re.M)


def parsed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> click.Context:
    """The command's context, as click understood the words, in place of a run. Raises click's errors."""
    seen: list[click.Context] = []
    monkeypatch.setattr(click.Command, "invoke", lambda _, context: seen.append(context))
    lab.main(words, prog_name="lab", standalone_mode=False)
    return seen[-1]


def test_the_guide_has_commands() -> None:
    assert {"bootstrap", "cost", "up", "sql", "down", "destroy"} <= {
        word for line in COMMANDS for word in shlex.split(line)
    }


def test_what_is_typed_is_a_script() -> None:
    done = subprocess.run(["sh", "-n"], input=SCRIPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_its_backend_and_its_key_are_accepted(tmp_path: Path) -> None:
    (line,) = [line for line in COMMANDS if "--state" in line]
    words = dict(pairwise(shlex.split(line)))
    team = open_lab("team", {"LAB_HOME": str(tmp_path)})
    environ = {"LAB_BACKEND_URL": words["--state"], "LAB_SECRETS_PROVIDER": words["--secrets"]}
    assert backend_url(team, environ) == words["--state"]
    assert secrets_provider(team, environ) == words["--secrets"]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_guide_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    context = parsed(shlex.split(os.path.expandvars(line), comments=True), monkeypatch)
    check_settings(assignments(context.params.get("changes") or ()))
