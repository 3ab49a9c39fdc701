"""What the agent reads from its environment.

``AGENT_BIND`` (127.0.0.1), ``AGENT_PORT``, ``AGENT_PUBLIC_URL`` (as clients reach it; MCP's resource);
database: ``AGENT_DATABASE_HOST``, ``AGENT_DATABASE_PORT``, ``AGENT_DATABASE_NAME``, ``AGENT_DATABASE_ROLE``,
``AGENT_DATABASE_PASSWORD``; identity: ``AGENT_ISSUER_URL``, ``AGENT_JWKS_URL``, ``AGENT_TOKEN_URL``,
``AGENT_CLIENT_SECRET`` (client ``agent``); ``AGENT_GOVERNOR_URL``; ``AGENT_CONTROL_PLANE_URL`` (empty: this
lab runs without the console, which keeps saved queries); Trino: ``AGENT_TRINO_URL``, ``AGENT_CA_FILE`` (PEM),
``AGENT_CATALOG`` (``lake``); limits: ``AGENT_MAX_SCAN_MIB`` (2048), ``AGENT_MAX_QUERY_S`` (60),
``AGENT_RETENTION_DAYS`` (90), ``AGENT_AUDIT_RETENTION_DAYS`` (90).

A language model: ``AGENT_MODEL`` (``provider:model``; empty: none), ``AGENT_MODEL_URL`` (empty: the
provider's own), ``AGENT_MODEL_KEY``, ``AGENT_MODEL_REGION``.

Every secret may come from a file instead: ``AGENT_X_FILE`` in place of ``AGENT_X``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.chat import ModelSettings, check_model
from agent.engine import Limits
from governance.environment import Environment

_PREFIX = "AGENT_"


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """The agent's settings; see the module. ``conninfo`` is the database's URL for libpq."""

    bind: str
    port: int
    public_url: str
    database_url: str = field(repr=False)
    conninfo: str = field(repr=False)
    issuer_url: str
    jwks_url: str
    token_url: str
    client_secret: str = field(repr=False)
    governor_url: str
    control_plane_url: str | None
    trino_url: str
    ca_certificate: str = field(repr=False)
    catalog: str
    limits: Limits
    retention_days: int
    audit_retention_days: int
    model: ModelSettings | None


def read_settings(environ: Mapping[str, str]) -> AgentSettings:
    """The settings of an environment.

    Raises:
        UsageError: a variable is missing or not valid; names it and what is permitted.
    """
    env = Environment(environ, _PREFIX, see=__name__)
    database_url = env.database_url()
    return AgentSettings(
        bind=env.text("BIND", "127.0.0.1"),
        port=env.number("PORT", None, 1),
        public_url=env.url("PUBLIC_URL"),
        database_url=database_url,
        conninfo=database_url.replace("postgresql+psycopg://", "postgresql://", 1),
        issuer_url=env.url("ISSUER_URL"),
        jwks_url=env.url("JWKS_URL"),
        token_url=env.url("TOKEN_URL"),
        client_secret=env.text("CLIENT_SECRET"),
        governor_url=env.url("GOVERNOR_URL"),
        control_plane_url=env.url("CONTROL_PLANE_URL") if env.text("CONTROL_PLANE_URL", "") else None,
        trino_url=env.url("TRINO_URL"),
        ca_certificate=env.file("CA_FILE"),
        catalog=env.text("CATALOG", "lake"),
        limits=Limits(
            max_scan_mib=env.number("MAX_SCAN_MIB", 2048, 1), max_query_s=env.number("MAX_QUERY_S", 60, 1)
        ),
        retention_days=env.number("RETENTION_DAYS", 90, 1),
        audit_retention_days=env.number("AUDIT_RETENTION_DAYS", 90, 2),
        model=_model(env),
    )


def _model(env: Environment) -> ModelSettings | None:
    name = env.text("MODEL", "")
    if not name:
        return None
    return ModelSettings(
        name=check_model(name),
        base_url=env.url("MODEL_URL") if env.text("MODEL_URL", "") else "",
        key=env.text("MODEL_KEY", ""),
        region=env.text("MODEL_REGION", ""),
    )
