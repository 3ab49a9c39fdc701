"""Runs one stack's program under Pulumi's mocks and prints what it registered, as JSON.

A process of its own: the SDK leaves event loops open and unbalances the interpreter's recursion count.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs

from contracts.errors import LabError
from contracts.outputs import to_exports
from contracts.settings import read_settings
from tests.unit.fake_kubectl import CLUSTER_ID
from tests.unit.slots import make_slot


class Recorder(pulumi.runtime.Mocks):
    """Remembers every registration; answers with the inputs."""

    def __init__(self) -> None:
        self.resources: list[dict[str, Any]] = []

    def new_resource(self, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        self.resources.append({"type": args.typ, "name": args.name, "inputs": args.inputs})
        state = dict(args.inputs)
        if args.typ == "random:index/randomPassword:RandomPassword":
            state["result"] = f"random-{args.name}"
        if args.typ.endswith("lab:Pki"):
            state |= {"ca_certificate": "ca", "server_certificate": "crt", "server_key": "key"}
        if args.typ.endswith("lab:RsaKeyPair"):
            state |= {"private_key": "private", "public_key": "public"}
        if args.typ == "pulumi:pulumi:StackReference":
            state["outputs"] = {
                "slots": {"lab": to_exports(make_slot())},
                "catalog_kind": "nessie",
                "cluster_id": CLUSTER_ID,
            }
        if args.typ.startswith(("aws:", "eks:")):
            state |= aws_outputs(args)
        if args.typ == "keycloak:openid/client:Client":
            state["serviceAccountUserId"] = f"service-account-{args.name}"
        return f"{args.name}-id", state

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return {"id": "realm-management-id", **args.args}, []


def aws_outputs(args: MockResourceArgs) -> dict[str, Any]:
    """What AWS tells of a resource that was made, as far as the stacks read it."""
    name = args.inputs.get("name") or args.name
    found: dict[str, Any] = {
        "arn": f"arn:aws:test:eu-central-1:123456789012:{args.typ.split(':')[-1]}/{name}"
    }
    if args.typ == "aws:rds/cluster:Cluster":
        found |= {"endpoint": "aurora.example", "masterUserSecrets": [{"secretArn": "arn:secret"}]}
    return found


def remember_options(recorder: Recorder) -> None:
    """Adds each registration's options to what is remembered, which mocks are not told."""
    register = MockMonitor.RegisterResource

    def recording(self: Any, request: Any) -> Any:
        count = len(recorder.resources)
        answer = register(self, request)
        if len(recorder.resources) == count + 1:
            recorder.resources[-1]["options"] = {
                "protect": request.protect,
                "retain_on_delete": request.retainOnDelete,
                "depends_on": sorted(
                    {urn.split("::", 2)[-1].rsplit("$", 1)[-1] for urn in request.dependencies}
                ),
                "provider": request.provider.split("::", 2)[-1].rsplit("$", 1)[-1],
            }
        return answer

    MockMonitor.RegisterResource = recording  # type: ignore[method-assign]  # the SDK has no other way in


def main(role: str, *pairs: str) -> None:
    """``role key=value …``."""
    recorder = Recorder()
    remember_options(recorder)
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(recorder, project="lakehouse-lab", stack=role, preview=False)
    settings = read_settings({"role": role, **dict(pair.split("=", 1) for pair in pairs)}, {})
    if role == "lab":
        from stacks.lab import lab as program
    else:
        from stacks.persistent import persistent as program
    error = None
    try:
        run: Callable[[], None] = pulumi.runtime.test(lambda: program(settings))  # type: ignore[no-untyped-call]  # it is untyped in the SDK
        run()
    except LabError as refused:
        error = str(refused)
    print(json.dumps({"resources": recorder.resources, "error": error}, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
