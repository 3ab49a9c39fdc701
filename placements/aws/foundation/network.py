"""The VPC. It has no NAT gateway, which costs money by the hour: the lab stack adds one."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from placements.aws.naming import Scope, subnets
from placements.aws.sdk import aws

POSTGRESQL_PORT = 5432


class Network(pulumi.ComponentResource):
    """Private and public subnets over zones, and the way to S3 that costs nothing.

    Attributes:
        vpc_id, private_subnet_ids, public_subnet_ids, private_route_table_ids: in the order of the zones.
        database_security_group_id: lets the private subnets reach PostgreSQL.
    """

    def __init__(
        self, name: str, *, scope: Scope, cidr: str, zones: tuple[str, ...], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__("lab:aws:Network", name, None, pulumi.ResourceOptions(parent=opts.parent))
        ec2, child = aws().ec2, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        networks: Mapping[str, tuple[str, str]] = subnets(cidr, zones)
        vpc = ec2.Vpc(
            "vpc",
            cidr_block=cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags=scope.tags("vpc"),
            opts=child,
        )
        ec2.DefaultSecurityGroup("nothing-by-default", vpc_id=vpc.id, tags=scope.tags("default"), opts=child)
        gateway = ec2.InternetGateway("internet", vpc_id=vpc.id, tags=scope.tags("internet"), opts=child)
        public = ec2.RouteTable("public", vpc_id=vpc.id, tags=scope.tags("public"), opts=child)
        ec2.Route(
            "public-internet",
            route_table_id=public.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=child,
        )
        self.private_subnet_ids: list[pulumi.Output[str]] = []
        self.public_subnet_ids: list[pulumi.Output[str]] = []
        self.private_route_table_ids: list[pulumi.Output[str]] = []
        for zone, (private_cidr, public_cidr) in networks.items():
            table = ec2.RouteTable(
                f"private-{zone}", vpc_id=vpc.id, tags=scope.tags(f"private-{zone}"), opts=child
            )
            self.private_route_table_ids.append(table.id)
            for kind, block, route_table, role, found in (
                ("private", private_cidr, table, "internal-elb", self.private_subnet_ids),
                ("public", public_cidr, public, "elb", self.public_subnet_ids),
            ):
                subnet = ec2.Subnet(
                    f"{kind}-{zone}",
                    vpc_id=vpc.id,
                    availability_zone=zone,
                    cidr_block=block,
                    map_public_ip_on_launch=False,
                    tags={**scope.tags(f"{kind}-{zone}"), f"kubernetes.io/role/{role}": "1"},
                    opts=child,
                )
                ec2.RouteTableAssociation(
                    f"{kind}-{zone}", subnet_id=subnet.id, route_table_id=route_table.id, opts=child
                )
                found.append(subnet.id)
        ec2.VpcEndpoint(
            "s3",
            vpc_id=vpc.id,
            service_name=f"{'.'.join(reversed(scope.dns_suffix.split('.')))}.{scope.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[*self.private_route_table_ids, public.id],
            tags=scope.tags("s3"),
            opts=child,
        )
        group = ec2.SecurityGroup(
            "database",
            name=f"{scope.prefix}-database",
            description="PostgreSQL, from the private subnets alone",
            vpc_id=vpc.id,
            tags=scope.tags("database"),
            opts=child,
        )
        for zone, (private_cidr, _) in networks.items():
            aws().vpc.SecurityGroupIngressRule(
                f"database-{zone}",
                security_group_id=group.id,
                description=f"PostgreSQL from {zone}",
                ip_protocol="tcp",
                from_port=POSTGRESQL_PORT,
                to_port=POSTGRESQL_PORT,
                cidr_ipv4=private_cidr,
                tags=scope.tags(f"database-{zone}"),
                opts=child,
            )
        self.vpc_id: pulumi.Output[str] = vpc.id
        self.database_security_group_id: pulumi.Output[str] = group.id
        self.register_outputs({"vpc_id": vpc.id})
