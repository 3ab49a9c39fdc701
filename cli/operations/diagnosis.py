"""What stands in the lab's way, and what can be mended without asking."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from cli.components import artifacts_of, chosen_components, saved_set
from cli.locks import find_locks, has_pending_operations, remove_stale
from cli.operations.inspect import status
from cli.project import read_config, settings
from cli.session import Session
from cli.steps import (
    DATA_FREE_MIB,
    memory_needed_mib,
    persistent_digest,
    ports_of,
    smaller_labs,
    wanted_digest,
)
from components.registry import ComponentInfo
from contracts.errors import LabError
from contracts.settings import Role, environment
from placements.local import artifacts as artifact_cache
from placements.local import preflight


class Verdict(StrEnum):
    """How one finding stands."""

    OK = "ok"
    FIXED = "fixed"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at. ``remedy`` is the command to run, empty when all is well."""

    subject: str
    verdict: Verdict
    detail: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings. ``healthy`` when none is a problem."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        return all(finding.verdict is not Verdict.PROBLEM for finding in self.findings)


def doctor(session: Session, *, fix: bool = False) -> Diagnosis:
    """Looks at engine, environment, artifacts, ports, memory, disk, locks, services, bundle and drift.

    Args:
        fix: mend what can be mended safely: remove stale locks, fetch damaged artifacts again, start
            services that are down, read drift into the state.
    """
    chosen = _chosen(session)
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        lambda: _engine(session, fix),
        lambda: _artifacts(session, chosen, fix),
        lambda: _machine(session, chosen),
    ]
    if session.lab.exists:
        checks += [
            lambda: _locks(session, fix),
            lambda: _settings(session),
            lambda: _services(session, fix),
            lambda: _bundle(session),
            lambda: _drift(session, fix),
        ]
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except LabError as error:
            findings.append(
                Finding(
                    subject="check",
                    verdict=Verdict.PROBLEM,
                    detail=error.what,
                    remedy=error.next_command or "",
                )
            )
    return Diagnosis(findings=tuple(findings))


def _chosen(session: Session) -> tuple[ComponentInfo, ...]:
    lab = session.lab
    catalog = read_config(lab, Role.LAB).get("catalog", "nessie") if lab.exists else "nessie"
    return chosen_components(saved_set(lab), catalog)


def _python() -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    packages = f"pulumi {importlib.metadata.version('pulumi')}"
    yield Finding(subject="python", verdict=Verdict.OK, detail=f"{version} in {sys.prefix}, {packages}")


def _engine(session: Session, fix: bool) -> Iterator[Finding]:
    from cli.toolchain import engine_artifacts, pulumi_engine

    absent = engine_artifacts(session.lab.cache, session.progress, use_installer=fix)
    if absent and not fix:
        yield Finding(
            subject="engine", verdict=Verdict.WARNING, detail="not in the cache yet", remedy="lab up"
        )
        return
    engine = pulumi_engine(session.lab.cache, session.progress)
    yield Finding(
        subject="engine",
        verdict=Verdict.FIXED if absent else Verdict.OK,
        detail=f"pulumi {engine.version} ({engine.source.value}) at {engine.program}",
    )


def _artifacts(session: Session, chosen: tuple[ComponentInfo, ...], fix: bool) -> Iterator[Finding]:
    polaris_home = environment("LAB_POLARIS_HOME", session.environ)
    wanted = artifacts_of(chosen, polaris_home=polaris_home)
    absent = artifact_cache.missing(wanted, session.lab.cache)
    damaged = [a for a in artifact_cache.missing(wanted, session.lab.cache, verify=True) if a not in absent]
    if fix and (damaged or absent):
        options = artifact_cache.FetchOptions(verify=True)
        artifact_cache.ensure_all(wanted, session.lab.cache, session.progress, options=options)
        names = ", ".join(artifact.name for artifact in [*damaged, *absent])
        yield Finding(subject="artifacts", verdict=Verdict.FIXED, detail=f"fetched again: {names}")
    elif damaged:
        names = ", ".join(artifact.name for artifact in damaged)
        yield Finding(
            subject="artifacts",
            verdict=Verdict.PROBLEM,
            detail=f"damaged: {names}",
            remedy="lab doctor --fix",
        )
    elif absent:
        names = ", ".join(artifact.name for artifact in absent)
        yield Finding(
            subject="artifacts", verdict=Verdict.WARNING, detail=f"not fetched yet: {names}", remedy="lab up"
        )
    else:
        yield Finding(subject="artifacts", verdict=Verdict.OK, detail=f"{len(wanted)} verified")


def _machine(session: Session, chosen: tuple[ComponentInfo, ...]) -> Iterator[Finding]:
    lab = session.lab
    services = session.supervisor.status() if lab.exists else []
    config = read_config(lab, Role.LAB) if lab.exists else {}
    needed_mib = memory_needed_mib(chosen, config)
    running_mib = sum(service.memory_mib or 0 for service in services)
    base = settings(lab, Role.LAB, session.environ).port_base if lab.exists else None
    checks: list[tuple[str, str, Callable[[], None]]] = [
        (
            "memory",
            f"{needed_mib} MiB needed, {running_mib} MiB in use by this lab",
            lambda: preflight.check_memory(
                needed_mib, running_mib=running_mib, smaller=smaller_labs(chosen, config)
            ),
        ),
        (
            "disk",
            f"at least {DATA_FREE_MIB} MiB free for {lab.home}",
            lambda: preflight.check_disk({lab.home: DATA_FREE_MIB}),
        ),
    ]
    if base is not None:
        ports = ports_of(base, chosen)
        checks.append(("ports", f"block from {base}", lambda: preflight.check_ports(lab.home, ports)))
    for subject, detail, check in checks:
        try:
            check()
        except LabError as error:
            yield Finding(
                subject=subject,
                verdict=Verdict.PROBLEM,
                detail=error.what,
                remedy=error.next_command or "",
            )
        else:
            yield Finding(subject=subject, verdict=Verdict.OK, detail=detail)


def _locks(session: Session, fix: bool) -> Iterator[Finding]:
    locks = find_locks(session.lab.state_dir)
    stale = [lock for lock in locks if not lock.alive]
    for lock in locks:
        if lock.alive:
            yield Finding(
                subject="lock",
                verdict=Verdict.WARNING,
                detail=f"pid {lock.pid} on {lock.host} works on stack {lock.stack}",
            )
    if stale and fix and len(stale) == len(locks):
        remove_stale(session.lab.state_dir)
        yield Finding(subject="lock", verdict=Verdict.FIXED, detail=f"removed {len(stale)} stale")
    elif stale:
        yield Finding(
            subject="lock",
            verdict=Verdict.PROBLEM,
            detail=f"left by pid {stale[0].pid}, which runs no more",
            remedy="lab doctor --fix",
        )
    for role in Role:
        if has_pending_operations(session.lab.state_dir, role.value):
            yield Finding(
                subject="state",
                verdict=Verdict.WARNING,
                detail=f"stack {role} was interrupted; the next run clears its pending operations",
                remedy="lab up",
            )


def _settings(session: Session) -> Iterator[Finding]:
    for role in Role:
        settings(session.lab, role, session.environ)
    current = persistent_digest(session.lab)
    if current is not None and current != wanted_digest(session.lab):
        yield Finding(
            subject="settings",
            verdict=Verdict.WARNING,
            detail="code or settings changed since the persistent stack was made",
            remedy="lab up",
        )
    else:
        yield Finding(subject="settings", verdict=Verdict.OK, detail="valid on both stacks")


def _services(session: Session, fix: bool) -> Iterator[Finding]:
    services = session.supervisor.status()
    if not services:
        yield Finding(subject="services", verdict=Verdict.WARNING, detail="none is deployed", remedy="lab up")
        return
    down = [service for service in services if service.state.value != "ready"]
    if down and fix:
        session.supervisor.start()
        names = ", ".join(service.name for service in down)
        yield Finding(subject="services", verdict=Verdict.FIXED, detail=f"started {names}")
        return
    for service in down:
        yield Finding(
            subject=f"service {service.name}",
            verdict=Verdict.PROBLEM,
            detail=f"{service.state.value}{f': {service.reason}' if service.reason else ''}",
            remedy=f"lab doctor --fix, or lab logs {service.name}",
        )
    if not down:
        yield Finding(subject="services", verdict=Verdict.OK, detail=f"{len(services)} ready")


def _bundle(session: Session) -> Iterator[Finding]:
    found = status(session)
    if not found.up:
        return
    if found.bundle_age_s is None:
        yield Finding(
            subject="access bundle",
            verdict=Verdict.PROBLEM,
            detail="; ".join(found.notes) or "the governor has published none",
            remedy="lab logs governor",
        )
        return
    limit_s = settings(session.lab, Role.LAB, session.environ).bundle_max_age_s
    old = found.bundle_age_s > limit_s / 2
    yield Finding(
        subject="access bundle",
        verdict=Verdict.PROBLEM if old else Verdict.OK,
        detail=f"revision {found.revision}, signed {found.bundle_age_s:.0f} s ago (limit {limit_s} s)",
        remedy="lab logs governor" if old else "",
    )


def _drift(session: Session, fix: bool) -> Iterator[Finding]:
    """What differs between the state and what is really there, by a dry run."""
    if not session.outputs_file.exists():
        return
    began = time.monotonic()
    with session.uninterrupted():
        result = session.engine.preview(Role.LAB)
        if result.changed and fix:
            session.engine.up(Role.LAB)
    words = ", ".join(f"{count} to {name}" for name, count in result.changes.items() if name != "same")
    if not result.changed:
        yield Finding(
            subject="drift", verdict=Verdict.OK, detail=f"none ({time.monotonic() - began:.0f} s to look)"
        )
    elif fix:
        yield Finding(subject="drift", verdict=Verdict.FIXED, detail=words)
    else:
        yield Finding(subject="drift", verdict=Verdict.WARNING, detail=words, remedy="lab up")
