"""``maintain``: compaction, expiry, orphan files and manifests, on demand; their history and policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.commands.common import Options, command, common_options, lab_command

if TYPE_CHECKING:
    from cli.operations.maintaining import PlanReport, RunReport
    from governance.maintenance.reports import MaintenanceRun, MaintenanceScope, PolicyRevision, Size

_WIDTH = 110


class MaintainGroup(click.Group):
    """``lab maintain retail.orders`` is ``lab maintain run retail.orders``: a table's name has a dot, so that
    none is taken for a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = [one for one in args if one in self.commands]
        if not given and not {"-h", "--help"} & set(args):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("maintain", cls=MaintainGroup)
@common_options
def maintain() -> None:
    """Keep tables in shape: `lab maintain [TABLE]...` compacts files, merges manifests, expires snapshots and
    removes orphan files, as each table's policy says.

    The schedule does the same by itself; `--dry-run` says what would be done.
    """


def _persona(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--as", "persona", metavar="USER", help="A sample user; default: who signed in.")(
        function
    )


@command("run")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@_persona
def run(options: Options, tables: tuple[str, ...], dry_run: bool, persona: str | None) -> int:
    """Maintain tables now, due or not: those named, or all that you may have maintained."""
    from cli.operations.maintaining import maintain as do
    from cli.operations.maintaining import plan_maintenance

    if dry_run:
        plans = plan_maintenance(options.session(), tables, persona=persona)
        options.show(plans, lambda: plan_text(plans))
        options.next_steps(lab_command(options, " ".join(["maintain", *tables])))
        return 0
    report = do(options.session(), tables, persona=persona)
    options.show(report, lambda: report_text(report))
    options.next_steps(lab_command(options, "maintain history"))
    return 1 if report.failed else 0


def plan_text(report: PlanReport) -> str:
    """Each table with its steps, and what the catalog does not bear."""
    from cli.render import table

    if not report.plans:
        return "there is no table that you may have maintained"
    parts: list[str] = []
    for plan in report.plans:
        steps = [
            (f"  {one.procedure}", one.verdict, one.reason)
            for one in plan.steps
            if one.verdict != "unsafe" or one.procedure not in report.scope.unsafe
        ]
        size = plan.size
        head = (
            f"{plan.table}: {size.files} files ({size.small_files} small, {size.delete_files} of deletes), "
            f"{_bytes(size.bytes)}, {size.manifests} manifests, {size.snapshots} snapshots"
        )
        _, *rows = table(("", "", ""), steps).splitlines()
        parts.append("\n".join([head, *rows]))
    return "\n\n".join([*parts, *_limits(report.scope)])


def report_text(report: RunReport) -> str:
    """Before and after by table, then whatever did not go as planned."""
    if not report.runs and not report.errors:
        return "there is no table that you may have maintained"
    parts = [runs_text(report.runs)] if report.runs else []
    lines = [f"{table}: {error}" for table, error in report.errors.items()]
    for one in report.runs:
        lines += [
            f"{one.table}: {step.procedure} {step.outcome.value}: {step.reason}"
            for step in one.steps
            if step.outcome.value in ("failed", "conflict", "waits")
            or (step.outcome.value == "unsafe" and step.procedure not in report.scope.unsafe)
        ]
        if one.error and not any(step.outcome.value in ("failed", "conflict") for step in one.steps):
            lines.append(f"{one.table}: {one.error}")
    return "\n\n".join(
        [*parts, *(["\n".join(map(_one_line, lines))] if lines else []), *_limits(report.scope)]
    )


def runs_text(runs: Sequence[MaintenanceRun], *, when: bool = False) -> str:
    """One line a run."""
    from cli.render import table

    headers = ("table", "outcome", "files", "bytes", "manifests", "snapshots", "s", "by", "done")
    rows = []
    for one in runs:
        spent = "" if one.ended_at is None else f"{(one.ended_at - one.started_at).total_seconds():.1f}"
        done = ", ".join(step.procedure for step in one.steps if step.outcome.value == "done")
        row = (
            one.table,
            one.outcome.value,
            _change(one, lambda size: str(size.files)),
            _change(one, lambda size: _bytes(size.bytes)),
            _change(one, lambda size: str(size.manifests)),
            _change(one, lambda size: str(size.snapshots)),
            spent,
            one.asked_by,
            done or "-",
        )
        rows.append((f"{one.started_at:%Y-%m-%d %H:%M:%S}", *row) if when else row)
    return table(("when", *headers) if when else headers, rows)


def _change(run: MaintenanceRun, of: Callable[[Size], str]) -> str:
    before = "?" if run.before is None else of(run.before)
    after = "?" if run.after is None else of(run.after)
    return before if before == after else f"{before} -> {after}"


def _limits(scope: MaintenanceScope) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for procedure, reason in scope.unsafe.items():
        reasons.setdefault(reason, []).append(procedure)
    return [
        f"not run on this lab's catalog ({scope.catalog_kind}): {', '.join(procedures)}.\n  {reason}"
        for reason, procedures in reasons.items()
    ]


@command("history")
@click.argument("tables", nargs=-1, metavar="[TABLE]...")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@_persona
def history(options: Options, tables: tuple[str, ...], limit: int, persona: str | None) -> None:
    """Show what was maintained, when, by whom, and what it came to."""
    from cli.operations.maintaining import maintenance_history

    found = maintenance_history(options.session(), tables, limit=limit, persona=persona)
    options.show(found, lambda: history_text(found))


def history_text(runs: Sequence[MaintenanceRun]) -> str:
    """One line a run, with the error below it."""
    if not runs:
        return "nothing was maintained yet"
    head, *lines = runs_text(runs, when=True).splitlines()
    shown = [head]
    for line, one in zip(lines, runs, strict=True):
        shown += [line, *([f"  {_one_line(one.error)}"] if one.error else [])]
    return "\n".join(shown)


@click.group("policy")
@common_options
def policy() -> None:
    """How tables are maintained: for all ('*'), for a namespace ('NS.*') or for one table."""


@command("show")
@click.argument("table", required=False, metavar="[TABLE]")
@_persona
def show(options: Options, table: str | None, persona: str | None) -> None:
    """Show the policies; with TABLE (NS.TABLE), what they come to for it."""
    from cli.operations.maintaining import maintenance_policies

    found = maintenance_policies(options.session(), persona=persona)
    if table is None:
        options.show(found, lambda: policies_text(found))
        return
    from governance.maintenance.policy import Policies

    effective = Policies.from_document(found.document).on(table.lower()).as_document()
    options.show(
        {"table": table.lower(), "revision": found.revision, "policy": effective},
        lambda: "\n".join(f"{field:18} {_plain(value)}" for field, value in effective.items()),
    )


def policies_text(found: PolicyRevision) -> str:
    """One block an object."""
    parts = [f"revision {found.revision} by {found.author}: {found.reason}"]
    for item in found.document["policies"]:
        lines = [f"  {field:18} {_plain(value)}" for field, value in item.items() if field != "object"]
        parts.append("\n".join([item["object"], *lines]))
    return "\n\n".join(parts)


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _edit_options(function: Callable[..., Any]) -> Callable[..., Any]:
    reason = click.option("--reason", required=True, metavar="TEXT", help="Why; kept in the history.")
    return reason(_persona(function))


@command("set")
@click.argument("target", metavar="OBJECT")
@click.argument("assignments", nargs=-1, required=True, metavar="FIELD=VALUE...")
@_edit_options
def set_fields(
    options: Options, target: str, assignments: tuple[str, ...], reason: str, persona: str | None
) -> None:
    """Set fields of OBJECT's policy: NS.TABLE, 'NS.*' or '*'.

    The file policies/data/maintenance/tables.yaml explains the fields.
    """
    from cli.operations.maintaining import change_maintenance_policy, field_values

    found = change_maintenance_policy(
        options.session(), target, values=field_values(assignments), reason=reason, persona=persona
    )
    options.show(found, lambda: f"revision {found.revision}: {found.reason}")
    options.next_steps(lab_command(options, "maintain policy show"))


@command("unset")
@click.argument("target", metavar="OBJECT")
@click.argument("fields", nargs=-1, metavar="[FIELD]...")
@_edit_options
def unset_fields(
    options: Options, target: str, fields: tuple[str, ...], reason: str, persona: str | None
) -> None:
    """Take fields off OBJECT's policy, all of them when none is named, so that the wider one holds."""
    from cli.operations.maintaining import change_maintenance_policy

    found = change_maintenance_policy(
        options.session(), target, unset=fields or ("*",), reason=reason, persona=persona
    )
    options.show(found, lambda: f"revision {found.revision}: {found.reason}")
    options.next_steps(lab_command(options, "maintain policy show"))


@command("history")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@_persona
def policy_history(options: Options, limit: int, persona: str | None) -> None:
    """Show who changed the policies, when and why."""
    from cli.operations.maintaining import maintenance_policy_history
    from cli.render import table

    found = maintenance_policy_history(options.session(), limit=limit, persona=persona)
    rows = [(str(r.revision), f"{r.created_at:%Y-%m-%d %H:%M:%S}", r.author, r.reason) for r in found]
    options.show(found, lambda: table(("revision", "when", "who", "why"), rows))


def _bytes(count: int) -> str:
    from cli.drawing import human_bytes

    return human_bytes(count)


def _one_line(text: str) -> str:
    from cli.render import cell_text

    line = cell_text(" ".join(text.split()))
    return line if len(line) <= 4 * _WIDTH else line[: 4 * _WIDTH - 1] + "…"


for _command in (show, set_fields, unset_fields, policy_history):
    policy.add_command(_command)
for _command in (run, history, policy):
    maintain.add_command(_command)

COMMANDS = (maintain,)
