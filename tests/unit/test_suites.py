"""The rules that hold for every suite, and that no lab outlives a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live import leftovers
from tests.unit.supervisor_lab import Lab, eventually

ROOT = Path(__file__).resolve().parents[2]
SUITE = """
import warnings
import pytest

@pytest.mark.skip("needs root; this is an ordinary user")
def test_expected(): ...

def test_passes(): ...
"""
UNEXPECTED = '\n@pytest.mark.skip("nobody said so")\ndef test_skipped(): ...\n'
WARNING = "\ndef test_warns(): warnings.warn('something is old', DeprecationWarning)\n"


def run_suite(folder: Path, more: str, *arguments: str, ci: str = "true") -> subprocess.CompletedProcess[str]:
    """pytest on a small suite of two files, under the project's rules."""
    for name in ("test_one.py", "test_two.py"):
        (folder / name).write_text(SUITE + (more if name == "test_two.py" else ""))
    rules = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p", "tests.conftest")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *rules, "-p", "no:cacheprovider", *arguments, str(folder)],
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


ONE_PROCESS: tuple[str, ...] = ()
SIDE_BY_SIDE = ("-n2", "--dist=loadfile")


@pytest.mark.parametrize(
    ("arguments", "more", "ci", "code", "closing"),
    [
        (SIDE_BY_SIDE, "", "true", 0, r"=+ 2 passed, 2 skipped in \S+s =+"),
        (ONE_PROCESS, UNEXPECTED, "true", 1, r"=+ 2 passed, 3 skipped in \S+s =+"),
        (SIDE_BY_SIDE, UNEXPECTED, "true", 1, r"=+ 2 passed, 3 skipped in \S+s =+"),
        (ONE_PROCESS, UNEXPECTED, "", 0, r"=+ 2 passed, 3 skipped in \S+s =+"),
        (SIDE_BY_SIDE, WARNING, "true", 1, r"=+ 1 failed, 2 passed, 2 skipped in \S+s =+"),
    ],
    ids=["expected skips", "unexpected skip", "unexpected skip side by side", "elsewhere", "warning"],
)
def test_a_run_shows_its_skips_and_ends_with_the_count(
    tmp_path: Path, arguments: tuple[str, ...], more: str, ci: str, code: int, closing: str
) -> None:
    done = run_suite(tmp_path, more, *arguments, ci=ci)
    assert done.returncode == code, done.stdout + done.stderr
    assert re.fullmatch(closing, done.stdout.splitlines()[-1]), done.stdout
    assert "needs root; this is an ordinary user" in done.stdout
    assert re.search(r"\d s  test_one\.py", done.stdout)
    unexpected = re.findall(r"UNEXPECTED SKIP (.*)", done.stdout)
    assert unexpected == (
        ["test_two.py::test_skipped: Skipped: nobody said so"] if more == UNEXPECTED else []
    )


def test_what_still_runs_of_a_lab_ends_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leftovers.VARIABLE, "")
    folder = leftovers.make_folder()
    assert os.environ[leftovers.VARIABLE] == str(folder)
    for name in ("orphaned", "running"):
        (folder / name).mkdir()
    orphaned, running = (Lab(folder / name) for name in ("orphaned", "running"))
    command = None
    try:
        for lab in (orphaned, running):
            lab.client.apply(lab.spec("one"))
        services = [lab.process("one") for lab in (orphaned, running)]
        orphaned.kill_supervisor()
        (folder / "cli.py").write_text("import time; time.sleep(600)")
        command = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli"],
            env={**os.environ, "LAB_HOME": str(folder / "running"), "PYTHONPATH": str(folder)},
        )
        eventually(lambda: command.poll() is None, "its start")

        leftovers.remove_folder(folder)

        assert not [service for service in services if service.alive]
        assert not running.client.running()
        assert command.poll() is not None
        assert not folder.exists()
    finally:
        if command is not None:
            command.kill()
            command.wait()
        for lab in (orphaned, running):
            lab.close()
