"""Rows of :data:`contracts.settings.SETTINGS` that only placement ``aws`` reads."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from contracts.setting_values import Role, Setting, choice, decimal, integer, listed, matching
from contracts.versions import AURORA_POSTGRESQL, EKS

_BOTH = frozenset(Role)
_PERSISTENT = frozenset({Role.PERSISTENT})
_LAB = frozenset({Role.LAB})
_AWS = ("aws",)

_LARGEST_ALLOWED = 8
"""Prefix length of the largest network that may reach a cluster's public endpoint."""


_MOST_ADDRESSES = 10
"""That AWS Budgets tells of one threshold."""


def _each(text: str, parse: Callable[[str], Any], rule: str) -> tuple[str, ...]:
    """Every part of a list, checked; the parts as they were given."""
    found = listed(text)
    for part in found:
        try:
            parse(part)
        except ValueError:
            raise ValueError(rule) from None
    return found


def _zones(text: str) -> tuple[str, ...]:
    rule = "two to six different zones, such as eu-central-1a,eu-central-1b, or nothing"
    found = _each(text, matching(r"[a-z]{2}(-[a-z]+)+-\d[a-z]", rule), rule)
    if found and not (2 <= len(found) <= 6 and len(set(found)) == len(found)):
        raise ValueError(rule)
    return found


def _vpc_network(text: str) -> str:
    rule = "a private IPv4 network of /16 to /20, such as 10.40.0.0/16"
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        raise ValueError(rule) from None
    if not (network.is_private and 16 <= network.prefixlen <= 20):
        raise ValueError(rule)
    return text


def _allow_list(text: str) -> tuple[str, ...]:
    rule = f"IPv4 networks of /{_LARGEST_ALLOWED} or smaller, such as 203.0.113.7/32, separated by commas"

    def parse(part: str) -> None:
        if ipaddress.IPv4Network(part).prefixlen < _LARGEST_ALLOWED:
            raise ValueError(rule)

    return _each(text, parse, rule)


def _instance_types(text: str) -> tuple[str, ...]:
    rule = "types of instances, such as m7i.xlarge, separated by commas"
    found = _each(text, matching(r"[a-z][a-z0-9-]*\.[a-z0-9-]+", rule), rule)
    if not found:
        raise ValueError(rule)
    return found


def _principals(text: str) -> tuple[str, ...]:
    rule = "ARNs of IAM roles or users, separated by commas"
    return _each(text, matching(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+", rule), rule)


def _moment(text: str) -> str:
    rule = "a moment in UTC such as 2027-01-31T18:00:00Z, or nothing"
    if text:
        try:
            datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise ValueError(rule) from None
    return text


def _emails(text: str) -> tuple[str, ...]:
    rule = "up to ten addresses such as platform@example.com, separated by commas"
    found = _each(text, matching(r"[^@]+@[^@]+\.[^@.]+", rule), rule)
    if len(found) > _MOST_ADDRESSES:
        raise ValueError(rule)
    return found


def _database_version(text: str) -> str:
    found = re.fullmatch(r"(\d{2})\.(\d{1,2})", text)
    if not found or (int(found[1]), int(found[2])) < (16, 3):
        raise ValueError("16.3 or newer, as MAJOR.MINOR: older versions can't pause")
    return text


AWS_SETTINGS: tuple[Setting, ...] = (
    Setting(
        key="awsRegion",
        roles=_BOTH,
        default="",
        example="eu-central-1",
        parse=matching(r"([a-z]{2}(-[a-z]+)+-\d)?", "a region, such as eu-central-1"),
        placements=_AWS,
        doc="the region of everything. Required.",
    ),
    Setting(
        key="awsAccountId",
        roles=_BOTH,
        default="",
        example="123456789012",
        parse=matching(r"(\d{12})?", "the 12 digits of an account"),
        placements=_AWS,
        doc="the account of everything; credentials for any other are refused. Required; "
        "`lab bootstrap` fills it in.",
    ),
    Setting(
        key="awsZones",
        roles=_BOTH,
        default="",
        example="eu-central-1a,eu-central-1b",
        parse=_zones,
        placements=_AWS,
        doc="availability zones of the network, the same on both stacks. Empty: a and b of the region.",
    ),
    Setting(
        key="awsVpcCidr",
        roles=_PERSISTENT,
        default="10.40.0.0/16",
        example="10.40.0.0/16",
        parse=_vpc_network,
        placements=_AWS,
        doc="the VPC's network. Each zone has a sixteenth of it for pods and nodes and a small part for "
        "load balancers.",
    ),
    Setting(
        key="awsProtect",
        roles=_PERSISTENT,
        default="true",
        example="false",
        parse=choice("true", "false"),
        placements=_AWS,
        doc="whether database, buckets, key and network refuse to be deleted. The guardrails refuse "
        "false unless their own configuration names the lab: `lab bootstrap --set awsProtect=false "
        "--throw-away` once, before you destroy it. A final snapshot of the database is kept even then.",
    ),
    Setting(
        key="awsDatabaseVersion",
        roles=_PERSISTENT,
        default=AURORA_POSTGRESQL,
        example=AURORA_POSTGRESQL,
        parse=_database_version,
        placements=_AWS,
        doc="version of Aurora PostgreSQL.",
    ),
    Setting(
        key="awsDatabaseMaxAcu",
        roles=_PERSISTENT,
        default="4",
        example="16",
        parse=decimal(1.0, 256.0),
        placements=_AWS,
        doc="Aurora capacity units that the database may grow to (1 is about 2 GiB of memory).",
    ),
    Setting(
        key="awsDatabasePauseAfterS",
        roles=_PERSISTENT,
        default="600",
        example="3600",
        parse=integer(300, 86400),
        placements=_AWS,
        doc="seconds without a connection after which the database pauses, and costs storage alone.",
    ),
    Setting(
        key="awsBackupRetentionDays",
        roles=_PERSISTENT,
        default="7",
        example="30",
        parse=integer(1, 35),
        placements=_AWS,
        doc="days that the database's automatic backups are kept.",
    ),
    Setting(
        key="awsNoncurrentDays",
        roles=_PERSISTENT,
        default="14",
        example="30",
        parse=integer(1, 3650),
        placements=_AWS,
        doc="days that an overwritten or deleted object of the warehouse can still be restored.",
    ),
    Setting(
        key="awsBudgetUsd",
        roles=_PERSISTENT,
        default="0",
        example="200",
        parse=decimal(0.0, 1_000_000.0),
        placements=_AWS,
        doc="US dollars a month for all labs of this persistent stack; awsBudgetEmails is told at 80% "
        "of it, and when the month is forecast to go beyond it. Nothing is stopped by it. 0: no budget.",
    ),
    Setting(
        key="awsBudgetEmails",
        roles=_PERSISTENT,
        default="",
        example="platform@example.com",
        parse=_emails,
        placements=_AWS,
        doc="up to ten addresses that awsBudgetUsd tells, separated by commas.",
    ),
    Setting(
        key="awsAccessLogs",
        roles=_PERSISTENT,
        default="false",
        example="true",
        parse=choice("true", "false"),
        placements=_AWS,
        doc="whether requests to the warehouse bucket are logged, into a bucket of their own.",
    ),
    Setting(
        key="awsCiRepository",
        roles=_PERSISTENT,
        default="",
        example="octo-org/lakehouse",
        parse=matching(r"([\w.-]+/[\w.-]+)?", "OWNER/NAME, or nothing"),
        placements=_AWS,
        doc="GitHub repository whose workflows may assume the preview role (pull requests; reads alone, "
        "no data and no secrets) and the deploy role (one environment). Empty: no such roles.",
    ),
    Setting(
        key="awsCiEnvironment",
        roles=_PERSISTENT,
        default="lab",
        example="production",
        parse=matching(r"[\w.-]+", "an environment's name"),
        placements=_AWS,
        doc="the repository's protected environment, whose workflows alone may deploy.",
    ),
    Setting(
        key="awsCiProviderArn",
        roles=_PERSISTENT,
        default="",
        example="arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
        parse=matching(
            r"(arn:aws[a-z-]*:iam::\d{12}:oidc-provider/\S+)?", "the ARN of a provider, or nothing"
        ),
        placements=_AWS,
        doc="GitHub's identity provider, where the account has it already: it can have only one. "
        "Empty: it is made.",
    ),
    Setting(
        key="awsExpiresAt",
        roles=_LAB,
        default="",
        example="2027-01-31T18:00:00Z",
        parse=_moment,
        placements=_AWS,
        doc="when the account ends the cluster by itself, in UTC; `lab up --ttl 8h` sets it. Empty: never.",
    ),
    Setting(
        key="idleStopHours",
        roles=_LAB,
        default="0",
        example="4",
        parse=integer(0, 720),
        placements=_AWS,
        doc="hours without use after which the account ends the cluster by itself. Use is what people do: "
        "queries, work in the console, `lab up`; not probes, and not the lab's own maintenance. 0: never.",
    ),
    Setting(
        key="awsNat",
        roles=_BOTH,
        default="single",
        example="zonal",
        parse=choice("single", "zonal", "shared", "shared-zonal"),
        placements=_AWS,
        doc="one NAT gateway for all zones (single), or one in each (zonal), of the lab's own, which "
        "goes with it; or of the persistent stack, for all labs that have a slot there (shared, "
        "shared-zonal), where it costs by the hour while every lab is down, too. Two labs that are up at the "
        "same time need a shared one. To be changed while all of them are down.",
    ),
    Setting(
        key="awsLogRetentionDays",
        roles=_LAB,
        default="30",
        example="90",
        parse=choice("1", "3", "5", "7", "14", "30", "60", "90", "180", "365"),
        placements=_AWS,
        doc="days that the control plane's logs (API, audit, sign-ins) are kept.",
    ),
    Setting(
        key="awsKubernetesVersion",
        roles=_LAB,
        default=EKS,
        example=EKS,
        parse=matching(r"1\.\d{2}", "a version such as 1.33"),
        placements=_AWS,
        doc="Kubernetes version of the EKS cluster.",
    ),
    Setting(
        key="awsApiCidrs",
        roles=_LAB,
        default="",
        example="203.0.113.7/32",
        parse=_allow_list,
        placements=_AWS,
        doc="networks that may reach the cluster's API over the internet. Empty: it has a private "
        "endpoint alone, reached from within the VPC.",
    ),
    Setting(
        key="awsAdmins",
        roles=_LAB,
        default="",
        example="arn:aws:iam::123456789012:role/platform",
        parse=_principals,
        placements=_AWS,
        doc="IAM roles and users that administer the cluster, beside whoever makes it.",
    ),
    Setting(
        key="awsSystemTypes",
        roles=_LAB,
        default="m7i.xlarge",
        example="m7i.xlarge,m6i.xlarge",
        parse=_instance_types,
        placements=_AWS,
        doc="instances of the nodes for the lab's services (on demand).",
    ),
    Setting(
        key="awsQueryTypes",
        roles=_LAB,
        default="r7i.xlarge",
        example="r7i.2xlarge",
        parse=_instance_types,
        placements=_AWS,
        doc="instances of the nodes for Trino (on demand, in one zone).",
    ),
    Setting(
        key="awsQueryMaxNodes",
        roles=_LAB,
        default="2",
        example="8",
        parse=integer(1, 100),
        placements=_AWS,
        doc="how many nodes for Trino there may be.",
    ),
    Setting(
        key="awsBatchTypes",
        roles=_LAB,
        default="r7i.xlarge,r6i.xlarge,r5.xlarge,r7a.xlarge",
        example="r7i.2xlarge,r6i.2xlarge",
        parse=_instance_types,
        placements=_AWS,
        doc="instances of the nodes for Spark (Spot, tainted, none when idle). The more types, the "
        "rarer an interruption.",
    ),
    Setting(
        key="awsBatchMaxNodes",
        roles=_LAB,
        default="4",
        example="16",
        parse=integer(1, 100),
        placements=_AWS,
        doc="how many nodes for Spark there may be.",
    ),
)
