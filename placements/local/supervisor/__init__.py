"""Supervises the services of one lab: starts them by readiness, keeps them up, outlives its callers."""

from placements.local.supervisor.client import SupervisorClient
from placements.local.supervisor.model import (
    ProbeSpec,
    Restarts,
    ServiceSpec,
    ServiceState,
    ServiceStatus,
    Step,
)
from placements.local.supervisor.options import Options

__all__ = [
    "Options",
    "ProbeSpec",
    "Restarts",
    "ServiceSpec",
    "ServiceState",
    "ServiceStatus",
    "Step",
    "SupervisorClient",
]
