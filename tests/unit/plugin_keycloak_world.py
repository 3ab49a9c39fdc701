"""The Keycloak provider behind the gRPC service, over Keycloak in memory with a realm to refer to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from plugins.keycloak.api import Admin
from plugins.keycloak.provider import KeycloakProvider
from plugins.values import Props
from tests.unit.plugin_engine import MiniEngine, engine_for
from tests.unit.plugin_keycloak_fake import FakeKeycloak

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


def client_inputs(**more: Any) -> Props:
    """A client's declaration."""
    return {
        "realmId": "r",
        "clientId": "c",
        "accessType": "CONFIDENTIAL",
        "standardFlowEnabled": True,
        "standardTokenExchangeEnabled": True,
        "validRedirectUris": ["https://b/*", "https://a/*"],
        "extraConfig": {"x": "1"},
        **more,
    }


def user_inputs(**more: Any) -> Props:
    """A user's declaration."""
    return {
        "realmId": "r",
        "username": "ada",
        "email": "ada@x.example",
        "attributes": {"region": "EMEA##AMER"},
        "initialPassword": {"value": "Secret-1", "temporary": False},
        **more,
    }
