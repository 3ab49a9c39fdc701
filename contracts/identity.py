"""The realm, as one declarative model: groups, sample users and clients (DESIGN §7).

``components/keycloak`` turns it into resources; tests and the CLI read personas from it.
Terms are Keycloak's: https://www.keycloak.org/docs/latest/server_admin/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ROW_FILTER_USER = "$row-filter"
"""The identity row filters run with. Keycloak's user profile prohibits ``$``, so nobody can have it."""

MAINTAINER_CLIENT = "maintainer"
"""The client whose service account maintains tables in Trino; it reads no row and holds nothing else."""

CATALOG_ROLE_PREFIX = "catalog_"
"""Client roles of the catalog client that carry this prefix reach the catalog, in the claim below."""

CATALOG_ROLES_CLAIM = "catalog_roles"
CATALOG_DOOR_PATH = "/iceberg"
"""Where the governor answers raw engines in the place of a catalog without grants on tables."""
GROUPS_CLAIM = "groups"


class Audience(StrEnum):
    """One audience per service; a token for one is refused by the others."""

    CATALOG = "catalog"
    TRINO = "trino"
    SPARK = "spark"
    GOVERNOR = "governor"
    CONTROL_PLANE = "control-plane"
    AGENT = "agent"


@dataclass(frozen=True, kw_only=True)
class Group:
    """A Keycloak group."""

    name: str
    description: str


@dataclass(frozen=True, kw_only=True)
class Persona:
    """A sample user."""

    username: str
    first_name: str
    last_name: str
    groups: tuple[str, ...]
    description: str

    @property
    def email(self) -> str:
        """A reserved domain: the address can reach nobody."""
        return f"{self.username.replace('_', '.')}@lakehouse.example"


@dataclass(frozen=True, kw_only=True)
class Client:
    """An OpenID client.

    ``optional_audiences`` are asked for by scope (``scope=openid trino``), ``default_audiences`` are in
    every token. ``token_exchange_refresh``: an exchange may also give a refresh token, which ends with the
    user's own sign-in. ``catalog_roles`` are given to its service account; ``realm_management_roles`` too.
    ``loopback_hosts``: where a public client waits for its user to come back.
    ``pkce``: a code is good for nobody without it (a public client's never is). Browsers may come back to
    ``after_logout_paths`` when they sign out; Keycloak tells of each sign-in's end at
    ``backchannel_logout_path``.
    """

    client_id: str
    description: str
    public: bool = False
    standard_flow: bool = False
    pkce: bool = False
    device_flow: bool = False
    password_grant: bool = False
    service_account: bool = False
    token_exchange: bool = False
    token_exchange_refresh: bool = False
    bearer_only: bool = False
    redirect_paths: tuple[str, ...] = ()
    loopback_hosts: tuple[str, ...] = ("127.0.0.1",)
    after_logout_paths: tuple[str, ...] = ()
    backchannel_logout_path: str | None = None
    default_audiences: tuple[Audience, ...] = ()
    optional_audiences: tuple[Audience, ...] = ()
    catalog_roles: tuple[str, ...] = ()
    realm_management_roles: tuple[str, ...] = ()
    offline_access: bool = False


@dataclass(frozen=True, kw_only=True)
class RealmModel:
    """Everything the lab declares in its realm."""

    realm: str
    groups: Sequence[Group]
    personas: Sequence[Persona]
    clients: Sequence[Client]
    access_token_lifespan_s: int = 300
    sso_session_idle_s: int = 8 * 3600

    def persona(self, username: str) -> Persona | None:
        """The sample user of that name."""
        return next((p for p in self.personas if p.username == username), None)


GROUPS: tuple[Group, ...] = (
    Group(name="lab_admins", description="Operate the lab; see every query's text"),
    Group(name="data_engineers", description="Write tables, run maintenance and raw engines"),
    Group(name="data_stewards", description="Tag data and write the rules; read masked data"),
    Group(name="analysts_emea", description="Read Europe, Middle East and Africa"),
    Group(name="analysts_amer", description="Read the Americas"),
    Group(name="hr_partners", description="Read people data with salaries"),
    Group(name="auditors", description="Read everything that is not personal, and the audit"),
)

PERSONAS: tuple[Persona, ...] = (
    Persona(
        username="admin",
        first_name="Ada",
        last_name="Admin",
        groups=("lab_admins",),
        description="operates the lab",
    ),
    Persona(
        username="engineer",
        first_name="Enzo",
        last_name="Engineer",
        groups=("data_engineers",),
        description="writes tables; no rule hides anything from data_engineers but people data",
    ),
    Persona(
        username="steward",
        first_name="Stella",
        last_name="Steward",
        groups=("data_stewards",),
        description="writes tags and rules; sees masked data",
    ),
    Persona(
        username="analyst_emea",
        first_name="Emil",
        last_name="Analyst",
        groups=("analysts_emea",),
        description="sees customers of Europe, Middle East and Africa, masked",
    ),
    Persona(
        username="analyst_amer",
        first_name="Amara",
        last_name="Analyst",
        groups=("analysts_amer",),
        description="sees customers of the Americas, masked",
    ),
    Persona(
        username="hr",
        first_name="Hana",
        last_name="Partner",
        groups=("hr_partners",),
        description="sees people data with salaries, nothing of retail",
    ),
    Persona(
        username="auditor",
        first_name="Aldo",
        last_name="Auditor",
        groups=("auditors",),
        description="sees all rows, personal columns masked",
    ),
    Persona(
        username="outsider",
        first_name="Oona",
        last_name="Outsider",
        groups=(),
        description="may sign in and is granted nothing",
    ),
)

CATALOG_SERVICE_ROLE = f"{CATALOG_ROLE_PREFIX}service"
"""Full content rights in the catalog: engines that enforce the rules themselves, and the seeds."""


def lab_realm(name: str) -> RealmModel:
    """The realm of lab ``name``: the same groups, personas and clients in every lab."""
    user_audiences = (Audience.TRINO, Audience.CATALOG, Audience.SPARK, Audience.GOVERNOR)
    own_audiences = (*user_audiences, Audience.CONTROL_PLANE, Audience.AGENT)
    return RealmModel(
        realm=name,
        groups=GROUPS,
        personas=PERSONAS,
        clients=(
            Client(
                client_id="catalog",
                description="The Iceberg REST catalog: names its audience and roles",
                bearer_only=True,
            ),
            Client(
                client_id="trino",
                description="Trino: web sign-in, and its own catalog identity",
                standard_flow=True,
                service_account=True,
                token_exchange=True,
                redirect_paths=("/oauth2/callback",),
                default_audiences=(Audience.CATALOG, Audience.TRINO),
                catalog_roles=(CATALOG_SERVICE_ROLE,),
            ),
            Client(
                client_id="spark",
                description="Spark: exchanges the user's token for the catalog",
                service_account=True,
                token_exchange=True,
                token_exchange_refresh=True,
                optional_audiences=(Audience.CATALOG, Audience.GOVERNOR),
            ),
            Client(
                client_id="control-plane",
                description="The console's back end",
                standard_flow=True,
                pkce=True,
                service_account=True,
                token_exchange=True,
                offline_access=True,
                redirect_paths=("/auth/callback",),
                after_logout_paths=("/",),
                backchannel_logout_path="/auth/backchannel-logout",
                default_audiences=(Audience.CONTROL_PLANE,),
                optional_audiences=(*user_audiences, Audience.AGENT),
            ),
            Client(
                client_id="agent",
                description="The agent and its MCP server",
                service_account=True,
                token_exchange=True,
                token_exchange_refresh=True,
                default_audiences=(Audience.AGENT,),
                optional_audiences=(*user_audiences, Audience.CONTROL_PLANE),
            ),
            Client(
                client_id="mcp",
                description="MCP clients of people: sign-in in the browser, for the agent alone",
                public=True,
                standard_flow=True,
                redirect_paths=("/callback", "/oauth/callback", "/"),
                loopback_hosts=("127.0.0.1", "localhost"),
                # MCP clients ask for it wherever a server offers it, and are refused altogether without.
                offline_access=True,
                default_audiences=(Audience.AGENT,),
            ),
            Client(
                client_id="cli",
                description="The lab command: browser or device sign-in",
                public=True,
                standard_flow=True,
                device_flow=True,
                redirect_paths=("/callback",),
                optional_audiences=own_audiences,
            ),
            Client(
                client_id="personas",
                description="Password grant for the sample users only",
                password_grant=True,
                optional_audiences=own_audiences,
            ),
            Client(
                client_id="governor",
                description="Publishes access data and reconciles identities",
                service_account=True,
                default_audiences=(Audience.CATALOG, Audience.GOVERNOR),
                optional_audiences=(Audience.TRINO,),
                catalog_roles=(CATALOG_SERVICE_ROLE,),
                realm_management_roles=(
                    "view-realm",
                    "view-users",
                    "query-users",
                    "query-groups",
                    "manage-users",
                    "view-clients",
                    "query-clients",
                ),
            ),
            Client(
                client_id=MAINTAINER_CLIENT,
                description="Maintains tables in Trino: compaction, expiry, orphan files, manifests",
                service_account=True,
                optional_audiences=(Audience.TRINO,),
            ),
            Client(
                client_id="seeder",
                description="Post-deploy seeds: tables, users, access data",
                service_account=True,
                default_audiences=(Audience.CATALOG, Audience.GOVERNOR),
                catalog_roles=(CATALOG_SERVICE_ROLE,),
            ),
        ),
    )
