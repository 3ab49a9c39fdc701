"""The steps that bringing a lab up is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from cli.accounts import check_aws_lab, remember_account
from cli.backend import backend_url, secrets_provider
from cli.catalog_choice import CatalogChoice, choose_catalog
from cli.components import artifacts_of, check_placement, saved_set
from cli.engine import RunResult
from cli.locks import waiting_for
from cli.ports import another_block, check_block, choose_block, remember_folder
from cli.project import (
    Lab,
    ensure_project,
    half_made_port_base,
    read_config,
    set_config,
    settings,
    with_config_value,
    write_private,
)
from cli.session import Session
from components.registry import SERVICE_ORDER, ComponentInfo
from contracts.errors import LabError, UsageError, unknown_name
from contracts.settings import (
    SETTINGS,
    Role,
    environment,
    labs_home,
    polaris_home,
    read_settings,
    refuse_misplaced,
)
from placements.local import artifacts as artifact_cache
from placements.local import preflight
from placements.local.ports import FOUNDATION_ORDER, PORTS_PER_LAB, service_port

DATA_FREE_MIB = 1024
"""Free space that tables, logs and state of a small lab need to grow into."""

SMALLEST_HEAP_MIB = 640
"""With which Trino still answers the sample queries."""

_PROGRAM_ROOMS = ("contracts", "stacks", "components", "placements", "plugins")


def prepare_project(
    session: Session,
    *,
    port_base: int | None = None,
    backend: str | None = None,
    secrets_key: str | None = None,
) -> bool:
    """Makes the lab's project directory where it is missing. Returns whether the lab is new.

    Args:
        port_base: the first port of a new lab's block; None chooses one.
        backend: where its state lies, and
        secrets_key: what encrypts it; None: as the environment says, or in its own folder by a passphrase.
    """
    lab = session.lab
    place = {
        "backend": backend or backend_url(lab, session.environ),
        "secrets_key": secrets_key or secrets_provider(lab, session.environ),
    }
    if lab.exists:
        return ensure_project(lab, virtualenv=session.virtualenv, port_base=0, **place)
    labs = labs_home(session.environ)
    # Two labs that are made at the same moment must not choose the same block, wherever they are.
    with waiting_for(lab.cache / "labs-folders.lock"):
        others = remember_folder(lab.cache, labs)
        base = port_base or half_made_port_base(lab) or choose_block(labs, others)
        new = ensure_project(lab, virtualenv=session.virtualenv, port_base=base, **place)
    session.say(f"new lab {lab.name!r} in {lab.home}, ports {base} to {base + PORTS_PER_LAB - 1}")
    return new


def save_components(lab: Lab, names: Sequence[str]) -> bool:
    """Keeps the saved set in the lab stack's config. Returns whether it changed."""
    if saved_set(lab) == tuple(names):
        return False
    return set_config(lab, Role.LAB, "components", ",".join(names))


FIXED_SETTINGS = {
    "role": "a stack is one or the other",
    "name": "lab --name OTHER makes another lab",
    "home": "LAB_HOME says where labs are",
    "components": "lab up NAME, lab up --without NAME",
    "catalog": "lab up --catalog, for a new lab",
    "polarisHome": "LAB_POLARIS_HOME=FOLDER lab up",
}
"""Settings that have a way of their own to be set, and which."""


def check_settings(changes: Mapping[str, str]) -> None:
    """Raises UsageError for an unknown setting (nearest suggested), a value out of range (example given)
    or one that is set in another way."""
    known = {setting.key: setting for setting in SETTINGS}
    for key, value in changes.items():
        if key not in known:
            raise unknown_name("setting", key, known, next_command="lab up --set scaleFactor=0.01")
        if key in FIXED_SETTINGS:
            how = FIXED_SETTINGS[key]
            raise UsageError(f"setting {key!r} is not set this way", value=value, permitted=how)
        if known[key].secret:
            raise UsageError(
                f"setting {key!r} is a secret and is not set this way",
                permitted=f"pulumi config set --secret {key}, in the folder that `lab env` names",
            )
        role = Role.LAB if Role.LAB in known[key].roles else Role.PERSISTENT
        read_settings({"role": role.value, key: value})


def with_changes(lab: Lab, role: Role, changes: Mapping[str, str]) -> dict[str, str]:
    """One stack's config as it is once ``changes`` are kept, checked. Raises UsageError as
    ``read_settings``."""
    kept = read_config(lab, role) if lab.exists else {"role": role.value}
    whole = {**kept, **{s.key: changes[s.key] for s in SETTINGS if s.key in changes and role in s.roles}}
    read_settings(whole)
    return whole


def check_misplaced(lab: Lab, changes: Mapping[str, str]) -> None:
    """Raises UsageError for a setting, about to be kept or kept before, that the lab's placement does not
    read."""
    for role in Role:
        whole = with_changes(lab, role, changes)
        asked = {key: whole[key] for key in ("role", "placement", *changes) if key in whole}
        refuse_misplaced(asked, next_command="the same command without that --set")
        refuse_misplaced(whole)


def save_settings(lab: Lab, changes: Mapping[str, str]) -> None:
    """Keeps settings in the config of every stack of the lab's own that has them."""
    roles = {setting.key: setting.roles & {*lab.own_roles} for setting in SETTINGS}
    for key, value in changes.items():
        for role in sorted(roles[key]):
            set_config(lab, role, key, value)


def pin_catalog(session: Session, choice: CatalogChoice) -> None:
    """Writes the catalog into the config of both stacks, and says it when there is something to say. The
    folder it is run from is remembered, so that the variable that named it is needed once."""
    for role in session.lab.own_roles:
        set_config(session.lab, role, "catalog", choice.kind)
    if choice.polaris_home:
        set_config(session.lab, Role.LAB, "polarisHome", str(choice.polaris_home))
    if choice.notice:
        session.say(choice.notice)


def keep_model_key(session: Session) -> None:
    """Keeps the key of the agent's model that the environment holds, so that it is needed once."""
    key = environment("LAB_AGENT_MODEL_KEY", session.environ)
    if key is not None:
        write_private(session.lab.model_key_file, key.strip())


def core_config(lab: Lab) -> Path:
    """A copy of the lab stack's config with an empty saved set, for one run alone."""
    text = lab.stack_file(Role.LAB).read_text(encoding="utf-8")
    path = lab.project_dir / "core.yaml"
    write_private(path, with_config_value(text, "components", ""))
    return path


def catalog_for(
    session: Session, asked: str | None, changes: Mapping[str, str] | None = None
) -> CatalogChoice:
    """The catalog this lab has or, before its persistent stack is made, gets. In an account that is the one
    that runs there; its software is in an image."""
    lab = session.lab
    made = persistent_digest(lab) or lab.owner
    pinned = read_config(lab, Role.PERSISTENT).get("catalog") if made else None
    made_for = session.placement() if lab.exists else "local"
    if pinned is None and (changes or {}).get("placement", made_for) == "aws":
        from placements.aws.lab import CATALOG, check_catalog

        check_catalog(asked or CATALOG)
        return CatalogChoice(kind=CATALOG)
    return choose_catalog(
        asked,
        pinned=pinned,
        polaris_home=polaris_home_of(session),
        reachable=lambda one: not artifact_cache.missing([one], lab.cache) or artifact_cache.reachable(one),
        environ=session.environ,
    )


def polaris_home_of(session: Session) -> Path | None:
    """The folder that the user names by LAB_POLARIS_HOME, or that the lab remembers; not checked."""
    config = read_config(session.lab, Role.LAB) if session.lab.exists else {}
    return polaris_home(config.get("polarisHome", ""), session.environ)


def check_machine(
    session: Session, chosen: Sequence[ComponentInfo], changes: Mapping[str, str] | None = None
) -> None:
    """Memory, disk and ports, before anything is started; ``changes`` are settings about to be kept.
    Raises PreflightError or UsageError."""
    lab = session.lab
    made_for = settings(lab, Role.LAB, session.environ).placement if lab.exists else "local"
    placement = (changes or {}).get("placement", made_for)
    if placement != made_for and persistent_digest(lab):
        raise UsageError(
            f"lab {lab.name!r} was made on placement {made_for!r}, where what it keeps stays",
            value=placement,
            permitted="another lab on another placement",
            next_command=f"lab --name OTHER up --set placement={placement}",
        )
    check_placement(chosen, placement)
    check_misplaced(lab, changes or {})
    if placement == "aws":
        # Loaded here: a lab on this machine has no use for it.
        from placements.aws.account import region_of

        region_of(read_settings(with_changes(lab, Role.PERSISTENT, changes or {})))
    if placement == "kubernetes":
        from cli.clusters import refuse_moving

        refuse_moving(session, changes or {})
    if placement != "local":
        return
    services = session.supervisor.status() if lab.exists else []
    config = {**(read_config(lab, Role.LAB) if lab.exists else {}), **(changes or {})}
    preflight.check_memory(
        memory_needed_mib(chosen, config),
        running_mib=sum(service.memory_mib or 0 for service in services),
        smaller=smaller_labs(chosen, config),
    )
    preflight.check_disk({lab.home: DATA_FREE_MIB})
    base = asked_port_base(changes)
    if base is not None:
        check_block(labs_home(session.environ), lab.name, base)
    elif lab.exists:
        base = settings(lab, Role.LAB, session.environ).port_base
    if base is not None:
        check_ports(session, ports_of(base, chosen))


def check_elsewhere(session: Session, chosen: Sequence[ComponentInfo]) -> None:
    """Whether the cluster or the account of a lab that is not on this machine can carry it. Raises
    PreflightError or UsageError, the lab's settings being kept."""
    if session.placement() == "aws":
        remember_account(session.lab, check_aws_lab(session, chosen))
    elif not session.is_local():
        from cli.clusters import check_cluster_lab, remember_cluster

        remember_cluster(session.lab, check_cluster_lab(session, chosen))


def asked_port_base(changes: Mapping[str, str] | None) -> int | None:
    """The block of ports that ``--set portBase`` asks for, None when it does not."""
    asked = (changes or {}).get("portBase")
    return None if asked is None else int(asked)


def check_ports(session: Session, ports: Mapping[str, int]) -> None:
    """Raises PreflightError, with a block that is free, when somebody else holds one of ``ports``."""
    labs = labs_home(session.environ)
    preflight.check_ports(session.lab.home, ports, another=lambda: another_block(labs))


def memory_needed_mib(chosen: Sequence[ComponentInfo], config: Mapping[str, str]) -> int:
    """What the foundation and these components take together with the lab stack's settings ``config``."""
    return preflight.memory_needed_mib(info.memory_at(config) for info in chosen)


def smaller_labs(chosen: Sequence[ComponentInfo], config: Mapping[str, str]) -> dict[str, int]:
    """Commands that bring up less than ``chosen``, with the MiB that each takes, the largest first."""
    least = {info.heap_setting: str(SMALLEST_HEAP_MIB) for info in chosen if info.heap_setting}
    found = {}
    if least:
        options = "".join(f" --set {key}={value}" for key, value in least.items())
        found[f"lab up{options}"] = memory_needed_mib(chosen, {**config, **least})
    if any(not info.core for info in chosen):
        found["lab up --core"] = memory_needed_mib([info for info in chosen if info.core], config)
    return found


def ports_of(port_base: int, chosen: Sequence[ComponentInfo]) -> dict[str, int]:
    """The main port of the foundation's services and of these components, by service."""
    names = dict.fromkeys([*FOUNDATION_ORDER, *(name for info in chosen for name in info.services)])
    return {name: service_port(port_base, SERVICE_ORDER, name, 0) for name in names}


def fetch(session: Session, chosen: Sequence[ComponentInfo]) -> None:
    """Obtains the engine and everything the components run, side by side, into the per-user cache."""
    from cli.toolchain import engine_artifacts

    cache = session.lab.cache
    wanted = engine_artifacts(cache, session.progress)
    if session.is_local():
        wanted += artifacts_of(chosen, polaris_home=polaris_home_of(session))
    absent = artifact_cache.missing(wanted, cache)
    if absent:
        session.say(f"fetching {', '.join(artifact.name for artifact in absent)} into {cache}")
        artifact_cache.ensure_all(wanted, cache, session.progress)


def is_converged(lab: Lab) -> bool:
    """Whether the persistent stack is made, and nothing that it depends on changed since."""
    return lab.exists and persistent_digest(lab) == wanted_digest(lab)


def converge_persistent(session: Session) -> None:
    """Runs the persistent stack when it is missing or anything it depends on changed; else only sees to
    it that the foundation's services run, or the tunnels to them."""
    if not is_converged(session.lab):
        run_persistent(session)
        return
    if session.is_local() or _keeps_inside(session):
        try:
            session.supervisor.start(list(FOUNDATION_ORDER))
        except LabError as error:
            session.say(f"the foundation did not start ({error.what}); its stack is run again")
            run_persistent(session)


def _keeps_inside(session: Session) -> bool:
    if session.placement() != "kubernetes":
        return False
    from cli.clusters import keeps_inside

    return keeps_inside(session.lab)


def head_start(session: Session, chosen: Sequence[ComponentInfo]) -> None:
    """Lets services start again as they were when the lab went down, while the engine reads the program:
    it finds them on their way and restarts only what changed. Nothing where the persistent stack or the
    program changed since, since then their plans did too."""
    if session.is_local() and persistent_digest(session.lab) == wanted_digest(session.lab):
        session.supervisor.resume([name for info in chosen for name in info.services])


def forget_strays(session: Session, chosen: Sequence[ComponentInfo]) -> None:
    """Removes services that neither stack has: those of a head start whose run did not get to them."""
    if not session.is_local():
        return
    known = {*FOUNDATION_ORDER, *(name for info in chosen for name in info.services)}
    for service in session.supervisor.status():
        if service.name not in known:
            session.supervisor.remove(service.name)


def run_persistent(session: Session) -> RunResult:
    """Runs the persistent stack and notes what it was made from."""
    session.say("persistent stack: databases, object store, keys and passwords")
    result = session.engine.up(Role.PERSISTENT)
    session.forget_former_outputs()
    write_private(_digest_file(session.lab), wanted_digest(session.lab) + "\n")
    return result


def persistent_digest(lab: Lab) -> str | None:
    """What the persistent stack was last made from; None before it was made."""
    try:
        return _digest_file(lab).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def wanted_digest(lab: Lab) -> str:
    """Of the program's code and the persistent stack's config: equal means nothing to do."""
    digest = hashlib.sha256(repr(sorted(read_config(lab, Role.PERSISTENT).items())).encode())
    digest.update((lab.root / "requirements.txt").read_bytes())
    for room in _PROGRAM_ROOMS:
        for path in sorted((lab.root / room).rglob("*.py")):
            digest.update(str(path.relative_to(lab.root)).encode() + path.read_bytes())
    return digest.hexdigest()


def remember_made_elsewhere(lab: Lab) -> None:
    """Notes that the persistent stack is made, and that nobody here knows from what: it is run once."""
    write_private(_digest_file(lab), "elsewhere\n")


def _digest_file(lab: Lab) -> Path:
    return lab.project_dir / "persistent.digest"
