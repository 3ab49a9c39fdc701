"""The services' logs. Errors in them may tell values of rows, so that they are for lab admins alone."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request

from control_plane.api.access import Authenticated, console_of
from control_plane.api.identity.people import require_admin
from control_plane.api.logs import MOST_LINES
from control_plane.api.schemas.logs import LogLines, ServiceLog

log = logging.getLogger(__name__)
router = APIRouter(prefix="/api/v1/admin/logs", tags=["admin"])


@router.get("")
def list_logs(request: Request, caller: Authenticated) -> list[ServiceLog]:
    """Services that have a log. For lab admins; `404` where the placement keeps logs elsewhere."""
    require_admin(caller.person, "read the services' logs")
    return [
        ServiceLog(service=one.service, size_bytes=one.size_bytes, changed_at=one.changed_at)
        for one in console_of(request).logs.files()
    ]


@router.get("/{service}")
def read_log(
    service: str,
    request: Request,
    caller: Authenticated,
    lines: Annotated[int, Query(ge=1, le=MOST_LINES)] = 500,
    after: Annotated[
        int | None, Query(ge=0, le=2**63 - 1, description="`next` of what was read last.")
    ] = None,
) -> LogLines:
    """The last lines of a service's log, or those that came since. For lab admins."""
    require_admin(caller.person, "read the services' logs")
    found = console_of(request).logs.read(service, lines=lines, after=after)
    if after is None:
        log.info("%s reads the log of %s", caller.username, service)
    return LogLines(service=service, lines=list(found.lines), next=found.next, skipped=found.skipped)
