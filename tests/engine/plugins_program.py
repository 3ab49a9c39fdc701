"""A Pulumi program with every Keycloak resource type the plugin serves, and random values beside them.

Run by the engine in ``test_plugins_keycloak.py``; its configuration says what is declared.
"""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_keycloak as keycloak
import pulumi_random as random
from pulumi_keycloak import openid

config = pulumi.Config()
realm_name = config.require("realm")
display_name = config.get("displayName") or "Plugins"
user_email = config.get("userEmail") or "ada@lakehouse.example"
retain = config.get_bool("retain") or False
password = config.require_secret("password")
client_secret = config.require_secret("clientSecret")

provider = keycloak.Provider(
    "keycloak",
    url=config.require("url"),
    client_id="admin-cli",
    username=config.require("adminUser"),
    password=config.require_secret("adminPassword"),
    client_timeout=30,
)
kept = pulumi.ResourceOptions(provider=provider, retain_on_delete=retain)

realm = keycloak.Realm(
    "realm",
    realm=realm_name,
    display_name=display_name,
    login_with_email_allowed=True,
    access_token_lifespan="5m",
    sso_session_idle_timeout="8h",
    ssl_required="none",
    password_policy="length(8)",
    attributes={"frontendLabel": "plugins"},
    internationalization=keycloak.RealmInternationalizationArgs(
        default_locale="en", supported_locales=["en", "de"]
    ),
    security_defenses=keycloak.RealmSecurityDefensesArgs(
        brute_force_detection=keycloak.RealmSecurityDefensesBruteForceDetectionArgs(max_login_failures=7)
    ),
    opts=kept,
)
keycloak.RealmEvents(
    "events",
    realm_id=realm.id,
    events_enabled=True,
    admin_events_enabled=True,
    events_expiration=3600,
    events_listeners=["jboss-logging"],
    opts=kept,
)
profile = keycloak.RealmUserProfile(
    "profile",
    realm_id=realm.id,
    unmanaged_attribute_policy="ADMIN_EDIT",
    attributes=[
        keycloak.RealmUserProfileAttributeArgs(
            name="region",
            display_name="Region",
            permissions=keycloak.RealmUserProfileAttributePermissionsArgs(
                views=["admin", "user"], edits=["admin"]
            ),
            validators=[keycloak.RealmUserProfileAttributeValidatorArgs(name="length", config={"max": "20"})],
        )
    ],
    opts=kept,
)

# Clients and scopes
trino = openid.Client(
    "trino",
    realm_id=realm.id,
    client_id="trino",
    name="Trino",
    access_type="CONFIDENTIAL",
    client_secret=client_secret,
    standard_flow_enabled=True,
    service_accounts_enabled=True,
    standard_token_exchange_enabled=True,
    valid_redirect_uris=["https://localhost:8443/oauth2/callback", "https://localhost/*"],
    valid_post_logout_redirect_uris=["+"],
    web_origins=["+"],
    pkce_code_challenge_method="S256",
    extra_config={"lab.owner": "plugins"},
    opts=kept,
)
catalog = openid.Client(
    "catalog", realm_id=realm.id, client_id="catalog", access_type="BEARER-ONLY", opts=kept
)
cli = openid.Client(
    "cli",
    realm_id=realm.id,
    client_id="cli",
    access_type="PUBLIC",
    standard_flow_enabled=True,
    oauth2_device_authorization_grant_enabled=True,
    valid_redirect_uris=["http://127.0.0.1/callback"],
    opts=kept,
)
generated = openid.Client(
    "generated",
    realm_id=realm.id,
    client_id="generated",
    access_type="CONFIDENTIAL",
    direct_access_grants_enabled=True,
    opts=kept,
)
scope = openid.ClientScope(
    "scope",
    realm_id=realm.id,
    name="trino",
    description="Audience of Trino",
    include_in_token_scope=True,
    gui_order=3,
    opts=kept,
)
openid.ClientDefaultScopes(
    "default-scopes",
    realm_id=realm.id,
    client_id=cli.id,
    default_scopes=["basic", "profile", "email", scope.name],
    opts=kept,
)
openid.ClientOptionalScopes(
    "optional-scopes",
    realm_id=realm.id,
    client_id=cli.id,
    optional_scopes=["offline_access", "roles"],
    opts=kept,
)

# Roles and groups
realm_role = keycloak.Role(
    "role", realm_id=realm.id, name="operator", description="Operates", attributes={"tier": "1##2"}, opts=kept
)
client_role = keycloak.Role(
    "client-role", realm_id=realm.id, client_id=catalog.id, name="catalog_reader", opts=kept
)
keycloak.Role(
    "composite",
    realm_id=realm.id,
    name="everything",
    composite_roles=[realm_role.id, client_role.id],
    opts=kept,
)
group = keycloak.Group(
    "group",
    realm_id=realm.id,
    name="analysts",
    description="Read",
    attributes={"region": "EMEA"},
    opts=kept,
)
child = keycloak.Group("child", realm_id=realm.id, parent_id=group.id, name="analysts_emea", opts=kept)
keycloak.GroupRoles(
    "group-roles", realm_id=realm.id, group_id=group.id, role_ids=[realm_role.id, client_role.id], opts=kept
)

# People
ada = keycloak.User(
    "ada",
    realm_id=realm.id,
    username="ada",
    email=user_email,
    email_verified=True,
    first_name="Ada",
    last_name="Admin",
    attributes={"region": "EMEA", "badge": "7##8"},
    initial_password=keycloak.UserInitialPasswordArgs(value=password),
    opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[profile])),
)
ben = keycloak.User(
    "ben",
    realm_id=realm.id,
    username="ben",
    email="ben@lakehouse.example",
    first_name="Ben",
    last_name="Engineer",
    opts=kept,
)
keycloak.UserGroups(
    "ada-groups", realm_id=realm.id, user_id=ada.id, group_ids=[group.id, child.id], opts=kept
)
keycloak.UserRoles("ada-roles", realm_id=realm.id, user_id=ada.id, role_ids=[realm_role.id], opts=kept)
keycloak.GroupMemberships("members", realm_id=realm.id, group_id=child.id, members=[ben.username], opts=kept)
openid.ClientServiceAccountRole(
    "service-role",
    realm_id=realm.id,
    service_account_user_id=trino.service_account_user_id,
    client_id=catalog.id,
    role=client_role.name,
    opts=kept,
)
openid.ClientServiceAccountRealmRole(
    "service-realm-role",
    realm_id=realm.id,
    service_account_user_id=trino.service_account_user_id,
    role=realm_role.name,
    opts=kept,
)

# Mappers
on_scope: dict[str, Any] = {"realm_id": realm.id, "client_scope_id": scope.id, "opts": kept}
on_client: dict[str, Any] = {"realm_id": realm.id, "client_id": trino.id, "opts": kept}
openid.AudienceProtocolMapper(
    "audience", name="audience", included_client_audience=trino.client_id, **on_scope
)
openid.AudienceProtocolMapper("audience-x", name="audience-x", included_custom_audience="x", **on_client)
openid.AudienceResolveProtocolMapper("resolve", **on_client)
openid.FullNameProtocolMapper("full-name", name="full name", **on_client)
openid.GroupMembershipProtocolMapper(
    "groups",
    name="groups",
    claim_name="groups",
    full_path=False,
    add_to_token_introspection=True,
    **on_client,
)
openid.HardcodedClaimProtocolMapper(
    "claim", name="claim", claim_name="lab", claim_value="yes", claim_value_type="String", **on_client
)
openid.UserAttributeProtocolMapper(
    "region", name="region", claim_name="region", user_attribute="region", multivalued=True, **on_client
)
openid.UserPropertyProtocolMapper("email", name="mail", claim_name="mail", user_property="email", **on_client)
openid.UserClientRoleProtocolMapper(
    "catalog-roles",
    name="catalog roles",
    claim_name="catalog_roles",
    client_id_for_role_mappings="catalog",
    multivalued=True,
    add_to_id_token=False,
    **on_scope,
)
openid.UserRealmRoleProtocolMapper(
    "realm-roles", name="realm roles", claim_name="roles", multivalued=True, **on_client
)
openid.UserSessionNoteProtocolMapper(
    "note", name="note", claim_name="note", session_note="clientHost", **on_client
)
openid.SubProtocolMapper("sub", name="subject", **on_scope)

drawn = random.RandomPassword("drawn", length=24, min_special=2)

pulumi.export("generatedSecret", generated.client_secret)
pulumi.export("serviceAccount", trino.service_account_user_id)
pulumi.export("groupPath", child.path)
pulumi.export("drawn", drawn.result)
