"""What a setting is, and how its text becomes its value: parsers raise ValueError, which says what is
permitted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from cronsim import CronSim, CronSimError


class Role(StrEnum):
    """Which of the two stacks a program run is."""

    PERSISTENT = "persistent"
    LAB = "lab"


PLACEMENTS = ("local", "kubernetes", "aws")
"""Where workloads can run."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One config key. ``parse`` turns the text into its value or raises ValueError saying what is
    permitted. A ``secret`` one is refused unless it is kept encrypted, one that no other than its
    ``placements`` read is refused on those."""

    key: str
    roles: frozenset[Role]
    default: str
    example: str
    doc: str
    parse: Callable[[str], Any]
    secret: bool = False
    placements: tuple[str, ...] = PLACEMENTS

    @property
    def text(self) -> str:
        """What it does, after where it does."""
        return self.doc if self.placements == PLACEMENTS else f"{', '.join(self.placements)}: {self.doc}"


def choice(*values: str) -> Callable[[str], str]:
    """One of these texts."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return text

    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return parse


def interval(text: str) -> int:
    """Seconds from a minute to a day, or 0 for never."""
    if text != "0" and not (re.fullmatch(r"\d{1,6}", text) and 60 <= int(text) <= 86400):
        raise ValueError("0, or a whole number from 60 to 86400")
    return int(text)


def cron(text: str) -> str:
    """Five fields of a schedule, or nothing. A Kubernetes CronJob has no last days (``L``), no weekday of a
    certain week (``5#2``), and Sunday is 0
    (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax)."""
    try:
        if text and not re.fullmatch(
            f"{_CRON_FIELD} {_CRON_FIELD} {_CRON_FIELD} {_CRON_FIELD} {_WEEKDAYS}", text
        ):
            raise CronSimError
        if text:
            CronSim(text, datetime(2001, 1, 1, tzinfo=UTC))
    except CronSimError:
        raise ValueError(
            "minute, hour, day (1-31), month (1-12 or JAN-DEC) and weekday (0-6 or SUN-SAT) as a Kubernetes "
            "CronJob has them: numbers, *, ranges (1-5), lists (1,15) and steps (*/15), such as 17 2 * * *; "
            "or nothing"
        ) from None
    return text


def _cron_field(value: str) -> str:
    term = rf"(?:\*|{value}(?:-{value})?)(?:/\d+)?"
    return f"{term}(?:,{term})*"


_CRON_FIELD, _WEEKDAYS = _cron_field(r"(?:\d+|[A-Za-z]{3})"), _cron_field("(?:[0-6]|[A-Za-z]{3})")


def decimal(low: float, high: float) -> Callable[[str], float]:
    """A number from ``low`` to ``high``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"a number from {low} to {high}")
        return value

    return parse


def matching(pattern: str, meaning: str) -> Callable[[str], str]:
    """A text that a pattern matches as a whole; ``meaning`` says which do."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(meaning)
        return text

    return parse


def names(text: str) -> tuple[str, ...]:
    """Names, separated by commas."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError("lower-case names, separated by commas")
    return names


# A lab's realm has its name, and Keycloak's own realm is named master.
LAB_NAME_PATTERN = r"(?!master$)[a-z][a-z0-9-]{0,19}"
LAB_NAME_RULE = "1 to 20 lower-case letters, digits and hyphens, a letter first; not master"


def lab_names(text: str) -> tuple[str, ...]:
    """Names of labs, separated by commas, each once."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if len(set(found)) != len(found) or not all(re.fullmatch(LAB_NAME_PATTERN, name) for name in found):
        raise ValueError(f"names of labs, separated by commas, each once: {LAB_NAME_RULE}")
    return found


def listed(text: str) -> tuple[str, ...]:
    """Texts without blanks, separated by commas."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in found:
        if any(character.isspace() for character in part):
            raise ValueError("texts without blanks, separated by commas")
    return found


def folder(text: str) -> str:
    """An absolute path, or nothing."""
    if text and not text.startswith(("/", "~/")):
        raise ValueError("an absolute path, or nothing")
    return text


def text_mapping(text: str) -> dict[str, str]:
    """A JSON object of texts."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError("a JSON object whose values are texts")
    return found


def misplaced(settings: Iterable[Setting], config: Mapping[str, str]) -> Setting | None:
    """The first of the settings that the config's placement does not read, though its value is not the
    default."""
    placement = config.get("placement", PLACEMENTS[0])
    for setting in settings:
        if placement in setting.placements or setting.key not in config:
            continue
        if setting.parse(config[setting.key]) != setting.parse(setting.default):
            return setting
    return None
