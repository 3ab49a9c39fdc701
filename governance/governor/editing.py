"""Changing access data: one item, the whole document, or back to an earlier revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.access import AccessData
from contracts.errors import LabError, UsageError
from governance.changes import changed_document, changes_of, without_expired, without_lost_lifts
from governance.client import AccessRevision
from governance.governor.auth import Caller
from governance.governor.knowledge import Knowledge
from governance.governor.rights import (
    new_exceptions,
    require_edit,
    require_exceptions,
    require_narrow,
    require_sections,
)
from governance.predicates import leak_warning
from governance.reports import Change, ChangeResult
from governance.store import AccessChange, Store
from governance.validation import KnownObjects, require_valid

EXCEPTION_LIMIT = timedelta(hours=8)
"""How long an exception may last unless a setting says otherwise."""


class UnknownRevisionError(LabError):
    """There is no such revision (404)."""


@dataclass(frozen=True, kw_only=True)
class _Edit:
    """A change that passed every check."""

    changes: tuple[Change, ...]
    widenings: tuple[str, ...]


class Editor:
    """All ways to change access data but the seed's.

    Args:
        changed: called after a revision was written.
        await_publication: waits a while for a revision's bundle; whether it got there.
        clock: the time now (UTC).
    """

    def __init__(
        self,
        store: Store,
        knowledge: Knowledge,
        *,
        changed: Callable[[], None],
        await_publication: Callable[[int], bool],
        exception_limit: timedelta = EXCEPTION_LIMIT,
        clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
    ) -> None:
        self._store = store
        self._knowledge = knowledge
        self._changed = changed
        self._await_publication = await_publication
        self._limit = exception_limit
        self._clock = clock

    def put(
        self,
        caller: Caller,
        document: Mapping[str, Any],
        base_revision: int,
        reason: str,
        *,
        widen: bool = False,
    ) -> AccessRevision:
        """Replaces the living access data."""
        require_edit(caller)
        reason = _required(reason)
        after = AccessData.from_document(document).as_document()
        groups = self._knowledge.groups()
        with self._store.changing(caller.username) as change:
            change.require_base(base_revision)
            edit = self._checked(caller, change, after, groups, widen=widen)
            if change.living is not None and not edit.changes:
                return change.living
            revision = change.write(after, reason=reason, what="access.put")
        self._changed()
        return revision

    def change(
        self,
        caller: Caller,
        *,
        add: Mapping[str, Any],
        remove: Mapping[str, Any],
        reason: str,
        widen: bool = False,
        only_try: bool = False,
        base_revision: int | None = None,
    ) -> ChangeResult:
        """Adds, replaces and removes items of whatever is living then, all or none; with ``base_revision``
        only of that one.

        Raises:
            StaleRevisionError: ``base_revision`` is not the living revision any more.
            UsageError: an item is malformed, unknown or not there, or rules would show more than before
                and ``widen`` is not set.
            ForbiddenError: the caller may not change such items.
        """
        require_edit(caller)
        reason = _required(reason)
        groups = self._knowledge.groups()
        with self._store.changing(caller.username) as change:
            living = _living(change)
            if base_revision is not None:
                change.require_base(base_revision)
            before = without_expired(living.document, self._clock())
            after = changed_document(before, add=add, remove=remove)
            fresh = {exception.id for exception in new_exceptions(before, after)}
            after = without_lost_lifts(after, but=fresh)
            edit = self._checked(caller, change, after, groups, widen=widen)
            revision = living
            if edit.changes and not only_try:
                revision = change.write(after, reason=reason, what="access.change")
        return self._result(revision, edit, only_try=only_try)

    def roll_back(
        self, caller: Caller, number: int, *, reason: str = "", widen: bool = False, only_try: bool = False
    ) -> tuple[AccessRevision, ChangeResult]:
        """Makes a revision of an earlier one's document. Exceptions that are not living stay away: going
        back never revives one that ended or was revoked."""
        require_edit(caller)
        known = KnownObjects(groups=self._knowledge.groups())
        earlier = self.revision(number)
        why = f"roll back to revision {number}" + (f": {reason.strip()}" if reason.strip() else "")
        with self._store.changing(caller.username) as change:
            living = _living(change)
            now = self._clock()
            alive = set(AccessData.from_document(without_expired(living.document, now)).exceptions)
            access = AccessData.from_document(earlier.document)
            kept = tuple(exception for exception in access.exceptions if exception in alive)
            after = without_lost_lifts(replace(access, exceptions=kept).as_document())
            require_valid(AccessData.from_document(after), known)
            edit = self._checked(caller, change, after, None, widen=widen)
            revision = living
            if edit.changes and not only_try:
                revision = change.write(after, reason=why, what="access.rollback")
        return revision, self._result(revision, edit, only_try=only_try)

    def revision(self, number: int) -> AccessRevision:
        """One revision. Raises UnknownRevisionError."""
        found = self._store.revision(number)
        if found is None:
            newest = self._store.current()
            upto = "there is none yet" if newest is None else f"1 to {newest.revision}, as the history lists"
            raise UnknownRevisionError(f"there is no revision {number}", value=number, permitted=upto)
        return found

    def _checked(
        self,
        caller: Caller,
        change: AccessChange,
        after: Mapping[str, Any],
        groups: frozenset[str] | None,
        *,
        widen: bool,
    ) -> _Edit:
        """Everything that may stand against making ``after`` the living document; validation against
        what exists only with ``groups``."""
        now = self._clock()
        living = AccessData().as_document() if change.living is None else change.living.document
        before = without_expired(living, now)
        changes = changes_of(before, without_expired(after, now))
        require_sections(caller, changes)
        if groups is not None:
            old, new = AccessData.from_document(before), AccessData.from_document(after)
            self._knowledge.require_no_new_problem(new, old, groups)
        added = new_exceptions(before, after)
        require_exceptions(caller, added, now=now, limit=self._limit)
        for exception in added:
            self._knowledge.user_groups(exception.user)
        owners = {owner.table: owner.group for owner in self._store.owners()}
        return _Edit(changes=changes, widenings=require_narrow(before, after, owners, widen=widen))

    def _result(self, revision: AccessRevision, edit: _Edit, *, only_try: bool) -> ChangeResult:
        written = bool(edit.changes) and not only_try
        if written:
            self._changed()
        return ChangeResult(
            revision=revision.revision,
            changed=written,
            tried_only=only_try,
            published=self._await_publication(revision.revision) if not only_try else False,
            changes=edit.changes,
            widenings=edit.widenings,
            warnings=tuple(
                leak_warning(change.name)
                for change in edit.changes
                if change.section == "rules" and (change.after or {}).get("accept_leak")
            ),
        )


def _required(reason: str) -> str:
    if not reason.strip():
        raise UsageError("a change needs a reason", permitted="one line that says why")
    return reason.strip()


def _living(change: AccessChange) -> AccessRevision:
    if change.living is None:
        raise UnknownRevisionError("there is no access data yet", next_command="lab seed access")
    return change.living
