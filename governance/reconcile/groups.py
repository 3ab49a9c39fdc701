"""Groups that the governor itself makes in the realm, told from all others by an attribute.

https://www.keycloak.org/docs-api/latest/rest-api/index.html#_groups
"""

from __future__ import annotations

from typing import Any

import httpx

from contracts.errors import LabError, unknown_name
from governance.reconcile.port import ReconcileError

_OURS = "lakehouse-lab.workspace"
_PAGE = 500
_SERVICE_ACCOUNT_PREFIX = "service-account-"


class ForeignGroupError(LabError):
    """A group of that name is somebody else's (409)."""


class RealmGroups:
    """Makes and removes groups, and puts users into them; touches no group that it did not make.

    Args:
        http: a client whose base URL is ``…/admin/realms/<realm>`` and that authenticates by itself.

    Raises ReconcileError for an answer that is no success, httpx.TransportError without an answer.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def ensure(self, name: str, owner: str) -> bool:
        """Makes the group of what ``owner`` names; whether it was missing. Raises ForeignGroupError."""
        if self._find(name, owner) is not None:
            return False
        response = self._http.post("/groups", json={"name": name, "attributes": {_OURS: [owner]}})
        if response.status_code != httpx.codes.CONFLICT:
            _checked(response)
        return self._find(name, owner) is not None

    def remove(self, name: str, owner: str) -> bool:
        """Removes the group; whether there was one. Raises ForeignGroupError."""
        found = self._find(name, owner)
        if found is None:
            return False
        response = self._http.delete(f"/groups/{found}")
        if response.status_code != httpx.codes.NOT_FOUND:
            _checked(response)
        return True

    def members(self, name: str, owner: str) -> tuple[str, ...]:
        """Names of the group's enabled users, sorted; none without a group."""
        found = self._find(name, owner)
        if found is None:
            return ()
        users: list[str] = []
        while True:
            first = len(users)
            parameters = {"first": str(first), "max": str(_PAGE), "briefRepresentation": "true"}
            page = _checked(self._http.get(f"/groups/{found}/members", params=parameters)).json()
            users += [str(user["username"]) for user in page if user.get("enabled")]
            if len(page) < _PAGE:
                return tuple(sorted(users))

    def add(self, name: str, owner: str, username: str) -> None:
        """Puts a user into the group; repeating it is harmless.

        Raises:
            UsageError: there is no such user; the nearest is suggested. ForeignGroupError.
        """
        user = self.require_user(username)
        _checked(self._http.put(f"/users/{user}/groups/{self._required(name, owner)}"))

    def take(self, name: str, owner: str, username: str) -> None:
        """Takes a user out of the group; one that is not in it, or is gone, stays so."""
        user = self._user(username)
        if user is not None:
            _checked(self._http.delete(f"/users/{user}/groups/{self._required(name, owner)}"))

    def require_user(self, username: str) -> str:
        """The id of an enabled user. Raises UsageError (nearest suggested)."""
        found = self._user(username)
        if found is None:
            parameters = {"first": "0", "max": str(_PAGE), "briefRepresentation": "true"}
            page = _checked(self._http.get("/users", params=parameters)).json()
            raise unknown_name("user", username, [u["username"] for u in page if _is_person(u)])
        return found

    def _user(self, username: str) -> str | None:
        parameters = {"username": username, "exact": "true"}
        page = _checked(self._http.get("/users", params=parameters)).json()
        return next((str(u["id"]) for u in page if u["username"] == username and _is_person(u)), None)

    def _required(self, name: str, owner: str) -> str:
        found = self._find(name, owner)
        if found is None:
            raise ReconcileError(f"there is no group {name!r} in the realm", value=name)
        return found

    def _find(self, name: str, owner: str) -> str | None:
        parameters = {"search": name, "exact": "true", "briefRepresentation": "false"}
        for group in _checked(
            self._http.get("/groups", params={**parameters, "max": str(_PAGE), "first": "0"})
        ).json():
            if group["name"] != name:
                continue
            # What a search says of attributes depends on the version: the group itself has them.
            whole = _checked(self._http.get(f"/groups/{group['id']}")).json()
            if (whole.get("attributes") or {}).get(_OURS) != [owner]:
                raise ForeignGroupError(
                    f"the realm has a group {name!r} that is no workspace's",
                    value=name,
                    permitted="another name for the workspace",
                )
            return str(group["id"])
        return None


def _is_person(user: dict[str, Any]) -> bool:
    return bool(user.get("enabled")) and not str(user["username"]).startswith(_SERVICE_ACCOUNT_PREFIX)


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise ReconcileError(
        f"Keycloak answered {response.status_code} to {response.request.method} {response.request.url.path}",
        value=response.text[:200] or None,
        permitted="client governor with the realm-management roles of the realm model",
        next_command="lab logs keycloak",
    )
