"""Maintenance over HTTP and on schedule: who may have which table maintained, and how."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from contracts.access import AccessData, Privilege, object_matches
from contracts.errors import LabError, UsageError, unknown_name
from governance.governor.auth import Caller, ForbiddenError, Permission
from governance.governor.knowledge import UnavailableError
from governance.governor.loops import Loop
from governance.governor.service import Governor
from governance.maintenance.catalogs import unsafe
from governance.maintenance.policy import EVERYTHING, Limits, Policies, read_policies_file
from governance.maintenance.reports import (
    MaintenancePlan,
    MaintenanceRun,
    MaintenanceScope,
    PolicyRevision,
)
from governance.maintenance.runner import Maintainer, Subject
from governance.maintenance.seeding import merged
from governance.maintenance.sharing import sharing
from governance.maintenance.store import MaintenanceStore
from governance.reach import Holdings

log = logging.getLogger(__name__)

_Table = Annotated[str, Field(min_length=3, max_length=500)]
_Tables = Annotated[list[str] | None, Query(max_length=1000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OneTable(_Body):
    """A table."""

    table: _Table


class ChangePolicy(_Body):
    """Fields of one object's policy to set and to unset (``*``: all of them)."""

    object: str = Field(min_length=1, max_length=500)
    values: dict[str, bool | int | str] = Field(default_factory=dict)
    unset: list[str] = Field(default_factory=list, max_length=100)
    reason: str = Field(min_length=1, max_length=1000)


@dataclass(frozen=True, kw_only=True)
class MaintenanceSettings:
    """``every_s``: how often the schedule looks, 0 for never; ``keep_days``: how long runs are kept."""

    catalog_kind: str
    limits: Limits
    every_s: int
    keep_days: int
    policy_data: Path


class Maintenance:
    """The use cases. A caller has a table maintained when a group of theirs, or an exception, gives them the
    privilege ``maintain`` on it; the work itself is the maintaining service account's.

    Args:
        maintainer: None where the lab has no Trino.
    """

    def __init__(
        self,
        governor: Governor,
        store: MaintenanceStore,
        maintainer: Maintainer | None,
        settings: MaintenanceSettings,
    ) -> None:
        self.settings = settings
        self._governor = governor
        self._store = store
        self._maintainer = maintainer
        self._seeded = False

    # --- what a caller may ask -------------------------------------------------------------------------

    def scope(self, caller: Caller, asked: Collection[str]) -> MaintenanceScope:
        """Tables of those asked for (all, when none is named) that the caller may have maintained.

        Raises:
            UsageError: there is no such table. ForbiddenError: one that was named is not the caller's.
        """
        tables = self._governor.knowledge.tables()
        for name in asked:
            self._require_maintain(caller, name)
        mine = asked or [name for name in tables if self._may_maintain(caller, name)]
        kind = self.settings.catalog_kind
        return MaintenanceScope(
            tables=tuple(dict.fromkeys(name.lower() for name in mine)),
            catalog_kind=kind,
            unsafe={one.value: why for one, why in unsafe(kind).items()},
            min_retention_s=self.settings.limits.snapshots_s,
            every_s=self.settings.every_s,
        )

    def plan(self, caller: Caller, table: str) -> MaintenancePlan:
        """What maintaining a table now would come to."""
        self._require_maintain(caller, table)
        return self._required().plan(self._subject(table), self._policies())

    def run(self, caller: Caller, table: str) -> MaintenanceRun:
        """Maintains a table now, whether it is due or not."""
        self._require_maintain(caller, table)
        maintainer = self._required()
        self._governor.store.log(caller.username, "maintenance.run", {"table": table})
        return maintainer.run(self._subject(table), self._policies(), asked_by=caller.username)

    def runs(self, caller: Caller, tables: Collection[str], limit: int) -> tuple[MaintenanceRun, ...]:
        """The history of tables, of all that the caller may know of when none is named."""
        if Permission.READ_ACCESS in caller.permissions:
            return self._store.runs(tables=[name.lower() for name in tables] or None, limit=limit)
        for name in tables:
            self._require_maintain(caller, name)
        mine = tables or [n for n in self._governor.knowledge.tables() if self._may_maintain(caller, n)]
        return self._store.runs(tables=[name.lower() for name in mine], limit=limit)

    def policies(self, caller: Caller) -> PolicyRevision:
        """The living policies."""
        self._require_any(caller)
        return self._living()

    def revisions(self, caller: Caller, limit: int) -> tuple[PolicyRevision, ...]:
        """The policies' history, newest first."""
        self._require_any(caller)
        self._living()
        return self._store.revisions(limit=limit)

    def change(
        self, caller: Caller, name: str, values: Mapping[str, Any], unset: Sequence[str], reason: str
    ) -> PolicyRevision:
        """Sets and unsets fields of one object's policy.

        Raises:
            UsageError: a field or value is not valid, retention is below the lab's limits, or there is no
                such table. ForbiddenError: the object is not the caller's to maintain.
        """
        name = name.strip().lower()
        self._require_object(caller, name)
        if not reason.strip():
            raise UsageError("a change needs a reason", permitted="one line that says why")

        def make(living: Mapping[str, Any]) -> dict[str, Any]:
            # Only what is said now is held against the limits: they may have been raised since.
            entry = {"object": name, **values}
            Policies.from_document({"policies": [entry]}, self.settings.limits)
            return Policies.from_document(living).changed(name, values, tuple(unset)).as_document()

        self._living()  # the seed comes first
        return self._store.change(caller.username, reason.strip(), make)

    # --- the schedule ----------------------------------------------------------------------------------

    def work(self) -> None:
        """One look of the schedule: maintains what is due. Raises as the store and the catalog do."""
        self._governor.prepare()
        living = self._living()
        maintainer = self._maintainer
        if maintainer is None or not self.settings.every_s:
            return
        self._store.forget(self.settings.keep_days)
        if not self._governor.knowledge.refresh():
            raise UnavailableError(
                "the catalog can't be asked for its tables", next_command="lab logs catalog"
            )
        subjects = [one for one in self._subjects() if self._maintained(one.name)]
        policies = Policies.from_document(living.document)
        errors = self._governor.errors
        since = self._store.since() or living.created_at
        answers = maintainer.run_due(subjects, policies, since)
        for table, error in answers.items():
            if error:
                log.warning("maintenance of %s: %s", table, error)
                errors[_activity(table)] = error
            else:
                errors.pop(_activity(table), None)
        for gone in {key for key in errors if key.startswith(_activity(""))} - {
            _activity(one.name) for one in subjects
        }:
            errors.pop(gone, None)

    def loop(self) -> Loop:
        """The schedule's loop. Where there is none, it applies the seed of the policies and rests."""
        maintainer = self._maintainer
        every_s = self.settings.every_s if maintainer is not None else 0

        def work() -> float | None:
            self.work()
            return None

        return Loop(
            "maintain",
            work,
            wake=self._governor.signals.maintain,
            every_s=every_s or 86400.0,
            errors=self._governor.errors,
            stopping=None if maintainer is None else maintainer.stopping,
        )

    # --- helpers ---------------------------------------------------------------------------------------

    def _living(self) -> PolicyRevision:
        if not self._seeded:
            seed = read_policies_file(self.settings.policy_data)
            found = self._store.seed(seed, merged)
            self._seeded = True
            return found
        living = self._store.policies()
        if living is None:
            raise LabError("the maintenance policies are gone", next_command="lab doctor")
        return living

    def _policies(self) -> Policies:
        return Policies.from_document(self._living().document)

    def _required(self) -> Maintainer:
        if self._maintainer is None:
            raise UnavailableError(
                "maintenance runs in Trino, and this lab has none", next_command="lab up trino"
            )
        return self._maintainer

    def _subjects(self) -> list[Subject]:
        known = self._governor.knowledge.locations()
        shared = sharing(known)
        return [Subject(name=name, shares=shared.get(name, ())) for name in sorted(known)]

    def _subject(self, table: str) -> Subject:
        name = table.lower()
        found = next((one for one in self._subjects() if one.name == name), None)
        if found is None:
            raise UsageError("the table is gone", value=table, permitted="a table that is there")
        return found

    def _access(self) -> AccessData:
        current = self._governor.store.current()
        return AccessData() if current is None else AccessData.from_document(current.document)

    def _holdings(self, access: AccessData) -> Holdings:
        return Holdings(access.grants, {o.table: o.group for o in self._governor.store.owners()})

    def _maintained(self, table: str) -> bool:
        """Whether any group holds ``maintain`` on it; the service account may do no more than that."""
        holdings = self._holdings(self._access())
        return any(Privilege.MAINTAIN in holdings.on_table(group, table) for group in holdings.groups())

    def _may_maintain(self, caller: Caller, table: str) -> bool:
        access = self._access()
        holdings = self._holdings(access)
        if any(Privilege.MAINTAIN in holdings.on_table(group, table) for group in caller.groups):
            return True
        now = datetime.now(tz=UTC)
        return any(
            one.user == caller.username
            and one.expires_at > now
            and Privilege.MAINTAIN in one.privileges
            and object_matches(one.object.lower(), table.lower())
            for one in access.exceptions
        )

    def _require_maintain(self, caller: Caller, table: str) -> None:
        if self._may_maintain(caller, table):
            knowledge = self._governor.knowledge
            names = knowledge.tables()
            if table.lower() not in names and knowledge.refresh():
                names = knowledge.tables()
            if table.lower() not in names:
                # Whoever maintains some tables need not know of the others.
                mine = [name for name in names if self._may_maintain(caller, name)]
                raise unknown_name("table", table, mine)
            return
        raise ForbiddenError(
            f"{caller.username!r} may not have {table!r} maintained",
            value=", ".join(sorted(caller.groups)) or "no group",
            permitted="members of a group with the privilege maintain on it",
            next_command="lab access show",
        )

    def _require_object(self, caller: Caller, name: str) -> None:
        if Permission.MAINTAIN_EVERYTHING in caller.permissions:
            if name != EVERYTHING and not name.endswith(".*"):
                self._governor.knowledge.require_table(name)
            return
        if name == EVERYTHING:
            caller.require(Permission.MAINTAIN_EVERYTHING)
        if not name.endswith(".*"):
            self._require_maintain(caller, name)
            return
        holdings = self._holdings(self._access())
        namespace = name.removesuffix(".*")
        if not any(
            Privilege.MAINTAIN in holdings.namespaces.get(group, {}).get(namespace, set())
            for group in caller.groups
        ):
            raise ForbiddenError(
                f"{caller.username!r} may not decide on the maintenance of {name}",
                value=", ".join(sorted(caller.groups)) or "no group",
                permitted=f"members of a group with the privilege maintain on {name}",
                next_command="lab access show",
            )

    def _require_any(self, caller: Caller) -> None:
        if Permission.READ_ACCESS in caller.permissions:
            return
        holdings = self._holdings(self._access())
        held = [
            privileges
            for group in caller.groups
            for places in (holdings.tables, holdings.namespaces)
            for privileges in places.get(group, {}).values()
        ]
        if not any(Privilege.MAINTAIN in one for one in held):
            caller.require(Permission.READ_ACCESS)


def _activity(table: str) -> str:
    return f"maintain {table}"


def add_maintenance_routes(
    app: FastAPI, maintenance: Maintenance, authenticate: Callable[..., Caller]
) -> None:
    """Adds the routes; ``authenticate`` gives the caller behind a request."""
    caller_of = Depends(authenticate)

    @app.get("/v1/maintenance/scope")
    def scope(table: _Tables = None, caller: Caller = caller_of) -> MaintenanceScope:
        return maintenance.scope(caller, table or ())

    @app.post("/v1/maintenance/plans")
    def plan(body: OneTable, caller: Caller = caller_of) -> MaintenancePlan:
        return maintenance.plan(caller, body.table.lower())

    @app.post("/v1/maintenance/runs")
    def run(body: OneTable, caller: Caller = caller_of) -> MaintenanceRun:
        return maintenance.run(caller, body.table.lower())

    @app.get("/v1/maintenance/runs")
    def runs(
        table: _Tables = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        caller: Caller = caller_of,
    ) -> tuple[MaintenanceRun, ...]:
        return maintenance.runs(caller, table or (), limit)

    @app.get("/v1/maintenance/policies")
    def policies(caller: Caller = caller_of) -> PolicyRevision:
        return maintenance.policies(caller)

    @app.post("/v1/maintenance/policies/changes")
    def change(body: ChangePolicy, caller: Caller = caller_of) -> PolicyRevision:
        return maintenance.change(caller, body.object, body.values, body.unset, body.reason)

    @app.get("/v1/maintenance/policies/revisions")
    def revisions(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, caller: Caller = caller_of
    ) -> tuple[PolicyRevision, ...]:
        return maintenance.revisions(caller, limit)
