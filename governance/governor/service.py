"""What the governor does, apart from HTTP: access data, owners, publishing and reconciling together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from contracts.access import AccessData, Privilege, object_matches
from contracts.errors import LabError, unknown_name
from governance.client import (
    AccessRevision,
    EffectiveAccess,
    Fingerprint,
    GovernorStatus,
    RawAccess,
    ReconcileReport,
    SeedResult,
    TableOwner,
)
from governance.derivation import RawRights, restrictions
from governance.governor.auth import Caller, ForbiddenError, Permission
from governance.governor.editing import EXCEPTION_LIMIT, Editor, UnknownRevisionError
from governance.governor.knowledge import Knowledge, UnavailableError
from governance.masking import MaskKeyStore
from governance.publish import Publisher
from governance.reconcile.cycle import Reconciler
from governance.seeding import seed_access
from governance.store import Store, document_digest
from governance.validation import KnownObjects, require_valid

WAITS_FOR_DATABASE = "waiting for the database"
_PUBLISH_WAIT_S = 10.0


class AlreadyGrantedError(LabError):
    """Grants cover the table already, so that it needs no owner (409)."""


class Signals:
    """Wakes the loops, and lets a caller wait for the publication that its change needs."""

    def __init__(self) -> None:
        self.publish = threading.Event()
        self.reconcile = threading.Event()
        self.maintain = threading.Event()
        self.queues = threading.Event()
        self._published = threading.Condition()
        self._publications = 0

    def changed(self) -> None:
        """Access data or owners changed."""
        self.publish.set()
        self.reconcile.set()

    def published(self) -> None:
        """The publishing loop finished a publication."""
        with self._published:
            self._publications += 1
            self._published.notify_all()

    def wait_until(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        """Waits for publications until ``reached``; False after ``timeout_s``."""
        with self._published:
            return self._published.wait_for(reached, timeout_s)


class Governor:
    """The use cases. Every change is logged with its caller, in the same transaction."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        reconciler: Reconciler,
        *,
        publish_wait_s: float = _PUBLISH_WAIT_S,
        exception_limit: timedelta = EXCEPTION_LIMIT,
        mask_keys: MaskKeyStore | None = None,
    ) -> None:
        self.store = store
        self._mask_keys = mask_keys
        self.signals = Signals()
        self.errors: dict[str, str] = {}
        self.waits_for = WAITS_FOR_DATABASE
        """What stands in the way while it is not ready."""
        self.knowledge = Knowledge(reconciler)
        self.editor = Editor(
            store,
            self.knowledge,
            changed=self.signals.changed,
            await_publication=self.await_publication,
            exception_limit=exception_limit,
        )
        self.publisher = publisher
        self._reconciler = reconciler
        self._publish_wait_s = publish_wait_s
        self._last_report: ReconcileReport | None = None
        self._told_required: dict[str, frozenset[str]] = {}
        self._raw_rights: tuple[object, RawRights] | None = None
        self._prepare_lock = threading.Lock()
        self._prepared = False

    def prepare(self) -> None:
        """Brings the database's schema up to date, once. Raises NewerSchemaError,
        sqlalchemy.exc.SQLAlchemyError."""
        with self._prepare_lock:
            if not self._prepared:
                try:
                    self.store.upgrade()
                except LabError as error:
                    self.waits_for = error.what
                    raise
                except SQLAlchemyError:
                    self.waits_for = WAITS_FOR_DATABASE
                    raise
                self._prepared, self.waits_for = True, WAITS_FOR_DATABASE

    def ready(self) -> bool:
        """Whether access data can be read and written."""
        try:
            if self._prepared:
                self.store.ping()
        except SQLAlchemyError:
            return False
        return self._prepared

    # --- reading -------------------------------------------------------------------------------------

    def access(self, caller: Caller) -> AccessRevision:
        """The living access data."""
        caller.require(Permission.READ_ACCESS)
        return self.living()

    def revision(self, caller: Caller, number: int) -> AccessRevision:
        """One revision."""
        caller.require(Permission.READ_ACCESS)
        return self.editor.revision(number)

    def effective(self, caller: Caller) -> EffectiveAccess:
        """What the caller's own groups are granted."""
        current = self.store.current()
        access = AccessData() if current is None else AccessData.from_document(current.document)
        grants: dict[str, set[str]] = {}
        for grant in access.grants:
            if grant.group in caller.groups:
                grants.setdefault(grant.object, set()).update(p.value for p in grant.privileges)
        return EffectiveAccess(
            username=caller.username,
            groups=tuple(sorted(caller.groups)),
            grants={name: tuple(sorted(held)) for name, held in sorted(grants.items())},
            rules=tuple(sorted(r.id for r in access.rules if not caller.groups & set(r.exempt))),
            owned_tables=tuple(o.table for o in self.store.owners() if o.group in caller.groups),
        )

    def raw_access(self, caller: Caller) -> RawAccess:
        """What raw engines may do in the caller's name. Raises UnavailableError while it is not known
        which tables there are."""
        tables = self.knowledge.tables()
        if not self._reconciler.tables.listed:
            raise UnavailableError(
                "the catalog can't be asked for its tables", next_command="lab logs catalog"
            )
        current = self.store.current()
        access = AccessData() if current is None else AccessData.from_document(current.document)
        owners = {owner.table: owner.group for owner in self.store.owners()}
        held: dict[str, set[str]] = {}
        for group, granted in self._reconciler.raw_grants(access, owners).items():
            for table, privileges in granted.items() if group in caller.groups else ():
                held.setdefault(table, set()).update(p.value for p in privileges)
        return RawAccess(
            username=caller.username,
            groups=tuple(sorted(caller.groups)),
            tables={table: tuple(sorted(found)) for table, found in sorted(held.items())},
            restricted=restrictions(access, tables, owners, caller.groups),
        )

    def raw_rights(self) -> RawRights:
        """What raw engines may do on a catalog without grants on tables, by the living access data."""
        current = self.store.current()
        owners = self.store.owners()
        key = (None if current is None else current.revision, owners)
        held = self._raw_rights
        if held is None or held[0] != key:
            access = AccessData() if current is None else _access(current)
            by_table = {owner.table: owner.group for owner in owners}
            closed = self._reconciler.closed_namespaces
            held = key, RawRights(access, by_table, closed, revision=key[0])
            self._raw_rights = held
        return held[1]

    def fingerprint(self) -> Fingerprint:
        """Identity of the living access data."""
        current = self.store.current()
        document = AccessData().as_document() if current is None else current.document
        revision = None if current is None else current.revision
        return Fingerprint(revision=revision, digest=document_digest(document))

    def status(self) -> GovernorStatus:
        """Where everything stands."""
        current = self.store.current()
        return GovernorStatus(
            revision=None if current is None else current.revision,
            publication=self.store.publication(),
            reconcile=self._last_report,
            errors=dict(self.errors),
        )

    # --- seeding access data ------------------------------------------------------------------------

    def seed(self, caller: Caller, document: Mapping[str, Any], digest: str, reset: bool) -> SeedResult:
        """Merges a seed, and waits a while for its publication."""
        caller.require(Permission.SEED)
        # A seed may come before its tables; its groups are in the realm model.
        known = KnownObjects(groups=self.knowledge.groups())
        seeding = seed_access(
            self.store,
            document,
            digest,
            author=caller.username,
            check=lambda access: require_valid(access, known),
            reset=reset,
        )
        if seeding.changed:
            self.signals.changed()
        return SeedResult(
            changed=seeding.changed,
            revision=seeding.revision,
            added=seeding.added,
            updated=seeding.updated,
            removed=seeding.removed,
            kept=seeding.kept,
            published=self.await_publication(seeding.revision),
        )

    # --- owners --------------------------------------------------------------------------------------

    def register_owner(self, caller: Caller, table: str, group: str) -> TableOwner:
        """Notes that a table belongs to a group; see ``GovernorClient.register_owner``."""
        groups = self.knowledge.groups()
        if group not in groups:
            raise unknown_name("group", group, groups)
        any_group = Permission.OWN_FOR_ANY_GROUP in caller.permissions
        if group not in caller.groups and not any_group:
            raise ForbiddenError(
                f"{caller.username!r} is not a member of {group!r}",
                value=group,
                permitted=", ".join(sorted(caller.groups)) or None,
            )
        self.knowledge.require_table(table)
        with self.store.changing(caller.username) as change:
            access = AccessData() if change.living is None else _access(change.living)
            if not any_group:
                _require_creator(access, group)
            covering = [g for g in access.grants if object_matches(g.object.lower(), table.lower())]
            if covering:
                held = sorted({f"{grant.group} by {grant.object}" for grant in covering})
                raise AlreadyGrantedError(
                    f"table {table!r} is granted already, to {', '.join(held)}",
                    value=table,
                    permitted="a table that no grant covers",
                    next_command="lab policy explain " + table,
                )
            owner = change.register_owner(table, group)
        self.signals.changed()
        return owner

    # --- publishing and reconciling --------------------------------------------------------------------

    def publish(self) -> None:
        """Publishes or signs anew, the key of the masks first: without it they can't be read. Raises as
        ``Publisher.publish`` does."""
        if self._mask_keys is not None:
            self._mask_keys.ensure()
        self.publisher.publish()
        self.signals.published()

    def reconcile(self, *, everything: bool) -> ReconcileReport:
        """Reconciles with the living access data. Raises only when the database does not answer."""
        current = self.store.current()
        owners = {owner.table: owner.group for owner in self.store.owners()}
        report = self._reconciler.run(
            None if current is None else _access(current),
            revision=None if current is None else current.revision,
            owners=owners,
            everything=everything,
        )
        before, self._last_report = self._last_report, report
        required = self._reconciler.tables.required()
        if required != self._told_required:
            # How filters are told depends on them.
            self._told_required = required
            self.signals.publish.set()
        gone = frozenset(owners) - self._reconciler.tables.names()
        if gone and not report.errors:
            # Only tables that existed get an owner, so one that is not listed was dropped.
            with self.store.changing("governor") as change:
                change.release_owners(gone)
            self.signals.changed()
        # An error that lasts is one event, however often it is met.
        if report.changes or report.errors != (() if before is None else before.errors):
            detail = {"revision": report.revision, "changes": report.changes, "errors": report.errors}
            self.store.log("governor", "reconcile", detail)
        return report

    # --- helpers ---------------------------------------------------------------------------------------

    def living(self) -> AccessRevision:
        """The living access data, whoever asks. Raises UnknownRevisionError before the first seed."""
        current = self.store.current()
        if current is None:
            raise UnknownRevisionError("there is no access data yet", next_command="lab seed access")
        return current

    def await_publication(self, revision: int) -> bool:
        """Waits a while for a revision's bundle; whether it got there."""

        def reached() -> bool:
            publication = self.store.publication()
            return publication is not None and publication.revision >= revision

        return self.signals.wait_until(reached, self._publish_wait_s)


def _access(revision: AccessRevision) -> AccessData:
    return AccessData.from_document(revision.document)


def _require_creator(access: AccessData, group: str) -> None:
    """A group that may create no table anywhere can't have loaded one: it may not claim any."""
    if not any(g.group == group and Privilege.CREATE in g.privileges for g in access.grants):
        creators = sorted({g.group for g in access.grants if Privilege.CREATE in g.privileges})
        raise ForbiddenError(
            f"group {group!r} may not create tables, so that none can be its own",
            value=group,
            permitted=", ".join(creators) or None,
        )
