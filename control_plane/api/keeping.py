"""What routes of kept things have in common: conditional changes, sharing, and their form."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar
from uuid import UUID

from anyio import from_thread
from fastapi import Header, Request, Response

from contracts.errors import unknown_name
from control_plane.api.access import Caller, console_of
from control_plane.api.problems import AbsentServiceError, PreconditionRequiredError
from control_plane.api.schemas.common import Body, Owned, Share
from control_plane.api.storage.kept import Kept, Viewer
from governance.governor.auth import ForbiddenError

Shown = TypeVar("Shown", bound=Owned)

IfMatch = Annotated[
    str | None, Header(description="The ETag that the change is based on; `428` without, `412` when stale.")
]
_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"', re.ASCII)
_NO_VERSION = -1


def viewer_of(caller: Caller) -> Viewer:
    """The caller as the store knows them, for what belongs to no workspace."""
    return Viewer(username=caller.username, groups=caller.groups)


def member_of(request: Request, caller: Caller) -> Viewer:
    """The same with the workspaces that they work in. To be called in a worker thread.

    Raises:
        GovernorError, SignInEndedError.
    """
    workspaces = from_thread.run(console_of(request).workspaces.memberships, caller)
    return Viewer(username=caller.username, groups=caller.groups, workspaces=workspaces)


def require_entered(request: Request, caller: Caller, workspace_id: UUID | None) -> None:
    """Refuses to put something into a workspace that the caller does not work in. To be called in a worker
    thread.

    Raises:
        GovernorError (404: it is not theirs to know of), ForbiddenError, ConflictError (it is not ready),
        AbsentServiceError.
    """
    if workspace_id is not None:
        from_thread.run(console_of(request).workspaces.entered, caller, workspace_id)


def version_of(if_match: str | None) -> int:
    """The version that a change is based on; one that nothing has for an ETag that is not ours.

    Raises:
        PreconditionRequiredError: there is none.
    """
    if if_match is None:
        raise PreconditionRequiredError(
            "a change must say what it is based on", permitted="If-Match: the ETag that was read"
        )
    match = _ETAG.fullmatch(if_match.strip())
    return int(match[1]) if match else _NO_VERSION


def document_of(body: Body) -> dict[str, Any]:
    """What the store keeps of a body: all but what has a place of its own."""
    return body.model_dump(mode="json", exclude={"title", "shares", "workspace_id"})


def shown(kept: Kept, model: type[Shown], response: Response | None = None, **more: Any) -> Shown:
    """A kept thing in its own form, with its ETag."""
    if response is not None:
        response.headers["ETag"] = kept.etag
    own = {
        "id": kept.id,
        "owner": kept.owner,
        "shares": kept.shares,
        "version": kept.version,
        "can_edit": kept.can_edit,
        "can_manage": kept.can_manage,
        "workspace": kept.workspace,
        "created_at": kept.created_at,
        "updated_at": kept.updated_at,
        "updated_by": kept.updated_by,
    }
    return model.model_validate({**kept.document, **own, **more})


def require_groups(request: Request, caller: Caller, shares: list[Share]) -> None:
    """Refuses to share with a group that the realm does not have. To be called in a worker thread.

    Raises:
        UsageError: names the group and the nearest there is.
    """
    others = {share.group for share in shares} - caller.groups
    if not others:
        return
    console = console_of(request)
    try:
        groups = from_thread.run(console.directory.group_names, caller)
    except (AbsentServiceError, ForbiddenError):
        groups = caller.groups
    for group in sorted(others - groups):
        raise unknown_name("group", group, groups | caller.groups)
