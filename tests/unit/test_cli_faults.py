"""Interrupts at every stage of a command, commands at the same time, and what a crash or a full disk left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli import app, operations, project, steps
from cli.engine import InterruptedRunError, RunResult
from cli.events import PROVIDER_ENDED, readable_error
from cli.locks import (
    command_running,
    find_locks,
    has_pending_operations,
    one_command,
    restore_state,
    state_is_damaged,
)
from cli.project import Lab, ensure_project, read_config
from contracts.errors import LabError, PreflightError
from contracts.settings import Role
from tests.unit.cli_fakes import ROOT, FakeEngine, FakeRun, fake_run

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """No network, no other listeners on this machine, no downloads."""
    made = fake_run(tmp_path / "labs with space")
    monkeypatch.setattr("cli.operations.lifecycle.fetch", lambda *_: made.calls.append("fetch"))
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr(steps, "choose_block", lambda *_: 28000)
    monkeypatch.setattr("placements.local.preflight.check_ports", lambda *_, **__: None)
    return made


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signal handlers as the command sets them."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, app._terminate)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Interruptible(FakeEngine):
    """As the real engine, it ends with an error once an interrupt was asked for."""

    owner: FakeRun

    def _run(self, operation: str, role: Role) -> RunResult:
        result = super()._run(operation, role)
        if self.owner.session.interrupts.requested:
            raise InterruptedRunError(f"{operation} was stopped", next_command="the same command again")
        return result


def interrupt_in(
    monkeypatch: pytest.MonkeyPatch, target: Any, name: str, number: signal.Signals, *, after: bool
) -> None:
    """The signal comes once, as the first call of ``target.name`` begins or ends."""
    real: Callable[..., Any] = getattr(target, name)
    left = [number]

    def patched(*arguments: Any, **named: Any) -> Any:
        if left and not after:
            os.kill(os.getpid(), left.pop())
        result = real(*arguments, **named)
        if left and after:
            os.kill(os.getpid(), left.pop())
        return result

    monkeypatch.setattr(target, name, patched)


def interruptible(run: FakeRun) -> None:
    engine = Interruptible(calls=run.engine.calls)
    engine.owner = run
    run.engine = engine
    run.session._engine = engine


UP_STAGES = (
    "lifecycle.check_machine",
    "lifecycle.prepare_project",
    "steps.ensure_project",
    "lifecycle.save_components",
    "lifecycle.pin_catalog",
    "lifecycle.fetch",
    "steps.run_persistent",
    "engine.up",
    "session.remember_outputs",
)
DOWN_STAGES = ("engine.exists", "engine.destroy", "session.forget_outputs", "supervisor.stop_all")


def target_of(run: FakeRun, stage: str) -> tuple[Any, str]:
    import cli.operations.lifecycle as lifecycle

    where, _, name = stage.partition(".")
    found = {
        "lifecycle": lifecycle,
        "steps": steps,
        "engine": run.session.engine,
        "session": run.session,
        "supervisor": run.supervisor,
    }
    return found[where], name


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("after", [False, True], ids=["begins", "ends"])
@pytest.mark.parametrize("stage", UP_STAGES)
def test_up_ended_at_any_stage_is_completed_by_the_next_up(
    run: FakeRun,
    handlers: None,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    after: bool,
    number: signal.Signals,
) -> None:
    interruptible(run)
    with monkeypatch.context() as patch:
        interrupt_in(patch, *target_of(run, stage), number, after=after)
        try:
            operations.up(run.session)
        except (KeyboardInterrupt, InterruptedRunError):
            interrupted = True
        else:
            # Too late for a stop: everything was done.
            interrupted = False
            assert stage in ("engine.up", "session.remember_outputs", "steps.run_persistent")
    assert command_running(run.session.command_file) is None
    assert [signal.getsignal(n) for n in SIGNALS] == [
        signal.default_int_handler,
        app._terminate,
        app._terminate,
    ]

    again = fake_run(run.lab.home.parent)
    again.session._engine = FakeEngine(calls=again.calls, stacks=run.session.engine.stacks)  # type: ignore[attr-defined] # the fake has it
    result = operations.up(again.session)
    assert result.components == ("keycloak", "nessie", "opa", "governor", "trino")
    for role in Role:
        assert read_config(run.lab, role)["portBase"] == "28000"
        assert read_config(run.lab, role)["catalog"] == "nessie"
    assert interrupted or "up lab" in run.calls


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("after", [False, True], ids=["begins", "ends"])
@pytest.mark.parametrize("stage", DOWN_STAGES)
def test_down_ended_at_any_stage_is_completed_by_the_next_down(
    run: FakeRun,
    handlers: None,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    after: bool,
    number: signal.Signals,
) -> None:
    operations.up(run.session)
    interruptible(run)
    run.session.engine.stacks = set(Role)  # type: ignore[attr-defined] # the fake has it
    with monkeypatch.context() as patch:
        interrupt_in(patch, *target_of(run, stage), number, after=after)
        with contextlib.suppress(InterruptedRunError):
            operations.down(run.session)
    assert command_running(run.session.command_file) is None
    run.calls.clear()
    run.session.interrupts.requested = False

    operations.down(run.session)
    assert run.calls == ["destroy lab", "stop all", "shutdown"]
    assert run.lab.passphrase_file.exists()


def test_what_the_caller_ignores_stays_ignored() -> None:
    """As with nohup, and for the background jobs of a script."""
    code = (
        "import os, signal\n"
        "from cli.interrupts import Interrupts\n"
        "with Interrupts() as interrupts:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print(interrupts.requested)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(interrupts.requested)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert done.stdout.split() == ["False", "True"]


# --- one command at a time


HOLDER = """
import sys, time
from pathlib import Path
from cli.locks import one_command
with one_command(Path(sys.argv[1]), "up"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(run: FakeRun) -> Iterator[subprocess.Popen[str]]:
    """Another process with a command on the same lab."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.session.command_file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("command", ["up", "down", "bootstrap", "refresh", "destroy"])
def test_a_second_command_is_told_which_one_runs_and_does_nothing(
    run: FakeRun, holder: subprocess.Popen[str], command: str
) -> None:
    ensure_project(run.lab, virtualenv=Path("/venv"), port_base=28000)
    arguments = (run.session, lambda _: None) if command == "destroy" else (run.session,)
    with pytest.raises(LabError, match=f"lab up, process {holder.pid}") as caught:
        getattr(operations, command)(*arguments)
    assert "once it has ended" in str(caught.value.next_command)
    assert run.calls == []
    assert run.lab.exists


def test_a_killed_command_keeps_nobody_out(run: FakeRun, holder: subprocess.Popen[str]) -> None:
    assert command_running(run.session.command_file) == f"lab up, process {holder.pid}"
    holder.kill()
    holder.wait()
    assert run.session.command_file.exists()
    assert command_running(run.session.command_file) is None
    operations.up(run.session)
    assert run.calls[-1] == "up lab"


def test_a_refused_command_leaves_no_folder_of_a_new_lab(
    run: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PreflightError("too little memory")

    monkeypatch.setattr("placements.local.preflight.check_memory", refuse)
    with pytest.raises(PreflightError):
        operations.up(run.session)
    assert not run.lab.home.parent.exists()

    with one_command(run.session.command_file, "up"):
        (run.lab.home / "project").mkdir()
    assert run.lab.home.exists()


@pytest.mark.parametrize("folders", [("labs", "labs"), ("labs", "others")], ids=["one home", "two homes"])
def test_two_labs_made_at_the_same_moment_get_blocks_of_their_own(
    tmp_path: Path, folders: tuple[str, str]
) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cli import steps\n"
        "from tests.unit.cli_fakes import fake_run\n"
        "real = steps.choose_block\n"
        "def slow(folder, others):\n"
        "    import time\n"
        "    found = real(folder, others, free=lambda _: True)\n"
        "    time.sleep(0.5)\n"
        "    return found\n"
        "steps.choose_block = slow\n"
        "session = fake_run(Path(sys.argv[1]), sys.argv[2]).session\n"
        "object.__setattr__(session.lab, 'cache', Path(sys.argv[3]))\n"
        "steps.prepare_project(session)\n"
    )
    homes = [tmp_path / folder / name for folder, name in zip(folders, ("a", "b"), strict=True)]
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home.parent), home.name, str(tmp_path / "cache")], cwd=ROOT
        )
        for home in homes
    ]
    assert [maker.wait(60) for maker in makers] == [0, 0]
    labs = [Lab(name=home.name, home=home, root=ROOT, cache=tmp_path) for home in homes]
    assert {read_config(lab, Role.LAB)["portBase"] for lab in labs} == {"28000", "28200"}


# --- a half-made earlier state


@pytest.mark.parametrize("writes", range(5))
def test_a_project_half_made_is_completed_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    lab = Lab(name="lab", home=tmp_path / "lab", root=ROOT, cache=tmp_path / "cache")
    real, left = project.write_private, [None] * writes

    def killed(path: Path, content: str) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(project, "write_private", killed)
        try:
            ensure_project(lab, virtualenv=Path("/venv"), port_base=28000)
        except KeyboardInterrupt:
            assert not lab.exists
    passphrase = lab.passphrase_file.read_text() if lab.passphrase_file.exists() else None

    # Meanwhile another process took a port of the first block.
    ensure_project(lab, virtualenv=Path("/venv"), port_base=28200)
    bases = {read_config(lab, role)["portBase"] for role in Role}
    assert bases == {"28000"} if writes >= 2 else {"28200"}
    assert passphrase in (None, lab.passphrase_file.read_text())
    assert lab.exists


def state(folder: Path, text: str, earlier: str | None = None) -> Path:
    path = folder / ".pulumi" / "stacks" / "lakehouse-lab" / "lab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if earlier is not None:
        path.with_name("lab.json.bak").write_text(earlier)
    return path


GOOD = json.dumps({"version": 3, "checkpoint": {"latest": {"resources": []}}})


def test_a_damaged_state_is_said_and_the_one_before_taken(tmp_path: Path) -> None:
    path = state(tmp_path, "", GOOD)
    assert state_is_damaged(tmp_path, "lab")
    with pytest.raises(LabError, match="state of stack 'lab' is damaged") as caught:
        has_pending_operations(tmp_path, "lab")
    assert caught.value.next_command == "lab doctor --fix"

    assert restore_state(tmp_path, "lab")
    assert path.read_text() == GOOD
    assert path.with_name("lab.json.damaged").exists()
    assert not has_pending_operations(tmp_path, "lab")


def test_a_damaged_state_without_a_copy_is_left_as_it_is(tmp_path: Path) -> None:
    path = state(tmp_path, "{", "also damaged")
    assert not restore_state(tmp_path, "lab")
    assert path.read_text() == "{"
    assert not state_is_damaged(tmp_path, "persistent")


# --- a full disk, a killed provider


def test_half_a_file_does_not_stay_and_the_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "fsync", full)

    def command(*_: object, **__: object) -> None:
        project.write_private(path, "x")

    monkeypatch.setattr(app.lab, "main", command)
    assert app.run(["up"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("the disk is full\n")
    assert str(path) in said
    assert "lab doctor" in said
    assert list(tmp_path.iterdir()) == []


def test_a_killed_provider_is_said_in_words() -> None:
    message = "Killed\nerror: rpc error: code = Unavailable desc = error reading from server: EOF\n"
    assert readable_error(message) == [PROVIDER_ENDED]


# --- the clock


def engine_lock(folder: Path, pid: int) -> Path:
    path = folder / ".pulumi" / "locks" / "organization" / "lakehouse-lab" / "lab" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": pid, "hostname": socket.gethostname()}))
    return path


def test_a_clock_moved_by_an_hour_makes_no_running_engine_a_dead_one(tmp_path: Path) -> None:
    """The system tells when a process was made by the present clock; the lock's file keeps the old one."""
    program = tmp_path / "pulumi"
    program.write_text(f"#!{sys.executable} -S\nimport time\ntime.sleep(600)\n")
    program.chmod(0o755)
    with subprocess.Popen([program]) as engine:
        try:
            path = engine_lock(tmp_path, engine.pid)
            deadline = time.monotonic() + 10
            while psutil.Process(engine.pid).name() != "pulumi" and time.monotonic() < deadline:
                time.sleep(0.01)
            for moved_s in (-3600, 3600):
                os.utime(path, (time.time() + moved_s,) * 2)
                assert find_locks(tmp_path)[0].alive
        finally:
            engine.kill()
    assert not find_locks(tmp_path)[0].alive
