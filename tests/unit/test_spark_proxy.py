"""One port for all Connect servers: whose call reaches which, what passes unchanged, and what ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest

from contracts.errors import LabError
from spark_gateway.local import free_port
from spark_gateway.proxy import ConnectProxy, Route
from tests.unit.spark_fakes import (
    CONNECT_LIMIT_BYTES,
    FakeConnectServer,
    begin,
    connect_channel,
    eventually,
)

STOPPED = r"it was stopped, or it is another lab's"


@dataclass
class Front:
    """A proxy, two servers behind it, and one client's connection."""

    proxy: ConnectProxy
    port: int
    one: FakeConnectServer
    two: FakeConnectServer
    route: Route
    """To ``one``."""
    channel: Any
    now_s: list[float]


@asynccontextmanager
async def front() -> AsyncIterator[Front]:
    port, now_s = free_port(), [100.0]
    proxy = ConnectProxy("127.0.0.1", port, clock=lambda: now_s[0])
    one, two = FakeConnectServer("one", "token-one"), FakeConnectServer("two", "token-two")
    await proxy.open()
    route = proxy.add("token-one", await one.open())
    proxy.add("token-two", await two.open())
    channel = connect_channel(f"sc://localhost:{port}")
    try:
        yield Front(proxy, port, one, two, route, channel, now_s)
    finally:
        await channel.close()
        await proxy.close()
        await one.close()
        await two.close()


async def settled(count: Callable[[], int]) -> int:
    """A number once it has not grown for half a second."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 0.5 or last == 0:
        if (now := count()) != last:
            last, since = now, time.monotonic()
        await asyncio.sleep(0.02)
    return last


async def echoed(call: Any, *messages: bytes) -> list[bytes]:
    for message in messages:
        await call.write(message)
    await call.done_writing()
    answers = []
    while (answer := await call.read()) is not grpc.aio.EOF:
        answers.append(answer)
    return answers


async def test_calls_of_one_connection_are_led_by_their_tokens() -> None:
    async with front() as f:
        calls = [begin(f.channel, token) for token in ("token-one", "token-two", "token-one")]
        answers = await asyncio.gather(*(echoed(call, b"a", b"b") for call in calls))
        assert answers == [[b"one:a", b"one:b"], [b"two:a", b"two:b"], [b"one:a", b"one:b"]]
        assert (len(f.one.seen), len(f.two.seen)) == (2, 1)


async def test_metadata_and_deadlines_pass_in_both_directions() -> None:
    async with front() as f:
        call = begin(f.channel, "token-one", timeout=30)
        assert await echoed(call, b"") == [b"one:"]
        (seen,) = f.one.seen
        assert (seen["x-session"], seen["x-raw-bin"]) == ("s1", b"\x00\xff")
        assert f.one.deadlines[0] is not None
        assert 20 < f.one.deadlines[0] < 32  # the wire rounds it
        assert dict(await call.initial_metadata())["x-first"] == "one"
        assert dict(await call.trailing_metadata())["x-last"] == "one"
        assert await call.code() is grpc.StatusCode.OK


async def test_a_failure_comes_as_the_server_told_it() -> None:
    async with front() as f:
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await echoed(begin(f.channel, "token-one", "Fail"))
        assert (told.value.code(), told.value.details()) == (
            grpc.StatusCode.INTERNAL,
            "[TABLE_NOT_FOUND] ü",
        )
        assert dict(told.value.trailing_metadata() or ())["grpc-status-details-bin"] == b"\x08\x0d\xff"


async def test_messages_beyond_grpcs_own_limit_pass() -> None:
    async with front() as f:
        big = b"x" * (6 << 20)
        assert await echoed(begin(f.channel, "token-one"), big) == [b"one:" + big]


async def test_messages_pass_up_to_the_size_that_spark_takes() -> None:
    async with front() as f:
        largest = bytes(CONNECT_LIMIT_BYTES)
        assert await echoed(begin(f.channel, "token-one", "Count"), largest) == [b"134217728"]
        del largest
        unlimited = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{f.port}", options=unlimited) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await echoed(begin(channel, "token-one", "Count"), bytes(CONNECT_LIMIT_BYTES + 1))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await echoed(begin(f.channel, "token-one"), b"x") == [b"one:x"]


async def test_a_client_that_does_not_read_holds_the_server_back() -> None:
    async with front() as f:
        call = begin(f.channel, "token-one", "Flood")
        await call.done_writing()
        held = await settled(lambda: f.one.written)
        assert 0 < held < FakeConnectServer.FLOOD / 6
        f.now_s[0] += 1000
        assert f.route.idle_s >= 1000
        # Others are not held up.
        assert await echoed(begin(f.channel, "token-one"), b"x") == [b"one:x"]
        assert [len(message) async for message in call] == [FakeConnectServer.FLOOD_BYTES] * 400
        assert await call.code() is grpc.StatusCode.OK


async def test_a_server_that_does_not_read_holds_the_client_back() -> None:
    async with front() as f:
        call, written = begin(f.channel, "token-one", "Deaf"), 0

        async def write() -> None:
            nonlocal written
            for _ in range(FakeConnectServer.FLOOD):
                await call.write(bytes(FakeConnectServer.FLOOD_BYTES))
                written += 1

        writing = asyncio.create_task(write())
        held = await settled(lambda: written)
        assert 0 < held < FakeConnectServer.FLOOD / 6
        call.cancel()
        with pytest.raises((asyncio.CancelledError, asyncio.InvalidStateError)):
            await writing


async def test_an_answer_that_takes_longer_than_its_deadline_ends_on_both_sides() -> None:
    async with front() as f:
        call = begin(f.channel, "token-one", timeout=2)
        await call.write(b"x")
        assert await call.read() == b"one:x"
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await call.read()
        assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: f.one.running == 0)


@pytest.mark.parametrize(
    "value", [None, "Bearer", "Bearer token-on", "Bearer token-onetwo", "Basic token-one", "token-one"]
)
async def test_what_is_no_servers_bearer_token_reaches_none(value: str | None) -> None:
    async with front() as f:
        method = "/spark.connect.SparkConnectService/Echo"
        metadata = () if value is None else (("authorization", value),)
        with pytest.raises(grpc.aio.AioRpcError, match=STOPPED) as refused:
            await f.channel.stream_stream(method)(metadata=metadata).read()
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert f.one.seen == f.two.seen == []


@pytest.mark.parametrize("said_to_be", ["two", "admin", ""])
async def test_who_a_request_says_it_is_of_leads_it_nowhere_else(said_to_be: str) -> None:
    """The first fields of each request of Spark Connect: a session, and a user whom the client names."""
    user = b"\x0a" + bytes([len(said_to_be)]) + said_to_be.encode()
    request = b"\x0a\x01s\x12" + bytes([len(user)]) + user
    async with front() as f:
        assert await echoed(begin(f.channel, "token-one"), request) == [b"one:" + request]
        assert f.two.seen == []


@pytest.mark.parametrize(("first", "second"), [("token-one", "token-two"), ("none", "token-two")])
async def test_a_second_token_opens_nothing(first: str, second: str) -> None:
    """The proxy takes the first, the server whichever it likes: it is served by none but its own server."""
    async with front() as f:
        metadata = tuple(("authorization", f"Bearer {token}") for token in (first, second))
        call = f.channel.stream_stream("/spark.connect.SparkConnectService/Echo")(metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert f.one.seen == f.two.seen == []


async def test_nothing_but_spark_connect_passes() -> None:
    async with front() as f:
        metadata = (("authorization", "Bearer token-one"),)
        call = f.channel.stream_stream("/grpc.reflection.v1.ServerReflection/Info")(metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert f.one.seen == []


async def test_a_client_that_gives_up_ends_the_call_of_the_server() -> None:
    async with front() as f:
        call = begin(f.channel, "token-one")
        await call.write(b"x")
        assert await call.read() == b"one:x"
        assert f.one.running == 1
        call.cancel()
        await eventually(lambda: f.one.running == 0)
        assert await echoed(begin(f.channel, "token-one"), b"y") == [b"one:y"]


async def test_a_server_that_is_taken_away_ends_its_calls_and_no_others() -> None:
    async with front() as f:
        mine, theirs = begin(f.channel, "token-one"), begin(f.channel, "token-two")
        for call in (mine, theirs):
            await call.write(b"x")
            assert await call.read()
        await f.proxy.remove("token-one")
        with pytest.raises(grpc.aio.AioRpcError, match=STOPPED):
            await mine.read()
        await eventually(lambda: f.one.running == 0)
        assert await echoed(theirs, b"y") == [b"two:y"]
        await f.proxy.remove("token-one")


async def test_a_server_that_dies_is_unavailable() -> None:
    async with front() as f:
        await f.one.close()
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await echoed(begin(f.channel, "token-one"))
        assert told.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_calls_are_activity_and_refused_ones_are_not() -> None:
    async with front() as f:
        f.now_s[0] += 50
        assert f.route.idle_s == 50
        with pytest.raises(grpc.aio.AioRpcError):
            await begin(f.channel, "token-none").read()
        assert f.route.idle_s == 50
        call = begin(f.channel, "token-one")
        await call.write(b"x")
        assert await call.read() == b"one:x"
        assert await echoed(call) == []
        await eventually(lambda: f.route.idle_s == 0)
        f.now_s[0] += 7
        assert f.route.idle_s == 7


async def test_a_server_that_owes_an_answer_is_not_idle() -> None:
    async with front() as f:
        call = begin(f.channel, "token-one")
        await call.write(b"x")
        assert await call.read() == b"one:x"
        f.now_s[0] += 1000
        # Once the proxy asks for the next message.
        await eventually(lambda: f.route.idle_s == 0)
        f.now_s[0] += 1000
        assert f.route.idle_s == 0
        call.cancel()
        await eventually(lambda: f.one.running == 0)
        f.now_s[0] += 1000
        await eventually(lambda: f.route.idle_s == 1000)


async def test_a_port_that_is_taken_is_said_to_be() -> None:
    async with front() as f:
        with pytest.raises(LabError, match="can't be listened on") as refused:
            await ConnectProxy("127.0.0.1", f.port).open()
        assert refused.value.value == f"127.0.0.1:{f.port}"
