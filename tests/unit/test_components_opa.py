"""OPA's workload: memory and the garbage collector's part of its environment."""

from __future__ import annotations

from components.opa import MEMORY_MIB, OpaArgs, workload
from components.opa.properties import collector
from components.registry import COMPONENTS
from contracts.workload import Workload
from placements.kubernetes.pods import resources
from tests.unit.layouts import layout

PROGRAM_MIB = 40
"""What of the program itself is resident, beside Go's memory."""


def made() -> Workload:
    """Its outputs need an event loop, which a test that is a coroutine has."""
    args = OpaArgs(
        bucket_url="http://127.0.0.1:9000/policy",
        region="us-east-1",
        access_key="key",
        secret_key="secret",
        bundle_public_key="pem",
        token="token",
        audit_url="http://127.0.0.1:28020",
        audit_token="token",
        authz_rego="",
        log_rego="",
    )
    return workload(args, layout({"http": 28016}))


def test_garbage_is_collected_a_quarter_as_often_below_twice_the_expected_memory() -> None:
    assert collector(128) == {"GOGC": "400", "GOMEMLIMIT": "256MiB"}


async def test_memory_is_declared_once() -> None:
    found = made()
    assert found.memory_mib == COMPONENTS["opa"].memory_mib == MEMORY_MIB
    assert {name: found.env[name] for name in ("GOGC", "GOMEMLIMIT")} == collector(MEMORY_MIB)


async def test_a_pod_may_reach_the_ceiling() -> None:
    """Go collects before the kernel ends the process."""
    limit_mib = int(resources(made())["limits"]["memory"].removesuffix("Mi"))
    ceiling_mib = int(collector(MEMORY_MIB)["GOMEMLIMIT"].removesuffix("MiB"))
    assert ceiling_mib + PROGRAM_MIB < 0.8 * limit_mib
