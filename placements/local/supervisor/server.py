"""The supervisor's control port: JSON lines over loopback TCP, guarded by a token.

TCP and not a Unix socket, whose path may hold about 100 bytes only: a lab's home may be longer. One
request a connection::

    {"token": "…", "op": "apply", "spec": "…"}   ->   {"result": …} | {"error": {…}} | {"event": …}*
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
from typing import Any

from contracts.errors import LabError
from placements.local.supervisor import processes
from placements.local.supervisor.manager import Manager
from placements.local.supervisor.model import ServiceSpec
from placements.local.supervisor.paths import HomePaths, write_private

_log = logging.getLogger(__name__)
LINE_LIMIT = 16 * 2**20


class ControlServer:
    """Answers clients of one lab."""

    def __init__(self, manager: Manager, paths: HomePaths, code_version: str) -> None:
        self._manager = manager
        self._paths = paths
        self._code_version = code_version
        self._token = secrets.token_urlsafe(32)
        self.shutdown: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Resolves when asked to end; the value says whether services are stopped too."""

    async def serve(self) -> asyncio.Server:
        """Listens on a free loopback port and publishes it."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, limit=LINE_LIMIT)
        identity = processes.identify(os.getpid())
        document = {
            "pid": os.getpid(),
            "birth": identity.birth if identity else "",
            "port": server.sockets[0].getsockname()[1],
            "token": self._token,
            "code_version": self._code_version,
        }
        write_private(self._paths.control, json.dumps(document))
        return server

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await self._answer_one(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send(document: dict[str, Any]) -> None:
            writer.write(json.dumps(document).encode() + b"\n")
            await writer.drain()

        try:
            request = json.loads(await reader.readline())
            token = str(request.get("token", "")).encode()
        except (ValueError, AttributeError):
            await send(_error(LabError("the supervisor can't read this request")))
            return
        if not secrets.compare_digest(token, self._token.encode()):
            await send(_error(LabError("the supervisor does not know this token")))
            return
        try:
            if request.get("op") == "watch":
                async for status in self._manager.events():
                    await send({"event": status.as_dict()})
            else:
                await send({"result": await self._perform(request)})
        except (LabError, OSError) as error:
            if isinstance(error, ConnectionError):
                raise
            await send(_error(error if isinstance(error, LabError) else LabError(str(error))))

    async def _perform(self, request: dict[str, Any]) -> Any:
        match request.get("op"):
            case "ping":
                return {"code_version": self._code_version}
            case "status":
                return [status.as_dict() for status in self._manager.status()]
            case "apply":
                return (await self._manager.apply(ServiceSpec.from_json(request["spec"]))).as_dict()
            case "start":
                return [status.as_dict() for status in await self._manager.start(request.get("names"))]
            case "resume":
                return self._manager.resume(request["names"])
            case "stop":
                return await self._manager.stop(request.get("names"), wait=request.get("wait", True))
            case "remove":
                return await self._manager.remove(request["name"])
            case "shutdown":
                if not self.shutdown.done():
                    self.shutdown.set_result(bool(request.get("stop_services", True)))
                return None
            case other:
                raise LabError("the supervisor does not know this operation", value=other)


def _error(error: LabError) -> dict[str, Any]:
    return {"error": error.as_dict()}
