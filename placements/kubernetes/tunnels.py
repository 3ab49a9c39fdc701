"""The operator's way to a workload: a tunnel on fixed loopback ports, held by the lab's supervisor.

A tunnel is ``kubectl port-forward``, which ends when its pod does; the supervisor starts it again. What
runs on the operator's machine (seeds, the engine's Keycloak provider, ``lab sql``) needs no public endpoint.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.workload import Port
from placements.kubernetes.cluster import Cluster
from placements.local.plan import with_plan_hash
from placements.local.supervisor import ProbeSpec, ServiceSpec

MEMORY_MIB = 40
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
    *,
    cluster: Cluster,
    home: Path,
    pods: str = "",
    environ: Mapping[str, str] | None = None,
) -> ServiceSpec:
    """The tunnel to ``ports`` of a workload's service; ``numbers`` are its loopback ports by name. It is
    ready once it accepts connections, which it does when a pod of the service runs. Other ``pods`` are
    another tunnel: one to pods that were replaced may take connections for a while, which lead nowhere."""
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
            probe=ProbeSpec(port=numbers[ports[0].name], timeout_s=60.0, period_s=0.1),
            memory_mib=MEMORY_MIB,
        ),
        pods,
    )
