"""The test plugin for AWS refuses what the SDK's own types refuse; else it would prove nothing."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.values import UNKNOWN
from tests.moto_aws.arguments import arguments, failures
from tests.moto_aws.bucket_types import Bucket

BUCKET = "aws:s3/bucket:Bucket"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"


@pytest.mark.parametrize(
    ("token", "inputs", "said"),
    [
        (BUCKET, {"forceDestroy": "yes"}, "bool, not 'yes'"),
        (BUCKET, {"bucket": 7}, "str, not 7"),
        (BUCKET, {"tags": ["a"]}, "a mapping"),
        (BUCKET, {"tags": {"a": 1}}, "str, not 1"),
        (VERSIONING, {"versioningConfiguration": {"state": "Enabled"}}, "has no 'state'"),
        (VERSIONING, {"versioningConfiguration": {}}, "needs 'status'"),
        (VERSIONING, {"versioningConfiguration": "Enabled"}, "an object"),
        (LIFECYCLE, {"rules": {"id": "a"}}, "a list"),
        (LIFECYCLE, {"rules": [{"id": "a", "status": True}]}, "status: str, not True"),
    ],
)
def test_what_the_sdk_does_not_know_is_refused(token: str, inputs: dict[str, Any], said: str) -> None:
    (why,) = failures(token, inputs).values()
    assert said in why


def test_what_it_knows_is_taken_and_what_is_not_known_yet_too() -> None:
    assert not failures(BUCKET, {"bucket": "a", "forceDestroy": True, "tags": {"a": "b"}})
    assert not failures(VERSIONING, {"bucket": UNKNOWN, "versioningConfiguration": {"status": UNKNOWN}})
    rule = {"id": "a", "status": "Enabled", "noncurrentVersionExpiration": {"noncurrentDays": 3}}
    assert not failures(LIFECYCLE, {"bucket": "b", "rules": [rule]})


def test_names_and_what_is_required_come_from_the_sdk() -> None:
    kind = Bucket.load()
    _, strange = kind.check({"buckets": "a"}, "name")
    assert "has no input 'buckets'" in strange["buckets"]
    assert arguments(VERSIONING)["bucket"].required
    assert not arguments(BUCKET)["bucket"].required
