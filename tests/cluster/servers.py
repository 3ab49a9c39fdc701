"""The PostgreSQL and the S3 store of a team that has a cluster: the programs that ``local`` runs, as servers
in the node's network that are no part of the cluster."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from contracts.settings import cache_home
from contracts.versions import MINIO, POSTGRESQL
from placements.local.artifacts import SilentProgress, ensure_all
from placements.local.foundation import STORE_USERS, store
from tests.cluster import settings
from tests.cluster.running import ROOT, TestCluster

DATABASE_PORT, STORE_PORT = 5432, 9000
BUCKET, POLICY_BUCKET, PREFIX = "team-warehouse", "team-policy", "warehouse"
_ADMIN = "team_admin"
_READY_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Servers:
    """What a lab's settings say of them. ``store_keys`` are access and secret key of each of the store's
    users."""

    database_url: str
    store_url: str
    store_keys: Mapping[str, tuple[str, str]]


@contextmanager
def running_servers(cluster: TestCluster, folder: Path) -> Iterator[Servers]:
    """Both servers, with buckets and users; PostgreSQL with TLS, and a role that may make databases and roles
    and is no superuser. Their data is below ``folder``, which every user may pass through."""
    programs = ensure_all([POSTGRESQL, MINIO], cache_home(), SilentProgress())
    with ExitStack() as stack:
        yield Servers(
            database_url=_database(stack, cluster, programs[POSTGRESQL.name], folder),
            store_url=f"http://{settings.NODE_ADDRESS}:{STORE_PORT}",
            store_keys=_store(stack, cluster, programs[MINIO.name], folder),
        )


def in_node_network(cluster: TestCluster) -> list[str]:
    """What a command is run by so that its network is the node's."""
    return ["nsenter", f"--target={cluster.pid}", "--net"]


def _database(stack: ExitStack, cluster: TestCluster, programs: Path, folder: Path) -> str:
    owner = pwd.getpwnam("nobody")
    # The cache of root lies where the server's own user can't go.
    home = Path(shutil.copytree(programs, folder / "postgresql", symlinks=True))
    data, password_file = folder / "database", folder / "superuser"
    superuser, password = secrets.token_hex(16), secrets.token_hex(16)
    password_file.write_text(superuser, encoding="utf-8")
    data.mkdir(0o700)
    for name in ("server.crt", "server.key"):
        shutil.copy(cluster.folder / "pki" / name, folder / name)
        (folder / name).chmod(0o600)
    for path in (data, password_file, folder / "server.crt", folder / "server.key"):
        os.chown(path, owner.pw_uid, owner.pw_gid)
    initialise = [
        *(str(home / "bin" / "initdb"), "-D", str(data), "-U", "postgres", "--auth=scram-sha-256"),
        *(f"--pwfile={password_file}", "-E", "UTF8", "--locale=C", "--no-sync"),
    ]
    _run(["setpriv", "--reuid=nobody", "--regid", str(owner.pw_gid), "--clear-groups", *initialise])
    (data / "pg_hba.conf").write_text("hostssl all all 0.0.0.0/0 scram-sha-256\n", encoding="utf-8")
    given = {
        "listen_addresses": settings.NODE_ADDRESS,
        "port": str(DATABASE_PORT),
        "unix_socket_directories": "",
        "ssl": "on",
        "ssl_cert_file": str(folder / "server.crt"),
        "ssl_key_file": str(folder / "server.key"),
        "max_connections": "100",
        "fsync": "off",
        "jit": "off",
    }
    command = [
        *in_node_network(cluster),
        *("setpriv", "--reuid=nobody", "--regid", str(owner.pw_gid), "--clear-groups"),
        *(str(home / "bin" / "postgres"), "-D", str(data)),
        *(word for name, value in given.items() for word in ("-c", f"{name}={value}")),
    ]
    _start(stack, command, folder / "database.log")
    certificate = cluster.folder / "pki" / "ca.crt"
    options = f"sslmode=verify-full&sslrootcert={certificate}"
    address = f"{settings.NODE_ADDRESS}:{DATABASE_PORT}/postgres?{options}"
    statement = f"CREATE ROLE {_ADMIN} LOGIN CREATEDB CREATEROLE PASSWORD '{password}'"
    connect = (
        "import sys, psycopg; url = sys.stdin.readline().strip();"
        "psycopg.connect(url, autocommit=True).execute(sys.stdin.read())"
    )
    asked = f"postgresql://postgres:{superuser}@{address}\n{statement}"
    _repeated([*in_node_network(cluster), sys.executable, "-c", connect], asked, folder / "database.log")
    return f"postgresql://{_ADMIN}:{password}@{address}"


def _store(
    stack: ExitStack, cluster: TestCluster, programs: Path, folder: Path
) -> dict[str, tuple[str, str]]:
    root_password = secrets.token_hex(16)
    data = folder / "store"
    data.mkdir(0o700)
    address = f"{settings.NODE_ADDRESS}:{STORE_PORT}"
    environment = {
        "MINIO_ROOT_USER": store.ROOT_USER,
        "MINIO_ROOT_PASSWORD": root_password,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
        "MINIO_REGION": store.REGION,
        "HOME": str(folder),
    }
    command = [
        *(*in_node_network(cluster), str(programs / "minio"), "server", "--quiet", "--address", address),
        *("--certs-dir", str(folder / "no-certificates"), str(data)),
    ]
    _start(stack, command, folder / "store.log", environment)
    keys = {user: (f"team-{user}", secrets.token_hex(16)) for user in STORE_USERS}
    policies = {
        "catalog": store.catalog_policy(bucket=BUCKET, prefix=PREFIX),
        "governor": store.governor_policy(bucket=POLICY_BUCKET),
        "opa": store.opa_policy(bucket=POLICY_BUCKET),
    }
    wanted = {
        "endpoint": address,
        "region": store.REGION,
        "root_user": store.ROOT_USER,
        "root_password": root_password,
        "buckets": {BUCKET: "versioned", POLICY_BUCKET: "plain"},
        "users": {keys[user][0]: json.dumps(policy) for user, policy in policies.items()},
        "secret_keys": dict(keys.values()),
    }
    converge = (
        "import json, sys; from placements.local.foundation.store_admin import converge;"
        "converge(json.load(sys.stdin))"
    )
    _repeated(
        [*in_node_network(cluster), sys.executable, "-c", converge], json.dumps(wanted), folder / "store.log"
    )
    return keys


def _start(
    stack: ExitStack, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> None:
    with log.open("ab") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={"PATH": os.environ["PATH"], **(environment or {})},
            cwd="/",
        )
    stack.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    # PostgreSQL waits for its clients when it is terminated.
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    process.kill()
    process.wait()


def _repeated(command: Sequence[str], text: str, log: Path) -> None:
    """Runs a command until it succeeds: the server is on its way."""
    deadline = time.monotonic() + _READY_S
    while True:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if done.returncode == 0:
            return
        assert time.monotonic() < deadline, done.stderr[-2000:] + log.read_text(errors="replace")[-2000:]
        time.sleep(0.5)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
