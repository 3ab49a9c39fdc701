"""The governor's API for workspaces, as a typed client: ``GovernorClient(…).workspaces``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, TypeVar
from urllib.parse import quote
from uuid import UUID

from governance.workspaces.model import Workspace, WorkspaceMember, WorkspaceQuota, WorkspaceRemoval

T = TypeVar("T")


class Call(Protocol):
    """One request; its answer as a value of the kind asked for."""

    def __call__(
        self, kind: type[T], method: str, path: str, body: Mapping[str, Any] | None = None, /
    ) -> T: ...


class WorkspaceCalls:
    """Raises as GovernorClient does; 404 for a workspace that the caller may not know of."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def all(self) -> tuple[Workspace, ...]:
        """Workspaces that the caller belongs to; all of them for who may read access data."""
        return self._call(tuple[Workspace, ...], "GET", "/v1/workspaces")

    def get(self, workspace_id: UUID) -> Workspace:
        """One of them."""
        return self._call(Workspace, "GET", f"/v1/workspaces/{workspace_id}")

    def create(
        self,
        name: str,
        *,
        description: str = "",
        owners: Sequence[str] = (),
        quota: WorkspaceQuota | None = None,
    ) -> Workspace:
        """Makes a workspace, owned by the caller unless ``owners`` are named. What can't be done at once
        goes on by itself: the state is then ``making``."""
        body = {
            "name": name,
            "description": description,
            "owners": list(owners),
            "quota": None if quota is None else asdict(quota),
        }
        return self._call(Workspace, "POST", "/v1/workspaces", body)

    def change(
        self, workspace_id: UUID, *, description: str | None = None, quota: WorkspaceQuota | None = None
    ) -> Workspace:
        """Changes description or quota; None leaves them."""
        body = {"description": description, "quota": None if quota is None else asdict(quota)}
        return self._call(Workspace, "PATCH", f"/v1/workspaces/{workspace_id}", body)

    def members(self, workspace_id: UUID) -> tuple[WorkspaceMember, ...]:
        """Who is in it."""
        return self._call(tuple[WorkspaceMember, ...], "GET", f"/v1/workspaces/{workspace_id}/members")

    def put_member(
        self, workspace_id: UUID, username: str, *, owner: bool = False
    ) -> tuple[WorkspaceMember, ...]:
        """Makes somebody a member, and an owner or not."""
        return self._call(
            tuple[WorkspaceMember, ...], "PUT", _member(workspace_id, username), {"owner": owner}
        )

    def take_member(self, workspace_id: UUID, username: str) -> tuple[WorkspaceMember, ...]:
        """Takes somebody out of it."""
        return self._call(tuple[WorkspaceMember, ...], "DELETE", _member(workspace_id, username))

    def remove(self, workspace_id: UUID, *, tables: bool = False, only_try: bool = False) -> WorkspaceRemoval:
        """Removes a workspace, its tables only when ``tables``; ``only_try`` says what would go."""
        body = {"tables": tables, "only_try": only_try}
        return self._call(WorkspaceRemoval, "POST", f"/v1/workspaces/{workspace_id}/removal", body)


def _member(workspace_id: UUID, username: str) -> str:
    return f"/v1/workspaces/{workspace_id}/members/{quote(username, safe='')}"
