"""The buckets, users and policies of one lab in the S3 store: what makes them and what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import urllib3
from minio import Minio, MinioAdmin
from minio.commonconfig import ENABLED, Filter
from minio.credentials.providers import StaticProvider
from minio.error import MinioException
from minio.lifecycleconfig import LifecycleConfig, NoncurrentVersionExpiration, Rule
from minio.versioningconfig import VersioningConfig

from contracts.errors import LabError

OLD_VERSIONS_DAYS = 14
"""How long a replaced or deleted object of a versioned bucket can be brought back."""


def converge(props: Mapping[str, Any]) -> None:
    """Makes the buckets that are missing, applies versioning, users, secret keys and policies.

    ``buckets`` maps a bucket to ``versioned`` or ``plain``, ``users`` an access key to its policy as
    JSON, ``secret_keys`` an access key to its secret key. A user's policy has the user's name.

    Raises:
        LabError: the store can't be reached or refuses.
    """
    with _errors(props):
        client, admin = _clients(props, retries=3)
        for bucket, kind in props["buckets"].items():
            _bucket(client, str(bucket), versioned=kind == "versioned")
        for user, policy in props["users"].items():
            admin.user_add(access_key=str(user), secret_key=str(props["secret_keys"][user]))
            admin.policy_add(policy_name=str(user), policy=json.loads(policy))
            admin.policy_set(policy_name=str(user), user=str(user))


def _bucket(client: Minio, bucket: str, *, versioned: bool) -> None:
    if not client.bucket_exists(bucket_name=bucket):
        client.make_bucket(bucket_name=bucket)
    if versioned:
        client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(status=ENABLED))
        rule = Rule(
            status=ENABLED,
            rule_id="old-versions",
            rule_filter=Filter(prefix=""),
            noncurrent_version_expiration=NoncurrentVersionExpiration(noncurrent_days=OLD_VERSIONS_DAYS),
        )
        client.set_bucket_lifecycle(bucket_name=bucket, config=LifecycleConfig(rules=[rule]))


def _clients(props: Mapping[str, Any], *, retries: int) -> tuple[Minio, MinioAdmin]:
    endpoint = str(props["endpoint"])
    # A pool of our own: no proxy of the environment, and short times, since this is the loopback.
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=5.0, read=60.0),
        retries=urllib3.Retry(total=retries, backoff_factor=0.2),
    )
    credentials = StaticProvider(str(props["root_user"]), str(props["root_password"]))
    region = str(props["region"])
    return (
        Minio(endpoint=endpoint, credentials=credentials, secure=False, region=region, http_client=pool),
        MinioAdmin(endpoint=endpoint, credentials=credentials, secure=False, region=region, http_client=pool),
    )


@contextmanager
def _errors(props: Mapping[str, Any]) -> Iterator[None]:
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise LabError(
            f"the S3 store on {props['endpoint']} refuses: {error}", next_command="lab logs s3"
        ) from error


def missing(props: Mapping[str, Any]) -> list[str]:
    """Buckets and users that are not there; none when the store can't be asked."""
    try:
        with _errors(props):
            client, admin = _clients(props, retries=0)
            buckets = [b for b in props["buckets"] if not client.bucket_exists(bucket_name=b)]
            users = json.loads(admin.user_list())
    except LabError:
        return []
    return [*buckets, *(user for user in props["users"] if user not in users)]
