"""Who may do what in which workspace, as the governor says."""

from __future__ import annotations

from uuid import UUID

from control_plane.api.access import Caller
from control_plane.api.explorer.cache import Cache
from control_plane.api.governor import Governor
from control_plane.api.problems import AbsentServiceError, BusyError, ConflictError
from control_plane.api.queries.service import Queries
from governance.client import GovernorError
from governance.governor.auth import ForbiddenError
from governance.workspaces.model import Workspace, WorkspaceRole, WorkspaceState

_INSIDE = (WorkspaceRole.OWNER, WorkspaceRole.MEMBER)
_FORBIDDEN = 403


class Workspaces:
    """Asks the governor in the caller's name. A workspace that is not theirs to know of is 404.

    Args:
        catalog: the one that workspaces are in.
    """

    def __init__(self, governor: Governor, cache: Cache, queries: Queries, catalog: str) -> None:
        self._governor, self._cache, self._queries, self._catalog = governor, cache, queries, catalog

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

    async def require_query(self, caller: Caller, catalog: str | None, namespace: str | None) -> None:
        """Refuses a query in a workspace's namespace while as many run there as its quota says. Raises
        BusyError."""
        own = (None, self._catalog)
        if namespace is None or catalog not in own:
            return
        name = namespace.lower()
        found = next((one for one in await self._mine(caller) if one.namespace == name), None)
        if found is None:
            return
        running = self._queries.running_in(own, name)
        if running >= found.quota.queries:
            raise BusyError(
                f"{running} queries are running in workspace {found.name!r}",
                value=found.name,
                permitted=str(found.quota.queries),
                next_command="wait for one, or cancel it",
            )

    def forget(self) -> None:
        """What was told of workspaces is old."""
        self._cache.forget()

    async def _mine(self, caller: Caller) -> tuple[Workspace, ...]:
        async def ask() -> tuple[Workspace, ...]:
            try:
                return await self._governor.ask(caller, lambda client: client.workspaces.all())
            except AbsentServiceError:
                return ()
            except GovernorError as error:
                # Somebody in no group has none; and a governor that is down keeps nobody from querying.
                if error.status not in (None, _FORBIDDEN) and error.status < 500:
                    raise
                return ()

        return await self._cache.get(caller, "workspaces", ask)
