"""Why a lab's pods do not run, out of what the API says of them: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from placements.kubernetes.naming import Manifest

KINDS = ("pods", "deployments.apps", "statefulsets.apps")
"""What is looked at."""

_COMING = ("ContainerCreating", "PodInitializing")
_WHY = re.compile(r"\b(FATAL|PANIC|ERROR|error|Error|Exception|full|No space left)\b")
_LINE_LENGTH = 300


def troubles(item: Manifest) -> list[str]:
    """What keeps one object of :data:`KINDS` from being as it should, each with the API's own words; none
    when all is well or on its way."""
    name, status = item["metadata"]["name"], item.get("status") or {}
    found = _of_pod(status) if item["kind"] == "Pod" else _of_controller(status)
    return [f"{item['kind'].lower()} {name}: {line}" for line in found]


def _of_controller(status: dict[str, Any]) -> Iterator[str]:
    """Pods that are not even made, as with a quota that is used up."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            yield _said(condition, "its pods are not made")


def _of_pod(status: dict[str, Any]) -> Iterator[str]:
    if status.get("reason") == "Evicted":
        yield _said(status, "evicted")
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield _said(condition, "no node takes it")
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        waiting, ended = state.get("waiting"), (container.get("lastState") or {}).get("terminated")
        if waiting and waiting.get("reason") not in _COMING:
            yield _said(waiting, "waits")
        if ended and not container.get("ready"):
            starts = container.get("restartCount", 0) + 1
            code = ended.get("exitCode")
            said = telling(str(ended.get("message") or ""))
            what = f"ended with {ended.get('reason')} (exit code {code}), started {starts} times"
            yield f"{what}: {said}" if said else what


def telling(message: str) -> str:
    """Of the last lines of a container that ended, the last one that says why, or the last."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    found = [line for line in lines if _WHY.search(line)] or lines
    return found[-1][:_LINE_LENGTH] if found else ""


def _said(part: dict[str, Any], what: str) -> str:
    words = [str(part[key]) for key in ("reason", "message") if part.get(key)]
    return f"{what}: {', '.join(words)}" if words else what
