"""Who may do what in which workspace, as the governor says."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from uuid import UUID

from anyio import to_thread

from contracts.errors import LabError
from control_plane.api.access import Caller
from control_plane.api.explorer.cache import Cache
from control_plane.api.governor import Governor
from control_plane.api.jobs.quotas import Quotas
from control_plane.api.problems import AbsentServiceError, ConflictError
from control_plane.api.storage.kept import Membership
from governance.client import GovernorError
from governance.governor.auth import ForbiddenError, IdentityUnavailableError
from governance.workspaces.model import Workspace, WorkspaceRole, WorkspaceState

_INSIDE = (WorkspaceRole.OWNER, WorkspaceRole.MEMBER)
_AWAY = (None, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_MEMBERSHIPS = "memberships"


class Workspaces:
    """Asks the governor in the caller's name. A workspace that is not theirs to know of is 404."""

    def __init__(self, governor: Governor, cache: Cache, quotas: Quotas) -> None:
        self._governor, self._cache, self._quotas = governor, cache, quotas

    async def memberships(self, caller: Caller) -> Mapping[UUID, Membership]:
        """The workspaces that the caller works in, as of a moment ago. While the governor can't be asked,
        those of the groups of their token, of none of which they are an owner then.

        Raises:
            GovernorError: it refused. SignInEndedError.
            sqlalchemy.exc.OperationalError.
        """
        if not caller.groups:
            return {}
        try:
            return await self._cache.get(caller, _MEMBERSHIPS, lambda: self._ask(caller))
        except LabError as error:
            if isinstance(error, GovernorError) and error.status == HTTPStatus.FORBIDDEN:
                # Somebody whose groups it does not know is told nothing.
                return {}
            if not _is_away(error):
                raise
            known = await to_thread.run_sync(self._quotas.known, caller.groups)
            return {workspace_id: Membership(name=name, owner=False) for name, workspace_id in known.items()}

    def forget(self) -> None:
        """Who is in which workspace changed."""
        self._cache.forget()

    async def _ask(self, caller: Caller) -> Mapping[UUID, Membership]:
        found = await self._governor.ask(caller, lambda client: client.workspaces.all())
        await to_thread.run_sync(self._quotas.hear, found)
        return {
            one.id: Membership(name=one.name, owner=one.role is WorkspaceRole.OWNER)
            for one in found
            if one.role in _INSIDE
        }

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
        # Whatever was said of them a moment ago: they work in this one.
        self._cache.forget(caller.username)
        return found


def _is_away(error: LabError) -> bool:
    if isinstance(error, GovernorError):
        return error.status in _AWAY
    return isinstance(error, AbsentServiceError | IdentityUnavailableError)
