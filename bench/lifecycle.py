"""``lab up`` against the same engines started by hand, interleaved in one run.

    ./lab test --help            # makes the development environment
    python -m bench.lifecycle --pairs 5

A pair is: the engines by hand on empty data and again on what that left, then a lab of its own: ``up`` on
empty data, ``down``, ``up`` again, ``up`` with nothing to do. By hand means the same command lines and files
from the components' own pure functions, without Pulumi, supervisor, realm or seeds, all engines at once as
soon as what they need answers. Artifacts must be cached; as root, in an LAB_CACHE that others may enter,
since PostgreSQL runs as nobody. Prints medians in seconds (memory in MiB) and the ratios' range.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, cast

import psycopg
from minio import Minio

from components import nessie, opa, trino
from components.catalog import CatalogArgs
from components.keycloak import KeycloakArgs, workload
from components.keys import RsaKeyPairProvider, issue_server, make_authority
from components.opa.properties import configuration
from contracts.settings import cache_home
from contracts.workload import Layout, Workload
from placements.local.software import artifact_path, java_of, warm_dir
from placements.local.unprivileged import reachable_artifact

ROOT = Path(__file__).resolve().parents[1]
HOST, PORT_BASE = "127.0.0.1", 26000  # below what systems give to outgoing connections
_IDLE_S = 20.0
SECRET = "bench-secret-0123456789abcdef"  # of engines that live for a minute on the loopback
REALM_URL = f"http://{HOST}:{PORT_BASE + 10}/realms/lab"


def main() -> None:
    """Runs the pairs and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    seconds: dict[str, list[float]] = {}
    for number in range(pairs):
        for name, spent in {**by_hand(), **by_lab()}.items():
            seconds.setdefault(name, []).append(spent)
        print(f"pair {number + 1}/{pairs}: " + ", ".join(f"{k} {v[-1]:.1f}" for k, v in seconds.items()))
    print(f"\n{'':28}median  lowest  highest   ({pairs} pairs, {os.cpu_count()} cores)")
    for name, values in seconds.items():
        print(f"{name:28}{statistics.median(values):6.1f}  {min(values):6.1f}  {max(values):7.1f}")
    for lab, hand in (("lab up, empty data", "by hand, empty data"), ("lab up after down", "by hand, warm")):
        ratios = [a / b for a, b in zip(seconds[lab], seconds[hand], strict=True)]
        print(f"{lab} / {hand}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def by_lab() -> dict[str, float]:
    """One lab's life through the command."""
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        Path(folder).chmod(0o755)
        environment = {**os.environ, "LAB_HOME": folder}

        def lab(*arguments: str) -> float:
            began = time.monotonic()
            subprocess.run(
                [str(ROOT / "lab"), *arguments], env=environment, check=True, capture_output=True, timeout=900
            )
            return time.monotonic() - began

        def resident_mib() -> float:
            time.sleep(_IDLE_S)
            shown = subprocess.run(
                [str(ROOT / "lab"), "--json", "status"], env=environment, check=True, capture_output=True
            )
            return float(json.loads(shown.stdout)["memory_mib"])

        try:
            return {
                "lab up, empty data": lab("up", "--set", "scaleFactor=0.01"),
                "lab up, nothing to do": lab("up"),
                "resident when idle, MiB": resident_mib(),
                "lab down": lab("down"),
                "lab up after down": lab("up"),
            }
        finally:
            lab("destroy", "--yes")


def by_hand() -> dict[str, float]:
    """The engines on empty data, stopped, and again."""
    with tempfile.TemporaryDirectory(prefix="lab-hand-") as folder:
        Path(folder).chmod(0o755)
        reachable_by_nobody(artifact("postgresql"), Path(folder))  # not part of what is measured
        seconds = {}
        for name in ("by hand, empty data", "by hand, warm"):
            began = time.monotonic()
            with engines(Path(folder)):
                seconds[name] = time.monotonic() - began
        return seconds


@contextmanager
def engines(folder: Path) -> Iterator[None]:
    """All six, ready; stopped in reverse order."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        running.append(start_postgres(folder))
        store = artifact("minio") / "minio"
        running.append(
            start(
                [str(store), "server", "--quiet", "--address", f"{HOST}:{PORT_BASE + 4}", str(folder / "s3")],
                {
                    "MINIO_ROOT_USER": "bench",
                    "MINIO_ROOT_PASSWORD": SECRET,
                    "MINIO_BROWSER": "off",
                    "HOME": str(folder),
                },
                folder / "s3.log",
            )
        )
        wait(f"http://{HOST}:{PORT_BASE + 4}/minio/health/live")
        client = Minio(f"{HOST}:{PORT_BASE + 4}", "bench", SECRET, secure=False)
        if not client.bucket_exists("lake"):
            client.make_bucket("lake")
        described = list(workloads(folder))
        for one in described:
            running.append(start_workload(folder, one))
        for one in described:
            port = next(p for p in one.ports if p.name == one.readiness.port)
            wait(
                f"{port.scheme.value}://{HOST}:{port.number}{one.readiness.path}", one.readiness.body_contains
            )
        yield
    finally:
        for process in reversed(running):
            process.send_signal(signal.SIGTERM if process is not running[0] else signal.SIGINT)
            process.wait(60)


def workloads(folder: Path) -> Iterator[Workload]:
    """Keycloak, catalog, OPA and Trino as their components describe them."""
    base = f"jdbc:postgresql://{HOST}:{PORT_BASE}"
    keycloak = workload(
        KeycloakArgs(
            hostname_url=f"http://{HOST}:{PORT_BASE + 10}",
            database_jdbc_url=f"{base}/keycloak",
            database_role="postgres",
            database_password=SECRET,
            admin_client_secret=SECRET,
        ),
        layout(folder, "keycloak", "keycloak", http=10, management=11),
    )
    # By hand Keycloak makes its tables itself.
    words = list(keycloak.command)
    at = words.index("--schema")
    yield Workload(**{**vars(keycloak), "command": words[:at] + words[at + 2 :]})
    store = f"http://{HOST}:{PORT_BASE + 4}"
    yield nessie.workload(
        CatalogArgs(
            warehouse="lake",
            realm_url=REALM_URL,
            issuer_url=REALM_URL,
            jwks_url=f"{REALM_URL}/protocol/openid-connect/certs",
            database_jdbc_url=f"{base}/catalog",
            database_role="postgres",
            database_password=SECRET,
            location="s3://lake/w",
            s3_endpoint_url=store,
            s3_sts_endpoint_url=store,
            s3_region="us-east-1",
            s3_path_style="true",
            s3_access_key="bench",
            s3_secret_key=SECRET,
            root_secret=SECRET,
            token_private_key="",
            token_public_key="",
        ),
        layout(folder, "catalog", "nessie", http=20, management=21),
    )
    keys = RsaKeyPairProvider().create({"rotation": "1"}).outs or {}
    policy = opa.OpaArgs(
        bucket_url=f"{store}/lake",
        region="us-east-1",
        access_key="bench",
        secret_key=SECRET,
        bundle_public_key=keys["public_key"],
        token=SECRET,
        audit_url=f"http://{HOST}:{PORT_BASE + 50}",
        audit_token=SECRET,
        authz_rego=opa.AUTHZ_REGO.read_text(encoding="utf-8"),
        log_rego=opa.LOG_REGO.read_text(encoding="utf-8"),
    )
    decided = opa.workload(policy, layout(folder, "opa", "opa", http=30))
    config = configuration(public_key_pem=keys["public_key"])
    yield Workload(**{**vars(decided), "files": {**decided.files, "config.yaml": config}})
    certificate, key = make_authority("bench", datetime.now(UTC))
    server, server_key, _ = issue_server(certificate, key, [HOST], datetime.now(UTC))
    governed = trino.workload(
        trino.TrinoArgs(
            issuer_url=REALM_URL,
            realm_url=REALM_URL,
            token_url=f"{REALM_URL}/token",
            catalog_uri=f"http://{HOST}:{PORT_BASE + 20}/iceberg",
            opa_url=f"http://{HOST}:{PORT_BASE + 30}",
            audit_url=f"http://{HOST}:{PORT_BASE + 50}",
            heap_mib=1024,
            masking_jdbc_url=f"{base}/postgres",
            masking_role="postgres",
            masking_password=SECRET,
            min_retention_days=7,
            s3_endpoint_url=store,
            s3_region="us-east-1",
            s3_path_style="true",
            client_secret=SECRET,
            internal_secret=SECRET * 2,
            audit_token=SECRET,
            server_pem=server_key + server,
            ca_certificate=certificate,
        ),
        layout(folder, "trino", "trino", https=40, internal=41),
    )
    # There is no governor here to fill the queues.
    files = {name: text for name, text in governed.files.items() if name != trino.QUEUES_FILE}
    yield Workload(**{**vars(governed), "files": files})


def layout(folder: Path, name: str, software: str, **ports: int) -> Layout:
    """Folders below ``folder``, made; ports counted from the base."""
    base = folder / name
    for part in ("files", "data", "scratch"):
        (base / part).mkdir(parents=True, exist_ok=True)
    warm = warm_dir(software, artifact(software), cache_home())
    warm.mkdir(parents=True, exist_ok=True)
    java = java_of(software)
    return Layout(
        artifact_dir=PurePosixPath(artifact(software)),
        files_dir=PurePosixPath(base / "files"),
        data_dir=PurePosixPath(base / "data"),
        scratch_dir=PurePosixPath(base / "scratch"),
        python=sys.executable,
        source_dir=PurePosixPath(ROOT),
        cache_dir=PurePosixPath(warm),
        java_home=PurePosixPath(artifact(java)) if java else None,
        bind_address=HOST,
        ports={port: PORT_BASE + offset for port, offset in ports.items()},
    )


def artifact(name: str) -> Path:
    """Where the cache has it."""
    return artifact_path(name, cache_home(), ROOT)


def start_postgres(folder: Path) -> subprocess.Popen[bytes]:
    """The server on a cluster made when there is none, as nobody where this is root."""
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    software, data = reachable_by_nobody(artifact("postgresql"), folder), folder / "postgres"
    fresh = not data.exists()
    if fresh:
        data.mkdir()
        if prefix:
            os.chown(data, 65534, 65534)
        arguments = ["--pgdata", str(data), "--username", "postgres", "--auth", "trust", "--data-checksums"]
        subprocess.run(
            [*prefix, str(software / "bin/initdb"), *arguments], check=True, stdout=subprocess.DEVNULL
        )
    options = ["-c", f"listen_addresses={HOST}", "-c", f"unix_socket_directories={data}"]
    command = [*prefix, str(software / "bin/postgres"), "-D", str(data), "-p", str(PORT_BASE), *options]
    process = start(command, {}, folder / "postgres.log")
    deadline = time.monotonic() + 60
    while True:
        try:
            with psycopg.connect(
                host=HOST, port=PORT_BASE, user="postgres", dbname="postgres", autocommit=True
            ) as connection:
                if fresh:
                    for name in ("keycloak", "catalog"):
                        connection.execute(cast(Any, f"CREATE DATABASE {name}"))
                return process
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def reachable_by_nobody(software: Path, folder: Path) -> Path:
    """``software``, or a copy in ``folder`` where root's own cache keeps everybody else out."""
    copied = reachable_artifact(software, folder)
    if copied != software and not copied.exists():
        shutil.copytree(software, copied, symlinks=True)
    return copied


def start_workload(folder: Path, one: Workload) -> subprocess.Popen[bytes]:
    """Writes its files and starts its command."""
    for name, content in one.files.items():
        path = folder / one.name / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(cast(str, content), encoding="utf-8")
    return start(
        cast(Sequence[str], one.command), cast(Mapping[str, str], one.env), folder / f"{one.name}.log"
    )


def start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A process with its own environment and log."""
    with log.open("ab") as out:
        return subprocess.Popen(
            list(command),
            env={"PATH": os.environ["PATH"], **environment},
            stdout=out,
            stderr=out,
            cwd=log.parent,
        )


def wait(url: str, contains: str | None = None, timeout_s: float = 180) -> None:
    """Until ``url`` answers 200, with ``contains`` in its body."""
    deadline = time.monotonic() + timeout_s
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2, context=trusting) as answer:  # noqa: S310 - http(s) as given here
                if contains is None or contains.encode() in answer.read():
                    return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} is not ready after {timeout_s} s")


if __name__ == "__main__":
    main()
