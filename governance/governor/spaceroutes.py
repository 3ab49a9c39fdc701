"""Workspaces over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI, Path
from pydantic import BaseModel, ConfigDict, Field

from governance.governor.auth import Caller
from governance.governor.spaces import Spaces
from governance.workspaces.model import Workspace, WorkspaceMember, WorkspaceQuota, WorkspaceRemoval

_Username = Annotated[str, Path(min_length=1, max_length=255)]
_Count = Annotated[int, Field(ge=1, le=1000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Quota(_Body):
    """What a workspace may take."""

    queries: _Count
    jobs: _Count
    storage_mib: int = Field(ge=1, le=2**40)

    def value(self) -> WorkspaceQuota:
        """As the use cases take it."""
        return WorkspaceQuota(queries=self.queries, jobs=self.jobs, storage_mib=self.storage_mib)


class CreateWorkspace(_Body):
    """A workspace to make; owned by the caller unless ``owners`` are named."""

    name: str = Field(min_length=1, max_length=255)
    description: str = Field(default="", max_length=2000)
    owners: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(
        default_factory=list, max_length=100
    )
    quota: Quota | None = None


class ChangeWorkspace(_Body):
    """What to change; None leaves it."""

    description: str | None = Field(default=None, max_length=2000)
    quota: Quota | None = None


class PutMember(_Body):
    """Whether a member is an owner."""

    owner: bool = False


class RemoveWorkspace(_Body):
    """``tables``: its tables go, too. ``only_try``: nothing goes."""

    tables: bool = False
    only_try: bool = False


def add_workspace_routes(app: FastAPI, spaces: Spaces, authenticate: Callable[..., Caller]) -> None:
    """Adds the routes; ``authenticate`` gives the caller behind a request."""
    caller_of = Depends(authenticate)

    @app.get("/v1/workspaces")
    def workspaces(caller: Caller = caller_of) -> tuple[Workspace, ...]:
        return spaces.all(caller)

    @app.post("/v1/workspaces")
    def create_workspace(body: CreateWorkspace, caller: Caller = caller_of) -> Workspace:
        return spaces.create(
            caller,
            name=body.name,
            description=body.description,
            owners=tuple(body.owners),
            quota=None if body.quota is None else body.quota.value(),
        )

    @app.get("/v1/workspaces/{workspace_id}")
    def workspace(workspace_id: UUID, caller: Caller = caller_of) -> Workspace:
        return spaces.get(caller, workspace_id)

    @app.patch("/v1/workspaces/{workspace_id}")
    def change_workspace(workspace_id: UUID, body: ChangeWorkspace, caller: Caller = caller_of) -> Workspace:
        quota = None if body.quota is None else body.quota.value()
        return spaces.change(caller, workspace_id, description=body.description, quota=quota)

    @app.get("/v1/workspaces/{workspace_id}/members")
    def members(workspace_id: UUID, caller: Caller = caller_of) -> tuple[WorkspaceMember, ...]:
        return spaces.members(caller, workspace_id)

    @app.put("/v1/workspaces/{workspace_id}/members/{username}")
    def put_member(
        workspace_id: UUID, username: _Username, body: PutMember, caller: Caller = caller_of
    ) -> tuple[WorkspaceMember, ...]:
        return spaces.put_member(caller, workspace_id, username, owner=body.owner)

    @app.delete("/v1/workspaces/{workspace_id}/members/{username}")
    def take_member(
        workspace_id: UUID, username: _Username, caller: Caller = caller_of
    ) -> tuple[WorkspaceMember, ...]:
        return spaces.take_member(caller, workspace_id, username)

    @app.post("/v1/workspaces/{workspace_id}/removal")
    def remove(workspace_id: UUID, body: RemoveWorkspace, caller: Caller = caller_of) -> WorkspaceRemoval:
        return spaces.remove(caller, workspace_id, tables=body.tables, only_try=body.only_try)
