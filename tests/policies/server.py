"""One OPA process for tests: configured as the lab's, fed by a bundle server on loopback."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from components.opa import MEMORY_MIB
from components.opa.properties import collector
from contracts.access import AccessData
from governance.bundle import (
    BUNDLE_KEY,
    BUNDLE_NAME,
    SIGNING_KEY_ID,
    build_bundle,
    compile_data,
    read_rego,
)
from governance.documents import read_access
from governance.maintenance.catalogs import borne

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "policies"
AUDIT_TOKEN = "the-token-of-the-decision-log"
TOKEN = "the-token-of-a-test-long-enough"
GARBAGE = collector(MEMORY_MIB)
Json = dict[str, Any]


def signing_keys() -> tuple[str, str]:
    """A new private and public key (PEM)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def seed_access() -> AccessData:
    """The access data in policies/data."""
    return read_access(POLICIES / "data")


def compiled(access: AccessData, *, revision: int = 1, age_s: float = 0, max_age_s: int = 3600) -> Json:
    """The bundle's data, issued ``age_s`` seconds ago."""
    return compile_data(
        access,
        catalog="lake",
        revision=revision,
        issued_at_ns=time.time_ns() - int(age_s * 1e9),
        max_age_s=max_age_s,
        owners={"raw.loaded": "analysts_emea"},
        procedures=borne("nessie"),
    )


class _Store(http.server.ThreadingHTTPServer):
    """Serves one bundle, with its digest as ETag, as an object store does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = b""
        self.requests = 0
        self.decisions: list[Json] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Store

    def do_GET(self) -> None:
        etag = f'"{sha256(self.server.content).hexdigest()}"'
        unchanged = self.headers.get("If-None-Match") == etag
        status = 404 if not self.server.content else 304 if unchanged else 200
        body = self.server.content if status == 200 else b""
        self.send_response(status)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.requests += 1

    def do_POST(self) -> None:
        """The decision log, as the lab's collector takes it."""
        assert self.headers["Authorization"] == f"Bearer {AUDIT_TOKEN}"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.decisions += json.loads(gzip.decompress(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass(kw_only=True)
class Opa:
    """A running OPA and the store it polls."""

    url: str
    store: _Store
    private_key: str
    pid: int
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    @classmethod
    @contextmanager
    def start(
        cls,
        program: Path,
        folder: Path,
        keys: tuple[str, str],
        garbage: Mapping[str, str] = GARBAGE,
    ) -> Iterator[Opa]:
        """Starts OPA with no bundle and, of the lab's environment, the collector's part; ends it on exit."""
        store = _Store()
        thread = threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        config = folder / "config.yaml"
        config.write_text(json.dumps(configuration(store.server_address[1], keys[1])))
        port = free_port()
        command = [
            str(program),
            *("run", "--server", "--addr", f"127.0.0.1:{port}", "--config-file", str(config)),
            *("--authentication=token", "--authorization=basic", "--log-level=error"),
            *("--skip-version-check", str(POLICIES / "system" / "authz.rego")),
            str(POLICIES / "system" / "log.rego"),
        ]
        with (folder / "opa.log").open("wb") as log:
            environment = {**os.environ, "OPA_READ_TOKEN": TOKEN, **garbage}
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        server = cls(url=url, store=store, private_key=keys[0], pid=process.pid)
        try:
            server.wait("/health")
            yield server
        finally:
            process.terminate()
            process.wait(10)
            store.shutdown()
            store.server_close()
            server.client.close()

    def wait(self, path: str, timeout_s: float = 15) -> None:
        """Until ``path`` answers 200."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                if self.client.get(self.url + path).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        raise TimeoutError(path)

    def seed_data(self) -> Json:
        """The seed, compiled now."""
        return compiled(seed_access())

    def publish(self, data: Mapping[str, Any], timeout_s: float = 15) -> None:
        """Serves ``data`` as a signed bundle and waits until OPA decides on it."""
        self.store.content = build_bundle(data, read_rego(POLICIES / "trino"), self.private_key)
        expected = data["lab"]["bundle"]
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.read("data/lab/bundle").get("result") == expected:
                return
            time.sleep(0.05)
        raise TimeoutError("the bundle was not activated")

    def read(self, path: str) -> Json:
        """GET /v1/``path`` with the token."""
        response = self.client.get(f"{self.url}/v1/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        response.raise_for_status()
        answer: Json = response.json()
        return answer

    def decide(self, decision: str, question: Any) -> Any:
        """The result of one decision point; raises on any status but 200."""
        response = self.client.post(f"{self.url}/v1/data/lab/trino/{decision}", json={"input": question})
        response.raise_for_status()
        return response.json().get("result")


def configuration(store_port: int, public_key: str) -> Json:
    """The lab's OPA configuration with a plain HTTP store."""
    return {
        "services": {
            "store": {"url": f"http://127.0.0.1:{store_port}"},
            "audit": {
                "url": f"http://127.0.0.1:{store_port}",
                "credentials": {"bearer": {"token": AUDIT_TOKEN}},
            },
        },
        "decision_logs": {
            "service": "audit",
            "resource": "/v1/audit/decisions",
            "reporting": {"min_delay_seconds": 1, "max_delay_seconds": 1},
        },
        "bundles": {
            BUNDLE_NAME: {
                "service": "store",
                "resource": BUNDLE_KEY,
                "polling": {"min_delay_seconds": 1, "max_delay_seconds": 1},
                "signing": {"keyid": SIGNING_KEY_ID},
            }
        },
        "keys": {SIGNING_KEY_ID: {"algorithm": "RS256", "key": public_key}},
        "status": {"prometheus": True},
    }


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def question(user: str, groups: list[str], operation: str, **action: Any) -> Json:
    """What Trino 476 sends."""
    return {
        "context": {
            "identity": {"user": user, "groups": groups},
            "softwareStack": {"trinoVersion": "476"},
        },
        "action": {"operation": operation, **action},
    }
