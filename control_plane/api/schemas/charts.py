"""Charts and dashboards."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, Field

from control_plane.api.schemas.common import (
    Body,
    Name,
    OwnedInWorkspace,
    Parameter,
    ParameterName,
    ParameterSpec,
    Share,
    Statement,
    Title,
)
from governance.parameters import ParameterType


class ChartKind(StrEnum):
    """How rows are drawn."""

    BAR = "bar"
    LINE = "line"
    AREA = "area"
    SCATTER = "scatter"
    TABLE = "table"
    NUMBER = "number"
    HEATMAP = "heatmap"


class ChartSort(StrEnum):
    """The order of the horizontal axis."""

    NONE = "none"
    X = "x"
    VALUE_ASCENDING = "value_ascending"
    VALUE_DESCENDING = "value_descending"


class ChartSpec(Body):
    """What of a result is drawn, by names of its columns. ``y`` are measures; ``series`` splits them;
    ``value`` colours a heatmap's cells."""

    kind: ChartKind
    x: Name | None = None
    y: list[Name] = Field(default_factory=list, max_length=50)
    series: Name | None = None
    value: Name | None = None
    stacked: bool = False
    horizontal: bool = False
    legend: bool = True
    sort: ChartSort = ChartSort.NONE
    limit: int | None = Field(default=None, ge=1, le=10_000)
    x_label: str = Field(default="", max_length=200)
    y_label: str = Field(default="", max_length=200)
    number_format: str = Field(default="", max_length=50, examples=[",.2f"])


class SaveChart(Body):
    """A chart to keep: a statement and how its rows are drawn. ``workspace_id``: the workspace that it
    belongs to; the caller has to work in it."""

    title: Title
    description: str = Field(default="", max_length=10_000)
    statement: Statement
    catalog: Name | None = None
    namespace: Name | None = None
    parameters: list[ParameterSpec] = Field(default_factory=list, max_length=100)
    spec: ChartSpec
    shares: list[Share] = Field(default_factory=list, max_length=50)
    workspace_id: UUID | None = None


class Chart(OwnedInWorkspace):
    """A kept chart. It holds no row: each viewer's own query fills it."""

    title: str
    description: str
    statement: str
    catalog: str | None
    namespace: str | None
    parameters: list[ParameterSpec]
    spec: ChartSpec


class RunChart(Body):
    """Values for the chart's parameters; those not named have their default."""

    parameters: list[Parameter] = Field(default_factory=list, max_length=100)


class TileKind(StrEnum):
    """What a tile of a dashboard shows."""

    CHART = "chart"
    TEXT = "text"


class Tile(Body):
    """A tile: a chart or a text (Markdown), on a grid of 12 columns."""

    id: Name
    kind: TileKind
    chart_id: UUID | None = None
    text: str = Field(default="", max_length=20_000)
    x: int = Field(ge=0, le=11)
    y: int = Field(ge=0, le=10_000)
    width: int = Field(ge=1, le=12)
    height: int = Field(ge=1, le=100)


class DashboardFilter(Body):
    """A control of a dashboard: it sets the parameter of that name in every chart that has one. The
    choices are ``options``, or the first column of what ``options_statement`` gives the viewer."""

    parameter: ParameterName
    label: str = Field(default="", max_length=200)
    type: ParameterType = ParameterType.VARCHAR
    multiple: bool = False
    default: str | int | float | bool | list[str | int | float | bool] | None = None
    options: list[str | int | float | bool] = Field(default_factory=list, max_length=1000)
    options_statement: Statement | None = None


class SaveDashboard(Body):
    """A dashboard to keep, in a workspace as a chart."""

    title: Title
    description: str = Field(default="", max_length=10_000)
    tiles: list[Tile] = Field(default_factory=list, max_length=100)
    filters: list[DashboardFilter] = Field(default_factory=list, max_length=30)
    shares: list[Share] = Field(default_factory=list, max_length=50)
    workspace_id: UUID | None = None


class Dashboard(OwnedInWorkspace):
    """A kept dashboard with the charts on it, which who may see the dashboard may see too. A tile whose
    chart is gone stays, and its chart is not among ``charts``."""

    title: str
    description: str
    tiles: list[Tile]
    filters: list[DashboardFilter]
    charts: list[Chart]


class DashboardSummary(OwnedInWorkspace):
    """A dashboard as a list shows it."""

    title: str
    description: str
    tile_count: int


class RunTile(Body):
    """Values of the dashboard's filters, by parameter."""

    filters: list[Parameter] = Field(default_factory=list, max_length=100)


class FilterOptions(BaseModel):
    """What a filter offers this viewer; ``truncated``: there are more."""

    options: list[str | int | float | bool | None]
    truncated: bool
