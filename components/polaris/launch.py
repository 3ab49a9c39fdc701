"""Bootstraps Polaris' realm, then becomes the server, so that the service has one pid.

``launch.py CONFIG -- ADMIN… -- SERVER…``: ``ADMIN`` runs with ``QUARKUS_CONFIG_LOCATIONS=CONFIG``. The
admin tool's ``bootstrap`` exits with 0 on a realm that exists, whose secrets it never changes, and with 3
on an error (https://polaris.apache.org/releases/1.7.0/admin-tool/). Needs the standard library alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

_SEPARATOR = "--"
_USAGE_ERROR = 2


def main(arguments: Sequence[str]) -> NoReturn:
    """Exits with the admin tool's code when it failed, and becomes the server otherwise."""
    try:
        config, separator, *commands = arguments
        end = commands.index(_SEPARATOR)
        admin, server = commands[:end], commands[end + 1 :]
    except ValueError:
        admin, server = [], []
    if not admin or not server or separator != _SEPARATOR:
        print("usage: launch.py CONFIG -- ADMIN... -- SERVER...", file=sys.stderr)
        sys.exit(_USAGE_ERROR)
    environment = {**os.environ, "QUARKUS_CONFIG_LOCATIONS": config}
    code = subprocess.run(admin, env=environment, check=False).returncode
    if code != 0:
        print(f"the catalog's bootstrap failed with exit code {code}; the server is not started", flush=True)
        # What a signal ended has a negative code, which no process can exit with.
        sys.exit(code if code > 0 else 1)
    os.execve(server[0], server, os.environ)  # noqa: S606  no shell: the service must be this very process


if __name__ == "__main__":
    main(sys.argv[1:])
