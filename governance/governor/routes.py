"""The governor's access data over HTTP: reading, changing, explaining and comparing it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from governance.client import AccessRevision, GroupMembers, RevisionSummary, TagUse
from governance.governor.auth import Caller, Permission
from governance.governor.insight import Insight
from governance.governor.service import Governor
from governance.reports import ChangeResult, DriftReport, Explanation, ImpactReport, RevisionDetail

_Reason = Annotated[str, Field(min_length=1, max_length=1000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PutAccess(_Body):
    """The whole access data, based on a revision. ``widen``: rules may show more than before."""

    document: dict[str, Any]
    base_revision: int
    reason: _Reason
    widen: bool = False


class ChangeAccess(_Body):
    """Items to add (or replace) and to remove, each in the form of access data; with ``base_revision``
    on that revision alone."""

    add: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    remove: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    reason: _Reason
    widen: bool = False
    only_try: bool = False
    base_revision: int | None = None


class RollBack(_Body):
    """The revision to go back to. Without ``widen`` nothing may become visible by it."""

    revision: int
    reason: str = Field(default="", max_length=1000)
    widen: bool = False


class CompareAccess(_Body):
    """Two states to compare: revisions, None for the living one; ``seed`` in place of ``after``, or a
    change (``add``, ``remove``)."""

    before: int | None = None
    after: int | None = None
    seed: dict[str, Any] | None = None
    add: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    remove: dict[str, list[dict[str, Any]]] = Field(default_factory=dict)
    users: list[str] = Field(default_factory=list, max_length=100)
    tables: list[str] = Field(default_factory=list, max_length=1000)
    count: bool = True


def add_access_routes(
    app: FastAPI, governor: Governor, insight: Insight, authenticate: Callable[..., Caller]
) -> None:
    """Adds the routes; ``authenticate`` gives the caller behind a request."""
    caller_of = Depends(authenticate)

    @app.put("/v1/access")
    def put_access(body: PutAccess, caller: Caller = caller_of) -> AccessRevision:
        return governor.editor.put(caller, body.document, body.base_revision, body.reason, widen=body.widen)

    @app.post("/v1/access/changes")
    def change_access(body: ChangeAccess, caller: Caller = caller_of) -> ChangeResult:
        return governor.editor.change(
            caller,
            add=body.add,
            remove=body.remove,
            reason=body.reason,
            widen=body.widen,
            only_try=body.only_try,
            base_revision=body.base_revision,
        )

    @app.post("/v1/access/rollback")
    def roll_back(body: RollBack, caller: Caller = caller_of) -> AccessRevision:
        return governor.editor.roll_back(caller, body.revision, reason=body.reason, widen=body.widen)[0]

    @app.get("/v1/access/revisions")
    def revisions(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, caller: Caller = caller_of
    ) -> tuple[RevisionSummary, ...]:
        caller.require(Permission.READ_ACCESS)
        return governor.store.revisions(limit=limit)

    @app.get("/v1/access/revisions/{revision}")
    def revision(revision: int, caller: Caller = caller_of) -> AccessRevision:
        return governor.revision(caller, revision)

    @app.get("/v1/access/revisions/{revision}/changes")
    def revision_changes(revision: int, caller: Caller = caller_of) -> RevisionDetail:
        return insight.history(caller, revision)

    @app.get("/v1/access/explanation")
    def explanation(
        table: Annotated[str, Query(min_length=3, max_length=500)],
        user: Annotated[str | None, Query(max_length=255)] = None,
        caller: Caller = caller_of,
    ) -> Explanation:
        return insight.explain(caller, table, user)

    @app.get("/v1/access/tags")
    def tags(caller: Caller = caller_of) -> tuple[TagUse, ...]:
        return insight.tags(caller)

    @app.get("/v1/groups")
    def groups(caller: Caller = caller_of) -> tuple[GroupMembers, ...]:
        return insight.groups(caller)

    @app.post("/v1/access/impact")
    def impact(body: CompareAccess, caller: Caller = caller_of) -> ImpactReport:
        return insight.impact(
            caller,
            before=body.before,
            after=body.after,
            seed=body.seed,
            add=body.add,
            remove=body.remove,
            users=body.users,
            tables=body.tables,
            count=body.count,
        )

    @app.get("/v1/drift")
    def drift(caller: Caller = caller_of) -> DriftReport:
        caller.require(Permission.READ_ACCESS)
        return insight.drift()

    @app.post("/v1/publication")
    def publish(caller: Caller = caller_of) -> DriftReport:
        caller.require(Permission.RECONCILE)
        governor.store.log(caller.username, "publish.request", {})
        governor.publish()
        return insight.drift()
