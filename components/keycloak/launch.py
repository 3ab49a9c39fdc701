"""Gives Keycloak a home of its own over a shared, read-only distribution, and tables to an empty database;
then becomes the server.

Keycloak writes ``data/`` below ``kc.home.dir`` and, started with ``--optimized``, wants the augmented
``lib/quarkus`` there too (https://www.keycloak.org/server/directory-structure).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from components.keycloak.schema import SchemaError, provide_schema


def prepare_home(distribution: Path, home: Path) -> None:
    """Makes ``home`` with empty ``conf`` and ``data``, ``lib/quarkus`` and ``providers`` being the
    distribution's. A link to an older distribution is replaced."""
    for folder in ("conf", "data", "lib"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    for shared in ("lib/quarkus", "providers", "themes"):
        link, target = home / shared, distribution / shared
        if link.is_symlink() and link.readlink() == target:
            continue
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Parses ``--distribution --home [--schema] -- java …`` and becomes the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--distribution", required=True, type=Path)
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--schema", type=Path, help="where the tables' definitions are kept")
    parser.add_argument("server", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    prepare_home(options.distribution, options.home)
    server = [word for word in options.server if word != "--"]
    if options.schema is not None:
        try:
            provide_schema(options.schema, os.environ)
        except SchemaError as error:
            print(f"the kept tables are not used: {error}", file=sys.stderr, flush=True)
    os.execve(server[0], server, os.environ)  # noqa: S606  no shell: the service must be this very process


if __name__ == "__main__":
    main()
