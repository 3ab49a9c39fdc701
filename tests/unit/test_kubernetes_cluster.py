"""Which cluster a lab may be deployed to: kubectl, kubeconfig, identity, rights; images and their digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import LabError, PreflightError, UsageError
from contracts.settings import read_settings
from placements.kubernetes.cluster import (
    LAB_RIGHTS,
    PERSISTENT_RIGHTS,
    Cluster,
    check_cluster,
    cluster_of,
    require_same_cluster,
)
from placements.kubernetes.images import image_references, require_images
from placements.kubernetes.leftovers import leftovers
from tests.unit.fake_kubectl import CLUSTER_ID, install

DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text("apiVersion: v1\n")
    return path


def cluster(tmp_path: Path, kubeconfig: Path, **values: str) -> Cluster:
    config = {"role": "lab", "placement": "kubernetes", "kubeconfig": str(kubeconfig), **values}
    return cluster_of(read_settings(config, {}), {"PATH": str(tmp_path / "bin")})


def test_without_kubectl_or_kubeconfig_nothing_is_asked(tmp_path: Path, kubeconfig: Path) -> None:
    with pytest.raises(PreflightError, match="kubectl is not on PATH"):
        cluster(tmp_path, kubeconfig)
    install(tmp_path / "bin")
    with pytest.raises(PreflightError, match="kubeconfig is not there"):
        cluster(tmp_path, tmp_path / "absent")
    settings = read_settings({"role": "lab", "placement": "kubernetes"}, {})
    env = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    with pytest.raises(PreflightError, match="there is no kubeconfig"):
        cluster_of(settings, env)
    assert (
        cluster_of(settings, {**env, "KUBECONFIG": f"{tmp_path / 'absent'}:{kubeconfig}"}).kubeconfig is None
    )
    assert not (tmp_path / "bin" / "calls").exists()


@pytest.mark.parametrize("name", ["default", "kube-system"])
def test_a_namespace_of_the_clusters_own_is_refused(tmp_path: Path, kubeconfig: Path, name: str) -> None:
    install(tmp_path / "bin")
    with pytest.raises(PreflightError, match="namespace of its own"):
        cluster(tmp_path, kubeconfig, namespace=name)
    assert cluster(tmp_path, kubeconfig).namespace == "lakehouse-lab"
    assert cluster(tmp_path, kubeconfig, namespace="team-a").namespace == "team-a"


def test_every_call_names_cluster_and_namespace(tmp_path: Path, kubeconfig: Path) -> None:
    install(tmp_path / "bin")
    found = cluster(tmp_path, kubeconfig, kubeContext="on-prem")
    assert check_cluster(found, expected_id="", rights=LAB_RIGHTS) == CLUSTER_ID
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert len(calls) == 2, "an operator with all rights is asked about them once"
    for call in calls:
        assert f"--kubeconfig={kubeconfig} --context=on-prem --namespace=lakehouse-lab" in call


def test_another_cluster_is_refused_before_its_rights_matter(tmp_path: Path, kubeconfig: Path) -> None:
    other = "00000000-0000-4000-8000-000000000000"
    install(tmp_path / "bin", cluster_id=other, rules=(), allowed=())
    with pytest.raises(PreflightError, match="not the cluster of this lab") as caught:
        check_cluster(cluster(tmp_path, kubeconfig), expected_id=CLUSTER_ID, rights=LAB_RIGHTS)
    assert other in str(caught.value)
    assert CLUSTER_ID in str(caught.value)
    with pytest.raises(LabError, match="made on another cluster"):
        require_same_cluster(CLUSTER_ID, other)
    require_same_cluster(CLUSTER_ID, CLUSTER_ID)


def test_an_unreachable_cluster_says_what_kubectl_says(tmp_path: Path, kubeconfig: Path) -> None:
    noise = 'E1128 16:23:51.901006   14007 memcache.go:265] "Unhandled Error" err="it was refused"'
    install(tmp_path / "bin", error=f"{noise}\ndial tcp 10.0.0.1:6443: connection refused")
    with pytest.raises(PreflightError, match="connection refused") as caught:
        check_cluster(cluster(tmp_path, kubeconfig), expected_id="", rights=())
    assert "memcache" not in str(caught.value)
    assert caught.value.exit_code == 3
    assert "get pods" in str(caught.value)


def test_missing_rights_are_named_with_the_command_that_grants_them(tmp_path: Path, kubeconfig: Path) -> None:
    listed = [{"verbs": ["*"], "apiGroups": ["", "apps"], "resources": ["*"]}]
    allowed = [str(r) for r in LAB_RIGHTS if r.group and str(r) != "delete networkpolicies.networking.k8s.io"]
    install(tmp_path / "bin", rules=listed, allowed=allowed)
    with pytest.raises(PreflightError, match=r"missing on the cluster: delete networkpolicies\.") as caught:
        check_cluster(cluster(tmp_path, kubeconfig), expected_id="", rights=LAB_RIGHTS)
    assert "--verb=delete --resource=networkpolicies.networking.k8s.io" in str(caught.value)


def test_rights_on_one_object_alone_are_no_rights(tmp_path: Path, kubeconfig: Path) -> None:
    listed = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["one"]}]
    install(tmp_path / "bin", rules=listed, allowed=())
    found = cluster(tmp_path, kubeconfig)
    assert found.missing((*LAB_RIGHTS, *LAB_RIGHTS)) == list(LAB_RIGHTS)


def test_rights_in_the_whole_cluster_are_asked_for_even_where_the_namespace_lists_them(
    tmp_path: Path, kubeconfig: Path
) -> None:
    install(tmp_path / "bin", allowed=["get namespaces"])
    missing = cluster(tmp_path, kubeconfig).missing(PERSISTENT_RIGHTS)
    assert [str(right) for right in missing] == ["create namespaces", "patch namespaces"]


def _object(name: str, **metadata: object) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, **metadata}}


def test_what_is_being_deleted_is_waited_for_and_named_with_what_holds_it(
    tmp_path: Path, kubeconfig: Path
) -> None:
    going = _object("trino-0", deletionTimestamp="2026-01-01T00:00:00Z")
    held = _object("trino-0", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["example/protect"])
    install(tmp_path / "bin", objects=[going, _object("opa-0")])
    found, times = cluster(tmp_path, kubeconfig), iter(range(100))
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        install(tmp_path / "bin", objects=[] if len(waited) == 2 else [going])

    def look(wait_s: float) -> list[str]:
        left = leftovers(
            found, lab="lab", stack="lab", wait_s=wait_s, sleep=sleep, clock=lambda: float(next(times))
        )
        return [str(one) for one in left]

    assert look(50) == []
    assert len(waited) == 2
    install(tmp_path / "bin", objects=[held, _object("opa-0")])
    assert look(0) == ["Pod opa-0", "Pod trino-0: being deleted, waits for example/protect"]


def test_an_image_without_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.json"
    path.write_text(json.dumps({"opa": f"registry.example:5000/lab/opa@{DIGEST}"}))
    references = image_references(path)
    require_images(["opa"], references)
    with pytest.raises(PreflightError, match="digest is not known") as caught:
        require_images(["trino", "opa", "keycloak"], references)
    assert "'keycloak, trino'" in str(caught.value)
    assert "lab images lock" in str(caught.value)
    assert image_references(None) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "can't be read"),
        ("[]", "no JSON object"),
        ('{"oppa": "r/o@' + DIGEST + '"}', "no workload runs"),
        ('{"opa": "registry.example/opa:1"}', "has no digest"),
        ('{"opa": "registry.example/opa@sha256:0"}', "has no digest"),
        ('{"opa": 1}', "has no digest"),
    ],
)
def test_a_wrong_file_of_images_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "images.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        image_references(path)
    with pytest.raises(UsageError, match="can't be read"):
        image_references(tmp_path / "absent.json")
