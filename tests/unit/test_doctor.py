"""Every known failure is explained by ``lab doctor``, and what can be mended is mended by ``--fix``."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli import operations
from cli.checks import machine, services
from cli.checks.findings import Verdict
from cli.locks import one_command
from cli.operations import diagnosis
from contracts.errors import LabError, PreflightError
from contracts.settings import Role
from contracts.versions import ARTIFACTS
from placements.local import artifacts
from placements.local.supervisor import ServiceState
from tests.unit import doctor_world
from tests.unit.cli_fakes import ROOT, FakeRun, fake_run, service
from tests.unit.doctor_world import World, pem

KEYCLOAK, OPA = ARTIFACTS["keycloak"], ARTIFACTS["opa"]

world = doctor_world.world


def test_a_healthy_lab_has_nothing_but_good_findings(world: World) -> None:
    diagnosed = operations.doctor(world.run.session)
    assert diagnosed.healthy
    assert {finding.verdict for finding in diagnosed.findings} == {Verdict.OK}
    assert {finding.subject for finding in diagnosed.findings} >= {
        *("python", "artifacts", "memory", "disk", "ports", "settings", "services"),
        *("access bundle", "certificate", "drift"),
    }
    assert world.run.calls == ["preview lab"]


def test_every_problem_names_a_remedy(world: World) -> None:
    world.damaged = [KEYCLOAK]
    world.run.supervisor.remains = ["the supervisor was killed, or the machine restarted"]
    world.run.supervisor.services = [service("postgres", ServiceState.FAILED, reason="no space")]
    world.bundle_age_s = [None]
    world.certificate = pem(days=-1)
    found = operations.doctor(world.run.session)
    assert not found.healthy
    assert all(finding.remedy for finding in found.findings if finding.verdict is not Verdict.OK)


# --- artifacts and registries


def test_a_damaged_artifact_is_fetched_again(world: World) -> None:
    world.damaged = [KEYCLOAK]
    found = world.findings()["artifacts"]
    assert (found.verdict, found.detail) == (Verdict.PROBLEM, "damaged: keycloak")
    assert found.remedy == "lab doctor --fix"
    assert world.fetched == []

    assert world.findings(fix=True)["artifacts"].verdict is Verdict.FIXED
    assert len(world.fetched) == 1


def test_a_registry_that_is_away_is_named_while_something_is_missing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.absent = [KEYCLOAK]
    assert world.findings()["registry"].verdict is Verdict.OK
    monkeypatch.setattr(artifacts, "silent_repositories", lambda: {"central": "ConnectionError: refused"})
    found = world.findings()
    assert found["artifacts"].verdict is Verdict.WARNING
    assert found["registry"].verdict is Verdict.PROBLEM
    assert "'central' can't be reached: ConnectionError" in found["registry"].detail
    assert "HTTPS_PROXY" in found["registry"].remedy
    world.absent = []
    assert "registry" not in world.findings()


def test_a_full_cache_disk_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PreflightError("too little free space in /cache for opa", next_command="LAB_CACHE=… lab up")

    world.absent = [OPA]
    monkeypatch.setattr(artifacts, "require_room", refuse)
    assert "too little free space" in world.findings()["cache"].detail


def test_a_failed_fix_is_a_finding_and_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise LabError("the Maven repository could not be reached", next_command="lab up")

    world.absent = [KEYCLOAK]
    monkeypatch.setattr(artifacts, "ensure_all", refuse)
    found = world.findings(fix=True)
    assert found["artifacts"].verdict is Verdict.PROBLEM
    assert found["services"].verdict is Verdict.OK


# --- the machine


@pytest.mark.parametrize("subject", ["memory", "disk", "ports"])
def test_what_the_machine_lacks_is_said_as_up_would(
    world: World, monkeypatch: pytest.MonkeyPatch, subject: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PreflightError(f"{subject} is short", permitted="more", next_command="lab up --core")

    monkeypatch.setattr(f"placements.local.preflight.check_{subject}", refuse)
    found = world.findings()[subject]
    assert found.verdict is Verdict.PROBLEM
    assert found.detail == f"{subject} is short (permitted: more)"
    assert found.remedy == "lab up --core"


def test_a_small_folder_for_temporary_files_is_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "TEMPORARY_FREE_MIB", 1 << 40)
    found = world.findings()["temporary files"]
    assert found.verdict is Verdict.WARNING
    assert "TMPDIR=" in found.remedy


# --- what is on disk


def stale_lock(run: FakeRun) -> Path:
    gone = subprocess.Popen([sys.executable, "-S", "-c", ""])
    gone.wait()
    path = run.lab.state_dir / ".pulumi/locks/organization/lakehouse-lab/lab/x.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": gone.pid, "hostname": socket.gethostname()}))
    return path


def checkpoint(run: FakeRun, text: str, earlier: str | None = None) -> Path:
    path = run.lab.state_dir / ".pulumi/stacks/lakehouse-lab/lab.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if earlier:
        path.with_name("lab.json.bak").write_text(earlier)
    return path


def latest(**values: Any) -> str:
    return json.dumps({"version": 3, "checkpoint": {"latest": values}})


def test_a_stale_lock_is_removed(world: World) -> None:
    path = stale_lock(world.run)
    assert world.findings()["lock"].verdict is Verdict.PROBLEM
    assert world.findings(fix=True)["lock"].verdict is Verdict.FIXED
    assert not path.exists()
    assert "lock" not in world.findings()


def test_pending_operations_are_cleared(world: World) -> None:
    checkpoint(world.run, latest(pending_operations=[{"type": "creating"}]))
    found = world.findings()["state"]
    assert found.verdict is Verdict.WARNING
    assert found.remedy == "lab doctor --fix"
    assert world.findings(fix=True)["state"].verdict is Verdict.FIXED
    assert "refresh lab" in world.run.calls


def test_a_damaged_state_is_replaced_by_the_copy_before_it(world: World) -> None:
    path = checkpoint(world.run, "", latest())
    found = world.findings()["state"]
    assert (found.verdict, found.remedy) == (Verdict.PROBLEM, "lab doctor --fix")
    assert world.findings(fix=True)["state"].verdict is Verdict.FIXED
    assert path.read_text() == latest()


def test_a_damaged_state_without_a_copy_needs_a_backup(world: World) -> None:
    checkpoint(world.run, "{")
    found = world.findings(fix=True)["state"]
    assert (found.verdict, found.remedy) == (Verdict.PROBLEM, "put it back from a backup")


@pytest.mark.parametrize("content", [None, ""])
def test_a_lost_passphrase_is_said_and_no_new_one_is_made(world: World, content: str | None) -> None:
    checkpoint(world.run, latest())
    world.run.lab.passphrase_file.unlink()
    if content is not None:
        world.run.lab.passphrase_file.write_text(content)
    found = world.findings(fix=True)["passphrase"]
    assert found.verdict is Verdict.PROBLEM
    assert "backup" in found.remedy
    with pytest.raises(LabError, match="passphrase of this lab's state is gone"):
        operations.up(world.run.session)
    assert not world.run.lab.passphrase_file.exists() or not world.run.lab.passphrase_file.read_text()


def test_a_half_made_lab_is_told_from_none(tmp_path: Path, world: World) -> None:
    new = fake_run(tmp_path / "others")
    assert "project" not in {f.subject for f in operations.doctor(new.session).findings}
    (new.lab.home / "project").mkdir(parents=True)
    found = {f.subject: f for f in operations.doctor(new.session).findings}["project"]
    assert (found.verdict, found.remedy) == (Verdict.WARNING, "lab up")


def test_another_command_is_named_and_no_fix_runs_beside_it(world: World) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom cli.locks import one_command\n"
        "with one_command(Path(sys.argv[1]), 'up'):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(world.run.session.command_file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        try:
            found = world.findings()["command"]
            assert found.verdict is Verdict.WARNING
            assert f"lab up, process {other.pid}" in found.detail
            with pytest.raises(LabError, match="another command works on this lab"):
                operations.doctor(world.run.session, fix=True)
        finally:
            other.kill()
    with one_command(world.run.session.command_file, "doctor --fix"):
        assert world.run.calls.count("up lab") == 0


def test_changed_code_and_a_persistent_stack_that_was_never_finished_are_warnings(world: World) -> None:
    digest = world.run.lab.project_dir / "persistent.digest"
    digest.write_text("another")
    assert "changed since" in world.findings()["settings"].detail
    digest.unlink()
    assert "not made yet" in world.findings()["settings"].detail


# --- supervisor and services


@pytest.mark.parametrize(
    ("remains", "damaged"),
    [
        (
            ["the supervisor was killed, or the machine restarted", "opa was process 7, which runs no more"],
            [],
        ),
        (["the supervisor, process 12, does not answer"], []),
        ([], ["opa"]),
    ],
    ids=["reboot", "hanging", "damaged specification"],
)
def test_a_supervisor_in_trouble_is_replaced(world: World, remains: list[str], damaged: list[str]) -> None:
    world.run.supervisor.remains, world.run.supervisor.damaged = list(remains), list(damaged)
    found = world.findings()["supervisor"]
    assert found.verdict is Verdict.PROBLEM
    assert all(text in found.detail for text in [*remains, *damaged])
    assert "recover" not in world.run.calls

    world.run.calls.clear()
    assert world.findings(fix=True)["supervisor"].verdict is Verdict.FIXED
    assert world.run.calls[0] == "recover"
    assert "supervisor" not in world.findings()


def test_services_without_a_supervisor_are_a_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.run.supervisor, "running", lambda: False)
    assert "nothing restarts what dies" in world.findings()["supervisor"].detail


def test_stopped_services_are_started(world: World) -> None:
    world.run.supervisor.services = [
        service("postgres"),
        service("trino", ServiceState.STOPPED, pid=None),
        service("opa", ServiceState.FAILED, reason="its process ended with status 1"),
    ]
    found = world.findings()
    assert found["service trino"].verdict is Verdict.PROBLEM
    assert found["service opa"].detail == "failed: its process ended with status 1"
    assert "lab logs opa" in found["service opa"].remedy

    assert world.findings(fix=True)["services"].detail == "started trino, opa"
    assert "start all" in world.run.calls


def test_a_service_that_does_not_start_says_why(world: World) -> None:
    world.run.supervisor.services = [service("postgres", ServiceState.STOPPED, pid=None)]
    world.run.supervisor.fail_start = True
    assert "did not become ready" in world.findings(fix=True)["services"].detail


def test_a_lab_that_is_down_is_not_a_problem_and_is_not_started(world: World) -> None:
    world.run.session.forget_outputs()
    world.run.supervisor.services = [service("postgres", ServiceState.STOPPED, pid=None)]
    found = operations.doctor(world.run.session, fix=True)
    assert found.healthy
    assert "the lab is down" in {finding.detail for finding in found.findings}
    assert world.run.calls == []


def test_a_lab_half_down_is_said(world: World) -> None:
    world.run.session.forget_outputs()
    assert world.findings()["services"].detail == "the lab is not up, but postgres, governor run"


# --- bundle, certificate, drift


@pytest.mark.parametrize(
    ("age_s", "text"),
    [
        (3600.0, "signed 3600 s ago"),
        (-3500.0, "signed 3500 s ahead of this machine's clock: the clock was moved"),
        (None, "never published"),
    ],
)
def test_a_bundle_that_opa_does_not_believe_is_waited_for(
    world: World, age_s: float | None, text: str
) -> None:
    world.bundle_age_s = [age_s]
    found = world.findings()["access bundle"]
    assert found.verdict is Verdict.PROBLEM
    assert text in found.detail
    assert "all is denied" in found.detail

    world.bundle_age_s = [age_s, age_s, 3.0]
    assert world.findings(fix=True)["access bundle"].verdict is Verdict.FIXED


def test_a_bundle_that_stays_old_stays_a_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "SETTLE_S", 0.05)
    world.bundle_age_s = [3600.0]
    assert world.findings(fix=True)["access bundle"].verdict is Verdict.PROBLEM


def test_the_clocks_tolerance_is_the_rules_own() -> None:
    rego = (ROOT / "policies" / "trino" / "actual.rego").read_text()
    match = re.search(r"max_future_ns := \(\((\d+) \* (\d+)\)", rego)
    assert match is not None
    assert int(match[1]) * int(match[2]) == services.AHEAD_S


@pytest.mark.parametrize(
    ("certificate", "verdict", "text"),
    [
        ({"days": 400}, Verdict.OK, "valid until"),
        ({"days": 20}, Verdict.WARNING, "valid until"),
        ({"days": -1}, Verdict.PROBLEM, "valid until"),
        ({"days": 400, "begins_days": 1}, Verdict.PROBLEM, "not valid before"),
    ],
    ids=["valid", "ends soon", "ended", "clock behind"],
)
def test_the_certificate_is_held_against_this_machines_clock(
    world: World, certificate: Mapping[str, float], verdict: Verdict, text: str
) -> None:
    world.certificate = pem(**certificate)
    found = world.findings()["certificate"]
    assert found.verdict is verdict
    assert text in found.detail


def test_a_certificate_that_ends_is_issued_anew(world: World) -> None:
    world.certificate = pem(days=20)
    assert world.findings(fix=True)["certificate"].verdict is Verdict.FIXED
    assert "up persistent" in world.run.calls


def test_drift_is_undone(world: World) -> None:
    world.run.engine.changes = {"same": 39, "update": 1}
    found = world.findings()["drift"]
    assert (found.verdict, found.detail) == (Verdict.WARNING, "1 to update")
    assert "up lab" not in world.run.calls
    assert world.findings(fix=True)["drift"].verdict is Verdict.FIXED
    assert "up lab" in world.run.calls


def test_nothing_is_mended_without_being_asked(world: World) -> None:
    stale_lock(world.run)
    checkpoint(world.run, latest(pending_operations=[{}]))
    world.damaged = [KEYCLOAK]
    world.run.supervisor.remains = ["the supervisor was killed, or the machine restarted"]
    world.run.supervisor.services = [service("opa", ServiceState.STOPPED, pid=None)]
    world.run.engine.changes = {"update": 1}
    operations.doctor(world.run.session)
    # Not even a dry run: the engine clears locks and pending operations before it.
    assert world.run.calls == []
    assert world.fetched == []
    assert diagnosis.Diagnosis(findings=()).healthy
    assert Role.LAB in world.run.engine.stacks
