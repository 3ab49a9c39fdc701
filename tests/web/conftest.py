"""A headless Chromium, the built pages, and a console without a lab that serves them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser

from contracts.settings import cache_home
from contracts.versions import WEB
from placements.local.artifacts import SilentProgress, ensure
from tests.web.browsing import Visit, axe_source, chromium
from tests.web.fake_console import create_fake


@pytest.fixture(scope="session")
def pages() -> Path:
    """The built pages, as a lab serves them; built first where the cache lacks them."""
    return ensure(WEB, cache_home(), SilentProgress())


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium. It leaves with these tests: its event loop would be in the way of others."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def axe() -> str:
    """The accessibility engine's script."""
    return axe_source()


@pytest.fixture
def fake_url(pages: Path) -> Iterator[str]:
    """A new console without a lab; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = uvicorn.Server(
        uvicorn.Config(create_fake(pages), host="127.0.0.1", port=port, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    server.force_exit = True
    thread.join(timeout=10)


@pytest.fixture
def visit(browser: Browser, fake_url: str, axe: str) -> Iterator[Visit]:
    """A window of 1280 pixels on the fake console, signed in as an analyst."""
    with Visit.opened(browser, fake_url, axe) as opened:
        opened.sign_in_at_the_fake("analyst_emea")
        yield opened
