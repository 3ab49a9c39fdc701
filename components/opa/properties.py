"""OPA's configuration as pure functions (https://www.openpolicyagent.org/docs/configuration/).

``${NAME}`` is OPA's own expansion of the environment, which alone holds secrets.
"""

from __future__ import annotations

import json

from contracts.workload import Layout

BUNDLE_KEY = "bundles/access.tar.gz"
SIGNING_KEY_ID = "lab"

_LOG_BUFFER_BYTES = 64 << 20
"""Of compressed decisions, while the governor can't be reached; about a million."""


_GARBAGE_PERCENT = 400
_CEILING_FACTOR = 2


def collector(memory_mib: int) -> dict[str, str]:
    """The environment of Go's garbage collector (https://go.dev/doc/gc-guide). Decisions that meet a
    collection are the late ones: there are a quarter as many of those as Go makes by itself. What that takes
    ends at a ceiling of Go's memory, twice what is expected, below which even 100,000 grants lie; nearer to
    it garbage is collected as often as is needed.

    Args:
        memory_mib: the expected resident size, in MiB.
    """
    return {"GOGC": str(_GARBAGE_PERCENT), "GOMEMLIMIT": f"{_CEILING_FACTOR * memory_mib}MiB"}


def store_credentials(*, by_role: bool) -> dict[str, object]:
    """Whose name requests to the policy bucket are signed in: that of the keys in the environment, or of the
    role that the pod has."""
    if by_role:
        return {"metadata_credentials": {"aws_region": "${AWS_REGION}"}}
    return {"environment_credentials": {}}


def configuration(*, public_key_pem: str, by_role: bool = False) -> str:
    """``config.yaml`` (JSON is YAML): the signed bundle from the policy bucket, polled each second, and the
    decision log to the governor; ``policies/system/log.rego`` says what of a decision is reported.

    Args:
        by_role: the bucket is read in the name of the workload's role, not with a pair of keys.
    """
    document = {
        "services": {
            "store": {
                "url": "${BUNDLE_BUCKET_URL}",
                "credentials": {"s3_signing": store_credentials(by_role=by_role)},
            },
            "audit": {"url": "${AUDIT_URL}", "credentials": {"bearer": {"token": "${AUDIT_TOKEN}"}}},
        },
        "bundles": {
            "lab": {
                "service": "store",
                "resource": BUNDLE_KEY,
                "polling": {"min_delay_seconds": 1, "max_delay_seconds": 2},
                "signing": {"keyid": SIGNING_KEY_ID},
            }
        },
        "keys": {SIGNING_KEY_ID: {"algorithm": "RS256", "key": public_key_pem}},
        "decision_logs": {
            "service": "audit",
            "resource": "/v1/audit/decisions",
            "reporting": {
                "min_delay_seconds": 1,
                "max_delay_seconds": 2,
                "buffer_size_limit_bytes": _LOG_BUFFER_BYTES,
            },
        },
        "status": {"prometheus": True},
    }
    return json.dumps(document, indent=2)


def command(layout: Layout) -> list[str]:
    """The server on loopback, its API authenticated; the lab's rules arrive by bundle only."""
    return [
        f"{layout.artifact_dir}/opa",
        "run",
        "--server",
        "--addr",
        f"{layout.bind_address}:{layout.ports['http']}",
        "--config-file",
        layout.file("config.yaml"),
        "--authentication=token",
        "--authorization=basic",
        "--log-level=error",
        "--skip-version-check",
        layout.file("authz.rego"),
        layout.file("log.rego"),
    ]
