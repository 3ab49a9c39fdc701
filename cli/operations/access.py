"""Editing access data through the governor, with the user's own token."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cli.access import user_tokens
from cli.session import Session
from contracts.access import EVERY_RULE, AccessData
from contracts.errors import UsageError
from contracts.identity import Audience

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governance.client import AccessRevision, GovernorClient, RevisionSummary
    from governance.reports import ChangeResult, RevisionDetail

_DURATION = re.compile(r"(\d+)(s|m|min|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=3650)
_PRIVILEGE_SETS: Mapping[str, tuple[str, ...]] = {
    "read": ("select",),
    "write": ("select", "insert", "update", "delete"),
    "all": ("select", "insert", "update", "delete", "create", "alter", "drop", "maintain"),
}


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What all edits have in common. ``persona``: the sample user to edit as; None: who signed in."""

    reason: str
    persona: str | None = None
    widen: bool = False
    only_try: bool = False


@contextmanager
def own_governor(session: Session, persona: str | None) -> Iterator[GovernorClient]:
    """The governor, asked as ``persona`` or as whoever is signed in.

    Raises:
        UsageError: there is no such sample user. SignInError: nobody is signed in.
    """
    from governance.client import GovernorClient

    outputs = session.outputs()
    token = user_tokens(session, outputs, persona, Audience.GOVERNOR)
    with GovernorClient(outputs.governor_url, token) as client:
        yield client


def change_access(
    session: Session,
    edit: Edit,
    *,
    add: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    remove: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> ChangeResult:
    """Adds and removes items, all or none.

    Raises:
        UsageError: an item is malformed or names what is not there, or rules would show more than
            before without ``edit.widen``; nothing was changed.
        GovernorError: the user may not change this, or the governor does not answer.
    """
    with own_governor(session, edit.persona) as client:
        return client.change_access(
            add=add, remove=remove, reason=edit.reason, widen=edit.widen, only_try=edit.only_try
        )


def tag(session: Session, edit: Edit, name: str, tags: Sequence[str]) -> ChangeResult:
    """Puts tags on the catalog (``*``), a namespace (``ns.*``), a table or a column."""
    return change_access(session, edit, add={"tags": [{"object": name, "tag": one} for one in tags]})


def grant(
    session: Session, edit: Edit, name: str, privileges: Sequence[str], groups: Sequence[str]
) -> ChangeResult:
    """Grants privileges on ``ns.table`` or ``ns.*`` to groups; ``read``, ``write`` and ``all`` stand for
    several."""
    held = _privileges(privileges)
    grants = [{"group": group, "object": name, "privileges": held} for group in groups]
    return change_access(session, edit, add={"grants": grants})


def rule(session: Session, edit: Edit, document: Mapping[str, Any]) -> ChangeResult:
    """Makes a rule, or replaces the one of its id. ``document``: the form of ``policies/data/rules.yaml``."""
    AccessData.from_document({"rules": [document]})
    return change_access(session, edit, add={"rules": [document]})


def break_glass(
    session: Session,
    edit: Edit,
    name: str,
    *,
    user: str,
    duration: str,
    privileges: Sequence[str] = (),
    lifts: Sequence[str] = (),
    clock: Callable[[], datetime] = lambda: datetime.now(tz=UTC),
) -> ChangeResult:
    """An exception for one user that ends by itself: privileges on ``ns.table`` or ``ns.*``, rules lifted
    there (``*``: all), or both."""
    now = clock()
    exception = {
        "id": exception_id(user, now),
        "user": user,
        "object": name,
        "expires_at": (now + parse_duration(duration)).isoformat(timespec="seconds"),
        "reason": edit.reason,
        "privileges": _privileges(privileges),
        "lifts": list(lifts),
    }
    return change_access(session, edit, add={"exceptions": [exception]})


def revoke_grant(
    session: Session, edit: Edit, name: str, privileges: Sequence[str], groups: Sequence[str]
) -> ChangeResult:
    """Takes privileges from groups, all they hold on the object when none is named."""
    held = _privileges(privileges)
    grants = [{"group": group, "object": name, "privileges": held} for group in groups]
    return change_access(session, edit, remove={"grants": grants})


def revoke_tag(session: Session, edit: Edit, name: str, tags: Sequence[str]) -> ChangeResult:
    """Takes tags off an object."""
    return change_access(session, edit, remove={"tags": [{"object": name, "tag": one} for one in tags]})


def revoke_rule(session: Session, edit: Edit, rule_id: str) -> ChangeResult:
    """Removes a rule."""
    return change_access(session, edit, remove={"rules": [{"id": rule_id}]})


def revoke_exception(session: Session, edit: Edit, exception: str) -> ChangeResult:
    """Ends an exception now."""
    return change_access(session, edit, remove={"exceptions": [{"id": exception}]})


def show_access(
    session: Session, *, persona: str | None = None, revision: int | None = None
) -> AccessRevision:
    """The living access data, or the one of an earlier revision."""
    with own_governor(session, persona) as client:
        return client.access(revision)


def history(session: Session, *, persona: str | None = None, limit: int = 20) -> tuple[RevisionSummary, ...]:
    """The latest revisions, newest first: who, when, why."""
    with own_governor(session, persona) as client:
        return client.revisions(limit=limit)


def revision_detail(session: Session, revision: int, *, persona: str | None = None) -> RevisionDetail:
    """One revision and the items that it changed."""
    with own_governor(session, persona) as client:
        return client.revision_changes(revision)


def rollback(session: Session, edit: Edit, revision: int) -> AccessRevision:
    """Makes a new revision of an earlier one's document."""
    with own_governor(session, edit.persona) as client:
        return client.rollback(revision, reason=edit.reason, widen=edit.widen)


def exception_id(user: str, now: datetime) -> str:
    """A new exception's id: for whom, and when it was made."""
    name = re.sub(r"[^a-z0-9_.-]", "-", user.lower()).lstrip("_.-") or "user"
    return f"{name}-{now.astimezone(UTC):%Y%m%d%H%M%S}"


def parse_duration(text: str) -> timedelta:
    """``30m``, ``1h``, ``2d``. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip().lower())
    found = timedelta(seconds=min(int(match[1]) * _SECONDS[match[2]], 10**9)) if match else timedelta()
    if not timedelta() < found <= _LONGEST:
        raise UsageError("this is not a duration", value=text, permitted="30m, 1h, 2d")
    return found


def every_rule(lifts: Sequence[str], lift_all: bool) -> tuple[str, ...]:
    """``--lift`` and ``--lift-all`` as one list. Raises UsageError when both are given."""
    if lifts and lift_all:
        raise UsageError("--lift and --lift-all exclude each other", permitted="one of them")
    return (EVERY_RULE,) if lift_all else tuple(lifts)


def _privileges(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(one for name in names for one in _PRIVILEGE_SETS.get(name, (name,))))
