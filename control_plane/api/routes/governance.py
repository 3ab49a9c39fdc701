"""Access data through the governor, with a token of the caller's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from control_plane.api.access import Authenticated
from control_plane.api.routes.saved import IfMatch
from control_plane.api.schemas.governance import (
    BreakGlass,
    ChangeAccess,
    ChangePreview,
    CompareRevisions,
    EndException,
    Impact,
    People,
    PreviewChange,
    RollBack,
)
from governance.audit.report import AuditReport
from governance.client import (
    AccessRevision,
    EffectiveAccess,
    GovernorStatus,
    ReconcileReport,
    RevisionSummary,
    TableOwner,
)
from governance.reports import ChangeResult, DriftReport, RevisionDetail

router = APIRouter(prefix="/api/v1", tags=["governance"])


@router.get("/access")
def get_access(request: Request, response: Response, caller: Authenticated) -> AccessRevision:
    """The living access data. For those who may read access data."""
    raise NotImplementedError


@router.get("/access/effective")
def effective_access(request: Request, caller: Authenticated) -> EffectiveAccess:
    """What the caller's own groups are granted."""
    raise NotImplementedError


@router.post("/access/preview")
def preview_change(body: PreviewChange, request: Request, caller: Authenticated) -> ChangePreview:
    """What a change would come to, without making it."""
    raise NotImplementedError


@router.post("/access/changes")
def change_access(
    body: ChangeAccess, request: Request, caller: Authenticated, if_match: IfMatch = None
) -> ChangeResult:
    """Makes a change, all of it or none. With `If-Match` only on the revision it names."""
    raise NotImplementedError


@router.post("/access/compare")
def compare_revisions(body: CompareRevisions, request: Request, caller: Authenticated) -> Impact:
    """What differs between two revisions, and for whom."""
    raise NotImplementedError


@router.get("/access/revisions")
def list_revisions(
    request: Request, caller: Authenticated, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[RevisionSummary]:
    """The history, newest first."""
    raise NotImplementedError


@router.get("/access/revisions/{revision}")
def get_revision(revision: int, request: Request, caller: Authenticated) -> AccessRevision:
    """One revision with its whole document."""
    raise NotImplementedError


@router.get("/access/revisions/{revision}/changes")
def revision_changes(revision: int, request: Request, caller: Authenticated) -> RevisionDetail:
    """One revision with what it changed."""
    raise NotImplementedError


@router.post("/access/rollback")
def roll_back(body: RollBack, request: Request, caller: Authenticated) -> AccessRevision:
    """Makes an earlier revision the living one again."""
    raise NotImplementedError


@router.post("/access/exceptions", status_code=201)
def break_glass(body: BreakGlass, request: Request, caller: Authenticated) -> ChangeResult:
    """Makes an exception for one user for a while."""
    raise NotImplementedError


@router.post("/access/exceptions/{exception_id}/end")
def end_exception(
    exception_id: str, body: EndException, request: Request, caller: Authenticated
) -> ChangeResult:
    """Ends an exception before its time."""
    raise NotImplementedError


@router.get("/access/owners")
def list_owners(request: Request, caller: Authenticated) -> list[TableOwner]:
    """The groups that tables belong to until they are granted."""
    raise NotImplementedError


@router.get("/drift")
def get_drift(request: Request, caller: Authenticated) -> DriftReport:
    """The living access data against what is published."""
    raise NotImplementedError


@router.post("/publication")
def publish(request: Request, caller: Authenticated) -> DriftReport:
    """Publishes the living access data now."""
    raise NotImplementedError


@router.post("/reconcile")
def reconcile(request: Request, caller: Authenticated) -> ReconcileReport:
    """Makes the catalog's grants agree with the access data now."""
    raise NotImplementedError


@router.get("/governor")
def governor_status(request: Request, caller: Authenticated) -> GovernorStatus:
    """What the governor does and what stands in its way."""
    raise NotImplementedError


@router.get("/people")
def list_people(request: Request, caller: Authenticated) -> People:
    """Groups of the realm, and for those who may read access data their members."""
    raise NotImplementedError


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
    raise NotImplementedError
