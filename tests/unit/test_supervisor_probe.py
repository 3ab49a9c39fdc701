"""Readiness probes against small servers."""

from __future__ import annotations

import http.server
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from components.keys import issue_server, make_authority
from placements.local.supervisor import ProbeSpec
from placements.local.supervisor.logs import rotate, tail
from placements.local.supervisor.probe import check
from tests.unit.supervisor_lab import free_port


class Handler(http.server.BaseHTTPRequestHandler):
    """``/ready`` says starting:false, ``/broken`` 503."""

    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/broken" else 200)
        self.end_headers()
        self.wfile.write(b'{"starting":false}')

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that takes one connection, notes what it is sent and answers."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(1000))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1]), seen
        thread.join()


def test_http_status_and_body_decide() -> None:
    with serving() as port:
        assert check(ProbeSpec(port=port, path="/ready")) is None
        assert check(ProbeSpec(port=port, path="/ready", body_contains='"starting":false')) is None
        assert "does not contain" in str(check(ProbeSpec(port=port, path="/ready", body_contains="UP")))
        assert check(ProbeSpec(port=port, path="/broken")) == "/broken answers 503"
        assert check(ProbeSpec(port=port, path="/broken", statuses=(200, 503))) is None
        assert check(ProbeSpec(port=port, path="/broken", statuses=())) is None, "somebody answers"
        assert check(ProbeSpec(port=port)) is None


def test_a_closed_port_is_a_reason_not_an_error() -> None:
    port = free_port()

    assert "ConnectionRefusedError" in str(check(ProbeSpec(port=port)))
    assert "ConnectionRefusedError" in str(check(ProbeSpec(port=port, path="/")))


def test_https_is_verified_against_the_labs_authority(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority, authority_key = make_authority("lab", now)
    other, _ = make_authority("other", now)
    certificate, key, _ = issue_server(authority, authority_key, ["localhost", "127.0.0.1"], now)
    for name, text in (("server.pem", key + certificate), ("ca.pem", authority), ("other.pem", other)):
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    with serving(context) as port:
        trusting = ProbeSpec(port=port, tls=True, path="/ready", ca_file=str(tmp_path / "ca.pem"))
        doubting = ProbeSpec(port=port, tls=True, path="/ready", ca_file=str(tmp_path / "other.pem"))
        assert check(trusting) is None
        assert "certificate verify failed" in str(check(doubting))
        assert check(replace(doubting, verified=False)) is None, "asked alone whether somebody answers"


def test_postgresql_is_ready_when_it_asks_for_a_password() -> None:
    authentication = b"R" + struct.pack("!II", 8, 10)
    with answering(authentication) as (port, seen):
        assert check(ProbeSpec(port=port, postgresql=True)) is None
    assert struct.unpack("!IHH", seen[0][:8]) == (len(seen[0]), 3, 0)


def test_postgresql_that_recovers_is_not_ready() -> None:
    fields = b"SFATAL\0C57P03\0Mthe database system is starting up\0\0"
    with answering(b"E" + struct.pack("!I", len(fields) + 4) + fields) as (port, _):
        reason = check(ProbeSpec(port=port, postgresql=True))
    assert reason == "the server says: the database system is starting up"


@pytest.mark.parametrize("more", [{"postgresql": True}, {"path": "/", "statuses": ()}])
def test_who_takes_connections_and_closes_them_does_not_answer(more: dict[str, Any]) -> None:
    """As a tunnel to a pod that is gone."""
    with answering(b"") as (port, seen):
        assert "without " in str(check(ProbeSpec(port=port, **more)))
    assert seen != [b""]


def test_logs_keep_their_last_files(tmp_path: Path) -> None:
    log = tmp_path / "one.log"
    for text in ("first", "second", "third"):
        log.write_text(text * 100)
        assert rotate(log, max_bytes=10, keep=2)

    assert log.read_text() == ""
    assert not rotate(log, max_bytes=10, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.log", "one.log.1", "one.log.2"]
    assert log.with_name("one.log.1").read_text().startswith("third")
    assert log.with_name("one.log.2").read_text().startswith("second")


@pytest.mark.parametrize(
    ("since", "lines", "expected"),
    [(0, 2, ["two", "three"]), (4, 9, ["two", "three"]), (999, 9, ["one", "two", "three"])],
)
def test_tail_shows_the_last_lines_of_this_start(
    tmp_path: Path, since: int, lines: int, expected: list[str]
) -> None:
    log = tmp_path / "one.log"
    log.write_text("one\ntwo\nthree\n")

    assert tail(log, lines, since) == expected
    assert tail(tmp_path / "none.log") == []
