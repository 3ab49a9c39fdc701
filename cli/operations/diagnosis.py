"""What stands in the lab's way, and what can be mended without asking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cli.checks import access_data, cluster, machine, services, software, state
from cli.checks.findings import Finding, Verdict, of_error
from cli.components import chosen_components, saved_set
from cli.project import read_config
from cli.session import Session
from components.registry import ComponentInfo
from contracts.errors import LabError
from contracts.settings import Role

__all__ = ["Diagnosis", "Finding", "Verdict", "doctor"]

Checks = list[tuple[str, Callable[[], Iterator[Finding]]]]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings. ``healthy`` when none is a problem."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return all(finding.verdict is not Verdict.PROBLEM for finding in self.findings)


def doctor(session: Session, *, fix: bool = False) -> Diagnosis:
    """Looks at everything a lab rests on, from the Python it runs on to drift of its stacks.

    Args:
        fix: mend what can be mended safely: damaged artifacts are fetched again; stale locks, damaged
            state and pending operations cleared; a supervisor that is gone or hangs replaced; services
            started; an old signature or certificate renewed; access data published and reconciled; drift
            undone.

    Raises:
        LabError: with ``fix``, when another command works on the lab.
    """
    mending = session.exclusive("doctor --fix") if fix and session.lab.exists else contextlib.nullcontext()
    with mending:
        return Diagnosis(findings=tuple(_findings(_checks(session, fix))))


def _checks(session: Session, fix: bool) -> Checks:
    chosen = _chosen(session)
    carries: Checks = [("machine", lambda: machine.machine(session, chosen))]
    checks: Checks = [
        ("python", software.python),
        ("engine", lambda: software.engine(session, fix)),
    ]
    if session.lab.exists and not session.is_local():
        carries = [
            ("cluster", lambda: cluster.cluster(session, chosen)),
            ("pods", lambda: cluster.pods(session)),
            ("volumes", lambda: cluster.volumes(session)),
        ]
    else:
        checks.append(("artifacts", lambda: software.artifacts(session, chosen, fix)))
    if not session.lab.exists:
        return [*checks, *carries, ("project", lambda: state.half_made(session))]
    if not fix:
        checks.append(("command", lambda: state.command(session)))
    return [
        *checks,
        ("passphrase", lambda: state.passphrase(session)),
        ("lock", lambda: state.locks(session, fix)),
        ("supervisor", lambda: services.supervisor(session, fix)),
        # Once the supervisor tells which processes are this lab's own.
        *carries,
        ("state", lambda: state.state(session, fix)),
        ("settings", lambda: state.configuration(session)),
        ("services", lambda: services.services(session, fix)),
        ("access bundle", lambda: services.bundle(session, fix)),
        ("access data", lambda: access_data.access_data(session, fix)),
        ("certificate", lambda: services.certificate(session, fix)),
        ("drift", lambda: services.drift(session, fix)),
    ]


def _findings(checks: Checks) -> Iterator[Finding]:
    """What all checks find; one that fails is a finding and keeps no other from being made."""
    for subject, check in checks:
        try:
            yield from check()
        except LabError as error:
            yield of_error(subject, error)


def _chosen(session: Session) -> tuple[ComponentInfo, ...]:
    lab = session.lab
    catalog = read_config(lab, Role.LAB).get("catalog", "nessie") if lab.exists else "nessie"
    return chosen_components(saved_set(lab), catalog)
