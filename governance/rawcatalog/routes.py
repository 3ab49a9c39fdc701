"""The door over HTTP, below ``/iceberg`` of the governor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

from anyio import to_thread
from fastapi import FastAPI, Request, Response

from contracts.errors import LabError, UsageError
from contracts.identity import CATALOG_DOOR_PATH
from governance.governor.auth import (
    Caller,
    ForbiddenError,
    IdentityUnavailableError,
    TokenVerifier,
    UnauthenticatedError,
)
from governance.rawcatalog.door import Answer, CatalogAwayError, Door, error_answer
from governance.rawcatalog.requests import RefusedError

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


def add_door(
    app: FastAPI, door: Door, verifier: TokenVerifier, audit: Callable[[Caller, str, int], None]
) -> None:
    """Adds the door. ``verifier`` takes tokens made for the catalog; ``audit`` hears of writes and refusals:
    caller, what was asked, and the status."""

    def answered(request: Request, body: bytes) -> Answer:
        # Still percent-encoded: a name may hold what separates names.
        path = request.scope["raw_path"].decode("ascii").partition("?")[0]
        if len(body) > _MAX_BODY_BYTES:
            return error_answer(413, "BadRequestException", f"the body has more than {_MAX_BODY_BYTES} bytes")
        caller: Caller | None = None
        try:
            caller = verifier.caller(request.headers.get("authorization"))
            answer = door.answer(
                caller,
                request.method,
                path.removeprefix(CATALOG_DOOR_PATH),
                dict(request.query_params),
                dict(request.headers),
                body,
            )
        except LabError as error:
            status, kind = next(
                ((status, kind) for cls, status, kind in _ERRORS if isinstance(error, cls)),
                (HTTPStatus.BAD_GATEWAY, "ServiceFailureException"),
            )
            answer = error_answer(int(status), kind, error.render().replace("\n", "; "))
        if caller is not None and (
            request.method not in ("GET", "HEAD") or answer.status == HTTPStatus.FORBIDDEN
        ):
            audit(caller, f"{request.method} {path}", answer.status)
        return answer

    @app.api_route(CATALOG_DOOR_PATH + "/{_:path}", methods=_METHODS, include_in_schema=False)
    async def enter(request: Request) -> Response:
        body = await request.body()
        answer = await to_thread.run_sync(answered, request, body)
        content = b"" if request.method == "HEAD" else answer.content
        return Response(content, status_code=answer.status, media_type="application/json")
