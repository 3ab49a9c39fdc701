"""Faults done to a running lab, and queries beside them that notice what is lost or wrong."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from contracts.errors import LabError
from placements.local.supervisor import ServiceStatus
from placements.local.supervisor.paths import write_private
from tests.live.conftest import LiveLab

SERVICES = ("opa", "governor", "catalog", "trino", "trino-tokens", "keycloak", "s3", "postgres")
PROVIDER = "pulumi-resource-pulumi-python"
ENGINE = "pulumi"
TABLE = "lake.raw.faults"


def status(lab: LiveLab, name: str) -> ServiceStatus:
    """One service as the supervisor sees it."""
    found = lab.supervisor.status_of(name)
    assert found is not None, f"{name} is not declared"
    return found


def wait_until_ready(lab: LiveLab, timeout_s: float = 240) -> None:
    """Until every declared service is."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(LabError):
            found = lab.supervisor.status()
            if found and all(one.state.value == "ready" for one in found):
                return
        assert time.monotonic() < deadline, f"not ready after {timeout_s} s: {found}"
        time.sleep(0.1)


def kill_service(lab: LiveLab, name: str) -> int:
    """As ``kill -9`` does; returns the pid it had."""
    pid = status(lab, name).pid
    assert pid is not None, f"{name} does not run"
    os.kill(pid, signal.SIGKILL)
    return pid


def wait_for_return(lab: LiveLab, name: str, old_pid: int, timeout_s: float = 240) -> ServiceStatus:
    """Until the service is ready as another process."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = status(lab, name)
        if found.state.value == "ready" and found.pid != old_pid:
            return found
        assert time.monotonic() < deadline, f"{name} is not back: {found}"
        time.sleep(0.05)


def kill_supervisor(lab: LiveLab) -> int:
    """As ``kill -9`` does; returns once it is gone."""
    pid = int(json.loads((lab.home / "run" / "supervisor.json").read_text())["pid"])
    process = psutil.Process(pid)
    process.kill()
    process.wait(20)
    return pid


def engine_processes(lab: LiveLab, program: str, operation: str = "") -> list[psutil.Process]:
    """This lab's processes of the engine whose command line begins with or runs ``program``, and names
    ``operation`` if that is given."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = process.cmdline()
            runs_it = any(Path(word).name == program for word in words[:3])
            if not runs_it or (operation and operation not in words):
                continue
            if process.environ().get("PULUMI_HOME") == str(lab.home / "pulumi"):
                found.append(process)
    return found


def kill_processes(lab: LiveLab, program: str, timeout_s: float, during: subprocess.Popen[str]) -> bool:
    """Kills the first such process that appears while ``during`` runs; whether there was one."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and during.poll() is None:
        found = engine_processes(lab, program)
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if found:
            return True
        time.sleep(0.05)
    return False


@contextlib.contextmanager
def rebooted(lab: LiveLab) -> Iterator[None]:
    """All processes of the lab are gone, what they left on disk is there, and within the context their
    pids belong to others."""
    found = lab.supervisor.status()
    kill_supervisor(lab)
    pids = [one.pid for one in found if one.pid is not None]
    processes = [psutil.Process(pid) for pid in pids]
    for process in [child for one in processes for child in [*one.children(recursive=True), one]]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=30)
    with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"]) as stranger:
        try:
            _give_pids_to(lab, stranger.pid)
            yield
            assert stranger.poll() is None, "a stranger was ended, whose pid was once the lab's"
        finally:
            stranger.kill()


def _give_pids_to(lab: LiveLab, pid: int) -> None:
    control = lab.home / "run" / "supervisor.json"
    write_private(control, json.dumps({**json.loads(control.read_text()), "pid": pid}))
    for path in (lab.home / "run" / "services").glob("*/state.json"):
        saved = json.loads(path.read_text())
        if saved.get("process"):
            write_private(path, json.dumps({**saved, "process": {**saved["process"], "pid": pid}}))
    spec = json.loads((lab.home / "run" / "services" / "postgres" / "spec.json").read_text())
    path = Path(spec["pid_file"])
    _, _, rest = path.read_text().partition("\n")
    path.write_text(f"{pid}\n{rest}")


@dataclass
class Queries:
    """Reads and acknowledged writes, one after the other, in a thread of their own.

    ``wrong`` are answers that were given and are not true; ``unexpected`` are failures that are no
    sentence of ours; ``failures`` are those that are, while something was down.
    """

    lab: LiveLab
    acknowledged: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    _tried: int = 0
    _last_round: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        # Not in the middle of a fault.
        self.lab.keys()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="queries", daemon=True)

    def value(self, sql: str, persona: str = "engineer") -> object:
        """The first value of a statement's first row, None when it has no row."""
        with self.lab.trino(persona) as session:
            rows = list(session.run(sql).rows)
            return rows[0][0] if rows else None

    def __enter__(self) -> Queries:
        self.value(f"CREATE TABLE IF NOT EXISTS {TABLE} (n bigint)")
        self._customers = self.value("SELECT count(*) FROM lake.retail.customer", "analyst_emea")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the thread after the statement under way."""
        self._stop.set()
        self._thread.join(120)

    def wait_for_round(self, since: float, timeout_s: float = 240) -> float:
        """Until a whole round of a write and reads that began after ``since`` has succeeded; when it
        ended."""
        deadline = time.monotonic() + timeout_s
        while True:
            began, ended = self._last_round
            if began >= since:
                return ended
            assert time.monotonic() < deadline, f"no query succeeds any more: {self.failures[-3:]}"
            time.sleep(0.02)

    def lost(self) -> list[int]:
        """Acknowledged writes that are not there exactly once."""
        with self.lab.trino("engineer") as session:
            rows = [int(row[0]) for row in session.run(f"SELECT n FROM {TABLE}").rows]  # noqa: S608 - a name of ours
        counts = {n: rows.count(n) for n in set(rows)}
        lost = [n for n in self.acknowledged if counts.get(n, 0) != 1]
        return lost + [n for n, count in counts.items() if count > 1]

    def forget(self) -> None:
        """Drops the table that was written to."""
        self.value(f"DROP TABLE IF EXISTS {TABLE}")

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._round()
                self._last_round = (began, time.monotonic())
            except LabError as error:
                self.failures.append(error.what)
                time.sleep(0.2)
            except Exception as error:
                self.unexpected.append(f"{type(error).__name__}: {error}")
                time.sleep(0.2)

    def _round(self) -> None:
        self._tried += 1
        self.value(f"INSERT INTO {TABLE} VALUES ({self._tried})")  # noqa: S608 - a number of ours
        self.acknowledged.append(self._tried)
        self._expect("SELECT count(*) FROM lake.retail.nation", "engineer", 25)
        self._expect("SELECT count(*) FROM lake.retail.customer", "analyst_emea", self._customers)

    def _expect(self, sql: str, persona: str, expected: object) -> None:
        found = self.value(sql, persona)
        if found != expected:
            self.wrong.append(f"{persona}: {sql} gave {found} instead of {expected}")
