"""How many jobs of a workspace may be under way, as the governor said last.

The console has no rights of its own to ask with, so the numbers are kept as people hear them: whoever starts
a run, looks at a workspace or changes one, and each minute those who let the console run jobs for them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime
from uuid import UUID

from anyio import to_thread
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import sessionmaker

from contracts.errors import LabError
from contracts.identity import Audience
from control_plane.api.access import Caller
from control_plane.api.governor import Governor
from control_plane.api.jobs.ledger import take_turn
from control_plane.api.jobs.runs import Runs
from control_plane.api.problems import BusyError
from control_plane.api.storage.job_models import PermissionRow, QuotaRow
from governance.workspaces.model import GROUP_PREFIX, Workspace

log = logging.getLogger(__name__)


class Quotas:
    """The kept numbers. Methods that are not coroutines are for worker threads."""

    def __init__(self, sessions: sessionmaker[Transaction], governor: Governor, runs: Runs) -> None:
        self._sessions, self._governor, self._runs = sessions, governor, runs

    def note(self, workspaces: Iterable[Workspace]) -> None:
        """Keeps what their quotas are; runs that there is room for now begin. Raises
        sqlalchemy.exc.SQLAlchemyError."""
        said = {one.name: (one.id, one.quota.jobs) for one in workspaces}
        if not said:
            return
        with self._sessions() as transaction:
            kept = {row.workspace: (row.workspace_id, row.jobs) for row in _of(transaction, said)}
        if kept == said:
            return
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            rows = {row.workspace: row for row in _of(transaction, said)}
            for name, (workspace_id, jobs) in said.items():
                row = rows.get(name) or QuotaRow(workspace=name)
                row.workspace_id, row.jobs, row.noted_at = workspace_id, jobs, datetime.now(tz=UTC)
                transaction.add(row)
            transaction.flush()
            self._runs.admit(transaction)

    def hear(self, workspaces: Iterable[Workspace]) -> None:
        """The same by the way: whoever looks at a workspace gets to see it, whatever becomes of this."""
        try:
            self.note(workspaces)
        except SQLAlchemyError as error:
            log.warning("quotas are not kept: %s", str(error).splitlines()[0])

    def forget(self, workspace_id: UUID) -> None:
        """A workspace is gone."""
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            transaction.execute(delete(QuotaRow).where(QuotaRow.workspace_id == workspace_id))

    def ask(self, caller: Caller) -> None:
        """Hears the quotas of the caller's workspaces. While the governor does not answer, what it said last
        holds."""
        if _workspaces(caller.groups):
            try:
                self.note(self._governor.in_thread(caller).workspaces.all())
            except LabError as error:
                log.warning("the quotas of %s's workspaces are not heard: %s", caller.username, error.what)

    async def ask_all(self, token: Callable[[str, Audience], Awaitable[str]]) -> None:
        """Hears the quotas of all workspaces somebody of which has ``token``, which is of an owner."""
        owners = await to_thread.run_sync(self._owners)
        missing = set[str]().union(*owners.values())
        for owner, groups in owners.items():
            if missing & groups:
                try:
                    given = await token(owner, Audience.GOVERNOR)
                    workspaces = await self._governor.ask_with(given, lambda client: client.workspaces.all())
                    await to_thread.run_sync(self.note, workspaces)
                except (LabError, SQLAlchemyError) as error:
                    log.warning("the quotas of %s's workspaces are not heard: %s", owner, error)
                else:
                    missing -= groups

    def known(self, groups: Collection[str]) -> dict[str, UUID]:
        """Ids of workspaces by name, of those whose group is among ``groups``, as the governor said last."""
        names = {one.removeprefix(GROUP_PREFIX) for one in _workspaces(groups)}
        with self._sessions() as transaction:
            return {row.workspace: row.workspace_id for row in _of(transaction, names)}

    def require_room(self, transaction: Transaction, workspace: Workspace, besides: int = 0) -> None:
        """Takes its turn until the transaction ends. ``besides``: what else counts as under way.

        Raises:
            BusyError: as much of the workspace's is under way as may.
        """
        take_turn(transaction)
        busy = self._runs.under_way(transaction)[workspace.name] + besides
        if busy >= workspace.quota.jobs:
            raise BusyError(
                f"{busy} ingests and runs of jobs of workspace {workspace.name!r} are under way",
                permitted=str(workspace.quota.jobs),
                next_command="wait for one, or cancel it",
            )

    def admit(self) -> None:
        """Something of a workspace's ended: runs that there is room for now begin."""
        with self._sessions.begin() as transaction:
            take_turn(transaction)
            self._runs.admit(transaction)

    def _owners(self) -> dict[str, set[str]]:
        query = select(PermissionRow.owner, PermissionRow.groups).where(PermissionRow.ended_reason.is_(None))
        with self._sessions() as transaction:
            found = {row.owner: _workspaces(row.groups) for row in transaction.execute(query)}
        return {owner: groups for owner, groups in found.items() if groups}


def _workspaces(groups: Collection[str]) -> set[str]:
    return {one for one in groups if one.startswith(GROUP_PREFIX)}


def _of(transaction: Transaction, names: Collection[str]) -> list[QuotaRow]:
    return list(transaction.scalars(select(QuotaRow).where(QuotaRow.workspace.in_(names))))
