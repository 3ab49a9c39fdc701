"""A lab home with a supervisor and tiny services, for the supervisor's tests."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from placements.local.supervisor import Options, ProbeSpec, ServiceSpec, ServiceStatus, SupervisorClient
from placements.local.supervisor.processes import ProcessIdentity, identify

PATIENCE_S = 30.0
QUICK = Options(
    restart_delay_s=0.05,
    restart_delay_max_s=0.4,
    stable_s=60.0,
    tick_s=0.05,
    log_max_bytes=4000,
    log_keep=2,
    log_check_s=0.1,
)

SERVICE_PROGRAM = '''
"""Serves 200 on a port, and writes to a journal when it starts, listens and ends."""
import http.server, os, signal, subprocess, sys, time

journal, name, port, delay_s, *words = sys.argv[1:]

def note(event):
    with open(journal, "a") as file:
        file.write(f"{name} {event} {os.getpid()}\\n")

note("start")
if "chatty" in words:
    print("x" * 99, flush=True)
if "fails" in words:
    print("cannot find my configuration", flush=True)
    sys.exit(3)
if "child" in words:
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
    note(f"child={child.pid}")

def end(*_):
    note("end")
    os._exit(0)

while "meets" in words and open(journal).read().count(" start ") < 2:
    time.sleep(0.01)
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in words else end)
time.sleep(float(delay_s))

class Handler(http.server.BaseHTTPRequestHandler):
    unanswered = 0
    def do_GET(self):
        if Handler.unanswered:
            Handler.unanswered -= 1
            note("unanswered")
            return
        if "noted" in words:
            note("answered")
        if self.path.startswith("/unanswered="):
            Handler.unanswered = int(self.path.partition("=")[2])
        if self.path == "/exit":
            os._exit(7)
        if self.path == "/talk":
            for number in range(100):
                print(f"line {number} " + "x" * 60, flush=True)
        body = repr(dict(os.environ)).encode() if self.path == "/environment" else b"well"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

server = http.server.HTTPServer(("127.0.0.1", int(port)), Handler)
note("listen")
server.serve_forever()
'''


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Waits until ``condition`` holds and returns its value."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"it never came about: {what}")


def kill(process: ProcessIdentity) -> None:
    """As ``kill -9`` does; returns when it is gone."""
    os.kill(process.pid, 9)
    eventually(lambda: not process.alive, "its end")


class Lab:
    """One lab home."""

    def __init__(self, folder: Path, options: Options = QUICK) -> None:
        self.home = folder / "a lab"
        self.client = SupervisorClient(self.home, options)
        self.journal = folder / "journal"
        self.program = folder / "service.py"
        self.program.write_text(SERVICE_PROGRAM)
        self.ports: dict[str, int] = {}

    def spec(
        self,
        name: str,
        *words: str,
        plan: str = "1",
        delay_s: float = 0.0,
        timeout_s: float = 20.0,
        **more: Any,
    ) -> ServiceSpec:
        port = self.ports.setdefault(name, free_port())
        return ServiceSpec(
            **{
                "name": name,
                "argv": (
                    *(sys.executable, "-S", str(self.program), str(self.journal), name),
                    *(str(port), str(delay_s), *words),
                ),
                "plan_hash": plan,
                "files_dir": str(self.home / "run" / "services" / name / "files"),
                "scratch_dir": str(self.home / "run" / "scratch" / name),
                "data_dir": str(self.home / "data" / name),
                "ports": {"http": port},
                "probe": ProbeSpec(port=port, path="/", timeout_s=timeout_s, period_s=0.03),
                "stop_timeout_s": 10.0,
                **more,
            }
        )

    def status(self, name: str) -> ServiceStatus:
        status = self.client.status_of(name)
        assert status is not None, f"{name} is not declared"
        return status

    def process(self, name: str) -> ProcessIdentity:
        """The service's process, which must run."""
        pid = self.status(name).pid
        assert pid is not None, self.status(name)
        identity = identify(pid)
        assert identity is not None
        return identity

    def events(self) -> list[str]:
        """What services noted, without pids: ``name event``."""
        if not self.journal.exists():
            return []
        return [line.rpartition(" ")[0] for line in self.journal.read_text().splitlines()]

    def forget_events(self) -> None:
        self.journal.write_text("")

    def supervisor(self) -> ProcessIdentity:
        pid = int(json.loads(self.client.paths.control.read_text())["pid"])
        identity = identify(pid)
        assert identity is not None
        return identity

    def kill_supervisor(self) -> None:
        """As ``kill -9`` does; returns when it is gone."""
        kill(self.supervisor())

    def marked(self) -> list[psutil.Process]:
        """Every process of this lab's services that leads a session."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("LAB_SERVICE", "").startswith(f"{self.home}:") and (
                    os.getsid(process.pid) == process.pid
                ):
                    found.append(process)
        return found

    def close(self) -> None:
        """Ends everything this lab started, whatever the test did."""
        if self.client.running():
            self.client.shutdown()
        for process in self.marked():
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab home whose path has a space; everything started in it ends with the test."""
    home = Lab(tmp_path)
    yield home
    home.close()
