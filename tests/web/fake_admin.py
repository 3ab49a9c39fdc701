"""The fake console's services, as admins see them: their logs, and what maintenance did."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, HTTPException, Request

from contracts.secret_kinds import SECRET_KINDS
from control_plane.api.routes.maintenance import PlanMaintenance
from control_plane.api.schemas.admin import EndedSessions, SecretUse
from control_plane.api.schemas.logs import LogLines, ServiceLog
from governance.maintenance.reports import (
    MaintenancePlan,
    MaintenanceRun,
    MaintenanceScope,
    PlannedStep,
    PolicyRevision,
    Size,
    StepOutcome,
    StepReport,
)
from tests.web import samples
from tests.web.samples import NASTY, NOW

router = APIRouter(prefix="/api/v1")

_WORN = Size(files=40, small_files=38, delete_files=0, bytes=3 << 20, manifests=12, snapshots=9)
_TIDY = Size(files=2, small_files=0, delete_files=0, bytes=3 << 20, manifests=1, snapshots=3)
_OPTIMIZE = 'ALTER TABLE "lake"."retail"."orders" EXECUTE optimize'


def _require_admin(request: Request) -> None:
    person = samples.persona(request.state.username)
    if person is None or "lab_admins" not in person.groups:
        raise HTTPException(403, "you may not read the services' logs")


@router.get("/admin/logs")
def logs(request: Request) -> list[ServiceLog]:
    _require_admin(request)
    return [
        ServiceLog(service=name, size_bytes=1 << 20, changed_at=NOW) for name in ("control-plane", "trino")
    ]


@router.get("/admin/logs/{service}")
def log(service: str, request: Request, after: int | None = None) -> LogLines:
    _require_admin(request)
    if after is not None:
        return LogLines(service=service, lines=[f"{service} line at {after}"], next=after + 1, skipped=False)
    lines = [f"INFO {service} line {number}" for number in range(200)]
    return LogLines(service=service, lines=[*lines, f"WARN no table {NASTY}"], next=1, skipped=True)


def _run(
    number: int, table: str, outcome: StepOutcome, *steps: StepReport, error: str | None = None
) -> MaintenanceRun:
    return MaintenanceRun(
        id=number,
        table=table,
        asked_by="engineer" if number % 2 else "maintainer",
        scheduled=not number % 2,
        started_at=NOW - timedelta(hours=number),
        ended_at=NOW - timedelta(hours=number) + timedelta(seconds=4),
        outcome=outcome,
        before=_WORN,
        after=_TIDY if outcome is StepOutcome.DONE else None,
        steps=steps,
        policy={"object": "*", "min_files": 5},
        error=error,
    )


@router.get("/admin/secrets")
def secrets() -> list[SecretUse]:
    return [
        SecretUse(
            title=kind.title,
            services=list(kind.holders),
            command=kind.rotation and f"lab rotate {kind.rotation}",
            stays=kind.stays or None,
        )
        for kind in SECRET_KINDS
    ]


@router.post("/admin/sessions/end")
def end_sessions(request: Request) -> EndedSessions:
    _require_admin(request)
    return EndedSessions(ended=3)


@router.get("/maintenance/runs")
def runs(limit: int = 100) -> list[MaintenanceRun]:
    done = StepReport(
        procedure="optimize",
        outcome=StepOutcome.DONE,
        reason="38 small files",
        statement=_OPTIMIZE,
        duration_s=2.5,
    )
    waits = StepReport(
        procedure="expire_snapshots", outcome=StepOutcome.WAITS, reason="a query reads the table"
    )
    found = [
        _run(1, "retail.orders", StepOutcome.DONE, done, waits),
        _run(2, "retail.nation", StepOutcome.NOTHING),
        _run(3, f"retail.{NASTY}", StepOutcome.FAILED, error="Trino does not answer"),
    ]
    return found[:limit]


@router.get("/maintenance/scope")
def scope(request: Request) -> MaintenanceScope:
    person = samples.persona(request.state.username)
    maintains = person is not None and "data_engineers" in person.groups
    return MaintenanceScope(
        tables=("retail.nation", "retail.orders") if maintains else (),
        catalog_kind="nessie",
        unsafe={"expire_snapshots": "the metadata names one snapshot"},
        min_retention_s=7 * 86_400,
        every_s=900,
    )


@router.post("/maintenance/plans")
def plan(body: PlanMaintenance) -> MaintenancePlan:
    steps = (
        PlannedStep(procedure="optimize", verdict="run", reason="38 small files", statement=_OPTIMIZE),
        PlannedStep(procedure="expire_snapshots", verdict="unsafe", reason="the catalog does not bear it"),
    )
    return MaintenancePlan(table=body.table, policy={}, size=_WORN, steps=steps)


@router.get("/maintenance/policies")
def policies() -> PolicyRevision:
    return PolicyRevision(
        revision=2,
        author="engineer",
        reason="large",
        created_at=NOW,
        based_on=1,
        document={
            "policies": [
                {"object": "*", "min_files": 5, "keep_snapshots": "7d"},
                {"object": "retail.orders", "min_files": 100},
            ]
        },
    )
