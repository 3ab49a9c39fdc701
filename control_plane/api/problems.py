"""Errors as problem documents (https://www.rfc-editor.org/rfc/rfc9457)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol, runtime_checkable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from contracts.errors import LabError, UsageError
from control_plane.api.identity.errors import CrossSiteError, SignInFailedError
from governance.client import PROBLEM_JSON, GovernorError
from governance.governor.auth import ForbiddenError, IdentityUnavailableError, UnauthenticatedError

log = logging.getLogger(__name__)


@runtime_checkable
class HasStatus(Protocol):
    """An error that knows the status it has over HTTP."""

    http_status: int


class NotFoundError(LabError):
    """There is no such thing, or it is not the caller's to see: nobody learns which (404)."""


class StaleError(LabError):
    """Somebody changed it since the caller read it (412)."""


class PreconditionRequiredError(LabError):
    """A change must say what it is based on (428)."""


class ConflictError(LabError):
    """It is not in a state for that (409)."""


class GoneError(LabError):
    """It was there and is no more (410)."""


class BusyError(LabError):
    """The caller has as much running as they may (429)."""


class UnavailableError(LabError):
    """Something that this needs does not answer (503)."""


class AbsentServiceError(LabError):
    """The lab runs without the service that this needs (404)."""


_STATUSES: Sequence[tuple[type[LabError], HTTPStatus]] = (
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (ForbiddenError, HTTPStatus.FORBIDDEN),
    (CrossSiteError, HTTPStatus.FORBIDDEN),
    (SignInFailedError, HTTPStatus.BAD_REQUEST),
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (AbsentServiceError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (GoneError, HTTPStatus.GONE),
    (StaleError, HTTPStatus.PRECONDITION_FAILED),
    (PreconditionRequiredError, HTTPStatus.PRECONDITION_REQUIRED),
    (BusyError, HTTPStatus.TOO_MANY_REQUESTS),
    (IdentityUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
_FACTS = ("error_name", "line", "column", "query_id")
_RETRY_AFTER_S = "3"


def status_of(error: LabError) -> int:
    """The HTTP status that an error has."""
    if isinstance(error, GovernorError):
        return _relayed(error.status)
    if isinstance(error, HasStatus):
        return error.http_status
    return next((s for kind, s in _STATUSES if isinstance(error, kind)), HTTPStatus.BAD_GATEWAY)


def problem(
    error: LabError, *, status: int | None = None, headers: dict[str, str] | None = None
) -> JSONResponse:
    """An error as it goes over the wire."""
    status = int(status_of(error) if status is None else status)
    facts = {name: value for name, value in error.as_dict().items() if name != "error"}
    content = {"type": "about:blank", "title": error.what, "status": status, **facts}
    content |= {name: getattr(error, name) for name in _FACTS if getattr(error, name, None) is not None}
    headers = dict(headers or {})
    if status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.setdefault("Retry-After", _RETRY_AFTER_S)
    return JSONResponse(content, status_code=status, media_type=PROBLEM_JSON, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Every error of the application in this form."""

    @app.exception_handler(LabError)
    async def lab_error(_: Request, error: LabError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(SQLAlchemyError)
    async def database_error(_: Request, error: SQLAlchemyError) -> JSONResponse:
        if isinstance(error, DataError):
            refused = UsageError(
                "the database can't hold a value of this request", permitted="text without NUL"
            )
            return problem(refused)
        log.warning("database: %s", str(error).splitlines()[0])
        return problem(UnavailableError("the console's database does not answer", next_command="lab status"))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem(UsageError(f"{where}: {first['msg']}", permitted="what the API's description says"))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}: {error.detail}"
        return problem(LabError(what), status=error.status_code, headers=dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        failed = LabError("the console failed at this", next_command="lab logs control-plane")
        return problem(failed, status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _relayed(status: int | None) -> int:
    """What a service behind answered, as the caller hears it: its refusals are the caller's, its faults and
    what it thinks of the console are not."""
    if status is None or status in (502, 503, 504):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if status == HTTPStatus.UNAUTHORIZED or status >= 500:
        return HTTPStatus.BAD_GATEWAY
    return status
