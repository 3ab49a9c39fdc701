"""What single Keycloak types do with secrets, with what people edit, and with what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2 as pb

from contracts.errors import LabError
from plugins.values import Props, decode, encode
from tests.unit import plugin_keycloak_world
from tests.unit.plugin_engine import MiniEngine, engine_for
from tests.unit.plugin_keycloak_fake import FakeKeycloak
from tests.unit.plugin_keycloak_world import (
    CLIENT,
    GROUP,
    INDEX,
    OPENID,
    REALM,
    ROLE,
    SCOPE,
    USER,
    Provider,
    World,
    client_inputs,
    user_inputs,
)

server = plugin_keycloak_world.server
engine = plugin_keycloak_world.engine
world = plugin_keycloak_world.world


# Secrets


def test_client_secret_is_secret_given_or_generated(engine: MiniEngine, world: World) -> None:
    engine.up(CLIENT, "given", client_inputs(clientId="g", clientSecret="shh"), secrets=("clientSecret",))
    engine.up(CLIENT, "made", client_inputs(clientId="m"))
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
    engine.up(USER, "it", user_inputs())
    held = engine.state["it"]
    passwords = server.realms["r"].passwords
    assert passwords[held.id] == "Secret-1"
    assert "initialPassword" in held.secrets
    passwords[held.id] = "changed by the user"
    assert engine.up(USER, "it", user_inputs(initialPassword={"value": "Other-2"})) == "same"
    engine.state.pop("it")
    engine.up(USER, "it", user_inputs())
    assert passwords[held.id] == "changed by the user"


# Edits that people make


def test_adopted_user_keeps_every_edit(engine: MiniEngine, server: FakeKeycloak, world: World) -> None:
    engine.up(USER, "it", user_inputs())
    held = engine.state.pop("it")
    edited = {"email": "mine@x.example", "enabled": False, "attributes": {"badge": ["7"]}}
    server.realms["r"].users[held.id].update(edited)
    server.writes.clear()
    assert engine.up(USER, "it", user_inputs()) == "create"
    assert engine.up(USER, "it", user_inputs()) == "same"
    assert server.writes == []
    assert engine.state["it"].outputs["email"] == "mine@x.example"
    # A changed declaration touches what it changes and nothing else.
    assert engine.up(USER, "it", user_inputs(firstName="Ada")) == "update"
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
