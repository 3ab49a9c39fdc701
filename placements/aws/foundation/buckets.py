"""Buckets: encrypted by the lab's key, reached with TLS alone, never public."""

from __future__ import annotations

from typing import Any

import pulumi

from placements.aws import policies
from placements.aws.naming import Scope
from placements.aws.sdk import aws

_ABORT_DAYS = 7
_LOG_DAYS = 90


class Bucket(pulumi.ComponentResource):
    """One bucket with all that belongs to it.

    Args:
        noncurrent_days: how long an overwritten or deleted object can be restored.
        expire_days: how long any object is kept; None for ever.
        key_arn: the key that encrypts it. None: S3's own, as the target of access logs needs.
        policy: the bucket's policy.

    Attributes:
        bucket: its name; resolves once the bucket is private and encrypted.
    """

    def __init__(
        self,
        name: str,
        *,
        scope: Scope,
        bucket: str,
        noncurrent_days: int,
        key_arn: pulumi.Input[str] | None,
        policy: str,
        expire_days: int | None = None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("lab:aws:Bucket", name, None, pulumi.ResourceOptions(parent=opts.parent))
        s3, child = aws().s3, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        made = s3.Bucket(
            name,
            bucket=bucket,
            # A bucket that may be deleted is deleted with what is in it.
            force_destroy=not opts.protect,
            tags={**scope.tags(), "Name": bucket},
            opts=child,
        )
        settled = [
            s3.BucketPublicAccessBlock(
                name,
                bucket=made.id,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
                opts=child,
            ),
            s3.BucketOwnershipControls(
                name, bucket=made.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
            ),
            s3.BucketServerSideEncryptionConfiguration(
                name, bucket=made.id, rules=[_encryption(key_arn)], opts=child
            ),
        ]
        versioning = s3.BucketVersioning(
            name, bucket=made.id, versioning_configuration={"status": "Enabled"}, opts=child
        )
        s3.BucketLifecycleConfiguration(
            name,
            bucket=made.id,
            rules=_lifecycle(noncurrent_days, expire_days),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[versioning])),
        )
        # A policy that S3 would take for a public one is refused once the block is there.
        blocked = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[settled[0]]))
        settled.append(s3.BucketPolicy(name, bucket=made.id, policy=policy, opts=blocked))
        self.resource = made
        self.policy = settled[-1]
        self.bucket: pulumi.Output[str] = pulumi.Output.all(
            made.bucket, *(resource.id for resource in settled)
        ).apply(lambda values: str(values[0]))
        self.register_outputs({"bucket": made.bucket})


def log_requests(
    name: str, *, scope: Scope, lab: str, source: Bucket, source_name: str, opts: pulumi.ResourceOptions
) -> None:
    """Logs the requests to ``source`` into a bucket of their own."""
    target = scope.bucket(lab, "logs")
    logs = Bucket(
        f"{name}-logs",
        scope=scope,
        bucket=target,
        noncurrent_days=1,
        key_arn=None,
        policy=policies.logs_bucket_policy(scope, target, source_name),
        expire_days=_LOG_DAYS,
        opts=opts,
    )
    aws().s3.BucketLogging(
        name,
        bucket=source.resource.id,
        target_bucket=logs.bucket,
        target_prefix="warehouse/",
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(parent=source, depends_on=[logs.policy])
        ),
    )


def _encryption(key_arn: pulumi.Input[str] | None) -> dict[str, Any]:
    if key_arn is None:
        return {"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}
    return {
        "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key_arn},
        # One request to KMS for many objects: a scan reads thousands.
        "bucket_key_enabled": True,
    }


def _lifecycle(noncurrent_days: int, expire_days: int | None) -> list[dict[str, Any]]:
    everything = {"status": "Enabled", "filter": {"prefix": ""}}
    rules: list[dict[str, Any]] = [
        {
            "id": "noncurrent",
            **everything,
            "noncurrent_version_expiration": {"noncurrent_days": noncurrent_days},
        },
        {
            "id": "incomplete-uploads",
            **everything,
            "abort_incomplete_multipart_upload": {"days_after_initiation": _ABORT_DAYS},
        },
    ]
    if expire_days is not None:
        rules.append({"id": "expire", **everything, "expiration": {"days": expire_days}})
    return rules
