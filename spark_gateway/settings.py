"""What the Spark gateway reads from its environment.

``SPARK_GATEWAY_BIND`` (127.0.0.1), ``SPARK_GATEWAY_PORT`` (HTTP), ``SPARK_GATEWAY_CONNECT_PORT`` (Spark
Connect, all users' servers), ``SPARK_GATEWAY_CONNECT_URL`` (where clients find that one); identity:
``SPARK_GATEWAY_ISSUER_URL``, ``SPARK_GATEWAY_JWKS_URL``, ``SPARK_GATEWAY_TOKEN_URL``,
``SPARK_GATEWAY_CLIENT_SECRET`` (client ``spark``); ``SPARK_GATEWAY_GOVERNOR_URL``; drivers:
``SPARK_GATEWAY_PLAN_FILE`` (a ``spark_gateway.drivers.LaunchPlan``), ``SPARK_GATEWAY_DEFAULTS_FILE`` (JSON:
properties that every driver has), ``SPARK_GATEWAY_DATA_DIR`` (jobs and logs), ``SPARK_GATEWAY_CACHE_DIR``,
``SPARK_GATEWAY_PODS_FILE`` (a ``spark_gateway.pod_plan.PodPlan``: drivers are pods; without it, processes);
limits: ``SPARK_GATEWAY_MAX_RUNS``, ``SPARK_GATEWAY_IDLE_S``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contracts.errors import UsageError
from spark_gateway.drivers import LaunchPlan
from spark_gateway.gateway import Limits
from spark_gateway.pod_plan import PodPlan

_PREFIX = "SPARK_GATEWAY_"


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """The gateway's settings; see the module."""

    bind: str
    port: int
    connect_port: int
    connect_url: str
    issuer_url: str
    jwks_url: str
    token_url: str
    client_secret: str = field(repr=False)
    governor_url: str
    plan: LaunchPlan
    defaults: Mapping[str, str]
    data_dir: Path
    cache_dir: Path
    pods: PodPlan | None = None
    limits: Limits


def read_settings(environ: Mapping[str, str]) -> GatewaySettings:
    """The settings of an environment.

    Raises:
        UsageError: a variable is missing or not valid; names it and what is permitted.
    """

    def text(name: str, default: str | None = None) -> str:
        value = environ.get(_PREFIX + name) or default
        if value is None:
            raise UsageError(f"{_PREFIX}{name} is not set", permitted="see spark_gateway.settings")
        return value

    def number(name: str, low: int) -> int:
        value = text(name)
        if not value.isdecimal() or int(value) < low:
            raise UsageError(
                f"{_PREFIX}{name} is not valid", value=value, permitted=f"a whole number from {low}"
            )
        return int(value)

    def content(name: str) -> str:
        try:
            return Path(text(name)).read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{_PREFIX}{name} can't be read: {error.strerror}", value=text(name)) from error

    return GatewaySettings(
        bind=text("BIND", "127.0.0.1"),
        port=number("PORT", 1),
        connect_port=number("CONNECT_PORT", 1),
        connect_url=text("CONNECT_URL"),
        issuer_url=text("ISSUER_URL"),
        jwks_url=text("JWKS_URL"),
        token_url=text("TOKEN_URL"),
        client_secret=text("CLIENT_SECRET"),
        governor_url=text("GOVERNOR_URL"),
        plan=LaunchPlan.from_json(content("PLAN_FILE")),
        defaults=_properties(content("DEFAULTS_FILE")),
        data_dir=Path(text("DATA_DIR")),
        cache_dir=Path(text("CACHE_DIR")),
        pods=PodPlan.from_json(content("PODS_FILE")) if environ.get(f"{_PREFIX}PODS_FILE") else None,
        limits=Limits(max_runs=number("MAX_RUNS", 1), idle_s=number("IDLE_S", 1)),
    )


def _properties(text: str) -> dict[str, str]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{_PREFIX}DEFAULTS_FILE is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{_PREFIX}DEFAULTS_FILE is not an object", permitted='{"spark.x": "value"}')
    return {str(key): str(value) for key, value in document.items()}
