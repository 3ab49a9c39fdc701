"""S3."""

from __future__ import annotations

from typing import Any

from plugins.values import Props
from tests.moto_aws.types import MotoType, World, as_declared, mapping, pairs


class Bucket(MotoType):
    token = "aws:s3/bucket:Bucket"
    replaces = frozenset({"bucket"})

    def make(self, world: World, inputs: Props) -> str:
        world.client("s3").create_bucket(
            Bucket=inputs["bucket"], CreateBucketConfiguration={"LocationConstraint": world.region}
        )
        self.change(world, inputs["bucket"], inputs)
        return str(inputs["bucket"])

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        s3 = world.client("s3")
        s3.head_bucket(Bucket=ident)
        return {
            "arn": f"arn:aws:s3:::{ident}",
            "tags": mapping(s3.get_bucket_tagging(Bucket=ident)["TagSet"]),
        }

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("s3").put_bucket_tagging(Bucket=ident, Tagging={"TagSet": pairs(declared["tags"])})

    def remove(self, world: World, ident: str, props: Props) -> None:
        s3 = world.client("s3")
        if props.get("forceDestroy"):
            held = s3.list_object_versions(Bucket=ident)
            for version in [*held.get("Versions", []), *held.get("DeleteMarkers", [])]:
                s3.delete_object(Bucket=ident, Key=version["Key"], VersionId=version["VersionId"])
        s3.delete_bucket(Bucket=ident)


class _OfBucket(MotoType):
    """One side of a bucket: put, got and deleted as a whole; its id is the bucket's name."""

    outputs = ()
    replaces = frozenset({"bucket"})

    def make(self, world: World, inputs: Props) -> str:
        self.change(world, inputs["bucket"], inputs)
        return str(inputs["bucket"])


class PublicAccessBlock(_OfBucket):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    _FLAGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("s3").get_public_access_block(Bucket=ident)["PublicAccessBlockConfiguration"]
        return {flag: found[_upper(flag)] for flag in self._FLAGS}

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("s3").put_public_access_block(
            Bucket=ident,
            PublicAccessBlockConfiguration={_upper(flag): declared[flag] for flag in self._FLAGS},
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("s3").delete_public_access_block(Bucket=ident)


class OwnershipControls(_OfBucket):
    token = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("s3").get_bucket_ownership_controls(Bucket=ident)["OwnershipControls"]
        return {"rule": {"objectOwnership": found["Rules"][0]["ObjectOwnership"]}}

    def change(self, world: World, ident: str, declared: Props) -> None:
        rule = {"ObjectOwnership": declared["rule"]["objectOwnership"]}
        world.client("s3").put_bucket_ownership_controls(Bucket=ident, OwnershipControls={"Rules": [rule]})

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("s3").delete_bucket_ownership_controls(Bucket=ident)


class Encryption(_OfBucket):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("s3").get_bucket_encryption(Bucket=ident)["ServerSideEncryptionConfiguration"]
        (rule,) = found["Rules"]
        default = rule["ApplyServerSideEncryptionByDefault"]
        seen: Props = {"sseAlgorithm": default["SSEAlgorithm"]}
        if default.get("KMSMasterKeyID"):
            seen["kmsMasterKeyId"] = default["KMSMasterKeyID"]
        made: Props = {"applyServerSideEncryptionByDefault": seen}
        if rule.get("BucketKeyEnabled"):
            made["bucketKeyEnabled"] = True
        return {"rules": [made]}

    def change(self, world: World, ident: str, declared: Props) -> None:
        (given,) = declared["rules"]
        default = given["applyServerSideEncryptionByDefault"]
        rule: dict[str, Any] = {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": default["sseAlgorithm"],
                **({"KMSMasterKeyID": default["kmsMasterKeyId"]} if default.get("kmsMasterKeyId") else {}),
            },
            "BucketKeyEnabled": bool(given.get("bucketKeyEnabled")),
        }
        world.client("s3").put_bucket_encryption(
            Bucket=ident, ServerSideEncryptionConfiguration={"Rules": [rule]}
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("s3").delete_bucket_encryption(Bucket=ident)


class Versioning(_OfBucket):
    token = "aws:s3/bucketVersioning:BucketVersioning"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("s3").get_bucket_versioning(Bucket=ident)
        return {"versioningConfiguration": {"status": found.get("Status", "Disabled")}}

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("s3").put_bucket_versioning(
            Bucket=ident,
            VersioningConfiguration={"Status": declared["versioningConfiguration"]["status"]},
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("s3").put_bucket_versioning(
            Bucket=ident, VersioningConfiguration={"Status": "Suspended"}
        )


class Lifecycle(_OfBucket):
    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("s3").get_bucket_lifecycle_configuration(Bucket=ident)["Rules"]
        return {"rules": [_rule_seen(rule) for rule in found]}

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("s3").put_bucket_lifecycle_configuration(
            Bucket=ident, LifecycleConfiguration={"Rules": [_rule(rule) for rule in declared["rules"]]}
        )

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("s3").delete_bucket_lifecycle(Bucket=ident)


class Policy(_OfBucket):
    token = "aws:s3/bucketPolicy:BucketPolicy"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("s3").get_bucket_policy(Bucket=ident)["Policy"]
        return {"policy": as_declared(props.get("policy"), found)}

    def change(self, world: World, ident: str, declared: Props) -> None:
        world.client("s3").put_bucket_policy(Bucket=ident, Policy=declared["policy"])

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("s3").delete_bucket_policy(Bucket=ident)


class Logging(_OfBucket):
    token = "aws:s3/bucketLogging:BucketLogging"

    def look(self, world: World, ident: str, props: Props) -> Props | None:
        found = world.client("s3").get_bucket_logging(Bucket=ident).get("LoggingEnabled")
        if found is None:
            return None
        return {"targetBucket": found["TargetBucket"], "targetPrefix": found["TargetPrefix"]}

    def change(self, world: World, ident: str, declared: Props) -> None:
        enabled = {"TargetBucket": declared["targetBucket"], "TargetPrefix": declared["targetPrefix"]}
        world.client("s3").put_bucket_logging(Bucket=ident, BucketLoggingStatus={"LoggingEnabled": enabled})

    def remove(self, world: World, ident: str, props: Props) -> None:
        world.client("s3").put_bucket_logging(Bucket=ident, BucketLoggingStatus={})


_NONCURRENT = ("noncurrentVersionExpiration", "NoncurrentVersionExpiration", "noncurrentDays")
_UPLOADS = ("abortIncompleteMultipartUpload", "AbortIncompleteMultipartUpload", "daysAfterInitiation")
_EXPIRATION = ("expiration", "Expiration", "days")
_ACTIONS = (_NONCURRENT, _UPLOADS, _EXPIRATION)


def _rule(declared: Props) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ID": declared["id"],
        "Status": declared["status"],
        "Filter": {"Prefix": declared["filter"]["prefix"]},
    }
    for here, there, days in _ACTIONS:
        if here in declared:
            made[there] = {_upper(days): declared[here][days]}
    return made


def _rule_seen(found: dict[str, Any]) -> Props:
    made: Props = {
        "id": found["ID"],
        "status": found["Status"],
        "filter": {"prefix": found.get("Filter", {}).get("Prefix", "")},
    }
    for here, there, days in _ACTIONS:
        if there in found:
            made[here] = {days: found[there][_upper(days)]}
    return made


def _upper(name: str) -> str:
    return name[0].upper() + name[1:]


TYPES: tuple[type[MotoType], ...] = (
    *(Bucket, PublicAccessBlock, OwnershipControls, Encryption, Versioning, Lifecycle, Policy, Logging),
)
