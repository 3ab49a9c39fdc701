"""The objects of one workload beside its network policies, as pure functions."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pulumi import Input

from contracts.workload import Layout, Scaling, Scheme, Volume, Workload
from placements.kubernetes.naming import Manifest, Scope, content_name, item_key, memory
from placements.kubernetes.pods import Content, pod_template

SKIP_AWAIT = "pulumi.com/skipAwait"
"""Annotation with which the provider does not wait for an object."""


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
    """The name and ports by which the workload is reached within the cluster, and only there. A ``direct``
    one's name leads to its pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        # The controller is waited for. The engine does few things at once: services that wait for their
        # pods could keep it from ever making them.
        "metadata": {**scope.metadata(workload.name, workload.name), "annotations": {SKIP_AWAIT: "true"}},
        "spec": {
            "type": "ClusterIP",
            **({"clusterIP": "None"} if workload.direct else {}),
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


_CALM_S = 300
"""For so long a smaller number has to be enough before a pod is taken away."""


def autoscaler(workload: Workload, scaling: Scaling, scope: Scope, kind: str) -> Manifest:
    """Changes the number of pods of the workload's controller, which is of ``kind``: as many at once as are
    missing, and fewer one by one, since each has to finish its work."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": scope.metadata(workload.name, workload.name),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": workload.name},
            "minReplicas": workload.replicas,
            "maxReplicas": scaling.maximum,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": scaling.cpu_percent},
                    },
                }
            ],
            "behavior": {
                "scaleDown": {
                    "stabilizationWindowSeconds": _CALM_S,
                    "selectPolicy": "Max",
                    "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                }
            },
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
    # The number of pods is the autoscaler's where there is one: set here as well, each would undo the other.
    number: Manifest = {} if workload.scaling else {"replicas": workload.replicas}
    common: Manifest = {
        **number,
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
            "strategy": {"type": "Recreate"} if workload.alone else rolling,
            "progressDeadlineSeconds": int(workload.readiness.timeout_s) + 300,
        },
    }


_JOB_S = 6 * 3600
"""How long a run may take."""
_NEVER = "0 0 1 1 *"


def cron_job(
    workload: Workload,
    layout: Layout,
    scope: Scope,
    *,
    image: str,
    command: Input[Sequence[str]],
    content: Content,
    schedule: str,
) -> Manifest:
    """A workload without ports, which runs to its end at its times (UTC), never twice at once. Without a
    ``schedule`` it is started by hand alone."""
    template = pod_template(workload, layout, scope, image=image, command=command, content=content)
    template["spec"] |= {"restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": scope.metadata(workload.name, workload.name),
        "spec": {
            "schedule": schedule or _NEVER,
            "suspend": not schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 2,
            "jobTemplate": {
                "metadata": {"labels": template["metadata"]["labels"]},
                "spec": {
                    "backoffLimit": 2,
                    "activeDeadlineSeconds": _JOB_S,
                    "ttlSecondsAfterFinished": 86400,
                    "template": template,
                },
            },
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
