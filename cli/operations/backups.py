"""Backups of a lab whose data services run inside its cluster, and putting one back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cli.project import settings
from cli.session import Session
from cli.sharing import refuse_bound
from contracts.errors import LabError, UsageError
from contracts.outputs import PersistentOutputs, from_exports
from contracts.settings import Role
from contracts.slots import data_namespace
from placements.local.ports import FOUNDATION_ORDER

if TYPE_CHECKING:
    from placements.kubernetes.cluster import Cluster
    from placements.kubernetes.inside.backup import Backup, Bucket

_TUNNEL_S = 60.0


@dataclass(frozen=True, kw_only=True)
class BackupRow:
    """One backup: its name is the time (UTC) it was begun at; bytes packed and unpacked."""

    name: str
    archive_bytes: int
    data_bytes: int


@dataclass(frozen=True, kw_only=True)
class BackupResult:
    """What was backed up, and the names of those that went for it."""

    backup: BackupRow
    removed: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RestoreResult:
    """What the lab has now, and how many databases answer."""

    backup: BackupRow
    databases: int
    seconds: float


def backup(session: Session) -> BackupResult:
    """Backs the lab's databases up now, up or down, as its schedule does.

    Raises:
        UsageError: the lab keeps its data elsewhere.
        LabError: it failed, with the reason.
    """
    from placements.kubernetes.inside.operating import run_backup

    _require_inside(session, "backup")
    began = time.monotonic()
    with session.exclusive("backup"):
        answer = run_backup(_beside(session), f"{datetime.now(UTC):%Y%m%d%H%M%S}")
    return BackupResult(
        backup=_row(answer["backup"]),
        removed=tuple(answer["removed"]),
        seconds=round(time.monotonic() - began, 1),
    )


def list_backups(session: Session) -> tuple[BackupRow, ...]:
    """All backups, the newest first. Raises as :func:`backup`."""
    _require_inside(session, "backup --list")
    with _store(session) as bucket:
        return tuple(_row(vars(one)) for one in _backups(bucket))


def restore(
    session: Session, *, at: str | None = None, confirm: Callable[[BackupRow], None] = lambda _: None
) -> RestoreResult:
    """Puts a backup, the newest or the one named, in the place of the lab's databases, once ``confirm`` has
    returned; it raises to refuse. What is in the object store stays as it is.

    Raises:
        UsageError: the lab is up, there is no such backup, or its data is elsewhere; nothing has changed.
        LabError: the backup is not whole, or the server does not start with it.
    """
    from placements.kubernetes.inside import operating
    from placements.local.foundation import postgres

    _require_inside(session, "restore")
    _refuse_running(session)
    with session.exclusive("restore"), _store(session) as bucket:
        chosen = _chosen(_backups(bucket), at)
        confirm(_row(vars(chosen)))
        # Somebody may have brought it up while the owner was asked.
        _refuse_running(session)
        began = time.monotonic()
        manifest, archive = _opened(bucket, chosen)
        header = {
            "manifest_bytes": len(manifest),
            "archive_bytes": chosen.archive_bytes,
            "data_bytes": chosen.data_bytes,
            "sha256": chosen.sha256,
        }
        beside = _beside(session)
        session.say(f"restoring {chosen.name} beside the data that is in use")
        operating.send(beside, header, manifest, archive)
        session.say("the server starts again, and takes it into use")
        operating.take_into_use(beside)
        # The tunnel leads to the pod of before; once it is started again, it leads to a server that answers.
        session.supervisor.stop([postgres.SERVICE])
        session.supervisor.start([postgres.SERVICE])
        answering = _answering(session)
    return RestoreResult(
        backup=_row(vars(chosen)), databases=answering, seconds=round(time.monotonic() - began, 1)
    )


def _require_inside(session: Session, what: str) -> None:
    from cli.clusters import keeps_inside

    session.lab.require()
    refuse_bound(session, what)
    placement = session.placement()
    if placement == "kubernetes" and keeps_inside(session.lab):
        return
    elsewhere = {
        "local": f"a copy of the lab's folder, {session.lab.home}, while the lab is down",
        "kubernetes": "the backups of your PostgreSQL and your S3 store",
        "aws": "Aurora's own backups, which AWS keeps and restores",
    }
    raise UsageError(
        f"what lab {session.lab.name!r} keeps is not in data services inside a cluster",
        value=f"placement {placement}",
        permitted=elsewhere[placement],
        next_command="lab status",
    )


def _beside(session: Session) -> Cluster:
    """The cluster, in the namespace of the data services."""
    within = _within(session)
    return replace(within, namespace=data_namespace(within.namespace))


def _within(session: Session) -> Cluster:
    from placements.kubernetes.cluster import check_cluster, cluster_of

    own = settings(session.lab, Role.LAB, session.environ)
    found = cluster_of(own, session.environ)
    check_cluster(found, expected_id=str(own.values["clusterId"]), rights=())
    return found


def _refuse_running(session: Session) -> None:
    """Raises UsageError while anything of the lab stack runs: it would write into what is replaced."""
    from placements.kubernetes.naming import LAB_LABEL, STACK_LABEL
    from placements.kubernetes.troubles import KINDS

    labels = {LAB_LABEL: session.lab.name, STACK_LABEL: Role.LAB.value}
    running = _within(session).labelled(KINDS, labels)
    if running:
        raise UsageError(
            f"lab {session.lab.name!r} is up, and its services would write into what is replaced",
            value=", ".join(sorted({item["metadata"]["name"] for item in running})[:6]),
            permitted="a lab that is down",
            next_command="lab down, then lab restore",
        )


def _chosen(found: list[Backup], at: str | None) -> Backup:
    for one in found:
        if at in (None, one.name):
            return one
    raise UsageError(
        "there is no such backup" if at else "there is no backup yet",
        value=at,
        permitted=", ".join(one.name for one in found[:6]) or "one that is made first",
        next_command="lab backup --list" if found else "lab backup",
    )


@contextmanager
def _store(session: Session) -> Iterator[Bucket]:
    """The bucket of backups through its tunnel, which is there for as long; a lab that is down has none."""
    from placements.kubernetes.inside.backup import Bucket

    document = session.engine.outputs(Role.PERSISTENT, secrets=True)
    known = from_exports(PersistentOutputs, document or {}).backups
    if known is None:
        raise LabError("the persistent stack has made no place for backups yet", next_command="lab bootstrap")
    before = session.supervisor.running()
    session.supervisor.start(list(FOUNDATION_ORDER))
    try:
        yield Bucket(
            endpoint_url=known.endpoint_url,
            region=known.region,
            name=known.bucket,
            access_key=known.access_key,
            secret_key=known.secret_key,
        )
    finally:
        if not before:
            session.supervisor.stop_all()
            session.supervisor.shutdown()


def _backups(bucket: Bucket) -> list[Backup]:
    from botocore.exceptions import BotoCoreError, ClientError

    from placements.kubernetes.inside.backup import backups

    try:
        return backups(bucket)
    except (BotoCoreError, ClientError) as error:
        raise LabError(f"the backups can't be read: {error}", next_command="lab doctor") from error


def _opened(bucket: Bucket, chosen: Backup) -> tuple[bytes, Iterator[bytes]]:
    from placements.kubernetes.inside.backup import opened

    manifest, body = opened(bucket, chosen)
    return manifest, body.iter_chunks(1 << 20)


def _answering(session: Session) -> int:
    """How many of the lab's databases take a login with the password that holds now. Raises LabError when
    one does not."""
    import psycopg

    from placements.local.foundation.postgres_admin import SSL_MODE

    slot, own = session.slot(), settings(session.lab, Role.PERSISTENT, session.environ)
    databases = [getattr(slot, name) for name in vars(slot) if name.endswith("_database")]
    for database in databases:
        end = time.monotonic() + _TUNNEL_S
        while True:
            try:
                psycopg.connect(
                    host="127.0.0.1",
                    port=own.port_base,
                    dbname=database.name,
                    user=database.role,
                    password=database.password,
                    connect_timeout=5,
                    sslmode=SSL_MODE,
                ).close()
                break
            except psycopg.OperationalError as error:
                # A tunnel that another client's connection ended is started again.
                if time.monotonic() > end:
                    raise LabError(
                        f"database {database.name} does not answer after it was restored: {error}",
                        next_command="lab bootstrap, then lab doctor",
                    ) from error
                time.sleep(0.5)
    return len(databases)


def _row(given: dict[str, object]) -> BackupRow:
    return BackupRow(
        name=str(given["name"]),
        archive_bytes=int(str(given["archive_bytes"])),
        data_bytes=int(str(given["data_bytes"])),
    )
