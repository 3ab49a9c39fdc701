"""Runs a provider as a plugin process: prints its port, ends with its engine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from plugins.base import Provider

_WORKERS = 16
_GRACE_S = 30.0
_PARENT_CHECK_S = 1.0
_MESSAGE_BYTES = 400 * 1024 * 1024


def start(
    provider: provider_pb2_grpc.ResourceProviderServicer, workers: int = _WORKERS
) -> tuple[grpc.Server, int]:
    """A started server of ``provider`` on a free loopback port, and that port."""
    # Without SO_REUSEPORT no other process can take the port of this one.
    options = [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ]
    server = grpc.server(ThreadPoolExecutor(max_workers=workers), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def run(provider: Provider[Any]) -> None:
    """Serve until the engine ends or says so; requests in flight finish first.

    The engine ends a plugin by SIGINT to the plugin's own process group and kills it ten seconds later,
    so a terminal's Ctrl-C arrives as Cancel, not as a signal.
    """
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    parent = os.getppid()
    server, port = start(provider)
    # The engine reads the port from the first line.
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while not stopping.wait(_PARENT_CHECK_S):
        # An engine that was killed sends no signal; its plugin must not outlive it.
        if os.getppid() != parent:
            break
    server.stop(_GRACE_S).wait()
