"""docs/security.md names tests that exist, for each claim at least one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/\S+?\.py)::(\w+)`", TEXT)))
CLAIMS = [
    line
    for section in TEXT.split("| claim | held by |\n|---|---|\n")[1:]
    for line in section.partition("\n\n")[0].splitlines()
]


@cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_test_of_a_claim_exists(file: str, name: str) -> None:
    assert name in functions(file)


def test_every_claim_has_a_test() -> None:
    assert len(CLAIMS) > 30
    assert [claim for claim in CLAIMS if "::test_" not in claim.split("|")[2]] == []


def test_every_section_with_claims_says_what_is_not_held() -> None:
    sections = [part for part in TEXT.split("\n## ") if "| claim | held by |" in part]
    assert len(sections) > 4
    assert [part.splitlines()[0] for part in sections if "\nNot held: " not in part] == []
