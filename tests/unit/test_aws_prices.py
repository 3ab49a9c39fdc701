"""Prices that AWS publishes: read where there is exactly one, unknown and explained everywhere else."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from cli import operations
from cli.cost import TABLE, read_prices, verdict
from cli.events import PlannedStep
from cli.operations.costing import OWN_TABLE, costs_of, refresh_prices, table_of
from cli.project import set_config
from cli.steps import prepare_project
from contracts.errors import PreflightError, UsageError
from contracts.settings import Role
from placements.aws.prices import PRODUCTS, Product, product_of, published, read
from tests.unit.cli_fakes import FakeRun, fake_run

REGION = "eu-central-1"
NOW = dt.datetime(2027, 1, 31, 12, 0, tzinfo=dt.UTC)


def listed(usage: str, usd: str, unit: str = "Hrs", *, sku: str = "SKU1", **dimension: str) -> dict[str, Any]:
    """A product of the price list, in the form in which GetProducts answers; the number is nobody's price."""
    term = {
        "priceDimensions": {
            f"{sku}.JRTCKXETXF.6YS6EN2CT7": {
                "unit": unit,
                "beginRange": "0",
                "endRange": "Inf",
                "description": "an example",
                "appliesTo": [],
                "rateCode": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
                "pricePerUnit": {"USD": usd},
                **dimension,
            }
        },
        "sku": sku,
        "effectiveDate": "2026-11-01T00:00:00Z",
        "offerTermCode": "JRTCKXETXF",
        "termAttributes": {},
    }
    return {
        "product": {
            "productFamily": "Compute",
            "attributes": {"regionCode": REGION, "usagetype": usage, "servicecode": "AmazonEKS"},
            "sku": sku,
        },
        "serviceCode": "AmazonEKS",
        "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}},
        "version": "20261101000000",
        "publicationDate": "2026-11-01T00:00:00Z",
    }


EKS = PRODUCTS["eks.cluster"]
CLUSTER = "EUC1-AmazonEKS-Hours:perCluster"


def test_the_one_price_is_taken_with_where_it_was_read() -> None:
    other = listed("EUC1-AmazonEKS-Hours:extendedSupport", "9.0", sku="SKU2")
    found = published([other, listed(CLUSTER, "1.2500000000")], EKS)
    assert not isinstance(found, str)
    assert (found.usd, found.unit) == (1.25, "hour")
    assert found.source == "AWS Price List, AmazonEKS, SKU1, in force since 2026-11-01"


def test_a_region_whose_usage_has_no_prefix_is_read_too() -> None:
    assert not isinstance(published([listed("AmazonEKS-Hours:perCluster", "1.25")], EKS), str)


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ([], "has none"),
        ([listed("EUC1-AmazonEKS-Hours:perClusterOfTen", "1.25")], "has none"),
        ([listed(CLUSTER, "0.0000000000")], "has none"),
        ([listed(CLUSTER, "1.25"), listed(CLUSTER, "1.5", sku="SKU2")], "has several: 1.25, 1.5"),
        ([listed(CLUSTER, "1.25", unit="Quantity")], "has it by Quantity"),
        ([listed(CLUSTER, "1.25"), listed(CLUSTER, "1.0", beginRange="100", sku="S")], "in steps"),
        ([listed(CLUSTER, "1.25") | {"terms": {"Reserved": {}}}], "has none"),
    ],
)
def test_what_is_not_exactly_one_price_is_none(documents: list[Mapping[str, Any]], why: str) -> None:
    found = published(documents, EKS)
    assert isinstance(found, str)
    assert why in found


def test_another_currency_is_no_price_in_dollars() -> None:
    document = listed(CLUSTER, "1.25")
    (term,) = document["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    dimension["pricePerUnit"] = {"CNY": "9.0"}
    assert "another currency" in str(published([document], EKS))


def test_every_row_of_the_tracked_table_is_a_product_that_is_asked_for() -> None:
    for key, price in read_prices().prices.items():
        product = product_of(key)
        assert product is not None, key
        assert product.unit == price.unit, key


@pytest.mark.parametrize(
    ("key", "usage"),
    [
        ("ec2.m7i.xlarge", "EUC1-BoxUsage:m7i.xlarge"),
        ("ec2.u-6tb1.metal", "BoxUsage:u-6tb1.metal"),
        ("ebs.gp3.gib", "EUC1-EBS:VolumeUsage.gp3"),
        ("rds.db.r7g.large", "EUC1-InstanceUsage:db.r7g.large"),
        ("secretsmanager.secret", "EUC1-AWSSecretsManager-Secrets"),
        ("kms.key", "eu-central-1-KMS-Keys"),
        ("aurora.acu", "EUC1-Aurora:ServerlessV2Usage"),
    ],
)
def test_a_row_is_found_by_its_usage(key: str, usage: str) -> None:
    product = product_of(key)
    assert product is not None
    unit = "Hrs" if product.unit == "hour" else "GB-Mo"
    assert not isinstance(published([listed(usage, "2.0", unit=unit)], product), str)
    assert isinstance(published([listed(f"{usage}2", "2.0", unit=unit)], product), str)


def test_what_is_no_product_is_not_asked_for() -> None:
    for key in ("ec2.an unnamed type", "ec2.spot.m7i.xlarge", "rds.an unnamed class", "something.else"):
        assert product_of(key) is None


def asked(product: Product) -> dict[str, Any]:
    wanted = {"regionCode": REGION, **product.filters}
    return {
        "ServiceCode": product.service,
        "FormatVersion": "aws_v1",
        "Filters": [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()],
    }


class Clients:
    """EC2 with Spot prices of three moments; ``pricing`` answers what it is told to, and checks what it is
    asked."""

    def __init__(self) -> None:
        self.pricing = boto3.client("pricing", region_name="us-east-1")
        self.ec2 = boto3.client("ec2", region_name=REGION)
        self.list, self.spot = Stubber(self.pricing), Stubber(self.ec2)

    def __call__(self, service: str) -> Any:
        return {"pricing": self.pricing, "ec2": self.ec2}[service]

    def answer(self, key: str, *pages: list[dict[str, Any]]) -> None:
        product = product_of(key)
        assert product is not None
        for number, page in enumerate(pages):
            more = {"NextToken": f"page{number + 1}"} if number + 1 < len(pages) else {}
            answer = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(one) for one in page], **more}
            token = {"NextToken": f"page{number}"} if number else {}
            self.list.add_response("get_products", answer, {**asked(product), **token})

    def spot_of(self, instance_type: str, **prices: list[str]) -> None:
        history = [
            {
                "AvailabilityZone": zone.replace("_", "-"),
                "InstanceType": instance_type,
                "ProductDescription": "Linux/UNIX",
                "SpotPrice": price,
                "Timestamp": NOW + dt.timedelta(hours=hour),
            }
            for zone, found in prices.items()
            for hour, price in enumerate(found)
        ]
        given = {"InstanceTypes": [instance_type], "ProductDescriptions": ["Linux/UNIX"], "StartTime": NOW}
        self.spot.add_response("describe_spot_price_history", {"SpotPriceHistory": history}, given)

    def __enter__(self) -> Clients:
        self.list.activate()
        self.spot.activate()
        return self

    def __exit__(self, *_: object) -> None:
        self.list.deactivate()
        self.spot.deactivate()


@pytest.fixture
def clients() -> Any:
    with mock_aws(), Clients() as made:
        yield made


def test_all_pages_are_read_and_the_dearest_zone_counts_as_it_is_now(clients: Clients) -> None:
    clients.answer("eks.cluster", [listed("EUC1-Other", "3.0")], [listed(CLUSTER, "1.25")])
    clients.spot_of("r7i.xlarge", eu_central_1a=["9.0", "0.5"], eu_central_1b=["0.25", "0.75"])
    keys = ["eks.cluster", "ec2.spot.r7i.xlarge", "ec2.an unnamed type"]
    found, missing = read(keys, REGION, clients, clients.pricing, NOW)
    assert {key: one.usd for key, one in found.items()} == {"eks.cluster": 1.25, "ec2.spot.r7i.xlarge": 0.75}
    assert "eu-central-1b, the highest of 2 zones" in found["ec2.spot.r7i.xlarge"].source
    assert set(missing) == {"ec2.an unnamed type"}
    clients.list.assert_no_pending_responses()


def test_a_list_that_can_not_be_asked_is_said_with_the_right_that_it_takes(clients: Clients) -> None:
    clients.list.add_client_error("get_products", "AccessDeniedException", "no")
    with pytest.raises(PreflightError, match="AccessDenied") as refused:
        read(["eks.cluster"], REGION, clients, clients.pricing, NOW)
    assert "pricing:GetProducts" in str(refused.value)


STEPS = {
    Role.LAB: [
        PlannedStep(op="create", type="aws:eks/cluster:Cluster", name="cluster", after={}),
        PlannedStep(op="create", type="aws:ec2/natGateway:NatGateway", name="nat", after={}),
    ]
}


@pytest.fixture
def run(tmp_path: Path, clients: Clients, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    made = fake_run(tmp_path / "labs")
    prepare_project(made.session, port_base=28000)
    for role in Role:
        set_config(made.lab, role, "placement", "aws")
        set_config(made.lab, role, "awsRegion", REGION)
    monkeypatch.setattr("placements.aws.account.clients_of", lambda _: clients)
    return made


def test_prices_that_were_read_are_the_labs_own_with_their_day(run: FakeRun, clients: Clients) -> None:
    clients.answer("eks.cluster", [listed(CLUSTER, "1.25")])
    clients.answer("nat.gateway", [])
    path, unread = refresh_prices(run.session, STEPS)
    assert path == run.lab.home / OWN_TABLE == table_of(run.session)
    assert unread == {"nat.gateway": "the price list has none"}
    table = read_prices(path)
    assert (table.region, table.read_on) == (REGION, dt.datetime.now(dt.UTC).date())
    assert {key: price.usd for key, price in table.prices.items()} == {"eks.cluster": 1.25}
    found = costs_of(STEPS, path, unread).planned
    assert found.unknown == ("nat.gateway",), "what is not published is no less unknown than before"
    assert verdict(found).startswith("at least $1.2500/hour up")


def test_prices_of_another_region_are_not_taken_for_the_labs(run: FakeRun) -> None:
    (run.lab.home / OWN_TABLE).write_text("region: eu-west-1\nread_on: 2026-11-01\nprices: {}\n")
    assert table_of(run.session) == TABLE


def test_a_list_that_fails_leaves_the_table_as_it_was(run: FakeRun, clients: Clients) -> None:
    before = "region: eu-central-1\nread_on: null\nprices: {}\n"
    (run.lab.home / OWN_TABLE).write_text(before)
    clients.answer("eks.cluster", [listed(CLUSTER, "1.25")])
    clients.list.add_client_error("get_products", "ThrottlingException", "slow down")
    with pytest.raises(PreflightError, match="Throttling"):
        refresh_prices(run.session, STEPS)
    assert (run.lab.home / OWN_TABLE).read_text() == before


def test_prices_are_read_for_a_lab_in_an_account_alone(run: FakeRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reads no other one"):
        operations.cost(run.session, prices=tmp_path / "mine.yaml", refresh=True)
    for role in Role:
        set_config(run.lab, role, "placement", "local")
    run.calls.clear()
    with pytest.raises(UsageError, match="nothing of this lab is billed"):
        operations.cost(run.session, refresh=True)
    assert run.calls == []
