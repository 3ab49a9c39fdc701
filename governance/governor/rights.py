"""Who may change what in access data, and what is refused whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from contracts.access import AccessData, AccessException
from contracts.errors import UsageError
from governance.governor.auth import Caller, ForbiddenError, Permission
from governance.reports import Change
from governance.widening import widenings

SECTION_PERMISSIONS: Mapping[str, Permission] = {
    "tags": Permission.EDIT_RULES,
    "rules": Permission.EDIT_RULES,
    "grants": Permission.EDIT_GRANTS,
    "exceptions": Permission.BREAK_GLASS,
}


def require_edit(caller: Caller) -> None:
    """Raises ForbiddenError unless the caller may change anything at all."""
    if not caller.permissions & set(SECTION_PERMISSIONS.values()):
        caller.require(Permission.EDIT_RULES)


def require_sections(caller: Caller, changes: Iterable[Change]) -> None:
    """Raises ForbiddenError unless the caller may change every section that differs."""
    for section in sorted({change.section for change in changes}):
        caller.require(SECTION_PERMISSIONS[section])


def require_exceptions(
    caller: Caller, added: Iterable[AccessException], *, now: datetime, limit: timedelta
) -> None:
    """Raises UsageError unless each exception ends in time, and ForbiddenError for one that a steward
    makes for themselves."""
    for exception in added:
        if not now < exception.expires_at <= now + limit:
            raise UsageError(
                f"exception {exception.id!r} does not end within the time permitted",
                value=exception.expires_at.isoformat(timespec="seconds"),
                permitted=f"from now to {limit} later",
            )
        own = exception.user == caller.username
        if own and Permission.EDIT_GRANTS not in caller.permissions:
            raise ForbiddenError(
                f"{caller.username!r} may not make an exception for themselves",
                value=exception.user,
                permitted="an exception made by a lab admin, or by another steward",
            )


def new_exceptions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[AccessException]:
    """Exceptions of ``after`` that ``before`` does not hold in the same form."""
    known = set(AccessData.from_document(before).exceptions)
    return [e for e in AccessData.from_document(after).exceptions if e not in known]


def require_narrow(
    before: Mapping[str, Any], after: Mapping[str, Any], owners: Mapping[str, str], *, widen: bool
) -> tuple[str, ...]:
    """What rules and tags no longer keep from whom; raises UsageError for any unless ``widen``."""
    old, new = AccessData.from_document(before), AccessData.from_document(after)
    found = widenings(old, new, owners)
    if found and not widen:
        lines = "\n".join(f"  - {one}" for one in found)
        raise UsageError(
            f"this would show somebody more than before:\n{lines}",
            permitted="the same with --widen, when that is what is meant",
            next_command="lab policy diff, which counts rows and columns",
        )
    return tuple(str(one) for one in found)
