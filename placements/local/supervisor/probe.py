"""Probes: whether a service is ready, and whether one that was still answers."""

from __future__ import annotations

import http.client
import socket
import ssl
import struct

from placements.local.supervisor.model import ProbeSpec

ATTEMPT_TIMEOUT_S = 5.0
_BODY_LIMIT = 1 << 20


def check(probe: ProbeSpec) -> str | None:
    """One attempt, blocking for at most about ATTEMPT_TIMEOUT_S. Returns None when the service
    answers as it should, else what is wrong."""
    try:
        if probe.path is None:
            with socket.create_connection((probe.host, probe.port), timeout=ATTEMPT_TIMEOUT_S) as connection:
                return _check_postgresql(connection) if probe.postgresql else None
        return _check_http(probe, probe.path)
    except (OSError, http.client.HTTPException) as error:
        return f"port {probe.port}: {type(error).__name__}: {error}"


def _check_postgresql(connection: socket.socket) -> str | None:
    """Begins a login and leaves: a server that takes logins asks for authentication, one that is
    starting or stopping answers with an error
    (https://www.postgresql.org/docs/18/protocol-flow.html#PROTOCOL-FLOW-START-UP)."""
    protocol_3_0 = struct.pack("!HH", 3, 0)
    message = protocol_3_0 + b"user\0lab-probe\0database\0postgres\0application_name\0lab-probe\0\0"
    connection.sendall(struct.pack("!I", len(message) + 4) + message)
    answer = connection.recv(4096)
    if not answer:
        raise ConnectionAbortedError("closed without an answer")
    if answer[:1] == b"R":
        return None
    # The fields of an error are a letter and a text each, ended by a zero byte; M is the message.
    fields = {field[:1]: field[1:].decode("utf-8", "replace") for field in answer[5:].split(b"\0") if field}
    return f"the server says: {fields.get(b'M', 'nothing')}"


def _check_http(probe: ProbeSpec, path: str) -> str | None:
    connection: http.client.HTTPConnection
    if probe.tls:
        context = ssl.create_default_context(cafile=probe.ca_file)
        if not probe.verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            probe.host, probe.port, timeout=ATTEMPT_TIMEOUT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(probe.host, probe.port, timeout=ATTEMPT_TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"User-Agent": "lakehouse-lab-probe"})
        response = connection.getresponse()
        body = response.read(_BODY_LIMIT)
    finally:
        connection.close()
    if probe.statuses and response.status not in probe.statuses:
        return f"{path} answers {response.status}"
    if probe.body_contains is not None and probe.body_contains.encode() not in body:
        return f"{path} does not contain {probe.body_contains!r} yet"
    return None
