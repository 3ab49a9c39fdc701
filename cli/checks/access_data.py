"""Access data in the database, the bundle, OPA and the catalog, against each other."""

from __future__ import annotations

from collections.abc import Iterator

from cli.checks.findings import Finding, Verdict
from cli.operations.inspect import status
from cli.session import Session


def access_data(session: Session, fix: bool) -> Iterator[Finding]:
    """What differs; with ``fix`` it is published and reconciled anew."""
    from cli.operations.access_drift import access_drift

    if not session.outputs_file.exists() or not status(session).ready:
        return
    found = access_drift(session, fix=fix)
    for one in found.mended:
        yield Finding(subject="access data", verdict=Verdict.FIXED, detail=one)
    for one in found.problems:
        yield Finding(
            subject="access data",
            verdict=Verdict.PROBLEM,
            detail=one,
            remedy="lab logs governor" if fix else "lab doctor --fix",
        )
    if not found.problems and not found.mended:
        detail = f"revision {found.revision} in database, bundle, OPA and catalog"
        yield Finding(subject="access data", verdict=Verdict.OK, detail=detail)
