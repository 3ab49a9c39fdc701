"""Workspaces in the governance database.

All methods raise sqlalchemy.exc.OperationalError while PostgreSQL can't be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from contracts.errors import LabError
from governance.models import GovernorEventRow, WorkspaceRow
from governance.workspaces.model import Step, StepDone, WorkspaceQuota, WorkspaceState, group_of

_WORKSPACE_LOCKS = 0x6C616B66
"""With a name's hash as the second number; no other lock of two numbers has this as its first."""


class WorkspaceExistsError(LabError):
    """There is a workspace of that name (409)."""


class NoWorkspaceError(LabError):
    """There is no such workspace, or it is not the caller's to know of (404)."""


class WorkspaceBusyError(LabError):
    """It is being made or removed (409)."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A workspace as the database has it."""

    id: UUID
    name: str
    description: str
    owners: tuple[str, ...]
    quota: WorkspaceQuota
    state: WorkspaceState
    steps: tuple[StepDone, ...]
    error: str | None
    location: str | None
    drop_tables: bool
    created_by: str
    created_at: datetime

    @property
    def group(self) -> str:
        """Its Keycloak group."""
        return group_of(self.name)

    @property
    def namespace(self) -> str:
        """Its namespace in the catalog: of its own name."""
        return self.name

    def done(self, step: Step) -> bool:
        """Whether a step of the present state was done."""
        return any(one.step is step for one in self.steps)


class WorkspaceStore:
    """Workspaces by name and id. Methods take and give values, never rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine)

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def all(self) -> tuple[Kept, ...]:
        """All of them, by name."""
        with self._sessions() as session:
            return tuple(
                _kept(row) for row in session.scalars(select(WorkspaceRow).order_by(WorkspaceRow.name))
            )

    def get(self, workspace_id: UUID) -> Kept | None:
        """One of them."""
        with self._sessions() as session:
            row = session.get(WorkspaceRow, workspace_id)
            return None if row is None else _kept(row)

    def create(
        self, *, name: str, description: str, owners: Sequence[str], quota: WorkspaceQuota, author: str
    ) -> Kept:
        """Notes that a workspace is to be made. Raises WorkspaceExistsError."""
        row = WorkspaceRow(
            id=uuid4(),
            name=name,
            description=description,
            owners=list(owners),
            quota=asdict(quota),
            state=WorkspaceState.MAKING.value,
            steps=[],
            drop_tables=False,
            created_by=author,
        )
        try:
            with self._sessions.begin() as session:
                session.add(row)
                session.flush()
                session.refresh(row)
                _log(session, author, "workspace.create", row, {"quota": asdict(quota), "owners": row.owners})
                return _kept(row)
        except IntegrityError as error:
            raise WorkspaceExistsError(
                f"there is a workspace {name!r} already", value=name, permitted="another name"
            ) from error

    def change(self, workspace_id: UUID, author: str, what: str, values: Mapping[str, Any]) -> Kept:
        """Sets columns of a workspace, and notes who did. Raises NoWorkspaceError."""
        with self._sessions.begin() as session:
            row = _row(session, workspace_id)
            for column, value in values.items():
                setattr(row, column, value)
            session.flush()
            _log(session, author, what, row, dict(values))
            return _kept(row)

    def change_owners(
        self, workspace_id: UUID, author: str, make: Callable[[tuple[str, ...]], tuple[str, ...]]
    ) -> Kept:
        """Makes ``make(owners)`` the owners. Raises NoWorkspaceError, or what ``make`` does."""
        with self._sessions.begin() as session:
            row = _row(session, workspace_id)
            owners = list(make(tuple(row.owners)))
            if owners != row.owners:
                row.owners = owners
                session.flush()
                _log(session, author, "workspace.owners", row, {"owners": owners})
            return _kept(row)

    def step_done(self, workspace_id: UUID, author: str, step: Step, detail: str) -> Kept:
        """Notes that a step was done."""
        with self._sessions.begin() as session:
            row = _row(session, workspace_id)
            entry = {"step": step.value, "at": datetime.now(tz=UTC).isoformat(), "detail": detail}
            row.steps = [*(one for one in row.steps if one["step"] != step.value), entry]
            row.error = None
            session.flush()
            _log(session, author, f"workspace.{row.state}", row, {"step": step.value, "detail": detail})
            return _kept(row)

    def failed(self, workspace_id: UUID, error: str) -> None:
        """Notes what stands in the way. Repeating it changes nothing."""
        with self._sessions.begin() as session:
            row = session.get(WorkspaceRow, workspace_id)
            if row is not None:
                row.error = error

    def removed(self, workspace_id: UUID, author: str) -> None:
        """Forgets a workspace; the log of changes keeps what it was."""
        with self._sessions.begin() as session:
            row = _row(session, workspace_id)
            _log(session, author, "workspace.removed", row, {})
            session.delete(row)

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Holds the right to make or remove the workspace of a name, across processes. It goes with this
        process. Raises WorkspaceBusyError when somebody else holds it."""
        keys = {"all": _WORKSPACE_LOCKS, "name": name}
        with self._engine.connect() as connection:
            held = connection.scalar(text("SELECT pg_try_advisory_lock(:all, hashtext(:name))"), keys)
            connection.commit()
            if not held:
                raise WorkspaceBusyError(
                    f"workspace {name!r} is being made or removed right now",
                    value=name,
                    next_command="look again in a moment",
                )
            try:
                yield
            finally:
                connection.execute(text("SELECT pg_advisory_unlock(:all, hashtext(:name))"), keys)
                connection.commit()


def _row(session: Session, workspace_id: UUID) -> WorkspaceRow:
    row = session.get(WorkspaceRow, workspace_id, with_for_update=True)
    if row is None:
        raise NoWorkspaceError("there is no workspace of that id", value=str(workspace_id))
    return row


def _log(session: Session, who: str, what: str, row: WorkspaceRow, detail: Mapping[str, Any]) -> None:
    event = {"workspace": row.name, "id": str(row.id), **detail}
    session.add(GovernorEventRow(who=who, what=what, detail=event))


def _kept(row: WorkspaceRow) -> Kept:
    return Kept(
        id=row.id,
        name=row.name,
        description=row.description,
        owners=tuple(row.owners),
        quota=WorkspaceQuota(**row.quota),
        state=WorkspaceState(row.state),
        steps=tuple(
            StepDone(step=Step(one["step"]), at=datetime.fromisoformat(one["at"]), detail=one["detail"])
            for one in row.steps
        ),
        error=row.error,
        location=row.location,
        drop_tables=row.drop_tables,
        created_by=row.created_by,
        created_at=row.created_at,
    )
