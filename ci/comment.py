"""The comment on a pull request: a pure function of the report.

It never holds a row of a table: access is counted, and of resources the names of changed properties are told;
values stand in the engine's own diff alone, where secrets are masked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ci.report import AccessReport, AccessRow, CostReport, Report, StackReport, Touched

MARKER = "<!-- lakehouse-lab: preview -->"
"""By this a later run finds the comment that it replaces."""

MAX_CHARACTERS = 60_000
"""GitHub takes 65,536 characters a comment, GitLab a million."""

MAX_ROWS = 50
_DIFF_SHARE = 20_000
_ORDER = ("replace", "delete", "create", "update", "discard", "import", "refresh")
_QUIET = ("same", "read")


def render(report: Report) -> str:
    """The whole comment as Markdown, at most :data:`MAX_CHARACTERS` long."""
    blocks = [
        MARKER,
        f"## Preview of {_code(report.commit[:12])} ({report.placement})",
        headline(report),
        *([] if report.failure is None else [f"**Stopped:**\n\n{_fence(report.failure, 8_000)}"]),
        *(_stack(stack) for stack in report.stacks),
        _access(report.access) if report.access else "",
        _cost(report.cost) if report.cost else "",
        "\n".join(f"- {_text(note)}" for note in report.notes),
        f"[The run]({report.run_url})" if report.run_url else "",
    ]
    text = "\n\n".join(block for block in blocks if block) + "\n"
    if len(text) <= MAX_CHARACTERS:
        return text
    without = [block for block in blocks if block and not block.startswith("### ")]
    note = "- Too much for a comment; the run's own log has all of it."
    return "\n\n".join([*without, note])[:MAX_CHARACTERS] + "\n"


def headline(report: Report) -> str:
    """What a reviewer has to know, in one line."""
    parts = []
    if report.failure is not None:
        parts.append("the preview failed")
    for stack in report.stacks:
        counts = {op: n for op, n in stack.changes.items() if op not in _QUIET and n}
        parts.append(f"{_code(stack.stack)}: {_counts(counts) or 'no change'}")
    if report.access is not None:
        parts.append("**widens access**" if report.access.widens else "nobody gains access")
    if report.cost is not None and report.cost.billed:
        parts.append(_difference(report.cost))
    return "; ".join(parts) or "nothing was compared"


def _counts(changes: Mapping[str, int]) -> str:
    found = sorted(changes.items(), key=lambda item: _rank(item[0]))
    return ", ".join(f"**{n} {op}**" if op in ("replace", "delete") else f"{n} {op}" for op, n in found)


def _rank(op: str) -> tuple[int, str]:
    """What removes something comes first."""
    return (_ORDER.index(op) if op in _ORDER else len(_ORDER), op)


def _stack(stack: StackReport) -> str:
    lines = [f"### Stack {_code(stack.stack)}"]
    if stack.touched:
        rows = [
            (one.op, _code(one.type), _code(one.name), _properties(one))
            for one in sorted(stack.touched, key=lambda one: _rank(one.op))
        ]
        lines += ["", _table(("operation", "type", "name", "properties"), rows)]
    if stack.diff.strip():
        lines += [
            "",
            "<details><summary>pulumi preview --diff</summary>",
            "",
            _fence(stack.diff, _DIFF_SHARE),
            "",
            "</details>",
        ]
    return "\n".join(lines) if len(lines) > 1 else ""


def _properties(one: Touched) -> str:
    return ", ".join(_code(name) for name in one.changed[:8]) + (" …" if len(one.changed) > 8 else "")


def _access(access: AccessReport) -> str:
    compared = f"{access.readers} users and {access.tables} tables were compared"
    lines = [f"### Access: {_text(access.before)} → {_text(access.after)}", ""]
    if not access.rows:
        return "\n".join([*lines, f"Nothing differs; {compared}."])
    rows = [
        (
            _code(row.username),
            _code(row.table),
            _count(row, row.rows_gained),
            _count(row, row.rows_lost),
            ", ".join(_code(one) for one in row.other),
            "**widens**" if row.widens else "narrows",
        )
        for row in access.rows
    ]
    head = ("user", "table", "rows gained", "rows lost", "columns and privileges", "")
    return "\n".join([*lines, _table(head, rows), "", f"Counts only; {compared}."])


def _count(row: AccessRow, value: int | None) -> str:
    return "?" if value is None else f"{'≈' if row.approximate and value else ''}{value}"


def _cost(cost: CostReport) -> str:
    if not cost.billed:
        return f"### Cost\n\n{_text(cost.planned)}"
    lines = ["### Cost", "", f"- now: {_text(cost.now)}", f"- planned: {_text(cost.planned)}"]
    lines.append(f"- difference: {_difference(cost)}")
    return "\n".join([*lines, *([f"- to do: {_text(cost.todo)}"] if cost.todo else [])])


def _difference(cost: CostReport) -> str:
    if cost.usd_per_hour is None or cost.usd_per_month is None:
        return "cost difference unknown"
    return f"{cost.usd_per_hour:+.4f} $/hour up, {cost.usd_per_month:+.2f} $/month down"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows[:MAX_ROWS]]
    if len(rows) > MAX_ROWS:
        lines += ["", f"… and {len(rows) - MAX_ROWS} more"]
    return "\n".join(lines)


def _code(text: str) -> str:
    """Text that is shown as it is and can't end its cell, its line or its span."""
    flat = re.sub(r"\s+", " ", text).replace("`", "ˋ").replace("|", "\\|")
    return f"`{flat}`"


def _text(text: str) -> str:
    """One line of words without markup of its own: no tags, links or mentions."""
    flat = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"([\\`*_\[\]<>|@#])", r"\\\1", flat)


def _fence(text: str, limit: int) -> str:
    """Text in a fence that nothing in it can end, cut in the middle of nothing but lines."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).strip("\n")
    if len(plain) > limit:
        kept = plain[:limit].rpartition("\n")[0] or plain[:limit]
        plain = f"{kept}\n… {len(plain) - len(kept)} more characters"
    longest = max((len(run) for run in re.findall(r"`+", plain)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}diff\n{plain}\n{fence}"
