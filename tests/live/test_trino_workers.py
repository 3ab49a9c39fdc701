"""Trino's coordinator and a worker as the component describes them, as two processes without a lab: they find
and trust each other by the internal secret alone, over TLS, and the worker ends once its work is done."""

from __future__ import annotations

import dataclasses
import datetime
import http.server
import ipaddress
import json
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from components import trino
from components.trino.drain import TOKEN_HEADER, internal_token
from components.trino.properties import DRAIN_PERIOD_S
from contracts.workload import Workload
from tests.live.trino_alone import layout_of

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
ENCODED = "127-0-0-1.ip"
"""How Trino writes that address as a name, of which its own certificates are."""
PERIOD_S = 2


@dataclass(frozen=True, kw_only=True)
class Running:
    """One process and how it is described."""

    process: subprocess.Popen[bytes]
    workload: Workload
    env: dict[str, str]
    url: str
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Coordinator and worker, and the secret between them."""

    coordinator: Running
    worker: Running
    secret: str
    token: str

    def query(self, statement: str) -> list[list[Any]]:
        """All rows of a statement, as a person with a token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        rows: list[list[Any]] = []
        with httpx.Client(verify=False, trust_env=False, timeout=60, headers=headers) as client:  # noqa: S501  its own
            page = client.post(f"{self.coordinator.url}/v1/statement", content=statement)
            while True:
                answer = page.raise_for_status().json()
                assert "error" not in answer, answer["error"]
                rows += answer.get("data") or []
                if "nextUri" not in answer:
                    return rows
                page = client.get(answer["nextUri"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Both running, the worker known to the coordinator."""
    folder, secret = tmp_path_factory.mktemp("trino"), secrets.token_hex(32)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with ExitStack() as stack:
        realm_url = stack.enter_context(_KeyServer(key)).url
        args = _args(realm_url, secret, _certificate())
        port = _free_port()
        coordinator = trino.workload(args, _behind_tls(folder / "coordinator", port))
        described = trino.worker(
            args, _behind_tls(folder / "worker", _free_port()), coordinator_url=f"https://{LOOPBACK}:{port}"
        )
        started = [stack.enter_context(_Process(folder, one)) for one in (coordinator, described)]
        for one in started:
            _await_ready(one)
        claims = {
            "iss": realm_url,
            "aud": "trino",
            "sub": "somebody",
            "preferred_username": "somebody",
            "groups": ["analysts"],
            "iat": int(time.time()),
            "exp": int(time.time()) + 600,
        }
        token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "test"})
        yield Cluster(coordinator=started[0], worker=started[1], secret=secret, token=token)


def test_its_addresses_are_those_that_people_asked_a_proxy_for(cluster: Cluster) -> None:
    asked = {"Forwarded-Host": "trino.lab.example", "Forwarded-Proto": "https", "Forwarded-Port": "443"}
    headers = {
        "Authorization": f"Bearer {cluster.token}",
        **{f"X-{name}": value for name, value in asked.items()},
    }
    url = f"{cluster.coordinator.url}/v1/statement"
    answer = httpx.post(url, content="SELECT 1", headers=headers, verify=False, trust_env=False)  # noqa: S501  its own
    assert answer.raise_for_status().json()["nextUri"].startswith("https://trino.lab.example/v1/statement/")


def test_a_worker_works_and_ends_when_its_work_is_done(cluster: Cluster) -> None:
    nodes = _nodes(cluster)
    assert {coordinator for coordinator, _, _ in nodes} == {True, False}
    assert all(uri.startswith(f"https://{ENCODED}:") for _, uri, _ in nodes), "they speak TLS"
    assert cluster.query("SELECT count(*) FROM tpch.tiny.lineitem") == [[60175]]

    _refuses_whoever_does_not_know_the_secret(cluster)

    answers: list[list[list[Any]]] = []
    statement = "SELECT count(*) FROM tpch.sf1.lineitem"
    asking = threading.Thread(target=lambda: answers.append(cluster.query(statement)))
    asking.start()
    _await_task(cluster)
    drain = cluster.worker.workload.drain
    assert drain is not None
    began = time.monotonic()
    done = subprocess.run(
        list(drain.command), env=cluster.worker.env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert cluster.worker.process.wait(30) == 0
    assert time.monotonic() - began >= 2 * PERIOD_S
    asking.join(60)
    assert answers == [[[6001215]]], "as TPC-H has it"
    assert "Shutdown requested" in cluster.worker.said()


def _refuses_whoever_does_not_know_the_secret(cluster: Cluster) -> None:
    url = f"{cluster.worker.url}/v1/info/state"
    wrong = internal_token("guessed", now_s=time.time())
    old = internal_token(cluster.secret, now_s=time.time() - 3600)
    for headers, expected in (
        ({}, 401),
        ({"X-Trino-User": "admin"}, 401),
        ({TOKEN_HEADER: wrong}, 401),
        ({TOKEN_HEADER: old}, 401),
        ({"Authorization": f"Bearer {cluster.token}"}, 403),
    ):
        answer = httpx.put(url, json="SHUTTING_DOWN", headers=headers, verify=False, trust_env=False)  # noqa: S501  its own
        assert answer.status_code == expected, (headers, answer.text)


def _nodes(cluster: Cluster) -> list[tuple[bool, str, str]]:
    rows = cluster.query("SELECT coordinator, http_uri, state FROM system.runtime.nodes")
    return [(bool(row[0]), str(row[1]), str(row[2])) for row in rows]


def _await_task(cluster: Cluster) -> None:
    """Until the worker has something to do for the second statement."""
    deadline = time.monotonic() + 60
    text = "SELECT count(*) FROM system.runtime.tasks WHERE state = 'RUNNING' AND node_id <> 'coordinator'"
    while cluster.query(text)[0][0] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)


class _KeyServer:
    """A realm's public key, where Trino looks for it."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        public: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
        body = json.dumps({"keys": [{**public, "kid": "test", "use": "sig", "alg": "RS256"}]}).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/realms/lab"

    def __enter__(self) -> _KeyServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Process:
    """A workload as a process, its catalogs replaced by made-up data."""

    def __init__(self, folder: Path, workload: Workload) -> None:
        home = folder / ("worker" if workload.name == trino.WORKER else "coordinator")
        for part in ("files/catalog", "data", "scratch"):
            (home / part).mkdir(parents=True)
        for name, content in _files(workload).items():
            (home / "files" / name).write_text(content, encoding="utf-8")
        given = {name: value for name, value in workload.env.items() if isinstance(value, str)}
        env = {"PATH": os.environ["PATH"], **given}
        self._log = home / "log"
        with self._log.open("ab") as out:
            process = subprocess.Popen(
                [str(word) for word in workload.command], cwd=home, env=env, stdout=out, stderr=out
            )
        url = f"https://{LOOPBACK}:{workload.ports[0].number}"
        self.running = Running(process=process, workload=workload, env=env, url=url, log=self._log)

    def __enter__(self) -> Running:
        return self.running

    def __exit__(self, *_: object) -> None:
        process = self.running.process
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _files(workload: Workload) -> dict[str, str]:
    texts = {name: text for name, text in workload.files.items() if isinstance(text, str)}
    config = texts["config.properties"]
    # A pod has an address, which Trino finds; here it would find that of the machine.
    config += f"node.internal-address={ENCODED}\n"
    config = config.replace(f"shutdown.grace-period={DRAIN_PERIOD_S}s", f"shutdown.grace-period={PERIOD_S}s")
    config = "".join(line for line in config.splitlines(True) if not line.startswith("event-listener."))
    # Tables, an audit and queues are a lab's.
    elsewhere = ("catalog/", "event-listener", "etc/resource-groups")
    kept = {name: text for name, text in texts.items() if not name.startswith(elsewhere)}
    return {
        **kept,
        "config.properties": config,
        "access-control.properties": "access-control.name=default\n",
        "catalog/tpch.properties": "connector.name=tpch\n",
    }


def _args(realm_url: str, secret: str, server_pem: str) -> trino.TrinoArgs:
    texts = {field.name: field.name for field in dataclasses.fields(trino.TrinoArgs)}
    given: dict[str, Any] = {
        **texts,
        "issuer_url": realm_url,
        "realm_url": realm_url,
        "heap_mib": 640,
        "min_retention_days": 7,
        "internal_secret": secret,
        "server_pem": server_pem,
        "workers": trino.Workers(minimum=1, maximum=1, drain_s=120),
    }
    return trino.TrinoArgs(**given)


_behind_tls = partial(layout_of, scheme="https", proxied=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _certificate() -> str:
    """Key and certificate for clients of the coordinator."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trino")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]), False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + signed.public_bytes(serialization.Encoding.PEM)).decode()


def _await_ready(running: Running) -> None:
    deadline = time.monotonic() + 180
    while True:
        try:
            answer = httpx.get(f"{running.url}/v1/info", verify=False, trust_env=False)  # noqa: S501  its own
            if '"starting":false' in answer.text:
                return
        except httpx.TransportError:
            pass
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"{running.workload.name} is not ready: {running.said()[-3000:]}")
        time.sleep(0.2)
