"""Kept charts and dashboards."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from control_plane.api.access import Authenticated
from control_plane.api.routes.saved import IfMatch
from control_plane.api.schemas import queries
from control_plane.api.schemas.charts import (
    Chart,
    Dashboard,
    DashboardSummary,
    FilterOptions,
    RunChart,
    RunTile,
    SaveChart,
    SaveDashboard,
)

charts = APIRouter(prefix="/api/v1/charts", tags=["charts"])
dashboards = APIRouter(prefix="/api/v1/dashboards", tags=["dashboards"])

_Text = Annotated[str, Query(max_length=200)]


@charts.get("")
def list_charts(request: Request, caller: Authenticated, text: _Text = "") -> list[Chart]:
    """All that the caller may read, the last changed first."""
    raise NotImplementedError


@charts.post("", status_code=201)
def create_chart(body: SaveChart, request: Request, response: Response, caller: Authenticated) -> Chart:
    """Keeps a chart."""
    raise NotImplementedError


@charts.get("/{chart_id}")
def get_chart(chart_id: UUID, request: Request, response: Response, caller: Authenticated) -> Chart:
    """One of them."""
    raise NotImplementedError


@charts.put("/{chart_id}")
def update_chart(
    chart_id: UUID,
    body: SaveChart,
    request: Request,
    response: Response,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> Chart:
    """Replaces it, if it still is as the caller last saw it."""
    raise NotImplementedError


@charts.delete("/{chart_id}", status_code=204)
def delete_chart(chart_id: UUID, request: Request, caller: Authenticated, if_match: IfMatch = None) -> None:
    """Removes it; its owner may."""
    raise NotImplementedError


@charts.post("/{chart_id}/data", status_code=202)
async def run_chart(chart_id: UUID, body: RunChart, request: Request, caller: Authenticated) -> queries.Query:
    """Starts the chart's statement as the caller; rows come from the query."""
    raise NotImplementedError


@dashboards.get("")
def list_dashboards(request: Request, caller: Authenticated, text: _Text = "") -> list[DashboardSummary]:
    """All that the caller may read, the last changed first."""
    raise NotImplementedError


@dashboards.post("", status_code=201)
def create_dashboard(
    body: SaveDashboard, request: Request, response: Response, caller: Authenticated
) -> Dashboard:
    """Keeps a dashboard."""
    raise NotImplementedError


@dashboards.get("/{dashboard_id}")
def get_dashboard(
    dashboard_id: UUID, request: Request, response: Response, caller: Authenticated
) -> Dashboard:
    """One of them with its charts."""
    raise NotImplementedError


@dashboards.put("/{dashboard_id}")
def update_dashboard(
    dashboard_id: UUID,
    body: SaveDashboard,
    request: Request,
    response: Response,
    caller: Authenticated,
    if_match: IfMatch = None,
) -> Dashboard:
    """Replaces it, if it still is as the caller last saw it."""
    raise NotImplementedError


@dashboards.delete("/{dashboard_id}", status_code=204)
def delete_dashboard(
    dashboard_id: UUID, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> None:
    """Removes it; its owner may. Its charts stay."""
    raise NotImplementedError


@dashboards.post("/{dashboard_id}/tiles/{tile_id}/data", status_code=202)
async def run_tile(
    dashboard_id: UUID, tile_id: str, body: RunTile, request: Request, caller: Authenticated
) -> queries.Query:
    """Starts a tile's statement as the caller, with the dashboard's filters."""
    raise NotImplementedError


@dashboards.get("/{dashboard_id}/filters/{parameter}/options")
async def filter_options(
    dashboard_id: UUID, parameter: str, request: Request, caller: Authenticated
) -> FilterOptions:
    """What a filter offers, by the caller's own rights."""
    raise NotImplementedError
