"""The operator's way to a workload: a tunnel on fixed loopback ports, held by the lab's supervisor.

A tunnel is ``kubectl port-forward``. It leads to one pod, and ends with the first connection that ends badly:
one to a pod that is gone, and one that the server resets, as PostgreSQL does whenever an encrypted one is
closed (https://github.com/kubernetes/kubectl/issues/1169). Until somebody connects it does not learn that its
pod is gone. So whether a tunnel is ready and goes on being so is asked through it, and one that ended is
started again soon, however often. What runs on the operator's machine (seeds, the engine's Keycloak provider,
``lab sql``) needs no public endpoint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.workload import Port, Probe, Scheme
from placements.kubernetes.cluster import Cluster
from placements.local.plan import with_plan_hash
from placements.local.supervisor import ProbeSpec, Restarts, ServiceSpec

MEMORY_MIB = 40
ALIVE_PERIOD_S = 5.0
RESTARTS = Restarts(attempts=12, delay_max_s=5.0, stable_s=0.0)
"""Twelve attempts are three quarters of a minute."""
_LOOPBACK = "127.0.0.1"
_KEPT = (
    *("PATH", "HOME", "KUBECONFIG"),
    *("AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
)
"""Of the operator's environment: what a kubeconfig's helper programs need. It names credentials and holds no
key."""


def tunnel(
    workload: str,
    ports: Sequence[Port],
    numbers: Mapping[str, int],
    readiness: Probe,
    *,
    cluster: Cluster,
    home: Path,
    pods: str = "",
    environ: Mapping[str, str] | None = None,
) -> ServiceSpec:
    """The tunnel to ``ports`` of a workload's service; ``numbers`` are its loopback ports by name. It is
    ready, and alive, while what the workload's ``readiness`` asks is answered through it, whatever the
    answer. Other ``pods`` are another tunnel: it leads to those of before, and somebody may be waiting."""
    env = os.environ if environ is None else environ
    base = home / "run"
    return with_plan_hash(
        ServiceSpec(
            name=workload,
            argv=(
                *cluster.command,
                "port-forward",
                f"--address={_LOOPBACK}",
                f"service/{workload}",
                *(f"{numbers[port.name]}:{port.number}" for port in ports),
            ),
            plan_hash="",
            env={name: env[name] for name in _KEPT if env.get(name)},
            files_dir=str(base / "services" / workload / "files"),
            scratch_dir=str(base / "scratch" / workload),
            ports={port.name: numbers[port.name] for port in ports},
            probe=_through(ports, numbers, readiness, period_s=0.2),
            liveness=_through(ports, numbers, readiness, period_s=ALIVE_PERIOD_S),
            restarts=RESTARTS,
            memory_mib=MEMORY_MIB,
        ),
        pods,
    )


def _through(
    ports: Sequence[Port], numbers: Mapping[str, int], readiness: Probe, *, period_s: float
) -> ProbeSpec:
    """Asks whether somebody answers at the other end. Who that is, whoever uses the tunnel verifies."""
    port = next(port for port in ports if port.name == readiness.port)
    return ProbeSpec(
        port=numbers[port.name],
        tls=port.scheme is Scheme.HTTPS,
        path=readiness.path,
        postgresql=readiness.postgresql,
        statuses=(),
        verified=False,
        timeout_s=60.0,
        period_s=period_s,
    )
