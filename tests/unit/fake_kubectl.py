"""A ``kubectl`` that answers from a file: who the cluster is and what the operator may do there."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CLUSTER_ID = "6f1f6c2e-7b0e-4a53-9d0b-0a4f6d1b8a11"
EVERYTHING = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]

API_SERVICE = {"spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 443}]}}
API_ENDPOINTS = {"endpoints": [{"addresses": ["192.0.2.10"]}], "ports": [{"port": 6443}]}


def install(
    folder: Path,
    *,
    cluster_id: str = CLUSTER_ID,
    rules: Sequence[dict[str, Any]] = tuple(EVERYTHING),
    allowed: Sequence[str] | None = None,
    error: str = "",
    objects: Sequence[dict[str, Any]] = (),
    namespaces: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """Makes ``kubectl`` in ``folder``, to be put on PATH. ``rules`` are listed, ``allowed`` names what is
    granted when asked for by itself (None: all); ``error`` is all that it says, where given; ``objects`` are
    what is found by labels, ``namespaces`` the labels of those that there are."""
    folder.mkdir(parents=True, exist_ok=True)
    world = {
        "uid": cluster_id,
        "rules": list(rules),
        "allowed": allowed,
        "error": error,
        "objects": [*objects],
        "namespaces": dict(namespaces or {}),
    }
    (folder / "world.json").write_text(json.dumps(world), encoding="utf-8")
    program = folder / "kubectl"
    command = shlex.join([sys.executable, str(Path(__file__).resolve()), str(folder)])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


def _answer(document: dict[str, Any], world: dict[str, Any]) -> dict[str, Any]:
    if document["kind"] == "SelfSubjectRulesReview":
        return {**document, "status": {"resourceRules": world["rules"], "incomplete": False}}
    asked = document["spec"]["resourceAttributes"]
    group = f".{asked['group']}" if asked["group"] else ""
    part = f"/{asked['subresource']}" if asked.get("subresource") else ""
    right = f"{asked['verb']} {asked['resource']}{group}{part}"
    granted = world["allowed"] is None or right in world["allowed"]
    return {**document, "status": {"allowed": granted}}


def main(folder: str, *arguments: str) -> int:
    """Logs how it was called, and answers."""
    world = json.loads((Path(folder) / "world.json").read_text(encoding="utf-8"))
    with (Path(folder) / "calls").open("a", encoding="utf-8") as calls:
        calls.write(shlex.join(arguments) + "\n")
    if world["error"]:
        print(world["error"], file=sys.stderr)
        return 1
    if "--ignore-not-found" in arguments:
        kind, name = arguments[arguments.index("get") + 1 :][:2]
        if kind == "service":
            print(json.dumps(API_SERVICE))
        elif name in world["namespaces"]:
            print(json.dumps({"metadata": {"name": name, "labels": world["namespaces"][name]}}))
        return 0
    if "endpointslices.discovery.k8s.io" in arguments:
        print(json.dumps({"kind": "List", "items": [API_ENDPOINTS]}))
        return 0
    if "get" in arguments and "--output=json" in arguments:
        # In the lab's own namespace; there is nothing beside it.
        beside = any(a.startswith("--namespace=") and a.endswith("-spark") for a in arguments)
        print(json.dumps({"kind": "List", "items": [] if beside else world["objects"]}))
        return 0
    if "get" in arguments:
        sys.stdout.write(world["uid"])
        return 0
    # One document a line comes in; kubectl prints one after the other.
    for line in sys.stdin.read().splitlines():
        print(json.dumps(_answer(json.loads(line), world), indent=4))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
