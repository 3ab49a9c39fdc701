"""What the governor answers about changes, readers and drift: values both of its sides speak."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from contracts.access import Privilege


class Visibility(StrEnum):
    """How a column looks."""

    PLAIN = "plain"
    MASKED = "masked"
    DENIED = "denied"


@dataclass(frozen=True, kw_only=True)
class GrantUse:
    """A privilege and what gives it: a group's grant on an object, an owned table, or an exception."""

    privilege: str
    by: str


@dataclass(frozen=True, kw_only=True)
class FilterUse:
    """A row filter as it reaches the reader: Trino SQL, and the identity it runs with if not theirs.

    Trino evaluates conditions that are not deterministic before others, also a reader's own before a
    filter. A ``guarded`` filter is given to it in a form that is evaluated first.
    """

    rule: str
    predicate: str
    identity: str | None
    guarded: bool = False

    @property
    def told(self) -> str:
        """What Trino is told, as ``policies/trino/views.rego`` has it."""
        if not self.guarded:
            return self.predicate
        return f"({self.predicate}) AND CASE WHEN {self.predicate} THEN random() >= 0 ELSE false END"


@dataclass(frozen=True, kw_only=True)
class ColumnUse:
    """A column: how it looks and by which rules; ``mask`` is the one taken when it is masked."""

    column: str
    visibility: Visibility
    mask: str | None = None
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Exemption:
    """A rule about the table that does not hold for the reader, and why."""

    rule: str
    by: str


@dataclass(frozen=True, kw_only=True)
class TableView:
    """One table as one reader has it. Without ``select`` no row is seen, whatever the filters say."""

    table: str
    grants: tuple[GrantUse, ...]
    filters: tuple[FilterUse, ...]
    columns: tuple[ColumnUse, ...]
    exemptions: tuple[Exemption, ...]

    @property
    def readable(self) -> bool:
        return any(use.privilege == Privilege.SELECT.value for use in self.grants)

    @property
    def predicate(self) -> str:
        """All filters as one predicate; ``true`` when no filter reaches the reader."""
        if not self.filters:
            return "true"
        return " AND ".join(f"({use.predicate})" for use in self.filters)


@dataclass(frozen=True, kw_only=True)
class Change:
    """One item of access data that differs; ``verb`` is added, changed or removed."""

    verb: str
    section: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class ChangeResult:
    """What a change did, or would do when it was only tried.

    ``revision`` is the living one afterwards; ``published`` says whether OPA's bundle had it when this
    was said; ``widenings`` are what rules and tags no longer keep from whom; ``warnings`` what to know of
    rules that were written.
    """

    revision: int
    changed: bool
    tried_only: bool
    published: bool
    changes: tuple[Change, ...]
    widenings: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RevisionDetail:
    """One entry of the history with what it changed."""

    revision: int
    author: str
    reason: str
    created_at: datetime
    based_on: int | None
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a reader has a table as they do. ``published`` is the revision in OPA's bundle; ``denied``
    counts denied columns, whose names only those hear who may read access data."""

    revision: int
    published: int | None
    username: str
    groups: tuple[str, ...]
    readable: bool
    predicate: str
    view: TableView
    denied: int


@dataclass(frozen=True, kw_only=True)
class RowImpact:
    """Rows of one table for one reader, counted on the table; ``gained`` and ``lost`` are single rows,
    not the difference of the sums. ``error`` is Trino's word when a filter can't be run."""

    total: int = 0
    before: int = 0
    after: int = 0
    gained: int = 0
    lost: int = 0
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class ColumnImpact:
    """One column that looks different: ``plain``, ``denied``, a mask by name, or ``none`` while the
    table can't be read."""

    column: str
    before: str
    after: str
    gained: bool


@dataclass(frozen=True, kw_only=True)
class TableImpact:
    """What a change means for one reader of one table. ``rows`` is None when rows were not counted;
    ``privileges_*`` are those other than ``select``. ``approximate``: a filter reads other tables with
    the reader's own rights, and was counted without the filters of those."""

    username: str
    table: str
    rows: RowImpact | None
    columns: tuple[ColumnImpact, ...]
    privileges_gained: tuple[str, ...]
    privileges_lost: tuple[str, ...]
    filter_before: str
    filter_after: str
    approximate: bool

    @property
    def widens(self) -> bool:
        """Whether the reader gains a row, a column, a clearer look or a privilege. Rows that were not
        or could not be counted count as gained when their filter changed."""
        if self.privileges_gained or any(column.gained for column in self.columns):
            return True
        if self.rows is None or self.rows.error is not None:
            return self.filter_before != self.filter_after and self.filter_after != "false"
        return self.rows.gained > 0

    @property
    def narrows(self) -> bool:
        """Whether the reader loses something."""
        if self.privileges_lost or any(not column.gained for column in self.columns):
            return True
        return self.rows is not None and self.rows.lost > 0


@dataclass(frozen=True, kw_only=True)
class ImpactReport:
    """A comparison of two states of the access data; only what differs is listed."""

    before: str
    after: str
    counted: bool
    readers: tuple[str, ...]
    tables_compared: int
    changes: tuple[Change, ...]
    impacts: tuple[TableImpact, ...]
    notes: tuple[str, ...]

    @property
    def widens(self) -> bool:
        return any(impact.widens for impact in self.impacts)


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """The living access data against what was published. ``access_digest`` (SHA-256, hex) is of the
    compiled access data as OPA must hold it; ``problems`` says what differs, empty when nothing does."""

    revision: int | None
    published: int | None
    bundle_age_s: float | None
    access_digest: str | None
    problems: tuple[str, ...]
