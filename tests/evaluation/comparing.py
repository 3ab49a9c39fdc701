"""Reads the questions, and says whether an answer's rows are those of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

QUESTIONS = Path(__file__).with_name("questions.yaml")
_DIGITS = 9


@dataclass(frozen=True, kw_only=True)
class Question:
    """One entry of the file; see there."""

    question: str
    users: tuple[str, ...]
    sql: str = ""
    denied: tuple[str, ...] = ()
    same: bool = False
    answers: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    ordered: bool = False
    declines: str = ""


def questions() -> tuple[Question, ...]:
    """All of them."""
    document = yaml.safe_load(QUESTIONS.read_text(encoding="utf-8"))
    lists = ("users", "denied", "answers", "after")
    return tuple(
        Question(**{**entry, **{key: tuple(entry.get(key, ())) for key in lists}})
        for entry in document["questions"]
    )


def comparable(rows: Sequence[Sequence[Any]], *, ordered: bool) -> list[tuple[Any, ...]]:
    """Rows in a form in which equal answers are equal: numbers to nine digits, times as dates."""
    found = [tuple(_comparable(value) for value in row) for row in rows]
    return found if ordered else sorted(found, key=repr)


def _comparable(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    try:
        return float(f"{float(value):.{_DIGITS}g}")
    except (TypeError, ValueError):
        return str(value).removesuffix(" 00:00:00").removesuffix("T00:00:00").removesuffix("+00:00")


def differ(by_user: Mapping[str, list[tuple[Any, ...]]]) -> bool:
    """Whether at least two users have different rows."""
    return len({repr(rows) for rows in by_user.values()}) > 1
