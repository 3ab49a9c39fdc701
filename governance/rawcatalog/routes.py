"""The door over HTTP, below ``/iceberg`` of the governor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

from anyio import to_thread
from fastapi import FastAPI, Request, Response

from contracts.errors import LabError, UsageError
from contracts.identity import CATALOG_DOOR_PATH
from governance.audit.records import Json
from governance.audit.spool import SpoolFullError
from governance.derivation import RawRights
from governance.governor.auth import (
    Caller,
    ForbiddenError,
    IdentityUnavailableError,
    TokenVerifier,
    UnauthenticatedError,
)
from governance.rawcatalog.door import Answer, CatalogAwayError, Door, error_answer
from governance.rawcatalog.requests import RefusedError
from governance.rawcatalog.uses import Exchange, reads, use_record

log = logging.getLogger(__name__)

_MAX_BODY_BYTES = 16 << 20
_METHODS = ["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH"]
_ERRORS: tuple[tuple[type[LabError], HTTPStatus, str], ...] = (
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED, "NotAuthorizedException"),
    (ForbiddenError, HTTPStatus.FORBIDDEN, "ForbiddenException"),
    (RefusedError, HTTPStatus.FORBIDDEN, "ForbiddenException"),
    (IdentityUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
    (CatalogAwayError, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
    (UsageError, HTTPStatus.BAD_REQUEST, "BadRequestException"),
)


def add_door(app: FastAPI, door: Door, verifier: TokenVerifier, audit: Callable[[Json], None]) -> None:
    """Adds the door. ``verifier`` takes tokens made for the catalog; ``audit`` keeps a record of each read,
    write and refusal, and raises SpoolFullError where there is no room for it."""

    def answered(request: Request, body: bytes) -> Answer:
        # Still percent-encoded: a name may hold what separates names.
        path = request.scope["raw_path"].decode("ascii").partition("?")[0]
        if len(body) > _MAX_BODY_BYTES:
            return error_answer(413, "BadRequestException", f"the body has more than {_MAX_BODY_BYTES} bytes")
        caller: Caller | None = None
        rights: RawRights | None = None
        below = path.removeprefix(CATALOG_DOOR_PATH)
        headers = dict(request.headers)
        try:
            caller = verifier.caller(request.headers.get("authorization"))
            rights = door.rights()
            query = dict(request.query_params)
            answer = door.answer(caller, request.method, below, query, headers, body, rights)
        except LabError as error:
            status, kind = next(
                ((status, kind) for cls, status, kind in _ERRORS if isinstance(error, cls)),
                (HTTPStatus.BAD_GATEWAY, "ServiceFailureException"),
            )
            answer = error_answer(int(status), kind, error.render().replace("\n", "; "))
        if caller is None:
            return answer
        exchange = Exchange(
            method=request.method,
            path=below,
            headers=headers,
            body=body,
            status=answer.status,
            answer=answer.content,
        )
        revision = None if rights is None else rights.revision
        record = use_record(caller, exchange, door.warehouse, revision, datetime.now(tz=UTC))
        return answer if record is None else _kept(record, answer, audit)

    @app.api_route(CATALOG_DOOR_PATH + "/{_:path}", methods=_METHODS, include_in_schema=False)
    async def enter(request: Request) -> Response:
        body = await request.body()
        answer = await to_thread.run_sync(answered, request, body)
        content = b"" if request.method == "HEAD" else answer.content
        return Response(content, status_code=answer.status, media_type="application/json")


def _kept(record: Json, answer: Answer, audit: Callable[[Json], None]) -> Answer:
    """The answer once its record is kept. Without one no file is opened; what was written is written, and the
    spool itself counts what it could not take."""
    try:
        audit(record)
    except SpoolFullError as error:
        log.warning("a raw engine's request is not kept: %s %s", record["what"], record["tables"])
        if reads(record):
            return error_answer(503, "ServiceUnavailableException", error.render().replace("\n", "; "))
    return answer
