"""What a plan costs: by a table of prices, and unknown where one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.commands.costing import cost_text
from cli.cost import TABLE, Planned, estimate, read_prices, sides, verdict, what_to_do
from cli.events import PlannedStep
from cli.operations.costing import costs_of
from contracts.errors import UsageError
from contracts.settings import Role

EXAMPLE = """
region: example-1
read_on: 2026-01-31
prices:
  eks.cluster: {unit: hour, usd: 1.0, source: an example}
  nat.gateway: {unit: hour, usd: 0.5, source: an example}
  aurora.acu: {unit: hour, usd: 2.0, source: an example}
  kms.key: {unit: month, usd: 7.3, source: an example}
  secretsmanager.secret: {unit: month, usd: 1.46, source: an example}
  ec2.m7g.large: {unit: hour, usd: 0.25, source: an example}
  ebs.gp3.gib: {unit: month, usd: 0.73, source: an example}
"""
"""Numbers that are easy to add; nobody's prices."""


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    path = tmp_path / "prices.yaml"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def kept(kind: str, name: str = "it", **inputs: Any) -> Planned:
    return Planned(role=Role.PERSISTENT, type=kind, name=name, inputs=inputs)


def cattle(kind: str, name: str = "it", **inputs: Any) -> Planned:
    return Planned(role=Role.LAB, type=kind, name=name, inputs=inputs)


AURORA = (
    kept(
        "aws:rds/cluster:Cluster",
        serverlessv2ScalingConfiguration={"minCapacity": 0, "maxCapacity": 4},
        manageMasterUserPassword=True,
    ),
    kept("aws:rds/clusterInstance:ClusterInstance", instanceClass="db.serverless"),
)
NODES = cattle(
    "aws:eks/nodeGroup:NodeGroup",
    "query",
    scalingConfig={"desiredSize": 2, "minSize": 0},
    instanceTypes=["m7g.large", "m6g.large"],
    diskSize=50,
)


def test_the_lab_stack_costs_while_it_is_up_and_what_is_kept_always(prices: Path) -> None:
    plan = [
        *(kept("aws:kms/key:Key", "key"), *AURORA, kept("aws:s3/bucket:Bucket"), kept("aws:iam/role:Role")),
        *(cattle("aws:eks/cluster:Cluster"), cattle("aws:ec2/natGateway:NatGateway"), NODES),
    ]
    found = estimate(plan, read_prices(prices))
    month = 7.3 / 730 + 1.46 / 730
    disks = 100 * 0.73 / 730
    assert found.is_complete, (found.unknown, found.unpriced_types)
    assert found.usd_per_hour_up == pytest.approx(1.0 + 0.5 + 0.5 * 2.0 + 2 * 0.25 + disks + month)
    assert found.usd_per_month_down == pytest.approx(7.3 + 1.46)
    assert "S3: bytes stored, and requests" in found.by_use
    assert "example-1 read on 2026-01-31" in verdict(found)
    assert what_to_do(found) is None


def test_a_database_that_does_not_pause_costs_when_the_lab_is_down(prices: Path) -> None:
    cluster = kept("aws:rds/cluster:Cluster", serverlessv2ScalingConfiguration={"minCapacity": 1})
    found = estimate([cluster, AURORA[1]], read_prices(prices))
    assert found.usd_per_month_down == pytest.approx(2.0 * 730)


def test_what_is_scaled_to_nothing_costs_nothing_whatever_its_price(prices: Path) -> None:
    spot = cattle(
        "aws:eks/nodeGroup:NodeGroup",
        scalingConfig={"desiredSize": 0},
        instanceTypes=["r7g.xlarge"],
        capacityType="SPOT",
    )
    found = estimate([spot], read_prices(prices))
    assert [line.key for line in found.lines] == ["ebs.gp3.gib", "ec2.spot.r7g.xlarge"]
    assert found.is_complete
    assert found.usd_per_hour_up == 0.0


def test_a_price_that_nobody_read_makes_sums_unknown_and_says_what_to_do(prices: Path) -> None:
    plan = [cattle("aws:eks/cluster:Cluster"), cattle("aws:lb/loadBalancer:LoadBalancer")]
    found = estimate(plan, read_prices(prices))
    assert found.unknown == ("lb.application",)
    assert verdict(found).startswith("at least $1.0000/hour up")
    assert "no price is known of lb.application" in verdict(found)
    assert "cli/prices.yaml" in (what_to_do(found) or "")
    alone = estimate(plan[1:], read_prices(prices))
    assert verdict(alone) == "unknown: no price is known of lb.application"


def test_a_resource_of_an_account_that_is_not_known_is_never_free(prices: Path) -> None:
    found = estimate([cattle("aws:msk/cluster:Cluster")], read_prices(prices))
    assert found.unpriced_types == ("aws:msk/cluster:Cluster",)
    assert not found.is_complete
    gateway = cattle("aws:ec2/vpcEndpoint:VpcEndpoint", vpcEndpointType="Gateway")
    assert estimate([gateway], read_prices(prices)).is_complete
    interface = cattle("aws:ec2/vpcEndpoint:VpcEndpoint", vpcEndpointType="Interface", subnetIds=["a", "b"])
    (line,) = estimate([interface], read_prices(prices)).lines
    assert (line.key, line.quantity_up, line.usd_per_hour_up) == ("vpc.endpoint", 2, None)


def test_a_lab_on_this_machine_is_not_billed(prices: Path) -> None:
    found = estimate([cattle("pulumi-python:dynamic/lab:Process")], read_prices(prices))
    assert not found.is_billed
    assert "runs on a machine or cluster of yours" in verdict(found)
    assert what_to_do(found) is None


def test_the_difference_is_between_what_is_there_and_what_the_plan_makes(prices: Path) -> None:
    kind = "aws:eks/nodeGroup:NodeGroup"
    old = {"scalingConfig": {"desiredSize": 1}, "instanceTypes": ["m7g.large"]}
    new = {**old, "scalingConfig": {"desiredSize": "3"}}
    steps = [
        PlannedStep(op="update", type=kind, name="query", before=old, after=new),
        PlannedStep(op="delete", type="aws:ec2/natGateway:NatGateway", name="nat", before={}),
        PlannedStep(op="create", type="aws:eks/cluster:Cluster", name="cluster", after={}),
    ]
    before, after = sides(Role.LAB, steps)
    assert ([one.name for one in before], [one.name for one in after]) == (
        ["query", "nat"],
        ["query", "cluster"],
    )
    found = costs_of({Role.LAB: steps}, prices)
    disk = 20 * 0.73 / 730
    assert found.now.usd_per_hour_up == pytest.approx(0.25 + 0.5 + disk)
    assert found.planned.usd_per_hour_up == pytest.approx(0.75 + 1.0 + 3 * disk)


def test_what_is_printed_names_each_price_and_each_gap(prices: Path) -> None:
    steps = [PlannedStep(op="create", type="aws:lb/loadBalancer:LoadBalancer", name="front", after={})]
    text = cost_text(costs_of({Role.LAB: steps}, prices))
    assert "lb.application  1         unknown  unknown  front" in text
    assert "billed by use, not counted: load balancer: capacity units" in text


def test_the_tables_prices_have_sources_and_none_without_a_day() -> None:
    table = read_prices(TABLE)
    assert table.prices
    for key, price in table.prices.items():
        assert price.source.startswith("https://aws.amazon.com/"), key
        assert price.usd is None or table.read_on is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "TypeError"),
        ("region: a\nprices: {}\n", "KeyError"),
        (EXAMPLE.replace("2026-01-31", "null"), "does not say when it was read"),
        (EXAMPLE.replace("usd: 1.0", "usd: cheap"), "eks.cluster: cheap per hour"),
        (EXAMPLE.replace("usd: 1.0", "usd: -1"), "eks.cluster: -1 per hour"),
        (EXAMPLE.replace("unit: month, usd: 7.3", "unit: year, usd: 7.3"), "kms.key: 7.3 per year"),
    ],
)
def test_what_is_not_a_table_is_refused(prices: Path, text: str, said: str) -> None:
    prices.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read_prices(prices)
