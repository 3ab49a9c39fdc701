"""What the governor tells about access data: who sees what and why, what a change would do, what drifted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from contracts.access import AccessData
from contracts.errors import UsageError
from contracts.identity import PERSONAS
from governance.changes import changed_document, changes_of
from governance.client import AccessRevision, GroupMembers, TagUse
from governance.effects import Effects, Reader
from governance.governor.auth import Caller, Permission
from governance.governor.rights import require_edit
from governance.governor.service import Governor
from governance.impact import Counter, differences, measure
from governance.merge import merge_seed
from governance.reports import DriftReport, Explanation, ImpactReport, RevisionDetail, Visibility
from governance.store import document_digest

LIVING = "living"
SEED = "seed"
EVERY_TABLE = "*"
"""The object of a tag on the whole catalog."""


@dataclass(frozen=True, kw_only=True)
class State:
    """One state of the access data to compare, and how it is called."""

    label: str
    document: Mapping[str, Any]
    unpublished: bool


class Insight:
    """Reading questions that need more than the database.

    Args:
        counter: counts rows; None where the lab has no Trino.
        catalog: the catalog's name in Trino.
    """

    def __init__(self, governor: Governor, counter: Counter | None, *, catalog: str) -> None:
        self._governor = governor
        self._counter = counter
        self._catalog = catalog

    def explain(self, caller: Caller, table: str, username: str | None) -> Explanation:
        """Why ``username`` (the caller when None) has ``ns.table`` as they do.

        Raises:
            ForbiddenError: somebody else is asked about without the right to read access data.
            UsageError: there is no such user or table (nearest suggested).
        """
        oneself = username is None or (username == caller.username and caller.service is None)
        if not oneself:
            caller.require(Permission.READ_ACCESS)
        steward = Permission.READ_ACCESS in caller.permissions
        governor = self._governor
        living = governor.living()
        name = table.lower()
        if oneself:
            reader = Reader(username=caller.username, groups=caller.groups)
        else:
            groups = governor.knowledge.user_groups(str(username))
            reader = Reader(username=str(username), groups=groups)
        if steward:
            # Others are not told which tables there are.
            governor.knowledge.require_table(name)
        columns = governor.knowledge.tables().get(name, ())
        view = self._effects(living.document).view(reader, name, columns)
        denied = [use for use in view.columns if use.visibility is Visibility.DENIED]
        if not steward:
            shown = tuple(use for use in view.columns if use not in denied) if view.readable else ()
            view = replace(view, columns=shown, filters=view.filters if view.readable else ())
        publication = governor.store.publication()
        return Explanation(
            revision=living.revision,
            published=None if publication is None else publication.revision,
            username=reader.username,
            groups=tuple(sorted(reader.groups)),
            readable=view.readable,
            predicate=view.predicate if view.readable else "false",
            view=view,
            denied=len(denied) if view.readable else 0,
        )

    def impact(
        self,
        caller: Caller,
        *,
        before: int | None,
        after: int | None,
        seed: Mapping[str, Any] | None,
        add: Mapping[str, Any] | None = None,
        remove: Mapping[str, Any] | None = None,
        users: Sequence[str] = (),
        tables: Sequence[str] = (),
        count: bool = True,
    ) -> ImpactReport:
        """What changes for whom from one state to another. None is the living revision; with ``seed``
        the state after is what seeding that document would make of the state before, with ``add`` or
        ``remove`` what that change would.

        Raises:
            ForbiddenError: the caller may not read access data, or asks to count with filters that
                nobody published and may not edit: a count tells of the rows behind it.
            UsageError: an unknown user or table, or a malformed seed or change.
        """
        caller.require(Permission.READ_ACCESS)
        old = self._state(before)
        if add or remove:
            new = self._changed(old, add or {}, remove or {})
        else:
            new = self._state(after) if seed is None else self._seeded(old, seed)
        if new.unpublished and count and Permission.SEED not in caller.permissions:
            require_edit(caller)
        known = self._governor.knowledge.tables()
        for table in tables:
            self._governor.knowledge.require_table(table)
        chosen = {name: columns for name, columns in known.items() if not tables or name in tables}
        readers, notes = self._readers(users)
        found = differences(self._effects(old.document), self._effects(new.document), readers, chosen)
        if count and self._counter is None:
            notes.append("rows are not counted: this lab runs no Trino")
        counter = self._counter if count else None
        return ImpactReport(
            before=old.label,
            after=new.label,
            counted=counter is not None,
            readers=tuple(reader.username for reader in readers),
            tables_compared=len(chosen),
            changes=changes_of(old.document, new.document),
            impacts=tuple(measure(found, counter, catalog=self._catalog)),
            notes=tuple(notes),
        )

    def tags(self, caller: Caller) -> tuple[TagUse, ...]:
        """Tags on what the caller may read: a tag tells what is in a table."""
        living = self._governor.store.current()
        access = AccessData() if living is None else AccessData.from_document(living.document)
        found = [TagUse(object=t.object, tag=t.tag) for t in sorted(access.tags)]
        if Permission.READ_ACCESS in caller.permissions:
            return tuple(found)
        effects = self._effects(access.as_document())
        reader = Reader(username=caller.username, groups=caller.groups)
        seen: set[str] = set()
        namespaces: set[str] = set()
        for table, columns in self._governor.knowledge.tables().items():
            view = effects.view(reader, table, columns)
            if view.readable:
                namespaces.add(f"{table.rpartition('.')[0]}.*")
                seen.add(table)
                seen |= {f"{table}.{u.column}" for u in view.columns if u.visibility is not Visibility.DENIED}
        if namespaces:
            seen |= {*namespaces, EVERY_TABLE}
        return tuple(use for use in found if use.object.lower() in seen)

    def groups(self, caller: Caller) -> tuple[GroupMembers, ...]:
        """Groups of the realm; their members for who may read access data."""
        if Permission.READ_ACCESS not in caller.permissions:
            names = self._governor.knowledge.groups()
            return tuple(GroupMembers(name=name, members=None) for name in sorted(names))
        members = self._governor.knowledge.members()
        return tuple(GroupMembers(name=n, members=tuple(sorted(members[n]))) for n in sorted(members))

    def history(self, caller: Caller, number: int) -> RevisionDetail:
        """One revision with what it changed."""
        caller.require(Permission.READ_ACCESS)
        one = self._governor.editor.revision(number)
        empty = AccessData().as_document()
        before = empty if one.based_on is None else self._governor.editor.revision(one.based_on).document
        return RevisionDetail(
            revision=one.revision,
            author=one.author,
            reason=one.reason,
            created_at=one.created_at,
            based_on=one.based_on,
            changes=changes_of(before, one.document),
        )

    def drift(self) -> DriftReport:
        """The living access data against the published bundle; the catalog's part is the reconciler's."""
        governor = self._governor
        current, publication = governor.store.current(), governor.store.publication()
        problems = []
        digest, age_s = None, None
        if current is not None:
            compiled = governor.publisher.compiled(current, time.time_ns())
            digest = document_digest(compiled["lab"]["access"])
            if publication is None or publication.revision != current.revision:
                at = "none" if publication is None else publication.revision
                problems.append(f"revision {current.revision} is living and {at} is published")
        if publication is not None:
            age_s = max(0.0, time.time() - publication.issued_at.timestamp())
            etag = governor.publisher.published_etag()
            if etag is None:
                problems.append("the bundle is not in the object store any more")
            elif etag.strip('"') != publication.etag.strip('"'):
                problems.append("the bundle in the object store is not the one that was published")
        return DriftReport(
            revision=None if current is None else current.revision,
            published=None if publication is None else publication.revision,
            bundle_age_s=age_s,
            access_digest=digest,
            problems=tuple(problems),
        )

    def _effects(self, document: Mapping[str, Any]) -> Effects:
        owners = {owner.table: owner.group for owner in self._governor.store.owners()}
        access = AccessData.from_document(document)
        return Effects(access, owners, catalog=self._catalog, now=datetime.now(tz=UTC))

    def _state(self, number: int | None) -> State:
        revision: AccessRevision = (
            self._governor.living() if number is None else self._governor.editor.revision(number)
        )
        label = f"revision {revision.revision}" + (" (living)" if number is None else "")
        return State(label=label, document=revision.document, unpublished=False)

    def _seeded(self, old: State, seed: Mapping[str, Any]) -> State:
        with self._governor.store.changing("impact") as change:
            previous = change.seed_document()
        document = AccessData.from_document(seed).as_document()
        merge = merge_seed(
            living=old.document, old_seed={} if previous is None else previous[0], new_seed=document
        )
        return State(label="working tree", document=merge.document, unpublished=True)

    @staticmethod
    def _changed(old: State, add: Mapping[str, Any], remove: Mapping[str, Any]) -> State:
        document = changed_document(old.document, add=add, remove=remove)
        return State(label="the change", document=document, unpublished=True)

    def _readers(self, users: Sequence[str]) -> tuple[list[Reader], list[str]]:
        """Those named, or every sample user that the realm has."""
        notes = []
        readers = []
        for username in users or [persona.username for persona in PERSONAS]:
            try:
                groups = self._governor.knowledge.user_groups(username)
            except UsageError:
                if users:
                    raise
                notes.append(f"sample user {username} is not in the realm")
                continue
            readers.append(Reader(username=username, groups=groups))
        return readers, notes
