"""OPA's workload: memory and the garbage collector's part of its environment."""

from __future__ import annotations

from pathlib import PurePosixPath

from components.opa import MEMORY_MIB, OpaArgs, workload
from components.opa.properties import collector
from components.registry import COMPONENTS
from contracts.workload import Layout, Workload
from placements.kubernetes.pods import resources

PROGRAM_MIB = 40
"""What of the program itself is resident, beside Go's memory."""


def made() -> Workload:
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
    layout = Layout(
        artifact_dir=PurePosixPath("/cache/opa/1"),
        files_dir=PurePosixPath("/home/files"),
        data_dir=PurePosixPath("/home/data"),
        scratch_dir=PurePosixPath("/home/scratch"),
        python="/venv/bin/python",
        source_dir=PurePosixPath("/source"),
        cache_dir=PurePosixPath("/cache/warm"),
        java_home=None,
        bind_address="127.0.0.1",
        ports={"http": 28016},
    )
    return workload(args, layout)


def test_garbage_is_collected_a_quarter_as_often_below_twice_the_expected_memory() -> None:
    assert collector(128) == {"GOGC": "400", "GOMEMLIMIT": "256MiB"}


def test_memory_is_declared_once() -> None:
    found = made()
    assert found.memory_mib == COMPONENTS["opa"].memory_mib == MEMORY_MIB
    assert {name: found.env[name] for name in ("GOGC", "GOMEMLIMIT")} == collector(MEMORY_MIB)


def test_a_pod_may_reach_the_ceiling() -> None:
    """Go collects before the kernel ends the process."""
    limit_mib = int(resources(made())["limits"]["memory"].removesuffix("Mi"))
    ceiling_mib = int(collector(MEMORY_MIB)["GOMEMLIMIT"].removesuffix("MiB"))
    assert ceiling_mib + PROGRAM_MIB < 0.8 * limit_mib
