"""The account as boto3 reaches it: whether it is the right one, and whether it can carry what is about to be
made. Asked before the engine starts, so that what is missing is said by name and nothing is half made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import PreflightError, UsageError
from contracts.settings import Role, Settings
from contracts.tags import resource_tags
from placements.aws.naming import zones_of

PERSISTENT_ACTIONS = (
    *("ec2:CreateVpc", "ec2:ModifyVpcAttribute", "ec2:CreateSubnet", "ec2:CreateRouteTable"),
    *("ec2:CreateRoute", "ec2:AssociateRouteTable", "ec2:CreateInternetGateway"),
    *("ec2:AttachInternetGateway", "ec2:CreateVpcEndpoint", "ec2:CreateSecurityGroup"),
    *("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress", "ec2:CreateTags"),
    *("ec2:DescribeVpcs", "ec2:DescribeSubnets", "ec2:DescribeAvailabilityZones"),
    *("kms:CreateKey", "kms:CreateAlias", "kms:EnableKeyRotation", "kms:PutKeyPolicy", "kms:TagResource"),
    *("kms:CreateGrant", "kms:DescribeKey", "kms:GenerateDataKey", "kms:Decrypt"),
    *("rds:CreateDBCluster", "rds:CreateDBInstance", "rds:CreateDBSubnetGroup"),
    *("rds:CreateDBClusterParameterGroup", "rds:ModifyDBClusterParameterGroup"),
    *("rds:AddTagsToResource", "rds:DescribeDBClusters", "rds:DescribeDBInstances"),
    *("rds-data:ExecuteStatement", "secretsmanager:CreateSecret", "secretsmanager:GetSecretValue"),
    *("secretsmanager:TagResource", "secretsmanager:RotateSecret"),
    *("s3:CreateBucket", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging"),
    *("s3:PutBucketVersioning", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"),
    "s3:PutBucketOwnershipControls",
    *("iam:CreateRole", "iam:PutRolePolicy", "iam:TagRole", "iam:GetRole", "iam:CreateServiceLinkedRole"),
)
"""What making the persistent stack does, as far as whoever runs it has to be allowed to."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One quota of a service: its code, how many more the persistent stack takes, and how to count those in
    use."""

    what: str
    service: str
    code: str
    more: int
    used: Callable[[Clients], int]


class Clients(Protocol):
    """Gives boto3's client of a service."""

    def __call__(self, service: str) -> Any: ...


QUOTAS = (
    Quota(
        what="VPCs",
        service="vpc",
        code="L-F678F1CE",
        more=1,
        used=lambda clients: _count(clients("ec2"), "describe_vpcs", "Vpcs"),
    ),
    Quota(
        what="internet gateways",
        service="vpc",
        code="L-A4707A72",
        more=1,
        used=lambda clients: _count(clients("ec2"), "describe_internet_gateways", "InternetGateways"),
    ),
    Quota(
        what="database clusters",
        service="rds",
        code="L-952B80B8",
        more=1,
        used=lambda clients: _count(clients("rds"), "describe_db_clusters", "DBClusters"),
    ),
)
"""Those that a small account reaches first."""


def clients_of(region: str) -> Clients:
    """Clients of one region, with the credentials that boto3 finds."""
    import boto3

    session = boto3.Session(region_name=region or None)

    def client(service: str) -> Any:
        return session.client(service)

    return client


def region_of(settings: Settings) -> str:
    """The region. Raises UsageError when none is set."""
    region = str(settings.values["awsRegion"])
    if not region:
        raise UsageError(
            "placement aws needs to know its region",
            value="not set: awsRegion",
            permitted="a region such as eu-central-1",
            next_command="lab bootstrap --placement aws --set awsRegion=eu-central-1",
        )
    return region


def check_account(
    settings: Settings, clients: Clients, actions: Sequence[str] = PERSISTENT_ACTIONS
) -> tuple[str, tuple[str, ...]]:
    """The account's id, and notes on what could not be looked at. ``actions``: what whoever runs it has to be
    allowed to do; none where another lab's persistent stack is shared.

    Raises:
        PreflightError: no usable credentials, another account, a zone or a database version that is not
            there, missing rights (by name) or a quota that is used up.
    """
    account, principal = _identity(clients, str(settings.values["awsAccountId"]))
    notes: list[str] = []
    _check_zones(settings, clients)
    _check_version(settings, clients)
    if actions:
        notes += _check_rights(clients, principal, (*actions, *_by_setting(settings)))
    if not _is_made(settings, clients):
        notes += _check_quotas(clients)
    return account, tuple(notes)


def _identity(clients: Clients, expected: str) -> tuple[str, str]:
    try:
        found = clients("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise PreflightError(
            f"there are no usable credentials for AWS: {error}",
            permitted="what the AWS command line uses: a profile (AWS_PROFILE), SSO, or keys",
            next_command="aws sts get-caller-identity",
        ) from error
    account, arn = str(found["Account"]), str(found["Arn"])
    if expected and account != expected:
        raise PreflightError(
            "these credentials are of another account than the lab's",
            value=account,
            permitted=expected,
            next_command="AWS_PROFILE=… lab bootstrap",
        )
    return account, _principal(arn)


def _principal(arn: str) -> str:
    """The role behind a session's ARN, whose rights can be asked for; any other ARN as it is."""
    head, _, rest = arn.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{rest.split('/')[0]}" if rest else arn


def _check_zones(settings: Settings, clients: Clients) -> None:
    wanted = zones_of(settings)
    zones = _asked(clients("ec2"), "describe_availability_zones")["AvailabilityZones"]
    known = sorted(z["ZoneName"] for z in zones if z.get("ZoneType", "availability-zone") != "local-zone")
    absent = [zone for zone in wanted if zone not in known]
    if absent:
        raise PreflightError(
            f"the account has no zone {absent[0]}",
            value=", ".join(wanted),
            permitted=", ".join(known),
            next_command=f"lab bootstrap --set awsZones={','.join(known[:2])}",
        )


def _check_version(settings: Settings, clients: Clients) -> None:
    wanted = str(settings.values.get("awsDatabaseVersion") or "")
    if not wanted:
        return
    pages = _pages(clients("rds"), "describe_db_engine_versions", Engine="aurora-postgresql")
    known = [str(v["EngineVersion"]) for page in pages for v in page["DBEngineVersions"]]
    if wanted not in known:
        newest = sorted((v for v in known if v[:2].isdigit() and int(v[:2]) >= 16), key=_version)[-6:]
        raise PreflightError(
            f"Aurora PostgreSQL {wanted} is not offered in this region",
            value=wanted,
            permitted=", ".join(newest) or "none of 16 or newer",
            next_command=f"lab bootstrap --set awsDatabaseVersion={newest[-1] if newest else '16.3'}",
        )


def check_cluster_version(settings: Settings, clients: Clients) -> tuple[str, ...]:
    """A note where the region's versions of EKS can't be asked for, or the cluster's costs more than others.

    Raises:
        PreflightError: EKS does not offer the version.
    """
    wanted = str(settings.values["awsKubernetesVersion"])
    try:
        answer = clients("eks").describe_cluster_versions(includeAll=False)
    except (BotoCoreError, ClientError) as error:
        return (f"whether EKS has version {wanted} is not known: {error}",)
    offered = {
        str(one["clusterVersion"]): str(one.get("versionStatus", "")) for one in answer["clusterVersions"]
    }
    standard = sorted((v for v, status in offered.items() if "EXTENDED" not in status.upper()), key=_version)
    if wanted in standard:
        return ()
    if wanted in offered:
        return (
            f"EKS has version {wanted} in extended support alone, which costs more: {', '.join(standard)}",
        )
    raise PreflightError(
        f"EKS does not offer version {wanted} in this region",
        value=wanted,
        permitted=", ".join(standard) or "none",
        next_command=f"lab bootstrap --set awsKubernetesVersion={standard[-1] if standard else wanted}",
    )


def check_way_out(settings: Settings, clients: Clients, labs: Sequence[str]) -> None:
    """Raises PreflightError where another of the labs that share a network is up with a way out of its own: a
    private subnet has one. ``settings`` are the lab stack's."""
    if len(labs) < 2 or str(settings.values["awsNat"]).startswith("shared"):
        return
    own = resource_tags(settings.name, Role.LAB)
    tagged = [{"Name": f"tag:{key}", "Values": [*labs] if key == "Lab" else [own[key]]} for key in own]
    alive = {"Name": "state", "Values": ["pending", "available"]}
    found = _asked(clients("ec2"), "describe_nat_gateways", Filters=[*tagged, alive])["NatGateways"]
    tags = [{tag["Key"]: tag["Value"] for tag in one.get("Tags", ())} for one in found]
    # A gateway of the persistent stack is everybody's.
    holders = {one["Lab"] for one in tags if one.get("Stack") == own["Stack"] and one.get("Lab") in labs}
    if others := sorted(holders - {settings.name}):
        raise PreflightError(
            f"lab {others[0]!r} is up in the network that both labs share, with a way out of its own",
            value=f"awsNat: {settings.values['awsNat']}",
            permitted="awsNat: shared, for two labs at the same time; or one lab after the other",
            next_command=f"lab --name {others[0]} down; or, with all labs down, "
            f"lab --name {labs[0]} bootstrap --set awsNat=shared",
        )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _by_setting(settings: Settings) -> tuple[str, ...]:
    return ("budgets:ModifyBudget",) if settings.values["awsBudgetUsd"] else ()


def _check_rights(clients: Clients, principal: str, actions: Sequence[str]) -> Sequence[str]:
    """Whether the principal may do what is about to be done; a note where that can't be asked."""
    if principal.endswith(":root"):
        return ("these are the root user's credentials: make a role for this instead",)
    denied: list[str] = []
    try:
        pages = _pages(
            clients("iam"),
            "simulate_principal_policy",
            PolicySourceArn=principal,
            ActionNames=list(actions),
        )
        for page in pages:
            denied += [
                str(result["EvalActionName"])
                for result in page["EvaluationResults"]
                if result["EvalDecision"] != "allowed"
            ]
    except PreflightError as error:
        return (f"whether {principal} may do all of it is not known: {error.what}",)
    if denied:
        raise PreflightError(
            f"{principal} lacks rights that the persistent stack needs",
            value=", ".join(sorted(denied)),
            permitted="a role that is allowed each of them",
            next_command="AWS_PROFILE=… lab bootstrap",
        )
    return ()


def _is_made(settings: Settings, clients: Clients) -> bool:
    """Whether the lab's database is there already, and with it all that takes of a quota."""
    try:
        found = clients("rds").describe_db_clusters(DBClusterIdentifier=f"lakehouse-{settings.name}")
    except ClientError as error:
        if "NotFound" in str(error.response["Error"]["Code"]):
            return False
        raise _refused(error, "DescribeDBClusters") from error
    return bool(found["DBClusters"])


def _check_quotas(clients: Clients) -> Sequence[str]:
    notes: list[str] = []
    for quota in QUOTAS:
        try:
            answer = clients("service-quotas").get_service_quota(
                ServiceCode=quota.service, QuotaCode=quota.code
            )
        except ClientError as error:
            notes.append(f"the quota of {quota.what} is not known: {error.response['Error']['Code']}")
            continue
        limit, used = int(answer["Quota"]["Value"]), quota.used(clients)
        if used + quota.more > limit:
            raise PreflightError(
                f"the account's quota of {quota.what} in this region is used up",
                value=f"{used} of {limit}",
                permitted=f"{quota.more} more",
                next_command=f"aws service-quotas request-service-quota-increase --service-code "
                f"{quota.service} --quota-code {quota.code} --desired-value {used + quota.more}",
            )
    return notes


def _count(client: Any, operation: str, member: str) -> int:
    return sum(len(page[member]) for page in _pages(client, operation))


def _pages(client: Any, operation: str, **arguments: Any) -> Iterable[Mapping[str, Any]]:
    if not client.can_paginate(operation):
        yield _asked(client, operation, **arguments)
        return
    try:
        yield from client.get_paginator(operation).paginate(**arguments)
    except (BotoCoreError, ClientError) as error:
        raise _refused(error, operation) from error


def _asked(client: Any, operation: str, **arguments: Any) -> Mapping[str, Any]:
    try:
        answer: Mapping[str, Any] = getattr(client, operation)(**arguments)
    except (BotoCoreError, ClientError) as error:
        raise _refused(error, operation) from error
    return answer


def _refused(error: Exception, what: str) -> PreflightError:
    return PreflightError(
        f"AWS refuses {what}: {error}",
        permitted="credentials that may look at the account",
        next_command="aws sts get-caller-identity",
    )
