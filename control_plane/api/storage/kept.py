"""What people keep and share: queries, charts, dashboards, jobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from control_plane.api.problems import NotFoundError, StaleError
from control_plane.api.schemas.common import Share, ShareAccess, WorkspaceRef
from control_plane.api.storage.models import KeptRow, ShareRow
from governance.governor.auth import ForbiddenError


class Kind(StrEnum):
    """What is kept."""

    QUERY = "query"
    CHART = "chart"
    DASHBOARD = "dashboard"
    JOB = "job"


@dataclass(frozen=True, kw_only=True)
class Membership:
    """What somebody is in a workspace of ``name``: a member, or an owner, too."""

    name: str
    owner: bool


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """Who asks. ``workspaces``: those that they work in, by id."""

    username: str
    groups: frozenset[str]
    workspaces: Mapping[UUID, Membership] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Something kept, as one viewer has it: who may not share it learns of the shares of their own groups
    alone, and who does not work in its workspace of none. ``can_manage``: they may share, move and remove
    it."""

    id: UUID
    owner: str
    document: Mapping[str, Any]
    shares: tuple[Share, ...]
    version: int
    can_edit: bool
    can_manage: bool
    workspace: WorkspaceRef | None
    created_at: datetime
    updated_at: datetime
    updated_by: str

    @property
    def etag(self) -> str:
        """https://www.rfc-editor.org/rfc/rfc9110#name-etag"""
        return f'"{self.version}"'


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What else happens in the transaction that keeps or removes something; either may refuse it."""

    saved: Callable[[Transaction, KeptRow], None]
    removing: Callable[[Transaction, KeptRow], None]


class KeptStore:
    """The things of one kind. What a viewer may not read is not there for them: what belongs to nobody but
    its owner, and what belongs to a workspace that they do not work in, its author included.

    Methods raise sqlalchemy.exc.OperationalError, and what the hooks raise.
    """

    def __init__(self, sessions: sessionmaker[Transaction], kind: Kind, hooks: Hooks | None = None) -> None:
        self._sessions, self._kind, self._hooks = sessions, kind, hooks
        self._noun = "saved query" if kind is Kind.QUERY else kind.value

    def create(
        self,
        viewer: Viewer,
        title: str,
        document: Mapping[str, Any],
        shares: Sequence[Share],
        workspace_id: UUID | None = None,
    ) -> Kept:
        """Keeps something new. That the viewer works in the workspace is the caller's to see to."""
        with self._sessions.begin() as transaction:
            row = KeptRow(
                id=uuid4(),
                kind=self._kind.value,
                owner=viewer.username,
                title=title,
                document=dict(document),
                version=1,
                updated_by=viewer.username,
                workspace_id=workspace_id,
            )
            transaction.add(row)
            transaction.flush()
            _share(transaction, row.id, shares)
            transaction.refresh(row)
            if self._hooks is not None:
                self._hooks.saved(transaction, row)
            return _kept(row, shares, viewer)

    def all(self, viewer: Viewer, text: str = "", workspace_id: UUID | None = None) -> list[Kept]:
        """All that the viewer may read, the last changed first; ``text`` is looked for in titles and
        documents' descriptions. Of a workspace only, when one is given.

        Raises:
            NotFoundError: the viewer does not work in the workspace.
        """
        query = select(KeptRow).where(KeptRow.kind == self._kind.value, _readable(viewer))
        if workspace_id is not None:
            if workspace_id not in viewer.workspaces:
                raise NotFoundError("there is no workspace of that id", value=workspace_id)
            query = query.where(KeptRow.workspace_id == workspace_id)
        if text:
            description = KeptRow.document["description"].astext
            found = (KeptRow.title, description, KeptRow.owner)
            query = query.where(or_(*(column.icontains(text, autoescape=True) for column in found)))
        with self._sessions() as transaction:
            rows = list(transaction.scalars(query.order_by(KeptRow.updated_at.desc(), KeptRow.id)))
            shares = _shares(transaction, [row.id for row in rows])
            return [_kept(row, shares.get(row.id, ()), viewer) for row in rows]

    def get(self, viewer: Viewer, kept_id: UUID) -> Kept:
        """One of them. Raises NotFoundError."""
        with self._sessions() as transaction:
            row = self._row(transaction, viewer, kept_id)
            return _kept(row, _shares(transaction, [row.id]).get(row.id, ()), viewer)

    def update(
        self,
        viewer: Viewer,
        kept_id: UUID,
        version: int,
        title: str,
        document: Mapping[str, Any],
        shares: Sequence[Share],
        workspace_id: UUID | None = None,
    ) -> Kept:
        """Replaces what is at ``version``. Shares and workspace are for who manages it to change: when others
        change it they stay. Whoever moves it is its owner from then on, so that nobody gets back what a
        workspace had that they left.

        Raises:
            NotFoundError, StaleError, ForbiddenError (it may be read only).
        """
        with self._sessions.begin() as transaction:
            row = self._row(transaction, viewer, kept_id, lock=True)
            before = _shares(transaction, [row.id]).get(row.id, ())
            if not _may_edit(row, before, viewer):
                raise ForbiddenError(
                    f"this {self._noun} is shared with you to read",
                    value=kept_id,
                    permitted="its owner, members of its workspace, and groups it is shared with to edit",
                )
            self._require(row, version)
            managed = _may_manage(row, viewer)
            row.title, row.document = title, dict(document)
            row.version += 1
            row.updated_by, row.updated_at = viewer.username, func.clock_timestamp()
            if managed:
                if row.workspace_id != workspace_id:
                    row.workspace_id, row.owner = workspace_id, viewer.username
                transaction.execute(delete(ShareRow).where(ShareRow.kept_id == row.id))
                _share(transaction, row.id, shares)
                before = tuple(shares)
            transaction.flush()
            transaction.refresh(row)
            if self._hooks is not None:
                self._hooks.saved(transaction, row)
            return _kept(row, before, viewer)

    def delete(self, viewer: Viewer, kept_id: UUID, version: int) -> None:
        """Removes it. Raises NotFoundError, StaleError, ForbiddenError (another's)."""
        with self._sessions.begin() as transaction:
            row = self._row(transaction, viewer, kept_id, lock=True)
            if not _may_manage(row, viewer):
                permitted = row.owner if row.workspace_id is None else f"{row.owner}, owners of its workspace"
                raise ForbiddenError(
                    f"this {self._noun} is another's to remove", value=kept_id, permitted=permitted
                )
            self._require(row, version)
            if self._hooks is not None:
                self._hooks.removing(transaction, row)
            transaction.delete(row)

    def unchecked(self, ids: Collection[UUID]) -> dict[UUID, Kept]:
        """Those of the ids that exist, whoever may read them: for what was checked by another way."""
        with self._sessions() as transaction:
            rows = transaction.scalars(
                select(KeptRow).where(KeptRow.kind == self._kind.value, KeptRow.id.in_(ids))
            )
            nobody = Viewer(username="", groups=frozenset())
            return {row.id: _kept(row, (), nobody) for row in rows}

    def _row(self, transaction: Transaction, viewer: Viewer, kept_id: UUID, *, lock: bool = False) -> KeptRow:
        query = select(KeptRow).where(
            KeptRow.id == kept_id, KeptRow.kind == self._kind.value, _readable(viewer)
        )
        row = transaction.scalar(query.with_for_update() if lock else query)
        if row is None:
            raise NotFoundError(f"there is no {self._noun} of that id", value=kept_id)
        return row

    def _require(self, row: KeptRow, version: int) -> None:
        if row.version != version:
            raise StaleError(
                f"{row.updated_by!r} changed this {self._noun} since you read it",
                value=f'"{version}"',
                permitted=f'"{row.version}"',
                next_command="read it again and repeat the change",
            )


def _readable(viewer: Viewer) -> ColumnElement[bool]:
    shared = select(ShareRow.kept_id).where(ShareRow.group_name.in_(viewer.groups))
    return or_(
        and_(KeptRow.workspace_id.is_(None), KeptRow.owner == viewer.username),
        KeptRow.workspace_id.in_(list(viewer.workspaces)),
        KeptRow.id.in_(shared),
    )


def _may_manage(row: KeptRow, viewer: Viewer) -> bool:
    if row.workspace_id is None:
        return row.owner == viewer.username
    membership = viewer.workspaces.get(row.workspace_id)
    return membership is not None and (membership.owner or row.owner == viewer.username)


def _may_edit(row: KeptRow, shares: Sequence[Share], viewer: Viewer) -> bool:
    if _may_manage(row, viewer) or row.workspace_id in viewer.workspaces:
        return True
    return any(s.access is ShareAccess.EDIT and s.group in viewer.groups for s in shares)


def _share(transaction: Transaction, kept_id: UUID, shares: Sequence[Share]) -> None:
    for group, access in {share.group: share.access for share in shares}.items():
        transaction.add(ShareRow(kept_id=kept_id, group_name=group, may_edit=access is ShareAccess.EDIT))


def _shares(transaction: Transaction, ids: Collection[UUID]) -> dict[UUID, tuple[Share, ...]]:
    found: dict[UUID, tuple[Share, ...]] = {}
    query = select(ShareRow).where(ShareRow.kept_id.in_(ids)).order_by(ShareRow.group_name)
    for row in transaction.scalars(query):
        access = ShareAccess.EDIT if row.may_edit else ShareAccess.READ
        found[row.kept_id] = (*found.get(row.kept_id, ()), Share(group=row.group_name, access=access))
    return found


def _workspace_of(row: KeptRow, viewer: Viewer) -> WorkspaceRef | None:
    membership = None if row.workspace_id is None else viewer.workspaces.get(row.workspace_id)
    if row.workspace_id is None or membership is None:
        return None
    return WorkspaceRef(id=row.workspace_id, name=membership.name)


def _kept(row: KeptRow, shares: Sequence[Share], viewer: Viewer) -> Kept:
    managed = _may_manage(row, viewer)
    return Kept(
        id=row.id,
        owner=row.owner,
        document={**row.document, "title": row.title},
        shares=tuple(share for share in shares if managed or share.group in viewer.groups),
        version=row.version,
        can_edit=_may_edit(row, shares, viewer),
        can_manage=managed,
        workspace=_workspace_of(row, viewer),
        created_at=row.created_at,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )
