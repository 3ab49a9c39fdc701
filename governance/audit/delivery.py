"""One delivery: records of a spool written to the database, all or none.

Rows are collected and written together: a statement a row cost more processor time than what it tells of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from governance.audit.records import QUERY_ID
from governance.audit.spool import Record
from governance.models import AuditDecisionRow, AuditEventRow, AuditQueryRow, AuditStateRow

GAP = "gap"
DENIED = "PERMISSION_DENIED"
"""Trino's error of a refused operation."""
UNFINISHED = 100
"""So many of what is missing are named."""

_EARLIER_SERVERS = 20


class Delivery:
    """What is written within the transaction of ``session``, by :meth:`finish` at the latest."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._producers: dict[str, dict[str, Any]] = {}
        self._queries: list[dict[str, Any]] = []
        self._decisions: list[dict[str, Any]] = []

    def store(self, record: Record) -> None:
        """Takes a record; one that is not understood becomes a gap."""
        if record.payload is None:
            lost = {"reason": "records on the disk can't be read", "from": record.number}
            note(self._session, "audit", GAP, lost)
            return
        try:
            self._store(json.loads(record.payload))
        except (ValueError, KeyError, TypeError):
            # Written by another version of this program, or by nobody: the rest must not wait for it.
            strange = {"reason": "a record is not understood", "record": record.number}
            note(self._session, "audit", GAP, strange)

    def finish(self) -> None:
        """Writes what was taken. Raises sqlalchemy.exc.DBAPIError when the database does not take a row."""
        for model, rows in ((AuditQueryRow, self._queries), (AuditDecisionRow, self._decisions)):
            if rows:
                self._session.execute(insert(model).on_conflict_do_nothing(), rows)
                rows.clear()

    def _store(self, found: dict[str, Any]) -> None:
        kind = found.pop("kind")
        if kind == "query":
            match = QUERY_ID.fullmatch(found["query_id"])
            row = query_values(found)
            self._began_anew("trino", match["server"] if match else "")
            self._queries.append(row)
        elif kind == "decision":
            server = found["server"]
            row = decision_values(found)
            self._began_anew("opa", server)
            self._decisions.append(row)
        elif kind == "raw":
            note(self._session, found.pop("user"), found.pop("what"), found)
        else:
            note(self._session, found.pop("who"), GAP, found)

    def _began_anew(self, producer: str, server: str) -> None:
        """Notes a producer's new life: what the one before had not sent when it ended is lost with it."""
        known = self._producers.get(producer)
        if known is None:
            known = self._producers[producer] = state(self._session, producer)
        before = known.get("server")
        earlier = list(known.get("earlier", ()))
        if not server or server == before or server in earlier:
            return
        if before is None:
            note(self._session, producer, "start", {"server": server})
        else:
            detail: dict[str, Any] = {"reason": f"{producer} began anew; what it had not sent is lost"}
            detail |= {"before": before, "server": server}
            if producer == "trino":
                self.finish()
                detail["unfinished"] = _unfinished(self._session, before)
            note(self._session, producer, GAP, detail)
            earlier = [before, *earlier][:_EARLIER_SERVERS]
        self._producers[producer] = {"server": server, "earlier": earlier}
        set_state(self._session, producer, self._producers[producer])


def query_values(found: dict[str, Any]) -> dict[str, Any]:
    """A query's row. Raises ValueError, KeyError or TypeError for what is no record of one."""
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
    return {**values, "detail": found}


def decision_values(found: dict[str, Any]) -> dict[str, Any]:
    """A decision's row. Raises ValueError, KeyError or TypeError for what is no record of one."""
    values = {
        "decision_id": found.pop("id"),
        "at": datetime.fromisoformat(found.pop("at")),
        "username": found.pop("user"),
        **{key: found.pop(key) for key in ("query_id", "operation", "object", "allowed", "revision")},
    }
    return {**values, "detail": found}


def note(session: Session, who: str, what: str, detail: Mapping[str, Any]) -> None:
    """A line beside the queries."""
    session.add(AuditEventRow(who=who, what=what, detail=dict(detail)))


def state(session: Session, name: str) -> dict[str, Any]:
    """What the audit knows of itself by that name; empty at first."""
    row = session.get(AuditStateRow, name)
    return {} if row is None else dict(row.value)


def set_state(session: Session, name: str, value: Mapping[str, Any]) -> None:
    """Keeps it."""
    values = {"name": name, "value": dict(value)}
    statement = insert(AuditStateRow).values(**values)
    session.execute(
        statement.on_conflict_do_update(index_elements=[AuditStateRow.name], set_={"value": values["value"]})
    )
    session.expire_all()


def _unfinished(session: Session, server: str) -> list[str]:
    ended = aliased(AuditQueryRow)
    over = exists().where(ended.query_id == AuditQueryRow.query_id, ended.stage == "completed")
    query = select(AuditQueryRow.query_id).where(
        AuditQueryRow.stage == "created",
        AuditQueryRow.query_id.endswith(f"_{server}", autoescape=True),
        ~over,
    )
    return list(session.scalars(query.order_by(AuditQueryRow.query_id).limit(UNFINISHED)))
