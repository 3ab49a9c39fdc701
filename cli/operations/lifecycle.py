"""Bringing a lab up, taking it down, and what lies between."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.accounts import begin_use, cluster_is_gone, left_in_account
from cli.components import chosen_components, merge, saved_set
from cli.engine import RunResult
from cli.events import PlannedStep
from cli.expiry import with_ttl
from cli.guardrails import refuse_unprotected
from cli.session import Session
from cli.sharing import refuse_abandoned, refuse_bound, take_part
from cli.steps import (
    asked_port_base,
    catalog_for,
    check_elsewhere,
    check_machine,
    check_settings,
    converge_persistent,
    core_config,
    fetch,
    forget_strays,
    head_start,
    is_converged,
    keep_model_key,
    pin_catalog,
    prepare_project,
    run_persistent,
    save_components,
    save_settings,
)
from components.registry import CATALOGS
from contracts.identity import lab_realm
from contracts.outputs import LabOutputs
from contracts.settings import Role
from placements.local.ports import FOUNDATION_ORDER


@dataclass(frozen=True, kw_only=True)
class UpResult:
    """A lab that is up. ``timings_s`` are seconds by phase and by resource, in the order they ran;
    ``changes`` counts the lab stack's resources by operation."""

    lab: str
    home: str
    catalog: str
    components: tuple[str, ...]
    urls: Mapping[str, str]
    personas: Mapping[str, str]
    changes: Mapping[str, int]
    timings_s: Mapping[str, float]
    slowest_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PreviewResult:
    """What ``up`` would do: resources by operation, per stack. None: the lab stack comes after the persistent
    one was made, or the persistent stack is another lab's.
    ``steps`` are the resources themselves, ``log_files`` hold all that the engine printed, per stack that was
    previewed."""

    persistent: Mapping[str, int] | None
    lab: Mapping[str, int] | None
    steps: Mapping[Role, tuple[PlannedStep, ...]] = field(default_factory=dict)
    log_files: Mapping[Role, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Without what nothing is done to, and without inputs."""
        touched = [
            {"stack": role.value, "op": one.op, "type": one.type, "name": one.name, "changed": one.changed}
            for role, steps in self.steps.items()
            for one in steps
            if one.op not in ("same", "read")
        ]
        return {"persistent": self.persistent, "lab": self.lab, "steps": touched}


@dataclass(frozen=True, kw_only=True)
class DownResult:
    """A lab that is down. ``kept`` names what stays for the next ``up``, ``left`` what is still on a cluster
    and should not be."""

    lab: str
    removed: int
    kept: tuple[str, ...]
    seconds: float
    left: tuple[str, ...] = ()


class Timings(dict[str, float]):
    """Seconds by phase, in order."""

    def measure(self, name: str, since: float) -> float:
        """Notes the time since ``since`` and gives the present one."""
        now = time.monotonic()
        self[name] = round(now - since, 1)
        return now


def up(
    session: Session,
    *,
    add: Sequence[str] = (),
    without: Sequence[str] = (),
    core: bool = False,
    catalog: str | None = None,
    changes: Mapping[str, str] | None = None,
    ttl: str | None = None,
    fresh: bool = False,
) -> UpResult:
    """Brings the lab up: software, the persistent stack where it is missing or changed, the lab stack.

    Args:
        add: components that join the saved set.
        without: components that leave it.
        core: run the core alone this time; the saved set stays as it is.
        catalog: for a new lab: ``polaris`` or ``nessie``.
        changes: settings to keep from now on, by key.
        ttl: how long from now a lab in an account lives, such as ``8h``.
        fresh: refuse where the lab is there already.

    Raises:
        UsageError: an unknown component or setting, or a lab whose time is over; nothing was started.
        PreflightError: the machine can't carry it, or the account ends the lab's cluster right now.
        LabError: a step failed; the next ``up`` continues.
    """
    lab, timings, began = session.lab, Timings(), time.monotonic()
    check_settings(changes or {})
    take_part(session, changes, fresh=fresh)
    if not lab.owner:
        refuse_unprotected(lab, changes or {}, session.environ, session.throw_away)
        if "moreLabs" in (changes or {}) or not is_converged(lab):
            refuse_abandoned(session, changes or {})
    changes, ended = with_ttl(lab, changes or {}, ttl)
    saved = merge(saved_set(lab), add, without)
    choice = catalog_for(session, catalog, changes)
    chosen = chosen_components(() if core else saved, choice.kind)
    with session.exclusive("up"):
        check_machine(session, chosen, changes)
        prepare_project(session, port_base=asked_port_base(changes))
        save_settings(lab, changes or {})
        save_components(lab, saved)
        pin_catalog(session, choice)
        keep_model_key(session)
        check_elsewhere(session, chosen)
        began = timings.measure("checks", began)
        fetch(session, chosen)
        began = timings.measure("software", began)
        with session.uninterrupted(), session.watching_services():
            head_start(session, chosen)
            if not lab.owner:
                converge_persistent(session)
            began = timings.measure("persistent stack", began)
            begin_use(session)
            if (ended and session.engine.exists(Role.LAB)) or cluster_is_gone(session):
                session.say("the account ended the cluster; what is left of its stack goes first")
                session.engine.destroy(Role.LAB)
            session.say(f"lab stack: {', '.join(info.name for info in chosen)}")
            run = session.engine.up(Role.LAB, config_file=core_config(lab) if core else None)
            forget_strays(session, chosen)
            outputs = session.outputs_after(run.outputs)
            timings.measure("lab stack", began)
    return _up_result(session, outputs, run, timings)


def bootstrap(
    session: Session, *, catalog: str | None = None, changes: Mapping[str, str] | None = None
) -> RunResult:
    """Makes or updates the persistent stack alone: databases, object store, secrets, identities. Raises as
    :func:`up`, and UsageError where it would be without protection though nobody asked for that."""
    refuse_bound(session, "bootstrap")
    check_settings(changes or {})
    take_part(session, changes)
    refuse_abandoned(session, changes or {})
    refuse_unprotected(session.lab, changes or {}, session.environ, session.throw_away)
    choice = catalog_for(session, catalog, changes)
    with session.exclusive("bootstrap"):
        check_machine(session, (), changes)
        prepare_project(session, port_base=asked_port_base(changes))
        save_settings(session.lab, changes or {})
        pin_catalog(session, choice)
        check_elsewhere(session, ())
        fetch(session, ())
        with session.uninterrupted(), session.watching_services():
            return run_persistent(session)


def preview(session: Session, *, diff: bool = False) -> PreviewResult:
    """Says what ``up`` would do to the lab's own stacks and changes nothing."""
    take_part(session)
    if not session.lab.exists:
        prepare_project(session)
    with session.uninterrupted():
        shares = bool(session.lab.owner)
        persistent = None if shares else session.engine.preview(Role.PERSISTENT, diff=diff)
        made = shares or session.engine.outputs(Role.PERSISTENT)
        lab = session.engine.preview(Role.LAB, diff=diff) if made else None
    given = {Role.PERSISTENT: persistent, Role.LAB: lab}
    runs = {role: run for role, run in given.items() if run is not None}
    return PreviewResult(
        persistent=persistent.changes if persistent else None,
        lab=lab.changes if lab else None,
        steps={role: run.steps for role, run in runs.items()},
        log_files={role: run.log_file for role, run in runs.items()},
    )


def refresh(session: Session) -> dict[str, Mapping[str, int]]:
    """Reads what is really there into the state of the lab's own stacks; the next ``up`` mends the
    difference."""
    session.lab.require()
    found = {}
    with session.exclusive("refresh"), session.uninterrupted():
        for role in session.lab.own_roles:
            if session.engine.exists(role):
                found[role.value] = session.engine.refresh(role).changes
    return found


def down(session: Session) -> DownResult:
    """Destroys the lab stack and stops the foundation. Tables, users and keys stay."""
    lab, began = session.lab, time.monotonic()
    lab.require()
    removed = 0
    with session.exclusive("down"), session.uninterrupted(), session.watching_services():
        if session.is_local():
            begin_stop(session)
        if session.engine.exists(Role.LAB):
            removed = session.engine.destroy(Role.LAB).changes.get("delete", 0)
        session.forget_outputs()
        forget_strays(session, ())
        # On this machine that is the foundation; elsewhere the supervisor held tunnels.
        stop_services(session)
        left = left_elsewhere(session)
    return DownResult(
        lab=lab.name,
        removed=removed,
        kept=("databases", "warehouse", "users and groups", "access data", "passwords and keys"),
        seconds=round(time.monotonic() - began, 1),
        left=left,
    )


def left_elsewhere(session: Session) -> tuple[str, ...]:
    """What a lab that is not on this machine left on its cluster or in its account; none on this machine."""
    if session.is_local():
        return ()
    if session.placement() == "aws":
        return left_in_account(session)
    from cli.clusters import left_behind

    return left_behind(session)


def begin_stop(session: Session) -> None:
    """Tells every service but the foundation's to stop, so that they do while the engine starts; the
    engine then finds them down and forgets them."""
    running = [service.name for service in session.supervisor.status() if service.pid is not None]
    names = [name for name in running if name not in FOUNDATION_ORDER]
    if names:
        session.supervisor.stop(names, wait=False)


def stop_services(session: Session) -> None:
    """Stops every service in reverse order of dependency, then the supervisor itself."""
    session.supervisor.stop_all()
    session.supervisor.shutdown()


def _up_result(session: Session, outputs: LabOutputs, run: RunResult, timings: Timings) -> UpResult:
    realm = lab_realm(session.lab.name)
    return UpResult(
        lab=session.lab.name,
        home=str(session.lab.home),
        catalog=outputs.catalog_kind,
        components=outputs.components,
        urls=urls_of(outputs),
        personas={persona.username: persona.description for persona in realm.personas},
        changes=run.changes,
        timings_s=timings,
        slowest_s=dict(list(run.durations_s.items())[:6]),
    )


def urls_of(outputs: LabOutputs) -> dict[str, str]:
    """Where people and tools reach the lab, by what is there."""
    urls = {
        "sign-in": outputs.issuer_url,
        "catalog": outputs.users_catalog_uri,
        "governor": outputs.governor_url,
        "opa": outputs.opa_url,
    }
    if outputs.trino_url:
        urls = {"trino": outputs.trino_url, **urls}
    # The identity provider and the catalogs stand above by what people reach there.
    shown = {*urls, "keycloak", *CATALOGS}
    more = {name: url for name, url in (outputs.component_urls or {}).items() if name not in shown}
    published = {f"{name}, published": url for name, url in (outputs.public_urls or {}).items()}
    return {**urls, **more, **published}
