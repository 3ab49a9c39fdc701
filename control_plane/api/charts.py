"""Charts and dashboards with somebody's own values."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from contracts.errors import UsageError
from control_plane.api.problems import NotFoundError
from control_plane.api.schemas.charts import (
    Chart,
    Dashboard,
    DashboardFilter,
    SaveDashboard,
    Tile,
    TileKind,
)
from control_plane.api.schemas.common import Parameter, ParameterSpec
from control_plane.api.schemas.queries import StartQuery
from control_plane.api.storage.kept import Kept, KeptStore, Viewer


def statement_of(chart: Chart, given: Sequence[Parameter]) -> StartQuery:
    """The chart's statement with the values that were given, and its own for the others.

    Raises:
        UsageError: a value is for a parameter that the chart does not have.
    """
    specs = {spec.name: spec for spec in chart.parameters}
    for parameter in given:
        if parameter.name not in specs:
            raise UsageError(
                f"the chart has no parameter :{parameter.name}",
                value=parameter.name,
                permitted=", ".join(sorted(specs)) or "none",
            )
    return StartQuery(
        statement=chart.statement,
        catalog=chart.catalog,
        namespace=chart.namespace,
        parameters=_values(chart.parameters, {parameter.name: parameter for parameter in given}),
    )


def filtered_statement(dashboard: Dashboard, chart: Chart, given: Sequence[Parameter]) -> StartQuery:
    """The chart's statement with the dashboard's filters, each where the chart has a parameter of its name.

    Raises:
        UsageError: a value is for a filter that the dashboard does not have.
    """
    filters = {one.parameter: one for one in dashboard.filters}
    values = {name: Parameter(name=name, type=one.type, value=one.default) for name, one in filters.items()}
    for parameter in given:
        if parameter.name not in filters:
            raise UsageError(
                f"the dashboard has no filter {parameter.name!r}",
                value=parameter.name,
                permitted=", ".join(sorted(filters)) or "none",
            )
        values[parameter.name] = parameter
    own = {spec.name for spec in chart.parameters}
    return statement_of(chart, [value for name, value in values.items() if name in own])


def tile_of(dashboard: Dashboard, tile_id: str) -> tuple[Tile, Chart]:
    """A tile with its chart. Raises NotFoundError."""
    tile = next((t for t in dashboard.tiles if t.id == tile_id and t.kind is TileKind.CHART), None)
    chart = next((c for c in dashboard.charts if tile is not None and c.id == tile.chart_id), None)
    if tile is None or chart is None:
        raise NotFoundError("there is no such tile with a chart", value=tile_id)
    return tile, chart


def filter_of(dashboard: Dashboard, parameter: str) -> DashboardFilter:
    """A filter of a dashboard. Raises NotFoundError."""
    found = next((one for one in dashboard.filters if one.parameter == parameter), None)
    if found is None:
        raise NotFoundError("the dashboard has no such filter", value=parameter)
    return found


def require_whole(body: SaveDashboard, viewer: Viewer, charts: KeptStore, before: Kept | None) -> None:
    """Refuses a dashboard with tiles or filters of one name, or with a chart that who puts it there can't
    read: it would show it to everybody the dashboard is shared with. Charts of before may stay.

    Raises:
        UsageError.
    """
    tiles = [tile.id for tile in body.tiles]
    filters = [one.parameter for one in body.filters]
    for what, names in (("tiles", tiles), ("filters", filters)):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(
                f"two {what} have one name", value=twice[0], permitted="a name of its own for each"
            )
    kept = set() if before is None else chart_ids(before)
    for tile in body.tiles:
        if (tile.kind is TileKind.CHART) != (tile.chart_id is not None):
            raise UsageError(
                f"tile {tile.id!r} is not whole",
                value=tile.kind.value,
                permitted="a chart with chart_id, or a text",
            )
        if tile.x + tile.width > 12:
            raise UsageError(
                f"tile {tile.id!r} leaves the grid", value=tile.x + tile.width, permitted="12 columns"
            )
        if tile.chart_id is not None and tile.chart_id not in kept:
            try:
                charts.get(viewer, tile.chart_id)
            except NotFoundError as error:
                raise UsageError(f"tile {tile.id!r}: {error.what}", value=tile.chart_id) from error


def chart_ids(dashboard: Kept) -> set[UUID]:
    """The charts that a kept dashboard names."""
    tiles = [Tile.model_validate(tile) for tile in dashboard.document["tiles"]]
    return {tile.chart_id for tile in tiles if tile.chart_id is not None}


def _values(specs: Sequence[ParameterSpec], given: dict[str, Parameter]) -> list[Parameter]:
    return [
        Parameter(
            name=spec.name,
            type=spec.type,
            value=given[spec.name].value if spec.name in given else spec.default,
        )
        for spec in specs
    ]
