"""A persistent stack that keeps data inside the cluster, and a lab stack on it, under Pulumi's mocks."""

from __future__ import annotations

import base64
import json
import re

import pytest

from contracts.versions import IMAGES
from tests.mocks.test_kubernetes import (
    ALL,
    DATABASE_URL,
    NAMESPACE,
    Inputs,
    Registered,
    container_of,
    make_inputs,
    opened,
    pod_of,
    recorded,
)
from tests.mocks.test_stacks import PROCESS, plain

DATA = f"{NAMESPACE}-data"
INSIDE = "dataServices=inside"
SERVICES = {"postgres": 5432, "s3": 9000}
DATABASES = "pulumi-python:dynamic/lab:Databases"
OBJECTS = "pulumi-python:dynamic/lab:ObjectStore"
SERVERS = "pulumi-python:dynamic/lab:ExternalServers"
SECRET_MARK = "4dabf18193072939515e22adb298388d"  # the SDK's own


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inside"))


@pytest.fixture(scope="module")
def kept(inputs: Inputs) -> Registered:
    found = recorded(inputs, "persistent", INSIDE, f"imagesFile={inputs.images}")
    assert found.error is None
    return found


def test_both_services_lie_in_a_namespace_of_their_own_and_are_the_persistent_stacks(
    kept: Registered,
) -> None:
    beside = [r for r in kept.on_the_cluster if opened(r["inputs"])["metadata"].get("namespace") == DATA]
    assert set(kept.objects("StatefulSet")) == set(SERVICES)
    for resource in beside:
        labels = opened(resource["inputs"])["metadata"]["labels"]
        assert labels["lakehouse-lab/stack"] == "persistent", resource["name"]
        assert labels["lakehouse-lab/lab"] == "lab"
    kinds = sorted(r["type"].rsplit(":", 1)[-1] for r in beside)
    assert kinds == sorted(
        [
            *("CronJob", "LimitRange", "ResourceQuota", *(2 * ["ConfigMap"])),
            *(2 * ["StatefulSet", "Service", "PodDisruptionBudget"]),
            *(3 * ["Secret", "ServiceAccount"]),
            *(7 * ["NetworkPolicy"]),
        ]
    )
    namespace = kept.objects("Namespace")[DATA]["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {s["spec"]["type"] for s in kept.objects("Service").values()} == {"ClusterIP"}


def test_volumes_are_retained_and_sized_as_asked_for(inputs: Inputs) -> None:
    sizes = ("databaseVolumeMib=2048", "objectStoreVolumeMib=4096", "storageClass=fast")
    found = recorded(inputs, "persistent", INSIDE, f"imagesFile={inputs.images}", *sizes)
    wanted = {"postgres": "2Gi", "s3": "4Gi"}
    for name, controller in found.objects("StatefulSet").items():
        spec = controller["spec"]
        assert (spec["replicas"], spec["serviceName"]) == (1, name)
        policy = spec["persistentVolumeClaimRetentionPolicy"]
        assert policy == {"whenDeleted": "Retain", "whenScaled": "Retain"}
        (claim,) = spec["volumeClaimTemplates"]
        assert claim["spec"]["resources"]["requests"]["storage"] == wanted[name]
        assert claim["spec"]["storageClassName"] == "fast"
        mounted = {m["name"]: m["mountPath"] for m in container_of(controller)["volumeMounts"]}
        assert mounted[claim["metadata"]["name"]] in container_of(controller)["command"]


def test_namespace_and_servers_are_protected_until_that_is_taken_away(
    kept: Registered, inputs: Inputs
) -> None:
    def protected(found: Registered) -> set[str]:
        return {r["name"] for r in found.on_the_cluster if r["options"]["protect"]}

    holds = {r["name"] for r in kept.on_the_cluster if r["name"].startswith("data-")}
    assert protected(kept) == {DATA, *SERVICES, *holds}
    for name in SERVICES:
        kinds = {
            r["type"].rsplit(":", 1)[-1]
            for r in kept.on_the_cluster
            if r["name"] == name and r["options"]["protect"]
        }
        assert kinds == {"StatefulSet"}, "what is made anew with each change can't be"
    given = (INSIDE, f"imagesFile={inputs.images}", "dataProtect=false")
    assert protected(recorded(inputs, "persistent", *given)) == set()


def test_pods_are_restricted_read_only_and_run_images_by_digest(kept: Registered) -> None:
    for name, controller in kept.objects("StatefulSet").items():
        container, pod = container_of(controller), pod_of(controller)
        assert re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", container["image"])
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
        assert "memory" in container["resources"]["limits"]
        assert {p["containerPort"] for p in container["ports"]} == {SERVICES[name]}
        assert "lifecycle" not in container, "an image has no shell to be stopped by"


def test_the_quota_has_room_for_both_and_a_backup(kept: Registered) -> None:
    from placements.kubernetes.inside import QUOTA_CPU_MILLICORES, QUOTA_MEMORY_MIB

    asked = [container_of(c)["resources"]["requests"] for c in kept.objects("StatefulSet").values()]
    assert sum(int(r["memory"].removesuffix("Mi")) for r in asked) <= QUOTA_MEMORY_MIB - 512
    assert sum(int(r["cpu"].removesuffix("m")) for r in asked) <= QUOTA_CPU_MILLICORES - 200


def test_only_pods_of_the_lab_that_declare_it_reach_a_service(kept: Registered, inputs: Inputs) -> None:
    policies = {
        name: p["spec"]
        for name, p in kept.objects("NetworkPolicy").items()
        if p["metadata"]["namespace"] == DATA
    }
    assert policies["data-networkpolicy-default-deny"]["podSelector"] == {}
    assert set(policies["data-networkpolicy-default-deny"]["policyTypes"]) == {"Ingress", "Egress"}
    lab = recorded(inputs, "lab", ALL)
    for service, port in (("postgres", "tcp"), ("s3", "http")):
        (rule,) = policies[f"{service}-from-lab"]["ingress"]
        assert [p["port"] for p in rule["ports"]] == [port]
        (source,) = rule["from"]
        assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
        wanted = source["podSelector"]["matchLabels"].items()
        let_in = {
            name
            for name, controller in lab.controllers.items()
            if wanted <= controller["spec"]["template"]["metadata"]["labels"].items()
        }
        assert (
            let_in
            == {
                "postgres": {"keycloak", "catalog", "governor", "control-plane", "agent", "trino"},
                "s3": {"catalog", "governor", "opa", "trino", "control-plane"},
            }[service]
        )


def test_a_lab_stack_may_go_to_the_services_beside_it_and_not_to_any_host(
    kept: Registered, inputs: Inputs
) -> None:
    hosts = {"LAB_TEST_DATABASE_HOST": f"postgres.{DATA}.svc", "LAB_TEST_STORE_HOST": f"s3.{DATA}.svc"}
    found = recorded(inputs, "lab", "components=trino", env=hosts)
    assert found.error is None
    egress = json.dumps(found.objects("NetworkPolicy")["catalog-egress"]["spec"])
    assert "ipBlock" not in egress
    assert f'"kubernetes.io/metadata.name": "{DATA}"' in egress
    for name, port in SERVICES.items():
        assert f'"app.kubernetes.io/component": "{name}"' in egress
        assert f'"port": {port}' in egress


ANSWERS = {"postgres": (None, True), "s3": ("/minio/health/cluster", False)}


def test_databases_buckets_and_users_are_made_through_the_tunnels_after_the_servers_run(
    kept: Registered,
) -> None:
    tunnels = {name: json.loads(plain(inputs["spec"])) for name, inputs in kept.of(PROCESS).items()}
    assert set(tunnels) == set(SERVICES)
    assert "28000:5432" in tunnels["postgres"]["argv"]
    assert "28004:9000" in tunnels["s3"]["argv"]
    for name, spec in tunnels.items():
        assert "--address=127.0.0.1" in spec["argv"]
        assert f"--namespace={DATA}" in spec["argv"]
        assert f"service/{name}" in spec["argv"]
        assert (spec["liveness"]["path"], spec["liveness"]["postgresql"]) == ANSWERS[name]
    (databases,) = kept.of(DATABASES).values()
    assert (databases["host"], databases["port"], databases["superuser"]) == ("127.0.0.1", 28000, "postgres")
    assert set(databases["databases"]) == {
        f"lab_{purpose}"
        for purpose in ("catalog", "keycloak", "governance", "masking", "control_plane", "agent")
    }
    (objects,) = kept.of(OBJECTS).values()
    assert objects["endpoint"] == "127.0.0.1:28004"
    assert objects["buckets"] == {"lab-warehouse": "versioned", "lab-policy": "plain", "lab-backup": "plain"}
    assert set(objects["users"]) == {"lab-catalog", "lab-governor", "lab-opa", "lab-backup"}
    order = [r["type"] for r in kept.resources]
    servers = order.index(SERVERS)
    assert max(order.index(DATABASES), order.index(OBJECTS)) < servers
    assert servers < max(i for i, kind in enumerate(order) if kind.endswith(":Namespace")), "the lab's own"


def test_a_store_that_does_not_narrow_sessions_is_found_out_by_the_same_check(kept: Registered) -> None:
    (checked,) = kept.of(SERVERS).values()
    store, server = opened(checked["store"]), opened(checked["server"])
    assert store["endpoint_url"] == "http://127.0.0.1:28004"
    assert set(store["keys"]) == {"catalog", "governor", "opa"}
    assert server["ssl_mode"] == "require"
    assert checked["databases"] == []


def test_no_secret_stands_outside_a_secret(kept: Registered) -> None:
    secrets = {r["name"] for r in kept.resources if r["type"].endswith("RandomPassword")}
    values = {f"random-{name}" for name in secrets}
    assert {"random-lab-postgres", "random-lab-store-root", "random-lab-database-backup"} <= values
    seen = set()
    for resource in kept.on_the_cluster:
        text = json.dumps(opened(resource["inputs"]))
        if resource["type"].endswith(":Secret"):
            assert SECRET_MARK in resource["inputs"]["data"], "it is not marked secret"
            inner = " ".join(base64.b64decode(v).decode() for v in plain(resource["inputs"]["data"]).values())
            seen |= {value for value in values if value in inner}
            name = plain(opened(resource["inputs"])["metadata"]["name"])
            assert re.search(r"-[0-9a-f]{10}$", name), "its name is that of its content"
            continue
        assert not [v for v in values if v in text], resource["name"]
    assert "random-lab-store-root" in seen
    for kind, keys in {
        DATABASES: ("superuser_password", "passwords"),
        OBJECTS: ("root_password", "secret_keys"),
        SERVERS: ("server", "store"),
    }.items():
        (made,) = kept.of(kind).values()
        for key in keys:
            assert SECRET_MARK in made[key], (kind, key)
        bare = json.dumps({k: v for k, v in made.items() if k not in keys}, default=str)
        assert not [v for v in values if v in bare], kind


def test_images_of_the_data_services_are_asked_for_before_anything_is_made(inputs: Inputs) -> None:
    found = recorded(inputs, "persistent", INSIDE)
    assert "digest is not known" in (found.error or "")
    assert "minio, postgresql" in (found.error or "")
    assert not found.objects("StatefulSet")
    assert {"minio", "postgresql"} <= set(IMAGES)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ((DATABASE_URL,), "setting 'databaseUrl' does nothing with data services inside"),
        (("objectStoreUrl=https://s3.example",), "setting 'objectStoreUrl' does nothing"),
        (("objectStorePathStyle=false",), "setting 'objectStorePathStyle' does nothing"),
        (("moreLabs=team-b",), "data services inside the cluster are one lab's"),
        ((f"namespace={'n' * 60}",), "too long a name"),
    ],
)
def test_what_data_services_inside_the_cluster_can_t_be_is_refused_before_anything_is_made(
    inputs: Inputs, pairs: tuple[str, ...], said: str
) -> None:
    found = recorded(inputs, "persistent", INSIDE, f"imagesFile={inputs.images}", *pairs)
    assert said in (found.error or "")
    assert found.resources == []


def test_the_lab_is_told_where_they_are_and_the_operator_where_the_tunnel_ends(inputs: Inputs) -> None:
    endpoint = {"LAB_TEST_OPERATOR_STORE": "http://127.0.0.1:28004"}
    for kind in ("Tables", "Access"):
        (seed,) = (
            recorded(inputs, "lab", "components=trino", env=endpoint)
            .of(f"pulumi-python:dynamic/lab:{kind}")
            .values()
        )
        assert plain(seed["connection"])["properties"] == {"s3.endpoint": "http://127.0.0.1:28004"}
    (seed,) = recorded(inputs, "lab", "components=trino").of("pulumi-python:dynamic/lab:Tables").values()
    assert plain(seed["connection"])["properties"] == {}


def test_backups_are_scheduled_reach_both_services_and_are_told_of_in_secret(kept: Registered) -> None:
    (schedule,) = kept.objects("CronJob").values()
    assert schedule["spec"]["schedule"] == "17 2 * * *"
    pod = schedule["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    env = {e["name"]: e["value"] for e in container["env"]}
    assert env["BACKUP_DATABASE_HOST"] == f"postgres.{DATA}.svc"
    assert env["BACKUP_S3_ENDPOINT_URL"] == f"http://s3.{DATA}.svc:9000"
    assert env["BACKUP_KEEP"] == "7"
    assert "governor@sha256:" in container["image"]
    policies = {name: policy["spec"] for name, policy in kept.objects("NetworkPolicy").items()}
    for name in ("postgres-from-postgres-backup", "s3-from-postgres-backup", "postgres-backup-egress"):
        assert "postgres-backup" in json.dumps(policies[name])


def test_a_schedule_is_the_users_and_may_be_none(inputs: Inputs) -> None:
    given = (INSIDE, f"imagesFile={inputs.images}", "backupSchedule=", "backupKeep=30")
    (schedule,) = recorded(inputs, "persistent", *given).objects("CronJob").values()
    assert schedule["spec"]["suspend"] is True
