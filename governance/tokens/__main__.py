"""Runs the token endpoint: ``python -m governance.tokens``; see ``governance.tokens.settings``. It starts
without anything else being up."""

from __future__ import annotations

import logging
import os
import sys

import httpx

from contracts.errors import LabError
from governance.serving import serve
from governance.tokens.app import create_app
from governance.tokens.cache import TokenCache
from governance.tokens.settings import read_settings

_TIMEOUT = httpx.Timeout(10.0, connect=3.0)
_GRACE_S = 2


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
    serve(
        create_app(cache),
        bind=settings.bind,
        port=settings.port,
        grace_s=_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
