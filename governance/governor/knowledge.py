"""What the governor knows of groups, users and tables when it checks access data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import httpx

from contracts.access import AccessData
from contracts.errors import LabError, UsageError, unknown_name
from governance.reconcile.cycle import Reconciler
from governance.validation import KnownObjects, Problem, validate

T = TypeVar("T")


class UnavailableError(LabError):
    """Something the governor needs for this does not answer (503)."""


class Knowledge:
    """Keycloak's people and the catalog's tables, as checks need them."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    def groups(self) -> frozenset[str]:
        """Names of the realm's groups, asked now. Raises UnavailableError."""
        return self._ask("its groups", self._reconciler.group_names)

    def user_groups(self, username: str) -> frozenset[str]:
        """Groups of a user. Raises UnavailableError, or UsageError (nearest suggested) when there is no
        such user."""
        found = self._ask("its users", lambda: self._reconciler.user_groups(username))
        if found is None:
            raise unknown_name("user", username, self._ask("its users", self._reconciler.usernames))
        return found

    def members(self) -> Mapping[str, frozenset[str]]:
        """Each group of the realm with its enabled members, asked now. Raises UnavailableError."""
        return self._ask("its groups", self._reconciler.members)

    def tables(self) -> dict[str, tuple[str, ...]]:
        """``ns.table`` → columns; the catalog is asked when it never was."""
        if not self._reconciler.tables.listed:
            self.refresh()
        return self._reconciler.tables.columns()

    def required(self) -> dict[str, frozenset[str]]:
        """``ns.table`` → columns that hold no null, as of the last look."""
        return self._reconciler.tables.required()

    def locations(self) -> dict[str, str]:
        """``ns.table`` → root of its files, as of the last look."""
        return {name: info.location for name, info in self._reconciler.tables.known().items()}

    def sizes(self, namespace: str) -> dict[str, int]:
        """``ns.table`` → size in bytes of its current snapshot's files, of one namespace, as of the last
        look."""
        known = self._reconciler.tables.known().items()
        return {name: info.size_bytes for name, info in known if name.rpartition(".")[0] == namespace}

    def objects(self, groups: frozenset[str]) -> KnownObjects:
        """What exists, as of the last look."""
        tables = self._reconciler.tables
        if not tables.listed:
            return KnownObjects(groups=groups)
        return KnownObjects(groups=groups, tables=tables.columns(), namespaces=tables.namespaces())

    def require_no_new_problem(self, access: AccessData, living: AccessData, groups: frozenset[str]) -> None:
        """Refuses what is wrong with ``access`` and was not already wrong with the living one, whose
        tables and groups may have gone since."""
        if not self._new_problems(access, living, groups):
            return
        self.refresh()
        problems = self._new_problems(access, living, groups)
        if problems:
            raise UsageError(
                "the access data is not valid:\n" + "\n".join(f"  - {problem}" for problem in problems),
                next_command="lab access show",
            )

    def require_table(self, table: str) -> None:
        """Raises UsageError (nearest suggested) unless the catalog has the table."""
        names = self._reconciler.tables.names
        if table not in names() and not self.refresh():
            raise UnavailableError(
                "the catalog can't be asked for its tables", next_command="lab logs catalog"
            )
        if table not in names():
            raise unknown_name("table", table, names())

    def refresh(self) -> bool:
        """Lists the tables anew; False when the catalog does not answer."""
        try:
            self._reconciler.tables.refresh()
        except (LabError, httpx.HTTPError):
            return False
        return True

    def _new_problems(self, access: AccessData, living: AccessData, groups: frozenset[str]) -> list[Problem]:
        known = self.objects(groups)
        before = set(validate(living, known))
        return [problem for problem in validate(access, known) if problem not in before]

    @staticmethod
    def _ask(what: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (LabError, httpx.HTTPError) as error:
            raise UnavailableError(
                f"Keycloak can't be asked for {what}",
                value=str(error).splitlines()[0],
                next_command="lab logs keycloak",
            ) from error
