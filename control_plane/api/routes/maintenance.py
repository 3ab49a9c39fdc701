"""What maintenance did to tables and would do, through the governor with a token of the caller's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from control_plane.api.access import Authenticated, Caller, console_of
from control_plane.api.schemas.common import Body
from governance.maintenance.calls import MaintenanceCalls
from governance.maintenance.reports import (
    MaintenancePlan,
    MaintenanceRun,
    MaintenanceScope,
    PolicyRevision,
)

router = APIRouter(prefix="/api/v1/maintenance", tags=["maintenance"])

_Tables = Annotated[list[Annotated[str, Field(min_length=3, max_length=500)]] | None, Query(max_length=100)]


class PlanMaintenance(Body):
    """A table, as ``namespace.table``."""

    table: str = Field(min_length=3, max_length=500, examples=["retail.orders"])


@router.get("/runs")
def maintenance_runs(
    request: Request,
    caller: Authenticated,
    table: _Tables = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[MaintenanceRun]:
    """Runs on tables, newest first: on all that the caller may know of when none is named."""
    return list(_maintenance(request, caller).runs(table or (), limit))


@router.get("/scope")
def maintenance_scope(request: Request, caller: Authenticated) -> MaintenanceScope:
    """Tables that the caller may have maintained, how often the schedule looks, and what this lab's catalog
    does not bear."""
    return _maintenance(request, caller).scope()


@router.get("/policies")
def maintenance_policies(request: Request, caller: Authenticated) -> PolicyRevision:
    """How tables are maintained. For those who may maintain a table or read access data."""
    return _maintenance(request, caller).policies()


@router.post("/plans")
def plan_maintenance(body: PlanMaintenance, request: Request, caller: Authenticated) -> MaintenancePlan:
    """What maintaining a table now would come to; nothing is done."""
    return _maintenance(request, caller).plan(body.table)


def _maintenance(request: Request, caller: Caller) -> MaintenanceCalls:
    return console_of(request).governor.in_thread(caller).maintenance
