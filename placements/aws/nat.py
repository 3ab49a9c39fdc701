"""The way out of the private subnets: NAT gateways, which are billed by the hour, and the routes to them."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from placements.aws.naming import Scope
from placements.aws.sdk import aws


def ways_out(
    scope: Scope,
    zones: Sequence[str],
    *,
    zonal: bool,
    subnet_ids: Sequence[pulumi.Input[str]],
    route_table_ids: Sequence[pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> list[pulumi.CustomResource]:
    """Registers one gateway for all zones, or one in each (``zonal``), and gives the routes. A route table
    has one route to everywhere: a second lab that brought its own would be refused by AWS.

    Args:
        subnet_ids, route_table_ids: the public subnet and the private route table of each zone.
    """
    ec2 = aws().ec2
    gateways = []
    for zone, subnet_id in list(zip(zones, subnet_ids, strict=True))[: None if zonal else 1]:
        address = ec2.Eip(f"nat-{zone}", domain="vpc", tags=scope.tags(f"nat-{zone}"), opts=opts)
        gateways.append(
            ec2.NatGateway(
                f"nat-{zone}",
                allocation_id=address.id,
                subnet_id=subnet_id,
                tags=scope.tags(f"nat-{zone}"),
                opts=opts,
            )
        )
    return [
        ec2.Route(
            f"private-{zone}",
            route_table_id=table_id,
            destination_cidr_block="0.0.0.0/0",
            nat_gateway_id=gateways[index if zonal else 0].id,
            opts=opts,
        )
        for index, (zone, table_id) in enumerate(zip(zones, route_table_ids, strict=True))
    ]
