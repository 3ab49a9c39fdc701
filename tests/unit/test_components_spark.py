"""Spark as a workload: what the gateway is given, and what every driver has."""

from __future__ import annotations

import dataclasses
import json
from pathlib import PurePosixPath
from typing import Any

import pytest

from components.registry import COMPONENTS
from components.spark import DRIVER_MIB, GATEWAY_MIB, GATEWAY_MILLICORES, SparkArgs, connect_url, workload
from components.spark.properties import (
    ARTIFACTS,
    ExecutorSize,
    defaults,
    java_command,
    launch_plan,
    log_levels,
)
from contracts.errors import LabError
from contracts.settings import read_settings
from contracts.versions import SPARK, SPARK_PY4J_VERSION
from contracts.workload import Helpers, Scheme, WorkloadClass
from spark_gateway.drivers import LaunchPlan
from spark_gateway.settings import read_settings as read_gateway_settings
from tests.unit.layouts import layout
from tests.unit.slots import make_slot

LAYOUT = layout(
    {"http": 28028, "connect": 28029},
    java_home=PurePosixPath("/java21"),
    also={name: PurePosixPath(f"/cache/{name}") for name in ARTIFACTS},
)
ARGS = SparkArgs(
    issuer_url="http://issuer/realms/lab",
    jwks_url="http://keycloak/realms/lab/protocol/openid-connect/certs",
    token_url="http://keycloak/realms/lab/protocol/openid-connect/token",
    governor_url="http://governor",
    connect_url="sc://localhost:28029",
    heap_mib=768,
    max_runs=4,
    driver_millicores=500,
    executors=ExecutorSize(maximum=3, heap_mib=1024),
    executor_millicores=250,
    catalog_edge="governor/http",
    idle_s=900,
    defaults="{}",
    client_secret="secret-of-client-spark",
)
PLAN = LaunchPlan.from_json(launch_plan(LAYOUT, heap_mib=768, executors=ARGS.executors))


def properties(**changes: Any) -> dict[str, str]:
    given: dict[str, Any] = {
        "catalog_kind": "nessie",
        "catalog_uri": "http://catalog/iceberg",
        "token_url": "http://127.0.0.1:28028/v1/token",
        "bind_address": "127.0.0.1",
        "heap_mib": 768,
        "warehouse": make_slot().warehouse,
    }
    found: dict[str, str] = json.loads(defaults(**{**given, **changes}))
    return found


def test_drivers_get_no_secret_of_the_lab() -> None:
    made = workload(ARGS, LAYOUT)
    assert made.env["SPARK_GATEWAY_CLIENT_SECRET"] == "secret-of-client-spark"
    for text in (str(made.command), str(made.files), str(PLAN), json.dumps(properties())):
        assert "secret-of-client-spark" not in text
    assert not [name for name in PLAN.environment if "SECRET" in name or "TOKEN" in name]


def test_the_catalog_is_reached_with_a_token_of_the_users_own() -> None:
    found = properties()
    assert found["spark.sql.catalog.lake.uri"] == "http://catalog/iceberg"
    assert found["spark.sql.catalog.lake.oauth2-server-uri"] == "http://127.0.0.1:28028/v1/token"
    # The gateway exchanges; Iceberg's client asks it again with the credential of its run.
    assert found["spark.sql.catalog.lake.token-exchange-enabled"] == "false"
    assert found["spark.sql.catalog.lake.s3.path-style-access"] == "true"
    assert found["spark.sql.catalog.lake.header.X-Iceberg-Access-Delegation"] == "vended-credentials"
    assert not [key for key in found if key.endswith((".credential", ".token", "-key", "-secret"))]


@pytest.mark.parametrize(("kind", "retries"), [("nessie", "2"), ("polaris", "5")])
def test_a_refusal_that_looks_like_a_failure_is_not_repeated_for_long(kind: str, retries: str) -> None:
    assert properties(catalog_kind=kind)["spark.sql.catalog.lake.rest.client.max-retries"] == retries


def test_drivers_listen_on_the_loopback_and_know_each_other() -> None:
    found = properties()
    for key in ("spark.driver.bindAddress", "spark.driver.host", "spark.connect.grpc.binding.address"):
        assert found[key] == "127.0.0.1"
    assert found["spark.authenticate"] == "true"
    assert found["spark.ui.enabled"] == "false"


@pytest.mark.parametrize(("heap_mib", "threads"), [(512, 2), (768, 2), (2048, 4)])
def test_threads_fit_the_heap(heap_mib: int, threads: int) -> None:
    assert properties(heap_mib=heap_mib)["spark.master"] == f"local[{threads}]"


def test_java_and_class_path_come_from_the_cache() -> None:
    assert PLAN.java[0] == "/java21/bin/java"
    assert "-Xmx768m" in PLAN.java
    assert "-Dlog4j2.configurationFile=file:///labs/my%20lab/files/log4j2.properties" in PLAN.java
    assert PLAN.classpath == (
        "/cache/spark/deps/jars/*",
        "/cache/iceberg-spark-runtime/iceberg-spark-runtime.jar",
        "/cache/iceberg-aws-bundle/iceberg-aws-bundle.jar",
    )
    assert PLAN.environment["PYTHONPATH"].endswith(f"py4j-{SPARK_PY4J_VERSION}-src.zip")
    assert PLAN.spark_version == SPARK.version
    with pytest.raises(LabError, match="needs Java"):
        java_command(dataclasses.replace(LAYOUT, java_home=None), heap_mib=768)


def test_the_gateway_reads_what_it_is_given(tmp_path: Any) -> None:
    made = workload(ARGS, LAYOUT)
    (tmp_path / "plan.json").write_text(str(made.files["plan.json"]))
    (tmp_path / "defaults.json").write_text(json.dumps(properties()))
    environ = {str(key): str(value) for key, value in made.env.items()}
    environ["SPARK_GATEWAY_PLAN_FILE"] = str(tmp_path / "plan.json")
    environ["SPARK_GATEWAY_DEFAULTS_FILE"] = str(tmp_path / "defaults.json")
    settings = read_gateway_settings(environ)
    assert (settings.connect_port, settings.connect_url) == (28029, "sc://localhost:28029")
    assert (settings.port, settings.limits.max_runs, settings.limits.idle_s) == (28028, 4, 900)
    assert settings.plan == PLAN
    assert "secret-of-client-spark" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "x", "whole number"),
        ("PLAN_FILE", "/nonexistent", "can't be read"),
        ("CLIENT_SECRET", "", "is not set"),
        ("IDLE_S", "0", "whole number"),
    ],
)
def test_a_wrong_environment_is_named(name: str, value: str, said: str, tmp_path: Any) -> None:
    (tmp_path / "plan.json").write_text(launch_plan(LAYOUT, heap_mib=768, executors=ARGS.executors))
    (tmp_path / "defaults.json").write_text("{}")
    environ = {str(key): str(found) for key, found in workload(ARGS, LAYOUT).env.items()}
    environ["SPARK_GATEWAY_PLAN_FILE"] = str(tmp_path / "plan.json")
    environ["SPARK_GATEWAY_DEFAULTS_FILE"] = str(tmp_path / "defaults.json")
    with pytest.raises(LabError, match=said):
        read_gateway_settings({**environ, f"SPARK_GATEWAY_{name}": value})


def test_what_runs_for_a_user_is_declared_apart_from_the_gateway() -> None:
    made = workload(ARGS, LAYOUT)
    apart = made.per_user
    assert apart is not None
    # Drivers reach the catalog, the store and the gateway; the gateway reaches neither catalog nor store.
    assert tuple(apart.reaches) == ("governor/http", "s3/http", "spark/http")
    assert tuple(made.reaches) == ("keycloak/http", "governor/http")
    assert (apart.memory_mib, apart.maximum) == (768 + DRIVER_MIB, 4)
    assert made.memory_mib - apart.memory_mib == GATEWAY_MIB
    assert made.cpu_millicores - apart.cpu_millicores == GATEWAY_MILLICORES
    # Nodes of its class may end any moment: the gateway is not on one of them.
    assert (made.workload_class, apart.workload_class) == (WorkloadClass.SYSTEM, WorkloadClass.BATCH)
    assert apart.plan_variable not in made.env, "who runs them as processes is told nothing of pods"
    assert set(apart.files) <= set(made.files)


def test_clients_come_to_one_port_of_their_own_machine() -> None:
    # By another name, clients would want TLS before they show a token.
    assert connect_url("tcp://127.0.0.1:28029") == "sc://localhost:28029"
    ports = {port.name: port.scheme for port in workload(ARGS, LAYOUT).ports}
    assert ports == {"http": Scheme.HTTP, "connect": Scheme.TCP}


def test_logs_hold_warnings_and_no_more() -> None:
    assert "rootLogger.level=warn\n" in log_levels()


def test_the_row_says_what_one_user_takes(tmp_path: Any) -> None:
    heap_mib = read_settings({"role": "lab"}, {"LAB_HOME": str(tmp_path)}).values["sparkHeapMib"]
    made = workload(dataclasses.replace(ARGS, heap_mib=heap_mib), LAYOUT)
    assert made.memory_mib == GATEWAY_MIB + heap_mib + DRIVER_MIB
    assert COMPONENTS["spark"].memory_at({}) == made.memory_mib


def test_executors_come_with_work_and_go_without() -> None:
    executors = PLAN.executors
    assert executors is not None
    assert (executors.maximum, executors.threads) == (3, 2)
    assert "-Xmx1024m" in executors.java
    allocation = {
        key.removeprefix("spark.dynamicAllocation."): text
        for key, text in executors.properties.items()
        if key.startswith("spark.dynamicAllocation.")
    }
    assert allocation == {
        "enabled": "true",
        "initialExecutors": "0",
        "minExecutors": "0",
        "maxExecutors": "3",
        "executorIdleTimeout": "60s",
        "shuffleTracking.enabled": "true",
        "shuffleTracking.timeout": "300s",
    }
    assert executors.properties["spark.executor.memory"] == "1024m"
    assert executors.properties["spark.kubernetes.allocation.maxPendingPods"] == "2"


def test_what_passes_between_driver_and_executors_is_encrypted_and_no_secret_stands_in_the_plan() -> None:
    assert PLAN.executors is not None
    found = PLAN.executors.properties
    assert found["spark.network.crypto.enabled"] == "true"
    assert found["spark.network.crypto.saslFallback"] == "false"
    assert not [key for key in found if "secret" in key or "oauth" in key or "token" in key.lower()]


def test_one_that_works_alone_has_no_executors() -> None:
    alone = dataclasses.replace(ARGS, executors=ExecutorSize(maximum=0, heap_mib=1024))
    made = workload(alone, LAYOUT)
    assert LaunchPlan.from_json(str(made.files["plan.json"])).executors is None
    assert made.per_user is not None
    assert made.per_user.helpers is None
    helpers = workload(ARGS, LAYOUT).per_user
    assert helpers is not None
    assert helpers.helpers == Helpers(maximum=3, memory_mib=1024 + DRIVER_MIB, cpu_millicores=250)
    assert helpers.memory_mib == made.per_user.memory_mib, "on one machine there are none"
