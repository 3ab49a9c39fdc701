"""A lab that is up and well, for the doctor's tests to make otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import operations
from cli.checks import access_data, services, software
from cli.checks.findings import Finding
from placements.local import artifacts
from tests.unit.cli_fakes import FakeRun, fake_run, service
from tests.unit.slots import make_slot


class World:
    """A lab that is up and well, until a test makes it otherwise."""

    def __init__(self, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run = run
        self.absent: list[Any] = []
        self.damaged: list[Any] = []
        self.bundle_age_s: list[float | None] = [12.0]
        self.certificate = pem(days=400)
        self.fetched: list[Any] = []
        self._patch(monkeypatch)
        run.supervisor.services = [service("postgres"), service("governor")]

    def _patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(wanted: Any, cache: Path, *, verify: bool = False) -> list[Any]:
            return [*self.absent, *(self.damaged if verify else [])]

        def status(session: Any) -> Any:
            age_s = self.bundle_age_s[0] if len(self.bundle_age_s) == 1 else self.bundle_age_s.pop(0)
            found = operations.status(session, ask_governor=False)
            return type(found)(**{**vars(found), "revision": 3, "bundle_age_s": age_s})

        slot = make_slot()

        def with_certificate() -> Any:
            pki = type(slot.pki)(**{**vars(slot.pki), "server_certificate": self.certificate})
            return type(slot)(**{**vars(slot), "pki": pki})

        monkeypatch.setattr(software, "engine", lambda *_: iter(()))
        monkeypatch.setattr(artifacts, "missing", missing)
        monkeypatch.setattr(artifacts, "ensure_all", lambda wanted, *_, **__: self.fetched.append(wanted))
        monkeypatch.setattr(artifacts, "require_room", lambda *_: None)
        monkeypatch.setattr(artifacts, "silent_repositories", lambda: {})
        monkeypatch.setattr(services, "status", status)
        # It asks the services themselves, and some lab's may run where these tests' would.
        monkeypatch.setattr(access_data, "access_data", lambda *_: iter(()))
        monkeypatch.setattr(services, "_PAUSE_S", 0.0)
        monkeypatch.setattr(self.run.session, "slot", with_certificate)

    def findings(self, *, fix: bool = False) -> dict[str, Finding]:
        found = operations.doctor(self.run.session, fix=fix).findings
        return {finding.subject: finding for finding in found}


def pem(*, days: float, begins_days: float = -1) -> str:
    """A server certificate that ends so many days from now."""
    from cryptography import x509

    from components.keys import issue_server, make_authority

    now = datetime.now(UTC)
    certificate, key = make_authority("test", now + timedelta(days=min(days, begins_days) - 900))
    issued = now + timedelta(days=days - 825)
    if begins_days > 0:
        issued = now + timedelta(days=begins_days)
    server, _, _ = issue_server(certificate, key, ["127.0.0.1"], issued)
    assert x509.load_pem_x509_certificate(server.encode())
    return server


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    run = fake_run(tmp_path / "labs")
    monkeypatch.setattr("cli.operations.lifecycle.fetch", lambda *_: None)
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr("cli.steps.choose_block", lambda *_: 28000)
    monkeypatch.setattr("placements.local.preflight.check_ports", lambda *_, **__: None)
    monkeypatch.setattr("placements.local.preflight.check_memory", lambda *_, **__: None)
    operations.up(run.session)
    run.calls.clear()
    run.engine.changes = {"same": 40}
    return World(run, monkeypatch)
