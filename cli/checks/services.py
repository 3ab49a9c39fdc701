"""The supervisor, its services, and what they serve: the access bundle, the certificate, the state."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cryptography import x509

from cli.checks.findings import FIX, Finding, fixed, ok, problem, warning
from cli.checks.state import is_settled
from cli.operations.inspect import Status, status
from cli.project import settings
from cli.session import Session
from cli.steps import run_persistent
from components.keys import RENEW_BEFORE_DAYS
from contracts.settings import Role

AHEAD_S = 300
"""How far in the future OPA lets a bundle's signature lie (policies/trino/actual.rego)."""
SETTLE_S = 90.0
"""In which the governor signs anew and OPA fetches it, whatever the clock did."""
_PAUSE_S = 2.0


def supervisor(session: Session, fix: bool) -> Iterator[Finding]:
    """What a killed or hanging supervisor, or a reboot, left; ``fix`` starts it, and it the services."""
    port = session.supervisor
    damaged, left = port.unreadable(), port.left_behind()
    trouble = [*left, *(f"the specification of {name} is damaged" for name in damaged)]
    if not trouble and session.outputs_file.exists() and not port.running():
        trouble = ["it does not run, and nothing restarts what dies"]
    if not trouble:
        return
    if fix:
        port.recover()
        yield fixed("supervisor", f"started; found before: {'; '.join(trouble)}")
    else:
        yield problem("supervisor", "; ".join(trouble), FIX)


def services(session: Session, fix: bool) -> Iterator[Finding]:
    """Every declared service is ready; ``fix`` starts those that are not."""
    found = session.supervisor.status()
    if not session.outputs_file.exists():
        running = [service.name for service in found if service.pid is not None]
        if running:
            names = ", ".join(running)
            yield warning("services", f"the lab is not up, but {names} run", "lab up, or lab down")
        else:
            yield warning("services", "the lab is down", "lab up")
        return
    down = [service for service in found if service.state.value != "ready"]
    if not found:
        yield problem("services", "none is declared, though the lab is up", "lab up")
    elif down and fix:
        session.supervisor.start()
        yield fixed("services", f"started {', '.join(service.name for service in down)}")
    elif not down:
        yield ok("services", f"{len(found)} ready")
    else:
        for service in down:
            yield problem(
                f"service {service.name}",
                f"{service.state.value}{f': {service.reason}' if service.reason else ''}",
                f"{FIX}, or lab logs {service.name}",
            )


def bundle(session: Session, fix: bool) -> Iterator[Finding]:
    """The access bundle's signature is neither old nor in the future, as it is for a minute after the
    clock was moved; with ``fix`` that minute is waited for."""
    found = status(session)
    if not found.up or not any(one.name == "governor" and one.state == "ready" for one in found.services):
        return
    limit_s = settings(session.lab, Role.LAB, session.environ).bundle_max_age_s
    trouble = _bundle_trouble(found, limit_s)
    if trouble and fix:
        deadline = time.monotonic() + SETTLE_S
        while _bundle_trouble(found, limit_s) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            found = status(session)
        if not _bundle_trouble(found, limit_s):
            yield fixed("access bundle", f"signed anew; it was {trouble}")
            return
    if trouble:
        yield problem(
            "access bundle",
            f"{trouble}; until it is signed anew all is denied",
            f"{FIX}, or lab logs governor",
        )
    else:
        age = f"signed {max(0.0, found.bundle_age_s or 0):.0f} s ago"
        yield ok("access bundle", f"revision {found.revision}, {age} (limit {limit_s} s)")


def _bundle_trouble(found: Status, limit_s: int) -> str:
    age_s = found.bundle_age_s
    if age_s is None:
        return "; ".join(found.notes) or "never published"
    if age_s < -AHEAD_S:
        return f"signed {-age_s:.0f} s ahead of this machine's clock: the clock was moved"
    if age_s > limit_s / 2:
        return f"signed {age_s:.0f} s ago (limit {limit_s} s)"
    return ""


def certificate(session: Session, fix: bool) -> Iterator[Finding]:
    """The server's certificate is valid by this machine's clock, and for a while; ``fix`` issues a new
    one, which the next run of the lab stack puts in place."""
    if not session.outputs_file.exists():
        return
    now = datetime.now(UTC)
    found = x509.load_pem_x509_certificate(session.slot().pki.server_certificate.encode())
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    if now < begins:
        yield problem(
            "certificate", f"not valid before {begins:%Y-%m-%d %H:%M} UTC", "set this machine's clock"
        )
    elif ends - now > timedelta(days=RENEW_BEFORE_DAYS):
        yield ok("certificate", f"valid until {ends:%Y-%m-%d}")
    elif fix and not session.lab.owner:
        with session.uninterrupted():
            run_persistent(session)
        yield fixed("certificate", f"issued anew; the one before ends {ends:%Y-%m-%d}")
    else:
        finding = problem if ends < now else warning
        owner = session.lab.owner
        remedy = f"lab --name {owner} bootstrap" if owner else f"{FIX}, or lab bootstrap"
        yield finding("certificate", f"valid until {ends:%Y-%m-%d}", f"{remedy}, and lab up")


def drift(session: Session, fix: bool) -> Iterator[Finding]:
    """What differs between the state and what is really there, by a dry run; ``fix`` mends it."""
    if not session.outputs_file.exists() or not (fix or is_settled(session)):
        return
    began = time.monotonic()
    with session.uninterrupted():
        result = session.engine.preview(Role.LAB)
        if result.changed and fix:
            session.engine.up(Role.LAB)
    words = ", ".join(f"{count} to {name}" for name, count in result.changes.items() if name != "same")
    if not result.changed:
        yield ok("drift", f"none ({time.monotonic() - began:.0f} s to look)")
    elif fix:
        yield fixed("drift", words)
    else:
        yield warning("drift", words, "lab up")
