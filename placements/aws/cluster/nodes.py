"""The node groups: services on demand, Trino on demand in one zone, Spark on Spot instances or on none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pulumi

from contracts.settings import Settings
from placements.aws.naming import Scope
from placements.aws.sdk import aws
from placements.kubernetes.naming import CLASS_LABEL

_ROOT_GIB = 80


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """One group. ``nodes`` is how many it begins with; ``one_zone``: in the first zone alone, so that a
    query's exchange crosses none."""

    name: str
    capacity_type: str
    instance_types: tuple[str, ...]
    min_nodes: int
    nodes: int
    max_nodes: int
    one_zone: bool = False
    taints: list[dict[str, str]] = field(default_factory=list)

    @property
    def labels(self) -> dict[str, str]:
        """What pods of the class look for."""
        return {CLASS_LABEL: self.name}


def node_plans(settings: Settings) -> tuple[NodePlan, ...]:
    """The groups, named as the workload classes."""
    values = settings.values
    return (
        NodePlan(
            name="system",
            capacity_type="ON_DEMAND",
            instance_types=values["awsSystemTypes"],
            min_nodes=1,
            nodes=2,
            max_nodes=3,
        ),
        NodePlan(
            name="query",
            capacity_type="ON_DEMAND",
            instance_types=values["awsQueryTypes"],
            min_nodes=0,
            nodes=1,
            max_nodes=values["awsQueryMaxNodes"],
            one_zone=True,
        ),
        NodePlan(
            name="batch",
            capacity_type="SPOT",
            instance_types=values["awsBatchTypes"],
            min_nodes=0,
            nodes=0,
            max_nodes=values["awsBatchMaxNodes"],
            taints=[{"key": CLASS_LABEL, "value": "batch", "effect": "NO_SCHEDULE"}],
        ),
    )


def launch_template(scope: Scope, *, opts: pulumi.ResourceOptions) -> Any:
    """What all nodes share: encrypted disks, the metadata service for the node alone, and tags by which what
    is left is found."""
    tags = scope.tags("node")
    return aws().ec2.LaunchTemplate(
        "nodes",
        name=f"{scope.prefix}-nodes",
        update_default_version=True,
        metadata_options={
            "http_endpoint": "enabled",
            "http_tokens": "required",
            # One hop: a pod that is not on the host's network can't ask it for the node's credentials.
            "http_put_response_hop_limit": 1,
        },
        block_device_mappings=[
            {
                "device_name": "/dev/xvda",
                "ebs": {
                    "volume_size": _ROOT_GIB,
                    "volume_type": "gp3",
                    "encrypted": "true",
                    "delete_on_termination": "true",
                },
            }
        ],
        tag_specifications=[
            {"resource_type": kind, "tags": tags} for kind in ("instance", "volume", "network-interface")
        ],
        tags=scope.tags("nodes"),
        opts=opts,
    )
