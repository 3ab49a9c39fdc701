"""Ending the sessions of everybody: cookies and kept tokens are worth nothing afterwards."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request

from control_plane.api.access import Authenticated, console_of
from control_plane.api.identity.people import require_admin
from control_plane.api.schemas.admin import EndedSessions

log = logging.getLogger(__name__)
router = APIRouter(prefix="/api/v1/admin/sessions", tags=["admin"])


@router.post("/end")
async def end_sessions(request: Request, caller: Authenticated) -> EndedSessions:
    """Ends all sessions of this console but the caller's own. For lab admins. Who is still signed in at
    Keycloak comes back without a password; disable the person there to keep them out."""
    require_admin(caller.person, "end the sessions of others")
    ended = await console_of(request).sessions.end_others(caller.signed.session)
    log.info("%s ended the sessions of others: %d", caller.username, ended)
    return EndedSessions(ended=ended)
