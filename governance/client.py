"""The governor's API as a typed client, and the values both of its sides speak.

Seeds, the CLI and the console call the governor with the caller's own token; the service builds its
answers from the same dataclasses, so the two sides can't drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from contracts.errors import LabError, UsageError
from governance.audit.report import AuditReport
from governance.maintenance.calls import MaintenanceCalls
from governance.reports import ChangeResult, DriftReport, Explanation, ImpactReport, RevisionDetail
from governance.workspaces.calls import WorkspaceCalls

T = TypeVar("T")

PROBLEM_JSON = "application/problem+json"
"""Media type of error answers: https://www.rfc-editor.org/rfc/rfc9457"""

STALE_REVISION = "urn:lakehouse-lab:stale-revision"
"""Problem type that tells a stale base revision from other conflicts."""

TABLE_GRANTED = "urn:lakehouse-lab:table-granted"
"""Problem type of an owner refused because grants cover the table already."""


class GovernorError(LabError):
    """The governor refused or could not do what was asked; ``status`` is the HTTP status, None when it
    did not answer."""

    def __init__(self, what: str, *, status: int | None = None, **facts: Any) -> None:
        self.status = status
        super().__init__(what, **facts)


class StaleRevisionError(GovernorError):
    """Someone changed the access data in the meantime; read it again and repeat the change (409)."""


class TableGrantedError(GovernorError):
    """Grants cover the table already, so that it needs no owner (409)."""


class RefusedInputError(GovernorError, UsageError):
    """The governor found the input wrong; nothing was changed (422)."""


@dataclass(frozen=True, kw_only=True)
class RevisionSummary:
    """One entry of the access data's history. ``based_on`` is None for the first."""

    revision: int
    author: str
    reason: str
    created_at: datetime
    based_on: int | None


@dataclass(frozen=True, kw_only=True)
class AccessRevision:
    """One revision with its whole document, the form of ``AccessData.as_document()``."""

    revision: int
    author: str
    reason: str
    created_at: datetime
    based_on: int | None
    document: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """What a seed did: counts of items, by what happened to them.

    ``kept`` are items of the seed that people edited or removed and that therefore stayed as they are.
    ``published`` says whether the resulting revision had reached the object store when this was said.
    """

    changed: bool
    revision: int
    added: int
    updated: int
    removed: int
    kept: int
    published: bool


@dataclass(frozen=True, kw_only=True)
class ReconcileReport:
    """One run of the reconciler. ``changes`` are the writes it made, in order; ``drift`` those of them
    that undid what somebody else had changed; ``pending`` waits for objects that do not exist yet."""

    catalog_kind: str
    revision: int | None
    started_at: datetime
    duration_s: float
    tables: int
    changes: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the catalog now is as the access data says."""
        return not self.errors and not self.pending


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The bundle that lies in the object store. ``issued_at`` is when it was signed last."""

    revision: int
    issued_at: datetime
    etag: str


@dataclass(frozen=True, kw_only=True)
class GovernorStatus:
    """What the governor does and what stands in its way; ``errors`` maps an activity (``publish``,
    ``reconcile``) to the last error, absent while all is well."""

    revision: int | None
    publication: Publication | None
    reconcile: ReconcileReport | None
    errors: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TableOwner:
    """The group that a table belongs to until it is granted."""

    table: str
    group: str
    registered_by: str
    registered_at: datetime


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Identity of the living access data: equal documents give equal digests (SHA-256, hex)."""

    revision: int | None
    digest: str


@dataclass(frozen=True, kw_only=True)
class EffectiveAccess:
    """What the asking user is granted, by table pattern, and the rules that hold for them."""

    username: str
    groups: tuple[str, ...]
    grants: Mapping[str, tuple[str, ...]]
    rules: tuple[str, ...]
    owned_tables: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TagUse:
    """A tag on an object: ``*``, ``ns.*``, ``ns.table`` or ``ns.table.column``."""

    object: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class GroupMembers:
    """A group of the realm; ``members`` (enabled users) is None for who may not read access data."""

    name: str
    members: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class RawAccess:
    """What engines that read files may do in the asking user's name. ``tables`` maps each table that they
    may read to the privileges; ``restricted`` maps each table whose rows or columns rules change for this
    user to those rules. Where ``restricted`` is empty, whatever the user may read they may read raw."""

    username: str
    groups: tuple[str, ...]
    tables: Mapping[str, tuple[str, ...]]
    restricted: Mapping[str, tuple[str, ...]]


class GovernorClient:
    """Calls the governor. ``token_provider`` returns a current access token with audience ``governor``.

    Every method raises GovernorError (StaleRevisionError, RefusedInputError) with the governor's own
    words, or one without a status when it can't be reached.
    """

    def __init__(
        self,
        base_url: str,
        token_provider: Callable[[], str],
        *,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._token_provider = token_provider
        # The governor is on the loopback or in the same cluster: never through a proxy.
        self._http = httpx.Client(
            base_url=base_url.rstrip("/"), timeout=timeout_s, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def seed_access(self, document: Mapping[str, Any], digest: str, reset: bool = False) -> SeedResult:
        """Merges a seed document into the living one; ``reset`` restores the seed's items."""
        body = {"document": dict(document), "digest": digest, "reset": reset}
        return self._call(SeedResult, "POST", "/v1/access/seed", body)

    def access(self, revision: int | None = None) -> AccessRevision:
        """The living access data, or the one of an earlier revision."""
        path = "/v1/access" if revision is None else f"/v1/access/revisions/{revision}"
        return self._call(AccessRevision, "GET", path)

    def put_access(
        self, document: Mapping[str, Any], *, base_revision: int, reason: str, widen: bool = False
    ) -> AccessRevision:
        """Replaces the living access data. Raises StaleRevisionError when ``base_revision`` is not the
        living one any more, RefusedInputError when rules would show more and ``widen`` is not set."""
        body = {"document": dict(document), "base_revision": base_revision, "reason": reason, "widen": widen}
        return self._call(AccessRevision, "PUT", "/v1/access", body)

    def change_access(
        self,
        *,
        add: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        remove: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        reason: str,
        widen: bool = False,
        only_try: bool = False,
        base_revision: int | None = None,
    ) -> ChangeResult:
        """Adds, replaces and removes items of the living access data, all or none, and waits a while for
        the publication; ``only_try`` says what it would come to, ``base_revision`` makes it on that revision
        alone. Raises as :meth:`put_access`."""
        body: dict[str, Any] = {"add": dict(add or {}), "remove": dict(remove or {}), "reason": reason}
        body |= {"widen": widen, "only_try": only_try}
        if base_revision is not None:
            body["base_revision"] = base_revision
        return self._call(ChangeResult, "POST", "/v1/access/changes", body)

    def revisions(self, limit: int = 100) -> tuple[RevisionSummary, ...]:
        """The history, newest first."""
        return self._call(tuple[RevisionSummary, ...], "GET", f"/v1/access/revisions?limit={limit}")

    def revision_changes(self, revision: int) -> RevisionDetail:
        """One entry of the history with the items that it changed."""
        return self._call(RevisionDetail, "GET", f"/v1/access/revisions/{revision}/changes")

    def rollback(self, revision: int, *, reason: str = "", widen: bool = False) -> AccessRevision:
        """Makes a new revision with the document of an earlier one; exceptions that are not living stay
        away. Raises RefusedInputError when rules would show more and ``widen`` is not set."""
        body = {"revision": revision, "reason": reason, "widen": widen}
        return self._call(AccessRevision, "POST", "/v1/access/rollback", body)

    def explain(self, table: str, user: str | None = None) -> Explanation:
        """Why ``user`` (the caller when None) has ``ns.table`` as they do."""
        query = {"table": table} if user is None else {"table": table, "user": user}
        return self._call(Explanation, "GET", f"/v1/access/explanation?{httpx.QueryParams(query)}")

    def tags(self) -> tuple[TagUse, ...]:
        """Tags of what the caller may read; all of them for who may read access data."""
        return self._call(tuple[TagUse, ...], "GET", "/v1/access/tags")

    def groups(self) -> tuple[GroupMembers, ...]:
        """Groups of the realm."""
        return self._call(tuple[GroupMembers, ...], "GET", "/v1/groups")

    def impact(
        self,
        *,
        before: int | None = None,
        after: int | None = None,
        seed: Mapping[str, Any] | None = None,
        add: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        remove: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        users: Sequence[str] = (),
        tables: Sequence[str] = (),
        count: bool = True,
    ) -> ImpactReport:
        """What a change means for readers. None is the living revision; ``seed`` takes the place of
        ``after``: what seeding that document would make of the state before; so do ``add`` and ``remove``,
        as :meth:`change_access` takes them."""
        body: dict[str, Any] = {
            "before": before,
            "after": after,
            "users": list(users),
            "tables": list(tables),
            "seed": None if seed is None else dict(seed),
            "add": dict(add or {}),
            "remove": dict(remove or {}),
            "count": count,
        }
        return self._call(ImpactReport, "POST", "/v1/access/impact", body)

    def drift(self) -> DriftReport:
        """The living access data against what was published."""
        return self._call(DriftReport, "GET", "/v1/drift")

    def publish(self) -> DriftReport:
        """Publishes the living access data now, and says what still differs."""
        return self._call(DriftReport, "POST", "/v1/publication")

    def effective_access(self) -> EffectiveAccess:
        """What the caller is granted."""
        return self._call(EffectiveAccess, "GET", "/v1/access/effective")

    def raw_access(self) -> RawAccess:
        """What the caller may do with engines that read files, and which rules stand against it."""
        return self._call(RawAccess, "GET", "/v1/access/raw")

    def reconcile(self) -> ReconcileReport:
        """Reconciles the catalog now and says what was done."""
        return self._call(ReconcileReport, "POST", "/v1/reconcile")

    def status(self) -> GovernorStatus:
        """Revision, publication, last reconciliation and standing errors."""
        return self._call(GovernorStatus, "GET", "/v1/status")

    def used(self) -> None:
        """Tells that the caller works with the lab."""
        self._send("POST", "/v1/use")

    def register_owner(self, table: str, group: str) -> TableOwner:
        """Notes that ``table`` (``ns.table``) belongs to ``group``, one of the caller's. Repeating it is
        harmless. Raises TableGrantedError when grants cover the table already, GovernorError (409) when
        it belongs to another group."""
        return self._call(TableOwner, "POST", "/v1/owners", {"table": table, "group": group})

    def owners(self) -> tuple[TableOwner, ...]:
        """All registered owners, by table."""
        return self._call(tuple[TableOwner, ...], "GET", "/v1/owners")

    def audit(
        self,
        *,
        user: str | None = None,
        since_s: float | None = None,
        table: str | None = None,
        denied: bool = False,
        query_id: str | None = None,
        limit: int = 100,
    ) -> AuditReport:
        """Who read what: lines newest first. Auditors and lab admins see everybody's, others their own;
        ``user`` None is all that the caller may see."""
        given = {"user": user, "since_s": since_s, "table": table, "query_id": query_id}
        query = {key: str(value) for key, value in given.items() if value is not None}
        query |= {"denied": str(denied).lower(), "limit": str(limit)}
        return self._call(AuditReport, "GET", f"/v1/audit?{httpx.QueryParams(query)}")

    @property
    def maintenance(self) -> MaintenanceCalls:
        """Maintenance of tables: plans, runs and policies."""
        return MaintenanceCalls(self._call)

    @property
    def workspaces(self) -> WorkspaceCalls:
        """Workspaces: their making, members and removal."""
        return WorkspaceCalls(self._call)

    def fingerprint(self) -> Fingerprint:
        """Identity of the living access data."""
        return self._call(Fingerprint, "GET", "/v1/fingerprint")

    def _call(self, kind: type[T], method: str, path: str, body: Mapping[str, Any] | None = None) -> T:
        response = self._send(method, path, body)
        try:
            return TypeAdapter(kind).validate_json(response.content)
        except ValidationError as error:
            raise GovernorError(
                f"the governor's answer to {method} {path} is not understood: {error.error_count()} fields",
                status=response.status_code,
                permitted=f"an answer that reads as {getattr(kind, '__name__', kind)}",
                next_command="lab up, so that governor and command line are of one version",
            ) from error

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token_provider()}"}
        try:
            response = self._http.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise GovernorError(
                f"the governor does not answer: {error}",
                value=str(self._http.base_url),
                next_command="lab status",
            ) from error
        if response.is_error:
            raise _refusal(response)
        return response


def _refusal(response: httpx.Response) -> GovernorError:
    """The error a problem document describes."""
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    conflicts: dict[Any, type[GovernorError]] = {
        STALE_REVISION: StaleRevisionError,
        TABLE_GRANTED: TableGrantedError,
    }
    kind = conflicts.get(problem.get("type"), GovernorError)
    if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
        kind = RefusedInputError
    return kind(
        problem.get("title") or f"the governor answered {response.status_code}",
        status=response.status_code,
        value=problem.get("value"),
        permitted=problem.get("permitted"),
        next_command=problem.get("next_command"),
    )
