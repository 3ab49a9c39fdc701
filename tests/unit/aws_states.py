"""The state machine that ends labs, run step by step on an account of moto's, and labs to be ended."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import ClientError
from jsonata.jsonata import Jsonata

from contracts.settings import Role
from contracts.tags import resource_tags
from tests.moto_aws.data_api import client_error

REGION, ACCOUNT = "eu-central-1", "123456789012"

Step = Callable[[Mapping[str, Any], Any], tuple[Any, str | None]]


@dataclass
class Run:
    """An interpreter of those parts of the States Language that the machine is made of."""

    calls: list[str] = field(default_factory=list)
    waits: int = 0
    refusing: dict[str, int] = field(default_factory=dict)
    """How often an action is refused as in use, by its name."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When every state is entered."""
    given: Any = None
    """The input of the whole run."""
    _clients: dict[str, Any] = field(default_factory=dict)

    def __call__(self, machine: Mapping[str, Any], data: Any) -> Any:
        self.given = data if self.given is None else self.given
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
            if "Condition" in choice:
                assert state["QueryLanguage"] == "JSONata"
                holds = self.evaluated(choice["Condition"], {"input": data})
                assert isinstance(holds, bool)
                if holds:
                    return data, choice["Next"]
                continue
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
        if state.get("QueryLanguage") == "JSONata":
            return self._jsonata_task(state, service, action, data)
        given = {
            key.removesuffix(".$"): at(value, data) if key.endswith(".$") else value
            for key, value in state["Parameters"].items()
        }
        try:
            answer = self._ask(service, action, given)
        except ClientError as error:
            return data, caught(state, service, error)
        if state.get("ResultPath", "$") != "$":
            assert state["ResultPath"] == "$.found"
            data = {**data, "found": answer}
        return data, None if state.get("End") else state["Next"]

    def _jsonata_task(
        self, state: Mapping[str, Any], service: str, action: str, data: Any
    ) -> tuple[Any, str | None]:
        assert not {"Parameters", "ResultPath", "InputPath"} & state.keys(), "these are JSONPath's"
        try:
            answer = self._ask(service, action, self.evaluated(state["Arguments"], {"input": data}))
        except ClientError as error:
            return data, caught(state, service, error)
        result = json.loads(json.dumps(answer, default=written))
        return self.evaluated(state["Output"], {"input": data, "result": result}), state["Next"]

    def evaluated(self, template: Any, states: Mapping[str, Any]) -> Any:
        """A value of the States Language in which texts like ``{% … %}`` are JSONata."""
        if isinstance(template, dict):
            return {key: self.evaluated(value, states) for key, value in template.items()}
        found = re.fullmatch(r"\{% (.*) %\}", template) if isinstance(template, str) else None
        if found is None:
            return template
        context = {"State": {"EnteredTime": written(self.now)}, "Execution": {"Input": self.given}}
        value = Jsonata(found[1]).evaluate(None, {"states": {**states, "context": context}})
        assert value is not None, f"{found[1]} gives nothing, which ends a run"
        return value

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
        answer.pop("ResponseMetadata", None)
        named: dict[str, Any] = capital(answer) if service == "eks" else answer
        return named


def capital(answer: Any) -> Any:
    """An answer with the names of its members as Step Functions writes them."""
    if isinstance(answer, dict):
        return {key[0].upper() + key[1:]: capital(value) for key, value in answer.items()}
    return [capital(one) for one in answer] if isinstance(answer, list) else answer


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


def caught(state: Mapping[str, Any], service: str, error: ClientError) -> str:
    """Where a task goes on that was refused. Raises the error when it is nowhere."""
    code = f"{service.capitalize()}.{error.response['Error']['Code']}"
    for one in state.get("Catch", ()):
        if {code, "States.TaskFailed", "States.ALL"} & set(one["ErrorEquals"]):
            return str(one["Next"])
    raise error


def written(moment: datetime) -> str:
    """A moment as Step Functions writes it."""
    return f"{moment.astimezone(UTC).isoformat(timespec='milliseconds').removesuffix('+00:00')}Z"


def at(path: str, data: Any) -> Any:
    """The value at a path such as ``$.found.Nodegroups[0]``, None where there is none."""
    for part in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        name, index = part
        data = data.get(name) if name else next(iter(data[int(index) :]), None)
        if data is None:
            return None
    return data


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
