"""The pods of a workload, as pure functions (Pod Security ``restricted``,
https://kubernetes.io/docs/concepts/security/pod-security-standards/)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from pulumi import Input

from contracts.errors import LabError
from contracts.workload import Layout, Port, Probe, Workload
from placements.kubernetes.layout import USER_ID
from placements.kubernetes.naming import (
    CLASS_LABEL,
    Manifest,
    Scope,
    cpu,
    item_key,
    memory,
    reaches_label,
)
from placements.kubernetes.network import peers

API_URL = "https://kubernetes.default.svc"
"""Of the cluster's API, as pods reach it."""
_API_DIR = PurePosixPath("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_FILE, CA_FILE = f"{_API_DIR}/token", f"{_API_DIR}/ca.crt"
_TOKEN_S = 3600

_PERIOD_S = 2
_READY_PERIOD_S = 5
_TIMEOUT_S = 5
_ALIVE_FAILURES = 12
"""A minute without an open port before a container is started again."""

_BODY_PROBE = """\
import ssl, sys, urllib.request
url, host, text = sys.argv[1:]
request = urllib.request.Request(url, headers={"Host": host})
context = ssl._create_unverified_context() if url.startswith("https") else None
with urllib.request.urlopen(request, timeout=4, context=context) as answer:
    sys.exit(0 if text in answer.read().decode() else 1)
"""
"""The kubelet does not look at bodies. A container asks itself: there is nobody to verify."""

_LOGIN_PROBE = """\
import socket, struct, sys
message = struct.pack("!HH", 3, 0) + b"user\\0lab-probe\\0database\\0postgres\\0\\0"
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=4) as server:
    server.sendall(struct.pack("!I", len(message) + 4) + message)
    sys.exit(0 if server.recv(4096)[:1] == b"R" else 1)
"""
"""Begins a login and leaves: a PostgreSQL that takes logins asks for authentication
(https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-START-UP)."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a workload is given beside its command, by where it stands.

    ``plain_env`` stands in the pod itself. The others are names of objects in the namespace, whose keys are
    the variables or, made by :func:`~placements.kubernetes.naming.item_key`, the files of ``plain_files`` and
    ``secret_files``.
    """

    plain_env: Mapping[str, str] = field(default_factory=dict)
    env_secret: Input[str] | None = None
    plain_files: Sequence[str] = ()
    config_map: Input[str] | None = None
    secret_files: Sequence[str] = ()
    files_secret: Input[str] | None = None


def pod_template(
    workload: Workload,
    layout: Layout,
    scope: Scope,
    *,
    image: str,
    command: Input[Sequence[str]],
    content: Content,
) -> Manifest:
    """``template`` of a Deployment or StatefulSet.

    Raises:
        LabError: a probe that the kubelet can't make.
    """
    name = workload.name
    drain_s = workload.drain.timeout_s if workload.drain else 0
    grace_s = math.ceil(workload.stop_timeout_s + drain_s) + 5
    spec: Manifest = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": grace_s,
        "affinity": affinity(workload, scope),
        "tolerations": tolerations(workload),
        "containers": [
            {
                "name": name,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                # What it said last stands in the pod's status, and in what the lab says of it.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "command": command,
                "env": environment(layout, content),
                **({"envFrom": [{"secretRef": {"name": content.env_secret}}]} if content.env_secret else {}),
                "ports": [{"name": p.name, "containerPort": p.number} for p in workload.ports],
                # What has no port runs to its end, and is asked nothing.
                **(probes(workload, layout, scope) if workload.ports else {}),
                **lifecycle(workload),
                "resources": resources(workload),
                "securityContext": container_security(),
                "volumeMounts": mounts(workload, layout, content),
            }
        ],
        "volumes": volumes(workload, content),
    }
    if workload.alone:
        # Its own name is its own address even before the service has it as an endpoint.
        spec["hostname"] = name
    else:
        spec["topologySpreadConstraints"] = [_spread(key, scope.selector(name)) for key in _DOMAINS]
    if scope.pull_secret:
        spec["imagePullSecrets"] = [{"name": scope.pull_secret}]
    marks = {reaches_label(peer): "true" for peer in peers(name, workload.reaches) if peer in scope.external}
    labels = {**scope.metadata(name, name)["labels"], **scope.selector(name), **marks}
    return {"metadata": {"labels": labels}, "spec": spec}


def pod_security() -> Manifest:
    """What Pod Security ``restricted`` asks of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Manifest:
    """The same of a container, which writes to its volumes alone."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def lifecycle(workload: Workload) -> Manifest:
    """What runs before a container is stopped: the kubelet waits for it, no longer than the grace period."""
    if workload.drain is None:
        return {}
    command = [escaped(word) for word in workload.drain.command]
    return {"lifecycle": {"preStop": {"exec": {"command": command}}}}


def environment(layout: Layout, content: Content) -> list[Manifest]:
    """The variables in the pod itself, sorted: those that every process has, and the workload's."""
    common = {
        "HOME": str(layout.scratch_dir),
        "TMPDIR": str(layout.scratch_dir),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    values = {**common, **content.plain_env}
    return [{"name": name, "value": escaped(value)} for name, value in sorted(values.items())]


def escaped(text: str) -> str:
    """``text`` with nothing that the kubelet would expand."""
    return text.replace("$(", "$$(")


def resources(workload: Workload) -> Manifest:
    """Memory as expected, half as much again as the limit. No limit of processor time: it would throttle a
    query on a node that has nothing else to do."""
    limit_mib = workload.memory_mib + max(256, workload.memory_mib // 2)
    return {
        "requests": {"cpu": cpu(workload.cpu_millicores), "memory": memory(workload.memory_mib)},
        "limits": {"memory": memory(limit_mib)},
    }


def probes(workload: Workload, layout: Layout, scope: Scope) -> Manifest:
    """Started once the readiness probe's answer came; ready while the port answers well; alive while it
    accepts connections, since a service whose database is away must not be started again for that.

    Raises:
        LabError: the probe names a port the workload lacks, or statuses the kubelet takes for failures.
    """
    probe = workload.readiness
    port = next((port for port in workload.ports if port.name == probe.port), None)
    if port is None:
        raise LabError(
            f"the readiness probe of {workload.name} names a port it does not have",
            value=probe.port,
            permitted=", ".join(port.name for port in workload.ports),
        )
    refused = [status for status in probe.statuses if not 200 <= status < 400]
    if probe.path is not None and refused:
        raise LabError(
            f"the readiness probe of {workload.name} wants statuses that a kubelet takes for failures",
            value=refused,
            permitted="200 to 399",
        )
    # Some services answer under their own names alone.
    host = f"{scope.host(workload.name)}:{port.number}"
    ready = _handler(host, probe, port)
    started = _asking_handler(host, probe, port, layout) or ready
    times = {"timeoutSeconds": _TIMEOUT_S}
    return {
        "startupProbe": {
            **started,
            **times,
            "periodSeconds": _PERIOD_S,
            "failureThreshold": math.ceil(probe.timeout_s / _PERIOD_S),
        },
        "readinessProbe": {**ready, **times, "periodSeconds": _READY_PERIOD_S, "failureThreshold": 2},
        "livenessProbe": {
            "tcpSocket": {"port": port.name},
            **times,
            "periodSeconds": _READY_PERIOD_S,
            "failureThreshold": _ALIVE_FAILURES,
        },
    }


def _handler(host: str, probe: Probe, port: Port) -> Manifest:
    if probe.path is None:
        return {"tcpSocket": {"port": port.name}}
    return {
        "httpGet": {
            "path": probe.path,
            "port": port.name,
            "scheme": port.scheme.value.upper(),
            "httpHeaders": [{"name": "Host", "value": host}],
        }
    }


def _asking_handler(host: str, probe: Probe, port: Port, layout: Layout) -> Manifest | None:
    """The first answer, where it takes more than the kubelet can ask for; later ones do without it."""
    if probe.postgresql:
        return {"exec": {"command": [layout.python, "-c", _LOGIN_PROBE, str(port.number)]}}
    if not probe.body_contains:
        return None
    url = f"{port.scheme.value}://127.0.0.1:{port.number}{probe.path}"
    return {"exec": {"command": [layout.python, "-c", _BODY_PROBE, url, host, probe.body_contains]}}


def affinity(workload: Workload, scope: Scope) -> Manifest:
    """Nodes of the workload's class, and replicas on different nodes where that is possible."""
    on_class = {
        "matchExpressions": [
            {"key": CLASS_LABEL, "operator": "In", "values": [workload.workload_class.value]}
        ]
    }
    found: Manifest = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [on_class]}}
        if scope.classes_required
        else {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": on_class}]}
    }
    if not workload.alone:
        apart = {
            "labelSelector": {"matchLabels": scope.selector(workload.name)},
            "topologyKey": "kubernetes.io/hostname",
        }
        found["podAntiAffinity"] = {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": apart}]
        }
    return found


def tolerations(workload: Workload) -> list[Manifest]:
    """The taint with which a cluster keeps nodes for one class."""
    return [
        {
            "key": CLASS_LABEL,
            "operator": "Equal",
            "value": workload.workload_class.value,
            "effect": "NoSchedule",
        }
    ]


_DOMAINS = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def _spread(key: str, labels: Mapping[str, str]) -> Manifest:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(labels)},
    }


def mounts(workload: Workload, layout: Layout, content: Content) -> list[Manifest]:
    """Where the container finds its files, its data and room to write."""
    found: list[Manifest] = [
        _mount("scratch", layout.scratch_dir),
        _mount("cache", layout.cache_dir),
        _mount("data", layout.data_dir),
    ]
    found += [_mount(f"data-{volume.name}", layout.data_dir / volume.name) for volume in workload.volumes]
    if content.config_map or content.files_secret:
        found.append({**_mount("files", layout.files_dir), "readOnly": True})
    if workload.per_user is not None:
        found.append({**_mount("api", _API_DIR), "readOnly": True})
    return found


def _mount(name: str, path: PurePosixPath) -> Manifest:
    return {"name": name, "mountPath": str(path)}


def volumes(workload: Workload, content: Content) -> list[Manifest]:
    """What the pod brings itself. Retained volumes are claims of the StatefulSet."""
    found: list[Manifest] = [_empty("scratch", 1024), _empty("cache", 512), _empty("data", 1024)]
    found += [_empty(f"data-{v.name}", v.size_mib) for v in workload.volumes if not v.retained]
    sources: list[Any] = []
    if content.config_map:
        sources.append({"configMap": {"name": content.config_map, "items": _items(content.plain_files)}})
    if content.files_secret:
        sources.append({"secret": {"name": content.files_secret, "items": _items(content.secret_files)}})
    if sources:
        found.append({"name": "files", "projected": {"defaultMode": 0o440, "sources": sources}})
    if workload.per_user is not None:
        found.append({"name": "api", "projected": {"defaultMode": 0o440, "sources": _api_access()}})
    return found


def _api_access() -> list[Manifest]:
    """The pod's own token for the cluster's API, which the kubelet changes before it ends, and the authority
    of the API's certificate, which every namespace has."""
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_S}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]


def _empty(name: str, size_mib: int) -> Manifest:
    return {"name": name, "emptyDir": {"sizeLimit": memory(size_mib)}}


def _items(files: Sequence[str]) -> list[Manifest]:
    return [{"key": item_key(file), "path": file} for file in sorted(files)]
