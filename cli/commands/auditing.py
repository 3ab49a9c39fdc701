"""``audit``: who read what, by which rules, and who was refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.commands.common import Options, command, lab_command
from contracts.errors import UsageError

if TYPE_CHECKING:
    from governance.audit.report import AuditEvent, AuditLine, AuditReport

WIDTH = 120
"""Characters of a line of the table at most."""
_WIDTHS = (14, 12, 8, 7, 6, 5, 22, 18, WIDTH)
_GAP = "GAP"


@command("audit")
@click.argument("query_id", required=False, metavar="[QUERY]")
@click.option("--user", metavar="USER", help="Only this user's; default: all that you may see.")
@click.option("--since", metavar="TIME", help="Only the last 30m, 1h, 2d; default: all that is kept.")
@click.option("--table", metavar="NS.TABLE", help="Only what read, wrote or was denied this table.")
@click.option("--denied", is_flag=True, help="Only what was denied.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in.")
def audit(
    options: Options,
    query_id: str | None,
    user: str | None,
    since: str | None,
    table: str | None,
    denied: bool,
    limit: int,
    persona: str | None,
) -> None:
    """Show who read which rows of what, by which rules; with QUERY (its id), all about that one.

    Auditors and lab admins see everybody's queries, others their own.
    """
    from cli.operations.auditing import audit as run

    found = run(
        options.session(),
        user=user,
        since=since,
        table=table,
        denied=denied,
        query_id=query_id,
        limit=limit,
        persona=persona,
    )
    if query_id is not None and not found.lines:
        raise UsageError(
            "there is no such query that you may see",
            value=query_id,
            permitted="the id of one of `lab audit`'s lines",
            next_command="lab audit --since 1h",
        )
    options.show(found, lambda: report_text(found) if query_id is None else line_text(found.lines[0]))
    if query_id is None and found.lines:
        options.next_steps(lab_command(options, f"audit {found.lines[0].query_id}"))


def report_text(report: AuditReport) -> str:
    """One line a query or event, oldest first, none longer than :data:`WIDTH`."""
    from cli.render import table

    queries = sorted(report.lines, key=lambda line: (line.begun_at, line.query_id))
    if not queries and not report.events:
        return "nothing is recorded"
    headers = ("when (UTC)", "user", "outcome", "rows", "s", "rev", "tables", "rules", "statement")
    cells = [[_cut(cell, w) for cell, w in zip(_cells(line), _WIDTHS, strict=True)] for line in queries]
    head, *shown = table(headers, cells).splitlines()
    lines = [(line.begun_at, text) for line, text in zip(queries, shown, strict=True)]
    lines += [(event.at, _event_text(event)) for event in report.events]
    text = [_cut(line, WIDTH) for line in (head, *(line for _, line in sorted(lines)))]
    if report.waiting:
        text.append(f"{report.waiting} records are on the disk and not in the database yet")
    return "\n".join(text)


def _cells(line: AuditLine) -> tuple[str, ...]:
    seconds = "" if line.duration_s is None else f"{line.duration_s:.2f}"
    tables = dict.fromkeys(one.table for one in line.tables)
    if not tables:
        tables = dict.fromkeys(one.partition(" ")[2] for one in line.refused if " " in one)
    rules = dict.fromkeys(rule for one in line.tables for rule in one.rules)
    doubt = "? " if line.notes else ""
    return (
        _when(line.begun_at),
        line.user,
        line.outcome.value,
        "" if line.outcome.value in ("denied", "failed") else str(line.rows),
        seconds,
        ",".join(map(str, line.revisions)),
        ",".join(tables),
        ",".join(rules),
        doubt + _one_line(line.statement),
    )


def _event_text(event: AuditEvent) -> str:
    what = _GAP if event.what == "gap" else event.what
    detail = ", ".join(
        f"{key} {_plain(value)}" for key, value in event.detail.items() if value not in ([], None)
    )
    return _one_line(f"{_when(event.at)}  {event.who}  {what}  {detail}")


def line_text(line: AuditLine) -> str:
    """All about one query. Control characters are escaped: statements are anybody's text."""
    from cli.render import cell_text

    return "\n".join(
        cell_text(one) for part in _parts(line) for one in part.expandtabs(4).splitlines() or [""]
    )


def _parts(line: AuditLine) -> Iterator[str]:
    from cli.render import table

    yield f"{line.query_id} by {line.user} ({', '.join(line.groups) or 'no group'})"
    yield f"  {line.outcome.value}{f': {line.message}' if line.message else ''}"
    ended = "" if line.duration_s is None else f", {line.duration_s:.3f} s"
    begun = f"{line.begun_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    tags = f" ({', '.join(line.tags)})" if line.tags else ""
    yield f"  {begun}{ended}, from {line.source or '-'}{tags} at {line.client or '-'}"
    yield f"  {line.rows} rows, {line.bytes} bytes; {line.read_rows} rows read from files"
    yield f"  access data of revision {', '.join(map(str, line.revisions)) or 'unknown'}"
    yield from (f"  refused: {one}" for one in line.refused)
    yield from (f"  note: {one}" for one in line.notes)
    yield ""
    yield "\n".join(f"    {part}" for part in line.statement.splitlines())
    tables = [
        (
            f"{one.table}{f' (as {one.as_user})' if one.as_user else ''}",
            ", ".join(f"{name} (masked)" if name in one.masked else name for name in one.columns) or "-",
            str(one.filters),
            ", ".join(one.rules) or "-",
        )
        for one in line.tables
    ]
    if tables:
        yield ""
        yield table(("table", "columns", "row filters", "rules"), tables)
    if line.written:
        yield f"wrote {line.written}"
    if line.decisions:
        yield ""
        yield table(("decision", "on", "answer", "revision", "id"), _decisions(line))


def _decisions(line: AuditLine) -> Sequence[tuple[str, ...]]:
    answers = {True: "allowed", False: "denied", None: "rules"}
    return [
        (
            one.operation,
            one.object or "-",
            answers[one.allowed] + (f" (or {', '.join(one.shared_with)})" if one.shared_with else ""),
            "-" if one.revision is None else str(one.revision),
            one.id,
        )
        for one in line.decisions
    ]


def _when(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%m-%d %H:%M:%S")


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _one_line(text: str) -> str:
    from cli.render import cell_text

    return cell_text(re.sub(r"[\r\n\t]+", " ", text))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


COMMANDS = (audit,)
