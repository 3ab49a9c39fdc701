"""Nothing can be reached by everybody: buckets, databases, APIs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from policies.guardrails.model import (
    UNKNOWN,
    Finding,
    Resource,
    Rule,
    anybody,
    is_true,
    items,
    on_or_unknown,
    open_to_all,
    statements,
)

BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
BLOCKS = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
_ACLS = ("aws:s3/bucketAcl:BucketAcl", "aws:s3/bucketAclV2:BucketAclV2", *BUCKETS)
_POLICIES = ("aws:s3/bucketPolicy:BucketPolicy", *BUCKETS)
_WEBSITES = (
    "aws:s3/bucketWebsiteConfiguration:BucketWebsiteConfiguration",
    "aws:s3/bucketWebsiteConfigurationV2:BucketWebsiteConfigurationV2",
)
BLOCK_FLAGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def _bucket(resource: Resource) -> Iterator[str]:
    acl = resource.props.get("acl")
    if resource.type in _ACLS and isinstance(acl, str) and acl.startswith(("public-", "authenticated-")):
        yield f"its ACL is {acl!r}; leave the ACL out"
    if resource.type == BLOCKS:
        off = [flag for flag in BLOCK_FLAGS if not on_or_unknown(resource.props.get(flag))]
        if off:
            yield f"{', '.join(off)} must be true"
    if resource.type in _WEBSITES or (resource.type in BUCKETS and resource.props.get("website")):
        yield "it serves a website; the warehouse is reached through the S3 API alone"
    if resource.type in _POLICIES:
        try:
            for statement in statements(resource.props.get("policy")):
                open_ = statement.get("Effect") == "Allow" and anybody(statement.get("Principal"))
                if open_ and not statement.get("Condition"):
                    yield "its policy lets everybody in; name the principals"
        except ValueError:
            yield "its policy can't be read; give valid JSON"


def without(
    resources: Sequence[Resource], owners: Iterable[str], companion: str | tuple[str, ...]
) -> Iterator[Resource]:
    """Resources of the types ``owners`` that no ``companion`` names in its property ``bucket``."""
    kinds = (companion,) if isinstance(companion, str) else companion
    found = [one for one in resources if one.type in kinds]
    covered = {urn for one in found for urn in one.refers_to.get("bucket", ())}
    named = {one.props.get("bucket") for one in found} - {UNKNOWN, None}
    for resource in resources:
        if (
            resource.type in owners
            and resource.urn not in covered
            and resource.props.get("bucket") not in named
        ):
            yield resource


def _buckets(resources: Sequence[Resource]) -> Iterator[Finding]:
    for bucket in without(resources, BUCKETS, BLOCKS):
        yield Finding(urn=bucket.urn, text="it has no public-access block; add a BucketPublicAccessBlock")


NO_PUBLIC_BUCKET = Rule(
    name="no-public-bucket",
    description="No bucket can be read or listed by everybody.",
    check=_bucket,
    check_stack=_buckets,
)


_DATABASES = ("aws:rds/instance:Instance", "aws:rds/clusterInstance:ClusterInstance")


def _database(resource: Resource) -> Iterator[str]:
    if resource.type in _DATABASES and is_true(resource.props.get("publiclyAccessible")):
        yield "it is publicly accessible; set publiclyAccessible to false"
    if resource.type == "aws:rds/snapshotCopy:SnapshotCopy" and "all" in items(
        resource.props.get("sharedAccounts")
    ):
        yield "it is shared with all accounts; name the accounts"


NO_PUBLIC_DATABASE = Rule(
    name="no-public-database",
    description="No database has an address on the internet.",
    check=_database,
)


_INTERNAL = re.compile(r"service\.beta\.kubernetes\.io/(aws-load-balancer-(scheme|internal)|.*-internal)")


def _endpoint(resource: Resource) -> Iterator[str]:
    if resource.type == "aws:eks/cluster:Cluster":
        yield from _cluster(resource)
    elif resource.type == "aws:ec2/securityGroup:SecurityGroup":
        for rule in items(resource.props.get("ingress")):
            if isinstance(rule, Mapping) and (
                open_to_all(rule.get("cidrBlocks")) or open_to_all(rule.get("ipv6CidrBlocks"))
            ):
                yield "it lets every address in; name the networks"
    elif resource.type == "aws:ec2/securityGroupRule:SecurityGroupRule":
        networks = (resource.props.get("cidrBlocks"), resource.props.get("ipv6CidrBlocks"))
        if resource.props.get("type") == "ingress" and any(map(open_to_all, networks)):
            yield "it lets every address in; name the networks"
    elif resource.type == "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule":
        if any(open_to_all(resource.props.get(key)) for key in ("cidrIpv4", "cidrIpv6")):
            yield "it lets every address in; name the networks"
    elif resource.type == "aws:lambda/functionUrl:FunctionUrl":
        if resource.props.get("authorizationType") == "NONE":
            yield "anybody may call it; set authorizationType to AWS_IAM"
    elif resource.type == "kubernetes:core/v1:Service":
        yield from _service(resource)


def _cluster(resource: Resource) -> Iterator[str]:
    # Left out, the endpoint is public and every address may reach it.
    public = resource.get("vpcConfig.endpointPublicAccess")
    networks = resource.get("vpcConfig.publicAccessCidrs")
    if public is False or public is UNKNOWN or networks is UNKNOWN:
        return
    if not networks or open_to_all(networks):
        yield (
            "its API endpoint is public for every address; set endpointPublicAccess to false, or name "
            "networks in publicAccessCidrs"
        )


def _service(resource: Resource) -> Iterator[str]:
    kind = resource.get("spec.type")
    if kind == "NodePort":
        yield "it opens a port on every node; use ClusterIP and a tunnel"
    if kind != "LoadBalancer":
        return
    annotations: Any = resource.get("metadata.annotations") or {}
    internal = isinstance(annotations, Mapping) and any(
        _INTERNAL.fullmatch(str(key)) and str(value).lower() in ("internal", "true")
        for key, value in annotations.items()
    )
    ranges = resource.get("spec.loadBalancerSourceRanges")
    if not internal and ranges is not UNKNOWN and (not ranges or open_to_all(ranges)):
        yield "its load balancer takes every address; make it internal or name loadBalancerSourceRanges"


NO_PUBLIC_ENDPOINT = Rule(
    name="no-public-endpoint",
    description="No API and no port can be reached from every address.",
    check=_endpoint,
)
