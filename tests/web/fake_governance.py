"""The fake console's access data and audit. Changes are computed by the governor's own functions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from contracts.access import AccessData
from contracts.identity import PERSONAS
from control_plane.api.schemas.admin import ComponentHealth, Health, HealthState
from control_plane.api.schemas.admin import Persona as PersonaModel
from control_plane.api.schemas.governance import (
    ChangeAccess,
    ChangePreview,
    CompareRevisions,
    Group,
    Impact,
    Items,
    People,
    PreviewChange,
    RollBack,
)
from governance.audit.report import AuditEvent, AuditLine, AuditReport, DecisionUse, Outcome, TableRead
from governance.changes import changed_document, changes_of
from governance.client import AccessRevision, GovernorStatus, ReconcileReport, RevisionSummary
from governance.reports import (
    Change,
    ChangeResult,
    ColumnImpact,
    DriftReport,
    ImpactReport,
    RevisionDetail,
    RowImpact,
    TableImpact,
)
from governance.widening import widenings
from tests.web import samples
from tests.web.samples import NOW

router = APIRouter(prefix="/api/v1")


class History:
    """Revisions, the newest last."""

    def __init__(self) -> None:
        self.revisions: list[AccessRevision] = []
        self.write(samples.access_document(), "seeder", "seed of the access data")
        document = samples.access_document()
        tag = {"object": "retail.supplier.s_address", "tag": "pii.address"}
        self.write({**document, "tags": [*document["tags"], tag]}, "steward", "addresses of suppliers, too")

    @property
    def living(self) -> AccessRevision:
        return self.revisions[-1]

    def write(self, document: dict[str, Any], author: str, reason: str) -> AccessRevision:
        number = len(self.revisions) + 1
        revision = AccessRevision(
            revision=number,
            author=author,
            reason=reason,
            created_at=NOW - timedelta(days=30 - 3 * number),
            based_on=number - 1 or None,
            document=document,
        )
        self.revisions.append(revision)
        return revision


def _history(request: Request) -> History:
    history: History = request.app.state.history
    return history


def _changed(living: AccessRevision, add: Items, remove: Items) -> dict[str, Any]:
    return changed_document(living.document, add=add.model_dump(), remove=remove.model_dump())


def _impact(changes: tuple[Change, ...]) -> Impact:
    impacts = (
        TableImpact(
            username="analyst_emea",
            table="retail.customer",
            rows=RowImpact(total=15_000, before=9023, after=9023),
            columns=(ColumnImpact(column="c_mktsegment", before="plain", after="hash", gained=False),),
            privileges_gained=(),
            privileges_lost=(),
            filter_before="true",
            filter_after="true",
            approximate=False,
        ),
    )
    report = ImpactReport(
        before="revision 2 (living)",
        after="the change",
        counted=True,
        readers=tuple(one.username for one in PERSONAS),
        tables_compared=11,
        changes=changes,
        impacts=impacts,
        notes=(),
    )
    return Impact(report=report, widens=False, narrows=True)


@router.get("/access")
def access(request: Request) -> AccessRevision:
    return _history(request).living


@router.post("/access/preview")
def preview(body: PreviewChange, request: Request) -> ChangePreview:
    living = _history(request).living
    after = _changed(living, body.add, body.remove)
    changes = changes_of(living.document, after)
    found = widenings(AccessData.from_document(living.document), AccessData.from_document(after), {})
    return ChangePreview(
        revision=living.revision,
        changes=list(changes),
        widenings=[str(one) for one in found],
        impact=_impact(changes),
        refused=None,
    )


@router.post("/access/changes", response_model=ChangeResult)
def change(body: ChangeAccess, request: Request) -> Any:
    history = _history(request)
    if request.headers.get("if-match") != f'"{history.living.revision}"':
        problem = {"type": "about:blank", "title": "somebody changed the access data", "status": 412}
        return JSONResponse(problem, status_code=412, media_type="application/problem+json")
    before = history.living.document
    after = _changed(history.living, body.add, body.remove)
    made = history.write(after, request.state.username, body.reason)
    return ChangeResult(
        revision=made.revision,
        changed=True,
        tried_only=False,
        published=True,
        changes=changes_of(before, after),
        widenings=(),
    )


@router.post("/access/compare")
def compare(body: CompareRevisions) -> Impact:
    return _impact(())


@router.post("/access/rollback")
def roll_back(body: RollBack, request: Request) -> AccessRevision:
    history = _history(request)
    document = history.revisions[body.revision - 1].document
    return history.write(document, request.state.username, f"roll back to revision {body.revision}")


@router.get("/access/revisions")
def revisions(request: Request) -> list[RevisionSummary]:
    return [
        RevisionSummary(
            revision=one.revision,
            author=one.author,
            reason=one.reason,
            created_at=one.created_at,
            based_on=one.based_on,
        )
        for one in reversed(_history(request).revisions)
    ]


@router.get("/access/revisions/{revision}/changes")
def revision_changes(revision: int, request: Request) -> RevisionDetail:
    all_of_them = _history(request).revisions
    one = all_of_them[revision - 1]
    before = all_of_them[revision - 2].document if one.based_on else {}
    return RevisionDetail(
        revision=one.revision,
        author=one.author,
        reason=one.reason,
        created_at=one.created_at,
        based_on=one.based_on,
        changes=changes_of(before, one.document) if one.based_on else (),
    )


@router.get("/drift")
def drift(request: Request) -> DriftReport:
    number = _history(request).living.revision
    return DriftReport(
        revision=number, published=number, bundle_age_s=24.0, access_digest="9f2c" * 16, problems=()
    )


@router.get("/governor")
def governor(request: Request) -> GovernorStatus:
    number = _history(request).living.revision
    report = ReconcileReport(
        catalog_kind="nessie", revision=number, started_at=NOW, duration_s=1.3, tables=11
    )
    return GovernorStatus(revision=number, publication=None, reconcile=report, errors={})


@router.get("/people")
def people() -> People:
    return People(
        groups=[
            Group(name=name, description=description, members=samples.members(name))
            for name, description in samples.groups()
        ]
    )


@router.get("/audit")
def audit(
    user: str | None = None, table: str | None = None, denied: bool = False, query_id: str | None = None
) -> AuditReport:
    lines = [one for one in _LINES if user in (None, one.user) and (not denied or one.refused)]
    lines = [one for one in lines if query_id in (None, one.query_id)]
    lines = [one for one in lines if table is None or table in [read.table for read in one.tables]]
    events = (AuditEvent(at=NOW, who="steward", what="access.change", detail={"revision": 2}),)
    return AuditReport(
        lines=tuple(lines), events=events if query_id is None else (), waiting=0, retention_days=90
    )


def _line(number: int, user: str, statement: str, outcome: Outcome) -> AuditLine:
    begun = NOW - timedelta(minutes=7 * number)
    denied = outcome is Outcome.DENIED
    read = TableRead(
        table="retail.customer",
        columns=("c_custkey", "c_phone", "c_mktsegment"),
        masked=("c_custkey", "c_phone") if user != "engineer" else (),
        filters=1 if user.startswith("analyst") else 0,
        rules=("hash-customer-key", "mask-phone") if user != "engineer" else (),
        as_user=None,
    )
    decision = DecisionUse(
        id=f"d{number}",
        at=begun,
        operation="SelectFromColumns",
        object="retail.customer",
        allowed=not denied,
        revision=2,
    )
    return AuditLine(
        query_id=f"20260115_0930{number:02}_000{number:02}_fakes",
        user=user,
        groups=(PERSONAS[0].groups if user == "admin" else ("analysts_emea",)),
        source="console",
        client="127.0.0.1",
        statement=statement,
        begun_at=begun,
        ended_at=begun + timedelta(milliseconds=840),
        outcome=outcome,
        error="PERMISSION_DENIED" if denied else None,
        message="Access Denied: Cannot select from columns" if denied else None,
        tables=() if denied else (read,),
        written=None,
        rows=0 if denied else 4210,
        bytes=0 if denied else 381_200,
        read_rows=0 if denied else 15_000,
        revisions=(2,),
        refused=("SelectFromColumns of hr.employees (salary)",) if denied else (),
        decisions=(decision,),
        notes=(),
    )


_LINES = (
    _line(
        1, "analyst_emea", "SELECT c_mktsegment, count(*)\nFROM retail.customer\nGROUP BY 1", Outcome.FINISHED
    ),
    _line(2, "analyst_emea", "SELECT name, salary FROM hr.employees", Outcome.DENIED),
    _line(3, "engineer", "SELECT * FROM retail.customer LIMIT 100", Outcome.FINISHED),
    _line(4, "auditor", f"{samples.NASTY} is no statement", Outcome.FAILED),
)


@router.get("/admin/health")
def health() -> Health:
    def one(name: str, title: str, state: HealthState, **facts: Any) -> ComponentHealth:
        known: dict[str, Any] = {
            "detail": None,
            "latency_ms": 4.2,
            "version": None,
            "url": None,
            "next_command": None,
        }
        return ComponentHealth(name=name, title=title, state=state, **{**known, **facts})

    return Health(
        components=[
            one(
                "keycloak",
                "Identity provider",
                HealthState.UP,
                version="26.7.3",
                url="http://127.0.0.1:28010",
            ),
            one("catalog", "Iceberg REST catalog: Nessie", HealthState.UP, version="0.99.0"),
            one("opa", "Policy decisions", HealthState.UP, version="1.22.0"),
            one("governor", "Access data", HealthState.UP, latency_ms=12.0),
            one(
                "trino",
                "SQL engine: Trino",
                HealthState.DOWN,
                version="476",
                latency_ms=None,
                detail="it does not answer: connection refused",
                next_command="lab logs trino",
            ),
            one("spark", "Spark", HealthState.ABSENT, latency_ms=None, next_command="lab up spark"),
        ],
        checked_at=NOW,
    )


@router.get("/admin/personas")
def personas() -> list[PersonaModel]:
    return [
        PersonaModel(
            username=one.username,
            name=f"{one.first_name} {one.last_name}",
            groups=list(one.groups),
            description=one.description,
        )
        for one in PERSONAS
    ]
