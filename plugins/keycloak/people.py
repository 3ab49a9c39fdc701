"""Groups, users and memberships.

Users and memberships are people's data: the declaration seeds them, and from then on what people edit
counts. They are adopted as found, and changed later only where the declaration itself changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import LabError
from plugins.keycloak.api import Admin, path_of
from plugins.keycloak.representation import REALM, Rep, Represented
from plugins.kinds import BOOL, JSON, MULTI_MAP, PART_SET, TEXT_SET
from plugins.resource import Field, ResourceType, State, Update, import_parts
from plugins.values import Props, has_unknown

_SEEDED = "seeded_members"
"""Group attribute: ids of users whose membership was seeded, so that one a person ended stays ended."""

_ALL = "1000000"


class Group(Represented):
    """A group; the natural key is its parent and name."""

    token = "keycloak:index/group:Group"
    auto_name = "name"
    fields = (
        REALM,
        Field(name="parentId", path=("parentId",), key=True, replace=True),
        Field(name="name", path=("name",), key=True),
        Field(name="description", path=("description",), default=""),
        Field(name="attributes", path=("attributes",), kind=MULTI_MAP),
        Field(name="path", path=("path",), output=True),
    )

    def _siblings(self, inputs: Props) -> str:
        if inputs.get("parentId"):
            return path_of("realms", inputs["realmId"], "groups", inputs["parentId"], "children")
        return path_of("realms", inputs["realmId"], "groups")

    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        found = admin.get(
            self._siblings(inputs), search=inputs["name"], exact="true", briefRepresentation="false", max=_ALL
        )
        return next((rep for rep in found or [] if rep["name"] == inputs["name"]), None)

    def new(self, inputs: Props) -> Rep:
        rep = super().new(inputs)
        rep.pop("parentId", None)
        return rep

    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        return admin.post(self._siblings(inputs), rep)

    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        found: Rep | None = admin.get(path_of("realms", props["realmId"], "groups", ident))
        return found

    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        admin.put(path_of("realms", props["realmId"], "groups", ident), rep)

    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        realm, ident = import_parts(self.token, import_id, "realm/group-uuid")
        return ident, {"realmId": realm}

    def _outputs(self, session: Admin, ident: str, rep: Rep, inputs: Props, recorded: Props) -> Props:
        outputs = super()._outputs(session, ident, rep, inputs, recorded)
        outputs["attributes"] = {k: v for k, v in outputs["attributes"].items() if k != _SEEDED}
        return outputs

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        session.delete(path_of("realms", recorded["realmId"], "groups", ident))


class User(Represented):
    """A user; the natural key is the user name. The initial password is set when the user is made."""

    token = "keycloak:index/user:User"
    seeded = True
    fields = (
        REALM,
        Field(name="username", path=("username",), required=True, key=True, replace=True),
        Field(name="email", path=("email",), default=""),
        Field(name="emailVerified", path=("emailVerified",), kind=BOOL, default=False),
        Field(name="firstName", path=("firstName",), default=""),
        Field(name="lastName", path=("lastName",), default=""),
        Field(name="enabled", path=("enabled",), kind=BOOL, default=True),
        Field(name="attributes", path=("attributes",), kind=MULTI_MAP),
        Field(name="requiredActions", path=("requiredActions",), kind=TEXT_SET, default=[]),
        Field(name="initialPassword", kind=JSON, secret=True, create_only=True),
        Field(name="import", kind=BOOL, default=False, replace=True),
    )

    def validate(self, inputs: Props) -> Mapping[str, str]:
        username = inputs.get("username")
        if isinstance(username, str) and username != username.lower():
            return {"username": f"given {username!r}; permitted: lower case"}
        password = inputs.get("initialPassword")
        if isinstance(password, Mapping) and not has_unknown(password) and not password.get("value"):
            return {"initialPassword": "needs a value; write-only passwords are not served here"}
        return {}

    def new(self, inputs: Props) -> Rep:
        rep = super().new(inputs)
        password = inputs.get("initialPassword")
        if password:
            rep["credentials"] = [
                {
                    "type": "password",
                    "value": password["value"],
                    "temporary": bool(password.get("temporary", False)),
                }
            ]
        return rep

    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        return user_by_name(admin, inputs["realmId"], inputs["username"])

    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        return admin.post(path_of("realms", inputs["realmId"], "users"), rep)

    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        found: Rep | None = admin.get(path_of("realms", props["realmId"], "users", ident))
        return found

    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        admin.put(path_of("realms", props["realmId"], "users", ident), rep)

    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        realm, ident = import_parts(self.token, import_id, "realm/user-uuid-or-name")
        if self.fetch(admin, ident, {"realmId": realm}) is None:
            found = user_by_name(admin, realm, ident)
            ident = found["id"] if found else ident
        return ident, {"realmId": realm}

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        if recorded.get("import") is not True:
            session.delete(path_of("realms", recorded["realmId"], "users", ident))


def user_by_name(admin: Admin, realm: str, username: str) -> Rep | None:
    """The user of that name, or None."""
    found = admin.get(path_of("realms", realm, "users"), username=username, exact="true")
    return next((rep for rep in found or [] if rep["username"] == username), None)


def _join(admin: Admin, realm: str, group_id: str, user_ids: Mapping[str, bool], again: bool) -> None:
    """Seed memberships of one group; the mapping says who is a member already.

    A membership seeded before and gone since was ended by a person: it is made anew only when ``again``.
    """
    path = path_of("realms", realm, "groups", group_id)
    with admin.exclusive(group_id):
        group = admin.get(path)
        if group is None:
            raise LabError(
                f"there is no group {group_id!r} in realm {realm!r}",
                value=group_id,
                next_command="pulumi refresh",
            )
        marked = set((group.get("attributes") or {}).get(_SEEDED, []))
        for user_id, member in user_ids.items():
            if not member and (again or user_id not in marked):
                admin.put(path_of("realms", realm, "users", user_id, "groups", group_id), None)
        if user_ids.keys() - marked:
            _mark(admin, path, group, marked | user_ids.keys())


def _leave(admin: Admin, realm: str, group_id: str, user_id: str) -> None:
    """End a membership and forget that it was seeded."""
    path = path_of("realms", realm, "groups", group_id)
    with admin.exclusive(group_id):
        admin.delete(path_of("realms", realm, "users", user_id, "groups", group_id))
        group = admin.get(path)
        marked = set(((group or {}).get("attributes") or {}).get(_SEEDED, []))
        if group is not None and user_id in marked:
            _mark(admin, path, group, marked - {user_id})


def _mark(admin: Admin, path: str, group: dict[str, Any], marked: set[str]) -> None:
    attributes = {**(group.get("attributes") or {}), _SEEDED: sorted(marked)}
    if not marked:
        del attributes[_SEEDED]
    admin.put(path, {**group, "attributes": attributes})


class UserGroups(ResourceType[Admin]):
    """The groups of one user. Memberships that people made or ended are kept."""

    token = "keycloak:index/userGroups:UserGroups"
    seeded = True
    fields = (
        REALM,
        Field(name="userId", required=True, key=True, replace=True),
        Field(name="groupIds", kind=PART_SET, required=True),
        Field(name="exhaustive", kind=BOOL, default=True),
    )

    def create(self, session: Admin, inputs: Props) -> State:
        return self._converge(session, inputs, again=(), dropped=())

    def update(self, session: Admin, update: Update) -> State:
        before, now = set(update.before.get("groupIds", ())), set(update.declared["groupIds"])
        return self._converge(session, update.declared, again=now - before, dropped=before - now)

    def _converge(self, session: Admin, props: Props, again: Any, dropped: Any) -> State:
        realm, user_id = props["realmId"], props["userId"]
        current = self._current(session, props)
        if current is None:
            raise LabError(f"there is no user {user_id!r} in realm {realm!r}", next_command="pulumi refresh")
        for group_id in props["groupIds"]:
            _join(session, realm, group_id, {user_id: group_id in current}, again=group_id in again)
        for group_id in sorted(dropped):
            _leave(session, realm, group_id, user_id)
        state = self.read(session, "", props, {})
        if state is None:
            raise LabError(f"user {user_id!r} vanished meanwhile", next_command="pulumi refresh")
        return state

    def _current(self, session: Admin, props: Props) -> set[str] | None:
        path = path_of("realms", props["realmId"], "users", props["userId"], "groups")
        found = session.get(path, max=_ALL)
        return None if found is None else {group["id"] for group in found}

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        place = {**recorded, **inputs}
        if not place:
            realm, user_id = import_parts(self.token, ident, "realm/user-uuid")
            place = {"realmId": realm, "userId": user_id}
        current = self._current(session, place)
        if current is None:
            return None
        declared = place.get("groupIds")
        exhaustive = place.get("exhaustive", True)
        actual = [key for key in current if exhaustive or key in (declared or ())]
        outputs = {
            "realmId": place["realmId"],
            "userId": place["userId"],
            "exhaustive": exhaustive,
            "groupIds": PART_SET.shown(declared, actual),
        }
        return State(id=f"{place['realmId']}/{place['userId']}", outputs=outputs)

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        for group_id in recorded.get("groupIds", ()):
            _leave(session, recorded["realmId"], group_id, recorded["userId"])


class GroupMemberships(ResourceType[Admin]):
    """The members of one group, by user name. Memberships that people made or ended are kept."""

    token = "keycloak:index/groupMemberships:GroupMemberships"
    seeded = True
    fields = (
        REALM,
        Field(name="groupId", required=True, key=True, replace=True),
        Field(name="members", kind=PART_SET, required=True),
    )

    def create(self, session: Admin, inputs: Props) -> State:
        return self._converge(session, inputs, again=set(), dropped=set())

    def update(self, session: Admin, update: Update) -> State:
        before, now = set(update.before.get("members", ())), set(update.declared["members"])
        return self._converge(session, update.declared, again=now - before, dropped=before - now)

    def _converge(self, session: Admin, props: Props, again: set[str], dropped: set[str]) -> State:
        realm, group_id = props["realmId"], props["groupId"]
        current = self._current(session, props)
        if current is None:
            raise LabError(
                f"there is no group {group_id!r} in realm {realm!r}", next_command="pulumi refresh"
            )
        ids = {name: current.get(name) or self._user_id(session, realm, name) for name in props["members"]}
        for forced in (True, False):
            wanted = {ids[name]: name in current for name in ids if (name in again) is forced}
            if wanted:
                _join(session, realm, group_id, wanted, again=forced)
        for name in sorted(dropped & current.keys()):
            _leave(session, realm, group_id, current[name])
        state = self.read(session, "", props, {})
        if state is None:
            raise LabError(f"group {group_id!r} vanished meanwhile", next_command="pulumi refresh")
        return state

    def _user_id(self, session: Admin, realm: str, username: str) -> str:
        found = user_by_name(session, realm, username)
        if found is None:
            raise LabError(
                f"there is no user named {username!r} in realm {realm!r}",
                value=username,
                permitted="user names that exist; declare the user before the membership",
            )
        return str(found["id"])

    def _current(self, session: Admin, props: Props) -> dict[str, str] | None:
        path = path_of("realms", props["realmId"], "groups", props["groupId"], "members")
        found = session.get(path, briefRepresentation="true", max=_ALL)
        return None if found is None else {user["username"]: user["id"] for user in found}

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        place = {**recorded, **inputs}
        if not place:
            realm, _, group_id = import_parts(self.token, ident, "realm/group-memberships/group-uuid")
            place = {"realmId": realm, "groupId": group_id}
        current = self._current(session, place)
        if current is None:
            return None
        outputs = {
            "realmId": place["realmId"],
            "groupId": place["groupId"],
            "members": PART_SET.shown(place.get("members"), list(current)),
        }
        return State(id=f"{place['realmId']}/group-memberships/{place['groupId']}", outputs=outputs)

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        current = self._current(session, recorded) or {}
        for name in recorded.get("members", ()):
            if name in current:
                _leave(session, recorded["realmId"], recorded["groupId"], current[name])
