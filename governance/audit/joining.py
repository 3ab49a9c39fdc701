"""Which decisions were made for which query: pure and deterministic (docs/adr/0012-a-joined-audit.md).

Trino 476 does not tell OPA for which query it asks. A decision fits a query when the user is the query's (or
the one in whose name it read a table), the time is within the query's, and the object is one of its tables.
One that fits several queries is listed under each, and each time with the others' names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from governance.audit.records import QUERY_ID

SESSION_OPERATIONS = frozenset(
    {"ExecuteQuery", "ImpersonateUser", "SetCatalogSessionProperty", "SetSystemSessionProperty"}
)
"""Asked while the session is made, which is before the time that Trino gives as the query's beginning."""
LOOK_BACK = timedelta(seconds=30)
"""How long making a session takes at most on a busy machine; the second in the query's id bounds it."""

_TABLE_OPERATIONS = frozenset({"GetColumnMask", "GetRowFilters", "SelectFromColumns"})


@dataclass(frozen=True, kw_only=True)
class Query:
    """What of a query decides about its decisions. ``ended_at`` None: not yet, as far as is known.

    ``reads``: pairs of table and the user in whose name it was read. ``complete``: the engine said what it
    read; an analysis that failed did not get so far.
    """

    query_id: str
    user: str
    begun_at: datetime
    ended_at: datetime | None
    reads: frozenset[tuple[str, str]]
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One decision. ``query_id`` where the engine says it."""

    id: str
    at: datetime
    user: str
    query_id: str | None
    operation: str
    object: str
    allowed: bool | None
    revision: int | None


def join(
    queries: Iterable[Query], decisions: Iterable[Decision]
) -> dict[str, list[tuple[Decision, tuple[str, ...]]]]:
    """Decisions by query id, each with the other queries that it fits as well; in order of time."""
    coming = sorted(queries, key=lambda query: (query.begun_at, query.query_id), reverse=True)
    found: dict[str, list[tuple[Decision, tuple[str, ...]]]] = {query.query_id: [] for query in coming}
    running: dict[str, list[Query]] = {}
    for decision in sorted(decisions, key=lambda one: (one.at, one.id)):
        if decision.query_id is not None:
            if decision.query_id in found:
                found[decision.query_id].append((decision, ()))
            continue
        while coming and coming[-1].begun_at - LOOK_BACK <= decision.at:
            query = coming.pop()
            for user in {query.user, *(user for _, user in query.reads)}:
                running.setdefault(user, []).append(query)
        candidates = [query for query in running.get(decision.user, ()) if not _over(query, decision.at)]
        running[decision.user] = candidates
        fitting = sorted(query.query_id for query in candidates if fits(decision, query))
        for query_id in fitting:
            found[query_id].append((decision, tuple(other for other in fitting if other != query_id)))
    return found


def _over(query: Query, at: datetime) -> bool:
    return query.ended_at is not None and at > query.ended_at


def fits(decision: Decision, query: Query) -> bool:
    """Whether the decision may have been made for the query."""
    if not begins(query, decision.operation) <= decision.at:
        return False
    if _over(query, decision.at):
        return False
    if decision.user != query.user:
        return (decision.object, decision.user) in query.reads
    if query.complete and decision.operation in _TABLE_OPERATIONS:
        return any(table == decision.object for table, _ in query.reads)
    return True


def begins(query: Query, operation: str) -> datetime:
    """From when on a decision about ``operation`` may be the query's: not before the second in which Trino
    named it."""
    if operation not in SESSION_OPERATIONS:
        return query.begun_at
    earliest = query.begun_at - LOOK_BACK
    named = named_at(query.query_id)
    return earliest if named is None else min(max(earliest, named), query.begun_at)


def named_at(query_id: str) -> datetime | None:
    """The second in a query's id."""
    match = QUERY_ID.fullmatch(query_id)
    if match is None:
        return None
    try:
        return datetime.strptime(match["day"] + match["time"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def notes(
    query: Query, joined: Sequence[tuple[Decision, tuple[str, ...]]], *, settled: bool
) -> tuple[str, ...]:
    """What is in doubt about a query's decisions, or missing; ``settled``: all that came has come."""
    found: list[str] = []
    doubtful = [others for one, others in joined if others and one.operation not in SESSION_OPERATIONS]
    if doubtful:
        others = sorted({name for names in doubtful for name in names})
        found.append(f"{len(doubtful)} of its decisions fit {', '.join(others[:3])} as well")
    if query.complete and settled:
        decided = {one.object for one, _ in joined}
        missing = sorted({table for table, user in query.reads if user == query.user} - decided)
        found += [f"no decision on {table} is recorded" for table in missing]
    return tuple(found)


def missing_indexes(seen: Iterable[int], first: int, last: int) -> list[tuple[int, int]]:
    """Runs of numbers from ``first`` to ``last`` that are not in ``seen``."""
    there = set(seen)
    runs: list[tuple[int, int]] = []
    for number in range(first, last + 1):
        if number in there:
            continue
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
