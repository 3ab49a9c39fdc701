"""Every fault of docs/faults.md, many times over, on a lab of its own while queries run.

    ./lab test --help            # makes the development environment
    python -m bench.faults --rounds 20

The lab is made under a strict umask and without a locale; as root also on a small disk of its own, with
little room for temporary files, and in a control group of 4 GiB where the system lets one be made. Then, one
part after the other (``--only`` picks some): each service is killed in turn while queries run; the
supervisor, the command, the engine and the dynamic provider are killed, or the command is interrupted, at
random moments of ``up`` and ``down``; all processes are killed at once, as by a reboot, and their pids given
to others; PostgreSQL is killed during loads and seeds; the disk is filled. After each fault the same command
is given again until the lab is up, and every fingerprint must be the one before.

Prints a table: the fault, how often, the median and the longest recovery in seconds, how many runs of the
command it took, and what was lost: rows that were acknowledged and are not there, answers that were wrong,
failures without an explanation. Ends with 1 when anything was.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.surroundings import limited_memory, small_home
from tests.live.conftest import SCALE_FACTOR, LiveLab, small_disk
from tests.live.injection import (
    ENGINE,
    PROVIDER,
    SERVICES,
    Queries,
    engine_processes,
    kill_service,
    kill_supervisor,
    rebooted,
    wait_for_return,
    wait_until_ready,
)

ATTEMPTS = 6
ROWS = 200_000


@dataclass
class Tally:
    """What one kind of fault came to. ``lost`` and ``unexplained`` are sentences."""

    fault: str
    seconds: list[float] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)

    def row(self) -> str:
        """A line of the table."""
        median = f"{statistics.median(self.seconds):7.1f}" if self.seconds else "      -"
        longest = f"{max(self.seconds):7.1f}" if self.seconds else "      -"
        runs = f"{max(self.runs)}" if self.runs else "-"
        bad = len(self.lost) + len(self.unexplained)
        return f"{self.fault:46}{len(self.seconds):5}{median}{longest}{runs:>6}{bad:>6}"


HEADER = f"{'fault':46}{'times':>5}{'median':>7}{'longest':>7}{'runs':>6}{'lost':>6}"


class GaveUpError(Exception):
    """The lab did not come back; a tally says of what."""


class Trial:
    """One lab, and the faults done to it."""

    def __init__(self, lab: LiveLab, rounds: int, chance: random.Random) -> None:
        self.lab, self.rounds, self.chance = lab, rounds, chance
        self.tallies: list[Tally] = []
        self.up_s = self.down_s = 30.0

    def tally(self, fault: str) -> Tally:
        """A new line of the table."""
        self.tallies.append(Tally(fault))
        return self.tallies[-1]

    def fingerprint(self) -> Any:
        """What makes it the same lab."""
        return self.lab.json("fingerprint")

    def until(self, command: str, tally: Tally) -> None:
        """The same command again until it succeeds; notes how often and how long."""
        began = time.monotonic()
        for run in range(1, ATTEMPTS + 1):
            result = self.lab.run(command, timeout_s=1200)
            if result.returncode == 0:
                tally.seconds.append(time.monotonic() - began)
                tally.runs.append(run)
                return
            self.explained(result.stdout + result.stderr, tally)
            time.sleep(1)
        tally.lost.append(f"lab {command} did not succeed in {ATTEMPTS} runs:\n{result.stderr}")
        raise GaveUpError

    @staticmethod
    def explained(said: str, tally: Tally) -> None:
        """A failure must say what to do next, in words."""
        if "next:" not in said or "Traceback" in said or "unexpected error" in said:
            tally.unexplained.append(said[-2000:])

    @contextlib.contextmanager
    def unchanged(self, tally: Tally) -> Iterator[None]:
        """The fingerprint before is the one afterwards."""
        before = self.fingerprint()
        yield
        after = self.fingerprint()
        changed = [key for key in before if before[key] != after[key]]
        if changed:
            tally.lost.append(f"fingerprint: {', '.join(changed)}")

    # The parts

    def services(self) -> None:
        """Each service in turn, while queries run."""
        tallies = {name: self.tally(f"kill -9 of {name}, queries running") for name in SERVICES}
        together = self.tally("queries meanwhile")
        with self.unchanged(together):
            queries = Queries(self.lab)
            with queries:
                for number in range(self.rounds):
                    for name, tally in tallies.items():
                        began = time.monotonic()
                        wait_for_return(self.lab, name, kill_service(self.lab, name))
                        tally.seconds.append(queries.wait_for_round(began) - began)
                    said = (
                        f"round {number + 1}/{self.rounds}: {len(queries.acknowledged)} writes acknowledged"
                    )
                    print(f"{said}, {len(queries.failures)} queries failed", flush=True)
            together.lost += [f"row {n}" for n in queries.lost()] + queries.wrong
            together.unexplained += queries.unexpected
            queries.forget()
            wait_until_ready(self.lab)

    def supervisors(self) -> None:
        """The supervisor, and one service that nobody starts again meanwhile."""
        tally = self.tally("kill -9 of the supervisor")
        with self.unchanged(tally):
            for _ in range(self.rounds):
                kill_supervisor(self.lab)
                kill_service(self.lab, self.chance.choice(SERVICES))
                self.until("up", tally)

    def kill(self, what: str, victim: Callable[[subprocess.Popen[str]], None]) -> None:
        """``victim`` at a random moment of ``up`` and of ``down``."""
        for command in ("up", "down"):
            tally = self.tally(f"{what} during {command}")
            with self.unchanged(tally):
                for _ in range(self.rounds):
                    if command == "up":
                        self.lab.ok("down")
                    running = self.lab.start(command)
                    moment_s = self.chance.uniform(0.0, self.up_s if command == "up" else self.down_s)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        running.wait(moment_s)
                    victim(running)
                    said, _ = running.communicate(timeout=600)
                    if running.returncode > 0:
                        self.explained(said, tally)
                    self.until(command, tally)
                    if command == "down":
                        self.lab.ok("up")

    def commands(self) -> None:
        """The command itself, killed and interrupted."""
        self.kill("kill -9 of the command", lambda running: running.kill())
        self.kill("SIGTERM", lambda running: running.terminate())
        self.kill("Ctrl-C", lambda running: os.killpg(running.pid, signal.SIGINT))

    def engines(self) -> None:
        """The engine and the dynamic provider."""
        self.kill("kill -9 of the engine", lambda _: self.slay(ENGINE))
        self.kill("kill -9 of the dynamic provider", lambda _: self.slay(PROVIDER))

    def slay(self, program: str) -> None:
        """Kills this lab's processes of ``program``, if there are any now."""
        for process in engine_processes(self.lab, program):
            with contextlib.suppress(Exception):
                process.kill()

    def reboots(self) -> None:
        """Everything gone at once, pids given to others."""
        tally = self.tally("reboot: all processes gone, pids reused")
        with self.unchanged(tally):
            for _ in range(self.rounds):
                with rebooted(self.lab):
                    self.until("up", tally)

    def half_made(self) -> None:
        """A service's specification, the engine's state and the outputs cut short; mended by doctor."""
        tally = self.tally("files cut short, lab doctor --fix")
        with self.unchanged(tally):
            for _ in range(self.rounds):
                kill_supervisor(self.lab)
                state = self.lab.home / "state" / ".pulumi" / "stacks" / "lakehouse-lab" / "lab.json"
                for path in (state, self.lab.home / "run" / "services" / "opa" / "spec.json"):
                    path.write_bytes(path.read_bytes()[:100])
                began = time.monotonic()
                result = self.lab.run("doctor", "--fix", timeout_s=1200)
                if result.returncode != 0:
                    self.explained(result.stdout + result.stderr, tally)
                wait_until_ready(self.lab)
                tally.seconds.append(time.monotonic() - began)

    def loads(self) -> None:
        """PostgreSQL killed during loads: all rows or none, and the command says which."""
        tally = self.tally("kill -9 of postgres during lab load")
        path = self.lab.home / "many.csv"
        path.write_text("id,amount\n" + "".join(f"{i},{i}.5\n" for i in range(ROWS)), encoding="utf-8")
        load = ("load", str(path), "--table", "raw.killed", "--as", "engineer", "--yes")
        queries = Queries(self.lab)
        with self.unchanged(tally):
            for _ in range(self.rounds):
                running = self.lab.start(*load)
                time.sleep(self.chance.uniform(0.5, 8.0))
                began = time.monotonic()
                wait_for_return(self.lab, "postgres", kill_service(self.lab, "postgres"))
                said, _ = running.communicate(timeout=600)
                wait_until_ready(self.lab)
                tally.seconds.append(time.monotonic() - began)
                there = self.eventually(lambda: queries.value("SHOW TABLES FROM lake.raw LIKE 'killed'"))
                if running.returncode != 0:
                    self.explained(said, tally)
                if (running.returncode == 0) is not bool(there):
                    tally.lost.append(f"the command ended with {running.returncode}, the table: {there}")
                if there:
                    count = self.eventually(lambda: queries.value("SELECT count(*) FROM lake.raw.killed"))
                    if count != ROWS:
                        tally.lost.append(f"{count} rows of {ROWS}")
                    self.eventually(lambda: queries.value("DROP TABLE lake.raw.killed"))
        path.unlink()

    @staticmethod
    def eventually(ask: Callable[[], Any]) -> Any:
        """The answer, once the rules for a new table and all services are there."""
        for _ in range(60):
            try:
                return ask()
            except Exception as error:  # what comes in the end counts
                last = error
                time.sleep(1)
        raise GaveUpError(f"no answer in a minute: {last}")

    def seeds(self) -> None:
        """PostgreSQL killed while sample tables are loaded anew."""
        tally = self.tally("kill -9 of postgres during lab seed")
        queries = Queries(self.lab)
        for _ in range(self.rounds):
            running = self.lab.start("seed", "--reset", "retail.orders")
            time.sleep(self.chance.uniform(0.5, 6.0))
            wait_for_return(self.lab, "postgres", kill_service(self.lab, "postgres"))
            said, _ = running.communicate(timeout=600)
            if running.returncode != 0:
                self.explained(said, tally)
            wait_until_ready(self.lab)
            self.until("seed", tally)
            count = self.eventually(lambda: queries.value("SELECT count(*) FROM lake.retail.orders"))
            if count != 15_000:
                tally.lost.append(f"retail.orders has {count} rows")

    def full_disk(self) -> None:
        """The lab's disk filled while it runs, and freed; only one of its own."""
        if not self.lab.home.parent.is_mount():
            print("left out: the lab has no disk of its own, and nobody else's is filled")
            return
        tally = self.tally("disk full, then freed")
        with self.unchanged(tally):
            for _ in range(max(1, self.rounds // 5)):
                ballast = self.lab.home.parent / "ballast"
                free = shutil.disk_usage(self.lab.home).free
                subprocess.run(["fallocate", "-l", str(free - 4096), str(ballast)], check=False)
                with contextlib.suppress(OSError), ballast.open("ab") as file:
                    while True:
                        file.write(b"\0" * 4096)
                        file.flush()
                result = self.lab.run(
                    "sql",
                    "CREATE TABLE lake.raw.full AS SELECT * FROM lake.retail.orders",
                    "--as",
                    "engineer",
                )
                if result.returncode == 0:
                    tally.lost.append("a table was made on a full disk")
                found = self.lab.run("doctor")
                if "MiB are free" not in found.stdout:
                    tally.unexplained.append(found.stdout)
                time.sleep(20)
                ballast.unlink()
                began = time.monotonic()
                wait_until_ready(self.lab)
                self.until("up", tally)
                tally.seconds[-1] = time.monotonic() - began

    def at_once(self) -> None:
        """Two commands at the same time: one works, the other is told so."""
        tally = self.tally("a second up at the same time")
        with self.unchanged(tally):
            for _ in range(self.rounds):
                began = time.monotonic()
                both = [self.lab.start("up") for _ in range(2)]
                said = [one.communicate(timeout=900)[0] for one in both]
                tally.seconds.append(time.monotonic() - began)
                codes = [one.returncode for one in both]
                if 0 not in codes:
                    tally.lost.append(f"neither came up: {codes}")
                for code, text in zip(codes, said, strict=True):
                    if code != 0:
                        self.explained(text, tally)


PARTS: dict[str, Callable[[Trial], None]] = {
    "services": Trial.services,
    "supervisor": Trial.supervisors,
    "command": Trial.commands,
    "engine": Trial.engines,
    "reboot": Trial.reboots,
    "half-made": Trial.half_made,
    "load": Trial.loads,
    "seed": Trial.seeds,
    "full-disk": Trial.full_disk,
    "at-once": Trial.at_once,
}


def main() -> int:
    """Runs the parts and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20, help="how often each fault is done")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"random moments by --seed {arguments.seed}", flush=True)
    for ending in (signal.SIGINT, signal.SIGTERM):
        # In the background of a shell Ctrl-C is ignored otherwise; the lab and its disk are to go either way.
        signal.signal(ending, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(small_home(size_mib=3072))
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
        environment |= {"LAB_HOME": str(folder), "LANG": "C", "LC_ALL": "C"}
        temporary = stack.enter_context(small_disk(32))
        if temporary is not None:
            environment["TMPDIR"] = str(temporary)
        stack.enter_context(limited_memory(4096))
        lab = LiveLab(environment=environment, home=folder / "lab")
        stack.callback(lab.run, "destroy", "--yes", timeout_s=300)
        trial = Trial(lab, arguments.rounds, random.Random(arguments.seed))  # noqa: S311 - moments, no secrets
        began = time.monotonic()
        lab.ok("up", "--set", f"scaleFactor={SCALE_FACTOR}", timeout_s=3000)
        print(f"up on empty data after {time.monotonic() - began:.0f} s", flush=True)
        measure(trial)
        run_parts(trial, arguments.only)
    return report(trial.tallies)


def run_parts(trial: Trial, names: Sequence[str]) -> None:
    """One part after the other; each one's rows are printed when it ends, since all of them take hours. Ends
    with what was found so far when a lab does not come back, and at Ctrl-C or SIGTERM."""
    for name in names:
        print(f"--- {name}", flush=True)
        before = len(trial.tallies)
        try:
            PARTS[name](trial)
        except (GaveUpError, AssertionError) as error:
            trial.tallies[-1].lost.append(f"given up: {error}")
            return
        except KeyboardInterrupt:
            print(f"{name} was ended before its time", flush=True)
            return
        finally:
            for tally in trial.tallies[before:]:
                print(tally.row(), flush=True)


def measure(trial: Trial) -> None:
    """How long ``up`` and ``down`` take here, for the moments to be chosen from."""
    began = time.monotonic()
    trial.lab.ok("down")
    trial.down_s = time.monotonic() - began
    began = time.monotonic()
    trial.lab.ok("up")
    trial.up_s = time.monotonic() - began
    print(f"down takes {trial.down_s:.0f} s, up {trial.up_s:.0f} s", flush=True)


def report(tallies: list[Tally]) -> int:
    """Prints the table and everything that was lost; 1 when anything was."""
    print(f"\n{HEADER}")
    for tally in tallies:
        print(tally.row())
    bad = [(tally.fault, text) for tally in tallies for text in [*tally.lost, *tally.unexplained]]
    for fault, text in bad:
        print(f"\n{fault}:\n{text}")
    print(f"\nlost = {len(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
