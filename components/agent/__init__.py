"""The agent: answers questions about tables as the asking user, over HTTP and as an MCP server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pulumi

from components.service import TRINO_CATALOG, LabContext, Service, secret
from contracts.errors import UsageError
from contracts.settings import environment
from contracts.versions import AGENT_LIBRARIES
from contracts.workload import Layout, Port, Probe, Scheme, Workload


@dataclass(frozen=True, kw_only=True)
class AgentArgs:
    """The values of its environment (see ``agent.settings``), and the lab's authority; secrets may be
    Outputs. ``model_port`` is the TCP port of its language model, None without one."""

    plain: Mapping[str, str]
    from_slot: Mapping[str, pulumi.Input[str]]
    ca_certificate: pulumi.Input[str]
    model_port: int | None = None


def workload(args: AgentArgs, layout: Layout) -> Workload:
    """Ready once its database is migrated; Keycloak, Trino and the governor are asked when somebody asks."""
    libraries = layout.also[AGENT_LIBRARIES.name]
    return Workload(
        name="agent",
        artifact="python",
        command=[layout.python, "-m", "agent"],
        ports=(Port(name="http", number=layout.ports["http"]),),
        readiness=Probe(port="http", path="/health/ready"),
        env={
            **args.plain,
            **args.from_slot,
            "PYTHONPATH": f"{layout.source_dir}:{libraries}",
            # Its libraries are large: what Python compiled once is kept for the next start.
            "PYTHONPYCACHEPREFIX": str(layout.cache_dir / "pycache"),
            "AGENT_BIND": layout.bind_address,
            "AGENT_PORT": str(layout.ports["http"]),
            "AGENT_CA_FILE": layout.file("ca.pem"),
        },
        files={"ca.pem": args.ca_certificate},
        source=("agent", "contracts", "governance"),
        memory_mib=180,
        cpu_millicores=100,
        depends_on=("postgres",),
        reaches=("keycloak/http", "governor/http", "trino/https", "control-plane/http", "postgres/tcp"),
        reaches_outside=() if args.model_port is None else (args.model_port,),
        identity="agent",
    )


def agent_args(context: LabContext, environ: Mapping[str, str] | None = None) -> AgentArgs:
    """The slot's values for the agent, and the settings of its model."""
    slot, placement, values = context.slot, context.placement, context.settings.values
    key = model_key(os.environ if environ is None else environ)
    secrets: dict[str, pulumi.Input[str]] = {
        "AGENT_DATABASE_PASSWORD": secret(slot, lambda s: s.agent_database.password),
        "AGENT_CLIENT_SECRET": context.client_secret("agent"),
    }
    if key:
        secrets["AGENT_MODEL_KEY"] = pulumi.Output.secret(key)
    return AgentArgs(
        plain={
            "AGENT_PUBLIC_URL": placement.operator_url("agent", "http"),
            "AGENT_ISSUER_URL": context.issuer_url,
            "AGENT_JWKS_URL": context.jwks_url,
            "AGENT_TOKEN_URL": context.token_url,
            "AGENT_GOVERNOR_URL": placement.internal_url("governor", "http"),
            "AGENT_CONTROL_PLANE_URL": (
                placement.internal_url("control-plane", "http") if "control-plane" in context.services else ""
            ),
            "AGENT_TRINO_URL": placement.internal_url("trino", "https", Scheme.HTTPS),
            "AGENT_CATALOG": TRINO_CATALOG,
            "AGENT_RETENTION_DAYS": str(values["agentRetentionDays"]),
            "AGENT_AUDIT_RETENTION_DAYS": str(values["auditRetentionDays"]),
            "AGENT_MAX_SCAN_MIB": str(values["agentMaxScanMib"]),
            "AGENT_MAX_QUERY_S": str(values["agentMaxQueryS"]),
            **_model(values),
        },
        from_slot={
            "AGENT_DATABASE_HOST": slot.apply(lambda s: s.agent_database.host),
            "AGENT_DATABASE_PORT": slot.apply(lambda s: str(s.agent_database.port)),
            "AGENT_DATABASE_NAME": slot.apply(lambda s: s.agent_database.name),
            "AGENT_DATABASE_ROLE": slot.apply(lambda s: s.agent_database.role),
            **secrets,
        },
        ca_certificate=slot.apply(lambda s: s.pki.ca_certificate),
        model_port=_model_port(values),
    )


def _model_port(values: Mapping[str, Any]) -> int | None:
    if not values["agentModel"]:
        return None
    url = urlsplit(values["agentModelUrl"])
    return url.port or (80 if url.scheme == "http" else 443)


def _model(values: Mapping[str, Any]) -> dict[str, str]:
    named = {
        "AGENT_MODEL": values["agentModel"],
        "AGENT_MODEL_URL": values["agentModelUrl"],
        "AGENT_MODEL_REGION": values["agentModelRegion"],
    }
    return {name: value for name, value in named.items() if value and values["agentModel"]}


def model_key(environ: Mapping[str, str]) -> str | None:
    """The model's key: LAB_AGENT_MODEL_KEY, else the content of the file that LAB_AGENT_MODEL_KEY_FILE names;
    None when neither is there. Raises UsageError when that file can't be read."""
    given, file = (environment(name, environ) for name in ("LAB_AGENT_MODEL_KEY", "LAB_AGENT_MODEL_KEY_FILE"))
    if given or not file:
        return given
    try:
        return Path(file).read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise UsageError(
            f"LAB_AGENT_MODEL_KEY_FILE can't be read: {error.strerror}",
            value=file,
            permitted="a file with the key alone",
        ) from error


class Agent(Service):
    """The agent's service."""

    kind: ClassVar[str] = "agent"

    def __init__(self, context: LabContext, opts: pulumi.ResourceOptions | None = None) -> None:
        layout = context.placement.layout("agent", "python", ("http",), also=(AGENT_LIBRARIES.name,))
        super().__init__(context.placement, workload(agent_args(context), layout), opts)
