"""The audit over HTTP: what Trino and OPA post, and what people read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, FastAPI, Query, Request, Response

from contracts.errors import UsageError
from governance.audit.collector import BODY_BYTES, Collector, Producer, TooLongError
from governance.audit.reading import AuditReader
from governance.audit.records import QUERY_ID
from governance.audit.report import AuditReport
from governance.audit.store import AuditFilter
from governance.governor.auth import Caller, ForbiddenError, Permission, UnauthenticatedError
from governance.governor.service import Governor

LIMIT = 1000
_LONGEST_S = 10 * 366 * 86400


def add_audit_routes(
    app: FastAPI, governor: Governor, collector: Collector, authenticate: Callable[..., Caller]
) -> None:
    """Adds the routes; ``authenticate`` gives the caller behind a person's request, producers show a token
    of their own."""
    caller_of = Depends(authenticate)
    reader = AuditReader(collector.store, governor.store.revision, catalog=collector.settings.catalog)

    async def take(producer: Producer, request: Request) -> Response:
        if not collector.is_producer(producer, request.headers.get("authorization")):
            raise UnauthenticatedError("this is for the lab's own services", permitted="the producer's token")
        body = await _body(request)
        packed = request.headers.get("content-encoding", "").lower() == "gzip"
        await to_thread.run_sync(lambda: collector.receive(producer, body, packed=packed))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @app.post("/v1/audit/queries")
    async def queries(request: Request) -> Response:
        return await take(Producer.TRINO, request)

    @app.post("/v1/audit/decisions")
    async def decisions(request: Request) -> Response:
        return await take(Producer.OPA, request)

    @app.get("/v1/audit")
    def audit(
        user: Annotated[str | None, Query(max_length=255)] = None,
        since_s: Annotated[float | None, Query(gt=0, le=_LONGEST_S)] = None,
        table: Annotated[str | None, Query(min_length=3, max_length=500)] = None,
        denied: bool = False,
        query_id: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT)] = 100,
        caller: Caller = caller_of,
    ) -> AuditReport:
        if query_id is not None and QUERY_ID.fullmatch(query_id) is None:
            raise UsageError(
                "this is no query's id",
                value=query_id,
                permitted="20260102_030405_00006_abcde",
                next_command="lab audit",
            )
        wanted = AuditFilter(
            user=whose(caller, user),
            since=None if since_s is None else datetime.now(tz=UTC) - timedelta(seconds=since_s),
            table=None if table is None else table.lower(),
            denied=denied,
            query_id=query_id,
            limit=limit,
        )
        return reader.report(
            wanted, waiting=collector.waiting(), retention_days=collector.settings.retention_days
        )


def whose(caller: Caller, user: str | None) -> str | None:
    """Whose lines the caller gets when asking for those of ``user``; None is everybody's.

    Raises:
        ForbiddenError: they are another's, and the caller is neither auditor nor lab admin.
    """
    if Permission.READ_AUDIT in caller.permissions:
        return user
    if caller.service is not None:
        raise ForbiddenError(
            f"{caller.username!r} may not {Permission.READ_AUDIT.value}", permitted="auditors, lab_admins"
        )
    if user not in (None, caller.username):
        caller.require(Permission.READ_AUDIT)
    return caller.username


async def _body(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES:
            raise TooLongError("the request is too long", value=size, permitted=f"{BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)
