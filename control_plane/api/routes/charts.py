"""Kept charts and dashboards."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

import orjson
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from contracts.identity import Audience
from control_plane.api.access import Authenticated, Caller, console_of
from control_plane.api.charts import (
    chart_ids,
    filter_of,
    filtered_statement,
    require_whole,
    statement_of,
    tile_of,
)
from control_plane.api.keeping import (
    IfMatch,
    document_of,
    member_of,
    require_entered,
    require_groups,
    shown,
    version_of,
)
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
from control_plane.api.schemas.queries import QueryOrigin
from control_plane.api.storage.kept import Kept, KeptStore, Viewer

charts = APIRouter(prefix="/api/v1/charts", tags=["charts"])
dashboards = APIRouter(prefix="/api/v1/dashboards", tags=["dashboards"])

_Text = Annotated[str, Query(max_length=200)]
_Of = Annotated[UUID | None, Query(description="Only those of this workspace, which the caller works in.")]
_MAX_OPTIONS = 1000


@charts.get("")
def list_charts(
    request: Request, caller: Authenticated, text: _Text = "", workspace_id: _Of = None
) -> list[Chart]:
    """All that the caller may read, the last changed first."""
    found = _charts(request).all(member_of(request, caller), text, workspace_id)
    return [shown(kept, Chart) for kept in found]


@charts.post("", status_code=201)
def create_chart(body: SaveChart, request: Request, response: Response, caller: Authenticated) -> Chart:
    """Keeps a chart."""
    require_groups(request, caller, body.shares)
    require_entered(request, caller, body.workspace_id)
    kept = _charts(request).create(
        member_of(request, caller), body.title, document_of(body), body.shares, body.workspace_id
    )
    response.headers["Location"] = f"/api/v1/charts/{kept.id}"
    return shown(kept, Chart, response)


@charts.get("/{chart_id}")
def get_chart(chart_id: UUID, request: Request, response: Response, caller: Authenticated) -> Chart:
    """One of them."""
    return shown(_charts(request).get(member_of(request, caller), chart_id), Chart, response)


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
    version = version_of(if_match)
    viewer, store = member_of(request, caller), _charts(request)
    require_groups(request, caller, body.shares)
    viewer = _on_the_way(request, caller, viewer, store.get(viewer, chart_id), body.workspace_id)
    kept = store.update(
        viewer, chart_id, version, body.title, document_of(body), body.shares, body.workspace_id
    )
    return shown(kept, Chart, response)


@charts.delete("/{chart_id}", status_code=204)
def delete_chart(chart_id: UUID, request: Request, caller: Authenticated, if_match: IfMatch = None) -> None:
    """Removes it; its owner may, and the owners of its workspace."""
    _charts(request).delete(member_of(request, caller), chart_id, version_of(if_match))


@charts.post("/{chart_id}/data", status_code=202)
async def run_chart(chart_id: UUID, body: RunChart, request: Request, caller: Authenticated) -> queries.Query:
    """Starts the chart's statement as the caller; rows come from the query."""
    chart = await to_thread.run_sync(_load_chart, request, caller, chart_id)
    statement = statement_of(chart, body.parameters)
    return await console_of(request).queries.start(caller, statement, QueryOrigin.CHART)


@dashboards.get("")
def list_dashboards(
    request: Request, caller: Authenticated, text: _Text = "", workspace_id: _Of = None
) -> list[DashboardSummary]:
    """All that the caller may read, the last changed first."""
    found = _dashboards(request).all(member_of(request, caller), text, workspace_id)
    return [shown(kept, DashboardSummary, tile_count=len(kept.document["tiles"])) for kept in found]


@dashboards.post("", status_code=201)
def create_dashboard(
    body: SaveDashboard, request: Request, response: Response, caller: Authenticated
) -> Dashboard:
    """Keeps a dashboard."""
    require_groups(request, caller, body.shares)
    require_entered(request, caller, body.workspace_id)
    viewer = member_of(request, caller)
    require_whole(body, viewer, _charts(request), None)
    kept = _dashboards(request).create(viewer, body.title, document_of(body), body.shares, body.workspace_id)
    response.headers["Location"] = f"/api/v1/dashboards/{kept.id}"
    return _whole(request, viewer, kept, response)


@dashboards.get("/{dashboard_id}")
def get_dashboard(
    dashboard_id: UUID, request: Request, response: Response, caller: Authenticated
) -> Dashboard:
    """One of them with its charts."""
    viewer = member_of(request, caller)
    return _whole(request, viewer, _dashboards(request).get(viewer, dashboard_id), response)


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
    version = version_of(if_match)
    viewer, store = member_of(request, caller), _dashboards(request)
    before = store.get(viewer, dashboard_id)
    require_groups(request, caller, body.shares)
    viewer = _on_the_way(request, caller, viewer, before, body.workspace_id)
    require_whole(body, viewer, _charts(request), before)
    kept = store.update(
        viewer, dashboard_id, version, body.title, document_of(body), body.shares, body.workspace_id
    )
    return _whole(request, viewer, kept, response)


@dashboards.delete("/{dashboard_id}", status_code=204)
def delete_dashboard(
    dashboard_id: UUID, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> None:
    """Removes it; its owner may, and the owners of its workspace. Its charts stay."""
    _dashboards(request).delete(member_of(request, caller), dashboard_id, version_of(if_match))


@dashboards.post("/{dashboard_id}/tiles/{tile_id}/data", status_code=202)
async def run_tile(
    dashboard_id: UUID, tile_id: str, body: RunTile, request: Request, caller: Authenticated
) -> queries.Query:
    """Starts a tile's statement as the caller, with the dashboard's filters."""
    dashboard = await to_thread.run_sync(_load, request, caller, dashboard_id)
    _, chart = tile_of(dashboard, tile_id)
    statement = filtered_statement(dashboard, chart, body.filters)
    return await console_of(request).queries.start(caller, statement, QueryOrigin.CHART)


@dashboards.get("/{dashboard_id}/filters/{parameter}/options")
async def filter_options(
    dashboard_id: UUID, parameter: str, request: Request, caller: Authenticated
) -> FilterOptions:
    """What a filter offers, by the caller's own rights."""
    dashboard = await to_thread.run_sync(_load, request, caller, dashboard_id)
    found = filter_of(dashboard, parameter)
    if found.options_statement is None:
        return FilterOptions(options=list(found.options), truncated=False)
    rows = await console_of(request).queries.trino.rows(
        found.options_statement,
        partial(caller.token, Audience.TRINO),
        catalog=console_of(request).settings.catalog,
        limit=_MAX_OPTIONS,
    )
    return FilterOptions(options=[_option(row[0]) for row in rows.rows], truncated=rows.truncated)


def _option(value: Any) -> str | int | float | bool | None:
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value


def _load_chart(request: Request, caller: Caller, chart_id: UUID) -> Chart:
    return shown(_charts(request).get(member_of(request, caller), chart_id), Chart)


def _load(request: Request, caller: Caller, dashboard_id: UUID) -> Dashboard:
    viewer = member_of(request, caller)
    return _whole(request, viewer, _dashboards(request).get(viewer, dashboard_id), None)


def _on_the_way(
    request: Request, caller: Caller, viewer: Viewer, before: Kept, workspace_id: UUID | None
) -> Viewer:
    """The viewer, once it is sure that they work where something is to go; where it stays it is not asked."""
    if workspace_id is None or (before.workspace is not None and before.workspace.id == workspace_id):
        return viewer
    require_entered(request, caller, workspace_id)
    return member_of(request, caller)


def _whole(request: Request, viewer: Viewer, kept: Kept, response: Response | None) -> Dashboard:
    """With its charts: who may see the dashboard may see them."""
    store = _charts(request)
    own = {chart.id: chart for chart in store.all(viewer)}
    ids = chart_ids(kept)
    found = {**store.unchecked(ids - own.keys()), **{i: own[i] for i in ids & own.keys()}}
    made = [shown(found[chart_id], Chart) for chart_id in sorted(found, key=str)]
    return shown(kept, Dashboard, response, charts=made)


def _charts(request: Request) -> KeptStore:
    return console_of(request).charts


def _dashboards(request: Request) -> KeptStore:
    return console_of(request).dashboards
