"""The Keycloak provider: its configuration and the types it serves."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from typing import Any

from contracts.errors import LabError
from plugins.base import Provider
from plugins.keycloak.api import Admin, Connection, KeycloakAdminApi
from plugins.keycloak.clients import Client, ClientScope, get_client
from plugins.keycloak.mappers import MAPPERS
from plugins.keycloak.people import Group, GroupMemberships, User, UserGroups
from plugins.keycloak.realm import Realm, RealmEvents, RealmUserProfile
from plugins.keycloak.roles import GroupRoles, Role, ServiceAccountRealmRole, ServiceAccountRole, UserRoles
from plugins.keycloak.scopes import ClientDefaultScopes, ClientOptionalScopes
from plugins.kinds import BOOL, INT, TEXT, TEXT_MAP
from plugins.resource import Field, ResourceType
from plugins.values import Props, Unknown

TYPES: tuple[type[ResourceType[Admin]], ...] = (
    Realm,
    RealmEvents,
    RealmUserProfile,
    Client,
    ClientScope,
    ClientDefaultScopes,
    ClientOptionalScopes,
    Role,
    GroupRoles,
    UserRoles,
    ServiceAccountRole,
    ServiceAccountRealmRole,
    Group,
    GroupMemberships,
    User,
    UserGroups,
    *MAPPERS,
)

_ENVIRONMENT = {
    "url": "KEYCLOAK_URL",
    "clientId": "KEYCLOAK_CLIENT_ID",
    "clientSecret": "KEYCLOAK_CLIENT_SECRET",
    "username": "KEYCLOAK_USER",
    "password": "KEYCLOAK_PASSWORD",
    "accessToken": "KEYCLOAK_ACCESS_TOKEN",
    "realm": "KEYCLOAK_REALM",
    "basePath": "KEYCLOAK_BASE_PATH",
    "clientTimeout": "KEYCLOAK_CLIENT_TIMEOUT",
}
"""The environment variables of the official provider, for what is not configured."""


class KeycloakProvider(Provider[Admin]):
    """Signs in at the first operation, not when it is configured: Keycloak may come up later."""

    name = "keycloak"
    config_fields = (
        Field(name="url"),
        Field(name="basePath"),
        Field(name="realm"),
        Field(name="clientId"),
        Field(name="clientSecret", secret=True),
        Field(name="username"),
        Field(name="password", secret=True),
        Field(name="accessToken", secret=True),
        Field(name="rootCaCertificate"),
        Field(name="tlsInsecureSkipVerify", kind=BOOL),
        Field(name="initialLogin", kind=BOOL),
        Field(name="clientTimeout", kind=INT),
        Field(name="additionalHeaders", kind=TEXT_MAP),
        Field(name="redHatSso", kind=BOOL),
        Field(name="keycloakVersion"),
    )

    functions = {"keycloak:openid/getClient:getClient": get_client}  # noqa: RUF012 (never changed)

    def __init__(self) -> None:
        super().__init__(version("pulumi_keycloak"), [kind() for kind in TYPES])

    def check_config(self, config: Props) -> tuple[Props, dict[str, str]]:
        known = {f.name: f for f in self.config_fields}
        checked: Props = {}
        failures: dict[str, str] = {}
        for name, value in config.items():
            if name in ("version", "pluginDownloadURL", "__internal"):
                continue
            if name not in known:
                failures[name] = f"not served by this plugin; permitted: {', '.join(known)}"
                continue
            try:
                checked[name] = (
                    value
                    if isinstance(value, Unknown)
                    else known[name].kind.check(_plain(known[name], value))
                )
            except ValueError as problem:
                failures[name] = f"permitted: {problem}"
        return checked, failures

    def connect(self, config: Props) -> Admin:
        def given(name: str) -> Any:
            return config.get(name) or os.environ.get(_ENVIRONMENT.get(name, "")) or None

        url = given("url")
        if url is None:
            raise LabError(
                "the Keycloak provider does not know where Keycloak is",
                permitted="url in the provider's arguments, config keycloak:url, or KEYCLOAK_URL",
            )
        if not (given("clientSecret") or (given("username") and given("password")) or given("accessToken")):
            raise LabError(
                "the Keycloak provider has nothing to sign in with",
                permitted="clientId with clientSecret, username with password, or accessToken",
            )
        return KeycloakAdminApi(
            Connection(
                url=url,
                base_path=given("basePath") or "",
                realm=given("realm") or "master",
                client_id=given("clientId") or "admin-cli",
                client_secret=given("clientSecret"),
                username=given("username"),
                password=given("password"),
                access_token=given("accessToken"),
                root_ca_certificate=given("rootCaCertificate"),
                tls_insecure_skip_verify=bool(config.get("tlsInsecureSkipVerify")),
                timeout_s=int(given("clientTimeout") or 5),
                headers=tuple(sorted((config.get("additionalHeaders") or {}).items())),
            )
        )


def _plain(f: Field, value: Any) -> Any:
    """A configuration value out of the JSON text in which the SDK sends what is not a text."""
    if f.kind is TEXT or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
