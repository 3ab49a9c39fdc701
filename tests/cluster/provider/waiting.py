"""When an object counts as ready or gone, and what is said when it does not become so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from contracts.errors import LabError
from placements.kubernetes.troubles import troubles
from tests.cluster.provider.api import Api, Kind

_READY_S = 600.0
_GONE_S = 180.0
_PAUSE_S = 0.3

Live = Mapping[str, Any]


def until_ready(api: Api, kind: Kind, path: str) -> dict[str, Any]:
    """The object, once it is as its kind should be. Raises LabError with what the API says of it and of its
    pods when it fails or takes too long."""
    settled = _SETTLED.get(kind.name, _at_once)
    deadline = time.monotonic() + _READY_S
    while True:
        live = api.get(path)
        if live is None:
            raise LabError(f"the {kind.name} was removed by somebody else", value=path)
        if settled(api, live):
            return live
        failed = _failure(live)
        if failed or time.monotonic() > deadline:
            why = "\n".join([failed, *_troubles(api, live)]).strip() or "no reason is given"
            raise LabError(f"the {kind.name} did not become ready: {why}", value=path)
        time.sleep(_PAUSE_S)


def until_gone(api: Api, path: str, uid: str) -> None:
    """Raises LabError naming the finalizers that keep the object."""
    deadline = time.monotonic() + _GONE_S
    while (live := api.get(path)) is not None and live["metadata"]["uid"] == uid:
        if time.monotonic() > deadline:
            kept = [*live["metadata"].get("finalizers", ()), *(live.get("spec") or {}).get("finalizers", ())]
            said = [one["message"] for one in (live.get("status") or {}).get("conditions", ())]
            raise LabError(
                f"the object is being deleted and waits for {', '.join(kept) or 'the cluster'}",
                value=" ".join([path, *said]),
            )
        time.sleep(_PAUSE_S)


def _at_once(_: Api, _live: Live) -> bool:
    return True


def _deployment(_: Api, live: Live) -> bool:
    wanted, status = live["spec"]["replicas"], live.get("status") or {}
    return _observed(live) and all(
        status.get(key, 0) == wanted for key in ("replicas", "updatedReplicas", "availableReplicas")
    )


def _stateful_set(_: Api, live: Live) -> bool:
    wanted, status = live["spec"]["replicas"], live.get("status") or {}
    return (
        _observed(live)
        and status.get("readyReplicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
        and status.get("currentRevision") == status.get("updateRevision")
    )


def _service(api: Api, live: Live) -> bool:
    if not live["spec"].get("selector"):
        return True
    metadata = live["metadata"]
    slices = api.items(
        f"/apis/discovery.k8s.io/v1/namespaces/{metadata['namespace']}/endpointslices",
        f"kubernetes.io/service-name={metadata['name']}",
    )
    endpoints = [endpoint for one in slices for endpoint in one.get("endpoints") or ()]
    return any(endpoint.get("conditions", {}).get("ready") for endpoint in endpoints)


def _namespace(_: Api, live: Live) -> bool:
    return bool((live.get("status") or {}).get("phase") == "Active")


_SETTLED: Mapping[str, Callable[[Api, Live], bool]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "Service": _service,
    "Namespace": _namespace,
}


def _observed(live: Live) -> bool:
    seen = (live.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= live["metadata"]["generation"])


def _failure(live: Live) -> str:
    """What will not get better by waiting."""
    for condition in (live.get("status") or {}).get("conditions") or ():
        stuck = condition["type"] == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded"
        if stuck and _observed(live):
            return str(condition.get("message", ""))
    return ""


def _troubles(api: Api, live: Live) -> list[str]:
    labels = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    if not labels:
        return []
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    pods = api.items(f"/api/v1/namespaces/{live['metadata']['namespace']}/pods", selector)
    return [
        line for item in (live, *({**pod, "kind": "Pod"} for pod in pods)) for line in troubles(dict(item))
    ]
