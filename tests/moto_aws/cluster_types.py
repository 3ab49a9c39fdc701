"""EKS and what belongs to a cluster."""

from __future__ import annotations

from typing import Any, ClassVar

from contracts.errors import LabError
from plugins.values import Props
from tests.moto_aws.network_types import _Ec2
from tests.moto_aws.types import MotoType, World, pairs


class Eip(_Ec2):
    token = "aws:ec2/eip:Eip"
    outputs = ("arn", "allocationId")

    def make(self, world: World, inputs: Props) -> str:
        ident = str(world.client("ec2").allocate_address(Domain=inputs["domain"])["AllocationId"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        world.client("ec2").describe_addresses(AllocationIds=[ident])
        return {"arn": ident, "allocationId": ident, "tags": self.seen_tags(world, ident)}

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").release_address(AllocationId=ident)


class NatGateway(_Ec2):
    token = "aws:ec2/natGateway:NatGateway"
    outputs: ClassVar[tuple[str, ...]] = ()
    replaces = frozenset({"subnetId", "allocationId"})

    def make(self, world: World, inputs: Props) -> str:
        made = world.client("ec2").create_nat_gateway(
            SubnetId=inputs["subnetId"], AllocationId=inputs["allocationId"]
        )
        ident = str(made["NatGateway"]["NatGatewayId"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("ec2").describe_nat_gateways(NatGatewayIds=[ident])["NatGateways"]
        if not found or found[0]["State"] in ("deleted", "deleting"):
            return None
        return {"subnetId": found[0]["SubnetId"]}

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_nat_gateway(NatGatewayId=ident)


class LaunchTemplate(_Ec2):
    token = "aws:ec2/launchTemplate:LaunchTemplate"
    outputs = ("arn", "latestVersion")
    replaces = frozenset({"name"})

    def make(self, world: World, inputs: Props) -> str:
        options = inputs["metadataOptions"]
        made = world.client("ec2").create_launch_template(
            LaunchTemplateName=inputs["name"],
            LaunchTemplateData={
                "MetadataOptions": {
                    "HttpTokens": options["httpTokens"],
                    "HttpPutResponseHopLimit": options["httpPutResponseHopLimit"],
                },
                "TagSpecifications": [
                    {"ResourceType": spec["resourceType"], "Tags": pairs(spec["tags"])}
                    for spec in inputs["tagSpecifications"]
                ],
            },
        )
        ident = str(made["LaunchTemplate"]["LaunchTemplateId"])
        self.tag(world, ident, inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        answer = world.client("ec2").describe_launch_templates(LaunchTemplateIds=[ident])
        if not answer["LaunchTemplates"]:
            return None
        return {"arn": ident, "latestVersion": answer["LaunchTemplates"][0]["LatestVersionNumber"]}

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("ec2").delete_launch_template(LaunchTemplateId=ident)


class LogGroup(MotoType):
    token = "aws:cloudwatch/logGroup:LogGroup"
    replaces = frozenset({"name"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("logs").create_log_group(logGroupName=inputs["name"], tags=inputs["tags"])
        self.change(world, inputs["name"], inputs)
        return str(inputs["name"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        groups = world.client("logs").describe_log_groups(logGroupNamePrefix=ident)["logGroups"]
        if not groups:
            return None
        return {"arn": groups[0]["arn"], "retentionInDays": groups[0].get("retentionInDays")}

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("logs").put_retention_policy(
            logGroupName=ident, retentionInDays=declared["retentionInDays"]
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("logs").delete_log_group(logGroupName=ident)


class Cluster(MotoType):
    token = "aws:eks/cluster:Cluster"
    outputs = ("arn", "endpoint")
    replaces = frozenset({"name", "roleArn", "encryptionConfig", "bootstrapSelfManagedAddons"})

    def make(self, world: World, inputs: Props) -> str:
        vpc = inputs["vpcConfig"]
        world.client("eks").create_cluster(
            name=inputs["name"],
            version=inputs["version"],
            roleArn=inputs["roleArn"],
            resourcesVpcConfig={
                "subnetIds": vpc["subnetIds"],
                "endpointPublicAccess": vpc["endpointPublicAccess"],
                "endpointPrivateAccess": vpc["endpointPrivateAccess"],
            },
            tags=inputs["tags"],
        )
        return str(inputs["name"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("eks").describe_cluster(name=ident)["cluster"]
        return {"arn": found["arn"], "endpoint": found["endpoint"]}

    def change(self, world: World, ident: str, declared: Props) -> None:
        vpc = declared["vpcConfig"]
        world.client("eks").update_cluster_config(
            name=ident,
            resourcesVpcConfig={
                "endpointPublicAccess": vpc["endpointPublicAccess"],
                "endpointPrivateAccess": vpc["endpointPrivateAccess"],
            },
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("eks").delete_cluster(name=ident)


class NodeGroup(MotoType):
    token = "aws:eks/nodeGroup:NodeGroup"
    replaces = frozenset(
        {*("clusterName", "nodeGroupName", "nodeRoleArn", "subnetIds", "instanceTypes", "capacityType")}
    )

    def make(self, world: World, inputs: Props) -> str:
        template = inputs["launchTemplate"]
        world.client("eks").create_nodegroup(
            clusterName=inputs["clusterName"],
            nodegroupName=inputs["nodeGroupName"],
            nodeRole=inputs["nodeRoleArn"],
            subnets=inputs["subnetIds"],
            amiType=inputs["amiType"],
            capacityType=inputs["capacityType"],
            instanceTypes=inputs["instanceTypes"],
            scalingConfig=self._scaling(inputs),
            launchTemplate={"id": template["id"], "version": template["version"]},
            labels=inputs["labels"],
            taints=inputs.get("taints", []),
            tags=inputs["tags"],
        )
        return f"{inputs['clusterName']}:{inputs['nodeGroupName']}"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        cluster, name = ident.split(":")
        found = world.client("eks").describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
        scaling = found["scalingConfig"]
        return {"arn": found["nodegroupArn"], "scalingConfig": dict(scaling)}

    def change(self, world: World, ident: str, declared: Props) -> None:
        cluster, name = ident.split(":")
        world.client("eks").update_nodegroup_config(
            clusterName=cluster, nodegroupName=name, scalingConfig=self._scaling(declared)
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        cluster, name = ident.split(":")
        world.client("eks").delete_nodegroup(clusterName=cluster, nodegroupName=name)

    def _scaling(self, inputs: Props) -> dict[str, Any]:
        return {key: inputs["scalingConfig"][key] for key in ("minSize", "maxSize", "desiredSize")}


class _OnCluster(MotoType):
    """What moto has no calls for is kept here, on a cluster that moto has: it can't come before, nor outlive,
    its cluster."""

    def name_of(self, inputs: Props) -> str:
        """What it is called on its cluster."""
        raise NotImplementedError

    def make(self, world: World, inputs: Props) -> str:
        world.client("eks").describe_cluster(name=inputs["clusterName"])
        ident = f"{inputs['clusterName']}:{self.name_of(inputs)}"
        if (self.token, ident) in world.kept_here:
            raise LabError(f"{self.token}: ResourceInUseException", value=ident)
        world.kept_here[self.token, ident] = dict(inputs)
        return ident

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.kept_here.get((self.token, ident))
        return None if found is None else {**found, "arn": ident}

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.kept_here[self.token, ident] = dict(declared)

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("eks").describe_cluster(name=props["clusterName"])
        world.kept_here.pop((self.token, ident), None)


class Addon(_OnCluster):
    token = "aws:eks/addon:Addon"
    replaces = frozenset({"addonName", "clusterName"})

    def name_of(self, inputs: Props) -> str:
        return str(inputs["addonName"])


class PodIdentityAssociation(_OnCluster):
    token = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    replaces = frozenset({"clusterName", "namespace", "serviceAccount"})

    def name_of(self, inputs: Props) -> str:
        return f"{inputs['namespace']}/{inputs['serviceAccount']}"


TYPES: tuple[type[MotoType], ...] = (
    *(Eip, NatGateway, LaunchTemplate, LogGroup, Cluster, NodeGroup, Addon, PodIdentityAssociation),
)
