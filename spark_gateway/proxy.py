"""One port in front of all users' Connect servers, and who has been silent for how long.

Spark Connect is gRPC. Each call is led by its bearer token to the one server that has this token, and not by
its connection: clients of one process share connections to one address, whoever they act for. Messages pass
as they are. A server checks the token once more itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from contracts.errors import LabError
from governance.tasks import end

SERVICE = "/spark.connect.SparkConnectService/"
_AUTHORIZATION = "authorization"
_MESSAGE_LIMIT_BYTES = 128 << 20
"""Of a server and of its clients alike (``spark.connect.grpc.maxInboundMessageSize``)."""
_AHEAD_BYTES = 1 << 20
"""What is taken of a call in advance of who is to have it; gRPC itself would take ever more."""
_LIMITS = (
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT_BYTES),
    ("grpc.http2.lookahead_bytes", _AHEAD_BYTES),
    ("grpc.http2.bdp_probe", 0),
)
_TO_SERVERS = (*_LIMITS, ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
# Two gateways must not share a port, as gRPC lets them.
_TO_CLIENTS = (*_LIMITS, ("grpc.so_reuseport", 0))
_UNKNOWN = (
    "there is no Spark server with this token: it was stopped, or it is another lab's. "
    "`lab spark env` starts one and gives its token"
)

Metadata = Iterable[tuple[str, str | bytes]]
"""As gRPC hands it to both sides."""


class Route:
    """A server behind the proxy, ``target`` its host and port."""

    def __init__(self, target: tuple[str, int], clock: Callable[[], float]) -> None:
        host, port = target
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._channel = grpc.aio.insecure_channel(address, options=_TO_SERVERS)
        self._calls: set[Any] = set()
        self._clock, self._last, self._asked = clock, clock(), 0
        self.closed = False

    @property
    def idle_s(self) -> float:
        """Seconds since a message passed, in either direction, or a call began; none while the server owes an
        answer to somebody who waits for it."""
        return 0.0 if self._asked else self._clock() - self._last

    def touch(self) -> None:
        """Counts as activity."""
        self._last = self._clock()

    def call(self, method: str, metadata: Metadata, timeout_s: float | None) -> Any:
        """Begins a call of the server; its messages are bytes, one or many in both directions."""
        self.touch()
        call = self._channel.stream_stream(method)(metadata=tuple(metadata), timeout=timeout_s)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    async def answer(self, awaited: Awaitable[Any]) -> Any:
        """What the server says next in a call; until then it is not idle."""
        self._asked += 1
        try:
            return await awaited
        finally:
            self._asked -= 1
            self.touch()

    async def close(self) -> None:
        """Cuts every call."""
        self.closed = True
        for call in list(self._calls):
            call.cancel()
        await self._channel.close()


class ConnectProxy(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    """Listens on ``port`` of address ``bind`` once opened."""

    def __init__(self, bind: str, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bind, self._port, self._clock = bind, port, clock
        self._routes: dict[bytes, Route] = {}
        self._server: Any = None

    async def open(self) -> None:
        """Listens. Raises LabError when the port is taken."""
        server = grpc.aio.server(handlers=[self], options=_TO_CLIENTS)
        try:
            server.add_insecure_port(f"{self._bind}:{self._port}")
        except RuntimeError as error:
            raise LabError(
                "Spark Connect's port can't be listened on",
                value=f"{self._bind}:{self._port}",
                permitted="a port that nothing else has",
                next_command="lab doctor",
            ) from error
        await server.start()
        self._server = server

    async def close(self) -> None:
        """Stops listening and cuts every call."""
        for token in list(self._routes):
            await self._routes.pop(token).close()
        if self._server is not None:
            await self._server.stop(grace=None)

    def add(self, token: str, target: tuple[str, int]) -> Route:
        """Leads calls with ``token`` to ``target`` from now on."""
        route = self._routes[_digest(token)] = Route(target, self._clock)
        return route

    async def remove(self, token: str) -> None:
        """Leads none any more and cuts those that there are."""
        route = self._routes.pop(_digest(token), None)
        if route is not None:
            await route.close()

    def service(self, details: Any) -> Any:
        """gRPC's question what handles a call. None: there is no such method."""
        method: str = details.method
        if not method.startswith(SERVICE):
            return None

        async def handle(requests: AsyncIterator[bytes], context: Any) -> None:
            await self._carry(method, requests, context)

        # What is one message in a call looks on the wire as a stream of one does.
        return grpc.stream_stream_rpc_method_handler(handle)

    async def _carry(self, method: str, requests: AsyncIterator[bytes], context: Any) -> None:
        given = tuple(context.invocation_metadata())
        route = self._route(given)
        if route is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, _UNKNOWN)
            return
        call = route.call(method, _end_to_end(given), context.time_remaining())
        sending = asyncio.create_task(_send(requests, call, route))
        try:
            await context.send_initial_metadata(_end_to_end(await route.answer(call.initial_metadata())))
            while (message := await route.answer(call.read())) is not grpc.aio.EOF:
                await context.write(message)
            context.set_trailing_metadata(_end_to_end(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as error:
            trailing = _end_to_end(error.trailing_metadata() or ())
            await context.abort(error.code(), error.details() or "", trailing)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not route.closed or (task is not None and task.cancelling()):
                raise
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, _UNKNOWN)
        finally:
            call.cancel()
            await end(sending)

    def _route(self, metadata: Metadata) -> Route | None:
        for key, value in metadata:
            if key == _AUTHORIZATION and isinstance(value, str):
                scheme, _, token = value.partition(" ")
                return self._routes.get(_digest(token)) if scheme.lower() == "bearer" else None
        return None


async def _send(requests: AsyncIterator[bytes], call: Any, route: Route) -> None:
    """Hands on what the client sends, no faster than the server takes it."""
    try:
        async for message in requests:
            route.touch()
            await call.write(message)
        await call.done_writing()
    except (grpc.RpcError, asyncio.InvalidStateError):
        pass  # the call has ended, and how is told to whom it reads from


def _end_to_end(metadata: Metadata) -> tuple[tuple[str, str | bytes], ...]:
    """What is not a hop's own."""
    return tuple(
        (key, value)
        for key, value in metadata
        if key != "user-agent" and (not key.startswith("grpc-") or key == "grpc-status-details-bin")
    )


def _digest(token: str) -> bytes:
    # Looked up by digest, so that the time it takes tells nothing about a token.
    return hashlib.sha256(token.encode()).digest()
