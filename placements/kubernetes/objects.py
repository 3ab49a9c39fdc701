"""The objects of one workload beside its network policies, as pure functions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pulumi import Input

from contracts.workload import Layout, Scheme, Volume, Workload
from placements.kubernetes.naming import Manifest, Scope, content_name, item_key, memory
from placements.kubernetes.pods import Content, pod_template


def config_map(workload: str, scope: Scope, files: Mapping[str, str]) -> Manifest:
    """Generated files that hold no secret. Never changed: other content is another object."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": scope.metadata(content_name(f"{workload}-files", files), workload),
        "immutable": True,
        "data": {item_key(name): text for name, text in sorted(files.items())},
    }


def secret(name: Input[str], workload: str, scope: Scope, data: Input[Mapping[str, str]]) -> Manifest:
    """Variables or files that may be secret; ``data`` is what :func:`secret_data` gave."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": scope.metadata(name, workload),
        "immutable": True,
        "data": data,
    }


def secret_data(values: Mapping[str, str]) -> dict[str, str]:
    """``data`` of a Secret; ``stringData`` would differ from what is read back at each comparison."""
    return {item_key(name): base64.b64encode(text.encode()).decode() for name, text in sorted(values.items())}


def service_account(workload: str, scope: Scope) -> Manifest:
    """An identity without any right, and without a token in its pods."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": scope.metadata(workload, workload),
        "automountServiceAccountToken": False,
    }


def service(workload: Workload, scope: Scope) -> Manifest:
    """The name and ports by which the workload is reached within the cluster, and only there."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": scope.metadata(workload.name, workload.name),
        "spec": {
            "type": "ClusterIP",
            "selector": scope.selector(workload.name),
            "ports": [
                {
                    "name": port.name,
                    "port": port.number,
                    "targetPort": port.name,
                    "protocol": "TCP",
                    **({} if port.scheme is Scheme.TCP else {"appProtocol": port.scheme.value}),
                }
                for port in workload.ports
            ],
        },
    }


def disruption_budget(workload: Workload, scope: Scope) -> Manifest:
    """At most one pod at a time is evicted; one that is broken anyway never holds up a node."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": scope.metadata(workload.name, workload.name),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": scope.selector(workload.name)},
        },
    }


def controller(
    workload: Workload,
    layout: Layout,
    scope: Scope,
    *,
    image: str,
    command: Input[Sequence[str]],
    content: Content,
) -> Manifest:
    """A Deployment, or a StatefulSet where the workload has a volume that outlives it.

    Raises:
        LabError: a probe that the kubelet can't make.
    """
    template = pod_template(workload, layout, scope, image=image, command=command, content=content)
    common: Manifest = {
        "replicas": workload.replicas,
        "selector": {"matchLabels": scope.selector(workload.name)},
        "revisionHistoryLimit": 2,
        "template": template,
    }
    retained = [volume for volume in workload.volumes if volume.retained]
    if retained:
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": scope.metadata(workload.name, workload.name),
            "spec": {
                **common,
                "serviceName": workload.name,
                "podManagementPolicy": "Parallel",
                # What was written stays when the lab goes, and when it is scaled down.
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "volumeClaimTemplates": [_claim(volume, scope, workload.name) for volume in retained],
            },
        }
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": scope.metadata(workload.name, workload.name),
        "spec": {
            **common,
            # A single one is not made to run beside its successor: neither its memory nor its database may be
            # meant for two.
            "strategy": {"type": "Recreate"} if workload.replicas == 1 else rolling,
            "progressDeadlineSeconds": int(workload.readiness.timeout_s) + 300,
        },
    }


def _claim(volume: Volume, scope: Scope, workload: str) -> Manifest:
    # Not the lab stack's: it stays when that goes.
    metadata = replace(scope, stack="persistent").metadata(f"data-{volume.name}", workload)
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": memory(volume.size_mib)}},
    }
    if scope.storage_class:
        spec["storageClassName"] = scope.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": metadata["name"], "labels": metadata["labels"]},
        "spec": spec,
    }
