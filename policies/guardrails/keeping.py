"""What is kept is encrypted, protected, tagged, and not in the lab stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contracts.tags import REQUIRED_TAGS
from policies.guardrails.exposure import BUCKETS, without
from policies.guardrails.model import (
    THROW_AWAY,
    UNKNOWN,
    Finding,
    Resource,
    Rule,
    anybody,
    is_true,
    items,
    on_or_unknown,
    statements,
)

# --- encryption --------------------------------------------------------------------------------

_FLAGS: Mapping[str, str] = {
    "aws:rds/cluster:Cluster": "storageEncrypted",
    "aws:rds/instance:Instance": "storageEncrypted",
    "aws:ebs/volume:Volume": "encrypted",
    "aws:efs/fileSystem:FileSystem": "encrypted",
}
"""The property that has to be on, by type."""

_KEYS: Mapping[str, str] = {"aws:rds/cluster:Cluster": "kmsKeyId", "aws:rds/instance:Instance": "kmsKeyId"}
"""The property that has to name a key of the lab's own, by type."""

_ENCRYPTIONS = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
)
_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
_LOGGING = "aws:s3/bucketLogging:BucketLogging"
_DEFAULT = "rules.applyServerSideEncryptionByDefault.sseAlgorithm"


def _encrypted(resource: Resource) -> Iterator[str]:
    flag, key = _FLAGS.get(resource.type), _KEYS.get(resource.type)
    if flag and not on_or_unknown(resource.props.get(flag)):
        yield f"it is not encrypted; set {flag} to true"
    if key and not resource.props.get(key):
        yield f"it is not encrypted with the lab's key; set {key}"
    if resource.type == "aws:eks/cluster:Cluster" and not resource.props.get("encryptionConfig"):
        yield "its secrets are not encrypted with the lab's key; set encryptionConfig"
    if resource.type == "aws:ec2/launchTemplate:LaunchTemplate":
        for mapping in items(resource.props.get("blockDeviceMappings")):
            disk = mapping.get("ebs") if isinstance(mapping, Mapping) else None
            if isinstance(disk, Mapping) and not on_or_unknown(disk.get("encrypted")):
                yield "a disk of its machines is not encrypted; set ebs.encrypted to true"
    if resource.type == "aws:sqs/queue:Queue" and not (
        resource.props.get("kmsMasterKeyId") or on_or_unknown(resource.props.get("sqsManagedSseEnabled"))
    ):
        yield "it is not encrypted; set sqsManagedSseEnabled to true"
    if resource.type == _POLICY and not _demands_tls(resource.props.get("policy")):
        yield "it lets requests in without TLS; deny those with aws:SecureTransport false"


def _demands_tls(document: Any) -> bool:
    if document is UNKNOWN:
        return True
    try:
        return any(
            statement.get("Effect") == "Deny"
            and anybody(statement.get("Principal"))
            and str((statement.get("Condition") or {}).get("Bool", {}).get("aws:SecureTransport")).lower()
            == "false"
            for statement in statements(document)
        )
    except ValueError:
        return False


def _encrypted_buckets(resources: Sequence[Resource]) -> Iterator[Finding]:
    loggings = [one for one in resources if one.type == _LOGGING]
    # S3 delivers access logs to no bucket that is encrypted with a key of KMS.
    log_buckets = {urn for one in loggings for urn in one.refers_to.get("targetBucket", ())}
    log_names = {one.props.get("targetBucket") for one in loggings} - {UNKNOWN, None}
    for one in resources:
        algorithm = one.get(_DEFAULT) if one.type in _ENCRYPTIONS else UNKNOWN
        holds_logs = not log_buckets.isdisjoint(one.refers_to.get("bucket", ())) or (
            one.props.get("bucket") in log_names
        )
        permitted = ("aws:kms", "aws:kms:dsse", *(("AES256",) if holds_logs else ()))
        if algorithm is not UNKNOWN and algorithm not in permitted:
            yield Finding(
                urn=one.urn, text=f"it does not encrypt with a key of KMS; set {_DEFAULT} to aws:kms"
            )
    for bucket in without(resources, BUCKETS, _ENCRYPTIONS):
        yield Finding(
            urn=bucket.urn,
            text="it is not encrypted with the lab's key; add a BucketServerSideEncryptionConfiguration",
        )
    for bucket in without(resources, BUCKETS, _POLICY):
        yield Finding(
            urn=bucket.urn, text="it takes requests without TLS; add a BucketPolicy that denies them"
        )


ENCRYPTED = Rule(
    name="encrypted",
    description="Data is encrypted where it lies, with keys of the lab, and on its way.",
    check=_encrypted,
    check_stack=_encrypted_buckets,
)

# --- tags --------------------------------------------------------------------------------------

TAGGED = frozenset(
    {
        "aws:budgets/budget:Budget",
        "aws:cloudwatch/logGroup:LogGroup",
        "aws:ebs/volume:Volume",
        "aws:ec2/eip:Eip",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ec2/natGateway:NatGateway",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/vpc:Vpc",
        "aws:ec2/vpcEndpoint:VpcEndpoint",
        "aws:eks/addon:Addon",
        "aws:eks/cluster:Cluster",
        "aws:eks/nodeGroup:NodeGroup",
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "aws:iam/policy:Policy",
        "aws:iam/role:Role",
        "aws:kms/key:Key",
        "aws:lb/loadBalancer:LoadBalancer",
        "aws:rds/cluster:Cluster",
        "aws:rds/clusterInstance:ClusterInstance",
        "aws:rds/clusterParameterGroup:ClusterParameterGroup",
        "aws:rds/instance:Instance",
        "aws:rds/subnetGroup:SubnetGroup",
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketV2:BucketV2",
        "aws:secretsmanager/secret:Secret",
        "aws:sfn/stateMachine:StateMachine",
    }
)
"""Types that take tags and that a lab makes."""


def _tags(resource: Resource) -> Iterator[str]:
    if resource.type not in TAGGED:
        return
    tags: dict[str, Any] = dict(resource.provider_tags)
    for property_ in ("tagsAll", "tags"):
        value = resource.props.get(property_)
        if value is UNKNOWN:
            return
        tags.update(value or {})
    missing = [tag for tag in REQUIRED_TAGS if not tags.get(tag)]
    if missing:
        yield f"it lacks the tags {', '.join(missing)}; use contracts.tags.resource_tags"


TAGS_COMPLETE = Rule(
    name="tags-complete",
    description="Every resource in an account says which lab and stack it belongs to.",
    check=_tags,
)

# --- what is kept, and where -------------------------------------------------------------------

_KEPT_PREFIXES = (
    "aws:rds/",
    "aws:s3/bucket",
    "aws:kms/key:",
    "aws:secretsmanager/",
    "aws:dynamodb/table:",
    "aws:efs/",
    "aws:iam/user:",
    "aws:iam/accessKey:",
    "kubernetes:core/v1:PersistentVolumeClaim",
    "kubernetes:core/v1:PersistentVolume",
    "random:index/randomPassword:",
    "random:index/randomBytes:",
    "tls:index/privateKey:",
)
_KEPT_DYNAMIC = frozenset(
    f"pulumi-python:dynamic/lab:{name}"
    for name in ("AuroraDatabases", "Databases", "ExternalServers", "ObjectStore", "Pki", "RsaKeyPair")
)


def is_kept(resource: Resource) -> bool:
    """Whether a resource holds what ``lab down`` must leave: data, keys, passwords."""
    if resource.type == "kubernetes:apps/v1:StatefulSet":
        # Its claims are the cluster's and outlive it unless it says otherwise.
        policy = resource.get("spec.persistentVolumeClaimRetentionPolicy.whenDeleted")
        return bool(resource.get("spec.volumeClaimTemplates")) and policy == "Delete"
    return resource.type in _KEPT_DYNAMIC or resource.type.startswith(_KEPT_PREFIXES)


def _in_lab(resource: Resource) -> Iterator[str]:
    if resource.role == "lab" and is_kept(resource):
        yield (
            f"{resource.type} is kept data or a key, and lab down would remove it; "
            "make it in the persistent stack"
        )


LAB_KEEPS_NOTHING = Rule(
    name="lab-keeps-nothing",
    description="The lab stack can be destroyed at any time: data, keys and passwords are never in it.",
    check=_in_lab,
)

PROTECTED = frozenset(
    {
        "aws:rds/cluster:Cluster",
        "aws:rds/instance:Instance",
        "aws:s3/bucket:Bucket",
        "aws:s3/bucketV2:BucketV2",
        "aws:kms/key:Key",
    }
)
"""Types whose loss loses data; the engine itself must refuse to delete them."""

_MIN_KEY_WINDOW_DAYS = 7
_DATABASES = ("aws:rds/cluster:Cluster", "aws:rds/instance:Instance")


def _deletion(resource: Resource) -> Iterator[str]:
    if not resource.throw_away:
        yield from _unprotected(resource)
    # What a mistake can be undone with holds for a throw-away lab, too.
    if resource.type in _DATABASES and is_true(resource.props.get("skipFinalSnapshot")):
        yield "it would be deleted without a last snapshot; set skipFinalSnapshot to false"
    window = resource.props.get("deletionWindowInDays")
    if (
        resource.type == "aws:kms/key:Key"
        and isinstance(window, int | float)
        and window < _MIN_KEY_WINDOW_DAYS
    ):
        yield f"it is gone {window:g} days after its deletion; set deletionWindowInDays to 7 at least"


def _unprotected(resource: Resource) -> Iterator[str]:
    if resource.type in PROTECTED and not resource.protect:
        yield "the engine may delete it; set protect in its options"
    if resource.type in _DATABASES and not on_or_unknown(resource.props.get("deletionProtection")):
        yield "it may be deleted; set deletionProtection to true"
    if resource.type in BUCKETS and is_true(resource.props.get("forceDestroy")):
        yield "it may be deleted with what it holds; set forceDestroy to false"


DELETION_PROTECTION = Rule(
    name="deletion-protection",
    description="What is kept can't be deleted by one command, except in labs that the pack's configuration "
    f"names as {THROW_AWAY}.",
    check=_deletion,
    settings={
        THROW_AWAY: {"type": "array", "items": {"type": "string"}, "default": []},
    },
)
