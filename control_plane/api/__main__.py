"""Runs the console: ``python -m control_plane.api``; see ``control_plane.api.settings``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from types import FrameType

import uvicorn

from contracts.errors import LabError
from control_plane.api.app import create_app
from control_plane.api.build import build_console
from control_plane.api.settings import read_settings
from governance.governor.trust import trusted

_GRACE_S = 5


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def main() -> int:
    """Serves until SIGTERM or SIGINT; requests under way have a few seconds."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for noisy in ("httpx", "httpcore", "alembic.runtime.plugins"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ["no_proxy"] = "*"
    try:
        settings = read_settings(os.environ)
        tls = trusted(settings.ca_file, "CONSOLE_CA_FILE")
        app = create_app(build_console(settings, tls=tls))
    except LabError as error:
        sys.stderr.write(f"{error.render()}\n")
        return error.exit_code
    signal.signal(signal.SIGTERM, _stopped)
    uvicorn.run(
        app,
        host=settings.bind,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
