"""Data services inside a cluster: what their pods are given, and backups of a real PostgreSQL in a real
MinIO."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from botocore.exceptions import ClientError

from contracts.errors import LabError
from contracts.versions import IMAGES
from placements.kubernetes.building import ACCOUNTS, make_context
from placements.kubernetes.inside import backup, server, services
from placements.kubernetes.inside.backup import Backup, BackupError, Bucket
from placements.kubernetes.layout import USER_ID, image_layout
from placements.kubernetes.naming import Scope
from placements.kubernetes.network import beside
from placements.kubernetes.objects import cron_job
from placements.kubernetes.pods import Content
from placements.local.foundation.patience import patiently
from tests.unit.kept_postgres import BACKUP, KeptPostgres, backup_bucket, kept_postgres

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


# --- what pods are given


def test_logins_need_a_password_and_are_encrypted_but_from_the_pod_itself() -> None:
    lines = services.access().splitlines()
    assert all(line.endswith(" scram-sha-256") for line in lines)
    plain = [line for line in lines if not line.startswith("hostssl ")]
    assert {line.split()[3] for line in plain} == {"127.0.0.1/32", "::1/128"}
    replicating = [line for line in lines if " replication " in line]
    assert [line.split()[:3] for line in replicating] == [["hostssl", "replication", services.BACKUP_ROLE]]


def test_statements_are_one_a_line_whatever_a_password_holds() -> None:
    text = services.statements("it's", "$do$ and $x$", {"lab_catalog": "a'b"})
    lines = text.splitlines()
    assert lines[0] == "ALTER ROLE postgres PASSWORD 'it''s';"
    assert all(line.endswith(";") for line in lines)
    quoted = next(line for line in lines if "$do$ and" in line)
    tag = quoted.split("BEGIN")[0].removeprefix("DO ")
    assert quoted.count(tag) == 2, "a password ends its own statement"
    assert any("'a''b'" in line for line in lines)


def test_the_image_of_postgresql_gives_its_user_a_name(tmp_path: Path) -> None:
    (tmp_path / "postgresql").mkdir()
    folder = tmp_path / "context"
    folder.mkdir()
    make_context(
        IMAGES["postgresql"], folder, checkout=ROOT, artifacts={"postgresql": tmp_path / "postgresql"}
    )
    assert (folder / "root" / "etc" / "passwd").read_text() == ACCOUNTS["passwd"]
    assert f"lab:x:{USER_ID}:{USER_ID}:" in ACCOUNTS["passwd"]
    users = [line.split(":") for line in ACCOUNTS["passwd"].splitlines()]
    assert all(len(user) == 7 and user[6].endswith("nologin") for user in users)


async def test_the_schedule_runs_one_at_a_time_to_its_end() -> None:
    scope = Scope(lab="lab", namespace="lakehouse-lab-data", stack="persistent")
    layout = image_layout(services.BACKUP_NAME, "python", ())
    workload = services.backup_workload(
        layout, keep=3, database=("postgres.x.svc", 5432), database_password="p", endpoint_url="http://s3",
        region="us-east-1", bucket="lab-backup", access_key="lab-backup", secret_key="k",
    )  # fmt: skip
    made = cron_job(
        workload, layout, scope, image="i@sha256:0", command=[], content=Content(), schedule="1 2 * * *"
    )
    spec = made["spec"]
    assert (spec["schedule"], spec["suspend"], spec["concurrencyPolicy"]) == ("1 2 * * *", False, "Forbid")
    assert spec["timeZone"] == "Etc/UTC"
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert not {"startupProbe", "readinessProbe", "livenessProbe"} & set(container)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert workload.reaches == ("postgres/tcp", "s3/http")
    by_hand = cron_job(workload, layout, scope, image="i", command=[], content=Content(), schedule="")
    assert by_hand["spec"]["suspend"] is True


def test_a_rule_to_a_workload_beside_names_its_namespace_lab_and_port() -> None:
    rule = beside(5432, "postgres", "lakehouse-lab-data", "lab")
    (to,) = rule["to"]
    assert to["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "lakehouse-lab-data"}
    assert to["podSelector"]["matchLabels"] == {
        "lakehouse-lab/lab": "lab",
        "app.kubernetes.io/component": "postgres",
    }
    assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]


def test_what_a_tunnel_broke_off_is_done_again_for_a_while() -> None:
    now, tried = [0.0], list[float]()

    def fails_until(count: int) -> Callable[[Mapping[str, Any]], None]:
        def converge(_: Mapping[str, Any]) -> None:
            tried.append(now[0])
            if len(tried) < count:
                raise LabError("connection refused")

        return converge

    def sleep(seconds: float) -> None:
        now[0] += seconds

    patiently(fails_until(4), {"patience_s": 60}, sleep=sleep, clock=lambda: now[0])
    assert len(tried) == 4
    for props, times in (({"patience_s": 5}, 6), ({}, 1)):
        now[0] = 0.0
        tried.clear()
        with pytest.raises(LabError, match="connection refused"):
            patiently(fails_until(99), props, sleep=sleep, clock=lambda: now[0])
        assert len(tried) == times


# --- receiving a backup


def packed(files: Mapping[str, bytes]) -> bytes:
    """An archive as the server sends it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("base", "pg_wal", "pg_notify"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o600
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue())


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    listed = [
        {
            "Path": name,
            "Size": len(content),
            "Checksum-Algorithm": "SHA256",
            "Checksum": hashlib.sha256(content).hexdigest(),
        }
        for name, content in files.items()
        if not name.startswith("pg_wal/")
    ]
    head = f'{{ "PostgreSQL-Backup-Manifest-Version": 2,\n"Files": {json.dumps(listed)},\n'.encode()
    return head + f'"Manifest-Checksum": "{hashlib.sha256(head).hexdigest()}"}}\n'.encode()


FILES = {"PG_VERSION": b"18\n", "base/1/1234": b"rows" * 5000, "pg_wal/000000010000000000000002": b"log"}


def sent(
    archive: bytes,
    manifest: bytes,
    *,
    data_bytes: int = 1,
    sha256: str = "",
    archive_bytes: int | None = None,
) -> io.BytesIO:
    header = {
        "manifest_bytes": len(manifest),
        "archive_bytes": len(archive) if archive_bytes is None else archive_bytes,
        "data_bytes": data_bytes,
        "sha256": sha256 or hashlib.sha256(archive).hexdigest(),
    }
    return io.BytesIO(json.dumps(header).encode() + b"\n" + manifest + archive)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A server's volume with data, and what an earlier attempt left."""
    umask = os.umask(0o022)
    try:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "PG_VERSION").write_text("18\n")
        (tmp_path / "restoring").mkdir()
        (tmp_path / "restoring" / "half").write_text("x")
        yield tmp_path
    finally:
        os.umask(umask)


def test_a_whole_backup_lies_beside_the_data_until_the_next_start(volume: Path) -> None:
    server.receive(volume, sent(packed(FILES), manifest_of(FILES)))
    assert {p.name for p in volume.iterdir()} == {"data", "restored"}
    for name, content in FILES.items():
        path = volume / "restored" / name
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o077 == 0
    assert (volume / "restored").stat().st_mode & 0o077 == 0, "PostgreSQL refuses a folder that others see"
    assert (volume / "restored" / "pg_notify").is_dir()
    server.take_restored(volume)
    assert (volume / "data" / "base" / "1" / "1234").is_file()
    assert (volume / "before" / "PG_VERSION").is_file()
    assert {p.name for p in volume.iterdir()} == {"data", "before"}


_ON_A_FULL_VOLUME = """\
import shutil, sys
from pathlib import Path
from placements.kubernetes.inside import server
volume, free_mib = Path(sys.argv[1]), int(sys.argv[2])
room = shutil.disk_usage(volume)._replace(total=1024 << 20, free=free_mib << 20)
shutil.disk_usage, server.FILES = lambda _: room, volume
sys.exit(server.main(volume / "programs", volume))
"""


@pytest.mark.parametrize(("free_mib", "said"), [(0, True), (31, True), (33, False)])
def test_a_server_that_ends_on_a_full_volume_says_so(volume: Path, free_mib: int, said: bool) -> None:
    program = volume / "programs" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho No space left on device >&2\nexit 3\n")
    program.chmod(0o755)
    (volume / server.STATEMENTS).touch()
    command = [sys.executable, "-c", _ON_A_FULL_VOLUME, str(volume), str(free_mib)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert (done.returncode, lines[0]) == (3, "No space left on device")
    told = f"the volume is full: {free_mib} MiB of 1024 MiB are left; nothing is lost"
    assert [line.startswith(told) for line in lines[1:]] == ([True] if said else [])
    assert not (volume / "restoring").exists(), "what nobody sends any more takes room"


def test_a_start_that_was_ended_in_the_middle_of_taking_it_goes_on(volume: Path) -> None:
    server.receive(volume, sent(packed(FILES), manifest_of(FILES)))
    (volume / "data").rename(volume / "before")
    server.take_restored(volume)
    assert (volume / "data" / "base" / "1" / "1234").is_file()
    assert (volume / "before" / "PG_VERSION").is_file(), "the only copy of what was there"
    server.take_restored(volume)
    assert (volume / "data" / "base" / "1" / "1234").is_file()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (sent(packed({**FILES, "PG_VERSION": b"17\n"}), manifest_of(FILES)), "PG_VERSION is damaged"),
        (sent(packed({"PG_VERSION": b"18\n"}), manifest_of(FILES)), "base/1/1234 is missing"),
        (sent(packed({**FILES, "more": b"x"}), manifest_of(FILES)), "a file more than its manifest: more"),
        (sent(packed(FILES), manifest_of(FILES).replace(b"18", b"17")), "manifest is not as the server"),
        (sent(packed(FILES)[:60], manifest_of(FILES)), "can't be unpacked"),
        (sent(packed(FILES), manifest_of(FILES), sha256="0" * 64), "did not arrive as it was sent"),
        (sent(packed(FILES), manifest_of(FILES), archive_bytes=10**9), "did not arrive as it was sent"),
        (sent(packed({**FILES, "../data/PG_VERSION": b"x"}), manifest_of(FILES)), "what no backup does"),
        (sent(packed(FILES), manifest_of(FILES), data_bytes=10**18), "bytes left"),
        (sent(b"", b""), "can't be unpacked"),
    ],
)
def test_what_is_no_whole_backup_changes_nothing(volume: Path, given: io.BytesIO, said: str) -> None:
    with pytest.raises(server.ReceivingError, match=said):
        server.receive(volume, given)
    assert {p.name for p in volume.iterdir()} == {"data"}
    server.take_restored(volume)
    assert (volume / "data" / "PG_VERSION").read_text() == "18\n"


# --- the real thing


@pytest.fixture(scope="module")
def postgres() -> Iterator[KeptPostgres]:
    with kept_postgres() as kept:
        kept.roles = {"lab_catalog": "first-password", "absent": "x"}
        kept.start()
        yield kept


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with backup_bucket(tmp_path_factory.mktemp("store")) as made:
        yield made


def test_it_is_durable_encrypted_and_outlives_a_kill(postgres: KeptPostgres) -> None:
    with postgres.connect() as connection:
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert connection.execute(encrypted).fetchone() == (True,)
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS number")
        second = subprocess.run(
            postgres.command(str(postgres.programs), str(postgres.volume)),
            capture_output=True, text=True, timeout=60, check=False, cwd="/",
        )  # fmt: skip
        assert second.returncode == 1
        assert "another server has this volume" in second.stderr
    (pid,) = _children(postgres)
    subprocess.run(["kill", "-9", str(pid)], check=True)
    assert postgres.process is not None
    assert postgres.process.wait(60) != 0, "the pod ends with its server, and is started again"
    postgres.start()
    with postgres.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
    assert postgres.stop() == 0, "asked to end it ends at once, whoever is connected"
    postgres.start()


def _children(postgres: KeptPostgres) -> list[int]:
    assert postgres.process is not None
    return [child.pid for child in psutil.Process(postgres.process.pid).children()]


def test_nobody_but_the_backup_replicates_and_it_does_nothing_else(postgres: KeptPostgres) -> None:
    with postgres.connect() as connection:
        role = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = %s"
        found = connection.execute(role, (services.BACKUP_ROLE,)).fetchone()
    assert found == (False, False, False, True)
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            postgres.connect(user=services.BACKUP_ROLE, password=BACKUP, dbname=database)
    superuser = postgres.replication().replace(services.BACKUP_ROLE, "postgres")
    nowhere = Bucket(endpoint_url="http://x", region="r", name="b", access_key="a", secret_key="s")
    with pytest.raises(BackupError, match=r"no pg_hba\.conf entry for replication"):
        backup.take(superuser, nowhere, now=NOW)


def test_what_was_damaged_is_as_it_was_after_a_backup_was_put_back(
    postgres: KeptPostgres, bucket: Bucket
) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 5000) AS number")
        connection.execute("CREATE ROLE lab_catalog LOGIN PASSWORD 'of-the-backup'")
        connection.execute("CREATE DATABASE lab_catalog OWNER lab_catalog")
        taken = backup.take(postgres.replication(), bucket, now=NOW)
        assert taken.name == "2026-05-04T03-02-01Z"
        assert taken.taken_at == NOW
        connection.execute("DELETE FROM kept WHERE number % 2 = 0")
        connection.execute("CREATE TABLE later (number int)")
    assert backup.backups(bucket) == [taken]
    manifest, body = backup.opened(bucket, taken)
    archive = body.read()
    assert hashlib.sha256(archive).hexdigest() == taken.sha256
    assert taken.data_bytes > taken.archive_bytes == len(archive)

    damaged = bytearray(archive)
    damaged[len(damaged) // 2] ^= 255
    refused = _receive(postgres, bytes(damaged), manifest, taken)
    assert refused.returncode == 1
    said = refused.stderr.decode()
    assert any(word in said for word in ("can't be unpacked", "is damaged", "did not arrive")), said
    assert {path.name for path in postgres.volume.iterdir()} == {"data", "lock"}

    done = _receive(postgres, archive, manifest, taken)
    assert done.returncode == 0, done.stderr.decode()
    with postgres.connect() as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (2500,), (
            "nothing is in use of it"
        )
    postgres.roles = {"lab_catalog": "that-holds-now"}
    postgres.stop()
    postgres.start()
    with postgres.connect() as connection:
        assert connection.execute("SELECT count(*), sum(number) FROM kept").fetchone() == (5000, 12502500)
        assert connection.execute("SELECT to_regclass('later')").fetchone() == (None,)
        connection.execute("INSERT INTO kept VALUES (0)")
    postgres.connect(user="lab_catalog", password="that-holds-now", dbname="lab_catalog").close()
    assert {path.name for path in postgres.volume.iterdir()} == {"data", "before", "lock"}
    again = backup.take(postgres.replication(), bucket, now=NOW + timedelta(hours=1))
    assert [one.name for one in backup.backups(bucket)] == [again.name, taken.name]


def _receive(
    postgres: KeptPostgres, archive: bytes, manifest: bytes, taken: Backup
) -> subprocess.CompletedProcess[bytes]:
    text = sent(archive, manifest, data_bytes=taken.data_bytes, sha256=taken.sha256).getvalue()
    return subprocess.run(
        postgres.command("--receive", str(postgres.volume)),
        input=text, capture_output=True, timeout=300, check=False, cwd="/",
    )  # fmt: skip


def test_the_newest_are_kept_and_what_never_became_whole_goes(bucket: Bucket) -> None:
    client = bucket.client()
    for key in [o["Key"] for o in client.list_objects_v2(Bucket=bucket.name).get("Contents", ())]:
        client.delete_object(Bucket=bucket.name, Key=key)

    def put(when: datetime, *, whole: bool) -> str:
        name = f"{when:%Y-%m-%dT%H-%M-%SZ}"
        one = Backup(name=name, archive_bytes=1, data_bytes=2, sha256="0", server_version=180006)
        files = {"base.tar.gz": b"a", **({"complete.json": json.dumps(vars(one)).encode()} if whole else {})}
        for file, content in files.items():
            client.put_object(Bucket=bucket.name, Key=f"postgresql/{name}/{file}", Body=content)
        return name

    days = [put(NOW - timedelta(days=age), whole=True) for age in range(4)]
    old, under_way = (put(NOW - timedelta(hours=hours), whole=False) for hours in (30, 1))
    assert set(backup.prune(bucket, keep=2, now=NOW)) == {*days[2:], old}
    assert [one.name for one in backup.backups(bucket)] == days[:2]
    left = {o["Key"].split("/")[1] for o in client.list_objects_v2(Bucket=bucket.name)["Contents"]}
    assert left == {*days[:2], under_way}
    assert backup.prune(bucket, keep=2, now=NOW) == []


def test_the_user_of_backups_reaches_their_bucket_alone(bucket: Bucket) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        bucket.client().create_bucket(Bucket="another")


def test_as_a_program_it_says_what_it_made_or_why_not(
    postgres: KeptPostgres, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    environ: dict[str, Any] = {
        "BACKUP_KEEP": "1",
        "BACKUP_DATABASE_HOST": "127.0.0.1",
        "BACKUP_DATABASE_PORT": str(postgres.port),
        "BACKUP_DATABASE_ROLE": services.BACKUP_ROLE,
        "BACKUP_DATABASE_PASSWORD": BACKUP,
        "BACKUP_S3_ENDPOINT_URL": bucket.endpoint_url,
        "BACKUP_S3_REGION": bucket.region,
        "BACKUP_S3_BUCKET": bucket.name,
        "BACKUP_S3_ACCESS_KEY": bucket.access_key,
        "BACKUP_S3_SECRET_KEY": bucket.secret_key,
    }
    assert backup.main(environ) == 0
    said = json.loads(capsys.readouterr().out)
    assert [one.name for one in backup.backups(bucket)] == [said["backup"]["name"]]
    assert backup.main({**environ, "BACKUP_DATABASE_PASSWORD": "wrong"}) == 1
    error = capsys.readouterr().err
    assert "PostgreSQL refuses" in error
    assert "wrong" not in error
