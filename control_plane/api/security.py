"""What holds for every request and answer, whatever the route: host, size, headers."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.errors import LabError
from control_plane.api.problems import problem

MAX_BODY_BYTES = 8 << 20
_PROBES = ("/health", "/health/ready")
_UPLOAD = re.compile(r"/api/v1/workspaces/[0-9a-fA-F-]{36}/uploads")
"""Where files come in, which are streamed to the disk and have a bound of their own."""


def content_security_policy(public_url: str) -> str:
    """Everything from here, nothing inline but the style of single elements: Chromium's own editing writes
    some into the SQL editor."""
    directives = {
        "default-src": "'self'",
        "script-src": "'self'",
        "style-src": "'self'",
        "style-src-attr": "'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    policy = "; ".join(f"{name} {value}" for name, value in directives.items())
    return f"{policy}; upgrade-insecure-requests" if urlsplit(public_url).scheme == "https" else policy


class Security:
    """ASGI middleware. A request for a host that is not this console's is refused: a page of somebody
    else's whose name leads here must not be answered (DNS rebinding)."""

    def __init__(self, app: ASGIApp, *, public_url: str, hosts: frozenset[str], upload_bytes: int) -> None:
        self._app, self._public_url, self._hosts = app, public_url, hosts
        self._upload_bytes = upload_bytes
        public = urlsplit(public_url)
        self._same_machine = f"localhost:{public.port}" if public.hostname == "127.0.0.1" else None
        self._headers = {
            "Content-Security-Policy": content_security_policy(public_url),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        }
        if public.scheme == "https":
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = self._with_headers(scope, send)
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts and scope["path"] not in _PROBES:
            if host == self._same_machine and scope["method"] in ("GET", "HEAD"):
                query = scope["query_string"].decode("latin-1")
                path = scope["path"] if scope["path"].startswith("/") else "/"
                url = f"{self._public_url}/{path.lstrip('/')}" + (f"?{query}" if query else "")
                await RedirectResponse(url)(scope, receive, sending)
                return
            wrong = LabError("this console has another address", value=host, permitted=self._public_url)
            await problem(wrong, status=421)(scope, receive, sending)
            return
        length = headers.get("content-length", "0")
        upload = scope["method"] == "POST" and _UPLOAD.fullmatch(scope["path"]) is not None
        limit_bytes = self._upload_bytes if upload else MAX_BODY_BYTES
        if not length.isdecimal() or int(length) > limit_bytes:
            await problem(_too_long(limit_bytes), status=413)(scope, receive, sending)
            return
        await self._app(scope, _bounded(receive, limit_bytes), sending)

    def _with_headers(self, scope: Scope, send: Send) -> Send:
        dynamic = scope["path"].startswith(("/api/", "/auth/"))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if dynamic:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return sending


def _too_long(limit_bytes: int) -> LabError:
    return LabError("the request is too long", permitted=f"{limit_bytes} bytes")


def _bounded(receive: Receive, limit_bytes: int) -> Receive:
    size = 0

    async def receiving() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit_bytes:
            # The one exception that FastAPI lets through while it reads a body.
            raise HTTPException(413, f"the request is too long: {limit_bytes} bytes are permitted")
        return message

    return receiving
