"""The lab stack of placement aws, under Pulumi's mocks: cluster and workloads, what they may reach, and what
comes after what."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from policies.guardrails.model import Resource
from policies.guardrails.rules import RULES
from tests.mocks.test_aws_cluster import GIVEN, waits_for
from tests.mocks.test_kubernetes import CORE, Registered, container_of, make_inputs, pod_of
from tests.mocks.test_stacks import PROCESS, ROOT, Recorded, plain

BY_ROLE = {"catalog", "governor", "opa"}
AGENT = "169.254.170.23/32"
KUBECONFIG = "pulumi-python:dynamic/lab:Kubeconfig"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fake kubectl and aws in bin/, and references of all images."""
    made = tmp_path_factory.mktemp("account")
    inputs = make_inputs(made)
    aws = inputs.programs / "aws"
    aws.write_text("#!/bin/sh\nexit 1\n")
    aws.chmod(0o755)
    return made


def recorded(folder: Path, *pairs: str, path: str = "") -> Recorded:
    command = (sys.executable, "-m", "tests.mocks.record", "lab", "home=/nonexistent/lab", *GIVEN, *pairs)
    environment = {**os.environ, "PATH": path or f"{folder / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    return Recorded(document["resources"], document["error"])


@pytest.fixture(scope="module")
def stack(folder: Path) -> Recorded:
    found = recorded(folder, "catalog=polaris", f"imagesFile={folder / 'images.json'}")
    assert found.error is None
    return found


@pytest.fixture(scope="module")
def objects(stack: Recorded) -> Registered:
    return Registered(stack.resources, stack.error)


def egress_of(objects: Registered, workload: str) -> list[dict[str, Any]]:
    policy = objects.objects("NetworkPolicy")[f"{workload}-egress"]
    return [dict(rule) for rule in policy["spec"]["egress"]]


def blocks(rule: Mapping[str, Any]) -> set[tuple[str, int]]:
    return {
        (to["ipBlock"]["cidr"], int(port["port"]))
        for to in rule["to"]
        if "ipBlock" in to
        for port in rule["ports"]
    }


def test_cluster_and_workloads_are_one_stack(stack: Recorded, objects: Registered) -> None:
    assert len(stack.of("eks:index:Cluster")) == 1
    assert set(objects.controllers) == {*CORE, "trino", "trino-tokens"}
    assert set(stack.specs) == {*CORE, "trino", "trino-tokens"}, "each has its tunnel"
    assert not stack.of("random:index/randomPassword:RandomPassword")
    providers = {r["options"]["provider"].split("::")[1] for r in objects.on_the_cluster}
    assert providers == {"objects"}, "no other cluster is changed"


def test_a_pod_comes_after_all_that_it_needs_and_goes_before_it(stack: Recorded, objects: Registered) -> None:
    for name in objects.controllers:
        kind = "StatefulSet" if name in objects.objects("StatefulSet") else "Deployment"
        before = waits_for(stack, f"kubernetes:apps/v1:{kind}", name)
        assert {
            "aws:eks/nodeGroup:NodeGroup::system",
            "aws:eks/addon:Addon::coredns",
            "aws:eks/addon:Addon::aws-ebs-csi-driver",
            f"{KUBECONFIG}::kubeconfig",
            "kubernetes:core/v1:Namespace::lakehouse-lab",
            *(f"aws:eks/podIdentityAssociation:PodIdentityAssociation::{w}" for w in BY_ROLE),
        } <= before, name
        assert "aws:eks/nodeGroup:NodeGroup::batch" not in before, (
            "nobody waits for nodes that Spark may want"
        )


def test_three_workloads_have_a_role_and_nobody_has_keys(stack: Recorded, objects: Registered) -> None:
    associations = stack.of("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert {name: a["serviceAccount"] for name, a in associations.items()} == {w: w for w in BY_ROLE}
    assert {a["namespace"] for a in associations.values()} == {"lakehouse-lab"}
    for name in BY_ROLE:
        assert plain(associations[name]["roleArn"]).endswith(f"role/lakehouse-lab-{name}")
        assert pod_of(objects.controllers[name])["serviceAccountName"] == name
    keys = 0
    for secret in objects.objects("Secret").values():
        for key, value in secret.get("data", {}).items():
            if "ACCESS_KEY" in key or "S3_SECRET" in key:
                keys += 1
                assert base64.b64decode(value) == b"", key
    assert keys >= 4
    (config,) = [
        base64.b64decode(secret["data"]["config.yaml"]).decode()
        for name, secret in objects.objects("Secret").items()
        if name == "opa-private-files"
    ]
    signing = json.loads(config)["services"]["store"]["credentials"]["s3_signing"]
    assert signing == {"metadata_credentials": {"aws_region": "${AWS_REGION}"}}


def test_only_who_has_a_role_reaches_what_hands_it_out(objects: Registered) -> None:
    reaching = {
        name
        for name in objects.controllers
        if f"{name}-egress" in objects.objects("NetworkPolicy")
        for rule in egress_of(objects, name)
        if AGENT in {cidr for cidr, _ in blocks(rule)}
    }
    assert reaching == BY_ROLE


def test_the_database_is_reached_within_the_network_alone(objects: Registered) -> None:
    found = {
        cidr
        for name in ("catalog", "keycloak", "governor")
        for rule in egress_of(objects, name)
        for cidr, port in blocks(rule)
        if port == 5432
    }
    assert found == {"10.40.0.0/16"}


def test_volumes_are_encrypted_and_pods_stay_on_nodes_of_their_class(objects: Registered) -> None:
    (volumes,) = objects.objects("StorageClass").values()
    assert volumes["parameters"]["encrypted"] == "true"
    assert volumes["reclaimPolicy"] == "Delete"
    for claim in objects.objects("StatefulSet")["governor"]["spec"]["volumeClaimTemplates"]:
        assert claim["spec"]["storageClassName"] == volumes["metadata"]["name"]
    for name, controller in objects.controllers.items():
        affinity = pod_of(controller)["affinity"]["nodeAffinity"]
        assert "requiredDuringSchedulingIgnoredDuringExecution" in affinity, name
        assert "@sha256:" in container_of(controller)["image"]


def test_tunnels_hold_no_credential(stack: Recorded) -> None:
    for name, spec in stack.specs.items():
        assert "--kubeconfig=/nonexistent/lab/kubeconfig.json" in spec["argv"], name
        assert not [key for key in spec["env"] if "KEY" in key or "TOKEN" in key.replace("TOKEN_FILE", "")]
    assert stack.of(PROCESS)


def test_it_is_within_the_guardrails(stack: Recorded) -> None:
    resources = [
        Resource(
            type=one["type"],
            name=one["name"],
            urn=one["name"],
            props={key: plain(value) for key, value in one["inputs"].items()},
            role="lab",
            protect=bool(one.get("options", {}).get("protect")),
        )
        for one in stack.resources
    ]
    said = [
        f"{rule.name}: {one.name}: {text}"
        for rule in RULES
        if rule.check
        for one in resources
        for text in rule.check(one)
    ]
    assert said == []


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (("catalog=nessie", "imagesFile={images}"), "permitted: polaris"),
        (("catalog=polaris",), "images whose digest is not known"),
    ],
)
def test_what_can_not_run_is_refused_before_anything_is_registered(
    folder: Path, pairs: tuple[str, ...], said: str
) -> None:
    found = recorded(folder, *(pair.format(images=folder / "images.json") for pair in pairs))
    assert said in (found.error or "")
    assert not [r for r in found.resources if r["type"].startswith(("aws:", "eks:", "kubernetes:"))]


def test_sparks_gateway_reaches_the_clusters_api_and_its_drivers_have_a_namespace(folder: Path) -> None:
    found = recorded(folder, "catalog=polaris", "components=spark", f"imagesFile={folder / 'images.json'}")
    assert found.error is None
    objects = Registered(found.resources, found.error)
    assert {o["metadata"]["name"] for o in objects.objects("Namespace").values()} == {
        "lakehouse-lab",
        "lakehouse-lab-spark",
    }
    (own,) = [o for o in objects.objects("NetworkPolicy").values() if o["metadata"]["name"] == "spark-egress"]
    blocks = {
        (to["ipBlock"]["cidr"], port["port"])
        for rule in own["spec"]["egress"]
        for to in rule["to"]
        for port in rule["ports"]
        if "ipBlock" in to
    }
    assert blocks == {("10.40.0.0/16", 443), ("10.100.0.1/32", 443), ("172.20.0.1/32", 443)}
    affinity = pod_of(objects.controllers["spark"])["affinity"]["nodeAffinity"]
    assert "system" in json.dumps(affinity), "nodes for drivers may end any moment"


def test_without_the_programs_that_reach_the_cluster_nothing_is_made(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "kubectl").symlink_to(folder / "bin" / "kubectl")
    given = ("catalog=polaris", f"imagesFile={folder / 'images.json'}")
    found = recorded(folder, *given, path=str(tmp_path))
    assert "aws is not on PATH" in (found.error or "")
    assert not [r for r in found.resources if r["type"].startswith(("aws:", "eks:"))]
