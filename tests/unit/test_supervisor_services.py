"""What the supervisor does with services: order, readiness, restarts, stops."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from functools import partial
from typing import Any

import pytest

from contracts.errors import LabError
from placements.local.supervisor import Options, ServiceState, ServiceStatus, Step
from placements.local.supervisor.processes import identify, resident_mib
from tests.unit.supervisor_lab import Lab, eventually, lab

__all__ = ["lab"]


def get(lab: Lab, name: str, path: str = "/") -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{lab.ports[name]}{path}", timeout=10) as answer:
        return bytes(answer.read())


def test_apply_returns_a_service_that_answers(lab: Lab) -> None:
    status = lab.client.apply(lab.spec("catalog", delay_s=0.2))

    assert status.state is ServiceState.READY
    assert get(lab, "catalog") == b"well"
    assert status.ports == {"http": lab.ports["catalog"]}


def test_memory_is_measured_with_all_that_a_service_started(lab: Lab) -> None:
    """A child holds 60 MiB and a grandchild 60 more; who asks after one service alone measures nothing."""
    lab.client.apply(lab.spec("catalog"))
    hold = "import subprocess, sys; held = bytearray(60 << 20); "
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"{hold}subprocess.run([sys.executable, '-c', {hold + 'print(flush=True); sys.stdin.read()'!r}])",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        measured = resident_mib([os.getpid(), parent.pid])
        parent.communicate()

    assert 120 < measured[parent.pid] < 220
    assert measured[os.getpid()] > measured[parent.pid]
    assert resident_mib([parent.pid]) == {}
    assert lab.client.status()[0].memory_mib
    assert lab.status("catalog").memory_mib is None


def test_services_start_in_parallel_and_after_what_they_depend_on_is_ready(lab: Lab) -> None:
    """Neither of the first two listens before both were started; the third follows both."""
    lab.client.apply(lab.spec("base"))
    lab.client.apply(lab.spec("left", "meets", depends_on=("base",)))
    lab.client.apply(lab.spec("right", "meets", depends_on=("base",)))
    lab.client.apply(lab.spec("last", depends_on=("left", "right")))
    lab.client.stop_all()
    lab.client.start(["base"])
    lab.forget_events()

    lab.client.start(["last"])

    events = lab.events()
    assert set(events[:2]) == {"left start", "right start"}
    assert set(events[2:4]) == {"left listen", "right listen"}
    assert events[4:] == ["last start", "last listen"]


def test_starting_a_service_starts_what_it_depends_on_and_nothing_else(lab: Lab) -> None:
    lab.client.apply(lab.spec("postgres"))
    lab.client.apply(lab.spec("keycloak", depends_on=("postgres",)))
    lab.client.apply(lab.spec("unrelated"))
    lab.client.stop_all()

    lab.client.start(["keycloak"])

    states = {status.name: status.state for status in lab.client.status()}
    assert states == {
        "postgres": ServiceState.READY,
        "keycloak": ServiceState.READY,
        "unrelated": ServiceState.STOPPED,
    }


def test_stop_goes_in_reverse_order(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    lab.client.apply(lab.spec("three", depends_on=("two",)))
    lab.forget_events()

    lab.client.stop_all()

    assert lab.events() == ["three end", "two end", "one end"]
    assert {status.state for status in lab.client.status()} == {ServiceState.STOPPED}


def test_a_changed_plan_restarts_exactly_that_service(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    lab.client.apply(lab.spec("three", depends_on=("two",)))
    before = {name: lab.process(name) for name in ("one", "two", "three")}

    lab.client.apply(lab.spec("two", plan="2", depends_on=("one",)))

    assert lab.process("one") == before["one"]
    assert lab.process("three") == before["three"]
    assert lab.process("two") != before["two"]
    assert not before["two"].alive
    assert lab.status("two").plan_hash == "2"


def test_the_same_plan_leaves_a_running_service_alone(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    before = lab.process("one")

    lab.client.apply(lab.spec("one"))

    assert lab.process("one") == before
    assert lab.events().count("one start") == 1


def test_a_service_that_never_gets_ready_fails_with_its_last_lines(lab: Lab) -> None:
    lab.client.apply(lab.spec("well"))
    before = lab.process("well")

    with pytest.raises(LabError) as error:
        lab.client.apply(lab.spec("broken", "fails"))

    assert "ended with status 3" in error.value.what
    assert "cannot find my configuration" in error.value.what
    assert error.value.next_command == "lab logs broken"
    assert lab.status("broken").state is ServiceState.FAILED
    assert lab.events().count("broken start") == 3
    assert lab.process("well") == before

    lab.client.apply(lab.spec("broken", plan="2"))
    assert lab.status("broken").state is ServiceState.READY


def test_a_service_too_slow_to_get_ready_is_ended(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"not ready within 0\.3 s"):
        lab.client.apply(lab.spec("slow", delay_s=60, timeout_s=0.3))

    assert lab.status("slow").pid is None
    assert lab.marked() == []


def test_what_waits_for_a_failed_dependency_says_so(lab: Lab) -> None:
    lab.client.apply(lab.spec("base"))
    lab.client.stop_all()
    with pytest.raises(LabError):
        lab.client.apply(lab.spec("base", "fails", plan="2"))

    with pytest.raises(LabError, match="base did not become ready"):
        lab.client.apply(lab.spec("above", depends_on=("base",)))


def test_a_killed_service_comes_back_and_says_why_it_was_away(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    before, other = lab.process("one"), lab.process("two")

    os.kill(before.pid, 9)
    status = eventually(
        lambda: (s := lab.status("one")).state is ServiceState.READY and s.pid != before.pid and s,
        "its return",
    )

    assert status.restarts == 1
    assert "SIGKILL" in str(status.reason)
    assert lab.process("two") == other


def test_a_service_that_keeps_dying_is_restarted_each_time_with_longer_delays(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))

    def came_back(count: int) -> ServiceStatus | None:
        status = lab.status("one")
        return status if status.state is ServiceState.READY and status.restarts == count else None

    for restart in range(1, 4):
        with contextlib.suppress(OSError):
            get(lab, "one", "/exit")
        status = eventually(partial(came_back, restart), f"restart {restart}")
        assert "status 7" in str(status.reason)


def test_delays_double_up_to_the_longest_one() -> None:
    options = Options(restart_delay_s=0.5, restart_delay_max_s=30.0)

    assert [options.delay_s(deaths) for deaths in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 4.0]
    assert options.delay_s(1000) == 30.0


def test_what_is_left_of_a_dead_service_is_ended_before_it_starts_again(lab: Lab) -> None:
    lab.client.apply(lab.spec("parent", "child"))
    before = lab.process("parent")
    child = identify(int(next(event for event in lab.events() if "child=" in event).rpartition("=")[2]))
    assert child is not None

    os.kill(before.pid, 9)
    eventually(lambda: lab.events().count("parent listen") == 2, "its return")

    assert not child.alive


def test_a_service_that_ignores_its_stop_signal_is_killed_with_its_children(lab: Lab) -> None:
    lab.client.apply(lab.spec("stubborn", "stubborn", "child", stop_timeout_s=0.3))
    process = lab.process("stubborn")
    child = identify(int(next(e for e in lab.events() if "child=" in e).rpartition("=")[2]))
    assert child is not None

    lab.client.stop_all()

    assert not process.alive
    eventually(lambda: not child.alive, "the child's end")


def test_a_taken_port_names_its_owner_before_anything_starts(lab: Lab) -> None:
    spec = lab.spec("one")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", lab.ports["one"]))
        holder.listen()

        with pytest.raises(LabError) as error:
            lab.client.apply(spec)

    assert f"process {os.getpid()} (" in error.value.what
    assert str(lab.ports["one"]) in error.value.what
    assert lab.events() == []
    lab.client.apply(spec)


def test_an_undeclared_dependency_is_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="depends on nowhere, which is not declared"):
        lab.client.apply(lab.spec("one", depends_on=("nowhere",)))

    assert lab.client.status() == []


def test_a_circle_is_refused_and_named(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    before = lab.process("one")

    with pytest.raises(LabError, match="circle") as error:
        lab.client.apply(lab.spec("one", plan="2", depends_on=("two",)))

    assert error.value.value == "one -> two -> one"
    assert lab.process("one") == before


def test_an_unknown_service_is_refused_with_the_nearest_name(lab: Lab) -> None:
    lab.client.apply(lab.spec("keycloak"))

    with pytest.raises(LabError, match="did you mean 'keycloak'"):
        lab.client.start(["keyclok"])


def test_remove_keeps_retained_data_and_touches_nothing_else(lab: Lab) -> None:
    data = lab.home / "data" / "two"
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", files={"a.conf": "x"}, discard=(str(data / "cache"),)))
    (data / "cache").mkdir()
    (data / "kept").write_text("kept")
    other, process = lab.process("one"), lab.process("two")

    lab.client.remove("two")
    lab.client.remove("two")

    assert not process.alive
    assert (data / "kept").read_text() == "kept"
    assert not (data / "cache").exists()
    assert not lab.client.paths.service("two").exists()
    assert lab.client.paths.log("two").exists()
    assert [status.name for status in lab.client.status()] == ["one"]
    assert lab.process("one") == other


def test_a_head_start_runs_services_as_they_last_were(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    two = lab.spec("two", depends_on=("one",), shared_dirs=(str(lab.home.parent / "warm" / "x"),))
    lab.client.apply(two)
    lab.client.apply(lab.spec("three", depends_on=("two",)))
    lab.client.remove("three")
    lab.client.remove("two")
    lab.client.stop(["one"])

    assert lab.client.resume(["two", "never-declared"]) == ["two"]
    started = eventually(lambda: lab.status("two").pid, "two")
    lab.client.apply(two)

    assert lab.status("two").pid == started, "what is the same is kept"
    assert lab.status("one").state is ServiceState.READY
    assert "three" not in [status.name for status in lab.client.status()]
    assert (lab.home.parent / "warm" / "x").is_dir()
    assert stat.S_IMODE(lab.client.paths.last_spec("three").stat().st_mode) == 0o600


def test_a_head_start_with_an_old_plan_is_corrected(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.remove("one")
    lab.client.resume(["one"])
    old = eventually(lambda: lab.status("one").pid, "one")

    lab.client.apply(lab.spec("one", plan="2"))

    assert lab.status("one").plan_hash == "2"
    assert lab.status("one").pid != old


def test_a_head_start_leaves_out_what_lost_its_dependency_or_can_not_be_read(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    lab.client.apply(lab.spec("three"))
    for name in ("three", "two", "one"):
        lab.client.remove(name)
    lab.client.paths.last_spec("one").unlink()
    lab.client.paths.last_spec("three").write_text("{")

    assert lab.client.resume(["one", "two", "three"]) == []
    assert lab.client.status() == []


def test_services_can_be_told_to_stop_without_waiting(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two", depends_on=("one",)))
    lab.forget_events()

    lab.client.stop(["one", "two"], wait=False)
    lab.client.remove("two")
    lab.client.remove("one")

    assert lab.events() == ["two end", "one end"]


def test_two_applies_at_once_start_one_process(lab: Lab) -> None:
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(lab.client.apply(lab.spec("one", delay_s=0.2))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.state for answer in answers} == {ServiceState.READY}
    assert lab.events().count("one start") == 1
    assert len(lab.marked()) == 1


def test_watch_shows_states_as_they_change(lab: Lab) -> None:
    lab.client.ensure_running()
    seen: list[ServiceState] = []
    watching = lab.client.watch()
    applying = threading.Thread(target=lambda: lab.client.apply(lab.spec("one", delay_s=0.4)))
    applying.start()
    for status in watching:
        seen.append(status.state)
        if status.state is ServiceState.READY:
            break
    watching.close()
    applying.join()

    assert ServiceState.STARTING in seen
    assert seen[-1] is ServiceState.READY


def test_steps_run_once_and_again_when_their_input_changed(lab: Lab) -> None:
    made = lab.home / "data" / "one" / "cluster"
    count = 'echo "$1" >> made.txt; mkdir "$2"'
    steps = (
        Step(name="make", creates=str(made), argv=("/bin/sh", "-c", count, "sh", "make", "{new}")),
        Step(name="feed", stdin_file="in.txt", argv=("/bin/sh", "-c", "cat >> fed.txt")),
    )
    scratch = lab.home / "run" / "scratch" / "one"

    lab.client.apply(lab.spec("one", steps=steps, files={"in.txt": "first\n"}))
    lab.client.apply(lab.spec("one", plan="2", steps=steps, files={"in.txt": "first\n"}))
    lab.client.apply(lab.spec("one", plan="3", steps=steps, files={"in.txt": "second\n"}))

    assert made.is_dir()
    assert (scratch / "made.txt").read_text() == "make\n"
    assert (scratch / "fed.txt").read_text() == "first\nsecond\n"


def test_a_failed_step_shows_its_output_and_leaves_nothing_half_made(lab: Lab) -> None:
    made = lab.home / "data" / "one" / "cluster"
    command = 'mkdir -p "$1"; echo no space left; exit 9'
    failing = Step(name="make", creates=str(made), argv=("/bin/sh", "-c", command, "sh", "{new}"))

    with pytest.raises(LabError, match=r"(?s)step 'make' failed.*status 9.*no space left"):
        lab.client.apply(lab.spec("one", steps=(failing,)))

    assert not made.exists()
    assert lab.events() == []
