"""Values that several parts of the API speak."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from governance.parameters import ParameterType

Name = Annotated[str, Field(min_length=1, max_length=255)]
"""A name of Trino's or Keycloak's."""

Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Statement = Annotated[
    str, Field(min_length=1, max_length=1_000_000, examples=["SELECT * FROM retail.nation"])
]
ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", examples=["since"])]


class Body(BaseModel):
    """The base of what clients send: an unknown member is refused."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """An error: https://www.rfc-editor.org/rfc/rfc9457, with what a person can do about it.

    ``line`` and ``column`` count from 1 and point into the statement that was sent; ``error_name`` and
    ``query_id`` are Trino's.
    """

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["there is no saved query of that id"])
    status: int = Field(examples=[404])
    value: str | None = None
    permitted: str | None = None
    next_command: str | None = None
    error_name: str | None = None
    line: int | None = None
    column: int | None = None
    query_id: str | None = None


class ShareAccess(StrEnum):
    """What a group may do with something that is shared with it."""

    READ = "read"
    EDIT = "edit"


class Share(Body):
    """A group that something is shared with: its text, never its rows."""

    group: Name = Field(examples=["data_stewards"])
    access: ShareAccess = ShareAccess.READ


class WorkspaceRef(BaseModel):
    """A workspace that something belongs to."""

    id: UUID
    name: str = Field(examples=["marketing"])


class Owned(BaseModel):
    """What every stored object has. ``version`` is what its ETag names; ``can_edit`` is the caller's."""

    id: UUID
    owner: str
    shares: list[Share]
    version: int
    can_edit: bool
    created_at: datetime
    updated_at: datetime
    updated_by: str


class OwnedInWorkspace(Owned):
    """The same of what may belong to a workspace: its members read and edit it, and nobody else unless it is
    shared with their group. ``workspace`` is None for who does not work in it; ``can_manage`` says whether
    the caller may share, move and remove it, as its owner and the workspace's owners may."""

    workspace: WorkspaceRef | None
    can_manage: bool


class Parameter(Body):
    """A value for ``:name`` in a statement; a list stands for its members with commas between, as in
    ``IN (:names)``. None is NULL."""

    name: ParameterName
    type: ParameterType = ParameterType.VARCHAR
    value: str | int | float | bool | list[str | int | float | bool] | None = None


class ParameterSpec(Body):
    """A parameter that a stored statement has, and what it is when nobody says otherwise."""

    name: ParameterName
    type: ParameterType = ParameterType.VARCHAR
    label: str = Field(default="", max_length=200)
    default: str | int | float | bool | list[str | int | float | bool] | None = None


class ColumnKind(StrEnum):
    """How a column's values are to be shown."""

    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    INTERVAL = "interval"
    ARRAY = "array"
    MAP = "map"
    ROW = "row"
    JSON = "json"
    BINARY = "binary"
    OTHER = "other"


class Column(BaseModel):
    """A column of a result; ``type`` is Trino's."""

    name: str
    type: str = Field(examples=["decimal(12,2)"])
    kind: ColumnKind


Row = list[Any]
"""Values in the order of the columns, as Trino's JSON has them: decimals, dates, times and whole numbers
beyond ±(2^53 - 1) are text, binary is base64."""


class Rows(BaseModel):
    """A small result, whole. ``truncated``: there is more than was asked for."""

    columns: list[Column]
    rows: list[Row]
    truncated: bool = False
