"""What the stand-ins for Polaris and Keycloak share: each is a state machine behind an httpx transport."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httpx

WRITES = ("POST", "PUT", "DELETE")

Reply = tuple[int, Any]
"""A status and a JSON document, None without a body."""


def client(handler: Callable[[httpx.Request], httpx.Response], base_url: str) -> httpx.Client:
    """A client whose requests ``handler`` answers."""
    return httpx.Client(transport=httpx.MockTransport(handler), base_url=base_url)


def path_of(request: httpx.Request) -> list[str]:
    """The segments of a request's path, without their quoting."""
    return [unquote(part) for part in request.url.raw_path.decode().split("?")[0].split("/") if part]


def document_of(request: httpx.Request) -> Any:
    """The JSON document a request carries, None without one."""
    return json.loads(request.content) if request.content else None


def response(reply: Reply) -> httpx.Response:
    """A reply as it goes over the wire."""
    status, body = reply
    return httpx.Response(status) if body is None else httpx.Response(status, json=body)
