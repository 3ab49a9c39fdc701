"""The supervisor outlives its callers, and services outlive the supervisor."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import psutil
import pytest

from contracts.errors import LabError
from placements.local.supervisor import ServiceState, SupervisorClient, client
from placements.local.supervisor.paths import write_private
from placements.local.supervisor.processes import identify
from tests.unit.supervisor_lab import QUICK, Lab, eventually, kill, lab

__all__ = ["lab"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_supervisor_is_nobodys_child_and_has_a_session_of_its_own(lab: Lab) -> None:
    lab.client.ensure_running()

    pid = lab.supervisor().pid
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)
    children = subprocess.run(
        ["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    assert int(children.stdout) != os.getpid()


def test_a_caller_with_pipes_is_not_held_by_the_supervisor(lab: Lab) -> None:
    code = (
        "import sys, pathlib; from placements.local.supervisor import SupervisorClient;"
        "SupervisorClient(pathlib.Path(sys.argv[1])).ensure_running(); print('done')"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code, str(lab.home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )

    assert result.stdout == "done\n"
    assert lab.client.running()


def test_only_one_supervisor_runs_whoever_asks(lab: Lab) -> None:
    threads = [threading.Thread(target=SupervisorClient(lab.home, QUICK).ensure_running) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    first = lab.supervisor()
    lab.client.ensure_running()
    assert lab.supervisor() == first
    log = lab.client.paths.log("supervisor").read_text()
    assert log.count("is ready as process") == 1


def test_services_of_a_killed_supervisor_are_adopted(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    before = {name: lab.process(name) for name in ("one", "two")}

    lab.kill_supervisor()
    assert {s.state for s in lab.client.status()} == {ServiceState.UNSUPERVISED}
    # What they hold counts as the lab's own when the next command asks whether it fits in memory.
    assert all(s.memory_mib for s in lab.client.status())
    assert not lab.client.running()
    lab.client.apply(lab.spec("one"))
    lab.client.start()

    assert {name: lab.process(name) for name in ("one", "two")} == before
    assert len(lab.marked()) == 2


def test_an_adopted_service_is_restarted_when_it_dies_and_can_be_stopped(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    before = lab.process("one")
    lab.kill_supervisor()
    lab.client.start()

    os.kill(before.pid, 9)
    status = eventually(
        lambda: (s := lab.status("one")).state is ServiceState.READY and s.pid != before.pid and s,
        "its return",
    )
    assert status.restarts == 1

    lab.kill_supervisor()
    lab.client.start()
    adopted = lab.process("one")
    lab.client.stop_all()
    assert not adopted.alive


def test_what_died_while_nobody_watched_is_started_by_the_next_supervisor(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two"))
    one, two = lab.process("one"), lab.process("two")

    lab.kill_supervisor()
    os.kill(one.pid, 9)
    eventually(lambda: not one.alive, "its end")
    lab.client.ensure_running()

    eventually(lambda: lab.status("one").state is ServiceState.READY, "its return")
    assert lab.process("two") == two


def test_a_pid_that_belongs_to_another_process_now_is_never_touched(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    service = lab.process("one")
    lab.kill_supervisor()
    os.kill(service.pid, 9)
    eventually(lambda: not service.alive, "its end")
    stranger = subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    try:
        path = lab.client.paths.state("one")
        saved = json.loads(path.read_text())
        saved["process"]["pid"] = stranger.pid
        write_private(path, json.dumps(saved))
        assert lab.status("one").state is ServiceState.STOPPED

        lab.client.start()
        assert lab.status("one").pid != stranger.pid
        lab.client.remove("one")

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_after_a_reboot_everything_that_was_wanted_runs_again(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    lab.client.apply(lab.spec("unwanted"))
    lab.client.stop(["unwanted"])
    processes = [lab.process("one"), lab.process("two")]
    lab.kill_supervisor()
    for process in processes:
        kill(process)
    assert {s.state for s in lab.client.status()} == {ServiceState.STOPPED}

    lab.client.apply(lab.spec("two", depends_on=("one",)))

    states = {status.name: status.state for status in lab.client.status()}
    assert states == {
        "one": ServiceState.READY,
        "two": ServiceState.READY,
        "unwanted": ServiceState.STOPPED,
    }


def test_a_service_started_just_before_the_kill_is_found_without_a_record(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    unrecorded = lab.process("one")
    lab.kill_supervisor()
    path = lab.client.paths.state("one")
    write_private(path, json.dumps({**json.loads(path.read_text()), "process": None}))

    lab.client.apply(lab.spec("one"))

    assert not unrecorded.alive
    assert len(lab.marked()) == 1


def test_a_supervisor_of_other_code_is_replaced_while_services_go_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.client.apply(lab.spec("one"))
    service, supervisor = lab.process("one"), lab.supervisor()

    with monkeypatch.context() as patch:
        patch.setattr(client, "code_version", lambda: "another version")
        lab.client.ensure_running()

    assert not supervisor.alive
    assert lab.supervisor() != supervisor
    eventually(lambda: lab.status("one").state is ServiceState.READY, "adoption")
    assert lab.process("one") == service


def test_a_terminated_supervisor_stops_its_services_and_the_next_brings_them_back(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    supervisor = lab.supervisor()
    lab.forget_events()

    os.kill(supervisor.pid, signal.SIGTERM)
    eventually(lambda: not supervisor.alive, "its end")
    assert lab.events() == ["two end", "one end"]
    assert lab.marked() == []

    lab.client.ensure_running()
    eventually(lambda: {s.state for s in lab.client.status()} == {ServiceState.READY}, "their return")


def test_status_and_stop_never_start_a_supervisor(lab: Lab) -> None:
    assert lab.client.status() == []
    lab.client.stop_all()
    lab.client.remove("nothing")
    lab.client.shutdown()

    assert not lab.client.running()
    assert not lab.client.paths.run.exists()


def test_nothing_of_the_callers_environment_reaches_a_service(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "of-the-caller")
    lab.client.apply(lab.spec("one", env={"OWN_PASSWORD": "of-the-service"}))

    url = f"http://127.0.0.1:{lab.ports['one']}/environment"
    with urllib.request.urlopen(url, timeout=10) as answer:
        seen = answer.read().decode()

    assert "of-the-service" in seen
    assert "of-the-caller" not in seen
    assert f"'HOME': '{lab.home / 'run' / 'scratch' / 'one'}'" in seen
    supervisor = Path(f"/proc/{lab.supervisor().pid}/environ")
    if supervisor.exists():
        assert b"of-the-caller" not in supervisor.read_bytes()


def test_what_holds_secrets_is_the_users_alone(lab: Lab) -> None:
    spec = lab.spec("one", env={"PASSWORD": "hidden"}, files={"etc/a.conf": "secret=1\n", "b.conf": "x"})
    lab.client.apply(spec)

    paths = lab.client.paths
    files = [Path(spec.files_dir, "etc/a.conf"), Path(spec.files_dir, "b.conf")]
    for path in (*files, paths.spec("one"), paths.state("one"), paths.control, paths.log("one")):
        assert mode(path) == 0o600, path
    for folder in (paths.run, paths.services, paths.logs, Path(spec.files_dir), Path(spec.scratch_dir)):
        assert mode(folder) == 0o700, folder
    assert files[0].read_text() == "secret=1\n"
    assert "hidden" not in paths.log("supervisor").read_text()

    lab.client.apply(dataclasses.replace(spec, plan_hash="2", files={"c.conf": "y"}))
    assert [path.name for path in Path(spec.files_dir).rglob("*")] == ["c.conf"]


def test_a_wrong_token_is_refused(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    path = lab.client.paths.control
    control = json.loads(path.read_text())
    write_private(path, json.dumps({**control, "token": "guessed"}))

    with pytest.raises(LabError, match="does not know this token"):
        lab.client._call({"op": "stop", "names": None})

    write_private(path, json.dumps(control))
    assert lab.status("one").state is ServiceState.READY


def test_a_long_log_is_rotated_while_the_service_goes_on_writing(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    before = lab.process("one")
    log = lab.client.paths.log("one")

    def talk() -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{lab.ports['one']}/talk", timeout=10):
            return

    for number in range(1, 4):
        talk()
        eventually(lambda: log.stat().st_size == 0, f"rotation {number}")
    talk()

    assert log.with_name("one.log.1").exists()
    assert log.with_name("one.log.2").exists()
    assert not log.with_name("one.log.3").exists()
    assert mode(log.with_name("one.log.1")) == 0o600
    assert "line 99" in log.with_name("one.log.1").read_text()
    assert lab.process("one") == before


def as_of_other_code(lab: Lab, name: str) -> None:
    """Gives the stored specification a form that this code does not know."""
    path = lab.client.paths.spec(name)
    write_private(path, json.dumps({**json.loads(path.read_text()), "sandbox": True}))


@pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "found by its marker"])
def test_a_service_whose_specification_can_not_be_read_ends_and_is_reported(lab: Lab, recorded: bool) -> None:
    spec = lab.spec("one", "child")
    lab.client.apply(spec)
    lab.client.apply(lab.spec("two"))
    one, two = lab.process("one"), lab.process("two")
    child = identify(int(next(e for e in lab.events() if "child=" in e).rpartition("=")[2]))
    assert child is not None
    lab.kill_supervisor()
    as_of_other_code(lab, "one")
    if not recorded:
        write_private(lab.client.paths.state("one"), json.dumps({"process": {"number": one.pid}}))
    before = lab.status("one")
    assert before.state is (ServiceState.UNSUPERVISED if recorded else ServiceState.FAILED)

    lab.client.ensure_running()

    assert not one.alive
    eventually(lambda: not child.alive, "the end of what it started")
    assert "one end" in lab.events()
    status = lab.status("one")
    assert (status.state, status.pid) == (ServiceState.FAILED, None)
    assert "can't be read" in (status.reason or "")
    assert "`lab up`" in (status.reason or "")
    assert "one: left out" in lab.client.paths.log("supervisor").read_text()
    for names in (None, ["one"]):
        with pytest.raises(LabError, match="one can't be started") as refusal:
            lab.client.start(names)
        assert refusal.value.next_command == "lab up"
    eventually(lambda: lab.status("two").state is ServiceState.READY, "its adoption")
    assert lab.process("two") == two

    assert lab.client.apply(spec).state is ServiceState.READY
    assert len(lab.marked()) == 2


def test_a_service_that_can_not_be_read_can_be_removed(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    lab.client.shutdown()
    lab.client.paths.spec("one").write_text("{")
    assert lab.status("one").state is ServiceState.FAILED

    lab.client.stop_all()
    with pytest.raises(LabError, match="one can't be started"):
        lab.client.start(["two"])
    lab.client.remove("one")

    with pytest.raises(LabError, match="one, which others need, is not declared"):
        lab.client.start(["two"])
    assert lab.client.paths.declared() == ["two"]


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", "pass"])
    identity = identify(child.pid)
    try:
        eventually(lambda: identity is None or not identity.alive, "its end")
    finally:
        child.wait()


def test_a_launch_that_loses_leaves_no_process_behind(lab: Lab) -> None:
    """It would take over when the winner ends, and start what was just stopped."""
    lab.client.ensure_running()
    lab.client._launch()
    lab.client.shutdown()

    assert not [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(lab.home) in (process.info["cmdline"] or ()) and identify(process.pid) is not None
    ]
