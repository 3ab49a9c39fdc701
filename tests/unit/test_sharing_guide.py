"""The guide to labs that share a persistent stack, as far as it goes without a cluster or an account: every
command is one, with settings that its stack has."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from cli.commands.lifecycle import assignments
from cli.steps import check_settings
from contracts.settings import SETTINGS, Role
from tests.unit.test_aws_guide import parsed

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [
    ROOT / "docs" / "guides" / f"{name}.md" for name in ("labs-that-share", "previews-in-pull-requests")
]
TEXT = GUIDES[0].read_text(encoding="utf-8")
SCRIPT = "\n".join(line[4:] for line in TEXT.splitlines() if line.startswith("    "))
COMMANDS = re.findall(r"^\./lab (.+)$", SCRIPT.replace("\\\n", ""), flags=re.M)


def test_what_is_typed_is_a_script() -> None:
    done = subprocess.run(["sh", "-n"], input=SCRIPT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_guide_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    context = parsed(shlex.split(os.path.expandvars(line), comments=True), monkeypatch)
    changes = assignments(context.params.get("changes") or ())
    check_settings(changes)
    roles = {setting.key: setting.roles for setting in SETTINGS}
    if context.info_name == "bootstrap":
        assert all(Role.PERSISTENT in roles[key] for key in changes)
    if context.params.get("shares"):
        assert all(Role.LAB in roles[key] for key in changes), "the rest is the owner's"


def test_the_guide_has_what_each_of_both_does() -> None:
    words = {word for line in COMMANDS for word in shlex.split(line)}
    assert {"bootstrap", "up", "down", "destroy", "cost", "--shares", "--state"} <= words
    secret = set(re.findall(r"--secret (\w+)", TEXT))
    assert secret == {"moreObjectStoreKeys"}


def test_a_pipeline_is_told_of_options_that_there_are() -> None:
    from ci.ephemeral import main

    names = {option for parameter in main.params for option in parameter.opts}
    for guide in GUIDES:
        for line in re.findall(r"ci/ephemeral\.py(.*)", guide.read_text(encoding="utf-8")):
            given = re.findall(r"(--[a-z][a-z-]+)", line.partition(" -- ")[0])
            assert set(given) <= names, line
