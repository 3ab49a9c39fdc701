"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from contracts.errors import LabError


class Verdict(StrEnum):
    """How one finding stands."""

    OK = "ok"
    FIXED = "fixed"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``remedy`` is what to do, empty when all is well."""

    subject: str
    verdict: Verdict
    detail: str
    remedy: str = ""


FIX = "lab doctor --fix"


def ok(subject: str, detail: str) -> Finding:
    """All is well."""
    return Finding(subject=subject, verdict=Verdict.OK, detail=detail)


def fixed(subject: str, detail: str) -> Finding:
    """It was mended just now."""
    return Finding(subject=subject, verdict=Verdict.FIXED, detail=detail)


def warning(subject: str, detail: str, remedy: str) -> Finding:
    """The lab works, or is not meant to now; something should be known."""
    return Finding(subject=subject, verdict=Verdict.WARNING, detail=detail, remedy=remedy)


def problem(subject: str, detail: str, remedy: str) -> Finding:
    """It stands in the lab's way."""
    return Finding(subject=subject, verdict=Verdict.PROBLEM, detail=detail, remedy=remedy)


def of_error(subject: str, error: LabError) -> Finding:
    """A failure as a problem, with all that its error says."""
    what = f"{error.what} (permitted: {error.permitted})" if error.permitted else error.what
    return problem(subject, what, error.next_command or "")
