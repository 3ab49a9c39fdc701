"""docs/faults.md names tests that exist, for each fault at least one, and no live fault test is missing."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/\S+?\.py)::(\w+)`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.startswith("| fault ")]


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_test_of_a_fault_exists(file: str, name: str) -> None:
    assert name in functions(file)


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_every_fault_has_what_is_seen_and_a_test(row: str) -> None:
    _, fault, seen, tests, _ = row.split("|")
    assert fault.strip()
    assert seen.strip()
    assert "::test_" in tests


def test_every_fault_that_a_live_test_does_is_in_the_table() -> None:
    faults = {
        name
        for name in functions("tests/live/test_faults.py")
        if re.match(r"test_.*(killed|reboot|stopped|supervisor|same_time|ended|taken)", name)
    }
    assert len(faults) > 6
    assert not {name for name in faults if ("tests/live/test_faults.py", name) not in NAMED}
