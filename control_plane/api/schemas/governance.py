"""Access data: what stewards change, and what they see before they do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from control_plane.api.schemas.common import Body, Name
from governance.reports import Change, ImpactReport, TableImpact


class Items(Body):
    """Items of access data by section; each in the form that the document has it."""

    grants: list[dict[str, Any]] = Field(
        default_factory=list,
        max_length=1000,
        examples=[[{"group": "auditors", "object": "retail.orders", "privileges": ["select"]}]],
    )
    tags: list[dict[str, Any]] = Field(
        default_factory=list,
        max_length=1000,
        examples=[[{"object": "retail.customer.c_name", "tag": "pii.name"}]],
    )
    rules: list[dict[str, Any]] = Field(default_factory=list, max_length=1000)
    exceptions: list[dict[str, Any]] = Field(default_factory=list, max_length=1000)


class ChangeAccess(Body):
    """Items to add or replace, and to remove. ``widen`` allows rules to show more than before."""

    add: Items = Field(default_factory=Items)
    remove: Items = Field(default_factory=Items)
    reason: str = Field(min_length=1, max_length=1000)
    widen: bool = False


class PreviewChange(Body):
    """A change to look at before it is made. Nobody named: the sample users; no table named: all."""

    add: Items = Field(default_factory=Items)
    remove: Items = Field(default_factory=Items)
    users: list[Name] = Field(default_factory=list, max_length=100)
    tables: list[Name] = Field(default_factory=list, max_length=1000)
    count: bool = True


class CompareRevisions(Body):
    """Two revisions to compare; None is the living one."""

    before: int | None = None
    after: int | None = None
    users: list[Name] = Field(default_factory=list, max_length=100)
    tables: list[Name] = Field(default_factory=list, max_length=1000)
    count: bool = True


class RollBack(Body):
    """The revision to go back to."""

    revision: int = Field(ge=1)
    reason: str = Field(default="", max_length=1000)
    widen: bool = False


class BreakGlass(Body):
    """An exception for one user: privileges on an object, rules lifted there, or both, for a while."""

    user: Name
    object: Name = Field(examples=["hr.employees"])
    lasts_s: int = Field(ge=60, le=7 * 86_400)
    reason: str = Field(min_length=1, max_length=1000)
    privileges: list[Name] = Field(default_factory=list, max_length=10)
    lifts: list[Name] = Field(default_factory=list, max_length=100, examples=[["hide-salary"]])


class EndException(Body):
    """Why an exception ends before its time."""

    reason: str = Field(min_length=1, max_length=1000)


class Impact(BaseModel):
    """A comparison; see the fields of ``report``. ``widens`` and ``narrows`` sum it up."""

    report: ImpactReport
    widens: bool
    narrows: bool


class ChangePreview(BaseModel):
    """What a change would come to: the items that differ, what it would show that was hidden, and what
    that means for whom. ``refused``: the governor would not take it, and why."""

    revision: int
    changes: list[Change]
    widenings: list[str]
    impact: Impact | None
    refused: str | None


class ImpactLine(BaseModel):
    """One reader's view of one table, and whether it grows or shrinks."""

    impact: TableImpact
    widens: bool
    narrows: bool


class Group(BaseModel):
    """A group of the realm; ``members`` is None where the caller may not know them."""

    name: str
    description: str
    members: list[str] | None


class People(BaseModel):
    """Groups and users of the realm."""

    groups: list[Group]


class OwnerEntry(BaseModel):
    """The group that a table belongs to until it is granted."""

    table: str
    group: str
    registered_by: str
    registered_at: datetime
