"""PostgreSQL and the S3 store inside the cluster, as workloads: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pulumi
from pulumi import Input

from contracts.workload import Layout, Port, Probe, Scheme, Volume, Workload
from placements.kubernetes.inside import server
from placements.kubernetes.layout import DATA_DIR
from placements.local.foundation import postgres, store
from placements.local.software import PYTHON_ARTIFACT

BACKUP_ROLE = "lab_backup"
"""Role that copies the server's data and has no other right."""

BACKUP_NAME = "postgres-backup"
_BACKUP_SCRIPT = "backup.py"

_VOLUME = "kept"
VOLUME_DIR = DATA_DIR / _VOLUME
"""Where each service has its volume."""
_CERTIFICATE, _KEY, _SCRIPT = "server.crt", "server.key", "server.py"


def access() -> str:
    """``pg_hba.conf``: password logins, encrypted from everywhere but the pod's own loopback, where the
    operator's tunnel ends (https://www.postgresql.org/docs/18/auth-pg-hba-conf.html). ``all`` is no
    replication, which is the backup's alone."""
    method = "scram-sha-256"
    lines = [f"host all all {own} {method}" for own in ("127.0.0.1/32", "::1/128")]
    lines += [f"hostssl {what} all {method}" for what in ("all all", f"replication {BACKUP_ROLE}")]
    return "".join(f"{line}\n" for line in lines)


def statements(superuser_password: str, backup_password: str, roles: Mapping[str, str]) -> str:
    """What single-user mode is given at each start, a statement a line: the passwords that hold, also in data
    that was restored. ``roles`` have a password each and may not be there yet."""
    lines = [f"ALTER ROLE {postgres.SUPERUSER} PASSWORD {_quoted(superuser_password)};"]
    lines += [f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;" for name in ("postgres", "template1")]
    lines.append(_where(BACKUP_ROLE, "NOT EXISTS", f"CREATE ROLE {BACKUP_ROLE} LOGIN REPLICATION;"))
    for role, password in {BACKUP_ROLE: backup_password, **roles}.items():
        lines.append(_where(role, "EXISTS", f'ALTER ROLE "{role}" PASSWORD {_quoted(password)};'))
    return "".join(f"{line}\n" for line in lines)


def _where(role: str, condition: str, statement: str) -> str:
    asked = f"IF {condition} (SELECT FROM pg_roles WHERE rolname = {_quoted(role)}) THEN {statement} END IF;"
    tag = "$do$"
    while tag in asked:
        tag = f"$x{tag[1:]}"
    return f"DO {tag}BEGIN {asked} END{tag};"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def postgres_workload(
    layout: Layout,
    *,
    volume_mib: int,
    given_statements: Input[str],
    certificate: Input[str],
    key: Input[str],
) -> Workload:
    """PostgreSQL on a volume that is kept, durable and with checksums."""
    volume = layout.data_dir / _VOLUME
    changed = {
        "listen_addresses": "'*'",
        "ssl": "on",
        "ssl_cert_file": f"'{layout.file(_CERTIFICATE)}'",
        "ssl_key_file": f"'{layout.file(_KEY)}'",
        "shared_buffers": "128MB",
    }
    return Workload(
        name=postgres.SERVICE,
        artifact=postgres.ARTIFACT,
        command=[layout.python, layout.file(_SCRIPT), str(layout.artifact_dir), str(volume)],
        ports=(Port(name="tcp", number=layout.ports["tcp"], scheme=Scheme.TCP),),
        readiness=Probe(port="tcp", postgresql=True, timeout_s=300),
        files={
            _SCRIPT: Path(server.__file__).read_text(encoding="utf-8"),
            server.CONFIGURATION: postgres.configuration(port=layout.ports["tcp"], changed=changed),
            server.ACCESS: access(),
            server.STATEMENTS: given_statements,
            _CERTIFICATE: pulumi.Output.secret(certificate),
            _KEY: pulumi.Output.secret(key),
        },
        volumes=(Volume(name=_VOLUME, retained=True, size_mib=volume_mib),),
        memory_mib=320,
        cpu_millicores=100,
        stop_timeout_s=60,
        unprivileged=True,
    )


def backup_workload(
    layout: Layout,
    *,
    keep: int,
    database: tuple[str, int],
    database_password: Input[str],
    endpoint_url: str,
    region: str,
    bucket: str,
    access_key: str,
    secret_key: Input[str],
) -> Workload:
    """What takes a backup and ends. ``database`` is the server's host and port."""
    host, port = database
    return Workload(
        name=BACKUP_NAME,
        artifact=PYTHON_ARTIFACT,
        command=[layout.python, layout.file(_BACKUP_SCRIPT)],
        ports=(),
        readiness=Probe(port=""),
        env={
            "BACKUP_KEEP": str(keep),
            "BACKUP_DATABASE_HOST": host,
            "BACKUP_DATABASE_PORT": str(port),
            "BACKUP_DATABASE_ROLE": BACKUP_ROLE,
            "BACKUP_DATABASE_PASSWORD": pulumi.Output.secret(database_password),
            "BACKUP_S3_ENDPOINT_URL": endpoint_url,
            "BACKUP_S3_REGION": region,
            "BACKUP_S3_BUCKET": bucket,
            "BACKUP_S3_ACCESS_KEY": access_key,
            "BACKUP_S3_SECRET_KEY": pulumi.Output.secret(secret_key),
        },
        # The one file, and not its module: its libraries are the image's.
        files={_BACKUP_SCRIPT: Path(__file__).with_name("backup.py").read_text(encoding="utf-8")},
        memory_mib=256,
        cpu_millicores=50,
        reaches=("postgres/tcp", "s3/http"),
    )


def store_workload(layout: Layout, *, volume_mib: int, region: str, root_password: Input[str]) -> Workload:
    """MinIO on a volume that is kept, without its console or any call home
    (https://min.io/docs/minio/linux/reference/minio-server/settings.html)."""
    port = layout.ports["http"]
    return Workload(
        name=store.SERVICE,
        artifact=store.ARTIFACT,
        command=[
            *(f"{layout.artifact_dir}/minio", "server", "--quiet"),
            *("--address", f"{layout.bind_address}:{port}"),
            *("--certs-dir", str(layout.scratch_dir / "certs")),
            str(layout.data_dir / _VOLUME),
        ],
        ports=(Port(name="http", number=port),),
        # Answers once storage, users and policies are loaded.
        readiness=Probe(port="http", path="/minio/health/cluster", timeout_s=300),
        env={
            **store.environment(region=region),
            "MINIO_ROOT_PASSWORD": pulumi.Output.secret(root_password),
        },
        volumes=(Volume(name=_VOLUME, retained=True, size_mib=volume_mib),),
        memory_mib=512,
        cpu_millicores=100,
        stop_timeout_s=30,
    )
