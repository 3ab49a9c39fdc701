"""Where everything is and how it is called. Names are fixed, so that what is left can be found, and so that
a policy can name what is not made yet."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.errors import UsageError
from contracts.settings import Role, Settings
from contracts.tags import resource_tags

SERVICE_ACCOUNTS = ("catalog", "governor", "opa")
"""Workloads that have an IAM role. No other one has any right in the account: engines read and write data
with credentials that the catalog vends."""

KUBECONFIG = "kubeconfig.json"
"""File in the lab's folder by which this machine reaches the cluster."""

MANAGED_POLICIES = (
    "AmazonEKSClusterPolicy",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEKS_CNI_Policy",
    "service-role/AmazonEBSCSIDriverPolicy",
)
"""Policies, written by AWS, of the cluster's own roles; those roles have no other ones."""

_PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov"}


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What all resources of one stack share.

    Args:
        lab: the lab whose name the persistent stack has.
        stack: ``persistent`` or ``lab``: what removes the resource.
    """

    lab: str
    account_id: str
    region: str
    stack: str

    @property
    def partition(self) -> str:
        """``aws``, or that of China or the US government's regions."""
        return next((p for prefix, p in _PARTITIONS.items() if self.region.startswith(f"{prefix}-")), "aws")

    @property
    def dns_suffix(self) -> str:
        """Domain of the region's services."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    @property
    def prefix(self) -> str:
        """What the names of all resources of the persistent stack and its labs begin with."""
        return f"lakehouse-{self.lab}"

    def tags(self, name: str = "") -> dict[str, str]:
        """What every resource carries; ``name`` is shown by the account's console."""
        own = {"Name": f"{self.prefix}-{name}"} if name else {}
        return {**resource_tags(self.lab, Role(self.stack)), "managed-by": "pulumi", **own}

    def bucket(self, lab: str, purpose: str) -> str:
        """Name of a bucket: unique in the world, at most 63 characters."""
        return f"lab-{lab}-{self.account_id}-{self.region}-{purpose}"

    def bucket_arn(self, bucket: str) -> str:
        """ARN of a bucket."""
        return f"arn:{self.partition}:s3:::{bucket}"

    def role(self, lab: str, workload: str) -> str:
        """Name of the IAM role of one workload of one lab."""
        return f"lakehouse-{lab}-{workload}"

    def iam_arn(self, kind: str, name: str) -> str:
        """ARN of a role, user or provider of the account."""
        return f"arn:{self.partition}:iam::{self.account_id}:{kind}/{name}"

    def arn(self, service: str, rest: str) -> str:
        """ARN of something in the region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{rest}"


def scope_of(settings: Settings) -> Scope:
    """The stack's scope. Raises UsageError when region or account is not set."""
    for key, what in (("awsRegion", "region"), ("awsAccountId", "account")):
        if not settings.values[key]:
            raise UsageError(
                f"placement aws needs to know its {what}",
                value=f"not set: {key}",
                permitted="eu-central-1, for example" if key == "awsRegion" else "12 digits",
                next_command=f"pulumi config set {key} VALUE -s {settings.role}",
            )
    return Scope(
        lab=settings.name,
        account_id=str(settings.values["awsAccountId"]),
        region=str(settings.values["awsRegion"]),
        stack=str(settings.role),
    )


def zones_of(settings: Settings) -> tuple[str, ...]:
    """The network's availability zones. Raises UsageError for one of another region."""
    region = str(settings.values["awsRegion"])
    zones: tuple[str, ...] = settings.values["awsZones"] or (f"{region}a", f"{region}b")
    strange = [zone for zone in zones if zone[:-1] != region]
    if strange:
        raise UsageError(
            f"zone {strange[0]} is not in region {region}",
            value=strange[0],
            permitted=f"zones such as {region}a",
            next_command=f"pulumi config set awsZones {region}a,{region}b -s persistent",
        )
    return zones


def subnets(cidr: str, zones: tuple[str, ...]) -> Mapping[str, tuple[str, str]]:
    """Private and public network of each zone, in a VPC of ``cidr``. A zone's networks do not depend on the
    other zones, as long as the order stays: adding one moves nothing.

    Of sixteen equal parts each zone's private network has one; the last one is divided for the public ones.
    """
    parts = list(ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=4))
    small = list(parts[-1].subnets(prefixlen_diff=4))
    return {zone: (str(parts[index]), str(small[index])) for index, zone in enumerate(zones)}
