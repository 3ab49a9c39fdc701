"""Who may do what with which workspace."""

from __future__ import annotations

from contracts.errors import LabError
from governance.governor.auth import Caller, Permission
from governance.workspaces.model import WorkspaceRole, WorkspaceState
from governance.workspaces.store import Kept, WorkspaceBusyError


class LastOwnerError(LabError):
    """A workspace always has an owner (409)."""


def role_of(caller: Caller, kept: Kept) -> WorkspaceRole | None:
    """What the caller is in a workspace; None of one that is not theirs to know of."""
    if caller.service is None and caller.username in kept.owners:
        return WorkspaceRole.OWNER
    if kept.group in caller.groups:
        return WorkspaceRole.MEMBER
    return WorkspaceRole.VIEWER if Permission.READ_ACCESS in caller.permissions else None


def may_manage(caller: Caller, role: WorkspaceRole) -> bool:
    """Whether the caller decides on members, description and end of a workspace."""
    return role is WorkspaceRole.OWNER or Permission.MANAGE_WORKSPACES in caller.permissions


def require_ready(kept: Kept) -> None:
    """Raises WorkspaceBusyError while it is being made or removed."""
    if kept.state is not WorkspaceState.READY:
        raise WorkspaceBusyError(
            f"workspace {kept.name!r} is not ready", value=kept.state, permitted="one that is"
        )


def owners_without(owners: tuple[str, ...], username: str, kept: Kept) -> tuple[str, ...]:
    """The owners without one of them. Raises LastOwnerError when none would be left."""
    left = tuple(name for name in owners if name != username)
    if not left:
        raise LastOwnerError(
            f"{username!r} is the last owner of workspace {kept.name!r}",
            value=username,
            permitted="another owner first",
        )
    return left
