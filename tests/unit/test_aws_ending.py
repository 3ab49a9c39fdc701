"""What ends a lab's cluster: the state machine as it is written, run step by step on an account of moto's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from cli import expiry
from cli.project import open_lab
from contracts.errors import UsageError
from contracts.settings import Role
from contracts.tags import resource_tags
from placements.aws.ending import definition, machine_policy, schedule_policy
from placements.aws.naming import Scope
from policies.guardrails.iam import NO_WILDCARD_IAM
from policies.guardrails.model import Resource
from tests.moto_aws.data_api import client_error

REGION, ACCOUNT = "eu-central-1", "123456789012"
SCOPE = Scope(lab="lab", account_id=ACCOUNT, region=REGION, stack="lab")
MACHINE: dict[str, Any] = json.loads(definition(SCOPE))


Step = Callable[[Mapping[str, Any], Any], tuple[Any, str | None]]


@dataclass
class Run:
    """An interpreter of those parts of the States Language that the machine is made of."""

    calls: list[str] = field(default_factory=list)
    waits: int = 0
    refusing: dict[str, int] = field(default_factory=dict)
    """How often an action is refused as in use, by its name."""
    _clients: dict[str, Any] = field(default_factory=dict)

    def __call__(self, machine: Mapping[str, Any], data: Any) -> Any:
        name, states = machine["StartAt"], machine["States"]
        for _ in range(200):
            state = states[name]
            step: Step = getattr(self, f"do_{state['Type'].lower()}")
            data, following = step(state, data)
            if following is None:
                return data
            name = following
        raise AssertionError(f"it never ends: {self.calls[-20:]}")

    def do_succeed(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        return data, None

    def do_pass(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        return data, None if state.get("End") else state["Next"]

    def do_wait(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        self.waits += 1
        assert 30 <= state["Seconds"] <= 300
        return data, state["Next"]

    def do_choice(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        for choice in state["Choices"]:
            if (at(choice["Variable"], data) is not None) == choice["IsPresent"]:
                return data, choice["Next"]
        return data, state["Default"]

    def do_map(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        for item in at(state["ItemsPath"], data):
            self(state["ItemProcessor"], item)
        assert state["ResultPath"] is None
        return data, state["Next"]

    def do_task(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        service, action = state["Resource"].removeprefix("arn:aws:states:::aws-sdk:").split(":")
        given = {
            key.removesuffix(".$"): at(value, data) if key.endswith(".$") else value
            for key, value in state["Parameters"].items()
        }
        try:
            answer = self._ask(service, action, given)
        except ClientError as error:
            code = f"{service.capitalize()}.{error.response['Error']['Code']}"
            for caught in state.get("Catch", ()):
                if {code, "States.TaskFailed", "States.ALL"} & set(caught["ErrorEquals"]):
                    return data, caught["Next"]
            raise
        if state.get("ResultPath", "$") != "$":
            assert state["ResultPath"] == "$.found"
            data = {**data, "found": answer}
        return data, None if state.get("End") else state["Next"]

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(service, region_name=REGION)
        return self._clients[service]

    def _ask(self, service: str, action: str, given: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(f"{service}:{action}")
        if self.refusing.get(action, 0):
            self.refusing[action] -= 1
            raise client_error("ResourceInUseException", "in use")
        # Step Functions writes members with a capital whatever the service does.
        if service == "eks":
            given = {key[0].lower() + key[1:]: value for key, value in given.items()}
        method = re.sub(r"(?<=[a-z])([A-Z])", lambda m: f"_{m[1].lower()}", action)
        try:
            answer = getattr(self._client(service), method)(**given)
        except KeyError as error:
            # What moto raises where EKS says so.
            raise client_error("ResourceNotFoundException", f"no cluster {error}") from error
        if action == "describeNatGateways":
            answer = {**answer, "NatGateways": tagged(answer["NatGateways"], given["Filter"])}
        return {key[0].upper() + key[1:]: value for key, value in answer.items()}


def tagged(found: list[dict[str, Any]], filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose tags are asked for: moto looks at no tags of NAT gateways."""
    wanted = {f["Name"].removeprefix("tag:"): f["Values"] for f in filters if f["Name"].startswith("tag:")}
    return [
        one
        for one in found
        if all(
            any(tag["Key"] == key and tag["Value"] in values for tag in one["Tags"])
            for key, values in wanted.items()
        )
    ]


def at(path: str, data: Any) -> Any:
    """The value at a path such as ``$.found.Nodegroups[0]``, None where there is none."""
    for part in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        name, index = part
        data = data.get(name) if name else next(iter(data[int(index) :]), None)
        if data is None:
            return None
    return data


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        yield


def make_lab(lab: str) -> None:
    """What costs of a lab stack: a cluster with nodes, a NAT gateway and its address."""
    eks, ec2 = boto3.client("eks", region_name=REGION), boto3.client("ec2", region_name=REGION)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    role = f"arn:aws:iam::{ACCOUNT}:role/nodes"
    eks.create_cluster(name=f"lakehouse-{lab}", roleArn=role, resourcesVpcConfig={"subnetIds": [subnet]})
    for group in ("system", "query", "batch"):
        eks.create_nodegroup(
            clusterName=f"lakehouse-{lab}", nodegroupName=group, subnets=[subnet], nodeRole=role
        )
    tags = [{"Key": key, "Value": value} for key, value in resource_tags(lab, Role.LAB).items()]
    address = ec2.allocate_address(
        Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tags}]
    )
    ec2.create_nat_gateway(
        SubnetId=subnet,
        AllocationId=address["AllocationId"],
        TagSpecifications=[{"ResourceType": "natgateway", "Tags": tags}],
    )


def left(lab: str) -> tuple[bool, int, int]:
    """Whether the cluster is there, and how many NAT gateways and addresses are."""
    ec2 = boto3.client("ec2", region_name=REGION)
    own = [{"Name": "tag:Lab", "Values": [lab]}]
    gateways = tagged(ec2.describe_nat_gateways()["NatGateways"], own)
    return (
        f"lakehouse-{lab}" in boto3.client("eks", region_name=REGION).list_clusters()["clusters"],
        len([g for g in gateways if g["State"] not in ("deleted", "deleting")]),
        len(ec2.describe_addresses(Filters=own)["Addresses"]),
    )


def test_it_ends_what_costs_of_its_own_lab_and_of_no_other(account: None) -> None:
    make_lab("lab")
    make_lab("lab2")
    run = Run()
    run(MACHINE, {})
    assert left("lab") == (False, 0, 0)
    assert left("lab2") == (True, 1, 1)
    assert run.calls.index("eks:deleteNodegroup") < run.calls.index("eks:deleteCluster")
    assert run.calls.index("eks:deleteCluster") < run.calls.index("ec2:deleteNatGateway")
    assert run.waits > 2, "what is being deleted is waited for"


def test_a_second_run_finds_nothing_to_do(account: None) -> None:
    run = Run()
    run(MACHINE, {})
    assert not [call for call in run.calls if "delete" in call or "release" in call]


def test_what_is_still_in_use_is_asked_for_again(account: None) -> None:
    make_lab("lab")
    run = Run(refusing={"deleteNodegroup": 2, "deleteCluster": 1, "deleteNatGateway": 1, "releaseAddress": 1})
    run(MACHINE, {})
    assert left("lab") == (False, 0, 0)


def test_every_step_leads_somewhere() -> None:
    states = MACHINE["States"]
    named = {MACHINE["StartAt"]}
    for state in states.values():
        named |= {state[key] for key in ("Next", "Default") if key in state}
        named |= {other["Next"] for key in ("Catch", "Choices") for other in state.get(key, ())}
    assert named == set(states)


def test_it_may_do_what_it_does_and_nothing_else() -> None:
    text = definition(SCOPE)
    called = {
        f"{service}:{action[0].upper()}{action[1:]}"
        for service, action in re.findall(r"aws-sdk:(\w+):(\w+)", text)
    }
    statements = json.loads(machine_policy(SCOPE))["Statement"]
    allowed = {action for statement in statements for action in statement["Action"]}
    # EC2 and EKS call some actions otherwise than their operations.
    assert called <= allowed
    assert allowed - called == {"eks:DescribeNodegroup"}
    for policy in (machine_policy(SCOPE), schedule_policy(SCOPE)):
        resource = Resource(type="aws:iam/rolePolicy:RolePolicy", name="it", props={"policy": policy})
        assert NO_WILDCARD_IAM.check is not None
        assert list(NO_WILDCARD_IAM.check(resource)) == []
    (changing,) = [s for s in statements if "ec2:DeleteNatGateway" in s["Action"]]
    assert changing["Condition"]["StringEquals"]["aws:ResourceTag/Lab"] == "lab"


NOON = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ttl", "moment"),
    [("90m", "2027-01-31T13:30:00Z"), ("8h", "2027-01-31T20:00:00Z"), ("2d", "2027-02-02T12:00:00Z")],
)
def test_a_time_to_live_is_a_moment(ttl: str, moment: str) -> None:
    assert expiry.expiry(ttl, lambda: NOON) == moment
    assert not expiry.is_over(moment, lambda: NOON)


@pytest.mark.parametrize("ttl", ["8", "h", "44m", "31d", "-1h", "1w", "8 h"])
def test_what_is_no_time_to_live_is_refused(ttl: str) -> None:
    with pytest.raises(UsageError, match="not a time that a lab may live") as refused:
        expiry.expiry(ttl, lambda: NOON)
    assert "lab up --ttl 8h" in str(refused.value)


def test_a_lab_elsewhere_is_ended_by_nobody(tmp_path: Path) -> None:
    lab = open_lab("lab", {"LAB_HOME": str(tmp_path)})
    with pytest.raises(UsageError, match="ended by nobody but you"):
        expiry.with_ttl(lab, {}, "8h")
    assert expiry.with_ttl(lab, {"placement": "aws"}, "8h", lambda: NOON) == (
        {"placement": "aws", "awsExpiresAt": "2027-01-31T20:00:00Z"},
        False,
    )
