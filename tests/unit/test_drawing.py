"""What is drawn while the lab comes up: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from cli.drawing import Drawing, LiveView, Waiting
from contracts.errors import LabError
from placements.local.supervisor import ServiceState, ServiceStatus


def status(name: str, state: ServiceState, **values: Any) -> ServiceStatus:
    return ServiceStatus(name=name, state=state, **values)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        """What was written, without the codes that move and colour."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


def test_a_service_is_told_of_once_it_is_ready_and_when_it_dies() -> None:
    waiting = Waiting()
    assert waiting.note(status("trino", ServiceState.WAITING, waiting_for=("opa", "catalog")), 10.0) is None
    assert waiting.rows(12.0) == [("trino", "waiting", 2.0, "waits for opa, catalog")]
    assert waiting.note(status("trino", ServiceState.STARTING, reason="no answer yet"), 13.0) is None
    assert waiting.rows(15.0) == [("trino", "starting", 5.0, "no answer yet")]
    died = status("trino", ServiceState.BACKOFF, restarts=1, reason="it ended with 1")
    assert waiting.note(died, 16.0) == "  trino is started again: it ended with 1"
    assert waiting.note(died, 16.5) is None
    assert waiting.note(status("trino", ServiceState.READY, restarts=1), 22.0) == "  trino ready after 12 s"
    assert not waiting


def test_what_was_ready_before_is_not_worth_a_line() -> None:
    waiting = Waiting()
    assert waiting.note(status("opa", ServiceState.READY), 1.0) is None
    assert waiting.note(status("opa", ServiceState.STOPPING), 2.0) is None
    assert waiting.rows(3.0) == [("opa", "stopping", 1.0, "")]
    assert waiting.note(status("opa", ServiceState.STOPPED), 3.0) is None
    assert not waiting


def test_a_service_that_gives_up_is_told_with_its_reason() -> None:
    waiting = Waiting()
    waiting.note(status("opa", ServiceState.STARTING), 1.0)
    failed = status("opa", ServiceState.FAILED, reason="port 8181 is taken")
    assert waiting.note(failed, 2.0) == "  opa failed: port 8181 is taken"
    assert not waiting


def test_one_view_shows_what_is_built_and_what_starts() -> None:
    terminal = Terminal()
    view = LiveView(terminal)
    with view:
        view.start("minio", 2_000_000)
        view.advance("minio", 500_000)
        view.service(status("keycloak", ServiceState.STARTING, reason="[not] answering"))
        time.sleep(0.6)
        view.service(status("keycloak", ServiceState.READY))
        view.done("minio", 3.0)
    shown = terminal.text()
    assert "minio" in shown
    assert "0.5/2.0 MB" in shown
    # Reasons are text, whatever brackets they have.
    assert re.search(r"keycloak +starting +[01] s +\[not\] answering", shown)
    assert re.search(r"keycloak ready after [01] s", shown)
    assert "minio ready after 3 s" in shown


def test_without_a_terminal_a_service_is_one_line() -> None:
    stream, seen = io.StringIO(), threading.Event()
    calls = []

    def changes() -> Iterator[ServiceStatus]:
        calls.append(1)
        if len(calls) == 1:
            raise LabError("the supervisor of this lab does not run")
        yield status("postgres", ServiceState.READY)
        yield status("keycloak", ServiceState.STARTING)
        yield status("keycloak", ServiceState.READY)
        seen.set()
        threading.Event().wait(5)

    drawing = Drawing(stream)
    with drawing.watching(changes):
        assert seen.wait(5)
    assert re.fullmatch(r"  keycloak ready after 0 s\n", stream.getvalue())
