"""Carries a server's connections byte by byte, and knows when the last byte passed.

Clients reach a driver only through it: its port is the gateway's own from the first moment, it shows
whether anybody is using the server, and it leads to a pod as well as to a process.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from governance.tasks import end

_CHUNK_BYTES = 1 << 16


class Relay:
    """Listens on ``bind`` and forwards each connection to ``target`` (host and port)."""

    def __init__(
        self, bind: str, target: tuple[str, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bind, self._target, self._clock = bind, target, clock
        self._last = clock()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port that clients connect to, once opened."""
        if self._server is None:
            raise RuntimeError("the relay is not open")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def idle_s(self) -> float:
        """Seconds since a byte passed, in either direction, or a connection was made."""
        return self._clock() - self._last

    def touch(self) -> None:
        """Counts as activity."""
        self._last = self._clock()

    async def open(self) -> None:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._accept, self._bind, 0)

    async def close(self) -> None:
        """Stops listening and cuts every connection."""
        if self._server is not None:
            self._server.close()
        await end(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.touch()
        try:
            with contextlib.suppress(OSError):
                await self._carry(reader, writer)
        finally:
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer))
                both.create_task(self._pump(far_reader, writer))
        except* OSError:
            pass  # one side hung up
        finally:
            far_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            self.touch()
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
