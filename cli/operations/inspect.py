"""Looking at a lab without changing it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.components import saved_set
from cli.project import Lab, existing_labs, read_config
from cli.session import Session
from components.registry import CATALOGS, COMPONENTS, selected
from contracts.errors import LabError, unknown_name
from contracts.identity import lab_realm
from contracts.outputs import LabOutputs
from contracts.settings import Role


@dataclass(frozen=True, kw_only=True)
class ServiceRow:
    """One service. ``since`` is when its state began, in seconds since the epoch."""

    name: str
    state: str
    pid: int | None
    since: float
    restarts: int
    memory_mib: int | None
    ports: Mapping[str, int]
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Status:
    """A lab as it is now. ``up`` is whether the lab stack has been deployed; ``ready`` whether all its
    services are; ``revision`` is the living access data's, None when the governor can't be asked; ``shares``
    the lab whose persistent stack it shares, None where it has its own."""

    lab: str
    home: str
    up: bool
    ready: bool
    supervised: bool
    catalog: str | None
    components: tuple[str, ...]
    services: tuple[ServiceRow, ...]
    memory_mib: int
    revision: int | None
    bundle_age_s: float | None
    notes: tuple[str, ...]
    labs: tuple[str, ...]
    shares: str | None = None


_NOT_ANSWERING = ("starting", "backoff", "failed")


def status(session: Session, *, ask_governor: bool = True) -> Status:
    """Every service, the saved set and the access data's revision. Asks no engine, so it is quick; the
    governor is asked only while it is ready."""
    lab = session.lab
    lab.require()
    services = tuple(
        ServiceRow(
            name=one.name,
            state=one.state.value,
            pid=one.pid,
            since=one.since,
            restarts=one.restarts,
            memory_mib=one.memory_mib,
            ports=dict(one.ports),
            reason=one.reason,
        )
        for one in session.supervisor.status()
    )
    outputs = _outputs(session)
    notes: list[str] = []
    revision, age_s = None, None
    governor_ready = any(one.name == "governor" and one.state == "ready" for one in services)
    if ask_governor and outputs and governor_ready:
        try:
            revision, age_s = _access_revision(session, outputs)
        except LabError as error:
            notes.append(error.what)
    if not session.is_local() and any(one.state in _NOT_ANSWERING for one in services):
        notes.append("what is not ready here is a tunnel; `lab doctor` asks the cluster what its pods lack")
    return Status(
        lab=lab.name,
        home=str(lab.home),
        up=outputs is not None,
        ready=bool(services) and outputs is not None and all(one.state == "ready" for one in services),
        supervised=session.supervisor.running(),
        catalog=outputs.catalog_kind if outputs else read_config(lab, Role.LAB).get("catalog"),
        components=outputs.components if outputs else saved_set(lab),
        services=services,
        memory_mib=sum(one.memory_mib or 0 for one in services),
        revision=revision,
        bundle_age_s=age_s,
        notes=tuple(notes),
        labs=tuple(existing_labs(lab.home.parent)),
        shares=lab.owner,
    )


def _outputs(session: Session) -> LabOutputs | None:
    return session.outputs() if session.outputs_file.exists() else None


def _access_revision(session: Session, outputs: LabOutputs) -> tuple[int | None, float | None]:
    from cli.access import governor_client

    with governor_client(session, outputs) as client:
        found = client.status()
    age_s = None
    if found.publication is not None:
        # Below zero when the clock was moved back since.
        age_s = round(time.time() - found.publication.issued_at.timestamp(), 1)
    return found.revision, age_s


@dataclass(frozen=True, kw_only=True)
class ComponentRow:
    """One component. ``state``: of its service, ``down`` when it is not deployed."""

    name: str
    title: str
    core: bool
    saved: bool
    memory_mib: int
    placements: tuple[str, ...]
    needs: tuple[str, ...]
    aliases: tuple[str, ...]
    state: str


def components(session: Session) -> tuple[ComponentRow, ...]:
    """All components with what they need and whether they run. Works before a lab is made."""
    lab = session.lab
    states = {one.name: one.state.value for one in session.supervisor.status()} if lab.exists else {}
    catalog = read_config(lab, Role.LAB).get("catalog", CATALOGS[0]) if lab.exists else CATALOGS[0]
    running = {info.name for info in selected(saved_set(lab), catalog)}
    config = read_config(lab, Role.LAB) if lab.exists else {}
    saved = set(saved_set(lab))
    return tuple(
        ComponentRow(
            name=info.name,
            title=info.title,
            core=info.core,
            saved=info.name in saved,
            memory_mib=info.memory_at(config),
            placements=info.placements,
            needs=info.needs,
            aliases=info.aliases,
            state=states.get(info.service, "down") if info.name in running else "down",
        )
        for info in COMPONENTS.values()
    )


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A sample user."""

    username: str
    password: str
    groups: tuple[str, ...]
    description: str


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Who can sign in and where. ``keys`` are filled only when asked for: identities of services."""

    lab: str
    personas: tuple[Credential, ...]
    urls: Mapping[str, str]
    keys: Mapping[str, str]


def credentials(session: Session, *, all_keys: bool = False) -> Credentials:
    """Sample users with their passwords, from the persistent stack's encrypted outputs."""
    from cli.operations.lifecycle import urls_of

    slot = session.slot()
    realm = lab_realm(session.lab.name)
    outputs = _outputs(session)
    keys: dict[str, str] = {}
    if all_keys:
        for name, user in (
            ("catalog", slot.catalog_store_user),
            ("governor", slot.governor_store_user),
            ("opa", slot.opa_store_user),
        ):
            keys[f"s3 {name} access key"] = user.access_key
            keys[f"s3 {name} secret key"] = user.secret_key
        keys["s3 endpoint"] = slot.warehouse.operator_endpoint_url or slot.warehouse.endpoint_url
        for client, secret in sorted(slot.secrets.client_secrets.items()):
            keys[f"client {client}"] = secret
        for database in (
            slot.catalog_database,
            slot.keycloak_database,
            slot.governance_database,
            slot.masking_database,
            slot.control_plane_database,
            slot.agent_database,
        ):
            address = f"{database.host}:{database.port}/{database.name}"
            keys[f"postgresql {address} role {database.role}"] = database.password
    return Credentials(
        lab=session.lab.name,
        personas=tuple(
            Credential(
                username=persona.username,
                password=slot.secrets.persona_passwords[persona.username],
                groups=persona.groups,
                description=persona.description,
            )
            for persona in realm.personas
        ),
        urls=urls_of(outputs) if outputs else {},
        keys=keys,
    )


def log_files(lab: Lab) -> dict[str, Path]:
    """Logs by service; the engine's own runs are named ``pulumi-<stack>-<operation>``."""
    return {path.name.removesuffix(".log"): path for path in sorted(lab.logs_dir.glob("*.log"))}


def logs(session: Session, service: str, *, lines: int = 50, follow: bool = False) -> Iterator[str]:
    """The last ``lines`` of a service's log, then, with ``follow``, each new line, across rotation.

    Raises:
        UsageError: no service of that name has a log.
    """
    lab = session.lab
    lab.require()
    files = log_files(lab)
    if service not in files:
        raise unknown_name("log", service, files, next_command="lab logs")
    return _lines(files[service], lines, follow)


def _lines(path: Path, lines: int, follow: bool) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from (line.rstrip("\n") for line in deque(file, maxlen=max(0, lines)))
        position = file.tell()
    if follow:
        yield from _follow(path, position)


def _follow(path: Path, position: int, pause_s: float = 0.2) -> Iterator[str]:
    while True:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = 0
        if size < position:
            position = 0
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                chunk = file.read(1 << 20)
            end = chunk.rfind(b"\n") + 1
            if end:
                position += end
                yield from chunk[:end].decode("utf-8", errors="replace").splitlines()
                continue
        time.sleep(pause_s)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What to source for running Pulumi by hand on this lab."""

    lab: str
    project_dir: str
    lines: tuple[str, ...]
    variables: Mapping[str, str]


def env(session: Session) -> Environment:
    """The project directory and the exports; the engine is obtained when it is not there yet."""
    from cli.project import shell_lines
    from cli.steps import prepare_project
    from cli.toolchain import pulumi_engine

    prepare_project(session)
    engine = pulumi_engine(session.lab.cache, session.progress)
    values = session.engine_environment(engine)
    return Environment(
        lab=session.lab.name,
        project_dir=str(session.lab.project_dir),
        lines=tuple(shell_lines(session.lab, values)),
        variables=values,
    )
