"""Realm and client roles, and the roles of groups, users and service accounts."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, ClassVar

from contracts.errors import LabError
from plugins.keycloak.api import Admin, path_of
from plugins.keycloak.representation import REALM, Rep, Represented
from plugins.kinds import BOOL, MULTI_MAP, PART_SET, TEXT_SET
from plugins.resource import Field, ResourceType, State, Update, import_parts
from plugins.values import Props


class Role(Represented):
    """A realm role, or with ``clientId`` a client role; the natural key is its place and name."""

    token = "keycloak:index/role:Role"
    auto_name = "name"
    fields = (
        REALM,
        Field(name="clientId", key=True, replace=True),
        Field(name="name", path=("name",), key=True),
        Field(name="description", path=("description",), default=""),
        Field(name="compositeRoles", kind=TEXT_SET),
        Field(name="attributes", path=("attributes",), kind=MULTI_MAP),
        Field(name="import", kind=BOOL, default=False, replace=True),
    )

    def find(self, admin: Admin, inputs: Props) -> Rep | None:
        brief = admin.get(f"{_roles(inputs)}/{path_of(inputs['name'])}")
        found: Rep | None = brief
        return found

    def insert(self, admin: Admin, inputs: Props, rep: Rep) -> str:
        admin.post(_roles(inputs), rep)
        made = self.find(admin, inputs)
        if made is None:
            raise LabError(f"role {inputs['name']!r} was made and is not to be found", value=inputs["name"])
        return self.ident(made)

    def fetch(self, admin: Admin, ident: str, props: Props) -> Rep | None:
        found: Rep | None = admin.get(path_of("realms", props["realmId"], "roles-by-id", ident))
        return found

    def store(self, admin: Admin, ident: str, props: Props, rep: Rep) -> None:
        admin.put(path_of("realms", props["realmId"], "roles-by-id", ident), rep)

    def locate(self, admin: Admin, import_id: str) -> tuple[str, Props]:
        realm, ident = import_parts(self.token, import_id, "realm/role-uuid")
        return ident, {"realmId": realm}

    def settle(self, admin: Admin, ident: str, inputs: Props, created: bool) -> None:
        if "compositeRoles" not in inputs:
            return
        path = path_of("realms", inputs["realmId"], "roles-by-id", ident, "composites")
        current = {} if created else {rep["id"]: rep for rep in admin.get(path) or []}
        wanted = set(inputs["compositeRoles"])
        if extra := [rep for key, rep in current.items() if key not in wanted]:
            admin.delete(path, extra)
        if missing := wanted - current.keys():
            admin.post(path, [role_by_id(admin, inputs["realmId"], key) for key in sorted(missing)])

    def extend(self, admin: Admin, ident: str, inputs: Props, outputs: Props) -> Props:
        path = path_of("realms", inputs["realmId"], "roles-by-id", ident, "composites")
        composites = [rep["id"] for rep in admin.get(path) or []]
        declared = inputs.get("compositeRoles")
        return {"compositeRoles": TEXT_SET.shown(declared, sorted(composites))}

    def _outputs(self, session: Admin, ident: str, rep: Rep, inputs: Props, recorded: Props) -> Props:
        outputs = super()._outputs(session, ident, rep, inputs, recorded)
        if rep.get("clientRole"):
            outputs["clientId"] = rep["containerId"]
        return outputs

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        if recorded.get("import") is not True:
            session.delete(path_of("realms", recorded["realmId"], "roles-by-id", ident))


def _roles(props: Props) -> str:
    if props.get("clientId"):
        return path_of("realms", props["realmId"], "clients", props["clientId"], "roles")
    return path_of("realms", props["realmId"], "roles")


def role_by_id(admin: Admin, realm: str, ident: str) -> Rep:
    """The role's representation. Raises LabError when there is none."""
    rep = admin.get(path_of("realms", realm, "roles-by-id", ident))
    if rep is None:
        raise LabError(
            f"there is no role with id {ident!r} in realm {realm!r}",
            value=ident,
            next_command="pulumi refresh",
        )
    found: Rep = rep
    return found


class RoleMappings(ResourceType[Admin]):
    """Roles given to one group or user. Roles that others gave are kept, exhaustive or not."""

    owner: ClassVar[str]
    collection: ClassVar[str]

    @property
    @abstractmethod
    def kind_name(self) -> str:
        """What the owner is, for messages."""

    def create(self, session: Admin, inputs: Props) -> State:
        self._converge(session, inputs, dropped=())
        return self._after(session, inputs)

    def update(self, session: Admin, update: Update) -> State:
        gone = set(update.before.get("roleIds", ())) - set(update.declared["roleIds"])
        self._converge(session, update.declared, dropped=gone)
        return self._after(session, update.declared)

    def _after(self, session: Admin, inputs: Props) -> State:
        state = self.read(session, "", inputs, {})
        if state is None:
            raise self._no_owner(inputs)
        return state

    def _converge(self, session: Admin, props: Props, dropped: Iterable[str]) -> None:
        current = self._current(session, props)
        if current is None:
            raise self._no_owner(props)
        realm = props["realmId"]
        missing = [role_by_id(session, realm, key) for key in props["roleIds"] if key not in current]
        for path, roles in self._by_container(props, missing).items():
            session.post(path, roles)
        gone = [current[key] for key in sorted(set(dropped) & current.keys())]
        for path, roles in self._by_container(props, gone).items():
            session.delete(path, roles)

    def _by_container(self, props: Props, roles: Iterable[Rep]) -> dict[str, list[Rep]]:
        base = self._mappings(props)
        grouped: dict[str, list[Rep]] = defaultdict(list)
        for role in roles:
            place = path_of("clients", role["containerId"]) if role.get("clientRole") else "realm"
            grouped[f"{base}/{place}"].append(role)
        return grouped

    def _mappings(self, props: Props) -> str:
        return path_of("realms", props["realmId"], self.collection, props[self.owner], "role-mappings")

    def _current(self, session: Admin, props: Props) -> dict[str, Rep] | None:
        rep: dict[str, Any] | None = session.get(self._mappings(props))
        if rep is None:
            return None
        roles = list(rep.get("realmMappings") or [])
        for client in (rep.get("clientMappings") or {}).values():
            roles.extend(client["mappings"])
        return {role["id"]: role for role in roles}

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        place = {**recorded, **inputs}
        if not place:
            realm, owner = import_parts(self.token, ident, f"realm/{self.kind_name}-uuid")
            place = {"realmId": realm, self.owner: owner, "exhaustive": True}
        current = self._current(session, place)
        if current is None:
            return None
        declared = place.get("roleIds")
        exhaustive = place.get("exhaustive", True)
        actual = [key for key in current if exhaustive or key in (declared or ())]
        outputs = {
            "realmId": place["realmId"],
            self.owner: place[self.owner],
            "exhaustive": exhaustive,
            "roleIds": PART_SET.shown(declared, actual),
        }
        return State(id=f"{place['realmId']}/{place[self.owner]}", outputs=outputs)

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        current = self._current(session, recorded) or {}
        gone = [current[key] for key in recorded.get("roleIds", ()) if key in current]
        for path, roles in self._by_container(recorded, gone).items():
            session.delete(path, roles)

    def _no_owner(self, props: Props) -> LabError:
        return LabError(
            f"there is no {self.kind_name} {props[self.owner]!r} in realm {props['realmId']!r}",
            value=props[self.owner],
            next_command="pulumi refresh",
        )


def _mapping_fields(owner: str) -> tuple[Field, ...]:
    return (
        REALM,
        Field(name=owner, required=True, key=True, replace=True),
        Field(name="roleIds", kind=PART_SET, required=True),
        Field(name="exhaustive", kind=BOOL, default=True),
    )


class GroupRoles(RoleMappings):
    """Roles of a group."""

    token = "keycloak:index/groupRoles:GroupRoles"
    owner, collection, kind_name = "groupId", "groups", "group"
    fields = _mapping_fields("groupId")


class UserRoles(RoleMappings):
    """Roles of a user."""

    token = "keycloak:index/userRoles:UserRoles"
    owner, collection, kind_name = "userId", "users", "user"
    fields = _mapping_fields("userId")


class ServiceAccountRealmRole(ResourceType[Admin]):
    """One realm role of a service account. Every field is part of what it is: nothing changes in place."""

    token = "keycloak:openid/clientServiceAccountRealmRole:ClientServiceAccountRealmRole"
    fields: ClassVar[tuple[Field, ...]] = (
        REALM,
        Field(name="serviceAccountUserId", required=True, key=True, replace=True),
        Field(name="role", required=True, key=True, replace=True),
    )

    def _place(self, props: Props) -> str:
        return "realm"

    def _mappings(self, props: Props) -> str:
        owner = path_of("realms", props["realmId"], "users", props["serviceAccountUserId"])
        return f"{owner}/role-mappings/{self._place(props)}"

    def create(self, session: Admin, inputs: Props) -> State:
        role = session.get(f"{_roles(inputs)}/{path_of(inputs['role'])}")
        if role is None:
            raise LabError(
                f"there is no role {inputs['role']!r} to give to the service account",
                value=inputs["role"],
                permitted="a role of the realm, or of the client when clientId is given",
            )
        session.post(self._mappings(inputs), [role])
        return self._state(role, inputs)

    def _state(self, role: Rep, props: Props) -> State:
        outputs = {f.name: props[f.name] for f in self.fields}
        return State(id=f"{props['serviceAccountUserId']}/{role['id']}", outputs=outputs)

    def read(self, session: Admin, ident: str, inputs: Props, recorded: Props) -> State | None:
        props = {**recorded, **inputs}
        if not props:
            raise LabError(
                f"{self.token} can't be imported", value=ident, permitted="declaring it: it is adopted"
            )
        given = session.get(self._mappings(props)) or []
        role = next((role for role in given if role["name"] == props["role"]), None)
        return None if role is None else self._state(role, props)

    def update(self, session: Admin, update: Update) -> State:
        return self.create(session, update.declared)

    def delete(self, session: Admin, ident: str, recorded: Props) -> None:
        given = session.get(self._mappings(recorded)) or []
        if gone := [role for role in given if role["name"] == recorded["role"]]:
            session.delete(self._mappings(recorded), gone)


class ServiceAccountRole(ServiceAccountRealmRole):
    """One role of a client, given to a service account; ``clientId`` is the role's client."""

    token = "keycloak:openid/clientServiceAccountRole:ClientServiceAccountRole"
    fields: ClassVar[tuple[Field, ...]] = (
        *ServiceAccountRealmRole.fields,
        Field(name="clientId", required=True, key=True, replace=True),
    )

    def _place(self, props: Props) -> str:
        return path_of("clients", props["clientId"])
