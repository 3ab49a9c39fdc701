"""From a workload to a cluster's objects: pure functions."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest

from contracts.errors import LabError
from contracts.workload import (
    Capability,
    Drain,
    Entrance,
    Layout,
    Port,
    Probe,
    Scaling,
    Scheme,
    Volume,
    Workload,
    WorkloadClass,
)
from placements.kubernetes import objects
from placements.kubernetes.ingress import Publishing, admission, ingress
from placements.kubernetes.layout import image_layout, image_of
from placements.kubernetes.namespace import namespace_objects
from placements.kubernetes.naming import Manifest, Scope, content_name
from placements.kubernetes.network import edges, outside
from placements.kubernetes.pods import Content, escaped, probes, resources

SCOPE = Scope(lab="lab", namespace="lakehouse-lab", stack="lab")
IMAGE = f"registry.example/trino@sha256:{'0' * 64}"
CONTENT = Content(
    plain_env={"KEY": "value"},
    env_secret="trino-env-1",
    plain_files=("config.properties", "catalog/lake.properties"),
    config_map="trino-files-1",
    secret_files=("server.pem",),
    files_secret="trino-secret-files-1",
)
TRINO = Workload(
    name="trino",
    artifact="trino",
    command=["java"],
    ports=(Port(name="https", number=8080, scheme=Scheme.HTTPS), Port(name="internal", number=8081)),
    readiness=Probe(port="https", path="/v1/info", body_contains='"starting":false'),
    memory_mib=1324,
    cpu_millicores=1000,
    reaches=("opa/http", "catalog/http", "catalog/management", "postgres/tcp", "trino/internal"),
    workload_class=WorkloadClass.QUERY,
    stop_timeout_s=30.0,
)


WORKER = dataclasses.replace(
    TRINO,
    name="trino-worker",
    ports=TRINO.ports[:1],
    needs=frozenset({Capability.PROCESS, Capability.REPLICAS}),
    replicas=1,
    scaling=Scaling(maximum=6),
    drain=Drain(command=["python", "$(HOME)/drain.py"], timeout_s=600),
    addressed=False,
)


def layout() -> Layout:
    return image_layout("trino", "trino", ("https", "internal"))


def controller(workload: Workload = TRINO, scope: Scope = SCOPE, content: Content = CONTENT) -> Manifest:
    return objects.controller(workload, layout(), scope, image=IMAGE, command=["java"], content=content)


def pod(manifest: Manifest) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def test_paths_lie_in_the_image_and_ports_count_from_one_number() -> None:
    found = image_layout("control-plane", "python", ("http",), ("web",))
    assert str(found.source_dir) == "/opt/lakehouse-lab/source"
    assert str(found.also["web"]) == "/opt/lakehouse-lab/artifacts/web"
    assert found.java_home is None
    assert found.host == "control-plane"
    trino = layout()
    assert str(trino.java_home) == "/opt/lakehouse-lab/artifacts/java25"
    assert trino.ports == {"https": 8080, "internal": 8081}
    assert (image_of("trino", "trino"), image_of("governor", "python")) == ("trino", "governor")
    assert image_of("trino-tokens", "python") == "governor"


def test_pods_are_what_restricted_pod_security_admits() -> None:
    spec = pod(controller())
    security, container = spec["securityContext"], spec["containers"][0]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 9999
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        assert key not in spec
    assert all(set(volume) <= {"name", "emptyDir", "projected"} for volume in spec["volumes"])
    assert all("hostPort" not in port for port in container["ports"])
    assert all(port["containerPort"] > 1023 for port in container["ports"])


def test_files_lie_where_the_layout_says_and_secrets_apart() -> None:
    spec = pod(controller())
    files = next(volume for volume in spec["volumes"] if volume["name"] == "files")["projected"]
    assert files["defaultMode"] == 0o440
    plain, secret = files["sources"]
    assert plain["configMap"]["items"] == [
        {"key": "catalog..lake.properties", "path": "catalog/lake.properties"},
        {"key": "config.properties", "path": "config.properties"},
    ]
    assert secret["secret"] == {
        "name": "trino-secret-files-1",
        "items": [{"key": "server.pem", "path": "server.pem"}],
    }
    container = spec["containers"][0]
    mounted = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounted["/etc/lakehouse-lab"] == {
        "name": "files", "mountPath": "/etc/lakehouse-lab", "readOnly": True
    }  # fmt: skip
    assert {"/tmp", "/var/lib/lakehouse-lab", "/var/cache/lakehouse-lab"} <= set(mounted)
    assert container["envFrom"] == [{"secretRef": {"name": "trino-env-1"}}]
    assert {"name": "KEY", "value": "value"} in container["env"]


def test_a_workload_that_is_given_nothing_mounts_no_files() -> None:
    spec = pod(controller(content=Content()))
    assert "envFrom" not in spec["containers"][0]
    assert "files" not in {volume["name"] for volume in spec["volumes"]}
    assert {entry["name"] for entry in spec["containers"][0]["env"]} == {
        "HOME", "TMPDIR", "LANG", "LC_ALL", "TZ"
    }  # fmt: skip


def test_other_content_has_another_name_and_order_has_no_say() -> None:
    first = objects.config_map("opa", SCOPE, {"a": "1", "b": "2"})
    same = objects.config_map("opa", SCOPE, {"b": "2", "a": "1"})
    other = objects.config_map("opa", SCOPE, {"a": "1", "b": "3"})
    assert first == same
    assert first["metadata"]["name"] != other["metadata"]["name"]
    assert first["immutable"] is True
    assert content_name("x", {"a": "b"}) != content_name("x", {"ab": ""})


def test_a_secret_holds_what_it_was_given() -> None:
    data = objects.secret_data({"catalog/key.pem": "läkare\n"})
    assert list(data) == ["catalog..key.pem"]
    assert base64.b64decode(data["catalog..key.pem"]).decode() == "läkare\n"
    made = objects.secret("opa-env-1", "opa", SCOPE, data)
    assert (made["type"], made["immutable"], made["data"]) == ("Opaque", True, data)


def test_started_by_the_body_ready_by_the_status_alive_by_the_port() -> None:
    found = probes(TRINO, layout(), SCOPE)
    started = found["startupProbe"]
    command = started["exec"]["command"]
    assert command[0] == "/opt/lakehouse-lab/python/bin/python"
    assert command[3:] == [
        "https://127.0.0.1:8080/v1/info", "trino.lakehouse-lab.svc:8080", '"starting":false'
    ]  # fmt: skip
    assert started["periodSeconds"] * started["failureThreshold"] == TRINO.readiness.timeout_s
    assert found["readinessProbe"]["httpGet"] == {
        "path": "/v1/info",
        "port": "https",
        "scheme": "HTTPS",
        "httpHeaders": [{"name": "Host", "value": "trino.lakehouse-lab.svc:8080"}],
    }
    assert found["livenessProbe"]["tcpSocket"] == {"port": "https"}


def test_a_probe_of_a_port_alone() -> None:
    found = probes(dataclasses.replace(TRINO, readiness=Probe(port="internal")), layout(), SCOPE)
    assert found["startupProbe"]["tcpSocket"] == found["readinessProbe"]["tcpSocket"] == {"port": "internal"}


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        (Probe(port="grpc"), "names a port it does not have"),
        (Probe(port="https", path="/", statuses=(200, 401)), "a kubelet takes for failures"),
    ],
)
def test_a_probe_that_a_kubelet_cannot_make_is_refused(probe: Probe, said: str) -> None:
    with pytest.raises(LabError, match=said):
        controller(dataclasses.replace(TRINO, readiness=probe))


def test_one_replica_is_replaced_several_roll_apart() -> None:
    one = controller()
    assert one["spec"]["strategy"] == {"type": "Recreate"}
    assert pod(one)["hostname"] == "trino"
    assert "podAntiAffinity" not in pod(one)["affinity"]
    several = controller(dataclasses.replace(TRINO, replicas=3))
    assert several["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 1}
    assert "hostname" not in pod(several)
    apart = pod(several)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert apart[0]["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert {spread["topologyKey"] for spread in pod(several)["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone", "kubernetes.io/hostname"
    }  # fmt: skip


def test_what_is_scaled_leaves_the_number_of_its_pods_to_the_autoscaler() -> None:
    made = controller(WORKER)
    assert "replicas" not in made["spec"]
    assert controller(dataclasses.replace(WORKER, scaling=None, replicas=2))["spec"]["replicas"] == 2
    assert WORKER.scaling is not None
    scaler = objects.autoscaler(WORKER, WORKER.scaling, SCOPE, made["kind"])
    spec = scaler["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "trino-worker"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 6)
    (metric,) = spec["metrics"]
    assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    assert spec["behavior"]["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 60}]


def test_one_of_several_is_never_taken_for_the_only_one() -> None:
    """Even while there is one: its successor runs beside it, on another node where there is one."""
    for workload in (WORKER, dataclasses.replace(WORKER, scaling=None)):
        made = controller(workload)
        assert made["spec"]["strategy"]["type"] == "RollingUpdate"
        assert "hostname" not in pod(made)
        assert "podAntiAffinity" in pod(made)["affinity"]


def test_what_has_work_to_finish_is_asked_first_and_given_the_time() -> None:
    spec = pod(controller(WORKER))
    stopped = spec["containers"][0]["lifecycle"]["preStop"]
    assert stopped == {"exec": {"command": ["python", "$$(HOME)/drain.py"]}}, "nothing is expanded"
    assert spec["terminationGracePeriodSeconds"] == 600 + 30 + 5
    plain = pod(controller())
    assert "lifecycle" not in plain["containers"][0]
    assert plain["terminationGracePeriodSeconds"] == 30 + 5


def test_a_direct_name_leads_to_the_pod() -> None:
    assert "clusterIP" not in objects.service(TRINO, SCOPE)["spec"]
    assert objects.service(dataclasses.replace(TRINO, direct=True), SCOPE)["spec"]["clusterIP"] == "None"


def test_an_entrance_needs_a_port_of_the_workload() -> None:
    publishing = Publishing(domain="lab.example", controller_namespace="ingress-nginx")
    made = ingress(TRINO, Entrance(port="https"), SCOPE, publishing, certificate="tls")
    for manifest in (made, admission(TRINO, Entrance(port="https"), SCOPE, publishing)):
        assert manifest["metadata"]["labels"]["lakehouse-lab/lab"] == "lab"
    with pytest.raises(LabError, match="names a port it does not have"):
        ingress(TRINO, Entrance(port="grpc"), SCOPE, publishing, certificate="tls")
    with pytest.raises(LabError, match="names a port it does not have"):
        admission(TRINO, Entrance(port="grpc"), SCOPE, publishing)


def test_an_ingress_takes_what_the_settings_add() -> None:
    publishing = Publishing(
        domain="lab.example",
        controller_namespace="ingress-nginx",
        annotations={"example/size": "64m", "nginx.ingress.kubernetes.io/backend-protocol": "GRPCS"},
    )
    made = ingress(TRINO, Entrance(port="https"), SCOPE, publishing, certificate="ingress-tls-1")
    annotations = made["metadata"]["annotations"]
    assert annotations.items() >= publishing.annotations.items(), "the settings have the last word"
    assert annotations["pulumi.com/skipAwait"] == "true", "not every controller reports an address"
    assert "ingressClassName" not in made["spec"]
    plain = ingress(TRINO, Entrance(port="internal", paths=("/a", "/b")), SCOPE, Publishing(
        domain="lab.example", controller_namespace="ingress-nginx"
    ), certificate="ingress-tls-1")  # fmt: skip
    assert "nginx.ingress.kubernetes.io/backend-protocol" not in plain["metadata"]["annotations"]
    (rule,) = plain["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/a", "/b"]
    assert rule["http"]["paths"][0]["backend"] == {"service": {"name": "trino", "port": {"name": "internal"}}}


def test_nodes_of_the_class_are_preferred_or_required() -> None:
    preferred = pod(controller())
    node = preferred["affinity"]["nodeAffinity"]
    terms = node["preferredDuringSchedulingIgnoredDuringExecution"]
    assert terms[0]["preference"]["matchExpressions"][0]["values"] == ["query"]
    assert preferred["tolerations"][0]["value"] == "query"
    required = pod(controller(scope=dataclasses.replace(SCOPE, classes_required=True)))
    assert list(required["affinity"]["nodeAffinity"]) == ["requiredDuringSchedulingIgnoredDuringExecution"]


def test_what_is_retained_is_a_claim_that_outlives_the_lab() -> None:
    volumes = (Volume(name="audit", retained=True, size_mib=2048), Volume(name="results", size_mib=512))
    scope = dataclasses.replace(SCOPE, storage_class="standard")
    made = controller(dataclasses.replace(TRINO, volumes=volumes), scope)
    assert made["kind"] == "StatefulSet"
    spec = made["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "data-audit"
    assert claim["metadata"]["labels"]["lakehouse-lab/stack"] == "persistent"
    assert claim["spec"]["resources"] == {"requests": {"storage": "2Gi"}}
    assert claim["spec"]["storageClassName"] == "standard"
    names = {volume["name"]: volume for volume in pod(made)["volumes"]}
    assert names["data-results"] == {"name": "data-results", "emptyDir": {"sizeLimit": "512Mi"}}
    assert "data-audit" not in names
    mounted = {mount["name"]: mount["mountPath"] for mount in pod(made)["containers"][0]["volumeMounts"]}
    assert mounted["data-audit"] == "/var/lib/lakehouse-lab/audit"
    assert controller()["kind"] == "Deployment"


def test_memory_is_limited_and_processors_are_not() -> None:
    assert resources(TRINO) == {
        "requests": {"cpu": "1", "memory": "1324Mi"},
        "limits": {"memory": "1986Mi"},
    }
    assert resources(dataclasses.replace(TRINO, memory_mib=64))["limits"] == {"memory": "320Mi"}


def test_what_looks_like_a_variable_stays_as_it_is() -> None:
    assert escaped("a $(B) ${C} $D") == "a $$(B) ${C} $D"


def test_services_are_reached_from_inside_alone() -> None:
    made = objects.service(TRINO, SCOPE)
    assert made["spec"]["type"] == "ClusterIP"
    assert [(port["name"], port["port"], port["appProtocol"]) for port in made["spec"]["ports"]] == [
        ("https", 8080, "https"), ("internal", 8081, "http")
    ]  # fmt: skip
    assert made["spec"]["selector"].items() <= controller()["spec"]["template"]["metadata"]["labels"].items()
    # It would hold one of the engine's few workers until its pods run.
    assert made["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_only_declared_edges_are_open_at_both_ends() -> None:
    scope = dataclasses.replace(SCOPE, external={"postgres": outside(5432, "10.1.2.3")})
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in edges(TRINO, scope)}
    assert set(policies) == {"trino-egress", "opa-from-trino", "catalog-from-trino", "trino-from-trino"}
    egress = policies["trino-egress"]
    assert egress["policyTypes"] == ["Egress"]
    assert egress["podSelector"] == {"matchLabels": SCOPE.selector("trino")}
    assert {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"protocol": "TCP", "port": 5432}]} in (
        egress["egress"]
    )
    catalog = policies["catalog-from-trino"]
    assert catalog["podSelector"] == {"matchLabels": SCOPE.selector("catalog")}
    assert catalog["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": SCOPE.selector("trino")}}],
            "ports": [{"protocol": "TCP", "port": "http"}, {"protocol": "TCP", "port": "management"}],
        }
    ]


def test_a_workload_that_reaches_nobody_opens_nothing() -> None:
    assert edges(dataclasses.replace(TRINO, reaches=()), SCOPE) == []
    (alone,) = edges(dataclasses.replace(TRINO, reaches=(), reaches_outside=(443,)), SCOPE)
    assert alone["spec"]["egress"][0]["ports"] == [{"protocol": "TCP", "port": 443}]


@pytest.mark.parametrize("edge", ["opa", "opa/", "/http", "opa/http/1"])
def test_an_edge_that_is_not_understood_is_refused(edge: str) -> None:
    with pytest.raises(LabError, match="not understood"):
        edges(dataclasses.replace(TRINO, reaches=(edge,)), SCOPE)


def test_a_host_is_narrowed_to_its_address_where_it_has_one() -> None:
    assert outside(443, "2001:db8::1")["to"] == [{"ipBlock": {"cidr": "2001:db8::1/128"}}]
    assert len(outside(443, "s3.example")["to"]) == 2


def test_the_namespace_denies_and_limits_before_anything_runs_in_it() -> None:
    made = namespace_objects(SCOPE, memory_mib=16384, cpu_millicores=8000)
    first, *others = made
    assert first["kind"] == "Namespace"
    labels = first["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    by_kind = {(item["kind"], item["metadata"]["name"]): item for item in others}
    deny = by_kind["NetworkPolicy", "default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    hard = by_kind["ResourceQuota", "lab"]["spec"]["hard"]
    assert (hard["services.loadbalancers"], hard["services.nodeports"]) == ("0", "0")
    assert hard["requests.memory"] == "16Gi"
    assert by_kind["LimitRange", "lab"]["spec"]["limits"][0]["default"] == {"memory": "256Mi"}
    dns = by_kind["NetworkPolicy", "dns"]["spec"]["egress"][0]
    assert {port["port"] for port in dns["ports"]} == {53}


def test_whatever_is_left_can_be_found_by_its_labels() -> None:
    made = [
        controller(),
        objects.service(TRINO, SCOPE),
        objects.service_account("trino", SCOPE),
        objects.disruption_budget(TRINO, SCOPE),
        objects.config_map("trino", SCOPE, {"a": "b"}),
        *edges(TRINO, SCOPE),
        objects.autoscaler(WORKER, Scaling(maximum=2), SCOPE, "Deployment"),
        *namespace_objects(SCOPE, memory_mib=4096, cpu_millicores=1000),
    ]
    for manifest in made:
        labels = manifest["metadata"]["labels"]
        assert labels["lakehouse-lab/lab"] == "lab", manifest["kind"]
        assert labels["lakehouse-lab/stack"] == "lab", manifest["kind"]
        assert manifest["metadata"].get("namespace", "lakehouse-lab") == "lakehouse-lab"
        json.dumps(manifest)


def test_nodes_can_always_be_drained() -> None:
    budget = objects.disruption_budget(TRINO, SCOPE)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert budget["selector"] == {"matchLabels": SCOPE.selector("trino")}
