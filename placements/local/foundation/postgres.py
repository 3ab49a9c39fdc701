"""PostgreSQL of the local foundation: its generated files and the service, as pure functions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from contracts.workload import Layout
from placements.local.plan import with_plan_hash
from placements.local.supervisor import ProbeSpec, ServiceSpec, Step
from placements.local.unprivileged import reachable_artifact

SERVICE = "postgres"
ARTIFACT = "postgresql"
SUPERUSER = "postgres"
MEMORY_MIB = 160
_CONF, _HBA, _PASSWORD_SQL = "postgresql.conf", "pg_hba.conf", "superuser.sql"


def configuration(*, port: int, changed: Mapping[str, str] | None = None) -> str:
    """``postgresql.conf``: loopback only, durable, small, beside what is ``changed`` elsewhere
    (https://www.postgresql.org/docs/18/runtime-config.html)."""
    values: dict[str, str] = {
        "listen_addresses": "'127.0.0.1'",
        "port": str(port),
        # No Unix socket: its directory would need care, and everybody connects by TCP with a password.
        "unix_socket_directories": "''",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "effective_cache_size": "256MB",
        "maintenance_work_mem": "32MB",
        "max_wal_size": "512MB",
        "min_wal_size": "80MB",
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "password_encryption": "'scram-sha-256'",
        # Parallel workers share memory in /dev/shm, which containers make small.
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
        "timezone": "'UTC'",
        "log_timezone": "'UTC'",
        "log_destination": "'stderr'",
        "log_line_prefix": "'%m [%p] %q%u@%d '",
        "log_statement": "'none'",
        # A refused statement may hold a secret: the error is logged, its text is not.
        "log_min_error_statement": "'panic'",
        **(changed or {}),
    }
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def host_based_access() -> str:
    """``pg_hba.conf``: password logins over the loopback and nothing else
    (https://www.postgresql.org/docs/18/auth-pg-hba-conf.html)."""
    return "host all all 127.0.0.1/32 scram-sha-256\n"


def superuser_statement(password: str) -> str:
    """The statement that gives the superuser its password; single-user mode reads one a line."""
    quoted = password.replace("'", "''")
    return f"ALTER ROLE {SUPERUSER} PASSWORD '{quoted}';\n"


def service(layout: Layout, *, home: Path, superuser_password: str) -> ServiceSpec:
    """The database server. Its cluster is made once; a changed superuser password is applied before the
    next start, in single-user mode, which needs no password."""
    own, original = str(layout.data_dir / "cluster"), Path(layout.artifact_dir)
    program = original
    copies: Mapping[str, str] = {}
    if os.geteuid() == 0:
        program = reachable_artifact(original, home)
        copies = {} if program == original else {str(program): str(original)}
    postgres = str(program / "bin" / "postgres")
    settings = ["-D", own, "-c", f"config_file={layout.file(_CONF)}", "-c", f"hba_file={layout.file(_HBA)}"]
    return with_plan_hash(
        ServiceSpec(
            name=SERVICE,
            argv=(postgres, *settings),
            plan_hash="",
            env={"LC_ALL": "C"},
            files={
                _CONF: configuration(port=layout.ports["tcp"]),
                _HBA: host_based_access(),
                _PASSWORD_SQL: superuser_statement(superuser_password),
            },
            files_dir=str(layout.files_dir),
            scratch_dir=str(layout.scratch_dir),
            data_dir=str(layout.data_dir),
            ports=dict(layout.ports),
            probe=ProbeSpec(port=layout.ports["tcp"], postgresql=True, timeout_s=120, period_s=0.05),
            steps=(
                Step(
                    name="initdb",
                    creates=own,
                    argv=(
                        *(str(program / "bin" / "initdb"), "-D", "{new}", "-U", SUPERUSER),
                        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
                        *("--builtin-locale=C.UTF-8", "--data-checksums", "--auth=reject"),
                    ),
                ),
                Step(
                    name="superuser-password",
                    stdin_file=_PASSWORD_SQL,
                    argv=(postgres, "--single", *settings, "-c", "exit_on_error=on", "postgres"),
                ),
            ),
            copies=copies,
            pid_file=f"{own}/postmaster.pid",
            unprivileged=True,
            # SIGINT is the fast shutdown: it does not wait for clients to leave.
            stop_signal="SIGINT",
            stop_timeout_s=60.0,
            memory_mib=MEMORY_MIB,
        )
    )
