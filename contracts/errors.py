"""Errors that say what happened, the offending value, what is permitted and the next command."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class LabError(Exception):
    """An error a person can act on.

    Args:
        what: one sentence that says what is wrong.
        value: the offending value, shown with ``repr`` when given.
        permitted: what would have been accepted.
        next_command: the command to run next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        value: object | None = None,
        permitted: str | None = None,
        next_command: str | None = None,
    ) -> None:
        self.what = what
        self.value = value
        self.permitted = permitted
        self.next_command = next_command
        super().__init__(self.render())

    def render(self) -> str:
        """The whole message, one fact a line."""
        lines = [self.what]
        if self.value is not None:
            lines.append(f"  given:     {self.value!r}")
        if self.permitted is not None:
            lines.append(f"  permitted: {self.permitted}")
        if self.next_command is not None:
            lines.append(f"  next:      {self.next_command}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str | None]:
        """The same facts for ``--json``."""
        return {
            "error": self.what,
            "value": None if self.value is None else str(self.value),
            "permitted": self.permitted,
            "next_command": self.next_command,
        }


class UsageError(LabError):
    """The command line or a setting is wrong; nothing was started (exit code 2)."""

    exit_code = 2


class PreflightError(LabError):
    """The machine or account can't carry what was asked; nothing was started (exit code 3)."""

    exit_code = 3


def nearest(value: str, known: Iterable[str]) -> str | None:
    """The known name most like ``value``, or None when none is close."""
    found = difflib.get_close_matches(value, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown_name(kind: str, value: str, known: Iterable[str], next_command: str | None = None) -> UsageError:
    """The error for a name that is not in a closed set, with the nearest one suggested."""
    names = sorted(known)
    close = nearest(value, names)
    hint = f"; did you mean {close!r}?" if close else ""
    return UsageError(
        f"there is no {kind} named {value!r}{hint}",
        value=value,
        permitted=", ".join(names),
        next_command=next_command,
    )
