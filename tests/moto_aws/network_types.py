"""EC2: the network."""

from __future__ import annotations

from typing import Any, ClassVar

from plugins.values import Props
from tests.moto_aws.types import MotoType, World, mapping, pairs


class _Ec2(MotoType):
    """Tags are the same for all."""

    def seen_tags(self, world: World, ident: str) -> dict[str, str]:
        answer = world.client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": [ident]}])
        return mapping(answer["Tags"])

    def tag(self, world: World, ident: str, declared: Props) -> None:
        wanted = declared.get("tags") or {}
        gone = [key for key in self.seen_tags(world, ident) if key not in wanted]
        if gone:
            world.client("ec2").delete_tags(Resources=[ident], Tags=[{"Key": key} for key in gone])
        if wanted:
            world.client("ec2").create_tags(Resources=[ident], Tags=pairs(wanted))

    def change(self, world: World, ident: str, declared: Props) -> None:
        self.tag(world, ident, declared)


class Vpc(_Ec2):
    token = "aws:ec2/vpc:Vpc"
    replaces = frozenset({"cidrBlock"})

    def make(self, world: World, inputs: Props) -> str:
        ident = str(world.client("ec2").create_vpc(CidrBlock=inputs["cidrBlock"])["Vpc"]["VpcId"])
        self.change(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        ec2 = world.client("ec2")
        (vpc,) = ec2.describe_vpcs(VpcIds=[ident])["Vpcs"]
        hosts = ec2.describe_vpc_attribute(VpcId=ident, Attribute="enableDnsHostnames")
        return {
            "arn": f"arn:aws:ec2:{world.region}:123456789012:vpc/{ident}",
            "cidrBlock": vpc["CidrBlock"],
            "enableDnsHostnames": hosts["EnableDnsHostnames"]["Value"],
            "tags": self.seen_tags(world, ident),
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        for key in ("EnableDnsSupport", "EnableDnsHostnames"):
            value = bool(declared.get(key[0].lower() + key[1:]))
            world.client("ec2").modify_vpc_attribute(VpcId=ident, **{key: {"Value": value}})
        self.tag(world, ident, declared)

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_vpc(VpcId=ident)


class DefaultSecurityGroup(_Ec2):
    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    replaces = frozenset({"vpcId"})

    def make(self, world: World, inputs: Props) -> str:
        found = world.client("ec2").describe_security_groups(
            Filters=[
                {"Name": "vpc-id", "Values": [inputs["vpcId"]]},
                {"Name": "group-name", "Values": ["default"]},
            ]
        )["SecurityGroups"]
        ident = str(found[0]["GroupId"])
        self.change(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (group,) = world.client("ec2").describe_security_groups(GroupIds=[ident])["SecurityGroups"]
        seen: Props = {"arn": f"arn:aws:ec2:{world.region}:123456789012:security-group/{ident}"}
        for direction in ("ingress", "egress"):
            rules = group["IpPermissions" if direction == "ingress" else "IpPermissionsEgress"]
            # Pulumi declares none; what somebody added is drift.
            seen[direction] = [{"protocol": rule["IpProtocol"]} for rule in rules]
        return {**seen, "tags": self.seen_tags(world, ident)}

    def change(self, world: World, ident: str, declared: Props) -> None:
        ec2 = world.client("ec2")
        (group,) = ec2.describe_security_groups(GroupIds=[ident])["SecurityGroups"]
        if group["IpPermissions"]:
            ec2.revoke_security_group_ingress(GroupId=ident, IpPermissions=group["IpPermissions"])
        if group["IpPermissionsEgress"]:
            ec2.revoke_security_group_egress(GroupId=ident, IpPermissions=group["IpPermissionsEgress"])
        self.tag(world, ident, declared)

    def remove(self, world: World, ident: str, props: Props) -> None:
        """It goes with its VPC."""


class InternetGateway(_Ec2):
    token = "aws:ec2/internetGateway:InternetGateway"
    replaces = frozenset({"vpcId"})

    def make(self, world: World, inputs: Props) -> str:
        ident = str(world.client("ec2").create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
        world.client("ec2").attach_internet_gateway(InternetGatewayId=ident, VpcId=inputs["vpcId"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (found,) = world.client("ec2").describe_internet_gateways(InternetGatewayIds=[ident])[
            "InternetGateways"
        ]
        attached = found["Attachments"]
        return {
            "arn": f"arn:aws:ec2:{world.region}:123456789012:internet-gateway/{ident}",
            "vpcId": attached[0]["VpcId"] if attached else None,
            "tags": self.seen_tags(world, ident),
        }

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").detach_internet_gateway(InternetGatewayId=ident, VpcId=props["vpcId"])
        world.client("ec2").delete_internet_gateway(InternetGatewayId=ident)


class RouteTable(_Ec2):
    token = "aws:ec2/routeTable:RouteTable"
    replaces = frozenset({"vpcId"})

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("ec2").create_route_table(VpcId=inputs["vpcId"])
        ident = str(made["RouteTable"]["RouteTableId"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (table,) = world.client("ec2").describe_route_tables(RouteTableIds=[ident])["RouteTables"]
        return {
            "arn": f"arn:aws:ec2:{world.region}:123456789012:route-table/{ident}",
            "vpcId": table["VpcId"],
            "tags": self.seen_tags(world, ident),
        }

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_route_table(RouteTableId=ident)


class Route(MotoType):
    token = "aws:ec2/route:Route"
    outputs: ClassVar[tuple[str, ...]] = ("state",)
    replaces = frozenset({"routeTableId", "destinationCidrBlock"})

    def _target(self, inputs: Props) -> dict[str, Any]:
        names = {"gatewayId": "GatewayId", "natGatewayId": "NatGatewayId"}
        return {names[key]: inputs[key] for key in names if inputs.get(key)}

    def _place(self, inputs: Props) -> dict[str, Any]:
        return {
            "RouteTableId": inputs["routeTableId"],
            "DestinationCidrBlock": inputs["destinationCidrBlock"],
        }

    def make(self, world: World, inputs: Props) -> str:
        world.client("ec2").create_route(**self._place(inputs), **self._target(inputs))
        return f"r-{inputs['routeTableId']}-{inputs['destinationCidrBlock']}"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (table,) = world.client("ec2").describe_route_tables(RouteTableIds=[props["routeTableId"]])[
            "RouteTables"
        ]
        for route in table["Routes"]:
            if route.get("DestinationCidrBlock") == props["destinationCidrBlock"]:
                return {
                    "state": "active",
                    **({"gatewayId": route.get("GatewayId")} if "gatewayId" in props else {}),
                    **({"natGatewayId": route.get("NatGatewayId")} if "natGatewayId" in props else {}),
                }
        return None

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("ec2").replace_route(**self._place(declared), **self._target(declared))

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_route(**self._place(props))


class RouteTableAssociation(MotoType):
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    outputs: ClassVar[tuple[str, ...]] = ()
    replaces = frozenset({"routeTableId", "subnetId"})

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("ec2").associate_route_table(
            RouteTableId=inputs["routeTableId"], SubnetId=inputs["subnetId"]
        )
        return str(made["AssociationId"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        tables = world.client("ec2").describe_route_tables()["RouteTables"]
        for table in tables:
            for one in table["Associations"]:
                if one.get("RouteTableAssociationId") == ident:
                    return {"routeTableId": table["RouteTableId"], "subnetId": one["SubnetId"]}
        return None

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").disassociate_route_table(AssociationId=ident)


class Subnet(_Ec2):
    token = "aws:ec2/subnet:Subnet"
    replaces = frozenset({"vpcId", "cidrBlock", "availabilityZone"})

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("ec2").create_subnet(
            VpcId=inputs["vpcId"],
            CidrBlock=inputs["cidrBlock"],
            AvailabilityZone=inputs["availabilityZone"],
        )
        ident = str(made["Subnet"]["SubnetId"])
        self.change(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (subnet,) = world.client("ec2").describe_subnets(SubnetIds=[ident])["Subnets"]
        return {
            "arn": f"arn:aws:ec2:{world.region}:123456789012:subnet/{ident}",
            "cidrBlock": subnet["CidrBlock"],
            "availabilityZone": subnet["AvailabilityZone"],
            "mapPublicIpOnLaunch": subnet["MapPublicIpOnLaunch"],
            "tags": self.seen_tags(world, ident),
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("ec2").modify_subnet_attribute(
            SubnetId=ident, MapPublicIpOnLaunch={"Value": bool(declared.get("mapPublicIpOnLaunch"))}
        )
        self.tag(world, ident, declared)

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_subnet(SubnetId=ident)


class VpcEndpoint(_Ec2):
    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    replaces = frozenset({"vpcId", "serviceName", "vpcEndpointType"})

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("ec2").create_vpc_endpoint(
            VpcId=inputs["vpcId"],
            ServiceName=inputs["serviceName"],
            VpcEndpointType=inputs["vpcEndpointType"],
            RouteTableIds=inputs["routeTableIds"],
        )
        ident = str(made["VpcEndpoint"]["VpcEndpointId"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (found,) = world.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[ident])["VpcEndpoints"]
        if found["State"] in ("deleted", "deleting"):
            return None
        return {
            "arn": f"arn:aws:ec2:{world.region}:123456789012:vpc-endpoint/{ident}",
            "routeTableIds": found["RouteTableIds"],
            "tags": self.seen_tags(world, ident),
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        (found,) = world.client("ec2").describe_vpc_endpoints(VpcEndpointIds=[ident])["VpcEndpoints"]
        before, after = set(found["RouteTableIds"]), set(declared["routeTableIds"])
        world.client("ec2").modify_vpc_endpoint(
            VpcEndpointId=ident,
            AddRouteTableIds=sorted(after - before),
            RemoveRouteTableIds=sorted(before - after),
        )
        self.tag(world, ident, declared)

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_vpc_endpoints(VpcEndpointIds=[ident])


class SecurityGroup(_Ec2):
    token = "aws:ec2/securityGroup:SecurityGroup"
    replaces = frozenset({"vpcId", "name", "description"})

    def make(self, world: World, inputs: Props) -> str:
        ec2 = world.client("ec2")
        made = ec2.create_security_group(
            GroupName=inputs["name"], Description=inputs["description"], VpcId=inputs["vpcId"]
        )
        ident = str(made["GroupId"])
        # As the official provider does: nothing but what is declared.
        (group,) = ec2.describe_security_groups(GroupIds=[ident])["SecurityGroups"]
        if group["IpPermissionsEgress"]:
            ec2.revoke_security_group_egress(GroupId=ident, IpPermissions=group["IpPermissionsEgress"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        (group,) = world.client("ec2").describe_security_groups(GroupIds=[ident])["SecurityGroups"]
        return {
            "arn": f"arn:aws:ec2:{world.region}:123456789012:security-group/{ident}",
            "vpcId": group["VpcId"],
            "tags": self.seen_tags(world, ident),
        }

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_security_group(GroupId=ident)


class SecurityGroupIngressRule(_Ec2):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    replaces = frozenset({"securityGroupId", "cidrIpv4", "fromPort", "toPort", "ipProtocol"})

    def _rule(self, inputs: Props) -> dict[str, Any]:
        permission = {
            "IpProtocol": inputs["ipProtocol"],
            "FromPort": inputs["fromPort"],
            "ToPort": inputs["toPort"],
            "IpRanges": [{"CidrIp": inputs["cidrIpv4"]}],
        }
        return {"GroupId": inputs["securityGroupId"], "IpPermissions": [permission]}

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("ec2").authorize_security_group_ingress(**self._rule(inputs))
        ident = str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        answer = world.client("ec2").describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [props["securityGroupId"]]}]
        )
        for rule in answer["SecurityGroupRules"]:
            if rule["SecurityGroupRuleId"] == ident:
                return {"arn": ident, "cidrIpv4": rule.get("CidrIpv4"), "fromPort": rule["FromPort"]}
        return None

    def remove(self, world: World, ident: str, props: Props) -> None:
        # By its content: moto does not know it by its id.
        world.client("ec2").revoke_security_group_ingress(**self._rule(props))


TYPES: tuple[type[MotoType], ...] = (
    *(Vpc, DefaultSecurityGroup, InternetGateway, RouteTable, Route, RouteTableAssociation, Subnet),
    *(VpcEndpoint, SecurityGroup, SecurityGroupIngressRule),
)
