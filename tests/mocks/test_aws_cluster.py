"""The cluster of placement aws, under Pulumi's mocks: what matters of it, and what waits for what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.mocks.test_stacks import Recorded, run

ACCOUNT = "123456789012"
GIVEN = ("placement=aws", "awsRegion=eu-central-1", f"awsAccountId={ACCOUNT}")
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform"
FULL = (*GIVEN, "awsApiCidrs=203.0.113.7/32", f"awsAdmins={ADMIN}", "awsNat=zonal")
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
ADDON = "aws:eks/addon:Addon"


@pytest.fixture(scope="module")
def stack() -> Recorded:
    found = run("cluster", *GIVEN)
    assert found.error is None
    return found


@pytest.fixture(scope="module")
def full() -> Recorded:
    found = run("cluster", *FULL)
    assert found.error is None
    return found


def control_plane(stack: Recorded) -> dict[str, Any]:
    (found,) = stack.of("eks:index:Cluster").values()
    return found


def waits_for(stack: Recorded, kind: str, name: str) -> set[str]:
    """All that a resource comes after, at any distance, as type::name."""
    edges = {
        f"{r['type']}::{r['name']}": set(r["options"]["depends_on"])
        for r in stack.resources
        if "options" in r
    }
    seen: set[str] = set()
    left = [f"{kind}::{name}"]
    while left:
        for one in edges.get(left.pop(), set()) - seen:
            seen.add(one)
            left.append(one)
    return seen


def test_the_api_is_private_unless_networks_are_named(stack: Recorded, full: Recorded) -> None:
    alone = control_plane(stack)
    assert (alone["endpointPrivateAccess"], alone["endpointPublicAccess"]) == (True, False)
    assert "publicAccessCidrs" not in alone
    named = control_plane(full)
    assert named["endpointPublicAccess"] is True
    assert named["publicAccessCidrs"] == ["203.0.113.7/32"]
    assert named["endpointPrivateAccess"] is True, "nodes stay inside"


def test_the_control_plane_is_encrypted_logged_and_entered_by_access_entries(full: Recorded) -> None:
    found = control_plane(full)
    assert found["authenticationMode"] == "API"
    assert found["encryptionConfigKeyArn"] == "arn:key"
    assert found["enabledClusterLogTypes"] == ["api", "audit", "authenticator"]
    (entry,) = found["accessEntries"].values()
    assert entry["principalArn"] == ADMIN
    (policy,) = entry["accessPolicies"].values()
    assert policy["accessScope"] == {"type": "cluster"}
    assert found["skipDefaultNodeGroup"] is True
    assert found["privateSubnetIds"] == ["subnet-private-a", "subnet-private-b"]
    assert "publicSubnetIds" not in found
    (logs,) = full.of("aws:cloudwatch/logGroup:LogGroup").values()
    assert (logs["name"], logs["retentionInDays"]) == ("/aws/eks/lakehouse-lab/cluster", 30)
    assert "aws:cloudwatch/logGroup:LogGroup::control-plane" in waits_for(
        full, "eks:index:Cluster", "cluster"
    ), "else EKS makes the group, and nobody removes it"


def test_the_managed_add_ons_are_all_there_and_network_policies_hold(stack: Recorded) -> None:
    addons = stack.of(ADDON)
    assert set(addons) == {
        *("vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "aws-ebs-csi-driver"),
    }
    assert json.loads(addons["vpc-cni"]["configurationValues"]) == {"enableNetworkPolicy": "true"}
    for name, account in (("vpc-cni", "aws-node"), ("aws-ebs-csi-driver", "ebs-csi-controller-sa")):
        (identity,) = addons[name]["podIdentityAssociations"]
        assert identity["serviceAccount"] == account
    plane = control_plane(stack)
    assert plane["bootstrapSelfManagedAddons"] is False
    assert plane["useDefaultVpcCni"] is True
    assert plane["corednsAddonOptions"] == plane["kubeProxyAddonOptions"] == {"enabled": False}


def test_node_groups_are_what_their_workloads_need(stack: Recorded) -> None:
    groups = stack.of(NODE_GROUP)
    assert set(groups) == {"system", "query", "batch"}
    assert {n: g["capacityType"] for n, g in groups.items()} == {
        "system": "ON_DEMAND", "query": "ON_DEMAND", "batch": "SPOT",
    }  # fmt: skip
    assert groups["query"]["subnetIds"] == ["subnet-private-a"], "one zone"
    assert len(groups["system"]["subnetIds"]) == len(groups["batch"]["subnetIds"]) == 2
    assert groups["batch"]["scalingConfig"] == {"minSize": 0, "desiredSize": 0, "maxSize": 4}
    assert groups["batch"]["taints"] == [
        {"key": "lakehouse-lab/class", "value": "batch", "effect": "NO_SCHEDULE"}
    ]
    assert len(groups["batch"]["instanceTypes"]) >= 3, "Spot of one type alone is interrupted often"
    assert "taints" not in groups["system"]
    for name, group in groups.items():
        assert group["labels"] == {"lakehouse-lab/class": name}


def test_nodes_keep_their_credentials_and_their_disks_to_themselves(stack: Recorded) -> None:
    (template,) = stack.of("aws:ec2/launchTemplate:LaunchTemplate").values()
    assert template["metadataOptions"]["httpTokens"] == "required"
    assert template["metadataOptions"]["httpPutResponseHopLimit"] == 1
    (disk,) = template["blockDeviceMappings"]
    assert (disk["ebs"]["encrypted"], disk["ebs"]["deleteOnTermination"]) == ("true", "true")
    kinds = {s["resourceType"]: s["tags"] for s in template["tagSpecifications"]}
    assert set(kinds) == {"instance", "volume", "network-interface"}
    assert all(tags["Lab"] == "lab" for tags in kinds.values()), "else nobody finds what is left"


def test_roles_have_what_aws_wrote_and_nothing_else(stack: Recorded) -> None:
    attached = {
        (a["role"], a["policyArn"].split(":policy/")[1])
        for a in stack.of("aws:iam/rolePolicyAttachment:RolePolicyAttachment").values()
    }
    assert attached == {
        ("lakehouse-lab-cluster-control", "AmazonEKSClusterPolicy"),
        ("lakehouse-lab-cluster-nodes", "AmazonEKSWorkerNodePolicy"),
        ("lakehouse-lab-cluster-nodes", "AmazonEC2ContainerRegistryPullOnly"),
        ("lakehouse-lab-cluster-cni", "AmazonEKS_CNI_Policy"),
        ("lakehouse-lab-cluster-ebs", "service-role/AmazonEBSCSIDriverPolicy"),
    }
    assert not stack.of("aws:iam/rolePolicy:RolePolicy")
    from placements.aws.naming import MANAGED_POLICIES

    assert {policy for _, policy in attached} == set(MANAGED_POLICIES), (
        "the deploy role may attach these alone"
    )


def test_workloads_get_the_persistent_stacks_roles(stack: Recorded) -> None:
    found = stack.of("aws:eks/podIdentityAssociation:PodIdentityAssociation")
    assert {(a["serviceAccount"], a["roleArn"], a["namespace"]) for a in found.values()} == {
        (name, f"arn:role/{name}", "lakehouse-lab") for name in ("catalog", "governor", "opa")
    }


def test_private_subnets_have_a_way_out_by_one_gateway_or_one_each(stack: Recorded, full: Recorded) -> None:
    for found, gateways in ((stack, 1), (full, 2)):
        assert len(found.of("aws:ec2/natGateway:NatGateway")) == gateways
        assert len(found.of("aws:ec2/eip:Eip")) == gateways
        routes = found.of("aws:ec2/route:Route")
        assert {r["routeTableId"] for r in routes.values()} == {"rtb-a", "rtb-b"}
        assert len({r["natGatewayId"] for r in routes.values()}) == gateways
    subnets = {g["subnetId"] for g in full.of("aws:ec2/natGateway:NatGateway").values()}
    assert subnets == {"subnet-public-a", "subnet-public-b"}


def test_nodes_come_when_they_can_become_ready_and_go_before_their_way_out(stack: Recorded) -> None:
    needed = {
        *(f"{ADDON}::{name}" for name in ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")),
        "aws:ec2/natGateway:NatGateway::nat-eu-central-1a",
        "aws:ec2/route:Route::private-eu-central-1b",
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment::cluster-nodes-AmazonEKSWorkerNodePolicy",
        "eks:index:Cluster::cluster",
    }
    for group in ("system", "query", "batch"):
        assert needed <= waits_for(stack, NODE_GROUP, group), group


def test_what_needs_a_node_waits_for_the_system_nodes_alone(stack: Recorded) -> None:
    for addon in ("coredns", "aws-ebs-csi-driver"):
        waits = waits_for(stack, ADDON, addon)
        assert f"{NODE_GROUP}::system" in waits
        assert not {f"{NODE_GROUP}::query", f"{NODE_GROUP}::batch"} & waits
    for addon in ("vpc-cni", "kube-proxy", "eks-pod-identity-agent"):
        assert f"{NODE_GROUP}::system" not in waits_for(stack, ADDON, addon)


def test_nothing_that_keeps_data_is_in_the_lab_stack_and_all_of_it_is_tagged(stack: Recorded) -> None:
    kinds = {r["type"] for r in stack.resources}
    assert not [k for k in kinds if k.startswith(("aws:rds/", "aws:s3/", "aws:kms/", "aws:dynamodb/"))]
    bare = {"aws:ec2/route:Route", "aws:iam/rolePolicyAttachment:RolePolicyAttachment"}
    for resource in stack.resources:
        if resource["type"].startswith(("aws:", "eks:")) and resource["type"] not in bare:
            tags = resource["inputs"]["tags"]
            assert (tags["Lab"], tags["Stack"]) == ("lab", "lab"), resource["name"]
            assert resource["options"]["protect"] is False


def test_a_lab_that_is_to_end_has_what_ends_it_before_it_has_a_cluster(stack: Recorded) -> None:
    assert not stack.of("aws:scheduler/schedule:Schedule")
    found = run("cluster", *GIVEN, "awsExpiresAt=2027-01-31T18:00:00Z")
    assert found.error is None
    (schedule,) = found.of("aws:scheduler/schedule:Schedule").values()
    assert schedule["scheduleExpression"] == "at(2027-01-31T18:00:00)"
    assert schedule["scheduleExpressionTimezone"] == "UTC"
    assert schedule["target"]["roleArn"] == f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-ending-schedule"
    (machine,) = found.of("aws:sfn/stateMachine:StateMachine").values()
    assert machine["roleArn"] == f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-ending"
    assert "lakehouse-lab" in machine["definition"]
    before = waits_for(found, "eks:index:Cluster", "cluster")
    assert "aws:scheduler/schedule:Schedule::ending" in before


def test_a_lab_that_is_to_end_when_idle_is_looked_at_and_shares_the_machine(stack: Recorded) -> None:
    found = run("cluster", *GIVEN, "idleStopHours=4")
    assert found.error is None
    (name, schedule), *others = found.of("aws:scheduler/schedule:Schedule").items()
    assert (name, others) == ("idle", [])
    assert schedule["scheduleExpression"] == "rate(15 minutes)"
    assert json.loads(schedule["target"]["input"]) == {"look": True, "hours": 4}
    assert schedule["name"] == "lakehouse-lab-idle"
    (machine,) = found.of("aws:sfn/stateMachine:StateMachine").values()
    assert json.loads(machine["definition"])["StartAt"] == "Why"
    assert "aws:scheduler/schedule:Schedule::idle" in waits_for(found, "eks:index:Cluster", "cluster")
    both = run("cluster", *GIVEN, "idleStopHours=4", "awsExpiresAt=2027-01-31T18:00:00Z")
    inputs = {
        n: json.loads(s["target"]["input"]) for n, s in both.of("aws:scheduler/schedule:Schedule").items()
    }
    assert inputs == {"ending": {}, "idle": {"look": True, "hours": 4}}
    assert len(both.of("aws:sfn/stateMachine:StateMachine")) == 1


def test_a_network_elsewhere_is_refused() -> None:
    other = run("cluster", "placement=aws", "awsRegion=eu-west-1", f"awsAccountId={ACCOUNT}")
    assert "region differ" in (other.error or "")


@pytest.mark.parametrize("given", ["0.0.0.0/0", "0.0.0.0/1", "10.0.0.1/8", "::/0", "everybody"])
def test_the_whole_internet_is_no_allow_list(given: str) -> None:
    from contracts.errors import UsageError
    from contracts.settings import read_settings

    with pytest.raises(UsageError, match="awsApiCidrs") as refused:
        read_settings({"role": "lab", "awsApiCidrs": given}, {})
    assert "203.0.113.7/32" in str(refused.value)
