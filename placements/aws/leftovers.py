"""What of a lab's cluster is still in the account after its stack was destroyed: what costs, by service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.settings import Role
from contracts.tags import resource_tags
from placements.aws.account import Clients

_GONE = ("deleted", "deleting", "terminated", "shutting-down")


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """One thing: its kind in AWS' words, and its id or name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, kw_only=True)
class _Ec2Kind:
    """How EC2 lists a kind, and where its id and state stand."""

    kind: str
    operation: str
    member: str
    ident: str
    state: str = ""


_EC2 = (
    _Ec2Kind(kind="NAT gateway", operation="describe_nat_gateways", member="NatGateways",
             ident="NatGatewayId", state="State"),
    _Ec2Kind(kind="address", operation="describe_addresses", member="Addresses", ident="AllocationId"),
    _Ec2Kind(kind="volume", operation="describe_volumes", member="Volumes", ident="VolumeId", state="State"),
    _Ec2Kind(kind="network interface", operation="describe_network_interfaces", member="NetworkInterfaces",
             ident="NetworkInterfaceId"),
    _Ec2Kind(kind="security group", operation="describe_security_groups", member="SecurityGroups",
             ident="GroupId"),
    _Ec2Kind(kind="launch template", operation="describe_launch_templates", member="LaunchTemplates",
             ident="LaunchTemplateId"),
)  # fmt: skip


def leftovers(clients: Clients, *, lab: str) -> tuple[tuple[Leftover, ...], tuple[str, ...]]:
    """What is left of the lab stack of ``lab``, and what could not be looked at.

    Found by the lab's tags and by those that Kubernetes' controllers give what they make: load balancers,
    volumes and network interfaces that Pulumi never knew.
    """
    cluster = f"lakehouse-{lab}"
    found: set[Leftover] = set()
    unseen: list[str] = []
    looks: Mapping[str, Callable[[], Iterator[Leftover]]] = {
        "EC2": lambda: _ec2(clients("ec2"), lab, cluster),
        "load balancers": lambda: _balancers(clients("elbv2"), cluster),
        "EKS": lambda: _clusters(clients("eks"), cluster),
        "IAM": lambda: _roles(clients("iam"), f"{cluster}-cluster-"),
        "logs": lambda: _logs(clients("logs"), f"/aws/eks/{cluster}/"),
    }
    for what, look in looks.items():
        try:
            found.update(look())
        except (BotoCoreError, ClientError) as error:
            unseen.append(f"whether anything of {what} is left is not known: {error}")
    return tuple(sorted(found, key=str)), tuple(unseen)


def _filters(lab: str, cluster: str) -> Iterable[list[dict[str, Any]]]:
    """One search each: what the stack made, what EKS and Kubernetes' controllers made for it."""
    yield [{"Name": f"tag:{key}", "Values": [value]} for key, value in resource_tags(lab, Role.LAB).items()]
    yield [{"Name": "tag-key", "Values": [f"kubernetes.io/cluster/{cluster}"]}]
    yield [{"Name": "tag:cluster.k8s.amazonaws.com/name", "Values": [cluster]}]


def _ec2(ec2: Any, lab: str, cluster: str) -> Iterator[Leftover]:
    for filters in _filters(lab, cluster):
        for kind in _EC2:
            for one in getattr(ec2, kind.operation)(Filters=filters)[kind.member]:
                if not kind.state or one.get(kind.state) not in _GONE:
                    yield Leftover(kind=kind.kind, name=str(one[kind.ident]))
        for reservation in ec2.describe_instances(Filters=filters)["Reservations"]:
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] not in _GONE:
                    yield Leftover(kind="instance", name=str(instance["InstanceId"]))


def _balancers(elb: Any, cluster: str) -> Iterator[Leftover]:
    balancers = elb.describe_load_balancers()["LoadBalancers"]
    arns = {str(one["LoadBalancerArn"]): str(one["LoadBalancerName"]) for one in balancers}
    for some in _chunks(list(arns), 20):
        for described in elb.describe_tags(ResourceArns=some)["TagDescriptions"]:
            tags: Mapping[str, str] = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
            if tags.get("elbv2.k8s.aws/cluster") == cluster or f"kubernetes.io/cluster/{cluster}" in tags:
                yield Leftover(kind="load balancer", name=arns[described["ResourceArn"]])


def _clusters(eks: Any, cluster: str) -> Iterator[Leftover]:
    if cluster in eks.list_clusters()["clusters"]:
        yield Leftover(kind="EKS cluster", name=cluster)


def _roles(iam: Any, prefix: str) -> Iterator[Leftover]:
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if str(role["RoleName"]).startswith(prefix):
                yield Leftover(kind="IAM role", name=str(role["RoleName"]))


def _logs(logs: Any, prefix: str) -> Iterator[Leftover]:
    for group in logs.describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]:
        yield Leftover(kind="log group", name=str(group["logGroupName"]))


def _chunks(values: list[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
