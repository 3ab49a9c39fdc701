"""For every type of the Keycloak provider a declaration, changes of it, and edits people make."""

# ruff: noqa: ARG005 (declarations and edits are called alike, whether or not they need every argument)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from plugins.values import Props
from tests.unit.plugin_keycloak_fake import FakeRealm
from tests.unit.plugin_keycloak_world import (
    CLIENT,
    GROUP,
    INDEX,
    OPENID,
    REALM,
    ROLE,
    SCOPE,
    USER,
    World,
    client_inputs,
    user_inputs,
)

Edit = Callable[[FakeRealm, str, World], None]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A declaration of one type, a change of it in place, and an edit a person makes on the server."""

    token: str
    inputs: Callable[[World], Props]
    changed: Callable[[World], Props] | None
    edit: Edit
    replaced: Callable[[World], Props] | None = None
    edit_survives_up: bool = False
    vanish: Edit | None = None

    @property
    def name(self) -> str:
        return self.token.rsplit(":", 1)[-1]


def _mapper(kind: str, extra: Props, change: Props, key: str) -> Case:
    def inputs(world: World) -> Props:
        return {"realmId": "r", "clientId": world.client, "name": "m", **extra}

    def edit(realm: FakeRealm, ident: str, world: World) -> None:
        realm.mappers[world.client][ident]["config"][key] = "edited"

    return Case(
        token=f"{OPENID}{kind[0].lower()}{kind[1:]}:{kind}",
        inputs=inputs,
        changed=(lambda world: {**inputs(world), **change}) if change else None,
        replaced=lambda world: {"realmId": "r", "clientScopeId": world.scope, "name": "m", **extra},
        edit=edit,
        vanish=lambda realm, ident, world: realm.mappers[world.client].clear(),
    )


def _set(collection: str, key: str, value: Any) -> Edit:
    return lambda realm, ident, world: getattr(realm, collection)[ident].__setitem__(key, value)


def _drop(collection: str) -> Edit:
    return lambda realm, ident, world: getattr(realm, collection).pop(ident)


def _take_role(owner: str) -> Edit:
    return lambda realm, ident, world: realm.given[getattr(world, owner)].clear()


def _edit_scopes(realm: FakeRealm, ident: str, world: World) -> None:
    realm.attached[world.client, "default-client-scopes"].clear()


def _edit_optional(realm: FakeRealm, ident: str, world: World) -> None:
    realm.attached[world.client, "optional-client-scopes"].clear()


CASES = [
    Case(
        token=REALM,
        inputs=lambda world: {
            "realm": "r2",
            "displayName": "One",
            "accessTokenLifespan": "5m",
            "attributes": {"a": "1"},
            "securityDefenses": {"bruteForceDetection": {"maxLoginFailures": 7}},
            "internationalization": {"defaultLocale": "en", "supportedLocales": ["en", "de"]},
        },
        changed=lambda world: {"realm": "r2", "displayName": "Two", "accessTokenLifespan": "300s"},
        replaced=lambda world: {"realm": "r3"},
        edit=lambda realm, ident, world: realm.rep.update(displayName="Edited"),
    ),
    Case(
        token=f"{INDEX}realmEvents:RealmEvents",
        inputs=lambda world: {"realmId": "r", "eventsEnabled": True, "eventsListeners": ["jboss-logging"]},
        changed=lambda world: {"realmId": "r", "adminEventsEnabled": True},
        edit=lambda realm, ident, world: realm.events.update(eventsEnabled=False),
    ),
    Case(
        token=f"{INDEX}realmUserProfile:RealmUserProfile",
        inputs=lambda world: {
            "realmId": "r",
            "unmanagedAttributePolicy": "ADMIN_EDIT",
            "attributes": [
                {
                    "name": "region",
                    "permissions": {"views": ["user", "admin"], "edits": ["admin"]},
                    "validators": [{"name": "options", "config": {"options": '["EMEA", "AMER"]'}}],
                }
            ],
        },
        changed=lambda world: {"realmId": "r", "unmanagedAttributePolicy": "ENABLED"},
        edit=lambda realm, ident, world: realm.profile.pop("unmanagedAttributePolicy"),
    ),
    Case(
        token=CLIENT,
        inputs=lambda world: client_inputs(),
        changed=lambda world: client_inputs(description="changed", extraConfig={"y": "2"}),
        replaced=lambda world: client_inputs(**{"import": True}),
        edit=_set("clients", "standardFlowEnabled", False),
        vanish=_drop("clients"),
    ),
    Case(
        token=SCOPE,
        inputs=lambda world: {"realmId": "r", "name": "s", "description": "d", "guiOrder": 3},
        changed=lambda world: {"realmId": "r", "name": "s", "includeInTokenScope": False},
        edit=_set("scopes", "description", "edited"),
        vanish=_drop("scopes"),
    ),
    Case(
        token=f"{OPENID}clientDefaultScopes:ClientDefaultScopes",
        inputs=lambda world: {
            "realmId": "r",
            "clientId": world.client,
            "defaultScopes": ["profile", "offline_access", "basic"],
        },
        changed=lambda world: {"realmId": "r", "clientId": world.client, "defaultScopes": ["email"]},
        replaced=lambda world: {"realmId": "r", "clientId": world.catalog, "defaultScopes": ["email"]},
        edit=_edit_scopes,
    ),
    Case(
        token=f"{OPENID}clientOptionalScopes:ClientOptionalScopes",
        inputs=lambda world: {
            "realmId": "r",
            "clientId": world.client,
            "optionalScopes": ["w-scope", "profile"],
        },
        changed=lambda world: {"realmId": "r", "clientId": world.client, "optionalScopes": ["phone"]},
        edit=_edit_optional,
    ),
    Case(
        token=ROLE,
        inputs=lambda world: {
            "realmId": "r",
            "name": "op",
            "description": "d",
            "attributes": {"tier": "1##2"},
            "compositeRoles": [world.role, world.client_role],
        },
        changed=lambda world: {"realmId": "r", "name": "op2", "compositeRoles": [world.role]},
        replaced=lambda world: {"realmId": "r", "clientId": world.catalog, "name": "op"},
        edit=_set("roles", "description", "edited"),
        vanish=_drop("roles"),
    ),
    Case(
        token=GROUP,
        inputs=lambda world: {"realmId": "r", "name": "g", "description": "d", "attributes": {"a": "1"}},
        changed=lambda world: {"realmId": "r", "name": "g2", "attributes": {"b": "2"}},
        replaced=lambda world: {"realmId": "r", "name": "g", "parentId": world.group},
        edit=_set("groups", "description", "edited"),
        vanish=_drop("groups"),
    ),
    Case(
        token=f"{INDEX}groupRoles:GroupRoles",
        inputs=lambda world: {
            "realmId": "r",
            "groupId": world.group,
            "roleIds": [world.role, world.client_role],
        },
        changed=lambda world: {"realmId": "r", "groupId": world.group, "roleIds": [world.client_role]},
        edit=_take_role("group"),
    ),
    Case(
        token=f"{INDEX}userRoles:UserRoles",
        inputs=lambda world: {"realmId": "r", "userId": world.user, "roleIds": [world.role]},
        changed=lambda world: {"realmId": "r", "userId": world.user, "roleIds": [world.client_role]},
        edit=_take_role("user"),
    ),
    Case(
        token=f"{OPENID}clientServiceAccountRole:ClientServiceAccountRole",
        inputs=lambda world: {
            "realmId": "r",
            "serviceAccountUserId": world.account,
            "clientId": world.catalog,
            "role": "reader",
        },
        changed=None,
        edit=lambda realm, ident, world: None,
        vanish=_take_role("account"),
    ),
    Case(
        token=f"{OPENID}clientServiceAccountRealmRole:ClientServiceAccountRealmRole",
        inputs=lambda world: {"realmId": "r", "serviceAccountUserId": world.account, "role": "w-role"},
        changed=None,
        edit=lambda realm, ident, world: None,
        vanish=_take_role("account"),
    ),
    Case(
        token=USER,
        inputs=lambda world: user_inputs(),
        changed=lambda world: user_inputs(email="new@x.example", attributes={"region": "APAC"}),
        replaced=lambda world: user_inputs(username="bea"),
        edit=_set("users", "email", "edited@x.example"),
        edit_survives_up=True,
        vanish=_drop("users"),
    ),
    Case(
        token=f"{INDEX}userGroups:UserGroups",
        inputs=lambda world: {"realmId": "r", "userId": world.user, "groupIds": [world.group]},
        changed=lambda world: {"realmId": "r", "userId": world.user, "groupIds": []},
        edit=lambda realm, ident, world: realm.memberships.clear(),
        edit_survives_up=True,
    ),
    Case(
        token=f"{INDEX}groupMemberships:GroupMemberships",
        inputs=lambda world: {"realmId": "r", "groupId": world.group, "members": ["w-user"]},
        changed=lambda world: {"realmId": "r", "groupId": world.group, "members": []},
        edit=lambda realm, ident, world: realm.memberships.clear(),
        edit_survives_up=True,
    ),
    _mapper(
        "AudienceProtocolMapper",
        {"includedCustomAudience": "x"},
        {"addToIdToken": False},
        "included.custom.audience",
    ),
    _mapper("AudienceResolveProtocolMapper", {}, {}, "none"),
    _mapper("FullNameProtocolMapper", {"addToIdToken": True}, {"addToUserinfo": False}, "id.token.claim"),
    _mapper("GroupMembershipProtocolMapper", {"claimName": "g"}, {"fullPath": False}, "claim.name"),
    _mapper(
        "HardcodedClaimProtocolMapper",
        {"claimName": "c", "claimValue": "v"},
        {"claimValueType": "JSON"},
        "claim.value",
    ),
    _mapper(
        "UserAttributeProtocolMapper",
        {"claimName": "c", "userAttribute": "a"},
        {"multivalued": True},
        "user.attribute",
    ),
    _mapper(
        "UserPropertyProtocolMapper",
        {"claimName": "c", "userProperty": "email"},
        {"claimValueType": "int"},
        "user.attribute",
    ),
    _mapper(
        "UserClientRoleProtocolMapper", {"claimName": "c"}, {"clientRolePrefix": "catalog_"}, "claim.name"
    ),
    _mapper("UserRealmRoleProtocolMapper", {"claimName": "c"}, {"realmRolePrefix": "p"}, "claim.name"),
    _mapper("UserSessionNoteProtocolMapper", {"claimName": "c"}, {"sessionNote": "n"}, "claim.name"),
    _mapper(
        "SubProtocolMapper", {"addToAccessToken": True}, {"addToAccessToken": False}, "access.token.claim"
    ),
]
EDITABLE = [
    c
    for c in CASES
    if c.name
    not in ("AudienceResolveProtocolMapper", "ClientServiceAccountRole", "ClientServiceAccountRealmRole")
]
