"""What the supervisor makes of crashes and of a full disk: nothing stays down, nothing strange is touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contracts.errors import LabError
from placements.local.supervisor import ServiceState, Step, leftovers
from placements.local.supervisor.paths import write_private
from placements.local.supervisor.processes import remove_stale_pid_file, service_environment
from tests.unit.supervisor_lab import Lab, eventually, kill, lab

__all__ = ["lab"]


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any lab."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def test_a_pid_file_of_a_crash_is_deleted_and_that_of_the_service_itself_is_not(
    tmp_path: Path, stranger: subprocess.Popen[bytes]
) -> None:
    path = tmp_path / "cluster" / "postmaster.pid"
    path.parent.mkdir()
    assert not remove_stale_pid_file(path)
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    for content in (f"{gone.pid}\n{path.parent}\n", f"{stranger.pid}\n{path.parent}\n", "", "half"):
        path.write_text(content)
        assert remove_stale_pid_file(path), content
        assert not path.exists()
    assert stranger.poll() is None

    server = subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(600)", "-D", str(path.parent)]
    )
    try:
        path.write_text(f"{server.pid}\n")
        assert not remove_stale_pid_file(path)
        assert path.exists()
    finally:
        server.kill()
        server.wait()


def test_a_program_that_is_being_loaded_has_its_command_line_a_moment_later(
    tmp_path: Path, stranger: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cluster" / "postmaster.pid"
    path.parent.mkdir()
    path.write_text(f"{stranger.pid}\n")
    shown: Iterator[list[str]] = iter([[], [], ["server", "-D", str(path.parent)]])
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: next(shown))
    assert not remove_stale_pid_file(path)
    assert path.exists()
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: [])
    assert remove_stale_pid_file(path), "a kernel's thread"


def test_after_a_reboot_a_service_starts_whose_pid_somebody_else_has(
    lab: Lab, stranger: subprocess.Popen[bytes]
) -> None:
    """As PostgreSQL, it refuses to start while the process in its pid file runs."""
    file = lab.home / "data" / "one" / "server.pid"
    refuses = (
        "import os, pathlib, sys\n"
        f"file = pathlib.Path({str(file)!r})\n"
        "if file.exists():\n"
        "    os.kill(int(file.read_text()), 0)\n"
        "    sys.exit('lock file already exists')\n"
        "file.write_text(str(os.getpid()))\n"
        f"os.execv(sys.executable, [sys.executable, *{list(lab.spec('one').argv[1:])!r}])\n"
    )
    lab.client.apply(
        lab.spec("one", argv=(sys.executable, "-S", "-c", refuses), pid_file=str(file)),
    )
    process = lab.process("one")
    assert file.read_text() == str(process.pid)
    lab.kill_supervisor()
    kill(process)
    file.write_text(str(stranger.pid))

    lab.client.start()

    assert lab.status("one").state is ServiceState.READY
    assert stranger.poll() is None


def test_a_step_that_outlived_its_supervisor_is_ended_before_the_next_begins(lab: Lab) -> None:
    folder, count = lab.home / "data" / "one" / "cluster", lab.journal.with_name("count")
    slow = (
        "import os, sys, time\n"
        "os.makedirs(sys.argv[1])\n"
        f"count = open({str(count)!r}, 'a')\n"
        "print(os.getpid(), file=count, flush=True)\n"
        f"while sum(1 for _ in open({str(count)!r})) < 2:\n"
        "    time.sleep(0.02)\n"
    )
    step = Step(name="initdb", creates=str(folder), argv=(sys.executable, "-S", "-c", slow, "{new}"))
    spec = lab.spec("one", steps=(step,))
    lab.client.ensure_running()
    asking = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, pathlib; from placements.local.supervisor import ServiceSpec, SupervisorClient;"
            "SupervisorClient(pathlib.Path(sys.argv[1])).apply(ServiceSpec.from_json(sys.stdin.read()))",
            str(lab.home),
        ],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert asking.stdin is not None
    asking.stdin.write(spec.to_json().encode())
    asking.stdin.close()
    orphan = psutil.Process(int(eventually(lambda: count.exists() and count.read_text().strip(), "the step")))
    lab.kill_supervisor()
    asking.wait(30)

    lab.client.apply(spec)

    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert folder.is_dir()
    assert lab.status("one").state is ServiceState.READY


def test_a_service_with_a_damaged_specification_is_ended_and_forgotten_by_recovery(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.apply(lab.spec("two"))
    one, two = lab.process("one"), lab.process("two")
    lab.kill_supervisor()
    lab.client.paths.spec("one").write_bytes(b"\0" * 100)

    assert {status.name: status.state for status in lab.client.status()} == {
        "one": ServiceState.UNSUPERVISED,
        "two": ServiceState.UNSUPERVISED,
    }
    assert lab.client.unreadable() == ["one"]
    lab.client.recover()

    assert not one.alive
    assert lab.process("two") == two
    assert lab.client.unreadable() == []
    assert lab.client.left_behind() == []
    lab.client.apply(lab.spec("one"))
    assert [status.name for status in lab.client.status()] == ["one", "two"]


def test_what_a_crash_left_is_told_and_an_orderly_end_leaves_nothing(lab: Lab) -> None:
    lab.client.apply(lab.spec("one"))
    lab.client.shutdown()
    assert lab.client.left_behind() == []

    lab.client.start()
    process = lab.process("one")
    lab.kill_supervisor()
    kill(process)
    assert lab.client.left_behind() == [
        "the supervisor was killed, or the machine restarted",
        f"one was process {process.pid}, which runs no more",
    ]


def test_a_supervisor_that_hangs_is_replaced_while_services_go_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("placements.local.supervisor.client.PING_TIMEOUT_S", 0.3)
    lab.client.apply(lab.spec("one"))
    process, supervisor = lab.process("one"), lab.supervisor()
    os.kill(supervisor.pid, signal.SIGSTOP)
    assert lab.client.left_behind() == [f"the supervisor, process {supervisor.pid}, does not answer"]

    lab.client.recover()

    eventually(lambda: lab.status("one").state is ServiceState.READY, "adoption")
    assert lab.process("one") == process
    assert not supervisor.alive


def test_a_supervisor_that_can_not_start_says_so_at_once(lab: Lab) -> None:
    lab.client.paths.prepare()
    lab.client.paths.control.mkdir()

    with pytest.raises(LabError, match="the supervisor did not start: it ended at once"):
        lab.client.start()

    lab.client.paths.control.rmdir()
    lab.client.start()
    assert lab.client.running()


def test_services_see_a_utf8_locale_whatever_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("LC_ALL", "C")
    environment = service_environment({}, Path("/h"), "marker")
    assert environment["LC_ALL"] == "C.UTF-8"
    assert service_environment({"LC_ALL": "C"}, Path("/h"), "marker")["LC_ALL"] == "C"


def test_half_a_file_does_not_stay_when_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    write_private(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["state.json"]
    assert path.read_text() == "old"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A memory disk of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("needs root; this is an ordinary user")
    with tempfile.TemporaryDirectory(prefix="lab small disk ") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip("needs the right to mount a memory disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_named_and_once_there_is_room_everything_runs_again(small_disk: Path) -> None:
    lab = Lab(small_disk)
    try:
        lab.client.apply(lab.spec("one", files={"server.conf": "x" * 5000}))
        lab.client.apply(lab.spec("other"))
        process = lab.process("one")
        ballast = small_disk / "ballast"
        descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, b"x" * 4096)
        os.close(descriptor)
        assert shutil.disk_usage(small_disk).free == 0
        kill(process)
        eventually(
            lambda: "no space is left on the disk" in str(lab.status("one").reason), "a reason that names it"
        )
        assert lab.status("one").state in (ServiceState.BACKOFF, ServiceState.STARTING)
        # What is not needed any more can be removed, which may be what makes room.
        lab.client.remove("other")
        assert lab.client.status_of("other") is None

        ballast.unlink()

        eventually(lambda: lab.status("one").state is ServiceState.READY, "its return")
        saved = json.loads(lab.client.paths.state("one").read_text())
        assert saved["process"]["pid"] == lab.status("one").pid
        assert leftovers.read_state(lab.client.paths, "one")["wanted"] is True
    finally:
        lab.close()
