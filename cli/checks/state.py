"""What is on disk of a lab beside its data: project, passphrase, locks, the engine's state."""

from __future__ import annotations

from collections.abc import Iterator

from cli.backend import backend_url, file_backend
from cli.checks.findings import FIX, Finding, fixed, ok, problem, warning
from cli.locks import (
    command_running,
    find_locks,
    has_pending_operations,
    remove_stale,
    restore_state,
    state_is_damaged,
)
from cli.project import passphrase_is_lost, settings
from cli.session import Session
from cli.steps import persistent_digest, wanted_digest
from contracts.settings import Role


def half_made(session: Session) -> Iterator[Finding]:
    """A lab whose first ``up`` ended before its project was whole."""
    if session.lab.home.exists() and any(session.lab.home.iterdir()):
        yield warning("project", f"{session.lab.home} is half made: its first run was ended", "lab up")


def passphrase(session: Session) -> Iterator[Finding]:
    """Without it nothing in the state can be decrypted."""
    if passphrase_is_lost(session.lab):
        yield problem(
            "passphrase",
            f"{session.lab.passphrase_file} is gone or empty, and with it the secrets in the state",
            "put it back from a backup of this folder, else lab destroy",
        )


def command(session: Session) -> Iterator[Finding]:
    """Another command that changes the lab just now."""
    running = command_running(session.command_file)
    if running is not None:
        yield warning(
            "command", f"{running}, works on this lab; what follows may change", "lab status --watch"
        )


def locks(session: Session, fix: bool) -> Iterator[Finding]:
    """Locks of the engine; ``fix`` removes those whose engine runs no more, and ends what it left."""
    folder = file_backend(session.lab, session.environ)
    if folder is None:
        return
    own = [session.lab.stack_name(role) for role in session.lab.own_roles]
    found = find_locks(folder, stacks=own)
    stale = [lock for lock in found if not lock.alive]
    for lock in found:
        if lock.alive:
            yield warning(
                "lock",
                f"pid {lock.pid} on {lock.host} works on stack {lock.stack}",
                "wait until it has ended",
            )
    if stale and fix and len(stale) == len(found):
        remove_stale(folder, stacks=own)
        yield fixed("lock", f"removed {len(stale)} stale")
    elif stale:
        yield problem("lock", f"left by pid {stale[0].pid}, which runs no more", FIX)


def state(session: Session, fix: bool) -> Iterator[Finding]:
    """The engine's checkpoints: readable, and free of operations that never ended."""
    folder = file_backend(session.lab, session.environ)
    if folder is None:
        yield ok("state", f"in {backend_url(session.lab, session.environ)}; Pulumi keeps its history there")
        return
    for role in session.lab.own_roles:
        name = session.lab.stack_name(role)
        if state_is_damaged(folder, name):
            if fix and restore_state(folder, name):
                yield fixed(
                    "state", f"stack {role}: took the copy of one step earlier; the damaged one is kept"
                )
            else:
                remedy = "put it back from a backup" if fix else FIX
                yield problem("state", f"the state of stack {role} is damaged", remedy)
                continue
        if not has_pending_operations(folder, name):
            continue
        if fix:
            with session.uninterrupted():
                session.engine.refresh(role, clear_pending=True)
            yield fixed("state", f"stack {role}: cleared the operations that an interrupted run left")
        else:
            yield warning("state", f"stack {role} was interrupted in the middle of an operation", FIX)


def is_settled(session: Session) -> bool:
    """Whether a run of the engine would find neither a lock nor operations that never ended: it removes
    what is stale before anything else."""
    folder = file_backend(session.lab, session.environ)
    if folder is None:
        return True
    own = [session.lab.stack_name(role) for role in session.lab.own_roles]
    return not find_locks(folder, stacks=own) and not any(has_pending_operations(folder, one) for one in own)


def configuration(session: Session) -> Iterator[Finding]:
    """Both stacks' settings, and whether the persistent stack was made with these."""
    for role in Role:
        settings(session.lab, role, session.environ)
    if session.lab.owner:
        yield ok("settings", f"valid; what is kept is in the persistent stack of lab {session.lab.owner!r}")
        return
    made = persistent_digest(session.lab)
    if made is None:
        yield warning("settings", "the persistent stack is not made yet", "lab up")
    elif made != wanted_digest(session.lab):
        yield warning("settings", "code or settings changed since the persistent stack was made", "lab up")
    else:
        yield ok("settings", "valid on both stacks")
