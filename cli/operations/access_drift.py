"""Whether database, published bundle, OPA and catalog hold the same access data, for ``lab doctor``."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from cli.access import governor_client
from cli.session import Session

if TYPE_CHECKING:
    from governance.client import GovernorClient, GovernorStatus
    from governance.reports import DriftReport

_TIMEOUT_S = 10.0
_OPA_POLLS_S = 8.0


@dataclass(frozen=True, kw_only=True)
class AccessDrift:
    """What differs. ``mended`` are differences that were there and are gone; ``unmaintained`` are tables
    whose maintenance fails, with the reason."""

    revision: int | None
    problems: tuple[str, ...]
    mended: tuple[str, ...]
    unmaintained: tuple[str, ...] = ()


def access_drift(session: Session, *, fix: bool, pause: Callable[[float], None] = time.sleep) -> AccessDrift:
    """Compares the living access data with the published bundle, with what OPA decides on, and with the
    catalog's grants as the reconciler found them last; ``fix`` publishes and reconciles now.

    Raises:
        GovernorError: the governor does not answer.
    """
    outputs = session.outputs()
    token = session.slot().secrets.opa_token

    def look(client: GovernorClient) -> tuple[DriftReport, list[str]]:
        report = client.drift()
        return report, [*report.problems, *opa_problems(report, outputs.opa_url, token)]

    with governor_client(session, outputs) as client:
        report, found = look(client)
        status = client.status()
        found += _catalog_problems(status)
        unmaintained = tuple(
            f"{activity}: {text}" for activity, text in sorted(status.errors.items()) if _maintains(activity)
        )
        if not fix or not found:
            return AccessDrift(
                revision=report.revision, problems=tuple(found), mended=(), unmaintained=unmaintained
            )
        client.publish()
        reconciled = client.reconcile()
        waited_s = 0.0
        report, left = look(client)
        # OPA polls the object store every one or two seconds.
        while left and waited_s < _OPA_POLLS_S:
            pause(1.0)
            waited_s += 1.0
            report, left = look(client)
        left += [f"catalog: {text}" for text in (*reconciled.errors, *reconciled.pending)]
    mended = [one for one in found if one not in left]
    mended += [f"catalog: {text}" for text in reconciled.changes]
    return AccessDrift(
        revision=report.revision, problems=tuple(left), mended=tuple(mended), unmaintained=unmaintained
    )


def opa_problems(
    report: DriftReport, opa_url: str, token: str, *, transport: httpx.BaseTransport | None = None
) -> list[str]:
    """Where OPA's active bundle differs from the living access data."""
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(
            base_url=opa_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False, transport=transport
        ) as client:
            bundle = _data(client, "bundle")
            access = _data(client, "access")
    except (httpx.HTTPError, ValueError) as error:
        return [f"OPA can't be asked for its bundle: {error}"]
    if bundle is None or access is None:
        return ["OPA has no bundle: it denies everything"]
    if bundle.get("revision") != report.revision:
        return [f"OPA decides on revision {bundle.get('revision')}, {report.revision} is living"]
    if report.access_digest is not None and digest(access) != report.access_digest:
        return [f"OPA's data of revision {report.revision} is not what the database holds"]
    return []


def digest(document: Any) -> str:
    """As governance.store.document_digest, whose module needs a database driver."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _data(client: httpx.Client, name: str) -> dict[str, Any] | None:
    answer = client.get(f"/v1/data/lab/{name}")
    answer.raise_for_status()
    found = answer.json().get("result")
    return found if isinstance(found, dict) else None


def _maintains(activity: str) -> bool:
    return activity.split(" ")[0] == "maintain"


def _catalog_problems(status: GovernorStatus) -> list[str]:
    """The reconciler mends by itself; what it could not, and what it had to undo, is worth saying."""
    errors = sorted(status.errors.items())
    problems = [f"{activity}: {text}" for activity, text in errors if not _maintains(activity)]
    last = status.reconcile
    if last is not None:
        problems += [f"catalog: {text}" for text in last.pending]
    return problems
