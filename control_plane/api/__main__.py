"""Runs the console: ``python -m control_plane.api``; see ``control_plane.api.settings``."""

from __future__ import annotations

import logging
import os
import sys

from contracts.errors import LabError
from control_plane.api.app import create_app
from control_plane.api.build import build_console
from control_plane.api.settings import read_settings
from governance.governor.trust import trusted
from governance.serving import serve

_GRACE_S = 5


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
    serve(
        app,
        bind=settings.bind,
        port=settings.port,
        grace_s=_GRACE_S,
        proxy_headers=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
