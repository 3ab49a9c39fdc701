"""Policy documents of the persistent stack: who may assume a role, and the least that it has to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from placements.aws.naming import Scope

Statement: TypeAlias = dict[str, Any]

_OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


def document(*statements: Statement) -> str:
    """A policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, sort_keys=True)


def allow(actions: Sequence[str], resources: Sequence[str], **condition: Mapping[str, Any]) -> Statement:
    """A statement; ``condition`` maps an operator to keys and values."""
    made: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**made, "Condition": condition} if condition else made


def pod_trust(scope: Scope) -> str:
    """Trust of a workload's role: EKS Pod Identity, for the cluster of the scope's lab."""
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "pods.eks.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {
                "StringEquals": {"aws:SourceAccount": scope.account_id},
                "ArnLike": {"aws:SourceArn": scope.arn("eks", f"cluster/{scope.prefix}")},
            },
        }
    )


def service_trust(service: str) -> str:
    """Trust of a role that one of AWS' services takes."""
    return document({"Effect": "Allow", "Principal": {"Service": service}, "Action": ["sts:AssumeRole"]})


def role_trust(role_arn: str) -> str:
    """Trust of a role that one other role alone may assume."""
    return document(
        {
            "Effect": "Allow",
            "Principal": {"AWS": role_arn},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
        }
    )


def assume(role_arn: str) -> str:
    """The right to assume one role, and no other one."""
    return document(allow(["sts:AssumeRole", "sts:TagSession"], [role_arn]))


def prefix_access(scope: Scope, *, bucket: str, prefix: str, key_arn: str, write: bool = True) -> str:
    """Objects below one prefix of one bucket (``prefix`` empty: all of it)."""
    arn = scope.bucket_arn(bucket)
    below = f"{prefix}/*" if prefix else "*"
    within: dict[str, Any] = {"StringLike": {"s3:prefix": [below, prefix]}} if prefix else {}
    return document(
        allow(_OBJECTS if write else ("s3:GetObject",), [f"{arn}/{below}"]),
        allow(["s3:ListBucket"], [arn], **within),
        allow(["s3:GetBucketLocation"], [arn]),
        allow(
            ["kms:Decrypt", "kms:GenerateDataKey"] if write else ["kms:Decrypt"],
            [key_arn],
            StringEquals={"kms:ViaService": f"s3.{scope.region}.{scope.dns_suffix}"},
        ),
    )


def bucket_policy(scope: Scope, bucket: str) -> str:
    """Nobody reaches the bucket without TLS, nor with a protocol older than 1.2."""
    arn = scope.bucket_arn(bucket)
    refused = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [arn, f"{arn}/*"]}
    return document(
        {"Sid": "TlsOnly", **refused, "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {"Sid": "Tls12", **refused, "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}},
    )


def logs_bucket_policy(scope: Scope, bucket: str, source: str) -> str:
    """As :func:`bucket_policy`, and S3 may deliver the access logs of ``source``."""
    statements: list[Statement] = json.loads(bucket_policy(scope, bucket))["Statement"]
    delivery: Statement = {
        "Sid": "Delivery",
        "Effect": "Allow",
        "Principal": {"Service": "logging.s3.amazonaws.com"},
        "Action": ["s3:PutObject"],
        "Resource": [f"{scope.bucket_arn(bucket)}/*"],
        "Condition": {
            "ArnLike": {"aws:SourceArn": scope.bucket_arn(source)},
            "StringEquals": {"aws:SourceAccount": scope.account_id},
        },
    }
    return document(*statements, delivery)


def key_policy(scope: Scope) -> str:
    """The account's IAM policies decide about the key. Without this statement nobody could ever change it."""
    return document(
        {
            "Sid": "AccountDecides",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{scope.partition}:iam::{scope.account_id}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    )
