"""Groups of the realm, as the governor knows them."""

from __future__ import annotations

from control_plane.api.access import Caller
from control_plane.api.explorer.cache import Cache
from control_plane.api.governor import Governor
from governance.client import GovernorError, GroupMembers

_FORBIDDEN = 403


class Directory:
    """Asks for groups, and remembers a moment what it was told."""

    def __init__(self, governor: Governor, cache: Cache) -> None:
        self._governor, self._cache = governor, cache

    async def groups(self, caller: Caller) -> tuple[GroupMembers, ...]:
        """All groups; members where the caller may know them. A person in no group is told nothing."""

        async def ask() -> tuple[GroupMembers, ...]:
            try:
                return await self._governor.ask(caller, lambda client: client.groups())
            except GovernorError as error:
                if error.status != _FORBIDDEN:
                    raise
                return ()

        return await self._cache.get(caller, "groups", ask)

    async def group_names(self, caller: Caller) -> frozenset[str]:
        """Names of all groups."""
        return frozenset(group.name for group in await self.groups(caller))
