"""Trino's generated files: what its doors rest on."""

from __future__ import annotations

import ast
import hashlib
import http.server
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from components.trino import Workers, drain, workers_of
from components.trino.properties import (
    CLOCK_SKEW_S,
    authentication,
    lake_catalog,
    limits,
    resource_groups,
    worker_authentication,
)
from contracts.errors import UsageError

FOUND = authentication(issuer_url="http://127.0.0.1:1/realms/lab", realm_url="http://keycloak:1/realms/lab")
OAUTH2 = "http-server.authentication.oauth2"


def test_a_token_that_has_ended_is_believed_for_seconds_only() -> None:
    assert FOUND[f"{OAUTH2}.max-clock-skew"] == f"{CLOCK_SKEW_S}s"
    assert 0 < CLOCK_SKEW_S <= 30


def test_only_tokens_open_it_and_their_issuer_is_asked_inside() -> None:
    assert FOUND["http-server.authentication.type"] == FOUND["web-ui.authentication.type"] == "oauth2"
    assert FOUND["http-server.authentication.allow-insecure-over-http"] == "false"
    assert FOUND[f"{OAUTH2}.issuer"].startswith("http://127.0.0.1:1/")
    for inside in ("token-url", "jwks-url"):
        assert FOUND[f"{OAUTH2}.{inside}"].startswith("http://keycloak:1/"), inside
    for browser in ("auth-url", "end-session-url"):
        assert FOUND[f"{OAUTH2}.{browser}"].startswith("http://127.0.0.1:1/"), browser


def test_no_secret_is_in_the_file() -> None:
    assert FOUND[f"{OAUTH2}.client-secret"] == "${ENV:TRINO_CLIENT_SECRET}"


def test_no_token_of_a_call_of_the_catalog_is_refreshed() -> None:
    lines = lake_catalog(
        catalog_uri="http://catalog:1", warehouse="lake", token_url="http://keycloak:1", min_retention_days=1
    ).splitlines()
    assert "iceberg.rest-catalog.oauth2.token-refresh-enabled=false" in lines
    assert not [line for line in lines if line.startswith("iceberg.rest-catalog.session=")], "a token a call"


def test_a_worker_takes_the_same_tokens_and_no_names() -> None:
    found = worker_authentication(
        issuer_url="http://127.0.0.1:1/realms/lab", realm_url="http://keycloak:1/realms/lab"
    )
    assert found["http-server.authentication.type"] == "jwt"
    assert found["http-server.authentication.jwt.required-issuer"] == FOUND[f"{OAUTH2}.issuer"]
    assert found["http-server.authentication.jwt.key-file"] == FOUND[f"{OAUTH2}.jwks-url"]
    assert found["http-server.authentication.jwt.required-audience"] == FOUND[f"{OAUTH2}.client-id"]


def test_a_query_may_use_the_memory_of_all_that_work() -> None:
    one, three = limits(1024), limits(1024, nodes=3)
    assert one["query.max-memory"] == one["query.max-memory-per-node"] == three["query.max-memory-per-node"]
    assert int(three["query.max-memory"][:-2]) == 3 * int(one["query.max-memory"][:-2])


def _numbers(minimum: int, maximum: int) -> dict[str, int]:
    return {"trinoWorkers": minimum, "trinoMaxWorkers": maximum, "trinoDrainS": 90}


def test_how_many_workers_there_are() -> None:
    assert workers_of(_numbers(0, 0)) == Workers(minimum=0, maximum=0, drain_s=90)
    assert workers_of(_numbers(2, 0)) == Workers(minimum=2, maximum=2, drain_s=90)
    assert workers_of(_numbers(2, 5)) == Workers(minimum=2, maximum=5, drain_s=90)


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 3), (4, 3)])
def test_numbers_of_workers_that_contradict_each_other_are_refused(minimum: int, maximum: int) -> None:
    with pytest.raises(UsageError, match="trinoMaxWorkers=3"):
        workers_of(_numbers(minimum, maximum))


def test_the_token_between_workers_and_coordinator_is_short_lived() -> None:
    key = hashlib.sha256(b"secret").digest()
    claims = jwt.decode(drain.internal_token("secret", now_s=time.time()), key, algorithms=["HS256"])
    assert 0 < claims["exp"] - time.time() <= 60
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(drain.internal_token("guess", now_s=time.time()), key, algorithms=["HS256"])


def test_what_drains_a_worker_needs_nothing_of_the_checkout() -> None:
    tree = ast.parse(Path(drain.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {str(module).split(".")[0] for module in modules} & {"components", "contracts"}


class _Worker(http.server.BaseHTTPRequestHandler):
    """Ends some answers after it was asked to."""

    asked: list[tuple[str, bytes]]
    left: int
    refuses = False

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append((self.headers[drain.TOKEN_HEADER], body))
        self._answer(401 if self.refuses else 200)

    def do_GET(self) -> None:
        type(self).left -= 1
        self._answer(500 if self.left == 1 else 200)
        if self.left == 0:
            self.server.server_close()
            threading.Thread(target=self.server.shutdown).start()

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def worker() -> Iterator[tuple[str, Any]]:
    """Its address, and its handler's class."""
    handler = type("Handler", (_Worker,), {"asked": [], "left": 3})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_worker_is_asked_once_and_waited_for(
    worker: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "_PAUSE_S", 0.01)
    url, handler = worker
    drain.drain(url, {"TRINO_INTERNAL_SECRET": "secret"})
    ((token, body),) = handler.asked
    assert body == b'"SHUTTING_DOWN"'
    assert jwt.decode(token, hashlib.sha256(b"secret").digest(), algorithms=["HS256"])["sub"]
    assert handler.left == 0, "an error is not the end"


def test_a_worker_that_refuses_is_not_waited_for(worker: tuple[str, Any]) -> None:
    url, handler = worker
    handler.refuses = True
    with pytest.raises(urllib.error.HTTPError, match="401"):
        drain.drain(url, {"TRINO_INTERNAL_SECRET": "guess"})


def test_queues_are_read_from_what_the_governor_writes_and_no_secret_is_there() -> None:
    lines = dict(line.split("=", 1) for line in resource_groups().splitlines() if "=" in line)
    assert lines["resource-groups.configuration-manager"] == "db"
    url = lines["resource-groups.config-db-url"]
    assert url.startswith("${ENV:TRINO_MASKING_JDBC_URL}?currentSchema=queues&")
    assert "default_transaction_read_only=on" in url
    assert lines["resource-groups.config-db-password"] == "${ENV:TRINO_MASKING_PASSWORD}"
    assert lines["resource-groups.db-migrations-enabled"] == "false"
