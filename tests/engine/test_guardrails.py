"""The guardrails as the real engine runs them: a violation ends preview and up before anything is made."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pulumi.automation.events import EngineEvent

from cli.events import EventLog
from tests.engine.plugins_support import Project, new_project

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
PACK = str(ROOT / "policies" / "guardrails")


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    folder = Path(tempfile.mkdtemp(prefix="guardrails-"))
    made = new_project(folder)
    # The pack itself must find the checkout without help.
    found = replace(made, environment={**made.environment, "PYTHONPATH": str(ROOT)})
    program = (ROOT / "tests" / "engine" / "guardrails_program.py").read_text(encoding="utf-8")
    (folder / "__main__.py").write_text(program, encoding="utf-8")
    try:
        yield found
    finally:
        shutil.rmtree(folder)


def configure(project: Project, *, wrong: str, role: str) -> None:
    values = {"wrong": wrong, "lakehouse-lab:role": role}
    project.config(secret=None, **values)


def test_what_is_right_is_previewed_and_made(project: Project) -> None:
    configure(project, wrong="none", role="persistent")
    previewed = project.run("preview", "--policy-pack", PACK)
    assert previewed.code == 0, previewed.text
    made = project.up("--policy-pack", PACK)
    assert made.counts["created"] > 5
    assert "lakehouse-lab-guardrails" in made.text
    assert "a password" not in made.text
    for urn in [one["urn"] for one in project.state() if one.get("protect")]:
        assert project.run("state", "unprotect", "--yes", urn).code == 0
    project.destroy()


@pytest.mark.parametrize(
    ("wrong", "rule", "said"),
    [
        ("protect", "deletion-protection", "set protect in its options"),
        ("bucket", "no-public-bucket-of-stack", "no public-access block"),
    ],
)
def test_what_is_wrong_ends_the_preview(project: Project, wrong: str, rule: str, said: str) -> None:
    configure(project, wrong=wrong, role="persistent")
    previewed = project.run("preview", "--policy-pack", PACK)
    assert previewed.code != 0
    assert f"[mandatory]  {rule}" in previewed.text
    assert said in previewed.text


def test_only_the_packs_own_configuration_lets_a_lab_be_thrown_away(project: Project) -> None:
    configure(project, wrong="protect", role="persistent")
    file = project.folder / "own.json"
    judged = ("preview", "--policy-pack", PACK, "--policy-pack-config", str(file))
    for labs, code in (["another"], 255), (["lab"], 0):
        file.write_text(json.dumps({"deletion-protection": {"throwAwayLabs": labs}}), encoding="utf-8")
        outcome = project.run(*judged)
        assert outcome.code == code, outcome.text
    file.write_text(json.dumps({"deletion-protection": {"throwAwayLabs": "lab"}}), encoding="utf-8")
    refused = project.run(*judged)
    assert refused.code != 0
    assert "throwAwayLabs" in refused.text


def test_the_lab_command_understands_what_the_engine_says(project: Project) -> None:
    configure(project, wrong="protect", role="persistent")
    file = project.folder / "events"
    # As the Automation API asks for them.
    debugging = replace(project, environment={**project.environment, "PULUMI_DEBUG_COMMANDS": "true"})
    debugging.run("preview", "--policy-pack", PACK, "--event-log", str(file))
    log = EventLog()
    for line in file.read_text(encoding="utf-8").splitlines():
        log.add(EngineEvent.from_json(json.loads(line)))
    words = "the engine may delete it; set protect in its options"
    assert log.violations == [f"deletion-protection: Cluster database: {words}"]
    steps = {step.name: step for step in log.steps}
    assert steps["database"].op == "create"
    assert (steps["database"].after or {})["storageEncrypted"] is True
    assert "a password" not in str(log.steps)


def test_what_preview_can_not_know_is_judged_before_it_is_made(project: Project) -> None:
    configure(project, wrong="iam", role="persistent")
    assert project.run("preview", "--policy-pack", PACK).code == 0
    outcome = project.run("up", "--yes", "--skip-preview", "--policy-pack", PACK)
    assert outcome.code != 0
    assert "it allows action '*'" in outcome.text
    kinds = [one["type"] for one in project.state()]
    assert "aws:iam/policy:Policy" not in kinds


def test_the_lab_stack_keeps_nothing(project: Project) -> None:
    configure(project, wrong="none", role="lab")
    previewed = project.run("preview", "--policy-pack", PACK)
    assert previewed.code != 0
    assert "make it in the persistent stack" in previewed.text
