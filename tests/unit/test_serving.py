"""How services serve: they answer, and are asked to stop with success."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.unit.governor_lab import wait_for
from tests.unit.supervisor_lab import free_port

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from governance.serving import serve

app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
serve(app, bind="127.0.0.1", port=int(sys.argv[1]), grace_s=1)
"""


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1, trust_env=False).text == "here"
    except httpx.TransportError:
        return False


def test_a_service_answers_and_having_been_stopped_is_a_success() -> None:
    port = free_port()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)], cwd=ROOT) as service:
        try:
            wait_for(lambda: _answers(f"http://127.0.0.1:{port}/"))
            service.send_signal(signal.SIGTERM)
            assert service.wait(10) == 0
        finally:
            service.kill()
