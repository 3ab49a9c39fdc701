"""Faults and bad input: a clear error, nothing lost, and the same command works afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from governance.query import QueryError
from tests.live.conftest import LiveLab
from tests.live.injection import (
    ENGINE,
    PROVIDER,
    SERVICES,
    Queries,
    engine_processes,
    kill_processes,
    kill_service,
    kill_supervisor,
    rebooted,
    wait_for_return,
    wait_until_ready,
)
from tests.live.test_lifecycle import pids, wait_ready

pytestmark = pytest.mark.live


def _until_up(lab: LiveLab, attempts: int = 4) -> None:
    """The same command again until it succeeds; each failure is a sentence with what to do next."""
    for _ in range(attempts):
        result = lab.run("up", timeout_s=900)
        if result.returncode == 0:
            return
        _is_explained(result.stdout + result.stderr)
        time.sleep(2)
    raise AssertionError(f"not up after {attempts} attempts: {result.stdout}{result.stderr}")


def _is_explained(said: str) -> None:
    assert "Traceback" not in said, said
    assert "unexpected error" not in said, said
    assert "next:" in said, said


def _ended(command: subprocess.Popen[str]) -> str:
    """What a command said that was to end early, by itself and explained."""
    said, _ = command.communicate(timeout=300)
    if command.returncode != 0:
        assert command.returncode == 1, f"{command.returncode}: {said}"
        _is_explained(said)
    return said


def _wait_until_readable(lab: LiveLab, table: str) -> None:
    """Until the rules that give a new table to its loader's group are in force."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(QueryError):
            lab.rows(f"TABLE lake.{table} LIMIT 1", "engineer")
            return
        time.sleep(0.2)


def _engine_runs(
    lab: LiveLab, command: subprocess.Popen[str], operation: str = "", *, program: str = ENGINE
) -> None:
    deadline = time.monotonic() + 120
    while not engine_processes(lab, program, operation):
        assert command.poll() is None, command.communicate()[0]
        assert time.monotonic() < deadline, f"{program} never ran"
        time.sleep(0.05)


def _is_at_work(lab: LiveLab, command: subprocess.Popen[str]) -> None:
    """Until a command has begun to change the lab. Before, while Python starts, it ends without a word."""
    deadline = time.monotonic() + 60
    while not _holds_the_lab(lab, command):
        assert command.poll() is None, command.communicate()[0]
        assert time.monotonic() < deadline, "the command never began"
        time.sleep(0.05)


def _holds_the_lab(lab: LiveLab, command: subprocess.Popen[str]) -> bool:
    with contextlib.suppress(OSError, ValueError):
        holder = json.loads((lab.home / "command.lock").read_text(encoding="utf-8"))["pid"]
        return os.getsid(holder) == command.pid
    return False


def test_down_and_up_can_be_ended_at_any_moment_and_continue(lab: LiveLab) -> None:
    """One lab's way down and up again through every end that a command can find."""
    before = lab.fingerprint()

    down = lab.start("down")
    _engine_runs(lab, down, "destroy")
    down.send_signal(signal.SIGTERM)
    said = _ended(down)
    assert down.returncode == 0 or "lab down" in said
    lab.ok("down")

    up = lab.start("up")
    _is_at_work(lab, up)
    up.send_signal(signal.SIGINT)
    said = _ended(up)
    assert "interrupted" in said or "continues" in said

    up = lab.start("up")
    _engine_runs(lab, up, program=PROVIDER)
    up.kill()
    up.communicate(timeout=60)

    up = lab.start("up")
    killed = kill_processes(lab, PROVIDER, 120, up)
    said = _ended(up)
    assert killed
    assert up.returncode == 0 or "in the middle" in said or "another run" in said, said

    up = lab.start("up")
    _engine_runs(lab, up, "up")
    time.sleep(3)
    up.send_signal(signal.SIGTERM)
    _ended(up)

    _until_up(lab)
    assert not list((lab.home / "state" / ".pulumi" / "locks").rglob("*.json"))
    assert lab.fingerprint() == before


def test_services_outlive_their_supervisor_and_doctor_starts_it_again(lab: LiveLab) -> None:
    before = pids(lab)
    kill_supervisor(lab)
    assert lab.value("SELECT count(*) FROM lake.retail.nation", "engineer") == 25
    found = lab.run("doctor")
    assert found.returncode == 1
    assert "the supervisor was killed" in found.stdout
    lab.ok("doctor", "--fix")
    assert pids(lab) == before
    lab.ok("doctor")


def test_doctor_starts_a_stopped_service(lab: LiveLab) -> None:
    lab.supervisor.stop(["trino", "opa"])
    found = lab.run("doctor")
    assert found.returncode == 1
    assert "service trino" in found.stdout
    lab.ok("doctor", "--fix")
    for name in ("trino", "opa"):
        wait_ready(lab, name)
    assert lab.value("SELECT count(*) FROM lake.retail.nation", "engineer") == 25


def test_after_a_reboot_doctor_brings_everything_back_though_pids_belong_to_others(lab: LiveLab) -> None:
    before = lab.fingerprint()
    with rebooted(lab):
        states = {service["state"] for service in lab.json("status")["services"]}
        assert states == {"stopped"}
        found = lab.run("doctor")
        assert found.returncode == 1
        assert "the machine restarted" in found.stdout
        lab.ok("doctor", "--fix")
        assert {service["state"] for service in lab.json("status")["services"]} == {"ready"}
    assert lab.fingerprint() == before


def test_a_second_up_at_the_same_time_is_told_which_one_runs(lab: LiveLab) -> None:
    first = lab.start("up")
    _engine_runs(lab, first, "up")
    second = lab.run("up")
    assert second.returncode == 1, second.stdout + second.stderr
    assert f"lab up, process {first.pid}" in second.stderr
    said, _ = first.communicate(timeout=600)
    assert first.returncode == 0, said


def _raw_tables(lab: LiveLab) -> list[str]:
    return lab.ok("sql", "SHOW TABLES FROM lake.raw", "--as", "engineer", "--csv").split()


def test_postgresql_killed_during_a_load_loses_nothing(lab: LiveLab) -> None:
    """All rows are in the table or none is, and the command says which."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "many.csv"
        path.write_text("id,amount\n" + "".join(f"{i},{i}.5\n" for i in range(200_000)), encoding="utf-8")
        path.chmod(0o644)
        load = lab.start("load", str(path), "--table", "raw.killed", "--as", "engineer", "--yes")
        time.sleep(4)
        old = kill_service(lab, "postgres")
        said = _ended(load)
        wait_for_return(lab, "postgres", old)
        wait_until_ready(lab)
        if load.returncode != 0:
            assert "killed" not in _raw_tables(lab), said
            lab.ok("load", str(path), "--table", "raw.killed", "--as", "engineer", "--yes")
    _wait_until_readable(lab, "raw.killed")
    assert lab.value("SELECT count(*) FROM lake.raw.killed", "engineer") == 200_000
    lab.ok("sql", "DROP TABLE lake.raw.killed", "--as", "engineer")


def test_postgresql_killed_during_seeding_loses_nothing(lab: LiveLab) -> None:
    seed = lab.start("seed", "--reset", "retail.orders")
    time.sleep(3)
    old = kill_service(lab, "postgres")
    _ended(seed)
    wait_for_return(lab, "postgres", old)
    wait_until_ready(lab)
    assert lab.value("SELECT count(*) FROM lake.retail.orders", "engineer") == 15_000
    lab.ok("seed")
    assert lab.value("SELECT count(*) FROM lake.retail.orders", "engineer") == 15_000


def test_queries_go_on_when_services_are_killed(lab: LiveLab) -> None:
    """Acknowledged writes stay, answers stay right, failures are sentences; the long form does it twenty
    times: python -m bench.faults."""
    queries = Queries(lab)
    queries.forget()
    before = lab.fingerprint()
    with queries:
        for name in SERVICES:
            began = time.monotonic()
            old = kill_service(lab, name)
            wait_for_return(lab, name, old)
            queries.wait_for_round(began)
    assert queries.lost() == []
    assert queries.wrong == []
    assert queries.unexpected == []
    assert len(queries.acknowledged) >= len(SERVICES)
    queries.forget()
    wait_until_ready(lab)
    assert lab.fingerprint() == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("up", "trinoo"), 2, "did you mean 'trino'"),
        (("upp",), 2, "up"),
        (("up", "--set", "scalefactor=1"), 2, "did you mean 'scaleFactor'"),
        (("up", "--set", "trinoHeapMib=12"), 2, "640 to 262144"),
        (("sql", "SELECT 1", "--as", "enginer"), 2, "engineer"),
        (("logs", "trin"), 2, "trino"),
        (("seed", "retail.natoin"), 2, "retail.nation"),
        (("--name", "Not A Name", "status"), 2, "lower-case"),
        (("--name", "nowhere", "down"), 1, "no lab named 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_bad_input_names_what_is_permitted(
    lab: LiveLab, arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = lab.run(*arguments)
    assert result.returncode == code, result.stdout + result.stderr
    assert said in result.stdout + result.stderr


def test_a_taken_port_is_named_with_its_owner_and_nothing_starts(lab: LiveLab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = lab.run("--name", "other", "up", "--set", f"portBase={port}")
    try:
        assert result.returncode == 3, result.stdout + result.stderr
        assert f"{port} (postgres)" in result.stderr
        assert str(os.getpid()) in result.stderr
        assert not (lab.home.parent / "other").exists()
    finally:
        lab.run("--name", "other", "destroy", "--yes")


def test_a_bad_row_is_named_and_nothing_is_committed(lab: LiveLab) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sales.csv"
        rows = "".join(f"{i},{i}.5\n" for i in range(60_000))
        path.write_text("id,amount\n" + rows + "x,1\n", encoding="utf-8")
        result = lab.run("load", str(path), "--table", "raw.sales_bad", "--as", "engineer", "--yes")
    said = result.stdout + result.stderr
    assert result.returncode == 1, said
    assert "sales.csv" in said
    assert "60002" in said
    assert "sales_bad" not in _raw_tables(lab)


def test_a_loaded_table_is_its_loaders_groups(lab: LiveLab) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.jsonl"
        path.write_text('{"id": 1, "name": "a"}\n{"id": 2, "name": "b"}\n', encoding="utf-8")
        answer: Any = lab.json("load", str(path), "--table", "raw.people_new", "--as", "engineer", "--yes")
    assert answer["rows"] == 2
    _wait_until_readable(lab, "raw.people_new")
    assert lab.value("SELECT count(*) FROM lake.raw.people_new", "engineer") == 2
    for persona in ("analyst_emea", "steward", "auditor", "hr"):
        assert lab.run("sql", "TABLE lake.raw.people_new", "--as", persona).returncode == 1
    lab.ok("sql", "DROP TABLE lake.raw.people_new", "--as", "engineer")


def test_doctor_is_content_with_a_healthy_lab(lab: LiveLab) -> None:
    lab.ok("doctor")
    assert lab.run("doctor", "--fix").returncode == 0


def test_who_may_not_write_is_refused_in_words(lab: LiveLab) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.csv"
        path.write_text("id\n1\n", encoding="utf-8")
        result = lab.run("load", str(path), "--table", "raw.mine", "--as", "analyst_emea", "--yes")
    assert result.returncode == 1
    assert "refused" in result.stdout + result.stderr
    assert "unexpected" not in result.stdout + result.stderr
