"""What a change would do, as facts: what the comment on its pull request is rendered from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Touched:
    """One resource that something would be done to. ``changed`` names properties, never values."""

    op: str
    type: str
    name: str
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StackReport:
    """The preview of one stack. ``diff`` is what ``pulumi preview --diff`` printed, secrets masked."""

    stack: str
    changes: Mapping[str, int]
    touched: tuple[Touched, ...] = ()
    diff: str = ""


@dataclass(frozen=True, kw_only=True)
class AccessRow:
    """What one reader gains or loses of one table, counted. None: not counted."""

    username: str
    table: str
    rows_gained: int | None
    rows_lost: int | None
    other: tuple[str, ...]
    widens: bool
    approximate: bool = False


@dataclass(frozen=True, kw_only=True)
class AccessReport:
    """The comparison of the running lab's access data with the change's."""

    before: str
    after: str
    readers: int
    tables: int
    rows: tuple[AccessRow, ...]

    @property
    def widens(self) -> bool:
        return any(row.widens for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """``now`` and ``planned`` are whole sentences; ``hour`` and ``month`` differences in US dollars, None
    where a price is unknown. ``todo``: how to learn what is unknown."""

    billed: bool
    now: str
    planned: str
    usd_per_hour: float | None = None
    usd_per_month: float | None = None
    todo: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All of it. ``failure`` is why the preview did not come about, guardrails among them; ``notes`` say
    what is missing and why."""

    placement: str
    commit: str
    stacks: tuple[StackReport, ...] = ()
    failure: str | None = None
    access: AccessReport | None = None
    cost: CostReport | None = None
    notes: tuple[str, ...] = ()
    run_url: str | None = None
