"""A Pulumi program: resources of a cloud by type and inputs alone, as components, which need no provider.

Its configuration says what is wrong with them; run by the engine in ``test_guardrails.py``.
"""

from __future__ import annotations

import json
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

from contracts.settings import Role
from contracts.tags import resource_tags

wrong = pulumi.Config().get("wrong") or ""
TAGS = resource_tags("lab", Role.PERSISTENT)


class Named(ResourceProvider):
    """Something whose name is not known before it is made."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_="named", outs={"arn": "arn:aws:s3:::lake"})


class Made(Resource, module="test", name="Made"):
    arn: pulumi.Output[str]

    def __init__(self, name: str) -> None:
        super().__init__(Named(), name, {"arn": None})


def declare(kind: str, name: str, protect: bool = False, **inputs: Any) -> None:
    made = pulumi.ComponentResource(kind, name, inputs, pulumi.ResourceOptions(protect=protect))
    # Of a whole stack the engine tells what its resources came to, which a provider answers with more.
    made.register_outputs(inputs)


made = Made("made")
statement = {"Effect": "Allow", "Action": "*" if wrong == "iam" else "s3:GetObject"}
declare(
    "aws:rds/cluster:Cluster",
    "database",
    protect=wrong != "protect",
    storageEncrypted=wrong != "encryption",
    kmsKeyId=made.arn,
    deletionProtection=True,
    skipFinalSnapshot=False,
    masterPassword=pulumi.Output.secret("a password"),
    tags={} if wrong == "tags" else TAGS,
)
declare(
    "aws:iam/policy:Policy",
    "rights",
    # Known only once the bucket is there.
    policy=made.arn.apply(lambda arn: json.dumps({"Statement": [{**statement, "Resource": arn}]})),
    tags=TAGS,
)
declare("aws:s3/bucket:Bucket", "lake", protect=True, bucket="lake", forceDestroy=False, tags=TAGS)
flags = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
if wrong != "bucket":
    declare(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "block",
        bucket="lake",
        **dict.fromkeys(flags, True),
    )
declare(
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "keys",
    bucket="lake",
    rules=[{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}],
)
declare(
    "aws:s3/bucketPolicy:BucketPolicy",
    "tls",
    bucket="lake",
    policy=json.dumps(
        {
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": "*",
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ]
        }
    ),
)
