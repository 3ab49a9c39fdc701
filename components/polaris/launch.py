"""Bootstraps Polaris' realm, then becomes the server, so that the service has one pid.

The admin tool's ``bootstrap`` is a no-op on a realm that exists and never changes secrets; its exit code
is 0 then, 3 on an error (https://polaris.apache.org/releases/1.7.0/admin-tool/).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str]) -> NoReturn:
    """Parses ``--admin-jar --admin-config --credentials-file -- java …``; exits with the admin tool's
    code when it failed, and becomes the server otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--admin-jar", required=True)
    parser.add_argument("--admin-config", required=True)
    parser.add_argument("--credentials-file", required=True)
    parser.add_argument("server", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    server = [word for word in options.server if word != "--"]
    admin = [
        server[0],
        "-jar",
        options.admin_jar,
        "bootstrap",
        "--credentials-file",
        options.credentials_file,
    ]
    environment = {**os.environ, "QUARKUS_CONFIG_LOCATIONS": options.admin_config}
    code = subprocess.run(admin, env=environment, check=False).returncode
    if code != 0:
        print(f"the catalog's bootstrap failed with exit code {code}; the server is not started", flush=True)
        sys.exit(code)
    os.execve(server[0], server, os.environ)  # noqa: S606  no shell: the service must be this very process


if __name__ == "__main__":
    main(sys.argv[1:])
