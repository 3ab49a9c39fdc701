"""Every Keycloak resource type through the gRPC service, against Keycloak in memory."""

from __future__ import annotations

import pytest

from plugins.keycloak.provider import TYPES
from plugins.values import UNKNOWN
from tests.unit import plugin_keycloak_world
from tests.unit.plugin_engine import MiniEngine, engine_for
from tests.unit.plugin_keycloak_cases import CASES, EDITABLE, Case
from tests.unit.plugin_keycloak_fake import FakeKeycloak, FakeRealm
from tests.unit.plugin_keycloak_world import REALM, Provider, World

server = plugin_keycloak_world.server
engine = plugin_keycloak_world.engine
world = plugin_keycloak_world.world


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
