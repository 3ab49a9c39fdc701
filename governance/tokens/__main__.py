"""Runs the token endpoint: ``python -m governance.tokens``; see ``governance.tokens.settings``. It starts
without anything else being up."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

import httpx
import uvicorn

from contracts.errors import LabError
from governance.tokens.app import create_app
from governance.tokens.cache import TokenCache
from governance.tokens.settings import read_settings

_TIMEOUT = httpx.Timeout(10.0, connect=3.0)
_GRACE_S = 2


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> int:
    """Serves until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = read_settings(os.environ)
    except LabError as error:
        sys.stderr.write(f"{error.render()}\n")
        return error.exit_code
    # The issuer is the lab's own: never through a proxy.
    http = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)
    cache = TokenCache(http, settings.issuer_token_url, settings.client_id)
    # uvicorn ends what is under way, then raises the signal again for the handler that was there before.
    signal.signal(signal.SIGTERM, _stopped)
    uvicorn.run(
        create_app(cache),
        host=settings.bind,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
