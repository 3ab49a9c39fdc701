"""CoreDNS as a cluster has it, so that pods find services by their names."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from contracts.settings import cache_home
from placements.local.artifacts import SilentProgress, ensure_all
from tests.cluster import images, settings
from tests.cluster.running import TestCluster
from tests.cluster.software import dns_tool

_NAMESPACE = "kube-system"
_NAME = "coredns"
_LABELS = {"k8s-app": "kube-dns"}
_COREFILE = """\
.:53 {
    errors
    ready :8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
    }
    cache 5
}
"""
_RULES = (
    {
        "apiGroups": [""],
        "resources": ["endpoints", "services", "pods", "namespaces"],
        "verbs": ["list", "watch"],
    },
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
)


def start(cluster: TestCluster) -> None:
    """Deploys the name server and waits until it answers."""
    tool = dns_tool()
    program = ensure_all([tool], cache_home(), SilentProgress())[tool.name] / "coredns"
    with tempfile.TemporaryDirectory(prefix="cluster-dns-") as folder:
        layer, archive = Path(folder) / "layer", Path(folder) / "coredns.tar"
        images.write_layer({"coredns": program}, layer)
        name = "cluster.test/coredns@"
        image = name + images.write_image(archive, name, [layer], {"Entrypoint": ["/coredns"]})
        cluster.load(archive)
    listed = {"apiVersion": "v1", "kind": "List", "items": _objects(image)}
    applied = cluster.run("apply", "--filename=-", input_text=json.dumps(listed))
    assert applied.returncode == 0, applied.stderr
    ready = cluster.run(
        "rollout", "status", f"deployment/{_NAME}", f"--namespace={_NAMESPACE}", "--timeout=180s"
    )
    assert ready.returncode == 0, ready.stderr


def _objects(image: str) -> list[dict[str, Any]]:
    rbac = "rbac.authorization.k8s.io"
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": _NAME}
    account = {"kind": "ServiceAccount", "name": _NAME, "namespace": _NAMESPACE}
    here = {"name": _NAME, "namespace": _NAMESPACE}
    ports = [{"name": f"dns-{p.lower()}", "port": 53, "protocol": p} for p in ("UDP", "TCP")]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": _NAME},
            "rules": list(_RULES),
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": _NAME},
            "roleRef": role,
            "subjects": [account],
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": here, "data": {"Corefile": _COREFILE}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": here,
            "spec": {
                "selector": {"matchLabels": _LABELS},
                "template": {"metadata": {"labels": _LABELS}, "spec": _pod(image)},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": _NAMESPACE},
            "spec": {"clusterIP": settings.DNS_ADDRESS, "selector": _LABELS, "ports": ports},
        },
    ]


def _pod(image: str) -> dict[str, Any]:
    return {
        "serviceAccountName": _NAME,
        "dnsPolicy": "Default",
        "containers": [
            {
                "name": _NAME,
                "image": image,
                "args": ["-conf", "/etc/coredns/Corefile"],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                },
                "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": _NAME}}],
    }
