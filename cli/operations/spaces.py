"""Workspaces through the governor, with the user's own token: what the console's pages do, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cli.operations.access import own_governor
from cli.session import Session
from contracts.errors import UsageError, nearest

if TYPE_CHECKING:
    from governance.workspaces.calls import WorkspaceCalls
    from governance.workspaces.model import Workspace, WorkspaceMember, WorkspaceQuota, WorkspaceRemoval


@dataclass(frozen=True, kw_only=True)
class QuotaChange:
    """Parts of a quota that are asked for; None leaves a part as it is, or at its default."""

    queries: int | None = None
    jobs: int | None = None
    storage_mib: int | None = None

    def on(self, quota: WorkspaceQuota) -> WorkspaceQuota | None:
        """``quota`` with what is asked for; None when nothing is."""
        asked = {key: value for key, value in vars(self).items() if value is not None}
        return replace(quota, **asked) if asked else None


def workspaces(session: Session, *, persona: str | None = None) -> tuple[Workspace, ...]:
    """Those that the user belongs to; all of them for who may read access data.

    Raises:
        UsageError: there is no such sample user. SignInError: nobody is signed in.
        GovernorError: the governor does not answer.
    """
    with own_governor(session, persona) as client:
        return client.workspaces.all()


def workspace(session: Session, name: str, *, persona: str | None = None) -> Workspace:
    """The one of that name. Raises UsageError when the user knows of none (nearest suggested)."""
    with own_governor(session, persona) as client:
        return _named(client.workspaces, name)


def create_workspace(
    session: Session,
    name: str,
    *,
    description: str = "",
    owners: Sequence[str] = (),
    quota: QuotaChange | None = None,
    persona: str | None = None,
) -> Workspace:
    """Makes a workspace, owned by the user unless ``owners`` are named. What can't be done at once goes on
    by itself: the state is then ``making``.

    Raises:
        UsageError: the name or an owner's is not one; nothing was made.
        GovernorError: the user may make none, the name is taken, or the governor does not answer.
    """
    from governance.workspaces.model import WorkspaceQuota

    asked = None if quota is None else quota.on(WorkspaceQuota())
    with own_governor(session, persona) as client:
        return client.workspaces.create(name, description=description, owners=owners, quota=asked)


def change_workspace(
    session: Session,
    name: str,
    *,
    description: str | None = None,
    quota: QuotaChange | None = None,
    persona: str | None = None,
) -> Workspace:
    """Changes what is said of a workspace, and its quota. Raises as :func:`create_workspace`."""
    with own_governor(session, persona) as client:
        found = _named(client.workspaces, name)
        asked = None if quota is None else quota.on(found.quota)
        if description is None and asked is None:
            raise UsageError(
                "nothing was asked for", permitted="--description, --queries, --jobs or --storage-mib"
            )
        return client.workspaces.change(found.id, description=description, quota=asked)


def workspace_members(
    session: Session, name: str, *, persona: str | None = None
) -> tuple[WorkspaceMember, ...]:
    """Who is in it."""
    with own_governor(session, persona) as client:
        return client.workspaces.members(_named(client.workspaces, name).id)


def put_workspace_members(
    session: Session, name: str, users: Sequence[str], *, owner: bool = False, persona: str | None = None
) -> tuple[WorkspaceMember, ...]:
    """Makes users members, and owners or not owners any more; one after the other. Raises as
    :func:`create_workspace`; those before the one refused are in it then."""
    with own_governor(session, persona) as client:
        found = _named(client.workspaces, name)
        for user in users:
            client.workspaces.put_member(found.id, user, owner=owner)
        return client.workspaces.members(found.id)


def take_workspace_members(
    session: Session, name: str, users: Sequence[str], *, persona: str | None = None
) -> tuple[WorkspaceMember, ...]:
    """Takes users out of it, one after the other; who is left. Raises as :func:`put_workspace_members`."""
    with own_governor(session, persona) as client:
        found = _named(client.workspaces, name)
        left: tuple[WorkspaceMember, ...] = ()
        for user in users:
            left = client.workspaces.take_member(found.id, user)
        return left


def remove_workspace(
    session: Session,
    name: str,
    confirm: Callable[[WorkspaceRemoval], None],
    *,
    tables: bool = False,
    only_try: bool = False,
    persona: str | None = None,
) -> WorkspaceRemoval:
    """Removes a workspace with its group, its namespace and what access data says of them; ``tables``: its
    tables with their rows, too.

    Args:
        confirm: is given what goes, and raises to keep it.
        only_try: say what would go; nothing does.

    Raises:
        UsageError: the user knows of no such workspace.
        GovernorError: tables are there and ``tables`` is not said, a rule elsewhere names its group, the
            user does not own it, or the governor does not answer. Nothing was removed.
    """
    with own_governor(session, persona) as client:
        found = _named(client.workspaces, name)
        plan = client.workspaces.remove(found.id, tables=tables, only_try=True)
        if only_try:
            return plan
        if plan.refused is None:
            confirm(plan)
        return client.workspaces.remove(found.id, tables=tables)


def _named(calls: WorkspaceCalls, name: str) -> Workspace:
    """The workspace of a name, of those that the user knows of: the others' names are not told."""
    known = {one.name: one for one in calls.all()}
    if name in known:
        return known[name]
    close = nearest(name, known)
    raise UsageError(
        f"you are in no workspace named {name!r}" + (f"; did you mean {close!r}?" if close else ""),
        value=name,
        permitted=", ".join(sorted(known)) or None,
        next_command="lab workspace list",
    )
