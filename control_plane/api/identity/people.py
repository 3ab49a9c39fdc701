"""People and what they are shown, from an access token's claims."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.identity import GROUPS_CLAIM
from control_plane.api.schemas.identity import Permission
from control_plane.api.storage.sessions import Person
from governance.governor.auth import Caller as GovernorCaller
from governance.governor.auth import ForbiddenError, UnauthenticatedError
from governance.governor.auth import Permission as GovernorPermission

_SERVICE_ACCOUNT_PREFIX = "service-account-"
_SHOWN = {
    GovernorPermission.READ_ACCESS: Permission.READ_ACCESS,
    GovernorPermission.EDIT_RULES: Permission.EDIT_RULES,
    GovernorPermission.EDIT_GRANTS: Permission.EDIT_GRANTS,
    GovernorPermission.BREAK_GLASS: Permission.BREAK_GLASS,
    GovernorPermission.READ_AUDIT: Permission.READ_AUDIT,
    GovernorPermission.SEED: Permission.ADMINISTER,
    GovernorPermission.CREATE_WORKSPACES: Permission.CREATE_WORKSPACES,
    GovernorPermission.MANAGE_WORKSPACES: Permission.MANAGE_WORKSPACES,
}


def person_of(claims: Mapping[str, Any]) -> Person:
    """Who a token is about. One in no group may sign in, and is granted nothing.

    Raises:
        UnauthenticatedError: it is a service's own token: the console is for people.
    """
    username = str(claims["preferred_username"])
    if username.startswith(_SERVICE_ACCOUNT_PREFIX):
        raise UnauthenticatedError("the console is for people", value=username, permitted="a user's token")
    groups = claims.get(GROUPS_CLAIM) or []
    known = (
        frozenset(str(group).removeprefix("/") for group in groups)
        if isinstance(groups, list)
        else frozenset()
    )
    sid = claims.get("sid")
    email = claims.get("email")
    return Person(
        username=username,
        display_name=str(claims.get("name") or username),
        email=email if isinstance(email, str) else None,
        groups=known,
        subject=str(claims["sub"]),
        sid=sid if isinstance(sid, str) else None,
    )


def permissions(username: str, groups: frozenset[str]) -> list[Permission]:
    """What pages a member of these groups gets, by the governor's own table."""
    held = GovernorCaller(username=username, groups=groups, service=None).permissions
    return sorted(shown for permission, shown in _SHOWN.items() if permission in held)


def require_admin(person: Person, what: str) -> None:
    """For what no service behind the console decides. Raises ForbiddenError."""
    if Permission.ADMINISTER not in permissions(person.username, person.groups):
        raise ForbiddenError(
            f"{person.username!r} may not {what}",
            value=", ".join(sorted(person.groups)) or "no group",
            permitted="members of lab_admins",
        )
