"""The guide "add a component": its blocks are executed, in order, on a copy of the checkout."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.live.conftest import ROOT, LiveLab, copy_checkout, lab_of_its_own, temporary_folder
from tests.live.test_guides import blocks
from tests.live.test_lifecycle import pids

pytestmark = [pytest.mark.live, pytest.mark.docs]

GUIDE = ROOT / "docs" / "guides" / "add-a-component.md"


@pytest.fixture
def lab() -> Iterator[LiveLab]:
    """A lab of the copy: its core alone."""
    with (
        temporary_folder() as folder,
        lab_of_its_own(folder / "labs", root=copy_checkout(folder / "checkout")) as live,
    ):
        yield live


def state_of(lab: LiveLab, name: str) -> str:
    return next(str(one["state"]) for one in lab.json("components") if one["name"] == name)


def test_its_steps_add_change_and_remove_one_service(lab: LiveLab) -> None:
    before, same = pids(lab), lab.fingerprint()
    ran = 0

    def run_until(mark: str) -> None:
        """The blocks up to the one that contains ``mark``."""
        nonlocal ran
        for block in list(blocks(GUIDE))[ran:]:
            result = lab.shell(block, timeout_s=900)
            assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"
            ran += 1
            if mark in block:
                return
        raise AssertionError(f"no block has {mark!r}")

    run_until("./lab up hello")
    first = pids(lab)
    assert set(first) == {*before, "hello"}
    assert state_of(lab, "hello") == "ready"
    assert "serving" in lab.ok("logs", "hello")

    # The row of the setting is code that the governor's folders hold too; nothing else was touched.
    assert {name for name in before if before[name] != first[name]} <= {"governor"}
    run_until("--set helloGreeting")
    second = pids(lab)
    assert {name for name in first if first[name] != second[name]} == {"hello"}
    run_until("to readers")
    third = pids(lab)
    assert {name for name in second if second[name] != third[name]} == {"hello"}

    run_until("--without hello")
    assert pids(lab) == {name: pid for name, pid in third.items() if name != "hello"}
    assert state_of(lab, "hello") == "down"
    assert lab.fingerprint() == same
    assert ran == len(list(blocks(GUIDE)))
    lint(lab)


def lint(lab: LiveLab) -> None:
    """What the guide writes passes the checks that every change must."""
    for command in (
        ("ruff", "check", "components", "contracts"),
        ("ruff", "format", "--check", "components", "contracts"),
        ("mypy", "components", "contracts"),
        ("pytest", "-q", "tests/unit/test_registry.py", "tests/unit/test_settings.py"),
    ):
        result = subprocess.run(
            [sys.executable, "-m", *command], cwd=lab.root, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
