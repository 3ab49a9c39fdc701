"""The audit in the governance database: written by deliveries in order, read by time and user.

All methods raise sqlalchemy.exc.OperationalError while PostgreSQL can't be reached.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, and_, exists, func, or_, select, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, aliased, sessionmaker
from sqlalchemy.sql.elements import ColumnElement

from governance.audit.delivery import GAP, UNFINISHED, Delivery, note, set_state, state
from governance.audit.joining import missing_indexes
from governance.audit.records import QUERY_ID, RAW_USE_PREFIX, REFUSED_USE
from governance.audit.spool import Record
from governance.models import (
    AuditDecisionRow,
    AuditEventRow,
    AuditQueryRow,
    GovernorEventRow,
)

_LOCK = 0x6C616B65_0004
_SETTLED = timedelta(minutes=3)
"""Trino repeats an event for longer only while the collector is away, and then all come late together."""

_SERVICE_ACCOUNT_PREFIX = "service-account-"
_LONGEST_RUN = timedelta(days=1)

_NUMBERED = timedelta(days=1)
"""How far back numbers are looked for: they begin anew each day."""


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """Which lines. ``query_id``: that one alone, whenever it was."""

    user: str | None = None
    since: datetime | None = None
    table: str | None = None
    denied: bool = False
    query_id: str | None = None
    limit: int = 100


@dataclass(frozen=True, kw_only=True)
class StoredQuery:
    """A query's last word: its end, or its beginning while there is no more."""

    query_id: str
    user: str
    begun_at: datetime
    ended_at: datetime | None
    detail: Mapping[str, Any]

    @property
    def completed(self) -> bool:
        return self.ended_at is not None


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """A line beside the queries."""

    at: datetime
    who: str
    what: str
    detail: Mapping[str, Any]


class AuditStore:
    """The audit's tables. Nothing here changes or removes a line; :meth:`retain` asks the database's own
    function to."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = sessionmaker(engine)

    # --- writing -------------------------------------------------------------------------------------

    def delivered(self, spool_id: str) -> int:
        """The number of the newest record of that spool that is here."""
        with self._sessions() as session:
            return int(state(session, f"spool {spool_id}").get("delivered", 0))

    def accept(self, spool_id: str, records: Sequence[Record]) -> None:
        """Stores records and how far they go, together. One that the database does not take becomes a gap."""
        if not records:
            return
        try:
            self._accept(spool_id, records)
        except OperationalError:
            raise
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            for record in records:
                self._accept_or_note(spool_id, record)

    def _accept_or_note(self, spool_id: str, record: Record) -> None:
        try:
            self._accept(spool_id, [record])
        except OperationalError:
            raise
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            reason = {"kind": GAP, "who": "audit", "reason": "the database did not take a record"}
            payload = json.dumps({**reason, "record": record.number}).encode()
            self._accept(spool_id, [Record(number=record.number, payload=payload)])

    def _accept(self, spool_id: str, records: Sequence[Record]) -> None:
        with self._sessions.begin() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            key = f"spool {spool_id}"
            before = int(state(session, key).get("delivered", 0))
            delivery = Delivery(session)
            for record in records:
                if record.number > before:
                    delivery.store(record)
            delivery.finish()
            set_state(session, key, {"delivered": max(before, records[-1].number)})

    def gap(self, who: str, detail: Mapping[str, Any]) -> None:
        """Notes that something is missing."""
        with self._sessions.begin() as session:
            note(session, who, GAP, detail)

    def check_numbers(self, now: datetime) -> None:
        """Trino counts its queries: a number that no event came for is a gap. Each is noted once."""
        with self._sessions.begin() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            server = state(session, "trino").get("server")
            if server is None:
                return
            key = f"numbers {server}"
            checked: dict[str, int] = dict(state(session, key))
            for day, seen in _numbers(session, str(server), checked, now).items():
                last = max(seen)
                runs = missing_indexes(seen, checked.get(day, -1) + 1, last)
                if runs:
                    note(
                        session,
                        "trino",
                        GAP,
                        {"reason": _MISSING, "server": server, "day": day, **_runs(runs)},
                    )
                checked[day] = last
            set_state(session, key, dict(sorted(checked.items())[-2:]))

    def retain(self, days: int) -> int:
        """Removes what was recorded more than ``days`` days ago; how many lines that were."""
        with self._sessions.begin() as session:
            removed = int(session.scalar(text("SELECT audit_retain(:days)"), {"days": days}) or 0)
            if removed:
                note(session, "governor", "retention", {"removed": removed, "days": days})
            return removed

    # --- reading -------------------------------------------------------------------------------------

    def queries(self, wanted: AuditFilter) -> list[StoredQuery]:
        """The queries that a filter lets through, newest first."""
        conditions: list[ColumnElement[bool]] = [_last_word()]
        if wanted.query_id is not None:
            conditions.append(AuditQueryRow.query_id == wanted.query_id)
        if wanted.user is not None:
            conditions.append(AuditQueryRow.username == wanted.user)
        if wanted.since is not None:
            conditions.append(_until() >= wanted.since)
        if wanted.denied:
            conditions.append(AuditQueryRow.denied.is_(True))
        if wanted.table is not None:
            conditions.append(_about(wanted.table))
        query = select(AuditQueryRow).where(*conditions)
        newest = query.order_by(AuditQueryRow.begun_at.desc(), AuditQueryRow.query_id.desc())
        with self._sessions() as session:
            return [_query(row) for row in session.scalars(newest.limit(wanted.limit))]

    def neighbours(
        self, users: Iterable[str], begin: datetime, end: datetime | None, *, limit: int
    ) -> list[StoredQuery]:
        """Queries of these users that ran at some time between."""
        conditions = [_last_word(), AuditQueryRow.username.in_(sorted(users)), _until() >= begin]
        if end is not None:
            conditions.append(AuditQueryRow.begun_at <= end)
        query = select(AuditQueryRow).where(*conditions).order_by(AuditQueryRow.begun_at).limit(limit)
        with self._sessions() as session:
            return [_query(row) for row in session.scalars(query)]

    def decisions(
        self, users: Iterable[str], begin: datetime, end: datetime | None, *, limit: int
    ) -> list[AuditDecisionRow]:
        """Decisions about these users between two times, oldest first. Rows are detached."""
        conditions = [AuditDecisionRow.username.in_(sorted(users)), AuditDecisionRow.at >= begin]
        if end is not None:
            conditions.append(AuditDecisionRow.at <= end)
        query = select(AuditDecisionRow).where(*conditions).order_by(AuditDecisionRow.at).limit(limit)
        with self._sessions() as session:
            return list(session.scalars(query))

    def events(self, wanted: AuditFilter) -> list[StoredEvent]:
        """Gaps of the audit, what raw engines did, and what the governor noted, newest first. Of people,
        those of the filter's user alone; of one table or of what was denied, gaps and raw engines alone."""
        own = select(AuditEventRow)
        noted = select(GovernorEventRow)
        of_people = AuditEventRow.what.startswith(RAW_USE_PREFIX, autoescape=True)
        if wanted.since is not None:
            own = own.where(AuditEventRow.recorded_at >= wanted.since)
            noted = noted.where(GovernorEventRow.at >= wanted.since)
        if wanted.user is not None:
            own = own.where(or_(~of_people, AuditEventRow.who == wanted.user))
            noted = noted.where(GovernorEventRow.who == wanted.user)
        if wanted.table is not None:
            own = own.where(or_(~of_people, AuditEventRow.detail["tables"].contains([wanted.table])))
        if wanted.denied:
            own = own.where(or_(~of_people, AuditEventRow.what == REFUSED_USE))
        limit = wanted.limit
        with self._sessions() as session:
            found = [
                StoredEvent(at=row.recorded_at, who=row.who, what=row.what, detail=row.detail)
                for row in session.scalars(own.order_by(AuditEventRow.id.desc()).limit(limit))
            ]
            if wanted.table is None and not wanted.denied:
                found += [
                    StoredEvent(at=row.at, who=row.who, what=row.what, detail=row.detail)
                    for row in session.scalars(noted.order_by(GovernorEventRow.id.desc()).limit(limit))
                ]
        return sorted(found, key=lambda event: event.at, reverse=True)[:limit]

    def people_queried(self, within: timedelta) -> bool:
        """Whether a person's query or use of a raw engine was recorded ``within`` that long, by the
        database's clock as the records are, or a query still runs on the present Trino. One that began more
        than a day ago has lost its end."""
        of_people = ~AuditQueryRow.username.startswith(_SERVICE_ACCOUNT_PREFIX, autoescape=True)
        now = func.now()
        recorded = select(AuditQueryRow.query_id).where(of_people, AuditQueryRow.recorded_at >= now - within)
        raw = select(AuditEventRow.id).where(
            AuditEventRow.what.startswith(RAW_USE_PREFIX, autoescape=True),
            AuditEventRow.recorded_at >= now - within,
        )
        with self._sessions() as session:
            if any(session.scalar(used.limit(1)) is not None for used in (recorded, raw)):
                return True
            server = state(session, "trino").get("server")
            if server is None:
                return False
            running = select(AuditQueryRow.query_id).where(
                of_people,
                AuditQueryRow.recorded_at >= now - _LONGEST_RUN,
                AuditQueryRow.query_id.endswith(f"_{server}", autoescape=True),
                _last_word(),
                AuditQueryRow.stage != "completed",
            )
            return session.scalar(running.limit(1)) is not None

    def servers(self) -> tuple[str | None, str | None]:
        """The running Trino and the running OPA, as they name themselves; None before their first record."""
        with self._sessions() as session:
            return state(session, "trino").get("server"), state(session, "opa").get("server")


_MISSING = "no event came for these numbers of queries: given up before they began, or lost"


def _numbers(session: Session, server: str, checked: Mapping[str, int], now: datetime) -> dict[str, set[int]]:
    """Numbers of a server's queries by day, above those that are checked, without the newest."""
    query = select(AuditQueryRow.query_id, AuditQueryRow.recorded_at).where(
        AuditQueryRow.query_id.endswith(f"_{server}", autoescape=True),
        AuditQueryRow.recorded_at >= now - _NUMBERED,
    )
    all_seen: dict[str, set[int]] = {}
    settled: dict[str, int] = {}
    for query_id, recorded_at in session.execute(query.distinct()):
        match = QUERY_ID.fullmatch(query_id)
        if match is None or int(match["index"]) <= checked.get(match["day"], -1):
            continue
        all_seen.setdefault(match["day"], set()).add(int(match["index"]))
        if recorded_at <= now - _SETTLED:
            settled[match["day"]] = max(settled.get(match["day"], -1), int(match["index"]))
    return {day: {n for n in all_seen[day] if n <= last} for day, last in settled.items()}


def _runs(runs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    shown = [f"{first:05d}" if first == last else f"{first:05d} to {last:05d}" for first, last in runs]
    return {"numbers": shown[:UNFINISHED], "count": sum(last - first + 1 for first, last in runs)}


def _last_word() -> ColumnElement[bool]:
    """The end of a query, or its beginning while that is all."""
    ended = aliased(AuditQueryRow)
    over = exists().where(ended.query_id == AuditQueryRow.query_id, ended.stage == "completed")
    return or_(AuditQueryRow.stage == "completed", ~over)


def _until() -> ColumnElement[datetime]:
    return func.coalesce(AuditQueryRow.ended_at, text("'infinity'::timestamptz"))


def _about(table: str) -> ColumnElement[bool]:
    """It read or wrote the table, or was denied when it meant to."""
    meant = exists().where(
        AuditDecisionRow.username == AuditQueryRow.username,
        AuditDecisionRow.at >= AuditQueryRow.begun_at,
        AuditDecisionRow.at <= _until(),
        AuditDecisionRow.object == table,
    )
    return or_(AuditQueryRow.tables.contains([table]), and_(AuditQueryRow.denied, meant))


def _query(row: AuditQueryRow) -> StoredQuery:
    return StoredQuery(
        query_id=row.query_id,
        user=row.username,
        begun_at=row.begun_at,
        ended_at=row.ended_at,
        detail=row.detail,
    )
