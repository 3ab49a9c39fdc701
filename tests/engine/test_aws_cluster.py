"""The cluster of placement aws by the real engine, on an account that moto plays."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from contracts.outputs import Network, to_exports
from placements.aws.account import clients_of
from placements.aws.ending import definition
from placements.aws.leftovers import leftovers
from placements.aws.naming import Scope
from tests.engine.aws_account import ACCOUNT, CHECKOUT, REGION, Account, running_account

pytestmark = pytest.mark.engine

NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
MACHINE, SCHEDULE = "aws:sfn/stateMachine:StateMachine", "aws:scheduler/schedule:Schedule"
PROGRAM = f"""\
import json
import sys
from pathlib import Path

sys.path.insert(0, {str(CHECKOUT)!r})

import pulumi

from contracts.settings import program_settings
from placements.aws.cluster import AwsCluster

cluster = AwsCluster(
    "cluster",
    program_settings(),
    network=pulumi.Output.from_input(json.loads(Path("network.json").read_text())),
    role_arns={{
        name: f"arn:aws:iam::{ACCOUNT}:role/lakehouse-lab-{{name}}" for name in ("catalog", "governor", "opa")
    }},
    namespace="lakehouse-lab",
)
pulumi.export("kubeconfig", cluster.kubeconfig)
"""


def network(folder: Path) -> None:
    """A network as the persistent stack makes it, described in ``folder``."""
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    zones = (f"{REGION}a", f"{REGION}b")

    def subnet(number: int, zone: str) -> str:
        made = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.40.{number}.0/24", AvailabilityZone=zone)
        return str(made["Subnet"]["SubnetId"])

    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    described = Network(
        region=REGION,
        account_id=ACCOUNT,
        vpc_id=vpc,
        cidr="10.40.0.0/16",
        zones=zones,
        private_subnet_ids=tuple(subnet(index, zone) for index, zone in enumerate(zones)),
        public_subnet_ids=tuple(subnet(10 + index, zone) for index, zone in enumerate(zones)),
        private_route_table_ids=tuple(
            str(ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]) for _ in zones
        ),
        key_arn=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1",
    )
    (folder / "network.json").write_text(json.dumps(to_exports(described)), encoding="utf-8")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("eks")
    with running_account(folder, program=PROGRAM) as made:
        network(folder)
        made.settings(role="lab")
        yield made


def left(account: Account) -> list[str]:
    found, unseen = leftovers(clients_of(REGION), lab="lab")
    assert unseen == ()
    return [str(one) for one in found]


def test_a_node_group_that_fails_is_made_by_the_next_run(account: Account) -> None:
    assert left(account) == []
    account.world.faults.add(NODE_GROUP)
    failed = account.run("up", "--yes", "--skip-preview")
    assert failed.code != 0
    assert "InternalFailure, as asked for by the test" in failed.text
    account.up()
    created = Counter(token for what, token in account.world.calls if what == "create")
    assert created == Counter(r["type"] for r in account.project.state() if r["type"].startswith("aws:"))
    eks = account.world.client("eks")
    assert set(eks.list_nodegroups(clusterName="lakehouse-lab")["nodegroups"]) == {"system", "query", "batch"}
    vpc = eks.describe_cluster(name="lakehouse-lab")["cluster"]["resourcesVpcConfig"]
    assert (vpc["endpointPublicAccess"], vpc["endpointPrivateAccess"]) == (False, True)
    addons = {ident.split(":")[1] for token, ident in account.world.kept_here if token.endswith(":Addon")}
    assert addons == {"vpc-cni", "kube-proxy", "eks-pod-identity-agent", "coredns", "aws-ebs-csi-driver"}


def test_things_are_made_in_the_order_in_which_they_are_needed(account: Account) -> None:
    order = [token for what, token in account.world.calls if what == "create"]
    cluster = order.index("aws:eks/cluster:Cluster")
    assert order.index("aws:cloudwatch/logGroup:LogGroup") < cluster < order.index(NODE_GROUP)
    assert order.index("aws:ec2/natGateway:NatGateway") < order.index(NODE_GROUP)
    assert [t for t in order[: order.index(NODE_GROUP)] if t == "aws:eks/addon:Addon"] == (
        ["aws:eks/addon:Addon"] * 3
    )


def test_a_second_run_changes_nothing_and_an_autoscaler_is_left_alone(account: Account) -> None:
    account.up("--expect-no-changes")
    account.world.client("eks").update_nodegroup_config(
        clusterName="lakehouse-lab",
        nodegroupName="batch",
        scalingConfig={"minSize": 0, "maxSize": 4, "desiredSize": 3},
    )
    assert account.run("refresh", "--yes", "--skip-preview").code == 0
    account.up("--expect-no-changes")


def test_a_larger_group_is_an_update(account: Account) -> None:
    before = len(account.world.calls)
    account.settings(awsBatchMaxNodes="9")
    assert account.up().counts.get("replaced", 0) == 0
    assert account.world.calls[before:] == [("update", NODE_GROUP)]


def test_a_time_to_live_is_made_moved_put_right_and_taken_away(account: Account) -> None:
    machines, schedules = account.world.client("stepfunctions"), account.world.client("scheduler")
    before = len(account.world.calls)
    account.settings(awsExpiresAt="2027-01-31T18:00:00Z")
    account.up()
    # The schedule names the machine that was made.
    assert account.world.calls[before:] == [("create", MACHINE), ("create", SCHEDULE)]
    (machine,) = machines.list_state_machines()["stateMachines"]
    made = schedules.get_schedule(Name="lakehouse-lab-ending")
    assert made["Target"]["Arn"] == machine["stateMachineArn"]
    assert made["ScheduleExpression"] == "at(2027-01-31T18:00:00)"
    account.up("--expect-no-changes")
    before = len(account.world.calls)
    account.settings(awsExpiresAt="2027-01-31T20:30:00Z")
    assert account.up().counts.get("replaced", 0) == 0
    assert account.world.calls[before:] == [("update", SCHEDULE)]
    assert schedules.get_schedule(Name="lakehouse-lab-ending")["ScheduleExpression"] == (
        "at(2027-01-31T20:30:00)"
    )
    # Somebody thinks that it never has to end.
    schedules.delete_schedule(Name="lakehouse-lab-ending")
    machines.update_state_machine(
        stateMachineArn=machine["stateMachineArn"],
        definition=json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}),
    )
    assert account.run("refresh", "--yes", "--skip-preview").code == 0
    before = len(account.world.calls)
    account.up()
    assert sorted(account.world.calls[before:]) == [("create", SCHEDULE), ("update", MACHINE)]
    described = machines.describe_state_machine(stateMachineArn=machine["stateMachineArn"])
    assert described["definition"] == definition(
        Scope(lab="lab", account_id=ACCOUNT, region=REGION, stack="lab")
    )
    before = len(account.world.calls)
    account.settings(awsExpiresAt="")
    account.up()
    assert account.world.calls[before:] == [("delete", SCHEDULE), ("delete", MACHINE)]
    assert not machines.list_state_machines()["stateMachines"]
    assert not schedules.list_schedules()["Schedules"]
    # What is destroyed below lives until then.
    account.settings(awsExpiresAt="2027-01-31T20:30:00Z")
    account.up()


def test_an_idle_lab_is_looked_for_by_a_schedule_of_its_own(account: Account) -> None:
    machines, schedules = account.world.client("stepfunctions"), account.world.client("scheduler")
    scope = Scope(lab="lab", account_id=ACCOUNT, region=REGION, stack="lab")
    before = len(account.world.calls)
    account.settings(idleStopHours="4")
    account.up()
    assert sorted(account.world.calls[before:]) == [("create", SCHEDULE), ("update", MACHINE)]
    made = schedules.get_schedule(Name="lakehouse-lab-idle")
    assert made["ScheduleExpression"] == "rate(15 minutes)"
    assert json.loads(made["Target"]["Input"]) == {"look": True, "hours": 4}
    account.up("--expect-no-changes")
    before = len(account.world.calls)
    account.settings(idleStopHours="8")
    assert account.up().counts.get("replaced", 0) == 0
    assert account.world.calls[before:] == [("update", SCHEDULE)], "which tells when the hours were set"
    (machine,) = machines.list_state_machines()["stateMachines"]
    described = machines.describe_state_machine(stateMachineArn=machine["stateMachineArn"])
    assert described["definition"] == definition(scope, looks=True)
    # The time to live goes; what looks for use stays, and so does what it starts.
    before = len(account.world.calls)
    account.settings(awsExpiresAt="")
    account.up()
    assert account.world.calls[before:] == [("delete", SCHEDULE)]
    assert [s["Name"] for s in schedules.list_schedules()["Schedules"]] == ["lakehouse-lab-idle"]


def test_destroy_leaves_nothing_and_takes_the_cluster_last(account: Account) -> None:
    assert left(account), "the report finds what is there"
    before = len(account.world.calls)
    done = account.run("destroy", "--yes", "--skip-preview")
    assert done.code == 0, done.text
    assert left(account) == []
    assert not account.world.kept_here
    order = [token for _, token in account.world.calls[before:]]
    assert order.index("aws:eks/cluster:Cluster") < order.index(SCHEDULE), "a destroy that halts is ended yet"
    assert not account.world.client("stepfunctions").list_state_machines()["stateMachines"]
    assert not account.world.client("scheduler").list_schedules()["Schedules"]
    nodes = max(index for index, token in enumerate(order) if token == NODE_GROUP)
    assert nodes < order.index("aws:eks/cluster:Cluster")
    assert nodes < order.index("aws:ec2/natGateway:NatGateway"), "a node that goes still talks to its cluster"
    assert not account.project.state() or all(
        r["type"].startswith("pulumi:") for r in account.project.state()
    )
