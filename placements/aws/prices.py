"""Prices as AWS publishes them: the Price List API, and EC2's own history of Spot prices.

A price is taken only where exactly one is published for what is asked; anything else is said and stays
unknown. https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import PreflightError
from placements.aws.account import Clients

_SPOT = "ec2.spot."
_UNITS: Mapping[str, frozenset[str]] = {
    "hour": frozenset({"hrs", "hours", "hour", "acu-hr", "acu-hrs"}),
    "month": frozenset({"gb-mo", "gb-month", "month", "months", "key", "keys", "secret", "secrets"}),
}
"""What the list calls an hour, or a month, of one, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """What the list is asked for: products of a ``service`` whose attributes are ``filters`` and whose usage
    type ends with ``usage`` (a pattern), billed by ``unit`` (hour or month)."""

    service: str
    usage: str
    filters: Mapping[str, str] = field(default_factory=dict)
    unit: str = "hour"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A price in US dollars by ``unit``, and where it was read."""

    usd: float
    unit: str
    source: str


PRODUCTS: Mapping[str, Product] = {
    "eks.cluster": Product(service="AmazonEKS", usage="AmazonEKS-Hours:perCluster"),
    "nat.gateway": Product(
        service="AmazonEC2", usage="NatGateway-Hours", filters={"productFamily": "NAT Gateway"}
    ),
    "ipv4.public": Product(service="AmazonVPC", usage="PublicIPv4:InUseAddress"),
    "vpc.endpoint": Product(service="AmazonVPC", usage="VpcEndpoint-Hours"),
    "lb.application": Product(
        service="AWSELB",
        usage="LoadBalancerUsage",
        filters={"productFamily": "Load Balancer-Application"},
    ),
    "lb.network": Product(
        service="AWSELB", usage="LoadBalancerUsage", filters={"productFamily": "Load Balancer-Network"}
    ),
    "aurora.acu": Product(
        service="AmazonRDS",
        usage="Aurora:ServerlessV2Usage",
        filters={"databaseEngine": "Aurora PostgreSQL"},
    ),
    "kms.key": Product(service="awskms", usage="KMS-Keys", unit="month"),
    "secretsmanager.secret": Product(
        service="AWSSecretsManager", usage="AWSSecretsManager-Secrets?", unit="month"
    ),
}
"""By the keys of the table of prices, as far as they are the same for every lab."""


def product_of(key: str) -> Product | None:
    """What the list is asked for a row of the table; None where it has no such product."""
    if key in PRODUCTS:
        return PRODUCTS[key]
    if found := re.fullmatch(r"ebs\.(\w+)\.gib", key):
        return Product(
            service="AmazonEC2",
            usage=rf"EBS:VolumeUsage(\.{found[1]})?",
            filters={"productFamily": "Storage", "volumeApiName": found[1]},
            unit="month",
        )
    if found := re.fullmatch(r"rds\.(db\.[\w-]+\.\w+)", key):
        return Product(
            service="AmazonRDS",
            usage=rf"InstanceUsage:{re.escape(found[1])}",
            filters={"instanceType": found[1], "databaseEngine": "Aurora PostgreSQL"},
        )
    if not key.startswith(_SPOT) and (found := re.fullmatch(r"ec2\.([a-z][\w-]*\.[\w-]+)", key)):
        return Product(
            service="AmazonEC2",
            usage=rf"BoxUsage:{re.escape(found[1])}",
            filters={
                "instanceType": found[1],
                "operatingSystem": "Linux",
                "preInstalledSw": "NA",
                "tenancy": "Shared",
                "capacitystatus": "Used",
            },
        )
    return None


def read(
    keys: Iterable[str], region: str, clients: Clients, pricing: Any, now: dt.datetime
) -> tuple[dict[str, Published], dict[str, str]]:
    """The published prices by key, and for each of the others why there is none.

    Args:
        clients: of the region, for Spot.
        pricing: boto3's client of the Price List API.

    Raises:
        PreflightError: the list can't be asked at all.
    """
    found: dict[str, Published] = {}
    missing: dict[str, str] = {}
    for key in keys:
        if key.startswith(_SPOT):
            answer = _spot(key.removeprefix(_SPOT), clients, now)
        elif (product := product_of(key)) is not None:
            answer = published(_listed(product, region, pricing), product)
        else:
            answer = "the price list has no product that this is known to be"
        if isinstance(answer, str):
            missing[key] = answer
        else:
            found[key] = answer
    return found, missing


def published(documents: Iterable[Mapping[str, Any]], product: Product) -> Published | str:
    """The one price of a product among what the list answered, or why there is none."""
    prices: dict[float, str] = {}
    strange: set[str] = set()
    usage = re.compile(rf"(.*-)?{product.usage}")
    for document in documents:
        attributes = document["product"]["attributes"]
        if not usage.fullmatch(str(attributes.get("usagetype", ""))):
            continue
        for term in document.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                _collect(document["product"]["sku"], term, dimension, product, prices, strange)
    if len(prices) == 1 and not strange:
        ((usd, where),) = prices.items()
        return Published(usd=usd, unit=product.unit, source=f"AWS Price List, {product.service}, {where}")
    if strange:
        return f"the price list has it by {', '.join(sorted(strange))}"
    if prices:
        return f"the price list has several: {', '.join(f'{usd:g}' for usd in sorted(prices))}"
    return "the price list has none"


def _collect(
    sku: str,
    term: Mapping[str, Any],
    dimension: Mapping[str, Any],
    product: Product,
    prices: dict[float, str],
    strange: set[str],
) -> None:
    unit, money = str(dimension["unit"]), dimension["pricePerUnit"]
    if str(dimension.get("beginRange", "0")) != "0":
        strange.add("quantity, in steps")
    elif unit.lower() not in _UNITS[product.unit]:
        strange.add(unit)
    elif "USD" not in money:
        strange.add("another currency")
    elif float(money["USD"]) > 0:
        prices[float(money["USD"])] = f"{sku}, in force since {str(term.get('effectiveDate', ''))[:10]}"


def _listed(product: Product, region: str, pricing: Any) -> list[Mapping[str, Any]]:
    wanted = {"regionCode": region, **product.filters}
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in wanted.items()]
    asked = {"ServiceCode": product.service, "FormatVersion": "aws_v1", "Filters": filters}

    def every() -> list[Mapping[str, Any]]:
        pages = pricing.get_paginator("get_products").paginate(**asked)
        return [json.loads(text) for page in pages for text in page["PriceList"]]

    return _asked(every, "pricing:GetProducts")


def _spot(instance_type: str, clients: Clients, now: dt.datetime) -> Published | str:
    """The highest of the zones now."""

    def every() -> list[Mapping[str, Any]]:
        pages = (
            clients("ec2")
            .get_paginator("describe_spot_price_history")
            .paginate(InstanceTypes=[instance_type], ProductDescriptions=["Linux/UNIX"], StartTime=now)
        )
        return [one for page in pages for one in page["SpotPriceHistory"]]

    zones = {str(one["AvailabilityZone"]): float(one["SpotPrice"]) for one in _newest_last(every)}
    if not zones:
        return "EC2 has no Spot price of it in this region"
    zone = max(zones, key=lambda name: zones[name])
    return Published(
        usd=zones[zone], unit="hour", source=f"EC2's Spot price in {zone}, the highest of {len(zones)} zones"
    )


def _newest_last(every: Callable[[], list[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    return sorted(_asked(every, "ec2:DescribeSpotPriceHistory"), key=lambda one: str(one["Timestamp"]))


def _asked(ask: Callable[[], list[Mapping[str, Any]]], right: str) -> list[Mapping[str, Any]]:
    try:
        return ask()
    except (BotoCoreError, ClientError) as error:
        raise PreflightError(
            f"AWS can't be asked for its prices: {error}",
            permitted=f"credentials that may {right}",
            next_command="aws sts get-caller-identity",
        ) from error
