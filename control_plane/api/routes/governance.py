"""Access data through the governor, with a token of the caller's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import uuid4

from anyio import from_thread
from fastapi import APIRouter, Path, Query, Request, Response

from contracts.identity import GROUPS
from control_plane.api.access import Authenticated, Caller, console_of
from control_plane.api.keeping import IfMatch, version_of
from control_plane.api.problems import NotFoundError, StaleError
from control_plane.api.schemas.governance import (
    BreakGlass,
    ChangeAccess,
    ChangePreview,
    CompareRevisions,
    EndException,
    Group,
    Impact,
    Items,
    People,
    PreviewChange,
    RollBack,
)
from governance.audit.report import AuditReport
from governance.client import (
    AccessRevision,
    EffectiveAccess,
    GovernorClient,
    GovernorStatus,
    ReconcileReport,
    RefusedInputError,
    RevisionSummary,
    StaleRevisionError,
    TableOwner,
)
from governance.reports import ChangeResult, DriftReport, ImpactReport, RevisionDetail

router = APIRouter(prefix="/api/v1", tags=["governance"])

_Revision = Annotated[int, Path(ge=1, le=2**63 - 1)]
_PREVIEW_REASON = "preview"
_DESCRIPTIONS = {group.name: group.description for group in GROUPS}


@router.get("/access")
def get_access(request: Request, response: Response, caller: Authenticated) -> AccessRevision:
    """The living access data. For those who may read access data."""
    found = _governor(request, caller).access()
    response.headers["ETag"] = f'"{found.revision}"'
    return found


@router.get("/access/effective")
def effective_access(request: Request, caller: Authenticated) -> EffectiveAccess:
    """What the caller's own groups are granted."""
    return _governor(request, caller).effective_access()


@router.post("/access/preview")
def preview_change(body: PreviewChange, request: Request, caller: Authenticated) -> ChangePreview:
    """What a change would come to, without making it: for whom it shows more or less, and whether the
    governor would take it."""
    governor = _governor(request, caller)
    add, remove = _items(body.add), _items(body.remove)
    try:
        # Widening is what a preview is to show: it is no reason to refuse one.
        tried = governor.change_access(
            add=add, remove=remove, reason=_PREVIEW_REASON, widen=True, only_try=True
        )
    except RefusedInputError as refused:
        living = governor.access()
        return ChangePreview(
            revision=living.revision, changes=[], widenings=[], impact=None, refused=refused.what
        )
    report = governor.impact(add=add, remove=remove, users=body.users, tables=body.tables, count=body.count)
    return ChangePreview(
        revision=tried.revision,
        changes=list(tried.changes),
        widenings=list(tried.widenings),
        impact=_impact(report),
        refused=None,
    )


@router.post("/access/changes")
def change_access(
    body: ChangeAccess, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> ChangeResult:
    """Makes a change, all of it or none. With `If-Match` only on the revision it names."""
    base_revision = None if if_match is None else version_of(if_match)
    try:
        result = _governor(request, caller).change_access(
            add=_items(body.add),
            remove=_items(body.remove),
            reason=body.reason,
            widen=body.widen,
            base_revision=base_revision,
        )
    except StaleRevisionError as stale:
        raise StaleError(
            "somebody changed the access data since you read it",
            value=f'"{base_revision}"',
            permitted=stale.permitted,
            next_command="read it again and repeat the change",
        ) from stale
    _forget(request)
    return result


@router.post("/access/compare")
def compare_revisions(body: CompareRevisions, request: Request, caller: Authenticated) -> Impact:
    """What differs between two revisions, and for whom."""
    report = _governor(request, caller).impact(
        before=body.before, after=body.after, users=body.users, tables=body.tables, count=body.count
    )
    return _impact(report)


@router.get("/access/revisions")
def list_revisions(
    request: Request, caller: Authenticated, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[RevisionSummary]:
    """The history, newest first."""
    return list(_governor(request, caller).revisions(limit))


@router.get("/access/revisions/{revision}")
def get_revision(revision: _Revision, request: Request, caller: Authenticated) -> AccessRevision:
    """One revision with its whole document."""
    return _governor(request, caller).access(revision)


@router.get("/access/revisions/{revision}/changes")
def revision_changes(revision: _Revision, request: Request, caller: Authenticated) -> RevisionDetail:
    """One revision with what it changed."""
    return _governor(request, caller).revision_changes(revision)


@router.post("/access/rollback")
def roll_back(body: RollBack, request: Request, caller: Authenticated) -> AccessRevision:
    """Makes an earlier revision the living one again."""
    found = _governor(request, caller).rollback(body.revision, reason=body.reason, widen=body.widen)
    _forget(request)
    return found


@router.post("/access/exceptions", status_code=201)
def break_glass(body: BreakGlass, request: Request, caller: Authenticated) -> ChangeResult:
    """Makes an exception for one user for a while."""
    ends = datetime.now(tz=UTC) + timedelta(seconds=body.lasts_s)
    exception = {
        "id": f"{body.user}-{uuid4().hex[:12]}",
        "user": body.user,
        "object": body.object,
        "expires_at": ends.isoformat(timespec="seconds"),
        "reason": body.reason,
        "privileges": body.privileges,
        "lifts": body.lifts,
    }
    result = _governor(request, caller).change_access(
        add={"exceptions": [exception]}, reason=body.reason, widen=True
    )
    _forget(request)
    return result


@router.post("/access/exceptions/{exception_id}/end")
def end_exception(
    exception_id: Annotated[str, Path(min_length=1, max_length=255)],
    body: EndException,
    request: Request,
    caller: Authenticated,
) -> ChangeResult:
    """Ends an exception before its time."""
    governor = _governor(request, caller)
    known = governor.access().document.get("exceptions") or []
    found = next((item for item in known if item["id"] == exception_id), None)
    if found is None:
        raise NotFoundError("there is no exception of that id", value=exception_id)
    result = governor.change_access(remove={"exceptions": [found]}, reason=body.reason)
    _forget(request)
    return result


@router.get("/access/owners")
def list_owners(request: Request, caller: Authenticated) -> list[TableOwner]:
    """The groups that tables belong to until they are granted."""
    return list(_governor(request, caller).owners())


@router.get("/drift")
def get_drift(request: Request, caller: Authenticated) -> DriftReport:
    """The living access data against what is published."""
    return _governor(request, caller).drift()


@router.post("/publication")
def publish(request: Request, caller: Authenticated) -> DriftReport:
    """Publishes the living access data now."""
    return _governor(request, caller).publish()


@router.post("/reconcile")
def reconcile(request: Request, caller: Authenticated) -> ReconcileReport:
    """Makes the catalog's grants agree with the access data now."""
    return _governor(request, caller).reconcile()


@router.get("/governor")
def governor_status(request: Request, caller: Authenticated) -> GovernorStatus:
    """What the governor does and what stands in its way."""
    return _governor(request, caller).status()


@router.get("/people")
async def list_people(request: Request, caller: Authenticated) -> People:
    """Groups of the realm, and for those who may read access data their members."""
    found = await console_of(request).directory.groups(caller)
    return People(
        groups=[
            Group(
                name=group.name,
                description=_DESCRIPTIONS.get(group.name, ""),
                members=None if group.members is None else list(group.members),
            )
            for group in found
        ]
    )


@router.get("/audit")
def search_audit(
    request: Request,
    caller: Authenticated,
    user: Annotated[str | None, Query(max_length=255)] = None,
    since_s: Annotated[float | None, Query(gt=0, le=10 * 366 * 86_400)] = None,
    table: Annotated[str | None, Query(min_length=3, max_length=500)] = None,
    denied: bool = False,
    query_id: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditReport:
    """Who read what by which rules. Auditors and lab admins see everybody's, others their own."""
    return _governor(request, caller).audit(
        user=user, since_s=since_s, table=table, denied=denied, query_id=query_id, limit=limit
    )


def _governor(request: Request, caller: Caller) -> GovernorClient:
    return console_of(request).governor.in_thread(caller)


def _forget(request: Request) -> None:
    """What the explorer was told before a change is old."""
    from_thread.run_sync(console_of(request).catalogs.forget)


def _items(items: Items) -> dict[str, list[dict[str, object]]]:
    return {section: entries for section, entries in items.model_dump().items() if entries}


def _impact(report: ImpactReport) -> Impact:
    return Impact(
        report=report, widens=report.widens, narrows=any(impact.narrows for impact in report.impacts)
    )
