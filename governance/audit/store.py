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
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, aliased, sessionmaker
from sqlalchemy.sql.elements import ColumnElement

from governance.audit.joining import missing_indexes
from governance.audit.records import QUERY_ID
from governance.audit.spool import Record
from governance.models import (
    AuditDecisionRow,
    AuditEventRow,
    AuditQueryRow,
    AuditStateRow,
    GovernorEventRow,
)

_LOCK = 0x6C616B65_0004
_EARLIER_SERVERS = 20
_UNFINISHED = 100
_SETTLED = timedelta(minutes=3)
"""Trino repeats an event for longer only while the collector is away, and then all come late together."""

_NUMBERED = timedelta(days=1)
"""How far back numbers are looked for: they begin anew each day."""

GAP = "gap"
DENIED = "PERMISSION_DENIED"
"""Trino's error of a refused operation."""


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
            return int(_state(session, f"spool {spool_id}").get("delivered", 0))

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
            before = int(_state(session, key).get("delivered", 0))
            for record in records:
                if record.number > before:
                    _store(session, record)
            _set_state(session, key, {"delivered": max(before, records[-1].number)})

    def gap(self, who: str, detail: Mapping[str, Any]) -> None:
        """Notes that something is missing."""
        with self._sessions.begin() as session:
            _note(session, who, GAP, detail)

    def check_numbers(self, now: datetime) -> None:
        """Trino counts its queries: a number that no event came for is a gap. Each is noted once."""
        with self._sessions.begin() as session:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            server = _state(session, "trino").get("server")
            if server is None:
                return
            key = f"numbers {server}"
            checked: dict[str, int] = dict(_state(session, key))
            for day, seen in _numbers(session, str(server), checked, now).items():
                last = max(seen)
                runs = missing_indexes(seen, checked.get(day, -1) + 1, last)
                if runs:
                    _note(
                        session,
                        "trino",
                        GAP,
                        {"reason": _MISSING, "server": server, "day": day, **_runs(runs)},
                    )
                checked[day] = last
            _set_state(session, key, dict(sorted(checked.items())[-2:]))

    def retain(self, days: int) -> int:
        """Removes what was recorded more than ``days`` days ago; how many lines that were."""
        with self._sessions.begin() as session:
            removed = int(session.scalar(text("SELECT audit_retain(:days)"), {"days": days}) or 0)
            if removed:
                _note(session, "governor", "retention", {"removed": removed, "days": days})
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

    def events(
        self, *, user: str | None, since: datetime | None, only_gaps: bool, limit: int
    ) -> list[StoredEvent]:
        """Gaps of the audit and, unless ``only_gaps``, what the governor noted (``user``'s own alone), newest
        first."""
        own = select(AuditEventRow)
        noted = select(GovernorEventRow)
        if since is not None:
            own = own.where(AuditEventRow.recorded_at >= since)
            noted = noted.where(GovernorEventRow.at >= since)
        if user is not None:
            noted = noted.where(GovernorEventRow.who == user)
        with self._sessions() as session:
            found = [
                StoredEvent(at=row.recorded_at, who=row.who, what=row.what, detail=row.detail)
                for row in session.scalars(own.order_by(AuditEventRow.id.desc()).limit(limit))
            ]
            if not only_gaps:
                found += [
                    StoredEvent(at=row.at, who=row.who, what=row.what, detail=row.detail)
                    for row in session.scalars(noted.order_by(GovernorEventRow.id.desc()).limit(limit))
                ]
        return sorted(found, key=lambda event: event.at, reverse=True)[:limit]

    def servers(self) -> tuple[str | None, str | None]:
        """The running Trino and the running OPA, as they name themselves; None before their first record."""
        with self._sessions() as session:
            return _state(session, "trino").get("server"), _state(session, "opa").get("server")


_MISSING = "no event came for these numbers of queries: given up before they began, or lost"


def _store(session: Session, record: Record) -> None:
    if record.payload is None:
        _note(session, "audit", GAP, {"reason": "records on the disk can't be read", "from": record.number})
        return
    try:
        _store_one(session, json.loads(record.payload))
    except (ValueError, KeyError, TypeError):
        # Written by another version of this program, or by nobody: the rest must not wait for it.
        _note(session, "audit", GAP, {"reason": "a record is not understood", "record": record.number})


def _store_one(session: Session, found: dict[str, Any]) -> None:
    kind = found.pop("kind")
    if kind == "query":
        match = QUERY_ID.fullmatch(found["query_id"])
        _began_anew(session, "trino", match["server"] if match else "")
        _store_query(session, found)
    elif kind == "decision":
        _began_anew(session, "opa", found["server"])
        _store_decision(session, found)
    else:
        _note(session, found.pop("who"), GAP, found)


def _store_query(session: Session, found: dict[str, Any]) -> None:
    tables = {one["name"] for one in found.get("tables", ())} | (
        {found["written"]} if found.get("written") else set()
    )
    values = {
        "query_id": found.pop("query_id"),
        "stage": found.pop("stage"),
        "username": found.pop("user"),
        "begun_at": datetime.fromisoformat(found.pop("begun_at")),
        "ended_at": datetime.fromisoformat(found.pop("ended_at")) if "ended_at" in found else None,
        "denied": found.get("error") == DENIED,
        "tables": sorted(tables),
    }
    session.execute(insert(AuditQueryRow).values(**values, detail=found).on_conflict_do_nothing())


def _store_decision(session: Session, found: dict[str, Any]) -> None:
    values = {
        "decision_id": found.pop("id"),
        "at": datetime.fromisoformat(found.pop("at")),
        "username": found.pop("user"),
        **{key: found.pop(key) for key in ("query_id", "operation", "object", "allowed", "revision")},
    }
    session.execute(insert(AuditDecisionRow).values(**values, detail=found).on_conflict_do_nothing())


def _began_anew(session: Session, producer: str, server: str) -> None:
    """Notes a producer's new life: what the one before had not sent when it ended is lost with it."""
    state = _state(session, producer)
    before = state.get("server")
    earlier = list(state.get("earlier", ()))
    if not server or server == before or server in earlier:
        return
    if before is None:
        _note(session, producer, "start", {"server": server})
    else:
        detail: dict[str, Any] = {"reason": f"{producer} began anew; what it had not sent is lost"}
        detail |= {"before": before, "server": server}
        if producer == "trino":
            detail["unfinished"] = _unfinished(session, before)
        _note(session, producer, GAP, detail)
        earlier = [before, *earlier][:_EARLIER_SERVERS]
    _set_state(session, producer, {"server": server, "earlier": earlier})


def _unfinished(session: Session, server: str) -> list[str]:
    ended = aliased(AuditQueryRow)
    over = exists().where(ended.query_id == AuditQueryRow.query_id, ended.stage == "completed")
    query = select(AuditQueryRow.query_id).where(
        AuditQueryRow.stage == "created",
        AuditQueryRow.query_id.endswith(f"_{server}", autoescape=True),
        ~over,
    )
    return list(session.scalars(query.order_by(AuditQueryRow.query_id).limit(_UNFINISHED)))


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
    return {"numbers": shown[:_UNFINISHED], "count": sum(last - first + 1 for first, last in runs)}


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


def _note(session: Session, who: str, what: str, detail: Mapping[str, Any]) -> None:
    session.add(AuditEventRow(who=who, what=what, detail=dict(detail)))


def _state(session: Session, name: str) -> dict[str, Any]:
    row = session.get(AuditStateRow, name)
    return {} if row is None else dict(row.value)


def _set_state(session: Session, name: str, value: Mapping[str, Any]) -> None:
    values = {"name": name, "value": dict(value)}
    statement = insert(AuditStateRow).values(**values)
    session.execute(
        statement.on_conflict_do_update(index_elements=[AuditStateRow.name], set_={"value": values["value"]})
    )
    session.expire_all()
