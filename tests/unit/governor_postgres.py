"""A PostgreSQL of its own for tests of the governance database, from the artifact cache."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from contracts.settings import cache_home
from contracts.versions import POSTGRESQL
from governance.store import Store, make_engine
from placements.local.artifacts import SilentProgress, ensure
from placements.local.supervisor.prepare import first_unreachable

_START_TIMEOUT_S = 30.0
_NOBODY = 65534


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[str]:
    """Base URL (``postgresql://postgres@127.0.0.1:<port>``) of a server without data."""
    binaries = ensure(POSTGRESQL, cache_home(), SilentProgress())
    folder = Path(tempfile.mkdtemp(prefix="lab-pg-"))
    folder.chmod(0o711)
    # PostgreSQL refuses to run as root.
    as_root = os.geteuid() == 0
    identity: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()} if as_root else {}
    if as_root and first_unreachable(binaries / "any", _NOBODY) is not None:
        binaries = Path(shutil.copytree(binaries, folder / "programs"))
    data = folder / "data"
    data.mkdir(mode=0o700)
    if as_root:
        os.chown(data, _NOBODY, _NOBODY)
    server = None
    try:
        options = ("-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C")
        initdb = [str(binaries / "bin/initdb"), "-D", str(data), *options]
        subprocess.run(initdb, check=True, capture_output=True, cwd=data, timeout=60, **identity)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": "60",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [str(binaries / "bin/postgres"), "-D", str(data), "-p", str(port), *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=data,
            **identity,
        )
        url = f"postgresql://postgres@127.0.0.1:{port}"
        _await(url, server)
        yield url
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """SQLAlchemy URL of an empty database of the test's own."""
    name = f"t{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    yield f"{postgres_server}/{name}".replace("postgresql://", "postgresql+psycopg://")
    with psycopg.connect(f"{postgres_server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store with the newest schema."""
    found = Store(make_engine(database_url))
    found.upgrade()
    yield found
    found.close()


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while True:
        try:
            psycopg.connect(f"{url}/postgres", connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
