"""Runs one stack's program under Pulumi's mocks and prints what it registered, as JSON.

A process of its own: the SDK leaves event loops open and unbalances the interpreter's recursion count.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockMonitor, MockResourceArgs

from contracts.errors import LabError
from contracts.outputs import Network, Slot, to_exports
from contracts.settings import Settings, read_settings
from tests.unit.fake_kubectl import CLUSTER_ID
from tests.unit.slots import make_aws_slot, make_slot

NETWORK = Network(
    region="eu-central-1",
    account_id="123456789012",
    vpc_id="vpc-1",
    cidr="10.40.0.0/16",
    zones=("eu-central-1a", "eu-central-1b"),
    private_subnet_ids=("subnet-private-a", "subnet-private-b"),
    public_subnet_ids=("subnet-public-a", "subnet-public-b"),
    private_route_table_ids=("rtb-a", "rtb-b"),
    key_arn="arn:key",
)

INGRESS_DOMAIN = "lab.example"
"""What the persistent stack's certificate is for."""


class Recorder(pulumi.runtime.Mocks):
    """Remembers every registration; answers with the inputs."""

    def __init__(self, placement: str) -> None:
        self.resources: list[dict[str, Any]] = []
        self.placement = placement

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
            state["outputs"] = persistent_outputs(self.placement)
        if args.typ.startswith(("aws:", "eks:")):
            state |= aws_outputs(args)
        if args.typ == "keycloak:openid/client:Client":
            state["serviceAccountUserId"] = f"service-account-{args.name}"
        return f"{args.name}-id", state

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        return {"id": "realm-management-id", **args.args}, []


def persistent_outputs(placement: str) -> dict[str, Any]:
    """What a lab stack reads."""
    if placement == "aws":
        slots = dict.fromkeys(("lab", "team-b"), to_exports(make_aws_slot()))
        own = {"slots": slots, "lab": "lab", "catalog_kind": "polaris"}
        return {**own, "network": to_exports(NETWORK)}
    return {
        "slots": dict.fromkeys(("lab", "team-b"), to_exports(placed(make_slot()))),
        "lab": "lab",
        "catalog_kind": "nessie",
        "cluster_id": CLUSTER_ID,
        "ingress_domain": INGRESS_DOMAIN,
    }


def placed(slot: Slot) -> Slot:
    """The slot with servers where a test says."""
    database, store = (os.environ.get(f"LAB_TEST_{name}_HOST") for name in ("DATABASE", "STORE"))
    if database:
        names = [f.name for f in dataclasses.fields(slot) if f.name.endswith("_database")]
        slot = dataclasses.replace(
            slot, **{n: dataclasses.replace(getattr(slot, n), host=database) for n in names}
        )
    warehouse = slot.warehouse
    if store:
        url = f"http://{store}:9000"
        warehouse = dataclasses.replace(warehouse, endpoint_url=url, sts_endpoint_url=url)
    operators = os.environ.get("LAB_TEST_OPERATOR_STORE")
    return dataclasses.replace(
        slot, warehouse=dataclasses.replace(warehouse, operator_endpoint_url=operators)
    )


def aws_outputs(args: MockResourceArgs) -> dict[str, Any]:
    """What AWS tells of a resource that was made, as far as the stacks read it."""
    name = args.inputs.get("name") or args.name
    found: dict[str, Any] = {
        "arn": f"arn:aws:test:eu-central-1:123456789012:{args.typ.split(':')[-1]}/{name}"
    }
    if args.typ == "aws:rds/cluster:Cluster":
        found |= {"endpoint": "aurora.example", "masterUserSecrets": [{"secretArn": "arn:secret"}]}
    if args.typ == "eks:index:Cluster":
        found["kubeconfigJson"] = "{}"
    if args.typ == "aws:ec2/launchTemplate:LaunchTemplate":
        found["latestVersion"] = 1
    return found


def remember_options(recorder: Recorder) -> None:
    """Adds each registration's options to what is remembered, which mocks are not told."""
    register: Callable[[Any, Any], Any] = MockMonitor.RegisterResource

    def recording(self: Any, request: Any) -> Any:
        answer = register(self, request)
        own = (r for r in recorder.resources if (r["type"], r["name"]) == (request.type, request.name))
        for resource in own:
            resource["options"] = {
                "protect": request.protect,
                "retain_on_delete": request.retainOnDelete,
                "depends_on": sorted(
                    {urn.split("::", 2)[-1].rsplit("$", 1)[-1] for urn in request.dependencies}
                ),
                "provider": request.provider.split("::", 2)[-1].rsplit("$", 1)[-1],
            }
        return answer

    MockMonitor.RegisterResource = recording  # type: ignore[method-assign]  # the SDK has no other way in


def cluster(settings: Settings) -> None:
    """The cluster in a network as the persistent stack exports it."""
    from placements.aws.cluster import AwsCluster

    AwsCluster(
        "cluster",
        settings,
        network=pulumi.Output.from_input(to_exports(NETWORK)),
        role_arns={name: f"arn:role/{name}" for name in ("catalog", "governor", "opa")},
        namespace="lakehouse-lab",
    )


def main(role: str, *pairs: str) -> None:
    """``role key=value …``; role ``cluster`` is the cluster of placement aws alone, with a lab stack's
    settings."""
    own = "lab" if role == "cluster" else role
    settings = read_settings({"role": own, **dict(pair.split("=", 1) for pair in pairs)}, {})
    recorder = Recorder(settings.placement)
    remember_options(recorder)
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(recorder, project="lakehouse-lab", stack=role, preview=False)
    if role == "cluster":
        program = cluster
    elif role == "lab":
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
