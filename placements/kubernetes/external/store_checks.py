"""Whether an external S3 store can carry a lab: buckets, rights, and sessions that are really narrowed.

The catalog gives engines credentials that open one table. Where a store takes no notice of a session's own
policy such credentials open every table, and no rule on a table holds: such a store is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import PreflightError

_ROLE_ARN = "arn:aws:iam::000000000000:role/lakehouse"
"""What stores other than AWS' take any text for."""

_DENIED = (401, 403)
_SESSION_S = 900


def check(store: Mapping[str, Any]) -> None:
    """Does what the lab's services will do with each user's keys, and removes what it wrote.

    Raises:
        PreflightError: the store can't be reached, lacks a bucket or a right, or does not narrow sessions.
    """
    catalog, governor, opa = (_client("s3", store, store["keys"][u]) for u in ("catalog", "governor", "opa"))
    bucket, policy_bucket = str(store["bucket"]), str(store["policy_bucket"])
    probe = f"{store['prefix']}/.lakehouse-lab"
    for client, user, name in ((catalog, "catalog", bucket), (governor, "governor", policy_bucket)):
        with _explained(store, f"{user} can't list bucket {name!r}"):
            client.list_objects_v2(Bucket=name, MaxKeys=1)
    with _explained(store, f"catalog can't write and delete in bucket {bucket!r}"):
        for name in ("inside", "outside"):
            catalog.put_object(Bucket=bucket, Key=f"{probe}/{name}/probe", Body=b"lab")
    try:
        _check_sessions(store, bucket, probe)
    finally:
        with _explained(store, f"catalog can't write and delete in bucket {bucket!r}"):
            for name in ("inside", "outside"):
                catalog.delete_object(Bucket=bucket, Key=f"{probe}/{name}/probe")
    with _explained(store, f"governor can't write in bucket {policy_bucket!r}"):
        governor.put_object(Bucket=policy_bucket, Key="bundles/.lakehouse-lab", Body=b"lab")
    with _explained(store, f"opa can't read in bucket {policy_bucket!r}"):
        opa.get_object(Bucket=policy_bucket, Key="bundles/.lakehouse-lab")["Body"].read()


def _check_sessions(store: Mapping[str, Any], bucket: str, probe: str) -> None:
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject"],
                "Resource": [f"arn:aws:s3:::{bucket}/{probe}/inside/*"],
            }
        ],
    }
    with _explained(store, "catalog can't obtain a session by STS AssumeRole"):
        answer = _client("sts", store, store["keys"]["catalog"]).assume_role(
            RoleArn=_ROLE_ARN,
            RoleSessionName="lakehouse-lab-check",
            Policy=json.dumps(policy),
            DurationSeconds=_SESSION_S,
        )
    given = answer["Credentials"]
    session = _client(
        "s3", store, (given["AccessKeyId"], given["SecretAccessKey"]), token=given["SessionToken"]
    )
    with _explained(store, "a session can't read what its policy allows"):
        session.get_object(Bucket=bucket, Key=f"{probe}/inside/probe")["Body"].read()
    outside = {"Bucket": bucket, "Key": f"{probe}/outside/probe"}
    _expect_denied(store, "reads", lambda: session.get_object(**outside))
    inside = {"Bucket": bucket, "Key": f"{probe}/inside/probe"}
    _expect_denied(store, "writes", lambda: session.put_object(**inside, Body=b"x"))


def _expect_denied(store: Mapping[str, Any], what: str, request: Callable[[], Any]) -> None:
    try:
        request()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in _DENIED:
            return
        raise
    raise PreflightError(
        f"the S3 store does not enforce session policies: a session {what} what its policy does not allow, "
        "so that credentials for one table would open every table",
        value=store["endpoint_url"],
        permitted="a store whose STS narrows a session to the policy that it is asked for with",
    )


def _client(service: str, store: Mapping[str, Any], keys: Any, *, token: str | None = None) -> Any:
    style = "path" if store["path_style"] else "virtual"
    return boto3.client(
        service,
        endpoint_url=str(store["endpoint_url"]),
        region_name=str(store["region"]),
        aws_access_key_id=str(keys[0]),
        aws_secret_access_key=str(keys[1]),
        aws_session_token=token,
        config=Config(
            connect_timeout=10,
            read_timeout=20,
            retries={"total_max_attempts": 2},
            s3={"addressing_style": style},
            request_checksum_calculation="when_required",
        ),
    )


@contextmanager
def _explained(store: Mapping[str, Any], what: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise PreflightError(
            f"{what}: {error}",
            value=store["endpoint_url"],
            permitted="existing buckets, and the rights of docs/guides/on-your-own-cluster.md",
            next_command="pulumi config set --secret objectStoreKeys JSON",
        ) from error
