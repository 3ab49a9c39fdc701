"""Down, up, destroy by hand, edits, kills: nothing is lost and the lab is the same again."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.live.conftest import LiveLab

pytestmark = pytest.mark.live


def pids(lab: LiveLab) -> dict[str, int | None]:
    return {service.name: service.pid for service in lab.supervisor.status()}


def wait_ready(lab: LiveLab, name: str, timeout_s: float = 120) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        service = lab.service(name)
        if service["state"] == "ready":
            return service
        time.sleep(0.1)
    raise AssertionError(f"{name} is not ready again: {lab.service(name)}")


def test_up_again_changes_nothing(lab: LiveLab) -> None:
    before = pids(lab)
    answer = lab.json("up")
    assert {key for key, count in answer["changes"].items() if count} <= {"same", "read"}
    assert pids(lab) == before


def test_seed_again_changes_nothing(lab: LiveLab) -> None:
    before = lab.fingerprint()
    lab.ok("seed")
    assert lab.fingerprint() == before


def test_down_and_up_give_the_identical_lab_and_keep_edits(lab: LiveLab) -> None:
    lab.ok("sql", "CREATE TABLE lake.raw.kept AS SELECT 1 AS x, 'edited' AS note", "--as", "engineer")
    lab.ok("sql", "DELETE FROM lake.retail.region WHERE r_name = 'ASIA'", "--as", "engineer")
    before = lab.fingerprint()
    lab.ok("down")
    assert not [pid for pid in lab.home.glob("run/services/*/pid") if _alive(pid)]
    lab.ok("up")
    assert lab.fingerprint() == before
    assert lab.value("SELECT note FROM lake.raw.kept", "engineer") == "edited"
    assert lab.value("SELECT count(*) FROM lake.retail.region", "engineer") == 4
    lab.rows("DROP TABLE lake.raw.kept", "engineer")


def test_only_an_explicit_reset_restores_rows(lab: LiveLab) -> None:
    lab.ok("sql", "DELETE FROM lake.retail.nation WHERE n_name = 'PERU'", "--as", "engineer")
    lab.ok("seed")
    assert lab.value("SELECT count(*) FROM lake.retail.nation", "engineer") == 24
    lab.ok("seed", "--reset", "retail.nation")
    assert lab.value("SELECT count(*) FROM lake.retail.nation", "engineer") == 25
    lab.ok("seed", "--reset", "retail.region")
    assert lab.value("SELECT count(*) FROM lake.retail.region", "engineer") == 5


def _alive(pid_file: Any) -> bool:
    try:
        os.kill(int(json.loads(pid_file.read_text())["pid"]), 0)
    except (ProcessLookupError, ValueError, KeyError):
        return False
    return True


def test_the_stacks_work_by_hand(lab: LiveLab) -> None:
    before = lab.fingerprint()
    script = 'eval "$({root}/lab env)"\npulumi preview -s lab --diff --non-interactive\n'
    result = lab.shell(script.replace("{root}/", "./"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "unchanged" in result.stdout
    script = (
        'eval "$(./lab env)"\n'
        "pulumi refresh -s lab --yes --non-interactive --skip-preview\n"
        "pulumi destroy -s lab --yes --non-interactive --skip-preview\n"
        "pulumi up -s persistent --yes --non-interactive --skip-preview\n"
        "pulumi up -s lab --yes --non-interactive --skip-preview\n"
    )
    result = lab.shell(script, timeout_s=900)
    assert result.returncode == 0, result.stdout + result.stderr
    assert lab.fingerprint() == before


def test_tracked_templates_stay_untouched(lab: LiveLab) -> None:
    result = lab.shell("git status --porcelain -- 'Pulumi*.yaml'")
    assert result.stdout.strip() == ""
