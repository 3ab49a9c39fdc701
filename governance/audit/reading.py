"""The audit as it is read: queries with their decisions, and the rules behind what was applied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.access import AccessData
from governance.audit.delivery import DENIED
from governance.audit.joining import LOOK_BACK, Decision, Query, join, notes
from governance.audit.report import AuditEvent, AuditLine, AuditReport, DecisionUse, Outcome, TableRead
from governance.audit.store import AuditFilter, AuditStore, StoredQuery
from governance.client import AccessRevision
from governance.effects import Effects, Reader
from governance.models import AuditDecisionRow

SETTLED = timedelta(seconds=15)
"""How long OPA's report of a decision takes at most while all is well."""
_NEIGHBOURS = 5_000
_DECISIONS = 50_000
_APART = timedelta(minutes=1)

Joined = Sequence[tuple[Decision, tuple[str, ...]]]


class AuditReader:
    """Makes reports. ``revision`` gives the access data of a number, None for one that there is not;
    ``catalog`` is the lab's name in Trino."""

    def __init__(
        self, store: AuditStore, revision: Callable[[int], AccessRevision | None], *, catalog: str
    ) -> None:
        self._store, self._revision, self._catalog = store, revision, catalog

    def report(
        self, wanted: AuditFilter, *, waiting: int, retention_days: int, now: datetime | None = None
    ) -> AuditReport:
        """Lines and events for a filter; no events beside one query."""
        events = self._store.events(wanted) if wanted.query_id is None else []
        return AuditReport(
            lines=tuple(self._lines(self._store.queries(wanted), now or datetime.now(tz=UTC))),
            events=tuple(AuditEvent(at=e.at, who=e.who, what=e.what, detail=e.detail) for e in events),
            waiting=waiting,
            retention_days=retention_days,
        )

    def _lines(self, queries: Sequence[StoredQuery], now: datetime) -> Iterable[AuditLine]:
        joined: dict[str, Joined] = {}
        for together in _clusters(queries, now):
            joined |= self._join(together)
        rules = _Rules(self._revision, self._catalog)
        server = self._store.servers()[0]
        return [_line(query, joined[query.query_id], rules, server, now) for query in queries]

    def _join(self, queries: Sequence[StoredQuery]) -> dict[str, Joined]:
        users = {user for query in queries for user in _users(query)}
        begin = min(query.begun_at for query in queries) - LOOK_BACK
        ends = [query.ended_at for query in queries]
        end = None if None in ends else max(one for one in ends if one is not None)
        # Whose decisions they are is a question among all that ran then, not among those that are shown.
        around = self._store.neighbours(users, begin, end, limit=_NEIGHBOURS)
        every = {query.query_id: query for query in (*around, *queries)}
        decisions = self._store.decisions(users, begin, end, limit=_DECISIONS)
        found = join(map(_for_join, every.values()), map(_decision, decisions))
        return {query.query_id: found[query.query_id] for query in queries}


class _Rules:
    """Ids of the rules that a revision has for a reader; each revision is read once."""

    def __init__(self, revision: Callable[[int], AccessRevision | None], catalog: str) -> None:
        self._revision, self._catalog = revision, catalog
        self._read: dict[int, AccessData | None] = {}

    def of(
        self, table: dict[str, Any], reader: Reader, revision: int | None, at: datetime
    ) -> tuple[str, ...]:
        masked, filters = set(table["masked"]), int(table["filters"])
        if not masked and not filters:
            return ()
        access = self._access(revision)
        if access is None:
            return ("?",)
        effects = Effects(access, {}, catalog=self._catalog, now=at)
        view = effects.view(reader, table["name"], sorted(masked))
        explained = {use.column for use in view.columns if use.mask}
        found = [use.rule for use in view.filters] if filters else []
        found += [rule for use in view.columns if use.mask for rule in use.rules]
        whole = explained == {name.lower() for name in masked} and len(view.filters) >= filters
        return tuple(dict.fromkeys((*sorted(found), *(() if whole else ("?",)))))

    def _access(self, revision: int | None) -> AccessData | None:
        if revision is None:
            return None
        if revision not in self._read:
            found = self._revision(revision)
            self._read[revision] = None if found is None else AccessData.from_document(found.document)
        return self._read[revision]


def _line(query: StoredQuery, joined: Joined, rules: _Rules, server: str | None, now: datetime) -> AuditLine:
    detail = query.detail
    groups = tuple(detail.get("groups", ()))
    revisions = tuple(sorted({one.revision for one, _ in joined if one.revision is not None}))
    reader = Reader(username=query.user, groups=frozenset(groups))
    newest = revisions[-1] if revisions else None
    tables = tuple(
        TableRead(
            table=one["name"],
            columns=tuple(one["columns"]),
            masked=tuple(one["masked"]),
            filters=one["filters"],
            rules=rules.of(one, reader, newest, query.begun_at),
            as_user=one["as_user"] if one["as_user"] not in ("", query.user) else None,
        )
        for one in detail.get("tables", ())
    )
    settled = query.ended_at is not None and query.ended_at < now - SETTLED
    remarks = list(notes(_for_join(query), joined, settled=settled))
    if detail.get("cut"):
        remarks.append("the statement is longer than what is kept of it")
    return AuditLine(
        query_id=query.query_id,
        user=query.user,
        groups=groups,
        source=detail.get("source"),
        tags=tuple(detail.get("tags") or ()),
        client=detail.get("client"),
        statement=detail["statement"],
        begun_at=query.begun_at,
        ended_at=query.ended_at,
        outcome=_outcome(query, server),
        error=detail.get("error"),
        message=detail.get("message"),
        tables=tables,
        written=detail.get("written"),
        rows=detail.get("written_rows") or detail.get("rows", 0),
        bytes=detail.get("bytes", 0),
        read_rows=detail.get("read_rows", 0),
        revisions=revisions,
        refused=_refused(joined) if detail.get("error") == DENIED else (),
        decisions=tuple(_use(one, others) for one, others in joined),
        notes=tuple(remarks),
    )


def _outcome(query: StoredQuery, server: str | None) -> Outcome:
    if not query.completed:
        ours = server is not None and query.query_id.endswith(f"_{server}")
        return Outcome.RUNNING if ours else Outcome.UNKNOWN
    error = query.detail.get("error")
    if error is None:
        return Outcome.FINISHED
    return Outcome.DENIED if error == DENIED else Outcome.FAILED


def _refused(joined: Joined) -> tuple[str, ...]:
    denied = [f"{one.operation} {one.object}".strip() for one, _ in joined if one.allowed is False]
    return tuple(dict.fromkeys(denied))


def _users(query: StoredQuery) -> set[str]:
    """In whose names the query read."""
    return {query.user, *(one["as_user"] for one in query.detail.get("tables", ()) if one["as_user"])}


def _for_join(query: StoredQuery) -> Query:
    reads = {(one["name"], one["as_user"] or query.user) for one in query.detail.get("tables", ())}
    if query.detail.get("written"):
        reads.add((query.detail["written"], query.user))
    return Query(
        query_id=query.query_id,
        user=query.user,
        begun_at=query.begun_at,
        ended_at=query.ended_at,
        reads=frozenset(reads),
        complete=query.completed and query.detail.get("error") is None,
    )


def _decision(row: AuditDecisionRow) -> Decision:
    return Decision(
        id=row.decision_id,
        at=row.at,
        user=row.username,
        query_id=row.query_id,
        operation=row.operation,
        object=row.object,
        allowed=row.allowed,
        revision=row.revision,
    )


def _use(decision: Decision, others: tuple[str, ...]) -> DecisionUse:
    return DecisionUse(
        id=decision.id,
        at=decision.at,
        operation=decision.operation,
        object=decision.object,
        allowed=decision.allowed,
        revision=decision.revision,
        shared_with=others,
    )


def _clusters(queries: Sequence[StoredQuery], now: datetime) -> Iterable[list[StoredQuery]]:
    """Queries near one another in time, so that each stretch is asked for once."""
    together: list[StoredQuery] = []
    end = now
    for query in sorted(queries, key=lambda one: one.begun_at):
        if together and query.begun_at > end + _APART:
            yield together
            together = []
        until = query.ended_at or now
        end = max(end, until) if together else until
        together.append(query)
    if together:
        yield together
