"""A governor to call: the real service and client, Polaris and Keycloak as observed, and an object store
that fails on demand. Its database is the caller's."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives import serialization

from governance.audit.store import AuditStore
from governance.bundle import BUNDLE_KEY
from governance.client import GovernorClient
from governance.governor.app import create_app
from governance.governor.auth import TokenVerifier
from governance.governor.loops import Loop, publish_loop, queues_loop, reconcile_loop
from governance.governor.maintaining import Maintenance, MaintenanceSettings
from governance.governor.service import Governor
from governance.governor.spaces import Spaces
from governance.governor.using import Uses
from governance.maintenance.policy import Limits
from governance.maintenance.runner import Maintainer
from governance.maintenance.store import MaintenanceStore
from governance.publish import BundleSettings, Publisher, PublishError
from governance.store import Store, make_engine
from governance.workspaces.queues import QueueStore
from governance.workspaces.store import WorkspaceStore
from tests.unit.governor_world import ACCESS, RETAIL, World
from tests.unit.maintenance_world import FakeEngine, worn
from tests.unit.test_governor_auth import ISSUER, KEY, token

SIGNING_PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
SEED = ACCESS.as_document()
_START_S = 60.0
"""On a machine that does much else."""
POLICIES = Path(__file__).resolve().parents[2] / "policies"


class Bucket:
    """An object store that holds one object at a time and fails as told."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts = 0
        self.failing = False

    def put(self, key: str, content: bytes) -> str:
        """Replaces the object, or fails without touching it."""
        if self.failing:
            raise PublishError("the object store did not take the access bundle", value=key)
        self.objects[key] = content
        self.puts += 1
        return f"etag-{self.puts}"

    def etag(self, key: str) -> str | None:
        """Of what is there."""
        if self.failing:
            raise PublishError("the object store can't be asked for the access bundle", value=key)
        return f"etag-{self.puts}" if key in self.objects else None

    def bundle(self) -> dict[str, Any]:
        """The data of the published bundle, after checking its signature over every file."""
        files: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(self.objects[BUNDLE_KEY])) as archive:
            for member in archive.getmembers():
                content = archive.extractfile(member)
                assert content is not None
                files[member.name.removeprefix("/")] = content.read()
        signature = json.loads(files.pop(".signatures.json"))["signatures"][0]
        signed = jwt.decode(signature, KEY.public_key(), algorithms=["RS256"])
        assert {entry["name"] for entry in signed["files"]} == set(files)
        data: dict[str, Any] = json.loads(files["data.json"])["lab"]
        return data


class Counted:
    """Trino for comparisons: keeps what it was asked, answers ten rows of which five pass anything."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def row(self, sql: str, namespace: str) -> Sequence[int]:
        """As many numbers as the statement counts."""
        self.asked.append(sql)
        return [10, *([5] * sql.count("count_if("))]


class Lab:
    """The running governor and what is around it."""

    def __init__(self, database_url: str) -> None:
        self.world = World()
        self.world.keycloak.members |= {
            "lab_admins": {"admin"},
            "data_stewards": {"steward"},
            "hr_partners": {"hr"},
        }
        self.bucket = Bucket()
        self.now_ns = time.time_ns()
        self.store = Store(make_engine(database_url))
        settings = BundleSettings(
            catalog="lake",
            max_age_s=3600,
            rego={"lab/trino/x.rego": "package lab.trino\n"},
            signing_key_pem=SIGNING_PEM,
        )
        publisher = Publisher(self.store, self.bucket, settings, clock_ns=lambda: self.now_ns)
        self.governor = Governor(self.store, publisher, self.world.reconciler, publish_wait_s=3.0)
        self.workspace_store = WorkspaceStore(make_engine(database_url))
        self.spaces = Spaces(self.governor, self.workspace_store, self.world.groups, self.world.namespaces)
        self.queues = QueueStore(make_engine(database_url))
        self.loops: tuple[Loop, ...] = (
            publish_loop(self.governor, 3600),
            reconcile_loop(self.governor, 3600),
            self.spaces.loop(),
            queues_loop(self.governor, self.workspace_store, self.queues),
        )
        verifier = TokenVerifier(ISSUER, lambda _: KEY.public_key())
        self.counter = Counted()
        self.engine = FakeEngine()
        self.engine.tables = {name: worn() for name in RETAIL}
        self.maintenance_store = MaintenanceStore(make_engine(database_url))
        maintainer = Maintainer(self.maintenance_store, self.engine, unsafe={}, limits=Limits())
        self.maintenance = Maintenance(
            self.governor,
            self.maintenance_store,
            maintainer,
            MaintenanceSettings(
                catalog_kind="polaris",
                limits=Limits(),
                every_s=900,
                keep_days=90,
                policy_data=POLICIES / "data" / "maintenance",
            ),
        )
        self.audit_engine = make_engine(database_url)
        self.uses = Uses(AuditStore(self.audit_engine), self.bucket.put)
        app = create_app(
            self.governor,
            verifier,
            self.loops,
            counter=self.counter,
            maintenance=self.maintenance,
            spaces=self.spaces,
            uses=self.uses,
        )
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="none")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def start(self) -> None:
        """Serves until :meth:`stop`."""
        self.thread.start()
        wait_for(lambda: self.server.started, _START_S)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
        wait_for(lambda: httpx.get(f"{self.url}/health/ready").status_code == 200, _START_S)

    def stop(self) -> None:
        """Ends the service and its loops."""
        self.server.should_exit = True
        self.thread.join(15)
        assert not self.thread.is_alive()
        self.store.close()
        self.maintenance_store.close()
        self.workspace_store.close()
        self.queues.close()
        self.audit_engine.dispose()

    def client(self, username: str = "admin", *groups: str, service: str | None = None) -> GovernorClient:
        """The API as one caller sees it."""
        name = f"service-account-{service}" if service else username
        held = None if service else list(groups or ("lab_admins",))
        bearer = token(preferred_username=name, azp=service or "cli", groups=held)
        return GovernorClient(self.url, lambda: bearer)


def wait_for(reached: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@pytest.fixture
def lab(database_url: str) -> Iterator[Lab]:
    """A governor on an empty database."""
    found = Lab(database_url)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def seeded(lab: Lab) -> Lab:
    """The same, seeded, published and reconciled."""
    with lab.client(service="seeder") as seeder:
        seeder.seed_access(SEED, "digest-1")
        assert seeder.reconcile().complete
    return lab


def with_tag(
    document: dict[str, Any], obj: str = "retail.orders.id", tag: str = "pii.email"
) -> dict[str, Any]:
    """Access data with one tag more."""
    return {**document, "tags": [*document["tags"], {"object": obj, "tag": tag}]}
