"""The governor over HTTP."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from contracts.errors import LabError, UsageError
from contracts.identity import Audience
from governance.audit.collector import Collector, TooLongError
from governance.audit.spool import SpoolFullError
from governance.client import (
    PROBLEM_JSON,
    STALE_REVISION,
    TABLE_GRANTED,
    AccessRevision,
    EffectiveAccess,
    Fingerprint,
    GovernorStatus,
    RawAccess,
    ReconcileReport,
    SeedResult,
    StaleRevisionError,
    TableOwner,
)
from governance.governor.auditing import add_audit_routes
from governance.governor.auth import (
    Caller,
    ForbiddenError,
    IdentityUnavailableError,
    Permission,
    TokenVerifier,
    UnauthenticatedError,
)
from governance.governor.editing import UnknownRevisionError
from governance.governor.insight import Insight
from governance.governor.knowledge import UnavailableError
from governance.governor.loops import Loop
from governance.governor.maintaining import Maintenance, add_maintenance_routes
from governance.governor.routes import add_access_routes
from governance.governor.service import AlreadyGrantedError, Governor
from governance.governor.spacerights import LastOwnerError
from governance.governor.spaceroutes import add_workspace_routes
from governance.governor.spaces import Spaces, WorkspaceNotEmptyError
from governance.governor.using import Uses, add_use_routes
from governance.impact import Counter
from governance.maintenance.store import BeingMaintainedError
from governance.rawcatalog.door import Door
from governance.rawcatalog.routes import add_door
from governance.reconcile.groups import ForeignGroupError
from governance.reconcile.namespaces import ForeignNamespaceError
from governance.store import OwnedByAnotherError
from governance.workspaces.store import NoWorkspaceError, WorkspaceBusyError, WorkspaceExistsError

log = logging.getLogger(__name__)

_STOP_TIMEOUT_S = 8.0

_STATUSES: Sequence[tuple[type[LabError], HTTPStatus]] = (
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (UnknownRevisionError, HTTPStatus.NOT_FOUND),
    (NoWorkspaceError, HTTPStatus.NOT_FOUND),
    (WorkspaceExistsError, HTTPStatus.CONFLICT),
    (WorkspaceBusyError, HTTPStatus.CONFLICT),
    (WorkspaceNotEmptyError, HTTPStatus.CONFLICT),
    (LastOwnerError, HTTPStatus.CONFLICT),
    (ForeignGroupError, HTTPStatus.CONFLICT),
    (ForeignNamespaceError, HTTPStatus.CONFLICT),
    (StaleRevisionError, HTTPStatus.CONFLICT),
    (OwnedByAnotherError, HTTPStatus.CONFLICT),
    (AlreadyGrantedError, HTTPStatus.CONFLICT),
    (BeingMaintainedError, HTTPStatus.CONFLICT),
    (IdentityUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (SpoolFullError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TooLongError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
_TYPES: dict[type[LabError], str] = {
    StaleRevisionError: STALE_REVISION,
    AlreadyGrantedError: TABLE_GRANTED,
}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SeedAccess(_Body):
    """A seed of the access data."""

    document: dict[str, Any]
    digest: str = Field(min_length=1, max_length=200)
    reset: bool = False


class RegisterOwner(_Body):
    """A table and the group that it belongs to."""

    table: str = Field(min_length=3, max_length=500)
    group: str = Field(min_length=1, max_length=255)


def _caller(request: Request, authorization: Annotated[str | None, Header()] = None) -> Caller:
    verifier: TokenVerifier = request.app.state.verifier
    caller = verifier.caller(authorization)
    uses: Uses | None = request.app.state.uses
    if uses is not None:
        uses.asked(caller, request.url.path)
    return caller


Authenticated = Annotated[Caller, Depends(_caller)]


def create_app(
    governor: Governor,
    verifier: TokenVerifier,
    loops: Sequence[Loop] = (),
    *,
    counter: Counter | None = None,
    collector: Collector | None = None,
    maintenance: Maintenance | None = None,
    catalog: str = "lake",
    raw_door: tuple[Door, TokenVerifier] | None = None,
    spaces: Spaces | None = None,
    uses: Uses | None = None,
) -> FastAPI:
    """The application. ``loops`` run as long as it does; the first of them to run prepares the database.
    ``counter`` counts rows for comparisons; None where nothing can. ``collector`` takes what the audit is
    made of; without one there is no audit. ``maintenance`` keeps tables in shape. ``raw_door`` is the door of
    raw engines to a catalog without grants on tables, and what checks their tokens. ``spaces`` makes and
    removes workspaces. ``uses`` notes that people use the lab; None where nobody asks."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        for loop in loops:
            loop.start()
        yield
        for loop in loops:
            if not await to_thread.run_sync(loop.stop, _STOP_TIMEOUT_S):
                log.warning("a loop did not end in %s s", _STOP_TIMEOUT_S)

    app = FastAPI(title="Governor", version="1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.verifier, app.state.uses = verifier, uses
    _add_error_handlers(app)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready")
    def ready(response: Response) -> dict[str, str]:
        if not governor.ready():
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
            return {"status": governor.waits_for}
        return {"status": "ready"}

    @app.get("/v1/status")
    def status(_: Authenticated) -> GovernorStatus:
        return governor.status()

    @app.get("/v1/fingerprint")
    def fingerprint(_: Authenticated) -> Fingerprint:
        return governor.fingerprint()

    @app.get("/v1/access")
    def access(caller: Authenticated) -> AccessRevision:
        return governor.access(caller)

    @app.get("/v1/access/effective")
    def effective(caller: Authenticated) -> EffectiveAccess:
        return governor.effective(caller)

    @app.get("/v1/access/raw")
    def raw(caller: Authenticated) -> RawAccess:
        found = governor.raw_access(caller)
        if caller.client == Audience.SPARK.value:
            governor.store.log(caller.username, "spark.ask", {"restricted": sorted(found.restricted)})
        return found

    @app.post("/v1/access/seed")
    def seed(body: SeedAccess, caller: Authenticated) -> SeedResult:
        return governor.seed(caller, body.document, body.digest, body.reset)

    @app.post("/v1/reconcile")
    def reconcile(caller: Authenticated) -> ReconcileReport:
        caller.require(Permission.RECONCILE)
        governor.store.log(caller.username, "reconcile.request", {})
        return governor.reconcile(everything=True)

    @app.post("/v1/owners")
    def register_owner(body: RegisterOwner, caller: Authenticated) -> TableOwner:
        return governor.register_owner(caller, body.table, body.group)

    @app.get("/v1/owners")
    def owners(_: Authenticated) -> tuple[TableOwner, ...]:
        return governor.store.owners()

    add_access_routes(app, governor, Insight(governor, counter, catalog=catalog), _caller)
    if raw_door is not None:
        if collector is None:
            raise ValueError("what comes through the door is audited: it needs a collector")
        add_door(app, *raw_door, collector.keep)
    if collector is not None:
        add_audit_routes(app, governor, collector, _caller)
    if maintenance is not None:
        add_maintenance_routes(app, maintenance, _caller)
    if spaces is not None:
        add_workspace_routes(app, spaces, _caller)
    if uses is not None:
        add_use_routes(app, uses, _caller)
    return app


def problem(
    status: int,
    error: LabError,
    *,
    kind: str = "about:blank",
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """An error as problem document, with the facts of a LabError as members of its own."""
    content = {"type": kind, "title": error.what, "status": int(status), **error.as_dict()}
    return JSONResponse(content, status_code=int(status), media_type=PROBLEM_JSON, headers=headers)


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(LabError)
    def lab_error(_: Request, error: LabError) -> JSONResponse:
        status = next((s for kind, s in _STATUSES if isinstance(error, kind)), HTTPStatus.BAD_GATEWAY)
        headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
        return problem(status, error, kind=_TYPES.get(type(error), "about:blank"), headers=headers)

    @app.exception_handler(SQLAlchemyError)
    def database_error(_: Request, error: SQLAlchemyError) -> JSONResponse:
        log.warning("database: %s", str(error).splitlines()[0])
        unavailable = UnavailableError("the governance database does not answer", next_command="lab status")
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, unavailable)

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        refused = UsageError(f"{where}: {first['msg']}", permitted="the request as GovernorClient sends it")
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, refused)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}: {error.detail}"
        return problem(error.status_code, LabError(what), headers=dict(error.headers or {}))
