"""Both stacks under Pulumi's mocks: what they register, without an engine."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from components.registry import COMPONENTS
from contracts.identity import lab_realm
from tests.unit.slots import make_slot

ROOT = Path(__file__).resolve().parents[2]
SLOT = make_slot()
PROCESS = "pulumi-python:dynamic/lab:Process"
PASSWORD = "random:index/randomPassword:RandomPassword"


@dataclass(frozen=True)
class Recorded:
    """Registrations in order, and the error that ended the program."""

    resources: list[dict[str, Any]]
    error: str | None

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        return {r["name"]: r["inputs"] for r in self.resources if r["type"] == kind}

    @property
    def specs(self) -> dict[str, dict[str, Any]]:
        return {name: json.loads(plain(inputs["spec"])) for name, inputs in self.of(PROCESS).items()}


@cache
def run(role: str, *pairs: str) -> Recorded:
    command = [sys.executable, "-m", "tests.mocks.record", role, "home=/nonexistent/lab", *pairs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    return Recorded(document["resources"], document["error"])


def plain(value: Any) -> Any:
    """A secret as the engine sends it, opened."""
    if isinstance(value, dict) and "4dabf18193072939515e22adb298388d" in value:
        return plain(value["value"])
    return value


def test_the_lab_stack_deploys_core_and_saved_set() -> None:
    found = run("lab")
    assert found.error is None
    assert set(found.specs) == {"keycloak", "catalog", "opa", "governor", "trino", "trino-tokens"}


def test_services_are_those_that_their_components_name() -> None:
    """What no component names, the next ``lab up`` takes for left over."""
    names = [info.name for info in COMPONENTS.values() if not info.core]
    found = run("lab", f"components={','.join(names)}")
    assert found.error is None
    named = {name for info in COMPONENTS.values() for name in info.services}
    assert set(found.specs) == named


def test_spark_runs_beside_trino_or_without_it() -> None:
    found = run("lab", "components=trino,spark")
    assert found.error is None
    assert set(found.specs) == {"keycloak", "catalog", "opa", "governor", "trino", "trino-tokens", "spark"}
    spark = found.specs["spark"]
    assert spark["memory_mib"] > 1000
    assert SLOT.secrets.client_secrets["spark"] not in json.dumps([spark["files"], spark["argv"]])
    assert found.of(PROCESS)["spark"]["artifacts"] == [
        "spark", "iceberg-spark-runtime", "iceberg-aws-bundle", "java21"
    ]  # fmt: skip
    assert "trino" not in run("lab", "components=spark").specs


def test_the_agent_brings_trino_and_its_libraries() -> None:
    found = run("lab", "components=agent")
    assert found.error is None
    assert set(found.specs) == {"keycloak", "catalog", "opa", "governor", "trino", "trino-tokens", "agent"}
    agent = found.specs["agent"]
    assert found.of(PROCESS)["agent"]["artifacts"] == ["agent-libraries"]
    assert "AGENT_MODEL" not in agent["env"]
    assert agent["env"]["AGENT_CONTROL_PLANE_URL"] == ""
    beside = run("lab", "components=agent,control-plane").specs["agent"]
    assert beside["env"]["AGENT_CONTROL_PLANE_URL"].startswith("http://127.0.0.1:")
    assert SLOT.agent_database.password not in json.dumps([agent["files"], agent["argv"]])


def test_workers_are_refused_where_one_machine_runs_everything() -> None:
    found = run("lab", "trinoWorkers=2")
    assert "no workers of its own on placement 'local'" in (found.error or "")
    assert not found.of(PROCESS)


def test_core_alone_has_no_engine() -> None:
    assert set(run("lab", "components=").specs) == {"keycloak", "catalog", "opa", "governor"}


def test_without_sample_data_only_access_is_seeded() -> None:
    assert not run("lab", "sampleData=false").of("pulumi-python:dynamic/lab:Tables")
    assert run("lab", "sampleData=false").of("pulumi-python:dynamic/lab:Access")


def test_no_secret_stands_in_an_argument_and_nothing_binds_every_address() -> None:
    secrets = {
        SLOT.keycloak_database.password,
        SLOT.catalog_database.password,
        SLOT.governance_database.password,
        SLOT.secrets.keycloak_admin_client_secret,
        SLOT.secrets.trino_internal_secret,
        SLOT.secrets.opa_token,
        SLOT.secrets.catalog_root_secret,
        SLOT.catalog_store_user.secret_key,
        *SLOT.secrets.client_secrets.values(),
    }
    for name, spec in run("lab").specs.items():
        assert not [s for s in secrets if s in spec["argv"]], name
        assert "0.0.0.0" not in json.dumps(spec), name  # noqa: S104 (looked for, not bound)


def test_generated_files_hold_no_password() -> None:
    """Secrets reach services by environment; the files that are secret as a whole are PEM keys."""
    passwords = {SLOT.keycloak_database.password, *SLOT.secrets.client_secrets.values()}
    for name, spec in run("lab").specs.items():
        for file, content in spec["files"].items():
            assert not [p for p in passwords if p in content], f"{name}/{file}"


def test_the_plan_is_secret() -> None:
    for name, inputs in run("lab").of(PROCESS).items():
        assert isinstance(inputs["spec"], dict), f"{name}: the spec is not marked secret"


def test_every_persona_group_and_client_of_the_model_is_declared() -> None:
    found, model = run("lab"), lab_realm("lab")
    users = {inputs["username"] for inputs in found.of("keycloak:index/user:User").values()}
    groups = {inputs["name"] for inputs in found.of("keycloak:index/group:Group").values()}
    clients = {i["clientId"]: i for i in found.of("keycloak:openid/client:Client").values()}
    assert users == {p.username for p in model.personas}
    assert groups == {g.name for g in model.groups}
    assert set(clients) == {c.client_id for c in model.clients}
    password = {name for name, inputs in clients.items() if inputs.get("directAccessGrantsEnabled")}
    assert password == {"personas"}, "the password grant exists on one client only"
    assert {name for name, i in clients.items() if i["accessType"] == "PUBLIC"} == {"cli", "mcp"}
    assert {clients[name]["pkceCodeChallengeMethod"] for name in ("cli", "mcp")} == {"S256"}
    assert clients["cli"]["validRedirectUris"] == ["http://127.0.0.1/callback"]
    assert "http://localhost/oauth/callback" in clients["mcp"]["validRedirectUris"]


def test_another_catalog_than_the_pinned_one_is_refused() -> None:
    assert "pins catalog 'nessie'" in (run("lab", "catalog=polaris").error or "")


def test_the_persistent_stack_makes_every_secret_of_the_model() -> None:
    found = run("persistent")
    passwords = {name.removeprefix("lab-") for name in found.of(PASSWORD)}
    for persona in lab_realm("lab").personas:
        assert f"persona-{persona.username}" in passwords
    for client in lab_realm("lab").clients:
        expected = not client.public and not client.bearer_only
        assert (f"client-{client.client_id}" in passwords) == expected
    assert set(found.specs) == {"postgres", "s3"}
