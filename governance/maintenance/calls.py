"""The governor's API for maintenance, as a typed client: ``GovernorClient(…).maintenance``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import httpx

from governance.maintenance.reports import (
    MaintenancePlan,
    MaintenanceRun,
    MaintenanceScope,
    PolicyRevision,
)

T = TypeVar("T")


class Call(Protocol):
    """One request; its answer as a value of the kind asked for."""

    def __call__(
        self, kind: type[T], method: str, path: str, body: Mapping[str, Any] | None = None, /
    ) -> T: ...


class MaintenanceCalls:
    """Raises as GovernorClient does."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def scope(self, tables: Sequence[str] = ()) -> MaintenanceScope:
        """Tables that the caller may have maintained: of ``tables``, or of all when none is named."""
        return self._call(MaintenanceScope, "GET", f"/v1/maintenance/scope?{_query(tables)}")

    def plan(self, table: str) -> MaintenancePlan:
        """What maintaining a table now would come to; nothing is done."""
        return self._call(MaintenancePlan, "POST", "/v1/maintenance/plans", {"table": table})

    def run(self, table: str) -> MaintenanceRun:
        """Maintains a table now, which takes as long as its size asks for. A run that failed is an answer,
        too. Raises GovernorError (409) when another run has the table."""
        return self._call(MaintenanceRun, "POST", "/v1/maintenance/runs", {"table": table})

    def runs(self, tables: Sequence[str] = (), limit: int = 100) -> tuple[MaintenanceRun, ...]:
        """Runs on ``tables``, or on all that the caller may know of, newest first."""
        path = f"/v1/maintenance/runs?{_query(tables, limit=limit)}"
        return self._call(tuple[MaintenanceRun, ...], "GET", path)

    def policies(self) -> PolicyRevision:
        """The living policies."""
        return self._call(PolicyRevision, "GET", "/v1/maintenance/policies")

    def change(
        self, name: str, *, values: Mapping[str, Any], unset: Sequence[str] = (), reason: str
    ) -> PolicyRevision:
        """Sets and unsets fields of what holds for ``*``, ``ns.*`` or ``ns.table``. Raises RefusedInputError
        for a value that is not valid or below the lab's limits."""
        body = {"object": name, "values": dict(values), "unset": list(unset), "reason": reason}
        return self._call(PolicyRevision, "POST", "/v1/maintenance/policies/changes", body)

    def revisions(self, limit: int = 100) -> tuple[PolicyRevision, ...]:
        """The policies' history, newest first."""
        path = f"/v1/maintenance/policies/revisions?limit={limit}"
        return self._call(tuple[PolicyRevision, ...], "GET", path)


def _query(tables: Sequence[str], **others: int) -> httpx.QueryParams:
    return httpx.QueryParams({"table": list(tables), **others})
