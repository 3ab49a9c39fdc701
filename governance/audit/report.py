"""What ``lab audit`` shows: values that the governor and its client both speak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How a query ended. ``UNKNOWN``: its server ended before it told."""

    FINISHED = "finished"
    FAILED = "failed"
    DENIED = "denied"
    RUNNING = "running"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class TableRead:
    """One table of a query, as the engine reports it, and the rules behind what it applied.

    ``masked``: those of ``columns`` that a mask was laid over; ``filters``: how many row filters;
    ``as_user``: in whose name it was read when not the asking user's (a view's owner, the filters' own).
    ``rules``: the ids, by the access data of the decision's revision; ``?`` stands for a filter or mask
    that this revision does not explain.
    """

    table: str
    columns: tuple[str, ...]
    masked: tuple[str, ...]
    filters: int
    rules: tuple[str, ...]
    as_user: str | None


@dataclass(frozen=True, kw_only=True)
class DecisionUse:
    """One of OPA's decisions. ``allowed`` is None where it gave filters or masks instead.

    ``shared_with``: other queries that it may belong to just as well; empty when there is no doubt.
    """

    id: str
    at: datetime
    operation: str
    object: str
    allowed: bool | None
    revision: int | None
    shared_with: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AuditLine:
    """One query with all that is known of it. Times are the engine's; ``rows`` and ``bytes`` are what it
    gave out (or wrote), ``read_rows`` what it read from files.

    ``tags`` are the client's own, such as the agent's ``run=…``. ``refused`` are operations that were denied,
    ``revisions`` the access data that decisions were made on, ``notes`` say what is missing or in doubt.
    """

    query_id: str
    user: str
    groups: tuple[str, ...]
    source: str | None
    client: str | None
    statement: str
    begun_at: datetime
    ended_at: datetime | None
    outcome: Outcome
    error: str | None
    message: str | None
    tables: tuple[TableRead, ...]
    written: str | None
    rows: int
    bytes: int
    read_rows: int
    revisions: tuple[int, ...]
    refused: tuple[str, ...]
    decisions: tuple[DecisionUse, ...]
    notes: tuple[str, ...]
    tags: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float | None:
        """Seconds from its creation to its end."""
        return None if self.ended_at is None else (self.ended_at - self.begun_at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """Something beside queries: a gap in the audit, a change of access data, Spark's use."""

    at: datetime
    who: str
    what: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """Lines and events, each newest first. ``waiting``: records on the disk that are not in the database
    yet; ``retention_days``: how far back lines are kept."""

    lines: tuple[AuditLine, ...]
    events: tuple[AuditEvent, ...]
    waiting: int
    retention_days: int
