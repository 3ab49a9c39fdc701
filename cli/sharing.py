"""Labs that share one persistent stack. The lab whose name the stack has owns it and makes it; every other
one has a slot there and a lab stack of its own, in the same backend, and never changes the owner's."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from cli.backend import backend_url, remember_secrets_provider, secrets_provider
from cli.joining import join
from cli.project import SHARING_STACK, Lab, existing_labs, open_lab, read_config, set_config, settings
from cli.session import Session
from cli.steps import asked_port_base, prepare_project
from contracts.errors import LabError, UsageError
from contracts.setting_values import lab_names
from contracts.settings import SETTINGS, Role, environment
from contracts.slots import domain_in, refuse_shared_machine, slot_command

_BY_NAME = {setting.key: setting for setting in SETTINGS}
_ITS_OWN = frozenset(
    {
        *("role", "name", "home", "portBase", "namespace", "kubeconfig", "kubeContext"),
        *("imagesFile", "imagePullSecret", "storageClass"),
    }
)
"""Settings of both stacks that a lab has for itself. How a cluster is reached differs between machines."""
_FIRST = ("kubeconfig", "kubeContext")
"""Of these, those that are taken from the owner once, for a start."""
_OF_A_CLUSTER = frozenset({"quotaMemoryMib", "quotaCpuMillicores"})
"""Settings of the namespace, which is the persistent stack's on kubernetes and the lab stack's on aws."""


def take_part(session: Session, changes: Mapping[str, str] | None = None, *, fresh: bool = False) -> None:
    """Before a command that runs stacks: makes the project of a lab that is to share another's persistent
    stack (LAB_SHARES), has one that does follow its owner, or takes over a lab whose state lies elsewhere.

    Args:
        changes: settings about to be kept.
        fresh: refuse where the lab stack is there already.

    Raises:
        UsageError: the lab can't share that stack, a setting is the owner's, or it is there though ``fresh``.
        LabError: there is no slot for it. Of a new lab nothing is left.
    """
    lab = session.lab
    if fresh and lab.exists:
        raise _is_there(lab)
    owner = _asked_owner(session)
    if owner is None:
        if join(session, changes) and fresh:
            shutil.rmtree(lab.home)
            raise _is_there(lab)
        return
    if lab.exists:
        _follow(session, owner, changes or {})
        return
    was_there = lab.home.exists()
    try:
        _begin(session, owner, changes or {}, fresh=fresh)
    except LabError:
        # What it would remember is not so, and the next attempt is refused.
        for file in (lab.project_dir / "Pulumi.yaml", lab.owner_file):
            file.unlink(missing_ok=True)
        if not was_there:
            shutil.rmtree(lab.home, ignore_errors=True)
        raise


def _asked_owner(session: Session) -> str | None:
    """The lab whose persistent stack this one shares or is to share, None where it has its own."""
    lab, asked = session.lab, environment("LAB_SHARES", session.environ)
    if asked is None or asked == lab.owner:
        return lab.owner
    if asked == lab.name:
        raise UsageError(
            f"lab {lab.name!r} can't share its own persistent stack",
            value=asked,
            permitted="another lab's; or nothing, for the one that owns it",
            next_command="unset LAB_SHARES, or the command without --shares",
        )
    if lab.exists:
        has = f"shares that of lab {lab.owner!r}" if lab.owner else "has a persistent stack of its own"
        raise UsageError(
            f"lab {lab.name!r} {has}, and what it keeps does not move",
            value=asked,
            permitted=lab.owner or "nothing",
            next_command=f"unset LAB_SHARES; or lab --name OTHER up --shares {asked}",
        )
    return asked


def _begin(session: Session, owner: str, changes: Mapping[str, str], *, fresh: bool) -> None:
    """Makes the project of a lab that shares the owner's stack: found by the owner's project on this machine,
    else by where its state lies (LAB_BACKEND_URL)."""
    lab, known = session.lab, open_lab(owner, session.environ, session.lab.root)
    if known.exists and known.owner:
        raise UsageError(
            f"lab {owner!r} has no persistent stack of its own: it shares that of lab {known.owner!r}",
            value=owner,
            permitted=known.owner,
            next_command=f"lab --name {lab.name} up --shares {known.owner}",
        )
    asked_state = environment("LAB_BACKEND_URL", session.environ)
    if not known.exists and asked_state is None:
        others = [name for name in existing_labs(lab.home.parent) if name != lab.name]
        raise UsageError(
            f"lab {owner!r} is not known on this machine",
            value=owner,
            permitted=", ".join(others) or "where its state lies: --state URL",
            next_command=f"lab --name {lab.name} up --shares {owner} --state URL, as it was made there",
        )
    if known.exists:
        _refuse_local(lab, owner, read_config(known, Role.PERSISTENT).get("placement", "local"))
    # In the owner's place, whose state this lab's lies beside.
    place = known if known.exists else lab
    backend = backend_url(place, session.environ)
    key = secrets_provider(place, session.environ)
    lab.project_dir.mkdir(parents=True, exist_ok=True)
    lab.owner_file.write_text(f"{owner}\n", encoding="utf-8")
    if known.exists and key is None:
        _share_passphrase(lab, known)
    prepare_project(session, port_base=asked_port_base(changes), backend=backend, secrets_key=key)
    session.renew_engine()
    if not session.engine.exists(Role.PERSISTENT):
        raise LabError(
            f"what lab {owner!r} keeps is not made yet",
            value=backend,
            permitted="a persistent stack with a slot for this lab",
            next_command=slot_command(owner, (), lab.name),
        )
    if session.engine.exists(Role.LAB):
        if fresh:
            raise _is_there(lab)
        own = read_config(lab, Role.LAB)
        # One that never came up has no settings yet.
        session.engine.take_settings(Role.LAB)
        for setting in ("home", "portBase"):
            set_config(lab, Role.LAB, setting, own[setting])
    _follow(session, owner, changes, first=True)
    provider = secrets_provider(lab, session.environ)
    if provider is None and not known.exists:
        raise UsageError(
            "this state opens with the passphrase of the machine that made it",
            value=backend,
            permitted=f"a state that a key encrypts (--secrets), or the machine on which lab {owner!r} is",
            next_command="on that machine: pulumi stack change-secrets-provider URL, for both stacks",
        )
    if provider:
        remember_secrets_provider(lab, provider)
    session.renew_engine()
    session.slot()
    # At once, so that of two that come at the same moment one alone goes on.
    if fresh and not session.engine.create(Role.LAB):
        raise _is_there(lab)
    session.say(f"lab {lab.name!r} shares the persistent stack of lab {owner!r}, in which it has a slot")


def _share_passphrase(lab: Lab, owner: Lab) -> None:
    """The state has one passphrase for all labs that lie in it. A link, so that there is one file of it."""
    lab.secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if lab.passphrase_file.is_symlink():
        lab.passphrase_file.unlink()
    if lab.passphrase_file.exists():
        raise LabError(
            "this folder is that of another lab, which is half made",
            value=str(lab.home),
            permitted="a folder that is not there yet",
            next_command=f"rm -r {lab.home}, once nothing in it is needed",
        )
    # Relative: both folders move together.
    lab.passphrase_file.symlink_to(f"../../{owner.home.name}/secrets/{owner.passphrase_file.name}")


def _follow(session: Session, owner: str, changes: Mapping[str, str], *, first: bool = False) -> None:
    """Takes the owner's settings as its last run had them: into the file of its stack, which is only read
    here, and into the lab stack's, where both stacks have to say the same."""
    lab = session.lab
    session.engine.take_settings(Role.PERSISTENT)
    found = read_config(lab, Role.PERSISTENT)
    if found.get("name") != owner:
        raise UsageError(
            f"the state of lab {found.get('name')!r} lies there, not that of lab {owner!r}",
            value=owner,
            permitted=str(found.get("name")),
            next_command=f"lab --name {lab.name} up --shares {found.get('name')}",
        )
    placement = found.get("placement", "local")
    _refuse_local(lab, owner, placement)
    given = {key: found.get(key, _BY_NAME[key].default) for key in _followed(placement)}
    given["ingressDomain"] = domain_in(owner, lab.name, given["ingressDomain"])
    if first and not session.engine.exists(Role.LAB):
        given |= {key: found[key] for key in (*_FIRST, *_OF_A_CLUSTER) if key in found}
    _refuse_owners(lab, owner, changes, given, placement)
    own = read_config(lab, Role.LAB)
    for key, value in given.items():
        if own.get(key, _BY_NAME[key].default) != value:
            set_config(lab, Role.LAB, key, value)
    if not first:
        session.renew_engine()
        session.slot()


def _followed(placement: str) -> list[str]:
    """Settings that a lab has from its owner."""
    own = _ITS_OWN | (_OF_A_CLUSTER if placement == "aws" else frozenset())
    return [s.key for s in SETTINGS if s.roles == frozenset(Role) and s.key not in own]


def _refuse_owners(
    lab: Lab, owner: str, changes: Mapping[str, str], given: Mapping[str, str], placement: str
) -> None:
    """Raises UsageError for a setting that is the owner's to change."""
    for key, value in changes.items():
        setting, own = _BY_NAME[key], f"lakehouse-{lab.name}"
        if key == "namespace" and value not in ("", own):
            raise UsageError(
                f"the namespace of lab {lab.name!r} has its name, since lab {owner!r} has made it a slot",
                value=value,
                permitted=own,
                next_command=f"lab --name {lab.name} up --shares {owner}",
            )
        fixed = key in _followed(placement)
        if value == given.get(key) or (Role.LAB in setting.roles and not fixed):
            continue
        raise UsageError(
            f"setting {key!r} of lab {lab.name!r} is that of the persistent stack, which lab {owner!r} owns",
            value=value,
            permitted=given.get(key) or "what the owner sets",
            next_command=f"lab --name {owner} bootstrap --set {key}={value}",
        )


def _refuse_local(lab: Lab, owner: str, placement: str) -> None:
    if placement == "local":
        refuse_shared_machine(owner, (lab.name,))


def _is_there(lab: Lab) -> UsageError:
    return UsageError(
        f"lab {lab.name!r} is there already: somebody's, or what an earlier run left",
        value="--fresh",
        permitted="a lab that nobody has brought up, or that was destroyed since",
        next_command="lab destroy, once nobody uses it",
    )


# What the owner has to mind.


def guests_of(session: Session) -> tuple[str, ...]:
    """The labs whose lab stack lies beside this one's and needs a slot of its persistent stack. None on this
    machine, where nothing is shared, and of a lab that shares another's."""
    if not session.lab.exists or session.lab.owner or session.is_local():
        return ()
    names = session.engine.stack_names()
    return tuple(name.removeprefix(SHARING_STACK) for name in names if name.startswith(SHARING_STACK))


def refuse_bound(session: Session, what: str) -> None:
    """Raises UsageError for a command that is the owner's alone, in a lab that shares its stack."""
    lab, asked = session.lab, environment("LAB_SHARES", session.environ)
    owner = lab.owner or (asked if asked != lab.name and not lab.exists else None)
    if owner:
        raise UsageError(
            f"what lab {lab.name!r} keeps is in the persistent stack of lab {owner!r}, which it only reads",
            value=f"lab --name {lab.name} {what}",
            permitted=f"the same of lab {owner!r}, for all labs that have a slot there",
            next_command=f"lab --name {owner} {what}, then lab --name {lab.name} up",
        )


def refuse_abandoned(session: Session, changes: Mapping[str, str]) -> None:
    """Raises UsageError where labs would share what is on one machine, or one whose stack is still there
    would lose its slot. Nothing was changed."""
    lab = session.lab
    config = read_config(lab, Role.PERSISTENT) if lab.exists else {}
    kept = lab_names(changes.get("moreLabs", config.get("moreLabs", "")))
    if changes.get("placement", config.get("placement", "local")) == "local":
        refuse_shared_machine(lab.name, kept)
        return
    lost = [name for name in guests_of(session) if name not in kept]
    if lost:
        raise UsageError(
            f"the stack of lab {lost[0]!r} is still there, and its slot would go",
            value=f"moreLabs: {', '.join(kept) or 'none'}",
            permitted=f"moreLabs with {', '.join(lost)} among them",
            next_command=f"lab --name {lost[0]} destroy, then the same command again",
        )


def refuse_shared(session: Session) -> None:
    """Raises UsageError while labs need what this one is about to remove."""
    names = guests_of(session)
    if names:
        raise UsageError(
            f"labs share the persistent stack of lab {session.lab.name!r}, and would lose all that they keep",
            value=", ".join(names),
            permitted="a persistent stack that no other lab's stack is left of",
            next_command="; ".join(f"lab --name {name} destroy" for name in names),
        )


def slot_removal(session: Session) -> tuple[str, ...]:
    """How the owner takes away the slot of a lab that shared its stack, command by command."""
    lab = session.lab
    config = read_config(lab, Role.PERSISTENT)
    rest = ",".join(name for name in lab_names(config.get("moreLabs", "")) if name != lab.name)
    command = f"lab --name {lab.owner} bootstrap --set"
    removed = f"{command} moreLabs={rest}"
    if settings(lab, Role.LAB, session.environ).placement != "aws":
        return (removed,)
    return (
        f"{command} awsProtect=false --throw-away",
        f"{removed} --throw-away",
        f"{command} awsProtect=true",
    )
