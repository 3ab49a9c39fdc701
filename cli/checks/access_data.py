"""Access data in the database, the bundle, OPA and the catalog, against each other."""

from __future__ import annotations

from collections.abc import Iterator

from cli.checks.findings import FIX, Finding, fixed, ok, problem, warning
from cli.operations.inspect import status
from cli.session import Session


def access_data(session: Session, fix: bool) -> Iterator[Finding]:
    """What differs; with ``fix`` it is published and reconciled anew."""
    from cli.operations.access_drift import access_drift

    if not session.outputs_file.exists() or not status(session).ready:
        return
    found = access_drift(session, fix=fix)
    for one in found.mended:
        yield fixed("access data", one)
    for one in found.problems:
        yield problem("access data", one, "lab logs governor" if fix else FIX)
    for one in found.unmaintained:
        yield warning("maintenance", one, "lab maintain history")
    if not found.problems and not found.mended:
        yield ok("access data", f"revision {found.revision} in database, bundle, OPA and catalog")
