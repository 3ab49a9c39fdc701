"""Both stacks on a cluster, under Pulumi's mocks: what they register, without an engine or a cluster."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.versions import IMAGES
from tests.mocks.test_stacks import PASSWORD, PROCESS, ROOT, plain
from tests.unit.fake_kubectl import CLUSTER_ID, install
from tests.unit.slots import make_slot

SLOT = make_slot()
NAMESPACE = "lakehouse-lab"
CORE = {"keycloak", "catalog", "opa", "governor"}
ALL = "components=trino,control-plane,agent"
INGRESS_DOMAIN = "lab.example"
INGRESS = (f"ingressDomain={INGRESS_DOMAIN}", "ingressNamespace=ingress-nginx", "ingressClass=nginx")
WORKERS = ("components=trino", "trinoWorkers=2", "trinoMaxWorkers=4")
DATABASE_URL = "databaseUrl=postgresql://admin:admin-password@10.1.2.3:5432/postgres?sslmode=verify-full"
KEYS = {user: [f"{user}-id", f"{user}-secret-key"] for user in ("catalog", "governor", "opa")}
EXTERNAL = (DATABASE_URL, "objectStoreUrl=https://s3.example", f"objectStoreKeys={json.dumps(KEYS)}")


@dataclass(frozen=True)
class Registered:
    """Registrations of one run, and the error that ended it."""

    resources: list[dict[str, Any]]
    error: str | None

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """Manifests of the cluster's objects of one kind, by the resource's name."""
        return {
            r["name"]: opened(r["inputs"])
            for r in self.resources
            if re.fullmatch(rf"kubernetes:[^:]*:{kind}", r["type"])
        }

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Inputs of all resources of one type."""
        return {r["name"]: r["inputs"] for r in self.resources if r["type"] == kind}

    @property
    def on_the_cluster(self) -> list[dict[str, Any]]:
        return [r for r in self.resources if r["type"].startswith("kubernetes:")]

    @property
    def controllers(self) -> dict[str, dict[str, Any]]:
        return {**self.objects("Deployment"), **self.objects("StatefulSet")}


def opened(value: Any) -> Any:
    """Every secret in ``value`` opened."""
    value = plain(value)
    if isinstance(value, dict):
        return {key: opened(inner) for key, inner in value.items()}
    return [opened(inner) for inner in value] if isinstance(value, list) else value


Run = Callable[..., Registered]


@dataclass(frozen=True)
class Inputs:
    """What a stack on a cluster is pointed at."""

    programs: Path
    kubeconfig: Path
    images: Path


def make_inputs(folder: Path) -> Inputs:
    """A kubectl, a kubeconfig and references of all images, in ``folder``."""
    install(folder / "bin")
    (folder / "kubeconfig").write_text("apiVersion: v1\n")
    images = {name: f"registry.example/lab/{name}@sha256:{number:064x}" for number, name in enumerate(IMAGES)}
    (folder / "images.json").write_text(json.dumps(images))
    return Inputs(folder / "bin", folder / "kubeconfig", folder / "images.json")


def recorded(
    inputs: Inputs, role: str, *pairs: str, images: bool = True, env: Mapping[str, str] | None = None
) -> Registered:
    """What the program of a stack registers."""
    given = [f"kubeconfig={inputs.kubeconfig}", "placement=kubernetes", "home=/nonexistent/lab"]
    if images and role == "lab":
        given.append(f"imagesFile={inputs.images}")
    command = (sys.executable, "-m", "tests.mocks.record", role, *given, *pairs)
    environment = {**os.environ, "PATH": f"{inputs.programs}:{os.environ['PATH']}", **(env or {})}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    return Registered(document["resources"], document["error"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a stack; each combination once."""
    inputs = make_inputs(tmp_path_factory.mktemp("cluster"))
    known: dict[str, Registered] = {}

    def run(role: str, *pairs: str, images: bool = True, env: Mapping[str, str] | None = None) -> Registered:
        key = repr((role, pairs, images, env))
        if key not in known:
            known[key] = recorded(inputs, role, *pairs, images=images, env=env)
        return known[key]

    return run


def pod_of(controller: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = controller["spec"]["template"]["spec"]
    return spec


def container_of(controller: Mapping[str, Any]) -> dict[str, Any]:
    (container,) = pod_of(controller)["containers"]
    return dict(container)


def test_every_component_becomes_a_workload_with_all_that_belongs_to_one(run: Run) -> None:
    found = run("lab", ALL)
    assert found.error is None
    expected = {*CORE, "trino", "trino-tokens", "control-plane", "agent"}
    assert set(found.controllers) == expected
    assert set(found.objects("StatefulSet")) == {"governor"}, "its audit spool outlives it"
    for kind in ("Service", "ServiceAccount", "PodDisruptionBudget"):
        assert set(found.objects(kind)) == expected, kind


def test_the_operator_reaches_everything_by_tunnels_on_fixed_loopback_ports(run: Run) -> None:
    found = run("lab", ALL)
    tunnels = {name: json.loads(plain(inputs["spec"])) for name, inputs in found.of(PROCESS).items()}
    assert set(tunnels) == set(found.controllers)
    for name, spec in tunnels.items():
        assert spec["argv"][0].endswith("/kubectl")
        assert "--address=127.0.0.1" in spec["argv"], name
        assert f"--namespace={NAMESPACE}" in spec["argv"]
        assert f"service/{name}" in spec["argv"]
    assert "28008:8080" in tunnels["keycloak"]["argv"]
    keycloak = {e["name"]: e["value"] for e in container_of(found.controllers["keycloak"])["env"]}
    assert keycloak["KC_HOSTNAME"] == "http://127.0.0.1:28008", "one issuer inside and outside"


def test_a_tunnel_is_ready_and_alive_while_somebody_answers_at_its_other_end(run: Run) -> None:
    """And started again soon, however often a connection that ends badly ended it."""
    tunnels = {
        name: json.loads(plain(inputs["spec"])) for name, inputs in run("lab", ALL).of(PROCESS).items()
    }
    for name, spec in tunnels.items():
        assert {**spec["liveness"], "period_s": 0} == {**spec["probe"], "period_s": 0}, name
        assert (spec["liveness"]["period_s"], spec["restarts"]["delay_max_s"]) == (5.0, 5.0)
        assert spec["restarts"]["stable_s"] == 0
        assert spec["probe"]["port"] in spec["ports"].values()
        assert spec["probe"]["path"], "an open port is no answer"
        assert (spec["probe"]["statuses"], spec["probe"]["verified"]) == ([], False)
    assert {name for name, spec in tunnels.items() if spec["probe"]["tls"]} == {"trino"}
    assert tunnels["catalog"]["probe"]["port"] == tunnels["catalog"]["ports"]["management"]


def test_a_tunnel_is_made_anew_with_the_pods_that_it_leads_to(run: Run) -> None:
    plans = [
        {name: plain(inputs["plan_hash"]) for name, inputs in run("lab", *pairs).of(PROCESS).items()}
        for pairs in ((ALL,), (ALL, "trinoHeapMib=2048"))
    ]
    assert {name for name in plans[0] if plans[0][name] != plans[1][name]} == {"trino"}


def test_seeds_go_through_the_tunnels_and_services_do_not(run: Run) -> None:
    found = run("lab", ALL)
    (access,) = found.of("pulumi-python:dynamic/lab:Access").values()
    connection = plain(access["connection"])
    for key in ("catalog_uri", "token_url", "governor_url"):
        assert plain(connection[key]).startswith("http://127.0.0.1:28"), key
    files = found.objects("ConfigMap")["trino-files"]["data"]
    assert f"http://catalog.{NAMESPACE}.svc:8080" in files["catalog..lake.properties"]
    assert "127.0.0.1" not in files["catalog..lake.properties"]


def test_images_are_given_by_digest(run: Run) -> None:
    for name, controller in run("lab", ALL).controllers.items():
        assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", container_of(controller)["image"]), name


def test_no_secret_stands_outside_a_secret(run: Run) -> None:
    """Neither in a manifest of another kind, nor unencrypted in the state."""
    secrets = {
        *(value for value in dataclasses.asdict(SLOT.secrets).values() if isinstance(value, str)),
        *SLOT.secrets.client_secrets.values(),
        *(getattr(SLOT, f.name).password for f in dataclasses.fields(SLOT) if f.name.endswith("_database")),
        *(
            getattr(SLOT, f.name).secret_key
            for f in dataclasses.fields(SLOT)
            if f.name.endswith("_store_user")
        ),
        SLOT.pki.server_key,
    } - {SLOT.secrets.catalog_token_public_key, SLOT.secrets.bundle_signing_public_key}
    # Words too plain to be looked for in texts.
    secrets = {secret for secret in secrets if "-" in secret}
    assert len(secrets) > 20
    found = run("lab", ALL)
    seen = set()
    for resource in found.on_the_cluster:
        kind = resource["type"].rsplit(":", 1)[-1]
        if kind != "Secret":
            text = json.dumps(opened(resource["inputs"]))
            assert not [s for s in secrets if s in text], (kind, resource["name"])
            continue
        assert "4dabf18193072939515e22adb298388d" in resource["inputs"]["data"], "it is not marked secret"
        seen |= {base64.b64decode(v).decode() for v in plain(resource["inputs"]["data"]).values()}
    assert SLOT.secrets.trino_internal_secret in seen
    assert SLOT.keycloak_database.password in seen


def test_pods_name_the_very_objects_that_were_made(run: Run) -> None:
    found = run("lab", ALL)
    made = {("configMap", o["metadata"]["name"]): o for o in found.objects("ConfigMap").values()} | {
        ("secret", o["metadata"]["name"]): o for o in found.objects("Secret").values()
    }
    used = set()
    for controller in found.controllers.values():
        for source in container_of(controller).get("envFrom", []):
            used.add(("secret", source["secretRef"]["name"]))
        for volume in pod_of(controller)["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                ((kind, reference),) = source.items()
                used.add((kind, reference["name"]))
                assert {item["key"] for item in reference["items"]} == set(
                    made[kind, reference["name"]]["data"]
                )
    assert used == set(made), "an object that no pod uses, or one that is missing"


def test_nothing_is_public(run: Run) -> None:
    found = run("lab", ALL)
    assert {service["spec"]["type"] for service in found.objects("Service").values()} == {"ClusterIP"}
    assert not found.objects("Ingress")
    kinds = {r["type"].rsplit(":", 1)[-1] for r in found.on_the_cluster}
    assert kinds == {
        *("Deployment", "StatefulSet", "Service", "ServiceAccount", "ConfigMap", "Secret"),
        *("NetworkPolicy", "PodDisruptionBudget"),
    }, "the lab stack owns nothing that lasts"


def test_every_object_lies_in_the_labs_namespace_and_carries_its_label(run: Run) -> None:
    for resource in run("lab", ALL).on_the_cluster:
        metadata = opened(resource["inputs"])["metadata"]
        assert metadata["namespace"] == NAMESPACE, resource["name"]
        assert metadata["labels"]["lakehouse-lab/lab"] == "lab", resource["name"]


@pytest.mark.parametrize("pairs", [(ALL,), ("components=trino",), ("components=",), WORKERS])
def test_every_address_a_workload_is_given_is_an_edge_that_it_declared(
    run: Run, pairs: tuple[str, ...]
) -> None:
    """A service that is told another's address and may not reach it fails on a cluster alone."""
    found = run("lab", *pairs)
    assert found.error is None
    maps = {o["metadata"]["name"]: o["data"] for o in found.objects("ConfigMap").values()}
    hidden = {
        o["metadata"]["name"]: {k: base64.b64decode(v).decode() for k, v in o["data"].items()}
        for o in found.objects("Secret").values()
    }
    numbers = {
        (name, port["containerPort"]): port["name"]
        for name, controller in found.controllers.items()
        for port in container_of(controller)["ports"]
    }
    open_edges = {
        (
            policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"],
            peer,
            port,
        )
        for policy in (o["spec"] for o in found.objects("NetworkPolicy").values())
        if policy["policyTypes"] == ["Ingress"]
        for peer in [policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"]]
        for port in [p["port"] for p in policy["ingress"][0]["ports"]]
    }
    for source, peer, port in open_edges:
        ports = [number for (name, number), named in numbers.items() if (name, named) == (peer, port)]
        assert ports or peer not in found.controllers, f"{source} may reach {peer}/{port}, which is no port"
    checked = 0
    for name, controller in found.controllers.items():
        text = json.dumps([e["value"] for e in container_of(controller)["env"]])
        for source in container_of(controller).get("envFrom", []):
            text += json.dumps(hidden[source["secretRef"]["name"]])
        for volume in pod_of(controller)["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                for kind, reference in source.items():
                    text += json.dumps((maps if kind == "configMap" else hidden)[reference["name"]])
        for peer, number in set(re.findall(rf"([a-z0-9-]+)\.{NAMESPACE}\.svc:(\d+)", text)):
            if peer == name or peer not in found.controllers:
                continue
            port = numbers[peer, int(number)]
            assert (name, peer, port) in open_edges, f"{name} is told of {peer}/{port} and may not reach it"
            checked += 1
    assert checked >= 4


def test_requests_of_core_and_trino_fit_a_node_of_16_gib(run: Run) -> None:
    requests = [
        container_of(controller)["resources"]["requests"]["memory"]
        for controller in run("lab", "components=trino").controllers.values()
    ]
    mib = {"Mi": 1, "Gi": 1024}
    assert sum(int(request[:-2]) * mib[request[-2:]] for request in requests) < 12 * 1024


def test_without_references_nothing_is_registered_on_the_cluster(run: Run) -> None:
    found = run("lab", images=False)
    assert "digest is not known" in (found.error or "")
    assert "lab images lock" in (found.error or "")
    assert found.on_the_cluster == []
    assert not found.of(PROCESS)


@pytest.mark.parametrize("role", ["lab", "persistent"])
def test_another_cluster_is_refused(run: Run, role: str) -> None:
    external = EXTERNAL if role == "persistent" else ()
    found = run(role, "clusterId=00000000-0000-4000-8000-000000000000", *external)
    assert "not the cluster of this lab" in (found.error or "")
    assert found.on_the_cluster == []
    assert not found.of(PASSWORD)


def test_a_lab_on_another_cluster_than_what_it_keeps_is_refused(run: Run, tmp_path: Path) -> None:
    install(tmp_path, cluster_id="00000000-0000-4000-8000-000000000000")
    found = run("lab", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert "the persistent stack was made on another cluster" in (found.error or "")
    assert found.on_the_cluster == []


def test_without_servers_of_their_own_nothing_is_registered(run: Run) -> None:
    found = run("persistent")
    assert "databaseUrl, objectStoreUrl, objectStoreKeys" in (found.error or "")
    assert found.resources == []


def test_the_persistent_stack_makes_the_namespace_after_the_servers_were_checked(run: Run) -> None:
    found = run("persistent", *EXTERNAL)
    assert found.error is None
    kinds = [r["type"].rsplit(":", 1)[-1] for r in found.on_the_cluster]
    assert sorted(kinds) == ["LimitRange", "Namespace", "NetworkPolicy", "NetworkPolicy", "ResourceQuota"]
    order = [r["type"] for r in found.resources]
    servers = "pulumi-python:dynamic/lab:ExternalServers"
    assert order.index(servers) < order.index("kubernetes:core/v1:Namespace")
    assert not found.of(PROCESS), "nothing runs on the operator's machine"


def test_credentials_of_external_servers_are_secret_in_the_state(run: Run) -> None:
    (servers,) = run("persistent", *EXTERNAL).of("pulumi-python:dynamic/lab:ExternalServers").values()
    for key in ("server", "store", "passwords"):
        assert "4dabf18193072939515e22adb298388d" in servers[key], key
    bare = json.dumps(
        {key: value for key, value in servers.items() if key not in ("server", "store", "passwords")}
    )
    assert "admin-password" not in bare
    assert "catalog-secret-key" not in bare


def test_the_provider_is_bound_to_the_cluster(run: Run) -> None:
    for found in (run("lab", ALL), run("persistent", *EXTERNAL)):
        (provider,) = found.of("pulumi:providers:kubernetes").values()
        assert provider["clusterIdentifier"] == CLUSTER_ID
        assert provider["enableServerSideApply"] in (True, "true")
