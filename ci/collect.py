"""Makes the report of a change, by the operations of `lab preview`, `lab policy diff` and `lab cost`."""

from __future__ import annotations

from pathlib import Path

from ci.report import AccessReport, AccessRow, CostReport, Report, StackReport, Touched
from cli.cost import Estimate, verdict, what_to_do
from cli.operations.costing import CostResult, costs_of
from cli.operations.lifecycle import PreviewResult, preview
from cli.operations.policy import compare
from cli.session import Session
from contracts.errors import LabError
from contracts.settings import Role
from governance.reports import ImpactReport, TableImpact

_QUIET = ("same", "read")


def collect(session: Session, *, commit: str, run_url: str | None = None) -> Report:
    """Previews both stacks under the guardrails, compares access data, and estimates cost. What can't be
    said is said to be missing, and why; nothing is changed."""
    session.guardrails = True
    placement = _placement(session)
    try:
        found = preview(session, diff=True)
    except LabError as error:
        return Report(placement=placement, commit=commit, failure=error.render(), run_url=run_url)
    notes = []
    if found.lab is None:
        notes.append("The lab stack is previewed once the persistent stack has been made.")
    access = None
    try:
        access = access_report(compare(session))
    except LabError as error:
        notes.append(f"Access was not compared: {error.what}. It is compared with a lab that is up.")
    return Report(
        placement=placement,
        commit=commit,
        stacks=stack_reports(found),
        access=access,
        cost=cost_report(costs_of(found.steps)),
        notes=tuple(notes),
        run_url=run_url,
    )


def _placement(session: Session) -> str:
    from cli.project import read_config

    return read_config(session.lab, Role.LAB).get("placement", "local") if session.lab.exists else "local"


def stack_reports(found: PreviewResult) -> tuple[StackReport, ...]:
    """What would be done to each stack that was previewed."""
    counts = {Role.PERSISTENT: found.persistent, Role.LAB: found.lab}
    return tuple(
        StackReport(
            stack=role.value,
            changes=counts[role] or {},
            touched=tuple(
                Touched(op=one.op, type=one.type, name=one.name, changed=one.changed)
                for one in steps
                if one.op not in _QUIET
            ),
            diff=_log(found.log_files.get(role)),
        )
        for role, steps in found.steps.items()
    )


def _log(path: str | None) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except OSError:
        return ""


def access_report(found: ImpactReport) -> AccessReport:
    """Counts of a comparison; predicates and values stay where they are."""
    return AccessReport(
        before=found.before,
        after=found.after,
        readers=len(found.readers),
        tables=found.tables_compared,
        rows=tuple(_access_row(one) for one in found.impacts),
    )


def _access_row(one: TableImpact) -> AccessRow:
    other = [f"{column.column}: {column.before} → {column.after}" for column in one.columns]
    other += [f"+{name}" for name in one.privileges_gained] + [f"-{name}" for name in one.privileges_lost]
    counted = one.rows is not None and one.rows.error is None
    unchanged = one.filter_before == one.filter_after
    return AccessRow(
        username=one.username,
        table=one.table,
        rows_gained=one.rows.gained if one.rows and counted else 0 if unchanged else None,
        rows_lost=one.rows.lost if one.rows and counted else 0 if unchanged else None,
        other=tuple(other),
        widens=one.widens,
        approximate=one.approximate,
    )


def cost_report(found: CostResult) -> CostReport:
    """The difference, where both sides are known."""
    known = _known(found.now) and _known(found.planned)
    return CostReport(
        billed=found.now.is_billed or found.planned.is_billed,
        now=verdict(found.now),
        planned=verdict(found.planned),
        usd_per_hour=found.planned.usd_per_hour_up - found.now.usd_per_hour_up if known else None,
        usd_per_month=found.planned.usd_per_month_down - found.now.usd_per_month_down if known else None,
        todo=what_to_do(found.planned),
    )


def _known(one: Estimate) -> bool:
    return one.is_complete
