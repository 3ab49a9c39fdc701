"""Making and removing workspaces, in steps that are recorded and go on after a failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID

import httpx

from contracts.access import AccessData
from contracts.errors import LabError, UsageError
from governance.governor.auth import Caller, ForbiddenError, Permission
from governance.governor.knowledge import UnavailableError
from governance.governor.loops import Loop
from governance.governor.service import Governor
from governance.governor.spacerights import may_manage, owners_without, require_ready, role_of
from governance.reconcile.groups import RealmGroups
from governance.reconcile.namespaces import Namespaces
from governance.workspaces import access
from governance.workspaces.model import (
    MAKING,
    REMOVING,
    Step,
    Workspace,
    WorkspaceMember,
    WorkspaceQuota,
    WorkspaceRemoval,
    WorkspaceRole,
    WorkspaceState,
    WorkspaceUsage,
    group_of,
    require_name,
    storage_warnings,
    without_duplicates,
)
from governance.workspaces.store import Kept, NoWorkspaceError, WorkspaceBusyError, WorkspaceStore

log = logging.getLogger(__name__)
T = TypeVar("T")

_EVERY_S = 30.0


class WorkspaceNotEmptyError(LabError):
    """Removing it would take what nobody asked to be taken (409)."""


class Spaces:
    """The use cases of workspaces. What is written to Keycloak, the catalog and the access data is the
    governor's own doing, in the name of who asked; every change is logged."""

    def __init__(
        self, governor: Governor, store: WorkspaceStore, groups: RealmGroups, namespaces: Namespaces
    ) -> None:
        self._governor, self._store = governor, store
        self._groups, self._namespaces = groups, namespaces
        self._wake = threading.Event()

    # --- reading ---------------------------------------------------------------------------------------

    def all(self, caller: Caller) -> tuple[Workspace, ...]:
        """Those that the caller belongs to; every one for who may read access data."""
        found = ((kept, role_of(caller, kept)) for kept in self._store.all())
        return tuple(self._shown(caller, kept, role) for kept, role in found if role is not None)

    def get(self, caller: Caller, workspace_id: UUID) -> Workspace:
        """One of them. Raises NoWorkspaceError."""
        kept, role = self._known(caller, workspace_id)
        return self._shown(caller, kept, role)

    def members(self, caller: Caller, workspace_id: UUID) -> tuple[WorkspaceMember, ...]:
        """Who is in a workspace. Raises NoWorkspaceError, UnavailableError."""
        kept, _ = self._known(caller, workspace_id)
        names = _ask("Keycloak", lambda: self._groups.members(kept.group, str(kept.id)))
        return tuple(WorkspaceMember(username=name, owner=name in kept.owners) for name in names)

    # --- changing --------------------------------------------------------------------------------------

    def create(
        self,
        caller: Caller,
        *,
        name: str,
        description: str = "",
        owners: tuple[str, ...] = (),
        quota: WorkspaceQuota | None = None,
    ) -> Workspace:
        """Makes a workspace. What can't be done at once goes on by itself: the answer then has the state
        ``making`` and says what stands in the way.

        Raises:
            ForbiddenError: the caller may make none, or not with that quota.
            UsageError: the name, or an owner's, is not one.
            LabError: the name is taken by a workspace, a group, a namespace or grants.
        """
        caller.require(Permission.CREATE_WORKSPACES)
        if quota is not None and quota != WorkspaceQuota():
            caller.require(Permission.MANAGE_WORKSPACES)
        require_name(name)
        owners = without_duplicates(owners or (caller.username,))
        self._require_free(name, owners)
        kept = self._store.create(
            name=name,
            description=description.strip(),
            owners=owners,
            quota=quota or WorkspaceQuota(),
            author=caller.username,
        )
        kept = self._try(kept, caller.username) or kept
        return self._shown(caller, kept, role_of(caller, kept) or WorkspaceRole.VIEWER)

    def change(
        self,
        caller: Caller,
        workspace_id: UUID,
        *,
        description: str | None = None,
        quota: WorkspaceQuota | None = None,
    ) -> Workspace:
        """Changes what is said of a workspace, and its quota. Raises NoWorkspaceError, ForbiddenError."""
        kept, role = self._managed(caller, workspace_id)
        values: dict[str, Any] = {}
        if description is not None and description.strip() != kept.description:
            values["description"] = description.strip()
        if quota is not None and quota != kept.quota:
            caller.require(Permission.MANAGE_WORKSPACES)
            values["quota"] = asdict(quota)
        if values:
            kept = self._store.change(workspace_id, caller.username, "workspace.change", values)
            self._governor.signals.queues.set()
        return self._shown(caller, kept, role)

    def put_member(
        self, caller: Caller, workspace_id: UUID, username: str, *, owner: bool
    ) -> tuple[WorkspaceMember, ...]:
        """Makes somebody a member, and an owner or not one any more.

        Raises:
            NoWorkspaceError, ForbiddenError, LastOwnerError, UsageError (no such user), UnavailableError.
        """
        kept, _ = self._managed(caller, workspace_id)
        require_ready(kept)
        _ask("Keycloak", lambda: self._groups.require_user(username))

        def make(owners: tuple[str, ...]) -> tuple[str, ...]:
            return (
                without_duplicates((*owners, username)) if owner else owners_without(owners, username, kept)
            )

        self._store.change_owners(workspace_id, caller.username, make)
        _ask("Keycloak", lambda: self._groups.add(kept.group, str(kept.id), username))
        self._note_member(caller, kept, "workspace.member", username)
        return self.members(caller, workspace_id)

    def take_member(self, caller: Caller, workspace_id: UUID, username: str) -> tuple[WorkspaceMember, ...]:
        """Takes somebody out of a workspace; everybody may leave by themselves. Raises as
        :meth:`put_member`."""
        kept, _ = self._known(caller, workspace_id)
        if username != caller.username:
            kept, _ = self._managed(caller, workspace_id)
        require_ready(kept)
        self._store.change_owners(
            workspace_id, caller.username, lambda owners: owners_without(owners, username, kept)
        )
        _ask("Keycloak", lambda: self._groups.take(kept.group, str(kept.id), username))
        self._note_member(caller, kept, "workspace.leave", username)
        names = _ask("Keycloak", lambda: self._groups.members(kept.group, str(kept.id)))
        return tuple(WorkspaceMember(username=name, owner=name in kept.owners) for name in names)

    def remove(self, caller: Caller, workspace_id: UUID, *, tables: bool, only_try: bool) -> WorkspaceRemoval:
        """Removes a workspace with its group, namespace and what access data says of them; ``tables``: its
        tables and views, too. ``only_try`` says what would go.

        Raises:
            NoWorkspaceError, ForbiddenError, UnavailableError; WorkspaceNotEmptyError: tables are there
            and nobody asked for them to go, or a rule elsewhere names the group.
        """
        kept, _ = self._managed(caller, workspace_id)
        plan = self._removal(kept, tables=tables)
        if only_try:
            return plan
        if plan.refused is not None:
            raise WorkspaceNotEmptyError(
                plan.refused,
                value=kept.name,
                permitted="an empty workspace that no rule elsewhere names, or --tables for its tables",
            )
        values: dict[str, Any] = {"state": WorkspaceState.REMOVING.value, "drop_tables": tables}
        if kept.state is not WorkspaceState.REMOVING:
            values["steps"] = []
        kept = self._store.change(workspace_id, caller.username, "workspace.remove", values)
        done = self._try(kept, caller.username) is None
        return WorkspaceRemoval(**{**vars(plan), "done": done})

    # --- going on --------------------------------------------------------------------------------------

    def loop(self) -> Loop:
        """Goes on with what was left in the middle."""
        return Loop("workspaces", self._work, wake=self._wake, every_s=_EVERY_S, errors=self._governor.errors)

    def _work(self) -> float | None:
        self._governor.prepare()
        left = [kept for kept in self._store.all() if kept.state is not WorkspaceState.READY]
        errors = []
        for kept in left:
            try:
                after = self._go_on(kept, kept.created_by)
            except WorkspaceBusyError:
                continue
            if after is not None and after.error is not None:
                errors.append(f"{kept.name}: {after.error}")
        if errors:
            raise LabError("; ".join(errors))
        return None

    def _try(self, kept: Kept, author: str) -> Kept | None:
        after = self._go_on(kept, author)
        if after is not None and after.error is not None:
            self._wake.set()
        return after

    def _go_on(self, kept: Kept, author: str) -> Kept | None:
        """Does what is left to do; None when the workspace is gone by that. What fails is noted."""
        with self._store.holding(kept.name):
            found = self._store.get(kept.id)
            if found is None:
                return None
            kept = found
            try:
                return self._steps(kept, author)
            except (LabError, httpx.HTTPError) as error:
                line = (str(error) or type(error).__name__).splitlines()[0]
                log.warning("workspace %s: %s", kept.name, line)
                self._store.failed(kept.id, line)
                return self._store.get(kept.id)

    def _steps(self, kept: Kept, author: str) -> Kept | None:
        if kept.state is WorkspaceState.READY:
            return kept
        making = kept.state is WorkspaceState.MAKING
        todo: Mapping[Step, Callable[[Kept, str], str]] = self._making() if making else self._removing()
        for step in MAKING if making else REMOVING:
            if not kept.done(step):
                detail = todo[step](kept, author)
                kept = self._store.step_done(kept.id, author, step, detail)
        if not making:
            self._store.removed(kept.id, author)
            self._governor.signals.queues.set()
            return None
        location = self._namespaces.location(kept.namespace, str(kept.id))
        values = {"state": WorkspaceState.READY.value, "location": location}
        kept = self._store.change(kept.id, author, "workspace.ready", values)
        self._governor.signals.queues.set()
        return kept

    def _making(self) -> Mapping[Step, Callable[[Kept, str], str]]:
        def group(kept: Kept, _: str) -> str:
            made = self._groups.ensure(kept.group, str(kept.id))
            return f"group {kept.group} {'made' if made else 'was there'}"

        def members(kept: Kept, _: str) -> str:
            for name in kept.owners:
                self._groups.add(kept.group, str(kept.id), name)
            return f"owners {', '.join(kept.owners)} are members"

        def namespace(kept: Kept, _: str) -> str:
            made = self._namespaces.ensure(kept.namespace, str(kept.id), kept.description)
            return f"namespace {kept.namespace} {'made' if made else 'was there'}"

        def rights(kept: Kept, author: str) -> str:
            # Grants on a namespace that is not known are refused.
            if not self._governor.knowledge.refresh():
                raise UnavailableError("the catalog can't be asked for its namespaces")
            revision = self._write(
                author,
                lambda living: access.with_grant(living, kept.namespace, kept.group),
                f"workspace {kept.name}",
            )
            return f"{kept.group} may do everything in {kept.namespace}: revision {revision}"

        return {Step.GROUP: group, Step.MEMBERS: members, Step.NAMESPACE: namespace, Step.ACCESS: rights}

    def _removing(self) -> Mapping[Step, Callable[[Kept, str], str]]:
        def rights(kept: Kept, author: str) -> str:
            revision = self._write(
                author,
                lambda living: access.without(living, kept.namespace, kept.group),
                f"workspace {kept.name} removed",
            )
            return f"nothing names {kept.namespace} or is granted to {kept.group}: revision {revision}"

        def tables(kept: Kept, _: str) -> str:
            if not kept.drop_tables and (left := self._namespaces.objects(kept.namespace)):
                raise WorkspaceNotEmptyError(
                    f"tables came in the meantime: {', '.join(left)}",
                    permitted="the removal once more, with --tables",
                )
            dropped = self._namespaces.drop_objects(kept.namespace, str(kept.id))
            return f"{len(dropped)} dropped" + (f": {', '.join(dropped)}" if dropped else "")

        def namespace(kept: Kept, _: str) -> str:
            gone = self._namespaces.remove(kept.namespace, str(kept.id))
            return f"namespace {kept.namespace} {'removed' if gone else 'was gone'}"

        def group(kept: Kept, _: str) -> str:
            gone = self._groups.remove(kept.group, str(kept.id))
            self._governor.signals.reconcile.set()
            return f"group {kept.group} {'removed' if gone else 'was gone'}"

        return {Step.ACCESS: rights, Step.TABLES: tables, Step.NAMESPACE: namespace, Step.GROUP: group}

    def _write(self, author: str, make: Callable[[Mapping[str, Any]], dict[str, Any]], reason: str) -> int:
        """Makes a revision of the access data that the governor answers for; its number."""
        groups = self._governor.knowledge.groups()
        with self._governor.store.changing(author) as change:
            if change.living is None:
                raise UnavailableError("there is no access data yet", next_command="lab seed access")
            before = change.living.document
            after = make(before)
            old, new = AccessData.from_document(before), AccessData.from_document(after)
            self._governor.knowledge.require_no_new_problem(new, old, groups)
            revision = change.write(after, reason=reason, what="access.workspace").revision
        self._governor.signals.changed()
        self._governor.await_publication(revision)
        return revision

    # --- helpers ---------------------------------------------------------------------------------------

    def _require_free(self, name: str, owners: tuple[str, ...]) -> None:
        group = group_of(name)
        others = access.granted_to_others(self._governor.living().document, name, group)
        if others:
            raise UsageError(
                f"the access data grants {name!r} already, to {', '.join(others)}",
                value=name,
                permitted="another name, or those grants removed first",
                next_command="lab access show",
            )

        def look() -> None:
            for owner in owners:
                self._groups.require_user(owner)
            # Nothing belongs to nobody: whatever is there of that name is somebody else's.
            if not any(kept.name == name for kept in self._store.all()):
                self._groups.members(group, "")
                self._namespaces.location(name, "")

        _ask("Keycloak or the catalog", look)

    def _removal(self, kept: Kept, *, tables: bool) -> WorkspaceRemoval:
        document = self._governor.living().document
        held = _ask("the catalog", lambda: self._namespaces.objects(kept.namespace))
        rules = access.rules_about(document, kept.namespace, kept.group)
        refused = None
        if held and not tables:
            refused = f"there are tables in {kept.namespace!r}: {', '.join(held)}"
        elif rules:
            refused = f"rules elsewhere name {kept.group!r}: {', '.join(rules)}"
        return WorkspaceRemoval(
            name=kept.name,
            namespace=kept.namespace,
            group=kept.group,
            tables=held,
            members=_ask("Keycloak", lambda: self._groups.members(kept.group, str(kept.id))),
            access=access.named(document, kept.namespace, kept.group),
            refused=refused,
        )

    def _known(self, caller: Caller, workspace_id: UUID) -> tuple[Kept, WorkspaceRole]:
        kept = self._store.get(workspace_id)
        role = None if kept is None else role_of(caller, kept)
        if kept is None or role is None:
            raise NoWorkspaceError("there is no workspace of that id", value=str(workspace_id))
        return kept, role

    def _managed(self, caller: Caller, workspace_id: UUID) -> tuple[Kept, WorkspaceRole]:
        kept, role = self._known(caller, workspace_id)
        if not may_manage(caller, role):
            raise ForbiddenError(
                f"{caller.username!r} does not own workspace {kept.name!r}",
                value=kept.name,
                permitted=f"its owners {', '.join(kept.owners)}, or a lab admin",
            )
        return kept, role

    def _note_member(self, caller: Caller, kept: Kept, what: str, username: str) -> None:
        detail = {"workspace": kept.name, "id": str(kept.id), "user": username}
        self._governor.store.log(caller.username, what, detail)
        self._governor.signals.reconcile.set()

    def _shown(self, caller: Caller, kept: Kept, role: WorkspaceRole) -> Workspace:
        sizes = self._governor.knowledge.sizes(kept.namespace)
        usage = WorkspaceUsage(tables=len(sizes), size_bytes=sum(sizes.values()))
        return Workspace(
            id=kept.id,
            name=kept.name,
            description=kept.description,
            namespace=kept.namespace,
            group=kept.group,
            location=kept.location,
            owners=kept.owners,
            quota=kept.quota,
            state=kept.state,
            steps=kept.steps,
            error=kept.error,
            created_by=kept.created_by,
            created_at=kept.created_at,
            role=role,
            may_manage=may_manage(caller, role),
            may_set_quota=Permission.MANAGE_WORKSPACES in caller.permissions,
            usage=usage,
            warnings=storage_warnings(kept.quota, usage),
        )


def _ask(whom: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except httpx.HTTPError as error:
        raise UnavailableError(f"{whom} does not answer", next_command="lab status") from error
