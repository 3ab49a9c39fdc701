"""What the API says of a pod, in the gateway's words: pure functions
(https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/)."""

from __future__ import annotations

from collections.abc import Iterator

from spark_gateway.cluster_api import Manifest

_COMING = ("ContainerCreating", "PodInitializing")
_HOPELESS = ("InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError")
"""Of what waits, that which waiting does not change."""
_SIGNALLED = 128
_SIGNALS = 64
KILLED = -9
"""Of a driver that went with its pod and left no code."""


def phase(pod: Manifest) -> str:
    """``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Unknown``."""
    return str((pod.get("status") or {}).get("phase", "Pending"))


def over(pod: Manifest) -> bool:
    """Whether its containers have ended for good."""
    return phase(pod) in ("Succeeded", "Failed")


def held_up(pod: Manifest) -> str | None:
    """Why a pod that should run does not yet; None when it is on its way."""
    status = pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _said("no node of the cluster takes the pod", condition)
    for waiting in _waiting(pod):
        reason = waiting.get("reason", "")
        if "Image" in reason:
            return _said("its image can't be had", waiting)
        if reason not in _COMING:
            return _said("its container does not start", waiting)
    return None


def hopeless(pod: Manifest) -> bool:
    """Whether what holds a pod up will not pass."""
    return any(waiting.get("reason") in _HOPELESS for waiting in _waiting(pod))


def exit_code(pod: Manifest, container: str) -> int:
    """The code of a pod that is over, negative for a signal."""
    ended = _terminated(pod, container) or _first_failure(pod)
    if ended is None:
        return KILLED
    code = int(ended["exitCode"])
    return _SIGNALLED - code if _SIGNALLED < code <= _SIGNALLED + _SIGNALS else code


def ended_by(pod: Manifest, container: str) -> str | None:
    """What ended a pod, where it was not its program: its node, memory, or a file that it could not get."""
    status = pod.get("status") or {}
    if status.get("reason"):
        return _said("the cluster ended the pod", status)
    own = _terminated(pod, container)
    if own is not None and own.get("reason") == "OOMKilled":
        return "the container took more memory than its limit"
    if own is None and (failed := _first_failure(pod)) is not None:
        return _said("the job's files did not come", failed)
    return None


def _statuses(pod: Manifest, key: str) -> Iterator[Manifest]:
    yield from (pod.get("status") or {}).get(key) or ()


def _waiting(pod: Manifest) -> Iterator[Manifest]:
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in _statuses(pod, key):
            waiting = (container.get("state") or {}).get("waiting")
            if waiting:
                yield waiting


def _terminated(pod: Manifest, container: str) -> Manifest | None:
    for one in _statuses(pod, "containerStatuses"):
        if one["name"] == container:
            ended: Manifest | None = (one.get("state") or {}).get("terminated")
            return ended
    return None


def _first_failure(pod: Manifest) -> Manifest | None:
    for one in _statuses(pod, "initContainerStatuses"):
        ended: Manifest | None = (one.get("state") or {}).get("terminated")
        if ended is not None and ended.get("exitCode"):
            return ended
    return None


def _said(what: str, part: Manifest) -> str:
    words = [str(part[key]) for key in ("reason", "message") if part.get(key)]
    return f"{what}: {', '.join(words)}" if words else what
