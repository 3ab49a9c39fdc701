"""Faults and bad input: a clear error, nothing lost, and the same command works afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import ROOT, LiveLab
from tests.live.test_lifecycle import fingerprint, pids, wait_ready

pytestmark = pytest.mark.live


def _lines_until(process: subprocess.Popen[str], mark: str) -> list[str]:
    """Reads standard error up to a line that contains ``mark``."""
    seen: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        seen.append(line)
        if mark in line:
            return seen
    raise AssertionError(f"{mark!r} never came:\n{''.join(seen)}")


@pytest.mark.parametrize("mark", ["lab stack:", "opa"], ids=["as-the-stack-starts", "as-services-start"])
def test_an_interrupted_up_continues(lab: LiveLab, mark: str) -> None:
    before = fingerprint(lab)
    lab.ok("down")
    process = subprocess.Popen(
        [str(ROOT / "lab"), "up"],
        env=dict(lab.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    _lines_until(process, mark)
    os.killpg(process.pid, signal.SIGINT)
    _, rest = process.communicate(timeout=300)
    assert process.returncode == 1, rest
    assert "continues" in rest
    assert not list((lab.home / "state" / ".pulumi" / "locks").rglob("*.json"))
    lab.ok("up")
    assert fingerprint(lab) == before


def test_services_outlive_their_supervisor(lab: LiveLab) -> None:
    psutil = pytest.importorskip("psutil")
    before = pids(lab)
    supervisor = psutil.Process(before["opa"]).parent()
    assert "supervisor" in " ".join(supervisor.cmdline())
    supervisor.kill()
    supervisor.wait(20)
    assert lab.value("SELECT count(*) FROM lake.retail.nation", "engineer") == 25
    lab.ok("up")
    assert pids(lab) == before
    for name in before:
        wait_ready(lab, name)


def test_a_second_up_at_the_same_time_is_told_who_runs(lab: LiveLab) -> None:
    commands = [
        subprocess.Popen(
            [str(ROOT / "lab"), "up"],
            env=dict(lab.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [command.communicate(timeout=600)[0] for command in commands]
    codes = [command.returncode for command in commands]
    assert 0 in codes, outputs
    for code, output in zip(codes, outputs, strict=True):
        if code != 0:
            assert "process" in output or "another" in output, output
    lab.ok("up")


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
    assert "raw.sales_bad" not in lab.ok("sql", "SHOW TABLES FROM lake.raw", "--as", "engineer", "--csv")


def test_a_loaded_table_is_its_loaders_groups(lab: LiveLab) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.jsonl"
        path.write_text('{"id": 1, "name": "a"}\n{"id": 2, "name": "b"}\n', encoding="utf-8")
        answer: Any = lab.json("load", str(path), "--table", "raw.people_new", "--as", "engineer", "--yes")
    assert answer["rows"] == 2
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if lab.run("sql", "TABLE lake.raw.people_new", "--as", "engineer").returncode == 0:
            break
        time.sleep(1)
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
