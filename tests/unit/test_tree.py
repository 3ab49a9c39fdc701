"""What holds for every Python file of the checkout, beside what the linters hold."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
MAX_LINES = 450
LONGER: Mapping[str, str] = {"contracts/versions.py": "nothing but data"}
"""Files that may exceed the limit, and why: generated ones, or nothing but data."""

_EXEMPTION = re.compile(r"noqa|type:\s*ignore")
_FULL_EXEMPTION = re.compile(r"noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[a-z, -]+\]")


def python_files(folder: Path = CHECKOUT) -> Iterator[Path]:
    """Everything but hidden folders and what was installed; the ``lab`` script is Python too."""
    if folder == CHECKOUT:
        yield CHECKOUT / "lab"
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            installed = path.name == "node_modules" or (path / "pyvenv.cfg").exists()
            if not installed and not path.name.startswith("."):
                yield from python_files(path)
        elif path.suffix == ".py":
            yield path


def unexplained(comment: str) -> bool:
    """Whether a comment turns a check off without naming which one, or without at least two words of why."""
    if not _EXEMPTION.search(comment):
        return False
    rest = _FULL_EXEMPTION.sub("", comment)
    return bool(_EXEMPTION.search(rest)) or len(re.findall(r"[A-Za-z']{2,}", rest.replace("ruff:", ""))) < 2


def test_every_room_is_looked_at() -> None:
    rooms = {path.relative_to(CHECKOUT).parts[0] for path in python_files()}
    assert rooms >= {"lab", "bench", "cli", "components", "contracts", "governance", "placements"}
    assert rooms >= {"__main__.py", "ingestion", "plugins", "seed", "stacks", "tests"}


def test_files_are_short_enough_to_be_read() -> None:
    lines = {
        str(path.relative_to(CHECKOUT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files()
    }
    long = {name: count for name, count in lines.items() if count > MAX_LINES}
    assert long.keys() == LONGER.keys(), f"split by topic what has more than {MAX_LINES} lines: {long}"


def test_every_exemption_from_a_check_says_why() -> None:
    found = []
    for path in python_files():
        with path.open("rb") as file:
            found += [
                f"{path.relative_to(CHECKOUT)}:{token.start[0]}: {token.string}"
                for token in tokenize.tokenize(file.readline)
                if token.type == tokenize.COMMENT and unexplained(token.string)
            ]
    assert not found


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# noqa", True),
        ("# noqa: S101", True),
        ("# noqa - it was asked for", True),
        ("# type: ignore", True),
        ("# type: ignore[arg-type]", True),
        ("# type: ignore[arg-type]  # noqa: S101", True),
        ("# ruff: noqa: ARG005", True),
        ("# noqa: S101 - asked", True),
        ("# noqa: S101, S102 - it was asked for", False),
        ("# type: ignore[arg-type, misc]  # only text is given", False),
        ("# type: ignore[misc]  # noqa: S101  # a generated name", False),
        ("# ruff: noqa: ARG005 (all are called alike)", False),
        ("# an ordinary comment", False),
    ],
)
def test_an_exemption_needs_its_check_and_words(comment: str, expected: bool) -> None:
    assert unexplained(comment) is expected
