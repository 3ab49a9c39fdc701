"""``ci/ephemeral.py`` removes its lab whenever and however it is ended, and never somebody else's."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci.ephemeral import Steps, remove
from ci.mark import Mark

ROOT = Path(__file__).resolve().parents[2]
FAKE = ROOT / "tests" / "unit" / "ephemeral_lab.py"
_LIMIT_S = 60.0


@dataclass
class World:
    """A folder of labs, the fake command, and runs that are ended with the test."""

    folder: Path
    runs: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def command(self) -> Path:
        script = self.folder / "lab command"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{FAKE}" "$@"\n', encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return script

    @property
    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    @property
    def home(self) -> Path:
        return self.folder / "labs" / "pr-1"

    @property
    def mark(self) -> Path:
        return self.folder / "labs" / ".ephemeral" / "pr-1.json"

    def start(self, *arguments: str, **fakes: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
            "LAB_HOME": str(self.folder / "labs"),
            "FAKE_LOG": str(self.folder / "log"),
            **{f"FAKE_{name.upper()}": value for name, value in fakes.items()},
        }
        made = subprocess.Popen(
            [sys.executable, "-m", "ci.ephemeral", "--name", "pr-1", "--lab", str(self.command), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.runs.append(made)
        return made

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while not holds():
            assert time.monotonic() < deadline, f"not {what}: {self.log}"
            time.sleep(0.05)

    def is_gone(self) -> bool:
        return not self.home.exists() and not self.mark.exists()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for run in made.runs:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate(timeout=30)


def test_a_lab_is_verified_and_removed(world: World) -> None:
    run = world.start("--", "spark", "--set", "scaleFactor=0.01")
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 0, text
    assert "lab --name pr-1 up spark --set scaleFactor=0.01" in text
    done = [f"{step} {word}" for step in ("up", "verify", "destroy") for word in ("began", "done")]
    assert world.log == done
    assert world.is_gone()


@pytest.mark.parametrize("step", ["up", "verify"])
def test_a_step_that_fails_is_what_is_told_and_the_lab_is_removed(world: World, step: str) -> None:
    run = world.start(fail=step)
    run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 3
    assert world.is_gone()
    assert ("verify began" in world.log) is (step == "verify")


@pytest.mark.parametrize("step", ["up", "verify"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
def test_a_signal_ends_the_step_gently_and_removes_the_lab(
    world: World, step: str, number: signal.Signals
) -> None:
    run = world.start(slow=step)
    world.until(lambda: f"{step} began" in world.log, f"{step} began")
    run.send_signal(number)
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 130, text
    assert world.log[-3:] == [f"{step} interrupted", "destroy began", "destroy done"]
    assert world.is_gone()


def test_a_second_signal_ends_a_step_that_does_not_listen(world: World) -> None:
    run = world.start(slow="up", stubborn="yes")
    world.until(lambda: "up began" in world.log, "up began")
    run.send_signal(signal.SIGINT)
    time.sleep(0.5)
    run.send_signal(signal.SIGTERM)
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 130
    assert "ending this step at once" in text
    assert "up interrupted" not in world.log
    assert world.is_gone()


def test_no_signal_ends_the_removal(world: World) -> None:
    run = world.start(slow="destroy")
    world.until(lambda: "destroy began" in world.log, "destroy began")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        run.send_signal(number)
        time.sleep(0.1)
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 0, text
    assert world.log[-1] == "destroy done"
    assert world.is_gone()


@pytest.mark.parametrize("step", ["up", "verify"])
def test_a_run_that_is_killed_leaves_the_removal_to_its_guardian(world: World, step: str) -> None:
    run = world.start(slow=step)
    world.until(lambda: f"{step} began" in world.log, f"{step} began")
    # The guardian is in a session of its own: a killed process group does not take it along.
    os.killpg(run.pid, signal.SIGKILL)
    world.until(world.is_gone, "removed")
    assert f"{step} interrupted" in world.log
    assert world.log[-1] == "destroy done"


def test_what_even_the_guardian_could_not_remove_a_later_run_does(world: World) -> None:
    (world.home / "project").mkdir(parents=True)
    (world.home / "project" / "Pulumi.yaml").touch()
    world.mark.parent.mkdir()
    world.mark.write_text("{}", encoding="utf-8")
    run = world.start("--remove-only")
    run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 0
    assert world.is_gone()
    again = world.start("--remove-only")
    text, _ = again.communicate(timeout=_LIMIT_S)
    assert again.returncode == 0
    assert "no run left a lab 'pr-1'" in text


@pytest.mark.parametrize("arguments", [(), ("--remove-only",)])
def test_a_lab_that_somebody_made_is_left_alone(world: World, arguments: tuple[str, ...]) -> None:
    (world.home / "project").mkdir(parents=True)
    (world.home / "project" / "Pulumi.yaml").touch()
    run = world.start(*arguments)
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == (2 if not arguments else 0), text
    assert world.log == []
    assert world.home.exists()


def test_a_lab_that_others_keep_data_in_is_only_taken_down(world: World) -> None:
    run = world.start("--keep-persistent")
    run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 0
    assert world.log[-2:] == ["down began", "down done"]


def test_a_lab_in_a_slot_takes_it_only_while_nobody_has_it_and_lets_go_of_it(world: World) -> None:
    run = world.start("--shares", "main", "--", "--set", "scaleFactor=0.01", arguments="1")
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 0, text
    assert world.log == [
        *("up began", "with --shares main --fresh --set scaleFactor=0.01", "up done"),
        *("verify began", "with ", "verify done"),
        *("destroy began", "with --yes --shares main", "destroy done"),
    ]
    assert world.is_gone()


def test_a_slot_that_somebody_has_is_left_to_them(world: World) -> None:
    run = world.start("--shares", "main", taken="1")
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 2, text
    assert world.log == ["up refused"]
    assert world.is_gone()


def test_what_a_machine_that_is_gone_left_in_a_slot_is_removed_by_another(world: World) -> None:
    run = world.start("--remove-only", "--shares", "main", arguments="1")
    text, _ = run.communicate(timeout=_LIMIT_S)
    assert run.returncode == 0, text
    assert world.log == ["destroy began", "with --yes --shares main", "destroy done"]
    refused = world.start("--shares", "main", "--keep-persistent")
    assert refused.wait(timeout=_LIMIT_S) == 2


def test_removal_is_tried_again_and_its_failure_said(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB_HOME", str(world.folder / "labs"))
    monkeypatch.setenv("FAKE_LOG", str(world.folder / "log"))
    monkeypatch.setenv("FAKE_BUSY", "2")
    (world.home / "project").mkdir(parents=True)
    (world.home / "project" / "Pulumi.yaml").touch()
    mark, waits = Mark("pr-1"), list[float]()
    ending = ("destroy", "--yes")
    steps = Steps(lab=[str(world.command)])
    assert not remove(steps, mark, ending, attempts=2, pause=waits.append)
    assert "NOT removed; try: python3 ci/ephemeral.py --remove-only --name pr-1" in capfd.readouterr().err
    assert world.home.exists()
    assert remove(steps, mark, ending, attempts=1, pause=waits.append)
    assert len(waits) == 1
    assert not world.home.exists()
