"""The realm as ``pulumi_keycloak`` resources, made from ``contracts.identity.RealmModel``.

All of it lies in kept state: it is ``deleted_with`` Keycloak, so that removing the lab's services never
removes a user, and the provider adopts what exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_keycloak as keycloak
from pulumi_keycloak import openid

from components.keycloak.passwords import SamplePasswords
from components.keycloak.properties import ADMIN_CLIENT_ID
from components.service import LabContext, secret
from contracts.identity import (
    CATALOG_ROLE_PREFIX,
    CATALOG_ROLES_CLAIM,
    CATALOG_SERVICE_ROLE,
    GROUPS_CLAIM,
    Audience,
    Client,
)

BUILT_IN_DEFAULT_SCOPES = ("acr", "basic", "email", "profile", "web-origins")
ROLES_SCOPE = "roles"
"""Keycloak's own: its admin API needs it. Nobody else gets it, since it adds the audience of every client
that the user has a role of, and a token for one service must be refused by the others."""
BUILT_IN_OPTIONAL_SCOPES = ("offline_access",)
LAB_SCOPES = ("lab-groups", "lab-catalog-roles")
USER_EDITABLE = [
    "email",
    "emailVerified",
    "enabled",
    "firstName",
    "lastName",
    "attributes",
    "initialPassword",
]


class LabRealm(pulumi.ComponentResource):
    """Realm, scopes, clients, groups and sample users of one lab."""

    def __init__(
        self, context: LabContext, *, service: pulumi.Resource, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("lab:component:realm", "realm", None, opts)
        self._model = context.realm
        self._context = context
        provider = keycloak.Provider(
            "keycloak",
            url=context.placement.operator_url("keycloak", "http"),
            client_id=ADMIN_CLIENT_ID,
            client_secret=secret(context.slot, lambda s: s.secrets.keycloak_admin_client_secret),
            realm="master",
            initial_login=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
        )
        self._opts = pulumi.ResourceOptions(parent=self, provider=provider, deleted_with=service)
        self.realm = keycloak.Realm(
            self._model.realm,
            realm=self._model.realm,
            enabled=True,
            display_name=f"Lakehouse Lab · {self._model.realm}",
            ssl_required="external",
            registration_allowed=False,
            reset_password_allowed=False,
            login_with_email_allowed=True,
            access_token_lifespan=f"{self._model.access_token_lifespan_s}s",
            sso_session_idle_timeout=f"{self._model.sso_session_idle_s}s",
            password_policy="length(12)",
            security_defenses=keycloak.RealmSecurityDefensesArgs(
                brute_force_detection=keycloak.RealmSecurityDefensesBruteForceDetectionArgs(
                    max_login_failures=10, wait_increment_seconds=60, max_failure_wait_seconds=900
                )
            ),
            opts=self._with(ignore_changes=["displayName"]),
        )
        self._profile = self._register_profile()
        self._scopes = self._register_scopes()
        self._clients = {c.client_id: self._register_client(c) for c in self._model.clients}
        self._register_catalog_roles()
        self._register_groups_and_users()
        self.ready = pulumi.Output.all(
            *[c.id for c in self._clients.values()], *[r.id for r in self._roles.values()], *self._bound
        ).apply(lambda _ids: True)
        self.register_outputs({"realm": self.realm.realm})

    def _with(self, **extra: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._opts, pulumi.ResourceOptions(**extra))

    def _register_profile(self) -> keycloak.RealmUserProfile:
        """Keycloak's own profile, but for names of two letters, such as ``hr``. The validators that keep
        ``$`` out of user names stay: ``$row-filter`` must belong to nobody."""
        permissions = keycloak.RealmUserProfileAttributePermissionsArgs(
            views=["admin", "user"], edits=["admin", "user"]
        )

        def attribute(
            name: str, display: str, validators: Mapping[str, Mapping[str, str]]
        ) -> keycloak.RealmUserProfileAttributeArgs:
            return keycloak.RealmUserProfileAttributeArgs(
                name=name,
                display_name="${" + display + "}",
                required_for_roles=None if name == "username" else ["user"],
                permissions=permissions,
                validators=[
                    keycloak.RealmUserProfileAttributeValidatorArgs(name=kind, config=dict(settings))
                    for kind, settings in validators.items()
                ],
            )

        person = {"length": {"max": "255"}, "person-name-prohibited-characters": {}}
        return keycloak.RealmUserProfile(
            "user-profile",
            realm_id=self.realm.id,
            attributes=[
                attribute(
                    "username",
                    "username",
                    {
                        "length": {"min": "2", "max": "255"},
                        "username-prohibited-characters": {},
                        "up-username-not-idn-homograph": {},
                    },
                ),
                attribute("email", "email", {"email": {}, "length": {"max": "255"}}),
                attribute("firstName", "firstName", person),
                attribute("lastName", "lastName", person),
            ],
            unmanaged_attribute_policy="ADMIN_EDIT",
            opts=self._opts,
        )

    def _register_scopes(self) -> Mapping[str, openid.ClientScope]:
        realm_id = self.realm.id
        names = [*LAB_SCOPES, *(audience.value for audience in Audience)]
        scopes = {
            name: openid.ClientScope(
                f"scope-{name}",
                realm_id=realm_id,
                name=name,
                include_in_token_scope=True,
                opts=self._opts,
            )
            for name in names
        }
        openid.GroupMembershipProtocolMapper(
            "mapper-groups",
            realm_id=realm_id,
            client_scope_id=scopes["lab-groups"].id,
            name="groups",
            claim_name=GROUPS_CLAIM,
            full_path=False,
            opts=self._opts,
        )
        openid.UserClientRoleProtocolMapper(
            "mapper-catalog-roles",
            realm_id=realm_id,
            client_scope_id=scopes["lab-catalog-roles"].id,
            name="catalog-roles",
            claim_name=CATALOG_ROLES_CLAIM,
            claim_value_type="String",
            client_id_for_role_mappings="catalog",
            multivalued=True,
            opts=self._opts,
        )
        for audience in Audience:
            openid.AudienceProtocolMapper(
                f"mapper-audience-{audience.value}",
                realm_id=realm_id,
                client_scope_id=scopes[audience.value].id,
                name=f"audience-{audience.value}",
                included_custom_audience=audience.value,
                add_to_id_token=False,
                opts=self._opts,
            )
        return scopes

    def _register_client(self, client: Client) -> openid.Client:
        access_type = "BEARER-ONLY" if client.bearer_only else "PUBLIC" if client.public else "CONFIDENTIAL"
        made = openid.Client(
            f"client-{client.client_id}",
            realm_id=self.realm.id,
            client_id=client.client_id,
            name=client.client_id,
            description=client.description,
            enabled=True,
            access_type=access_type,
            client_secret=(
                self._context.client_secret(client.client_id) if access_type == "CONFIDENTIAL" else None
            ),
            standard_flow_enabled=client.standard_flow,
            direct_access_grants_enabled=client.password_grant,
            service_accounts_enabled=client.service_account,
            oauth2_device_authorization_grant_enabled=client.device_flow,
            standard_token_exchange_enabled=client.token_exchange,
            allow_refresh_token_in_standard_token_exchange=(
                "SAME_SESSION" if client.token_exchange_refresh else None
            ),
            pkce_code_challenge_method="S256" if client.public or client.pkce else None,
            valid_redirect_uris=self._redirect_uris(client),
            valid_post_logout_redirect_uris=self._after_logout_uris(client),
            backchannel_logout_url=self._backchannel_logout_url(client),
            backchannel_logout_session_required=client.backchannel_logout_path is not None or None,
            full_scope_allowed=not client.bearer_only,
            opts=self._opts,
        )
        if not client.bearer_only:
            openid.ClientDefaultScopes(
                f"default-scopes-{client.client_id}",
                realm_id=self.realm.id,
                client_id=made.id,
                default_scopes=[
                    *BUILT_IN_DEFAULT_SCOPES,
                    *((ROLES_SCOPE,) if client.realm_management_roles else ()),
                    *(self._scopes[name].name for name in LAB_SCOPES),
                    *(self._scopes[a.value].name for a in client.default_audiences),
                ],
                opts=self._opts,
            )
            openid.ClientOptionalScopes(
                f"optional-scopes-{client.client_id}",
                realm_id=self.realm.id,
                client_id=made.id,
                optional_scopes=[
                    *(BUILT_IN_OPTIONAL_SCOPES if client.offline_access else ()),
                    *(self._scopes[a.value].name for a in client.optional_audiences),
                ],
                opts=self._opts,
            )
        return made

    def _redirect_uris(self, client: Client) -> list[str] | None:
        """Exact addresses; a native client's loopback port varies (RFC 8252, section 7.3)."""
        if not client.redirect_paths:
            return None
        if client.public:
            return [
                f"http://{host}{path}" for host in client.loopback_hosts for path in client.redirect_paths
            ]
        base = self._context.redirect_base_url(client.client_id)
        return [f"{base}{path}" for path in client.redirect_paths]

    def _after_logout_uris(self, client: Client) -> list[str] | None:
        base = self._context.redirect_base_url(client.client_id) if client.after_logout_paths else ""
        return [f"{base}{path}" for path in client.after_logout_paths] or None

    def _backchannel_logout_url(self, client: Client) -> str | None:
        """Keycloak itself asks for it, so that it is the address inside."""
        if client.backchannel_logout_path is None:
            return None
        base = self._context.placement.internal_url(client.client_id, "http")
        return f"{base}{client.backchannel_logout_path}"

    def _register_catalog_roles(self) -> None:
        catalog = self._clients["catalog"]
        names = [CATALOG_SERVICE_ROLE]
        names += [f"{CATALOG_ROLE_PREFIX}{group.name}" for group in self._model.groups]
        self._roles = {
            name: keycloak.Role(
                f"role-{name}", realm_id=self.realm.id, client_id=catalog.id, name=name, opts=self._opts
            )
            for name in names
        }
        self._bound: list[pulumi.Output[str]] = []
        management = None
        for client in self._model.clients:
            account = self._clients[client.client_id].service_account_user_id
            for role in client.catalog_roles:
                bound = openid.ClientServiceAccountRole(
                    f"{client.client_id}-{role}",
                    realm_id=self.realm.id,
                    client_id=catalog.id,
                    service_account_user_id=account,
                    role=self._roles[role].name,
                    opts=self._opts,
                )
                self._bound.append(bound.id)
            for role in client.realm_management_roles:
                management = management or openid.get_client_output(
                    realm_id=self.realm.id,
                    client_id="realm-management",
                    opts=pulumi.InvokeOutputOptions(parent=self, provider=self._opts.provider),
                )
                bound = openid.ClientServiceAccountRole(
                    f"{client.client_id}-{role}",
                    realm_id=self.realm.id,
                    client_id=management.id,
                    service_account_user_id=account,
                    role=role,
                    opts=self._opts,
                )
                self._bound.append(bound.id)

    def _register_groups_and_users(self) -> None:
        groups = {
            g.name: keycloak.Group(
                f"group-{g.name}",
                realm_id=self.realm.id,
                name=g.name,
                opts=self._opts,
            )
            for g in self._model.groups
        }
        passwords = {p.username: self._context.persona_password(p.username) for p in self._model.personas}
        users: list[pulumi.Resource] = []
        for persona in self._model.personas:
            user = keycloak.User(
                f"user-{persona.username}",
                realm_id=self.realm.id,
                username=persona.username,
                enabled=True,
                email=persona.email,
                email_verified=True,
                first_name=persona.first_name,
                last_name=persona.last_name,
                initial_password=keycloak.UserInitialPasswordArgs(
                    value=passwords[persona.username], temporary=False
                ),
                opts=self._with(ignore_changes=USER_EDITABLE, depends_on=[self._profile]),
            )
            users.append(user)
            if persona.groups:
                keycloak.UserGroups(
                    f"groups-{persona.username}",
                    realm_id=self.realm.id,
                    user_id=user.id,
                    group_ids=[groups[name].id for name in persona.groups],
                    exhaustive=False,
                    opts=self._with(ignore_changes=["groupIds"]),
                )
        rotation = self._context.settings.values["peopleRotation"]
        if rotation:
            SamplePasswords(
                "sample-passwords",
                url=self._context.placement.operator_url("keycloak", "http"),
                realm=self._model.realm,
                client_id=ADMIN_CLIENT_ID,
                client_secret=secret(self._context.slot, lambda s: s.secrets.keycloak_admin_client_secret),
                passwords=passwords,
                rotation=rotation,
                opts=pulumi.ResourceOptions(
                    parent=self, deleted_with=self._opts.deleted_with, depends_on=users
                ),
            )
