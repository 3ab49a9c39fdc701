"""Who may do what in which workspace, as the governor says."""

from __future__ import annotations

from uuid import UUID

from control_plane.api.access import Caller
from control_plane.api.governor import Governor
from control_plane.api.problems import ConflictError
from governance.governor.auth import ForbiddenError
from governance.workspaces.model import Workspace, WorkspaceRole, WorkspaceState

_INSIDE = (WorkspaceRole.OWNER, WorkspaceRole.MEMBER)


class Workspaces:
    """Asks the governor in the caller's name. A workspace that is not theirs to know of is 404."""

    def __init__(self, governor: Governor) -> None:
        self._governor = governor

    async def get(self, caller: Caller, workspace_id: UUID) -> Workspace:
        """One of them. Raises GovernorError."""
        return await self._governor.ask(caller, lambda client: client.workspaces.get(workspace_id))

    async def entered(self, caller: Caller, workspace_id: UUID) -> Workspace:
        """One that the caller works in. Raises GovernorError, ForbiddenError, ConflictError."""
        found = await self.get(caller, workspace_id)
        if found.role not in _INSIDE:
            raise ForbiddenError(
                f"{caller.username!r} is no member of workspace {found.name!r}",
                value=found.name,
                permitted="its members",
                next_command="ask one of its owners: " + ", ".join(found.owners),
            )
        if found.state is not WorkspaceState.READY:
            raise ConflictError(
                f"workspace {found.name!r} is not ready", value=found.state, permitted="one that is"
            )
        return found
