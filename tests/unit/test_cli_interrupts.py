"""Ctrl-C, locks of killed engines and pending operations, with real processes and signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from pulumi.automation import CommandError, CommandResult

from cli.engine import WITHOUT_CHECKPOINTS, PulumiEngine, _run_failure
from cli.events import EventLog, readable_error, short_name
from cli.forwarding import ForwardingCommand
from cli.interrupts import Interrupts
from cli.locks import find_locks, has_pending_operations, remove_stale
from cli.project import open_lab
from contracts.errors import LabError
from contracts.settings import Role

ENGINE = """#!{python}
import os, signal, sys, time
count = 0
def told(number, frame):
    global count
    count += 1
    print("told", count, flush=True)
signal.signal(signal.SIGINT, told)
if "fail" in sys.argv:
    sys.exit("it failed")
print("environment", os.environ.get("PULUMI_CONFIG_PASSPHRASE"), os.environ["EXTRA"], flush=True)
print("ready", os.getpid(), os.getpgid(0), flush=True)
deadline = time.monotonic() + (30 if "wait" in sys.argv else 0)
while time.monotonic() < deadline and not count:
    time.sleep(0.01)
time.sleep(0.4 if "wait" in sys.argv else 0)
print("finished", count, flush=True)
sys.exit(255 if count else 0)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A program that finishes its work when told once, as the engine does."""
    path = tmp_path / "pulumi"
    path.write_text(ENGINE.format(python=sys.executable))
    path.chmod(0o755)
    return path


def test_output_and_environment(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of another project")
    lines: list[str] = []
    command = ForwardingCommand(engine, "3.200.0", Interrupts())
    result = command.run(["up"], "/", {"EXTRA": "value"}, lines.append)
    assert result.stdout.splitlines() == lines
    assert lines[0] == "environment None value"
    with pytest.raises(CommandError, match="it failed"):
        command.run(["fail"], "/", {"EXTRA": ""})


def test_the_engine_is_told_exactly_once_and_waited_for(engine: Path) -> None:
    interrupts = Interrupts()
    lines: list[str] = []

    def interrupt_thrice(line: str) -> None:
        lines.append(line)
        if line.startswith("ready"):
            _, pid, group = line.split()
            # In a group of its own, so that a terminal's Ctrl-C does not reach it a second time.
            assert pid == group != str(os.getpgid(0))
            for delay_s in (0.0, 0.1, 0.2):
                threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT)).start()

    with interrupts, pytest.raises(CommandError):
        ForwardingCommand(engine, "3.200.0", interrupts).run(["wait"], "/", {"EXTRA": ""}, interrupt_thrice)
    assert interrupts.requested
    assert lines[-1] == "finished 1"


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_request_before_the_engine_started_is_passed_on(engine: Path) -> None:
    interrupts = Interrupts()
    with interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        child = subprocess.Popen(
            [engine, "wait"], env={**os.environ, "EXTRA": ""}, stdout=subprocess.PIPE, process_group=0
        )
        assert child.stdout is not None
        with child.stdout:
            child.stdout.readline()
            interrupts.watch(child.pid)
            interrupts.watch(child.pid)
            assert child.stdout.read().splitlines()[-1] == b"finished 1"
        assert child.wait(10) == 255


def lock(state: Path, pid: int, host: str = "", stack: str = "lab") -> Path:
    folder = state / ".pulumi" / "locks" / "organization" / "lakehouse-lab" / stack
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{pid}.json"
    path.write_text(json.dumps({"pid": pid, "username": "u", "hostname": host or socket.gethostname()}))
    return path


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_lock_of_a_dead_engine_is_removed(tmp_path: Path) -> None:
    path = lock(tmp_path, dead_pid())
    half = path.with_name("half.json")
    half.write_text("{")
    assert {found.path for found in remove_stale(tmp_path)} == {path, half}
    assert not path.exists()
    assert remove_stale(tmp_path) == []


def test_what_a_killed_engine_left_running_is_ended(tmp_path: Path) -> None:
    """A leader with a child, killed as kill -9 does; the child stays in its group."""
    script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    leader = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, process_group=0, text=True
    )
    assert leader.stdout is not None
    with leader.stdout:
        orphan = psutil.Process(int(leader.stdout.readline()))
        leader.kill()
        leader.wait()
    lock(tmp_path, leader.pid)
    assert orphan.is_running()
    remove_stale(tmp_path)
    psutil.wait_procs([orphan], timeout=10)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_lock_of_a_living_engine_is_named_and_kept(tmp_path: Path) -> None:
    stale = lock(tmp_path, dead_pid(), stack="persistent")
    path = lock(tmp_path, os.getpid())
    with pytest.raises(LabError, match="another run of Pulumi works on stack 'lab'") as error:
        remove_stale(tmp_path)
    assert str(os.getpid()) in str(error.value)
    assert path.exists()
    assert stale.exists()


def test_a_pid_that_was_given_away_since_is_not_the_engines(tmp_path: Path) -> None:
    path = lock(tmp_path, os.getpid())
    older = psutil.Process().create_time() - 3600
    os.utime(path, (older, older))
    assert not find_locks(tmp_path)[0].alive


def test_a_lock_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    lock(tmp_path, dead_pid(), host="elsewhere")
    assert find_locks(tmp_path)[0].alive


def test_pending_operations_are_seen(tmp_path: Path) -> None:
    assert not has_pending_operations(tmp_path, "lab")
    path = tmp_path / ".pulumi" / "stacks" / "lakehouse-lab" / "lab.json"
    path.parent.mkdir(parents=True)
    for operations, expected in (([], False), ([{"type": "creating"}], True)):
        path.write_text(json.dumps({"checkpoint": {"latest": {"pending_operations": operations}}}))
        assert has_pending_operations(tmp_path, "lab") is expected
    path.write_text(json.dumps({"checkpoint": {"latest": None}}))
    assert not has_pending_operations(tmp_path, "lab")


def test_errors_lose_their_tracebacks_and_keep_their_words() -> None:
    message = (
        "Traceback (most recent call last):\n"
        '  File "/x/stacks/lab.py", line 3, in lab\n'
        "    boom()\n"
        "contracts.errors.PreflightError: ports of this lab are taken\n"
        "  given:     [28000]\n"
        "  \tat java.base/java.net.URI.<init>(Unknown Source)\n"
        "\t... 24 more\n"
        "\x1b[31m  next:      free them\x1b[0m\n"
    )
    assert readable_error(message) == [
        "ports of this lab are taken",
        "  given:     [28000]",
        "  next:      free them",
    ]


def test_urns_are_shortened() -> None:
    urn = "urn:pulumi:lab::lakehouse-lab::lab:component:Trino$pulumi-python:dynamic/lab:Process::trino"
    assert short_name(urn) == "Process trino"
    assert short_name("no urn") == "no urn"


class _Event:
    """An engine event with one part filled in."""

    resource_pre_event = res_outputs_event = res_op_failed_event = diagnostic_event = summary_event = None
    policy_event = None

    def __init__(self, **parts: object) -> None:
        self.__dict__.update(parts)


class _Part:
    old = new = detailed_diff = diffs = None

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


def test_events_become_changes_and_durations() -> None:
    now = [0.0]
    said: list[str] = []
    log = EventLog(say=said.append, clock=lambda: now[0])
    urn = "urn:pulumi:lab::p::pulumi-python:dynamic/lab:Tables::tables"
    metadata = _Part(urn=urn, op="create", type="pulumi-python:dynamic/lab:Tables")
    log.add(_Event(resource_pre_event=_Part(metadata=metadata)))
    now[0] = 8.25
    log.add(_Event(res_outputs_event=_Part(metadata=metadata)))
    assert log.changes == {"create": 1}
    assert log.durations_s() == {"Tables tables": 8.2}
    assert said == ["  made     Tables tables  8.2 s"]
    log.add(_Event(diagnostic_event=_Part(severity="error", message="a: b", urn=urn)))
    log.add(_Event(diagnostic_event=_Part(severity="info", message="fine", urn=urn)))
    assert log.errors == ["Tables tables: a: b"]
    log.add(_Event(summary_event=_Part(resource_changes={"same": 4, "create": 1})))
    assert log.changes == {"same": 4, "create": 1}


def test_events_become_planned_steps_a_replacement_being_one() -> None:
    log = EventLog()
    urn = "urn:pulumi:lab::p::aws:eks/nodeGroup:NodeGroup::query"
    for op in ("create-replacement", "replace", "delete-replaced"):
        metadata = _Part(
            urn=urn,
            op=op,
            type="aws:eks/nodeGroup:NodeGroup",
            old=_Part(inputs={"diskSize": 20}),
            new=_Part(inputs={"diskSize": 40}),
            diffs=["diskSize"],
        )
        log.add(_Event(resource_pre_event=_Part(metadata=metadata)))
    (step,) = log.steps
    assert (step.op, step.name, step.changed) == ("replace", "query", ("diskSize",))
    assert (step.before, step.after) == ({"diskSize": 20}, {"diskSize": 40})


def test_a_violated_guardrail_is_said_once_with_its_resource_and_words() -> None:
    log = EventLog()
    event = _Part(
        message="<{%reset%}>Data is encrypted.\nset kmsKeyId\n",
        policy_name="encrypted",
        enforcement_level="mandatory",
        resource_urn="urn:pulumi:persistent::p::aws:rds/cluster:Cluster::database",
    )
    log.add(_Event(policy_event=event))
    log.add(_Event(policy_event=event))
    assert log.violations == ["encrypted: Cluster database: set kmsKeyId"]
    command = CommandResult(stdout="", stderr="error: preview failed", code=255)
    failure = _run_failure(CommandError(command), "preview", Role.PERSISTENT, log, Path("log"))
    assert failure.what.splitlines() == [
        "preview of stack persistent breaks the guardrails",
        "  encrypted: Cluster database: set kmsKeyId",
    ]
    advisory = _Part(**{**vars(event), "enforcement_level": "advisory"})
    log.add(_Event(policy_event=advisory))
    assert len(log.violations) == 1


def test_services_are_left_to_those_who_watch_them() -> None:
    now = [0.0]
    said: list[str] = []
    log = EventLog(say=said.append, clock=lambda: now[0])
    urn = "urn:pulumi:lab::p::pulumi-python:dynamic/lab:Process::trino"
    metadata = _Part(urn=urn, op="create", type="pulumi-python:dynamic/lab:Process")
    log.add(_Event(resource_pre_event=_Part(metadata=metadata)))
    now[0] = 30.0
    log.add(_Event(res_outputs_event=_Part(metadata=metadata)))
    assert (said, log.durations_s()) == ([], {"Process trino": 30.0})


@pytest.mark.parametrize("packs", [{}, {"guardrails": None}, {"guardrails": "its.json"}])
def test_policy_packs_judge_up_and_preview(
    tmp_path: Path, packs: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = open_lab("lab", {"LAB_HOME": str(tmp_path)})
    lab.project_dir.mkdir(parents=True)
    engine = PulumiEngine(
        lab,
        path=tmp_path / "pulumi",
        version="3.200.0",
        environment={},
        interrupts=Interrupts(),
        policy_packs={tmp_path / name: tmp_path / file if file else None for name, file in packs.items()},
    )
    seen: list[tuple[object, object]] = []

    class OpenStack:
        def up(self, **given: object) -> None:
            seen.append((given.get("policy_packs"), given.get("policy_pack_configs")))

        preview = up

    monkeypatch.setattr(engine, "_open", lambda *_, **__: OpenStack())
    engine.up(Role.LAB)
    engine.preview(Role.PERSISTENT)
    names = [str(tmp_path / name) for name in packs] or None
    files = [str(tmp_path / file) for file in packs.values() if file] or None
    assert seen == [(names, files)] * 2


@pytest.mark.parametrize("rebuilt_at_will", [True, False])
def test_only_a_stack_that_is_rebuilt_at_will_goes_without_checkpoints(
    tmp_path: Path, rebuilt_at_will: bool
) -> None:
    lab = open_lab("lab", {"LAB_HOME": str(tmp_path)})
    lab.project_dir.mkdir(parents=True)
    engine = PulumiEngine(
        lab,
        path=tmp_path / "pulumi",
        version="3.200.0",
        environment={"EXTRA": "value"},
        interrupts=Interrupts(),
        rebuilt_at_will=rebuilt_at_will,
    )
    seen: list[dict[str, str]] = []
    for role in (Role.LAB, Role.PERSISTENT):
        engine._run("up", role, lambda **_: seen.append(dict(engine._workspace.env_vars)))
    assert [WITHOUT_CHECKPOINTS.items() <= one.items() for one in seen] == [rebuilt_at_will, False]
    assert all(one["EXTRA"] == "value" for one in seen)
