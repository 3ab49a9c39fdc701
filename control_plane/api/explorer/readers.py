"""Who may read a table and why, and where its rows came from and went."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from contracts.access import AccessData, Privilege
from control_plane.api.schemas.explorer import (
    ExceptionUse,
    Lineage,
    LineageEdge,
    Reader,
    TableReaders,
    TableUse,
)
from governance.audit.report import AuditLine, AuditReport
from governance.client import GovernorClient
from governance.effects import Effects
from governance.effects import Reader as EffectsReader
from governance.reports import Explanation, TableView, Visibility

_NOBODY = ""
_LINES = 1000
_SHOWN = 50


def all_readers(client: GovernorClient, table: str, catalog: str) -> TableReaders:
    """Every group that may read ``ns.table``, for a caller who may read access data. Raises GovernorError."""
    now = datetime.now(tz=UTC)
    access = AccessData.from_document(client.access().document)
    owners = {owner.table: owner.group for owner in client.owners()}
    effects = Effects(access, owners, catalog=catalog, now=now)
    columns = [use.column for use in client.explain(table).view.columns]
    groups = {grant.group for grant in access.grants} | set(owners.values())
    found = []
    for group in sorted(groups):
        reader = EffectsReader(username=_NOBODY, groups=frozenset({group}))
        view = effects.view(reader, table, columns)
        if view.readable:
            found.append(_reader(group, view))
    name = table.lower()
    exceptions = [
        ExceptionUse(id=e.id, user=e.user, expires_at=e.expires_at, reason=e.reason, lifts=list(e.lifts))
        for e in access.exceptions
        if e.expires_at > now and e.object.lower() in (name, f"{name.rpartition('.')[0]}.*")
    ]
    return TableReaders(table=name, complete=True, groups=found, exceptions=exceptions)


def own_readers(explanation: Explanation) -> TableReaders:
    """What a caller may know who may not read access data: their own groups."""
    view = explanation.view
    found = []
    for group in explanation.groups:
        grants = [grant for grant in view.grants if f" {group} " in f" {grant.by} "]
        if any(grant.privilege == Privilege.SELECT.value for grant in grants):
            found.append(
                Reader(
                    group=group,
                    privileges=sorted({grant.privilege for grant in grants}),
                    by=sorted({grant.by for grant in grants}),
                    rules=_rules(view),
                )
            )
    return TableReaders(table=view.table, complete=False, groups=found, exceptions=[])


def lineage(report: AuditReport, table: str, since_s: int, *, complete: bool) -> Lineage:
    """Edges between ``ns.table`` and others, from the audit's lines about it."""
    name = table.lower()
    finished = [line for line in report.lines if line.outcome == "finished"]
    written = [line for line in finished if (line.written or "").lower() == name]
    read = [line for line in finished if name in _sources(line)]
    return Lineage(
        table=name,
        complete=complete and len(report.lines) < _LINES,
        since=datetime.now(tz=UTC) - timedelta(seconds=since_s),
        upstream=_edges(
            (source, name, line) for line in written for source in _sources(line) if source != name
        ),
        downstream=_edges(
            (name, line.written.lower(), line)
            for line in read
            if line.written and line.written.lower() != name
        ),
        written_by=[_use(line) for line in written[:_SHOWN]],
        read_by=[_use(line) for line in read[:_SHOWN]],
    )


def audit_of(client: GovernorClient, table: str, since_s: int) -> AuditReport:
    """The audit's lines about a table, as far as the caller may see them. Raises GovernorError."""
    return client.audit(table=table.lower(), since_s=since_s, limit=_LINES)


def _sources(line: AuditLine) -> set[str]:
    """Tables that a query read; what a row filter reads for it does not count."""
    return {read.table.lower() for read in line.tables if read.as_user is None}


def _edges(found: Iterable[tuple[str, str, AuditLine]]) -> list[LineageEdge]:
    grouped: dict[tuple[str, str], list[AuditLine]] = {}
    for source, target, line in found:
        grouped.setdefault((source, target), []).append(line)
    edges = []
    for (source, target), lines in sorted(grouped.items()):
        last = max(lines, key=lambda line: line.begun_at)
        edges.append(
            LineageEdge(
                source=source,
                target=target,
                queries=len(lines),
                users=sorted({line.user for line in lines}),
                last_at=last.begun_at,
                last_query_id=last.query_id,
            )
        )
    return edges


def _use(line: AuditLine) -> TableUse:
    return TableUse(
        query_id=line.query_id,
        user=line.user,
        at=line.begun_at,
        statement=line.statement,
        rows=line.rows,
        outcome=line.outcome,
    )


def _reader(group: str, view: TableView) -> Reader:
    return Reader(
        group=group,
        privileges=sorted({grant.privilege for grant in view.grants}),
        by=sorted({grant.by for grant in view.grants}),
        rules=_rules(view),
    )


def _rules(view: TableView) -> list[str]:
    changed = [use for use in view.columns if use.visibility is not Visibility.PLAIN]
    return sorted({f.rule for f in view.filters} | {rule for use in changed for rule in use.rules})
