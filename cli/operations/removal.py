"""Removing a lab for good."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from cli.accounts import refuse_protected
from cli.backend import file_backend
from cli.locks import remove_stale
from cli.operations.lifecycle import stop_services
from cli.project import Lab, read_config
from cli.session import Session
from cli.sharing import refuse_shared, slot_removal, take_part
from contracts.errors import LabError
from contracts.setting_values import lab_names
from contracts.settings import Role, environment
from placements.local.unprivileged import remove_unprivileged


@dataclass(frozen=True, kw_only=True)
class DestroyPlan:
    """What ``destroy`` removes and what it leaves; ``then`` are the owner's commands that remove what a lab
    had in another lab's persistent stack."""

    lab: str
    removes: tuple[str, ...]
    keeps: tuple[str, ...]
    then: tuple[str, ...] = ()


def destroy_plan(session: Session) -> DestroyPlan:
    """Names what goes, before anybody is asked. A lab that shares another's persistent stack (LAB_SHARES) and
    that this machine does not know is taken over for it.

    Raises:
        UsageError: other labs need what would go.
    """
    lab = session.lab
    if not lab.exists and environment("LAB_SHARES", session.environ):
        take_part(session)
    lab.require()
    if lab.owner:
        return DestroyPlan(
            lab=lab.name,
            removes=(
                f"the services of lab {lab.name!r}, and its lab stack with its state",
                f"its folder on this machine ({lab.home})",
            ),
            keeps=(
                f"its slot in the persistent stack of lab {lab.owner!r}: tables, users, policies, passwords",
                f"downloaded software and virtual environments ({lab.cache})",
                "all other labs",
            ),
            then=slot_removal(session),
        )
    refuse_shared(session)
    if session.placement() == "aws":
        refuse_protected(lab)
        return DestroyPlan(
            lab=lab.name,
            removes=(
                f"every table, user, policy and query history of lab {lab.name!r}",
                *_slots_too(lab),
                "its database, its buckets with all that is in them, its network and its IAM roles",
                "its key, after the 30 days in which AWS lets that be undone",
                f"its passwords and keys ({lab.home}), its Pulumi stacks and their state",
            ),
            keeps=(
                f"the database's final snapshot, lakehouse-{lab.name}-final, encrypted by that key",
                f"downloaded software and virtual environments ({lab.cache})",
                "all other labs",
            ),
        )
    if not session.is_local():
        from cli.clusters import keeps_inside, refuse_protected_data

        inside = keeps_inside(lab)
        if inside:
            refuse_protected_data(lab)
        return DestroyPlan(
            lab=lab.name,
            removes=(
                *_data_too(lab, inside),
                f"the namespace of lab {lab.name!r} on its cluster, with its retained volumes",
                *_slots_too(lab),
                f"its passwords and keys ({lab.home}), without which what it kept is of little use",
                "its Pulumi stacks and their state",
            ),
            keeps=(
                *(
                    ()
                    if inside
                    else (
                        "the lab's databases and roles in your PostgreSQL, and its objects in your S3 store",
                    )
                ),
                f"downloaded software and virtual environments ({lab.cache})",
                "all other labs",
            ),
        )
    return DestroyPlan(
        lab=lab.name,
        removes=(
            f"every table, user, policy and query history of lab {lab.name!r}",
            f"its databases, its object store, its passwords and keys ({lab.home})",
            "its Pulumi stacks and their state",
        ),
        keeps=(f"downloaded software and virtual environments ({lab.cache})", "all other labs"),
    )


def _data_too(lab: Lab, inside: bool) -> tuple[str, ...]:
    """What goes of a lab whose databases and objects are on its cluster."""
    if not inside:
        return ()
    return (
        f"every table, user, policy and query history of lab {lab.name!r}: the data services on its cluster, "
        "with their volumes and all backups",
    )


def _slots_too(lab: Lab) -> tuple[str, ...]:
    """What goes of labs that have a slot in this one's persistent stack."""
    more = lab_names(read_config(lab, Role.PERSISTENT).get("moreLabs", ""))
    return (f"the same of the slots of {', '.join(more)} (moreLabs)",) if more else ()


def destroy(session: Session, confirm: Callable[[DestroyPlan], None]) -> DestroyPlan:
    """Removes the lab for good once ``confirm`` has returned; it raises to refuse.

    A lab whose state lies in its own folder is stopped and its folder removed, whatever state it is in;
    otherwise its own stacks are destroyed through the engine first.

    Raises:
        UsageError: other labs need what would go; nothing was removed.
    """
    lab = session.lab
    plan = destroy_plan(session)
    confirm(plan)
    with session.exclusive("destroy"):
        # Somebody may have come while the owner was asked.
        refuse_shared(session)
        if folder := file_backend(lab, session.environ):
            remove_stale(folder, stacks=[lab.stack_name(role) for role in lab.own_roles])
        with session.uninterrupted():
            # State that does not go with the lab's folder has to be removed where it lies.
            if not session.is_local() or folder != lab.state_dir:
                for role in reversed(lab.own_roles):
                    if session.engine.exists(role):
                        session.engine.destroy(role)
                        session.engine.remove(role)
            # Elsewhere it holds the tunnels.
            stop_services(session)
            if session.is_local():
                remove_unprivileged(lab.home)
        remove_home(lab)
    return plan


def remove_home(lab: Lab) -> None:
    """Deletes the lab's folder. Raises LabError when it is not one that a lab made."""
    if lab.home.is_symlink() or not (lab.project_dir / "Pulumi.yaml").is_file():
        raise LabError("this is not the folder of a lab", value=str(lab.home))
    try:
        shutil.rmtree(lab.home)
    except OSError as error:
        raise LabError(f"the lab's folder can't be removed: {error}", value=str(lab.home)) from error
