"""Each guardrail lets through what is right and stops what is not, with words that say what to do."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pulumi._types import input_type_py_to_pulumi_names

from contracts.settings import Role
from contracts.tags import REQUIRED_TAGS, resource_tags
from policies.guardrails.model import UNKNOWN, Resource, Rule, statements
from policies.guardrails.rules import RULES

BY_NAME = {rule.name: rule for rule in RULES}
ALL_BLOCKED: dict[str, Any] = {
    "blockPublicAcls": True,
    "blockPublicPolicy": True,
    "ignorePublicAcls": True,
    "restrictPublicBuckets": True,
}
TAGS = resource_tags("team-a", Role.PERSISTENT)
GITHUB = "token.actions.githubusercontent.com"
TLS_ONLY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": "*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


def document(*given: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(given)})


def allow(**statement: Any) -> str:
    return document({"Effect": "Allow", **statement})


def one(kind: str, role: str = "persistent", protect: bool = False, **props: Any) -> tuple[Resource, ...]:
    return (Resource(type=kind, name="it", urn="it", props=props, role=role, protect=protect),)


def thrown_away(kind: str, **props: Any) -> tuple[Resource, ...]:
    return tuple(replace(resource, throw_away=True) for resource in one(kind, **props))


BUCKET, BLOCK = "aws:s3/bucket:Bucket", "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
POLICY, ROLE = "aws:iam/policy:Policy", "aws:iam/role:Role"
CLUSTER, EKS = "aws:rds/cluster:Cluster", "aws:eks/cluster:Cluster"
SERVICE, GROUP = "kubernetes:core/v1:Service", "aws:ec2/securityGroup:SecurityGroup"
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
CLAIMS: dict[str, Any] = {"volumeClaimTemplates": [{}]}
LOST = {**CLAIMS, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}


def companion(kind: str, **props: Any) -> Resource:
    """A resource about the bucket ``it``, whose name is not known before it is made."""
    return Resource(
        type=kind,
        name="other",
        urn="other",
        props={"bucket": UNKNOWN, **props},
        refers_to={"bucket": ["it"]},
    )


def kms(algorithm: str) -> list[dict[str, Any]]:
    return [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": algorithm}}]


def trusted(*subjects: str) -> str:
    condition = {"StringLike": {f"{GITHUB}:sub": list(subjects)}} if subjects else {}
    provider = {"Federated": f"arn:aws:iam::1:oidc-provider/{GITHUB}"}
    return allow(Action="sts:AssumeRoleWithWebIdentity", Principal=provider, Condition=condition)


GOOD: Sequence[tuple[str, tuple[Resource, ...]]] = (
    ("no-public-bucket", (*one(BUCKET), companion(BLOCK, **ALL_BLOCKED))),
    ("no-public-bucket", (*one(BUCKET, bucket="lake"), *one(BLOCK, bucket="lake", **ALL_BLOCKED))),
    ("no-public-bucket", one(BUCKET_POLICY, policy=UNKNOWN)),
    ("no-public-bucket", one(BUCKET_POLICY, policy=document(TLS_ONLY))),
    ("no-public-database", one("aws:rds/clusterInstance:ClusterInstance", publiclyAccessible=False)),
    ("no-public-database", one("aws:rds/clusterInstance:ClusterInstance")),
    ("no-public-endpoint", one(EKS, vpcConfig={"endpointPublicAccess": False})),
    (
        "no-public-endpoint",
        one(EKS, vpcConfig={"endpointPublicAccess": True, "publicAccessCidrs": ["192.0.2.0/24"]}),
    ),
    ("no-public-endpoint", one(GROUP, ingress=[{"cidrBlocks": ["10.0.0.0/16"]}])),
    ("no-public-endpoint", one(SERVICE, spec={"type": "ClusterIP"})),
    (
        "no-public-endpoint",
        one(SERVICE, spec={"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]}),
    ),
    (
        "no-public-endpoint",
        one(
            SERVICE,
            spec={"type": "LoadBalancer"},
            metadata={"annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"}},
        ),
    ),
    ("encrypted", one(CLUSTER, storageEncrypted=True, kmsKeyId=UNKNOWN)),
    ("encrypted", one(EKS, encryptionConfig={"resources": ["secrets"]})),
    (
        "encrypted",
        (
            *one(BUCKET),
            companion(ENCRYPTION, rules=kms("aws:kms")),
            companion(BUCKET_POLICY, policy=document(TLS_ONLY)),
        ),
    ),
    ("tags-complete", one(BUCKET, tags=TAGS)),
    ("tags-complete", one(BUCKET, tags=UNKNOWN)),
    ("tags-complete", (Resource(type=BUCKET, name="it", provider_tags=TAGS),)),
    ("lab-keeps-nothing", one(CLUSTER, role="persistent")),
    ("lab-keeps-nothing", one("kubernetes:apps/v1:StatefulSet", role="lab", spec=CLAIMS)),
    ("lab-keeps-nothing", one("pulumi-python:dynamic/lab:Process", role="lab")),
    ("no-wildcard-iam", one(POLICY, policy=allow(Action="s3:GetObject", Resource="arn:aws:s3:::lake/*"))),
    ("no-wildcard-iam", one(POLICY, policy=allow(Action=["ec2:DescribeSubnets"], Resource="*"))),
    ("no-wildcard-iam", one(ROLE, assumeRolePolicy=trusted("repo:acme/lab:environment:production"))),
    ("no-wildcard-iam", one("kubernetes:rbac.authorization.k8s.io/v1:Role", rules=[{"verbs": ["get"]}])),
    ("deletion-protection", one(CLUSTER, protect=True, deletionProtection=True, skipFinalSnapshot=False)),
    ("deletion-protection", one(BUCKET, protect=True, forceDestroy=False)),
    ("deletion-protection", one("aws:kms/key:Key", protect=True, deletionWindowInDays=30)),
    ("deletion-protection", thrown_away(BUCKET, forceDestroy=True)),
    ("deletion-protection", thrown_away(CLUSTER, deletionProtection=False, skipFinalSnapshot=False)),
)

BAD: Sequence[tuple[str, tuple[Resource, ...], str]] = (
    ("no-public-bucket", one(BUCKET), "no public-access block"),
    ("no-public-bucket", one(BLOCK, **{**ALL_BLOCKED, "ignorePublicAcls": False}), "ignorePublicAcls must"),
    ("no-public-bucket", one(BLOCK), "blockPublicAcls, blockPublicPolicy"),
    ("no-public-bucket", one("aws:s3/bucketAcl:BucketAcl", acl="public-read"), "ACL is 'public-read'"),
    ("no-public-bucket", one(BUCKET_POLICY, policy=allow(Principal="*", Action="s3:GetObject")), "everybody"),
    (
        "no-public-bucket",
        one(BUCKET_POLICY, policy=allow(Principal={"AWS": ["*"]}, Action="s3:GetObject")),
        "everybody",
    ),
    ("no-public-bucket", one(BUCKET_POLICY, policy="{"), "can't be read"),
    ("no-public-database", one("aws:rds/instance:Instance", publiclyAccessible=True), "publicly accessible"),
    (
        "no-public-database",
        one("aws:rds/clusterInstance:ClusterInstance", publiclyAccessible="true"),
        "public",
    ),
    ("no-public-endpoint", one(EKS), "public for every address"),
    (
        "no-public-endpoint",
        one(EKS, vpcConfig={"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]}),
        "public for every address",
    ),
    ("no-public-endpoint", one(GROUP, ingress=[{"ipv6CidrBlocks": ["::/0"]}]), "every address"),
    (
        "no-public-endpoint",
        one("aws:ec2/securityGroupRule:SecurityGroupRule", type="ingress", cidrBlocks=["0.0.0.0/0"]),
        "every address",
    ),
    (
        "no-public-endpoint",
        one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", cidrIpv4="0.0.0.0/0"),
        "every address",
    ),
    ("no-public-endpoint", one("aws:lambda/functionUrl:FunctionUrl", authorizationType="NONE"), "AWS_IAM"),
    ("no-public-endpoint", one(SERVICE, spec={"type": "LoadBalancer"}), "takes every address"),
    ("no-public-endpoint", one(SERVICE, spec={"type": "NodePort"}), "a port on every node"),
    ("encrypted", one(CLUSTER, kmsKeyId="k"), "set storageEncrypted"),
    ("encrypted", one(CLUSTER, storageEncrypted=True), "set kmsKeyId"),
    ("encrypted", one("aws:ebs/volume:Volume", encrypted=False), "set encrypted"),
    ("encrypted", one(EKS), "set encryptionConfig"),
    ("encrypted", one(ENCRYPTION, rules=kms("AES256")), "key of KMS"),
    ("encrypted", one(BUCKET_POLICY, policy=document()), "without TLS"),
    ("encrypted", (*one(BUCKET), companion(BUCKET_POLICY, policy=document(TLS_ONLY))), "EncryptionConfig"),
    ("encrypted", (*one(BUCKET), companion(ENCRYPTION, rules=kms("aws:kms"))), "add a BucketPolicy"),
    (
        "encrypted",
        one("aws:ec2/launchTemplate:LaunchTemplate", blockDeviceMappings=[{"ebs": {"volumeSize": 20}}]),
        "ebs.encrypted",
    ),
    ("encrypted", one("aws:sqs/queue:Queue"), "sqsManagedSseEnabled"),
    ("tags-complete", one(BUCKET), "Project, Lab, Stack"),
    ("tags-complete", one(BUCKET, tags={**TAGS, "Lab": ""}), "lacks the tags Lab"),
    ("lab-keeps-nothing", one(CLUSTER, role="lab"), "make it in the persistent stack"),
    ("lab-keeps-nothing", one(BUCKET, role="lab"), "kept data"),
    ("lab-keeps-nothing", one("random:index/randomPassword:RandomPassword", role="lab"), "a key"),
    ("lab-keeps-nothing", one("kubernetes:apps/v1:StatefulSet", role="lab", spec=LOST), "kept data"),
    ("lab-keeps-nothing", one("pulumi-python:dynamic/lab:Databases", role="lab"), "kept data"),
    ("no-wildcard-iam", one(POLICY, policy=allow(Action="*", Resource="a")), "action '\\*'"),
    ("no-wildcard-iam", one(POLICY, policy=allow(Action=["s3:*"], Resource="a")), "action 's3:\\*'"),
    ("no-wildcard-iam", one(POLICY, policy=allow(Action="s3:PutObject", Resource="*")), "every resource"),
    ("no-wildcard-iam", one(POLICY, policy=allow(NotAction="iam:PassRole", Resource="a")), "NotAction"),
    ("no-wildcard-iam", one(POLICY, policy="[]"), "can't be read"),
    (
        "no-wildcard-iam",
        one(ROLE, inlinePolicies=[{"policy": allow(Action="ec2:*", Resource="a")}]),
        "action 'ec2:\\*'",
    ),
    (
        "no-wildcard-iam",
        one(ROLE, managedPolicyArns=["arn:aws:iam::aws:policy/AdministratorAccess"]),
        "Admin",
    ),
    ("no-wildcard-iam", one(ROLE, assumeRolePolicy=allow(Principal="*", Action="sts:AssumeRole")), "anybody"),
    ("no-wildcard-iam", one(ROLE, assumeRolePolicy=trusted()), "every repository"),
    ("no-wildcard-iam", one(ROLE, assumeRolePolicy=trusted("repo:acme/*:*")), "every repository"),
    (
        "no-wildcard-iam",
        one("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", rules=[{"verbs": ["*"]}]),
        "verbs are '\\*'",
    ),
    ("deletion-protection", one(BUCKET), "set protect"),
    ("deletion-protection", one(BUCKET, protect=True, forceDestroy=True), "forceDestroy"),
    ("deletion-protection", one(CLUSTER, protect=True), "deletionProtection"),
    ("deletion-protection", thrown_away(CLUSTER, skipFinalSnapshot=True), "last snapshot"),
    (
        "deletion-protection",
        one(CLUSTER, protect=True, deletionProtection=True, skipFinalSnapshot=True),
        "last snapshot",
    ),
    ("deletion-protection", one("aws:kms/key:Key", protect=True, deletionWindowInDays=1), "gone 1 days"),
)


def findings(rule: Rule, resources: Sequence[Resource]) -> list[str]:
    found = [text for resource in resources for text in (rule.check(resource) if rule.check else ())]
    return [*found, *(one.text for one in (rule.check_stack(resources) if rule.check_stack else ()))]


@pytest.mark.parametrize(("rule", "resources"), GOOD)
def test_what_is_right_passes(rule: str, resources: Sequence[Resource]) -> None:
    assert findings(BY_NAME[rule], resources) == []


@pytest.mark.parametrize(("rule", "resources", "said"), BAD)
def test_what_is_not_is_stopped_with_words(rule: str, resources: Sequence[Resource], said: str) -> None:
    found = findings(BY_NAME[rule], resources)
    assert any(re.search(said, text) for text in found), found


def test_every_rule_has_both_kinds_of_examples() -> None:
    assert {rule for rule, _ in GOOD} == {rule for rule, _, _ in BAD} == BY_NAME.keys()


def test_what_is_not_known_yet_is_not_judged() -> None:
    document_unknown = Resource(type=POLICY, name="it", props={"policy": UNKNOWN})
    assert findings(BY_NAME["no-wildcard-iam"], [document_unknown]) == []
    assert list(statements(UNKNOWN)) == []


def test_required_tags_are_those_that_a_resource_gets() -> None:
    assert set(REQUIRED_TAGS) == resource_tags("lab", Role.LAB).keys()


# A rule about a property that the provider calls otherwise would never find anything.
PROPERTIES = {
    ("s3", "BucketPublicAccessBlockArgs"): ("bucket", *ALL_BLOCKED),
    ("s3", "BucketArgs"): ("bucket", "acl", "policy", "website", "forceDestroy", "tags"),
    ("s3", "BucketPolicyArgs"): ("bucket", "policy"),
    ("s3", "BucketServerSideEncryptionConfigurationInitArgs"): ("bucket", "rules"),
    ("rds", "ClusterArgs"): (
        "storageEncrypted",
        "kmsKeyId",
        "deletionProtection",
        "skipFinalSnapshot",
        "tags",
    ),
    ("rds", "ClusterInstanceArgs"): ("publiclyAccessible", "tags"),
    ("eks", "ClusterArgs"): ("vpcConfig", "encryptionConfig", "tags"),
    ("iam", "RoleArgs"): ("assumeRolePolicy", "inlinePolicies", "managedPolicyArns", "tags"),
    ("kms", "KeyArgs"): ("deletionWindowInDays", "tags"),
}


# The provider's own modules warn of deprecated properties when they are loaded.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("module", "kind"), PROPERTIES, ids=lambda value: str(value))
def test_properties_are_called_as_the_provider_calls_them(module: str, kind: str) -> None:
    # By way of its service: one that is loaded by way of a resource's module lacks that resource for good.
    getattr(importlib.import_module(f"pulumi_aws.{module}"), kind, None)
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in re.sub("(Init)?Args$", "", kind)).lstrip(
        "_"
    )
    loaded = importlib.import_module(f"pulumi_aws.{module}.{name}")
    names = set(input_type_py_to_pulumi_names(getattr(loaded, kind)).values())
    assert set(PROPERTIES[module, kind]) <= names
