"""How the lab's own services serve HTTP."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import uvicorn


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def serve(app: Any, *, bind: str, port: int, grace_s: int, proxy_headers: bool = True) -> None:
    """Serves an ASGI application until SIGTERM or SIGINT.

    Args:
        grace_s: how long requests under way may take to end.
        proxy_headers: whether a proxy on the loopback is believed whom it asks for.

    Raises:
        SystemExit: at SIGTERM, with exit code 0, after the application has closed.
    """
    # uvicorn ends what is under way, then raises the signal again for the handler that was there before:
    # asked to stop and having stopped is a success.
    signal.signal(signal.SIGTERM, _stopped)
    uvicorn.run(
        app,
        host=bind,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=proxy_headers,
        ws="none",
        timeout_graceful_shutdown=grace_s,
    )
