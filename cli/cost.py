"""What planned resources cost, from the plan and a table of prices: pure functions.

A price that nobody has read is unknown, and so is every sum it belongs to; it then says what it is at least.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cli.events import PlannedStep
from contracts.errors import UsageError
from contracts.settings import Role

HOURS_A_MONTH = 730
"""As AWS counts in its own estimates."""

MIN_ACTIVE_ACU = 0.5
"""Aurora Serverless v2 that may pause uses at least this much while anybody is connected."""

TABLE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True, kw_only=True)
class Price:
    """``usd`` per ``unit`` (hour or month); None: not read yet."""

    unit: str
    usd: float | None
    source: str

    @property
    def usd_per_hour(self) -> float | None:
        if self.usd is None:
            return None
        return self.usd if self.unit == "hour" else self.usd / HOURS_A_MONTH


@dataclass(frozen=True, kw_only=True)
class PriceTable:
    """Prices by key, for one region, as read on one day (None: nothing was read)."""

    region: str
    read_on: dt.date | None
    prices: Mapping[str, Price]


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of what is billed a resource takes while the lab is up, and while it is down."""

    key: str
    up: float
    down: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """One kind of thing that is billed. Money is None where its price is unknown."""

    key: str
    resources: tuple[str, ...]
    quantity_up: float
    usd_per_hour_up: float | None
    usd_per_month_down: float | None


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a plan costs. Sums are over the lines whose price is known; ``unknown`` names the keys of the
    others, ``unpriced_types`` resources of an account that this does not know, ``by_use`` what is billed by
    what is done with it."""

    region: str
    read_on: dt.date | None
    lines: tuple[Line, ...]
    usd_per_hour_up: float
    usd_per_month_down: float
    unknown: tuple[str, ...]
    unpriced_types: tuple[str, ...]
    by_use: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether the sums are the whole."""
        return not self.unknown and not self.unpriced_types

    @property
    def is_billed(self) -> bool:
        """Whether anything of the plan is paid for in an account."""
        return bool(self.lines or self.unpriced_types or self.by_use)


def read_prices(path: Path = TABLE) -> PriceTable:
    """Reads a table.

    Raises:
        UsageError: it is not one; a price that is given without the day it was read on is refused.
    """
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        table = PriceTable(
            region=str(document["region"]),
            read_on=document["read_on"],
            prices={
                str(key): Price(unit=row["unit"], usd=row["usd"], source=str(row["source"]))
                for key, row in document["prices"].items()
            },
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise _not_a_table(path, f"{type(error).__name__}: {error}") from error
    for key, price in table.prices.items():
        known = isinstance(price.usd, int | float) and not isinstance(price.usd, bool) and price.usd >= 0
        if price.unit not in ("hour", "month") or not (price.usd is None or known):
            raise _not_a_table(path, f"{key}: {price.usd} per {price.unit}")
        if price.usd is not None and not isinstance(table.read_on, dt.date):
            raise _not_a_table(path, f"{key} has a price, but read_on does not say when it was read")
    return table


def table_text(table: PriceTable) -> str:
    """A table as :func:`read_prices` reads it."""
    document = {
        "region": table.region,
        "read_on": table.read_on,
        "prices": {
            key: {"unit": price.unit, "usd": price.usd, "source": price.source}
            for key, price in sorted(table.prices.items())
        },
    }
    head = "# US dollars without taxes, as AWS published them that day; by `lab cost --refresh-prices`.\n"
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def _not_a_table(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"{path.name} is not a table of prices: {reason}",
        value=str(path),
        permitted="region, read_on (a day) and prices: {KEY: {unit: hour or month, usd: …, source: …}}",
        next_command="lab cost --refresh-prices, which writes the lab's own anew, or --prices FILE",
    )


_SIMPLE: Mapping[str, str] = {
    "aws:eks/cluster:Cluster": "eks.cluster",
    "aws:ec2/natGateway:NatGateway": "nat.gateway",
    "aws:ec2/eip:Eip": "ipv4.public",
    "aws:kms/key:Key": "kms.key",
    "aws:secretsmanager/secret:Secret": "secretsmanager.secret",
}
"""Billed once each, whatever their inputs are."""

_BY_USE: Mapping[str, str] = {
    "aws:s3/bucket:Bucket": "S3: bytes stored, and requests",
    "aws:s3/bucketV2:BucketV2": "S3: bytes stored, and requests",
    "aws:rds/cluster:Cluster": "Aurora: bytes stored, backups beyond its size, and I/O",
    "aws:ec2/natGateway:NatGateway": "NAT: bytes processed",
    "aws:cloudwatch/logGroup:LogGroup": "CloudWatch: bytes of logs",
    "aws:eks/nodeGroup:NodeGroup": "nodes beyond the desired ones; bytes sent between zones and out",
    "aws:lb/loadBalancer:LoadBalancer": "load balancer: capacity units",
    "aws:scheduler/schedule:Schedule": "scheduler and what it starts: invocations",
    "aws:sfn/stateMachine:StateMachine": "Step Functions: transitions, some hundred when a lab is ended, six "
    "at every look for idleStopHours",
    "aws:lambda/function:Function": "Lambda: requests and their time",
}

_FREE_PREFIXES = (
    "aws:iam/",
    "aws:ec2/vpc:",
    "aws:ec2/subnet:",
    "aws:ec2/route",
    "aws:ec2/mainRouteTable",
    "aws:ec2/internetGateway:",
    "aws:ec2/securityGroup",
    "aws:ec2/launchTemplate:",
    "aws:ec2/defaultSecurityGroup:",
    "aws:ec2/vpcEndpointRouteTableAssociation:",
    "aws:vpc/",
    "aws:s3/bucket",
    "aws:kms/alias:",
    "aws:kms/keyPolicy:",
    "aws:rds/subnetGroup:",
    "aws:rds/clusterParameterGroup:",
    "aws:rds/parameterGroup:",
    "aws:secretsmanager/secretVersion:",
    "aws:secretsmanager/secretPolicy:",
    "aws:eks/addon:",
    "aws:eks/accessEntry:",
    "aws:eks/accessPolicyAssociation:",
    "aws:eks/podIdentityAssociation:",
    "aws:budgets/",
    "aws:lb/targetGroup:",
    "aws:lb/listener",
)
"""Of an account, but not billed for their being there."""


def uses_of(kind: str, inputs: Mapping[str, Any], kept: bool, scaling: Mapping[str, Any]) -> Iterator[Use]:
    """What one resource is billed for. ``kept``: it is of the persistent stack and stays while the lab is
    down. ``scaling``: ``serverlessv2ScalingConfiguration`` of the stack's database."""

    def use(key: str, quantity: float) -> Use:
        return Use(key=key, up=quantity, down=quantity if kept else 0.0)

    if kind in _SIMPLE:
        yield use(_SIMPLE[kind], 1)
    elif kind == "aws:eks/nodeGroup:NodeGroup":
        nodes = _number((inputs.get("scalingConfig") or {}).get("desiredSize"))
        types = inputs.get("instanceTypes") or ["an unnamed type"]
        spot = "spot." if inputs.get("capacityType") == "SPOT" else ""
        yield use(f"ec2.{spot}{types[0]}", nodes)
        # The size that EKS gives a node's disk where none is asked for.
        yield use("ebs.gp3.gib", nodes * _number(inputs.get("diskSize"), 20))
    elif kind == "aws:ebs/volume:Volume":
        yield use(f"ebs.{inputs.get('type') or 'gp2'}.gib", _number(inputs.get("size")))
    elif kind == "aws:ec2/vpcEndpoint:VpcEndpoint":
        if inputs.get("vpcEndpointType") == "Interface":
            yield use("vpc.endpoint", max(1, len(inputs.get("subnetIds") or [])))
    elif kind == "aws:lb/loadBalancer:LoadBalancer":
        yield use(f"lb.{inputs.get('loadBalancerType') or 'application'}", 1)
    elif kind == "aws:rds/cluster:Cluster":
        if inputs.get("manageMasterUserPassword"):
            yield use("secretsmanager.secret", 1)
    elif kind == "aws:rds/clusterInstance:ClusterInstance":
        if inputs.get("instanceClass") != "db.serverless":
            yield use(f"rds.{inputs.get('instanceClass') or 'an unnamed class'}", 1)
            return
        least = _number(scaling.get("minCapacity"))
        yield Use(key="aurora.acu", up=max(least, MIN_ACTIVE_ACU), down=least if kept else 0.0)


def _number(value: Any, default: float = 0.0) -> float:
    """A number of the plan; the engine holds some as text, and what it masks or does not know is not one."""
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError):
        return default


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A resource with its inputs, in the stack of ``role``."""

    role: Role
    type: str
    name: str
    inputs: Mapping[str, Any]


def sides(role: Role, steps: Iterable[PlannedStep]) -> tuple[list[Planned], list[Planned]]:
    """The resources of a stack as they are, and as the plan makes them."""
    before: list[Planned] = []
    after: list[Planned] = []
    for step in steps:
        for found, inputs in ((before, step.before), (after, step.after)):
            if inputs is not None:
                found.append(Planned(role=role, type=step.type, name=step.name, inputs=inputs))
    return before, after


def estimate(resources: Sequence[Planned], table: PriceTable) -> Estimate:
    """What these resources of both stacks cost by this table."""
    names: dict[str, list[str]] = {}
    up: dict[str, float] = {}
    down: dict[str, float] = {}
    unpriced, by_use = set[str](), set[str]()
    for one in resources:
        if not one.type.startswith("aws:"):
            continue
        scaling = _scaling(resources, one.role)
        found = list(uses_of(one.type, one.inputs, one.role is Role.PERSISTENT, scaling))
        for use in found:
            names.setdefault(use.key, []).append(one.name)
            up[use.key] = up.get(use.key, 0.0) + use.up
            down[use.key] = down.get(use.key, 0.0) + use.down
        if one.type in _BY_USE:
            by_use.add(_BY_USE[one.type])
        elif not found and not one.type.startswith(_FREE_PREFIXES) and one.type not in _ASKED:
            unpriced.add(one.type)
    lines = tuple(_line(key, names[key], up[key], down[key], table) for key in sorted(names))
    unknown = tuple(line.key for line in lines if line.usd_per_hour_up is None)
    return Estimate(
        region=table.region,
        read_on=table.read_on,
        lines=lines,
        usd_per_hour_up=sum(line.usd_per_hour_up or 0.0 for line in lines),
        usd_per_month_down=sum(line.usd_per_month_down or 0.0 for line in lines),
        unknown=unknown,
        unpriced_types=tuple(sorted(unpriced)),
        by_use=tuple(sorted(by_use)),
    )


_ASKED = ("aws:ec2/vpcEndpoint:VpcEndpoint",)
"""Types that :func:`uses_of` knows and that may be free."""


def _scaling(resources: Sequence[Planned], role: Role) -> Mapping[str, Any]:
    for one in resources:
        if one.type == "aws:rds/cluster:Cluster" and one.role is role:
            found = one.inputs.get("serverlessv2ScalingConfiguration")
            return found if isinstance(found, Mapping) else {}
    return {}


def _line(key: str, names: Sequence[str], up: float, down: float, table: PriceTable) -> Line:
    price = table.prices.get(key)
    hourly = price.usd_per_hour if price else None
    if up == 0 and down == 0:
        hourly = 0.0  # none of it is wanted: whatever the price is
    return Line(
        key=key,
        resources=tuple(names),
        quantity_up=up,
        usd_per_hour_up=None if hourly is None else hourly * up,
        usd_per_month_down=None if hourly is None else hourly * HOURS_A_MONTH * down,
    )


def money(amount: float | None, per: str) -> str:
    """An amount as it is printed."""
    return (
        "unknown" if amount is None else f"${amount:,.4f}/{per}" if per == "hour" else f"${amount:,.2f}/{per}"
    )


def verdict(found: Estimate) -> str:
    """The sums in one line, with what they lack."""
    if not found.is_billed:
        return "nothing of this plan is billed by a cloud: it runs on a machine or cluster of yours"
    up, down = money(found.usd_per_hour_up, "hour"), money(found.usd_per_month_down, "month")
    if found.is_complete:
        return f"{up} up, {down} down, by prices of {found.region} read on {found.read_on}"
    lacking = [*found.unknown, *found.unpriced_types]
    if len(found.unknown) == len(found.lines):
        return f"unknown: no price is known of {', '.join(lacking)}"
    return f"at least {up} up, {down} down; no price is known of {', '.join(lacking)}"


def what_to_do(found: Estimate) -> str | None:
    """How to learn what is unknown; None where nothing is."""
    if found.is_complete or not found.is_billed:
        return None
    return (
        "lab cost --refresh-prices, which reads what AWS publishes; or write the missing prices of "
        f"{found.region} into a copy of cli/prices.yaml for --prices, from the source that each row names, "
        "with the day in read_on"
    )
