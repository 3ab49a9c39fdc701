"""The S3 store of the local foundation: the service and its access policies, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.workload import Layout
from placements.local.plan import with_plan_hash
from placements.local.supervisor import ProbeSpec, ServiceSpec

SERVICE = "s3"
ARTIFACT = "minio"
ROOT_USER = "lab-root"
REGION = "us-east-1"
MEMORY_MIB = 300


def service(layout: Layout, *, root_password: str) -> ServiceSpec:
    """MinIO on the loopback, without its console or any call home
    (https://min.io/docs/minio/linux/reference/minio-server/settings.html)."""
    port = layout.ports["http"]
    return with_plan_hash(
        ServiceSpec(
            name=SERVICE,
            argv=(
                *(str(Path(layout.artifact_dir) / "minio"), "server", "--quiet"),
                *("--address", f"{layout.bind_address}:{port}"),
                *("--certs-dir", str(layout.scratch_dir / "certs")),
                str(layout.data_dir),
            ),
            plan_hash="",
            env={**environment(region=REGION), "MINIO_ROOT_PASSWORD": root_password},
            files_dir=str(layout.files_dir),
            scratch_dir=str(layout.scratch_dir),
            data_dir=str(layout.data_dir),
            ports=dict(layout.ports),
            # Answers once storage, users and policies are loaded.
            probe=ProbeSpec(port=port, path="/minio/health/cluster", timeout_s=120, period_s=0.1),
            memory_mib=MEMORY_MIB,
        )
    )


def environment(*, region: str) -> dict[str, str]:
    """MinIO's settings wherever it runs, without its root user's password."""
    return {
        "MINIO_ROOT_USER": ROOT_USER,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        "MINIO_REGION": region,
    }


def catalog_policy(*, bucket: str, prefix: str) -> dict[str, Any]:
    """Reads and writes the warehouse's objects. A session that the catalog obtains by AssumeRole has
    the intersection of this and the session's own policy; AssumeRole itself needs no statement."""
    return _policy(
        _allow(["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], bucket),
        _allow(
            [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
                "s3:ListMultipartUploadParts",
            ],
            f"{bucket}/{prefix}/*",
        ),
    )


def governor_policy(*, bucket: str) -> dict[str, Any]:
    """Writes bundles and reads none; the listing tells whether what it wrote is still there."""
    return _policy(
        _allow(["s3:PutObject", "s3:AbortMultipartUpload"], f"{bucket}/*"),
        _allow(["s3:ListBucket"], bucket),
    )


def opa_policy(*, bucket: str) -> dict[str, Any]:
    """Reads bundles and writes none."""
    return _policy(_allow(["s3:GetObject"], f"{bucket}/*"))


def backup_policy(*, bucket: str) -> dict[str, Any]:
    """Reads, writes and removes backups."""
    return _policy(
        _allow(["s3:ListBucket", "s3:ListBucketMultipartUploads"], bucket),
        _allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], f"{bucket}/*"),
    )


def _policy(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(actions: list[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": [f"arn:aws:s3:::{resource}"]}
