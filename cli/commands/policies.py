"""``policy``: what the rules decide, tested, explained, and compared before they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.commands.common import Options, command, common_options, split_names
from contracts.errors import UsageError

if TYPE_CHECKING:
    from cli.operations.policy import Explained
    from governance.reports import ImpactReport

WIDENS = 4
"""Exit code of a comparison in which somebody gains something."""


@click.group("policy")
@common_options
def policy() -> None:
    """What the rules decide: test them, explain them, compare them before they are changed."""


@command("test")
def policy_test(options: Options) -> int:
    """Run the Rego tests, compile strictly, and check policies/data. Needs no running lab."""
    from cli.operations.policy import policy_test as run

    result = run(options.session())

    def text() -> str:
        lines = [f"failed: {name}" for name in result.failed] + [f"problem: {p}" for p in result.problems]
        lines.append(f"{result.passed} passed, {len(result.failed)} failed, {result.coverage} % covered")
        return "\n".join(lines)

    options.show({**_fields(result), "ok": result.ok}, text)
    return 0 if result.ok else 1


@command("explain")
@click.argument("table")
@click.option("--as", "user", metavar="USER", help="About whom; default: who signed in (lab login).")
def explain(options: Options, table: str, user: str | None) -> int:
    """Say why a user sees which rows and columns of TABLE, by which rule, at which revision."""
    from cli.operations.policy import explain as run

    result = run(options.session(), table, user=user)
    options.show(result, lambda: explanation_text(result))
    return 1 if result.agrees is False else 0


def explanation_text(result: Explained) -> str:
    """Grants, rows, columns, and whether OPA agrees."""
    from cli.render import table
    from governance.predicates import leak_warning, subqueries

    found = result.explanation
    groups = ", ".join(found.groups) or "no group"
    lines = [f"{found.username} ({groups}) on {found.view.table}, revision {found.revision}", ""]
    if not found.readable:
        lines.append("not readable: no grant of select covers it")
    held = {use.by: [] for use in found.view.grants}  # type: dict[str, list[str]]
    for use in found.view.grants:
        held[use.by].append(use.privilege)
    lines += [f"granted:  {', '.join(privileges)}, by {by}" for by, privileges in held.items()]
    if found.readable:
        for one in found.view.filters:
            runs = f" (read as {one.identity})" if one.identity else ""
            lines.append(f"rows:     only where {one.predicate}{runs}, by rule {one.rule}")
            if subqueries(one.predicate):
                lines.append(f"warning:  {leak_warning(one.rule)}")
        if not found.view.filters:
            lines.append("rows:     all; no filter reaches the reader")
        lines += [f"exempt:   from rule {one.rule}: {one.by}" for one in found.view.exemptions]
        rows = [
            (use.column, use.mask or use.visibility.value, ", ".join(use.rules)) for use in found.view.columns
        ]
        lines += ["", table(("column", "looks", "by rule"), rows)]
        hidden = found.denied - sum(use.visibility.value == "denied" for use in found.view.columns)
        if hidden:
            lines.append(f"and {hidden} denied columns")
    lines.append("")
    if result.agrees is None:
        why = "; ".join(result.differences) or f"OPA has revision {found.published}"
        lines.append(f"not compared with OPA: {why}")
    else:
        lines.append("OPA decides the same" if result.agrees else "OPA decides otherwise:")
        lines += [f"  {one}" for one in result.differences]
    return "\n".join(lines)


@command("diff")
@click.argument("span", required=False, metavar="[A..B]")
@click.option("--as", "users", multiple=True, metavar="USER", help="Only for these users.")
@click.option("--table", "tables", multiple=True, metavar="NS.TABLE", help="Only these tables.")
@click.option("--no-count", is_flag=True, help="Don't count rows.")
@click.option("--markdown", is_flag=True, help="A table for a pull request.")
def diff(
    options: Options,
    span: str | None,
    users: tuple[str, ...],
    tables: tuple[str, ...],
    no_count: bool,
    markdown: bool,
) -> int:
    """Say who gains or loses which rows and columns from A to B, counted on the tables.

    A and B are revisions or 'living'; B may be 'tree', this checkout's policies/data as a seed.
    Default: living..tree. Exit code 4 when somebody gains something, else 0.
    """
    from cli.operations.policy import compare as run

    if markdown and options.json:
        raise UsageError("--markdown and --json exclude each other", permitted="one of them")
    result = run(
        options.session(), span, users=split_names(users), tables=split_names(tables), count=not no_count
    )
    show_as = impact_markdown if markdown else impact_text
    impacts = [{**_fields(one), "widens": one.widens, "narrows": one.narrows} for one in result.impacts]
    options.show({**_fields(result), "impacts": impacts, "widens": result.widens}, lambda: show_as(result))
    return WIDENS if result.widens else 0


_HEAD = ("user", "table", "rows before", "rows after", "gained", "lost", "columns and privileges", "")


def impact_rows(result: ImpactReport) -> list[tuple[str, ...]]:
    """One line a reader and table."""
    rows = []
    for one in result.impacts:
        other = [f"{c.column}: {c.before} → {c.after}" for c in one.columns]
        other += [f"+{p}" for p in one.privileges_gained] + [f"-{p}" for p in one.privileges_lost]
        counts: tuple[str, ...] = ("", "", "", "")
        if one.rows is not None and one.rows.error is not None:
            other.append(f"can't be counted: {one.rows.error}")
        elif one.rows is not None and one.filter_before != one.filter_after:
            about = "≈" if one.approximate else ""
            numbers = (one.rows.before, one.rows.after, one.rows.gained, one.rows.lost)
            counts = tuple(f"{about}{number}" for number in numbers)
        elif one.filter_before != one.filter_after:
            counts = ("?", "?", "?", "?")
        verdict = "WIDENS" if one.widens else "narrows" if one.narrows else ""
        rows.append((one.username, one.table, *counts, ", ".join(other), verdict))
    return rows


def impact_text(result: ImpactReport) -> str:
    """Aligned, with what was compared above and the verdict below."""
    from cli.render import table

    lines = [f"{result.before} → {result.after}: {len(result.changes)} items differ"]
    lines += [f"  {one.verb} {one.section.removesuffix('s')} {one.name}" for one in result.changes]
    lines += ["", table(_HEAD, impact_rows(result))] if result.impacts else []
    lines += ["", *result.notes, _verdict(result)]
    return "\n".join(lines)


def impact_markdown(result: ImpactReport) -> str:
    """GitHub's tables; cells hold nothing that ends one."""
    lines = [f"**Access: {result.before} → {result.after}.** {_verdict(result)}", ""]
    lines += [f"- {one.verb} {one.section.removesuffix('s')} `{one.name}`" for one in result.changes]
    if result.impacts:
        lines += ["", f"| {' | '.join(_HEAD)} |", "|---|---|---:|---:|---:|---:|---|---|"]
        for row in impact_rows(result):
            cells = [cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for cell in row]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, *(["", *result.notes] if result.notes else [])])


def _verdict(result: ImpactReport) -> str:
    across = f"{len(result.readers)} users, {result.tables_compared} tables"
    if result.widens:
        gaining = sorted({one.username for one in result.impacts if one.widens})
        return f"Widens access for {', '.join(gaining)} ({across} compared)."
    return f"Nobody gains anything ({across} compared)."


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


for _command in (policy_test, explain, diff):
    policy.add_command(_command)

COMMANDS = (policy,)
