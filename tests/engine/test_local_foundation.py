"""The local foundation by the real engine: real PostgreSQL, real S3 store, reboot, drift, destroy."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import psycopg
import pytest
from minio import Minio

from placements.local.supervisor import ServiceState, SupervisorClient
from placements.local.supervisor.processes import identify
from placements.local.unprivileged import remove_unprivileged
from tests.engine.plugins_support import Project, new_project
from tests.unit.supervisor_lab import kill

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[2]
SERVICES = ("postgres", "s3", "web")


@dataclass(kw_only=True)
class Lab:
    """A lab that the engine runs."""

    project: Project
    home: Path
    passwords: dict[str, str]

    @property
    def client(self) -> SupervisorClient:
        return SupervisorClient(self.home)

    def output(self, name: str) -> dict[str, Any]:
        text = self.project.run("stack", "output", name, "--json", "--show-secrets").text
        document: dict[str, Any] = json.loads(text)
        return document

    def pids(self) -> dict[str, int | None]:
        return {status.name: status.pid for status in self.client.status()}

    def connect(self) -> psycopg.Connection[Any]:
        database = self.output("database")
        return psycopg.connect(
            host=database["host"],
            port=int(database["port"]),
            dbname=database["name"],
            user=database["role"],
            password=database["password"],
            connect_timeout=10,
        )

    def store(self, user: str) -> Minio:
        keys, warehouse = self.output(user), self.output("warehouse")
        return Minio(
            endpoint=warehouse["endpoint_url"].removeprefix("http://"),
            access_key=keys["access_key"],
            secret_key=keys["secret_key"],
            secure=False,
            region=warehouse["region"],
        )


@pytest.fixture(scope="module", params=["open home", "private home"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A project and a home whose paths have a space; as root also below a folder that nobody may enter."""
    if request.param == "private home" and os.geteuid() != 0:
        pytest.skip("needs root; this is an ordinary user")
    folder = Path(tempfile.mkdtemp(prefix="local foundation-"))
    folder.chmod(0o700 if request.param == "private home" else 0o755)
    made = new_project(folder)
    environment = {**made.environment, "PYTHONPATH": str(ROOT)}
    project = replace(made, environment=environment)
    program = (ROOT / "tests" / "engine" / "local_program.py").read_text(encoding="utf-8")
    (folder / "__main__.py").write_text(program, encoding="utf-8")
    passwords = {name: secrets.token_hex(16) for name in ("superuser", "root", "database", "store")}
    home = folder / "a lab"
    block = 20000 + secrets.randbelow(40) * 200
    project.config(secret=passwords, home=str(home), portBase=str(block), page="first")
    try:
        yield Lab(project=project, home=home, passwords=passwords)
    finally:
        SupervisorClient(home).shutdown()
        remove_unprivileged(home)
        shutil.rmtree(folder)


def test_a_lab_is_made_heals_and_keeps_what_it_holds(lab: Lab) -> None:
    project = lab.project
    previewed = project.run("preview")
    assert previewed.code == 0, previewed.text
    assert not lab.home.exists()

    project.up()
    assert {s.name: s.state for s in lab.client.status()} == dict.fromkeys(SERVICES, ServiceState.READY)
    state = project.run("stack", "export").text
    assert not [name for name, password in lab.passwords.items() if password in state]
    assert project.up("--expect-no-changes").counts.get("updated") is None

    _stores_what_it_should(lab)
    _a_changed_file_restarts_one_service(lab)
    _heals_after_a_reboot(lab)
    _heals_drift(lab)
    _keeps_data_through_destroy(lab)


def _stores_what_it_should(lab: Lab) -> None:
    with lab.connect() as connection:
        connection.execute("CREATE TABLE kept (value int)")
        connection.execute("INSERT INTO kept VALUES (42)")
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SELECT usesuper FROM pg_user WHERE usename = user").fetchone() == (False,)
    if os.geteuid() == 0:
        pid = lab.pids()["postgres"]
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            assert "Uid:\t0" not in status.read_text()
    database = lab.output("database")
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(
            host=database["host"],
            port=int(database["port"]),
            dbname="lab_keycloak",
            user=database["role"],
            password=database["password"],
        )
    catalog, warehouse = lab.store("catalog_user"), lab.output("warehouse")
    for content in (b"old", b"new"):
        catalog.put_object(
            bucket_name=warehouse["bucket"], object_name="warehouse/a", data=io.BytesIO(content), length=3
        )
    for bucket, key in ((warehouse["bucket"], "elsewhere/a"), (warehouse["policy_bucket"], "bundle")):
        with pytest.raises(Exception, match="AccessDenied"):
            catalog.put_object(bucket_name=bucket, object_name=key, data=io.BytesIO(b"x"), length=1)
    _assumes_a_narrower_role(lab, warehouse)


def _assumes_a_narrower_role(lab: Lab, warehouse: dict[str, Any]) -> None:
    """The session that the catalog vends may do what its policy says and no more."""
    keys = lab.output("catalog_user")
    statement = {
        "Effect": "Allow",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{warehouse['bucket']}/warehouse/*"],
    }
    sts = boto3.client(
        "sts",
        endpoint_url=warehouse["sts_endpoint_url"],
        region_name=warehouse["region"],
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
    )
    session = sts.assume_role(
        RoleArn="arn:aws:iam::000000000000:role/lakehouse",
        RoleSessionName="reader",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )["Credentials"]
    s3 = boto3.client(
        "s3",
        endpoint_url=warehouse["endpoint_url"],
        region_name=warehouse["region"],
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )
    assert s3.get_object(Bucket=warehouse["bucket"], Key="warehouse/a")["Body"].read() == b"new"
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        s3.put_object(Bucket=warehouse["bucket"], Key="warehouse/b", Body=b"x")
    for client in (sts, s3):
        client.close()


def _a_changed_file_restarts_one_service(lab: Lab) -> None:
    before = lab.pids()
    lab.project.config(page="second")
    assert lab.project.up().counts["updated"] == 1
    after = lab.pids()
    assert {name for name in SERVICES if before[name] != after[name]} == {"web"}


def _heals_after_a_reboot(lab: Lab) -> None:
    control = json.loads(lab.client.paths.control.read_text())
    identities = [identify(int(pid)) for pid in [control["pid"], *filter(None, lab.pids().values())]]
    for identity in identities:
        assert identity is not None
        kill(identity)

    previewed = lab.project.run("preview")
    assert previewed.code == 0, previewed.text
    assert "3 to update" in previewed.text
    assert not lab.client.running()

    # The first update brings the supervisor, which starts whatever is wanted: others may be up when asked.
    assert 1 <= lab.project.up().counts["updated"] <= 3
    with lab.connect() as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
    assert lab.project.up("--expect-no-changes").counts.get("updated") is None


def _heals_drift(lab: Lab) -> None:
    database = lab.output("database")
    with psycopg.connect(
        host=database["host"],
        port=int(database["port"]),
        dbname="postgres",
        user="postgres",
        password=lab.passwords["superuser"],
        autocommit=True,
    ) as connection:
        connection.execute("DROP DATABASE lab_agent")
    assert lab.project.up().counts["updated"] == 1
    assert lab.project.up("--expect-no-changes").counts.get("updated") is None


def _keeps_data_through_destroy(lab: Lab) -> None:
    lab.project.destroy()
    assert lab.client.status() == []

    lab.project.up()

    with lab.connect() as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
    warehouse = lab.output("warehouse")
    versions = [
        item.version_id
        for item in lab.store("catalog_user").list_objects(
            bucket_name=warehouse["bucket"], prefix="warehouse/a"
        )
    ]
    assert len(versions) == 1
