"""Every Keycloak resource type through the gRPC service, against Keycloak in memory."""

# ruff: noqa: ARG005 (declarations and edits are called alike, whether or not they need every argument)

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2 as pb

from contracts.errors import LabError
from plugins.keycloak.api import Admin
from plugins.keycloak.provider import TYPES, KeycloakProvider
from plugins.values import UNKNOWN, Props, decode, encode
from tests.unit.plugin_engine import MiniEngine, engine_for
from tests.unit.plugin_keycloak_fake import FakeKeycloak, FakeRealm

INDEX, OPENID = "keycloak:index/", "keycloak:openid/"
REALM, CLIENT = f"{INDEX}realm:Realm", f"{OPENID}client:Client"
SCOPE, GROUP = f"{OPENID}clientScope:ClientScope", f"{INDEX}group:Group"
ROLE, USER = f"{INDEX}role:Role", f"{INDEX}user:User"


class Provider(KeycloakProvider):
    """The provider over a fake server."""

    def __init__(self, server: FakeKeycloak) -> None:
        super().__init__()
        self._server = server

    def connect(self, config: Props) -> Admin:
        return self._server


@pytest.fixture
def server() -> FakeKeycloak:
    return FakeKeycloak()


@pytest.fixture
def engine(server: FakeKeycloak) -> Iterator[MiniEngine]:
    with engine_for(Provider(server)) as engine:
        engine.configure(secrets=("clientSecret",), url="http://127.0.0.1:1", clientSecret="s")
        yield engine


@dataclass(frozen=True, kw_only=True)
class World:
    """Ids of what a resource under test refers to."""

    client: str
    catalog: str
    account: str
    scope: str
    group: str
    user: str
    role: str
    client_role: str


@pytest.fixture
def world(engine: MiniEngine, server: FakeKeycloak) -> World:
    engine.up(REALM, "realm", {"realm": "r"})
    engine.up(
        CLIENT,
        "w-client",
        {"realmId": "r", "clientId": "w", "accessType": "CONFIDENTIAL", "serviceAccountsEnabled": True},
    )
    engine.up(CLIENT, "w-catalog", {"realmId": "r", "clientId": "cat", "accessType": "BEARER-ONLY"})
    engine.up(SCOPE, "w-scope", {"realmId": "r", "name": "w-scope"})
    engine.up(GROUP, "w-group", {"realmId": "r", "name": "w-group"})
    engine.up(USER, "w-user", {"realmId": "r", "username": "w-user"})
    engine.up(ROLE, "w-role", {"realmId": "r", "name": "w-role"})
    catalog = engine.state["w-catalog"].id
    engine.up(ROLE, "w-client-role", {"realmId": "r", "clientId": catalog, "name": "reader"})
    held = engine.state
    return World(
        client=held["w-client"].id,
        catalog=catalog,
        account=held["w-client"].outputs["serviceAccountUserId"],
        scope=held["w-scope"].id,
        group=held["w-group"].id,
        user=held["w-user"].id,
        role=held["w-role"].id,
        client_role=held["w-client-role"].id,
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


def _client(**more: Any) -> Callable[[World], Props]:
    return lambda world: {
        "realmId": "r",
        "clientId": "c",
        "accessType": "CONFIDENTIAL",
        "standardFlowEnabled": True,
        "standardTokenExchangeEnabled": True,
        "validRedirectUris": ["https://b/*", "https://a/*"],
        "extraConfig": {"x": "1"},
        **more,
    }


def _user(**more: Any) -> Callable[[World], Props]:
    return lambda world: {
        "realmId": "r",
        "username": "ada",
        "email": "ada@x.example",
        "attributes": {"region": "EMEA##AMER"},
        "initialPassword": {"value": "Secret-1", "temporary": False},
        **more,
    }


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
        inputs=_client(),
        changed=_client(description="changed", extraConfig={"y": "2"}),
        replaced=lambda world: {**_client()(world), "import": True},
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
        inputs=_user(),
        changed=_user(email="new@x.example", attributes={"region": "APAC"}),
        replaced=_user(username="bea"),
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


def _ids(cases: list[Case]) -> list[str]:
    return [case.name for case in cases]


def _realm_of(server: FakeKeycloak, case: Case) -> FakeRealm:
    return server.realms["r2" if case.token == REALM else "r"]


def test_every_type_has_a_case() -> None:
    assert {case.token for case in CASES} == {kind.token for kind in TYPES}


@pytest.mark.parametrize("case", CASES, ids=_ids(CASES))
def test_up_again_changes_nothing(case: Case, engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    assert engine.up(case.token, "it", case.inputs(world)) == "create"
    server.writes.clear()
    assert engine.up(case.token, "it", case.inputs(world)) == "same"
    assert engine.refresh("it") == "same"
    assert engine.up(case.token, "it", case.inputs(world)) == "same"
    assert server.writes == []


@pytest.mark.parametrize("case", CASES, ids=_ids(CASES))
def test_lost_state_is_adopted_without_a_write(
    case: Case, engine: MiniEngine, server: FakeKeycloak, world: World
) -> None:
    engine.up(case.token, "it", case.inputs(world))
    before = engine.state.pop("it")
    server.writes.clear()
    assert engine.up(case.token, "it", case.inputs(world)) == "create"
    after = engine.state["it"]
    assert (after.id, after.outputs) == (before.id, before.outputs)
    # Giving a role is one idempotent request; everything else is found as it should be.
    assert all("role-mappings" in write for write in server.writes), server.writes


@pytest.mark.parametrize("case", EDITABLE, ids=_ids(EDITABLE))
def test_drift_is_shown_by_refresh_and_ended_by_up(
    case: Case, engine: MiniEngine, server: FakeKeycloak, world: World
) -> None:
    engine.up(case.token, "it", case.inputs(world))
    case.edit(_realm_of(server, case), engine.state["it"].id, world)
    assert engine.refresh("it") == "drift"
    edited = engine.state["it"].outputs
    assert engine.up(case.token, "it", case.inputs(world)) == ("same" if case.edit_survives_up else "update")
    survived = engine.state["it"].outputs == edited
    assert survived is case.edit_survives_up
    assert engine.refresh("it") == "same"


@pytest.mark.parametrize("case", [c for c in CASES if c.changed], ids=_ids([c for c in CASES if c.changed]))
def test_change_in_place(case: Case, engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    assert case.changed is not None
    engine.up(case.token, "it", case.inputs(world))
    ident = engine.state["it"].id
    assert engine.up(case.token, "it", case.changed(world)) == "update"
    assert engine.state["it"].id == ident
    assert engine.refresh("it") == "same"
    assert engine.up(case.token, "it", case.changed(world)) == "same"
    outputs = engine.state["it"].outputs
    for name, value in case.changed(world).items():
        assert outputs.get(name) in (value, {}, [], None) or name in ("attributes", "initialPassword"), name


@pytest.mark.parametrize("case", [c for c in CASES if c.replaced], ids=_ids([c for c in CASES if c.replaced]))
def test_replace(case: Case, engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    assert case.replaced is not None
    engine.up(case.token, "it", case.inputs(world))
    assert engine.up(case.token, "it", case.replaced(world)) == "replace"
    assert engine.refresh("it") == "same"


@pytest.mark.parametrize("case", [c for c in CASES if c.vanish], ids=_ids([c for c in CASES if c.vanish]))
def test_what_vanished_is_gone_and_made_again(
    case: Case, engine: MiniEngine, server: FakeKeycloak, world: World
) -> None:
    assert case.vanish is not None
    engine.up(case.token, "it", case.inputs(world))
    case.vanish(_realm_of(server, case), engine.state["it"].id, world)
    held = engine.state["it"]
    assert engine.refresh("it") == "gone"
    assert engine.up(case.token, "it", case.inputs(world)) == "create"
    engine.state["it"] = held
    engine.destroy("it")


@pytest.mark.parametrize("case", CASES, ids=_ids(CASES))
def test_delete_then_delete_again(case: Case, server: FakeKeycloak, engine: MiniEngine, world: World) -> None:
    engine.up(case.token, "it", case.inputs(world))
    held = engine.state["it"]
    # A process of its own: what this run made it keeps.
    with engine_for(Provider(server)) as later:
        for _ in range(2):
            later.state["it"] = held
            later.destroy("it")
        later.state["it"] = held
        settled = case.name in (
            "RealmEvents",
            "RealmUserProfile",
            "ClientDefaultScopes",
            "ClientOptionalScopes",
            "GroupRoles",
            "UserRoles",
            "UserGroups",
            "GroupMemberships",
        )
        assert later.refresh("it") == ("drift" if settled else "gone")


@pytest.mark.parametrize("case", CASES, ids=_ids(CASES))
def test_preview_with_unknowns_asks_nothing(
    case: Case, engine: MiniEngine, server: FakeKeycloak, world: World
) -> None:
    inputs = {
        name: UNKNOWN
        if (name.endswith("Id") and name != "clientId") or name in ("roleIds", "groupIds")
        else value
        for name, value in case.inputs(world).items()
    }
    server.reads = 0
    server.writes.clear()
    outputs = engine.preview(case.token, "new", inputs)
    assert all(outputs[name] is UNKNOWN for name, value in inputs.items() if value is UNKNOWN)
    assert (server.reads, server.writes) == (0, [])


# Secrets


def test_client_secret_is_secret_given_or_generated(engine: MiniEngine, world: World) -> None:
    engine.up(CLIENT, "given", _client(clientId="g", clientSecret="shh")(world), secrets=("clientSecret",))
    engine.up(CLIENT, "made", _client(clientId="m")(world))
    assert engine.state["given"].outputs["clientSecret"] == "shh"
    assert len(engine.state["made"].outputs["clientSecret"]) == 32
    for name in ("given", "made"):
        assert "clientSecret" in engine.state[name].secrets
        engine.refresh(name)
        assert "clientSecret" in engine.state[name].secrets


def test_any_secret_input_leaves_as_a_secret(engine: MiniEngine, world: World) -> None:
    engine.up(GROUP, "it", {"realmId": "r", "name": "g", "attributes": {"k": "v"}}, secrets=("attributes",))
    assert engine.state["it"].secrets == {"attributes"}
    engine.refresh("it")
    assert engine.state["it"].secrets == {"attributes"}


def test_initial_password_is_secret_and_set_once(
    engine: MiniEngine, server: FakeKeycloak, world: World
) -> None:
    engine.up(USER, "it", _user()(world))
    held = engine.state["it"]
    passwords = server.realms["r"].passwords
    assert passwords[held.id] == "Secret-1"
    assert "initialPassword" in held.secrets
    passwords[held.id] = "changed by the user"
    assert engine.up(USER, "it", _user(initialPassword={"value": "Other-2"})(world)) == "same"
    engine.state.pop("it")
    engine.up(USER, "it", _user()(world))
    assert passwords[held.id] == "changed by the user"


# Edits that people make


def test_adopted_user_keeps_every_edit(engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    engine.up(USER, "it", _user()(world))
    held = engine.state.pop("it")
    edited = {"email": "mine@x.example", "enabled": False, "attributes": {"badge": ["7"]}}
    server.realms["r"].users[held.id].update(edited)
    server.writes.clear()
    assert engine.up(USER, "it", _user()(world)) == "create"
    assert engine.up(USER, "it", _user()(world)) == "same"
    assert server.writes == []
    assert engine.state["it"].outputs["email"] == "mine@x.example"
    # A changed declaration touches what it changes and nothing else.
    assert engine.up(USER, "it", _user(firstName="Ada")(world)) == "update"
    user = server.realms["r"].users[held.id]
    assert (user["firstName"], user["email"], user["enabled"]) == ("Ada", "mine@x.example", False)
    assert user["attributes"] == {"badge": ["7"]}


@pytest.mark.parametrize("kind", ["userGroups:UserGroups", "groupMemberships:GroupMemberships"])
def test_a_membership_that_a_person_ended_is_not_made_again(
    kind: str, engine: MiniEngine, server: FakeKeycloak, world: World
) -> None:
    token = f"{INDEX}{kind}"
    by_user = {"realmId": "r", "userId": world.user, "groupIds": [world.group]}
    by_group = {"realmId": "r", "groupId": world.group, "members": ["w-user"]}
    inputs = by_user if kind.startswith("user") else by_group
    memberships = server.realms["r"].memberships
    engine.up(token, "it", inputs)
    assert memberships == {(world.user, world.group)}
    engine.state.pop("it")
    memberships.clear()
    engine.up(token, "it", inputs)
    assert memberships == set()
    # Declared anew after it was dropped, it is made again.
    empty = {**inputs, ("groupIds" if kind.startswith("user") else "members"): []}
    assert engine.up(token, "it", empty) == "update"
    assert engine.up(token, "it", inputs) == "update"
    assert memberships == {(world.user, world.group)}
    engine.refresh("w-group")
    assert engine.state["w-group"].outputs["attributes"] == {}


def test_undeclared_attributes_are_kept(engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    inputs = {"realmId": "r", "name": "g", "attributes": {"a": "1"}}
    engine.up(GROUP, "it", inputs)
    server.realms["r"].groups[engine.state["it"].id]["attributes"]["theirs"] = ["x"]
    assert engine.refresh("it") == "drift"
    assert engine.up(GROUP, "it", {**inputs, "attributes": {"b": "2"}}) == "update"
    attributes = server.realms["r"].groups[engine.state["it"].id]["attributes"]
    assert attributes == {"b": ["2"], "theirs": ["x"]}


def test_roles_that_others_gave_are_kept(engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    token = f"{INDEX}groupRoles:GroupRoles"
    inputs = {"realmId": "r", "groupId": world.group, "roleIds": [world.role]}
    engine.up(token, "it", inputs)
    server.realms["r"].given[world.group].add(world.client_role)
    engine.refresh("it")
    assert engine.up(token, "it", inputs) == "same"
    assert server.realms["r"].given[world.group] == {world.role, world.client_role}


def test_a_renamed_declaration_keeps_the_resource(
    engine: MiniEngine, server: FakeKeycloak, world: World
) -> None:
    inputs = {"realmId": "r", "name": "g"}
    engine.up(GROUP, "old", inputs)
    ident = engine.state["old"].id
    with engine_for(Provider(server)) as later:
        later.state["old"] = engine.state["old"]
        later.up(GROUP, "new", inputs)
        later.destroy("old")
        assert later.state["new"].id == ident
        assert later.refresh("new") == "same"


# Refusals


@pytest.mark.parametrize(
    ("token", "inputs", "failing", "said"),
    [
        (REALM, {"sslRequired": "never"}, "sslRequired", "external"),
        (REALM, {"accessTokenLifespan": "5 minutes"}, "accessTokenLifespan", "1h30m"),
        (
            REALM,
            {"duplicateEmailsAllowed": True, "loginWithEmailAllowed": True},
            "duplicateEmailsAllowed",
            "",
        ),
        (CLIENT, {"realmId": "r"}, "accessType", "required"),
        (CLIENT, {"realmId": "r", "accessType": "SECRET"}, "accessType", "CONFIDENTIAL"),
        (
            CLIENT,
            {"realmId": "r", "accessType": "PUBLIC", "standardFlowEnabled": True},
            "validRedirectUris",
            "",
        ),
        (
            CLIENT,
            {"realmId": "r", "accessType": "BEARER-ONLY", "serviceAccountsEnabled": True},
            "accessType",
            "BEARER-ONLY",
        ),
        (CLIENT, {"realmId": "r", "accessType": "PUBLIC", "authorization": {}}, "authorization", "permitted"),
        (USER, {"realmId": "r", "username": "Ada"}, "username", "lower case"),
        (USER, {"realmId": "r", "username": "ada", "enabled": 3}, "enabled", "true or false"),
        (f"{OPENID}subProtocolMapper:SubProtocolMapper", {"realmId": "r"}, "clientId", "clientScopeId"),
    ],
)
def test_check_says_what_is_wrong(
    token: str, inputs: Props, failing: str, said: str, engine: MiniEngine
) -> None:
    failures = {failure.property: failure.reason for failure in engine.check(token, "it", inputs).failures}
    assert list(failures) == [failing]
    assert said in failures[failing]


def test_unknown_type_names_the_nearest(engine: MiniEngine) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        engine.check("keycloak:openid/client:Cliemt", "it", {})
    assert "did you mean 'keycloak:openid/client:Client'" in caught.value.details()


def test_a_stopped_keycloak_is_a_clear_error(engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    server.refuse = LabError("Keycloak does not answer at http://127.0.0.1:1/", next_command="lab status")
    acts: list[Callable[[], str]] = [
        lambda: engine.refresh("w-group"),
        lambda: engine.up(GROUP, "x", {"realmId": "r"}),
    ]
    for act in acts:
        with pytest.raises(grpc.RpcError) as caught:
            act()
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "does not answer" in caught.value.details()
        assert "lab status" in caught.value.details()


def test_protected_realm_is_not_deleted(server: FakeKeycloak, engine: MiniEngine) -> None:
    engine.up(REALM, "it", {"realm": "r", "terraformDeletionProtection": True})
    with engine_for(Provider(server)) as later:
        later.state = engine.state
        with pytest.raises(grpc.RpcError, match="protected from deletion"):
            later.destroy("it")
    assert "r" in server.realms


def test_ignored_properties_do_not_differ(engine: MiniEngine, world: World) -> None:
    engine.up(GROUP, "it", {"realmId": "r", "name": "g", "description": "d", "attributes": {"a": "1"}})
    news = engine.check(
        GROUP, "it", {"realmId": "r", "name": "g", "description": "e", "attributes": {"a": "2"}}
    )
    assert sorted(engine.diff(GROUP, "it", news.inputs).diffs) == ["attributes", "description"]
    assert list(engine.diff(GROUP, "it", news.inputs, ("description",)).diffs) == ["attributes"]
    assert list(engine.diff(GROUP, "it", news.inputs, ("description", "attributes.a")).diffs) == []


@pytest.mark.parametrize(
    ("token", "ident"),
    [
        (REALM, "{realm}"),
        (CLIENT, "r/{client}"),
        (GROUP, "r/{group}"),
        (ROLE, "r/{role}"),
        (USER, "r/w-user"),
        (SCOPE, "r/{scope}"),
    ],
)
def test_import_by_the_official_forms(token: str, ident: str, engine: MiniEngine, world: World) -> None:
    given = ident.format(
        realm="r", client=world.client, group=world.group, role=world.role, scope=world.scope
    )
    reply = engine.read(token, "it", given)
    inputs, _ = decode(reply.inputs)
    outputs, secrets = decode(reply.properties)
    engine.state["it"] = next(held for held in engine.state.values() if held.id == reply.id)
    assert reply.id
    assert engine.up(token, "it", inputs) == "same"
    assert token != CLIENT or ("clientSecret" in secrets and outputs["clientSecret"])


def test_a_client_is_looked_up_with_its_secret_hidden(engine: MiniEngine, world: World) -> None:
    token = "keycloak:openid/getClient:getClient"
    request = pb.InvokeRequest(tok=token, args=encode({"realmId": "r", "clientId": "w"}))
    answer, secrets = decode(getattr(engine.stub.Invoke(request), "return"))
    assert (answer["id"], answer["accessType"]) == (world.client, "CONFIDENTIAL")
    assert answer["serviceAccountUserId"] == world.account
    assert secrets == {"clientSecret"}
    missing = pb.InvokeRequest(tok=token, args=encode({"realmId": "r", "clientId": "nobody"}))
    with pytest.raises(grpc.RpcError, match="has no client 'nobody'"):
        engine.stub.Invoke(missing)
