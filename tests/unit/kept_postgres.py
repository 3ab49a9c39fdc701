"""PostgreSQL as its pod runs it, and a bucket for its backups, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.conninfo import make_conninfo

from contracts.settings import cache_home
from contracts.versions import MINIO, POSTGRESQL
from placements.kubernetes.inside import server, services
from placements.kubernetes.inside.backup import Bucket
from placements.local.artifacts import SilentProgress, ensure
from placements.local.foundation import postgres, store, store_admin
from tests.cluster import certificates

_NOBODY = 65534
_READY_S = 240.0
_LAUNCH = """\
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("server", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
if sys.argv[2]:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
sys.exit(module.run(sys.argv[3:]))
"""
"""PostgreSQL refuses root, and the interpreter may lie where nobody else reaches it."""
ADMIN, BACKUP = "admin-password", "backup's password"


@dataclass(kw_only=True)
class KeptPostgres:
    """The pod's program and its volume. ``roles`` are given their passwords at each start."""

    folder: Path
    programs: Path
    port: int
    user: int | None
    """Who the program becomes; None: stays."""
    roles: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def volume(self) -> Path:
        return self.folder / "kept"

    def command(self, *arguments: str) -> list[str]:
        """The program with these arguments, as the server's own user."""
        file = str(self.folder / "files" / "server.py")
        return [sys.executable, "-I", "-c", _LAUNCH, file, str(self.user or ""), *arguments]

    def start(self) -> None:
        """Returns once it takes logins."""
        text = services.statements(ADMIN, BACKUP, self.roles)
        (self.folder / "files" / server.STATEMENTS).write_text(text, encoding="utf-8")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(str(self.programs), str(self.volume)),
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        end = time.monotonic() + _READY_S
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                said = (self.folder / "log").read_text(errors="replace")[-2000:]
                assert self.process.poll() is None, said
                assert time.monotonic() < end, said
                time.sleep(0.1)

    def stop(self) -> int:
        """As a kubelet does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def connect(self, **given: str) -> psycopg.Connection[Any]:
        known = {"user": "postgres", "password": ADMIN, "dbname": "postgres", **given}
        return psycopg.connect(
            make_conninfo(host="127.0.0.1", port=self.port, **known), autocommit=True, connect_timeout=5
        )

    def replication(self) -> str:
        """How the backup connects."""
        return make_conninfo(
            host="127.0.0.1", port=self.port, user=services.BACKUP_ROLE, password=BACKUP,
            replication="true", sslmode="require",
        )  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def kept_postgres() -> Iterator[KeptPostgres]:
    """One that was not started yet."""
    folder = Path(tempfile.mkdtemp(prefix="lab-kept-"))
    folder.chmod(0o755)
    programs = shutil.copytree(
        ensure(POSTGRESQL, cache_home(), SilentProgress()), folder / "programs", symlinks=True
    )
    as_root = os.geteuid() == 0
    user = _NOBODY if as_root else None
    kept = KeptPostgres(folder=folder, programs=Path(programs), port=free_port(), user=user)
    files = folder / "files"
    for path in (files, kept.volume):
        path.mkdir(0o755)
    certificates.make(folder / "pki", addresses=["127.0.0.1"], names=["postgres.lakehouse-lab-data.svc"])
    changed = {
        "listen_addresses": "'127.0.0.1'",
        "ssl": "on",
        "ssl_cert_file": f"'{files / 'server.crt'}'",
        "ssl_key_file": f"'{files / 'server.key'}'",
        "shared_buffers": "16MB",
        "fsync": "off",
    }
    shutil.copy(server.__file__, files / "server.py")
    for name, text in {
        server.CONFIGURATION: postgres.configuration(port=kept.port, changed=changed),
        server.ACCESS: services.access(),
    }.items():
        (files / name).write_text(text, encoding="utf-8")
    for name in ("server.crt", "server.key"):
        shutil.copy(folder / "pki" / name, files / name)
        (files / name).chmod(0o440 if as_root else 0o600)
        if as_root:
            os.chown(files / name, 0, _NOBODY)
    if as_root:
        os.chown(kept.volume, _NOBODY, _NOBODY)
    try:
        yield kept
    finally:
        if kept.process is not None and kept.process.poll() is None:
            kept.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def backup_bucket(folder: Path) -> Iterator[Bucket]:
    """A MinIO with the bucket of backups and a user who may do there what theirs may."""
    port = free_port()
    environment = {
        **store.environment(region=store.REGION),
        "MINIO_ROOT_PASSWORD": "root-password",
        "HOME": str(folder),
    }
    program = ensure(MINIO, cache_home(), SilentProgress()) / "minio"
    command = [str(program), "server", "--quiet", "--address", f"127.0.0.1:{port}", str(folder / "data")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _READY_S
        while not _answers(f"http://127.0.0.1:{port}/minio/health/cluster"):
            assert process.poll() is None
            assert time.monotonic() < end, "MinIO does not answer"
            time.sleep(0.1)
        bucket = Bucket(
            endpoint_url=f"http://127.0.0.1:{port}", region=store.REGION, name="lab-backup",
            access_key="lab-backup", secret_key="backup-secret",
        )  # fmt: skip
        store_admin.converge(
            {
                "endpoint": f"127.0.0.1:{port}",
                "region": store.REGION,
                "root_user": store.ROOT_USER,
                "root_password": "root-password",
                "buckets": {bucket.name: "plain"},
                "users": {bucket.access_key: json.dumps(store.backup_policy(bucket=bucket.name))},
                "secret_keys": {bucket.access_key: bucket.secret_key},
            }
        )
        yield bucket
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
