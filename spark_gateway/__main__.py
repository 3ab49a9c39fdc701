"""Runs the Spark gateway: ``python -m spark_gateway``; see ``spark_gateway.settings``.

It starts without anything else being up: Keycloak and the governor are asked when somebody comes.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import httpx

from contracts.errors import LabError
from contracts.identity import Audience
from governance.client import GovernorClient
from governance.governor.auth import TokenVerifier, realm_keys
from governance.serving import serve
from spark_gateway.admission import Door
from spark_gateway.app import create_app
from spark_gateway.cluster_api import ClusterApi
from spark_gateway.executors import Executors
from spark_gateway.gateway import Gateway
from spark_gateway.identity import Keycloak
from spark_gateway.jobs import JobStore
from spark_gateway.launcher import Launcher
from spark_gateway.local import LocalLauncher
from spark_gateway.pod_plan import PodPlan
from spark_gateway.pods import PodLauncher
from spark_gateway.proxy import ConnectProxy
from spark_gateway.settings import GatewaySettings, read_settings

_TIMEOUT = httpx.Timeout(20.0, connect=3.0)
_GRACE_S = 2


def build_gateway(settings: GatewaySettings) -> Gateway:
    """Everything wired, nothing contacted."""
    keycloak = Keycloak(
        settings.token_url, settings.client_secret, httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)
    )
    return Gateway(
        launcher=_launcher(settings),
        keycloak=keycloak,
        door=Door(lambda token: GovernorClient(settings.governor_url, token, timeout_s=20.0)),
        store=JobStore(settings.data_dir / "jobs"),
        limits=settings.limits,
        proxy=ConnectProxy(settings.bind, settings.connect_port),
        connect_url=settings.connect_url,
        catalog=settings.plan.catalog,
        spark_version=settings.plan.spark_version,
    )


def _launcher(settings: GatewaySettings) -> Launcher:
    runs_dir, plan = settings.data_dir / "runs", settings.pods
    if plan is None:
        return LocalLauncher(
            settings.plan, settings.defaults, runs_dir=runs_dir, cache_dir=settings.cache_dir
        )
    return PodLauncher(plan, settings.plan, settings.defaults, runs_dir=runs_dir, api=_api(plan))


def build_executors(settings: GatewaySettings) -> Executors | None:
    """What makes executors for drivers; None where these work alone."""
    plan = settings.pods
    if plan is None or plan.executor_template is None:
        return None
    return Executors(plan, settings.plan, _api(plan))


def _api(plan: PodPlan) -> ClusterApi:
    return ClusterApi(
        plan.api_url,
        namespace=plan.namespace,
        token_file=Path(plan.token_file),
        ca_file=Path(plan.ca_file),
    )


def main() -> int:
    """Serves until SIGTERM or SIGINT; then ends all drivers."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # All that it speaks to is the lab's own: a proxy meant for the way out would break the token check.
    os.environ["no_proxy"] = "*"
    try:
        settings = read_settings(os.environ)
        gateway = build_gateway(settings)
    except LabError as error:
        sys.stderr.write(f"{error.render()}\n")
        return error.exit_code
    verifier = TokenVerifier(settings.issuer_url, realm_keys(settings.jwks_url), Audience.SPARK)
    serve(
        create_app(gateway, verifier, build_executors(settings)),
        bind=settings.bind,
        port=settings.port,
        grace_s=_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
