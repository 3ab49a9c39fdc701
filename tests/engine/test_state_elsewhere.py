"""State in an S3 store, its secrets encrypted by a key of KMS: a real MinIO, a KMS that moto plays, and the
real engine as the lab command runs it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import yaml
from minio import Minio
from moto import mock_aws

from cli.joining import join
from cli.project import Lab, set_config
from cli.session import Session
from cli.sharing import take_part
from cli.steps import prepare_project
from contracts.errors import LabError, UsageError
from contracts.settings import Role, cache_home
from contracts.versions import MINIO
from placements.local.artifacts import SilentProgress, ensure
from tests.engine.aws_account import CHECKOUT
from tests.engine.plugins_support import free_port

pytestmark = pytest.mark.engine

REGION, SECRET = "eu-central-1", "what-nobody-may-read-in-the-state"
PROGRAM = f"""\
import sys

sys.path.insert(0, {str(CHECKOUT)!r})

import pulumi

from contracts.outputs import to_exports
from tests.unit.slots import make_slot

pulumi.export("plain", "text")
pulumi.export("slots", {{lab: pulumi.Output.secret(to_exports(make_slot())) for lab in ("team", "ci")}})
pulumi.export("placement", "kubernetes")
pulumi.export("catalog_kind", "nessie")
pulumi.export("secret", pulumi.Output.secret({SECRET!r}))
"""


def shown(outputs: Mapping[str, Any] | None) -> dict[str, Any]:
    """The outputs that a test is about."""
    return {name: value for name, value in (outputs or {}).items() if name in ("plain", "secret")}


def kms() -> Any:
    """moto's KMS, whatever the engine's is."""
    return boto3.client("kms", region_name=REGION, endpoint_url=f"https://kms.{REGION}.amazonaws.com")


@dataclass
class Kms:
    """A KMS that the engine reaches at ``url``; ``denied``: it refuses every request."""

    url: str = ""
    denied: bool = False


@contextmanager
def running_kms() -> Iterator[Kms]:
    """One whose keys moto keeps."""
    found = Kms()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Encrypt and Decrypt, which is all that the engine asks."""
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            call = self.headers["X-Amz-Target"].rpartition(".")[2].lower()
            blobs = {k: base64.b64decode(v) for k, v in given.items() if k in ("Plaintext", "CiphertextBlob")}
            if found.denied:
                status, answer = 400, {"__type": "AccessDeniedException", "message": "not authorized"}
            else:
                told = getattr(kms(), call)(**{**given, **blobs})
                status, answer = 200, {k: _text(v) for k, v in told.items() if k != "ResponseMetadata"}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def _text(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


@contextmanager
def running_minio(folder: Path) -> Iterator[str]:
    """``HOST:PORT`` of a store."""
    address = f"127.0.0.1:{free_port()}"
    program = ensure(MINIO, cache_home(), SilentProgress()) / "minio"
    environment = {
        "MINIO_ROOT_USER": "root-user",
        "MINIO_ROOT_PASSWORD": "root-password",
        "HOME": str(folder),
    }
    command = [str(program), "server", "--quiet", "--address", address, str(folder / "data")]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"http://{address}/minio/health/cluster", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            assert server.poll() is None
            assert time.monotonic() < end, "MinIO does not answer"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


@dataclass(frozen=True)
class Elsewhere:
    """Where state may lie, and with what it is encrypted."""

    folder: Path
    store: Minio
    backend: str
    key: str
    kms: Kms

    def session(self, name: str, machine: str = "one") -> Session:
        """A session on a lab whose program is a small one, from one of several machines."""
        home = self.folder / machine / name
        root = self.folder / "checkout"
        environ = {
            **os.environ,
            "LAB_HOME": str(home.parent),
            "LAB_BACKEND_URL": self.backend,
            "LAB_SECRETS_PROVIDER": self.key,
        }
        return Session(Lab(name=name, home=home, root=root, cache=cache_home()), environ=environ)

    def objects(self) -> list[str]:
        """Keys of all objects."""
        return sorted(str(o.object_name) for o in self.store.list_objects("state", recursive=True))


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "checkout").mkdir()
    (folder / "checkout" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        stack.enter_context(mock_aws())
        address = stack.enter_context(running_minio(folder))
        served = stack.enter_context(running_kms())
        patch.setenv("AWS_ENDPOINT_URL_KMS", served.url)
        patch.setenv("AWS_ACCESS_KEY_ID", "root-user")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "root-password")
        made = kms().create_key()["KeyMetadata"]["KeyId"]
        kms().create_alias(AliasName="alias/lab-state", TargetKeyId=made)
        store = Minio(address, access_key="root-user", secret_key="root-password", secure=False)
        store.make_bucket("state")
        options = f"region=us-east-1&endpoint=http://{address}&s3ForcePathStyle=true"
        yield Elsewhere(
            folder=folder,
            store=store,
            backend=f"s3://state/team?{options}",
            key=f"awskms://alias/lab-state?region={REGION}&awssdk=v2",
            kms=served,
        )


def test_state_lies_in_the_store_and_opens_with_the_key_alone(elsewhere: Elsewhere) -> None:
    session = elsewhere.session("team")
    assert join(session) is False, "nobody's state lies there"
    prepare_project(session)
    session.engine.up(Role.PERSISTENT)
    (checkpoint,) = [
        key for key in elsewhere.objects() if key.endswith("stacks/lakehouse-lab/persistent.json")
    ]
    assert checkpoint.startswith("team/")
    assert not list((session.lab.state_dir).rglob("*.json"))
    content = elsewhere.store.get_object("state", checkpoint).read().decode()
    assert SECRET not in content
    assert "awskms://alias/lab-state" in content
    described = yaml.safe_load(session.lab.stack_file(Role.PERSISTENT).read_text())
    assert described["secretsprovider"] == elsewhere.key
    assert described["encryptedkey"]
    assert "encryptionsalt" not in described
    outputs = session.engine.outputs(Role.PERSISTENT, secrets=True)
    assert shown(outputs) == {"plain": "text", "secret": SECRET}


def test_a_second_run_needs_to_be_told_nothing(elsewhere: Elsewhere) -> None:
    session = elsewhere.session("team")
    session.environ = {k: v for k, v in session.environ.items() if not k.startswith(("LAB_B", "LAB_S"))}
    assert session.engine.exists(Role.PERSISTENT)
    assert not session.engine.up(Role.PERSISTENT).changed


def test_another_machine_takes_the_lab_over_as_it_is(elsewhere: Elsewhere) -> None:
    session = elsewhere.session("team", "another")
    assert join(session)
    first, second = (one.lab.stack_file(Role.PERSISTENT) for one in (elsewhere.session("team"), session))
    made, taken = (yaml.safe_load(file.read_text()) for file in (first, second))
    assert taken["encryptedkey"] == made["encryptedkey"]
    assert taken["config"]["lakehouse-lab:name"] == "team"
    assert taken["config"]["lakehouse-lab:home"] == str(session.lab.home)
    outputs = session.engine.outputs(Role.PERSISTENT, secrets=True)
    assert shown(outputs) == {"plain": "text", "secret": SECRET}
    assert not session.engine.up(Role.PERSISTENT).changed
    assert join(session) is False


def test_another_lab_does_not_take_it_for_its_own(elsewhere: Elsewhere) -> None:
    other = elsewhere.session("other")
    with pytest.raises(UsageError, match="state of lab 'team' lies there") as refused:
        join(other)
    assert "s3://state/team/other?" in str(refused.value.permitted)
    assert not other.lab.home.exists()


def test_a_lab_shares_what_another_keeps_by_where_its_state_lies(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = elsewhere.session("team")
    set_config(owner.lab, Role.PERSISTENT, "placement", "kubernetes")
    owner.engine.up(Role.PERSISTENT)
    # They need the whole checkout.
    monkeypatch.setattr(Session, "policy_packs", lambda _: {})
    third = elsewhere.session("ci", "third")
    third.environ = {**third.environ, "LAB_SHARES": "team"}
    third.environ.pop("LAB_SECRETS_PROVIDER")
    take_part(third)
    assert third.slot()
    third.engine.up(Role.LAB)
    (checkpoint,) = [key for key in elsewhere.objects() if key.endswith("stacks/lakehouse-lab/lab-ci.json")]
    content = elsewhere.store.get_object("state", checkpoint).read().decode()
    assert SECRET not in content
    assert "awskms://alias/lab-state" in content
    assert third.engine.stack_names() == ["lab-ci", "persistent"]


def test_without_the_key_nothing_opens(elsewhere: Elsewhere) -> None:
    elsewhere.kms.denied = True
    try:
        with pytest.raises(LabError, match="Pulumi failed"):
            elsewhere.session("team").engine.outputs(Role.PERSISTENT, secrets=True)
    finally:
        elsewhere.kms.denied = False
