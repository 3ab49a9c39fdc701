"""A lab on a cluster, with a fake engine and a kubectl that answers from a file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli import operations, steps
from cli.checks.findings import Finding, Verdict
from cli.components import check_placement
from cli.operations import diagnosis
from cli.operations.removal import DestroyPlan
from cli.project import read_config
from components.registry import ComponentInfo
from contracts.errors import LabError, PreflightError, UsageError
from contracts.settings import SETTINGS, Role
from contracts.versions import IMAGES
from placements.local.foundation import STORE_USERS
from tests.unit.cli_fakes import ROOT, FakeRun, fake_run
from tests.unit.fake_kubectl import CLUSTER_ID, install

ON_A_CLUSTER = {"placement": "kubernetes"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """A machine with kubectl and a kubeconfig, and without a network."""
    made = fake_run(tmp_path / "labs")
    monkeypatch.setattr("cli.operations.lifecycle.fetch", lambda *_: made.calls.append("fetch"))
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr(steps, "choose_block", lambda *_: 28000)
    install(tmp_path / "bin")
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\n")
    environ = {
        **made.session.environ,
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "PATH": str(tmp_path / "bin"),
    }
    made.session.environ = environ
    return made


def ready(run: FakeRun, tmp_path: Path) -> dict[str, str]:
    """Everything that a lab on a cluster needs to be told, set as people set it."""
    with pytest.raises(UsageError, match="not named"):
        operations.up(run.session, changes=ON_A_CLUSTER)
    file = run.lab.stack_file(Role.PERSISTENT)
    file.write_text(
        file.read_text()
        + "  lakehouse-lab:databaseUrl:\n    secure: v1:abc\n"
        + '  lakehouse-lab:objectStoreUrl: "https://s3.example"\n'
        + "  lakehouse-lab:objectStoreKeys:\n    secure: v1:def\n"
    )
    images = tmp_path / "images.json"
    images.write_text(json.dumps({name: f"r.example/{name}@sha256:{'0' * 64}" for name in IMAGES}))
    return {"imagesFile": str(images)}


def test_what_is_missing_is_said_one_after_the_other_and_nothing_is_started(
    run: FakeRun, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="databaseUrl, objectStoreUrl, objectStoreKeys") as caught:
        operations.up(run.session, changes=ON_A_CLUSTER)
    assert "pulumi stack select --create persistent" in str(caught.value)
    assert "pulumi config set --secret databaseUrl" in str(caught.value)
    changes = ready(run, tmp_path)
    with pytest.raises(PreflightError, match="digest is not known"):
        operations.up(run.session)
    install(tmp_path / "bin", error="connection refused")
    with pytest.raises(PreflightError, match="connection refused"):
        operations.up(run.session, changes=changes)
    assert run.calls == []


def test_the_first_up_remembers_its_cluster_and_another_is_refused(run: FakeRun, tmp_path: Path) -> None:
    operations.up(run.session, changes=ready(run, tmp_path))
    assert run.calls == ["fetch", "up persistent", "up lab"]
    assert {read_config(run.lab, role)["clusterId"] for role in Role} == {CLUSTER_ID}
    run.calls.clear()
    install(tmp_path / "bin", cluster_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(PreflightError, match="not the cluster of this lab"):
        operations.up(run.session)
    assert run.calls == []


def test_a_second_up_starts_no_foundation_on_this_machine(run: FakeRun, tmp_path: Path) -> None:
    operations.up(run.session, changes=ready(run, tmp_path))
    run.calls.clear()
    operations.up(run.session)
    assert run.calls == ["fetch", "up lab"]


def test_down_ends_the_supervisor_that_held_the_tunnels(run: FakeRun, tmp_path: Path) -> None:
    operations.up(run.session, changes=ready(run, tmp_path))
    run.calls.clear()
    operations.down(run.session)
    assert run.calls == ["destroy lab", "stop all", "shutdown"]


def test_down_reports_what_is_left_on_the_cluster(run: FakeRun, tmp_path: Path) -> None:
    operations.up(run.session, changes=ready(run, tmp_path))
    install(tmp_path / "bin", objects=[{"kind": "ConfigMap", "metadata": {"name": "trino-files-1"}}])
    assert operations.down(run.session).left == ("ConfigMap trino-files-1",)
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert "--selector=lakehouse-lab/lab=lab,lakehouse-lab/stack=lab" in calls[-1]
    install(tmp_path / "bin", error="connection refused")
    (line,) = operations.down(run.session).left
    assert "not known" in line
    assert "connection refused" in line


def test_destroy_goes_through_the_engine_and_says_what_it_leaves(run: FakeRun, tmp_path: Path) -> None:
    operations.up(run.session, changes=ready(run, tmp_path))
    run.calls.clear()
    plans: list[DestroyPlan] = []
    operations.destroy(run.session, plans.append)
    assert run.calls[:4] == ["destroy lab", "remove lab", "destroy persistent", "remove persistent"]
    assert any("your PostgreSQL" in line for line in plans[0].keeps)
    assert any("namespace" in line for line in plans[0].removes)


def test_doctor_looks_at_the_cluster_instead_of_this_machine(run: FakeRun, tmp_path: Path) -> None:
    changes = ready(run, tmp_path)
    operations.up(run.session, changes=changes)
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pod = {"kind": "Pod", "metadata": {"name": "opa-1"}, "status": {"containerStatuses": [waiting]}}
    install(tmp_path / "bin", objects=[pod])
    found = {finding.subject: finding for finding in doctor_findings(run)}
    assert CLUSTER_ID in found["cluster"].detail
    assert (found["pods"].verdict, found["pods"].detail) == (
        Verdict.PROBLEM,
        "pod opa-1: waits: ImagePullBackOff",
    )
    assert not {"memory", "disk", "ports", "artifacts"} & set(found)
    install(tmp_path / "bin", error="connection refused")
    found = {finding.subject: finding for finding in doctor_findings(run)}
    assert found["cluster"].verdict is found["pods"].verdict is Verdict.PROBLEM
    assert "connection refused" in found["cluster"].detail


def doctor_findings(run: FakeRun) -> list[Finding]:
    """What doctor finds on the cluster, without its look at the rest of the lab."""
    wanted = {"cluster", "pods", "machine", "artifacts"}
    checks = [(name, check) for name, check in diagnosis._checks(run.session, False) if name in wanted]
    return list(diagnosis._findings(checks))


def test_a_lab_stays_on_the_placement_it_was_made_on(run: FakeRun, tmp_path: Path) -> None:
    operations.up(run.session, changes=ready(run, tmp_path))
    run.calls.clear()
    with pytest.raises(UsageError, match="made on placement 'kubernetes'") as caught:
        operations.up(run.session, changes={"placement": "local"})
    assert "lab --name OTHER up --set placement=local" in str(caught.value)
    assert read_config(run.lab, Role.LAB)["placement"] == "kubernetes"
    assert run.calls == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"placement": "aws"}, "aws needs to know its region"),
        ({"databaseUrl": "postgresql://u:p@h/d"}, "is a secret and is not set this way"),
    ],
)
def test_what_is_not_set_this_way_makes_nothing(run: FakeRun, changes: dict[str, str], said: str) -> None:
    with pytest.raises(LabError, match=said):
        operations.up(run.session, changes=changes)
    assert not run.lab.home.exists()


def test_a_component_is_refused_on_a_placement_where_it_does_not_run() -> None:
    here = ComponentInfo(name="here", title="of this machine alone", placements=("local",))
    with pytest.raises(UsageError, match="here does not run on placement 'kubernetes'"):
        check_placement((here,), "kubernetes")


@pytest.mark.parametrize(
    ("namespace", "labels"),
    [
        # Lab lab's pods of Spark and lab lab-spark would be in one namespace, though the two share nothing.
        ("lakehouse-lab-spark", {"lakehouse-lab/lab": "lab-spark", "lakehouse-lab/stack": "persistent"}),
        ("lakehouse-lab-spark", {}),
        ("lakehouse-lab", {"lakehouse-lab/lab": "other", "lakehouse-lab/stack": "lab"}),
    ],
)
def test_a_namespace_that_is_anothers_is_refused_before_anything_is_made(
    run: FakeRun, tmp_path: Path, namespace: str, labels: dict[str, str]
) -> None:
    changes = ready(run, tmp_path)
    run.calls.clear()
    install(tmp_path / "bin", namespaces={namespace: labels})
    with pytest.raises(PreflightError, match="is taken"):
        operations.up(run.session, add=["spark"], changes=changes)
    assert not [call for call in run.calls if "up" in call]


def test_its_own_namespaces_are_no_hindrance(run: FakeRun, tmp_path: Path) -> None:
    own = {
        "lakehouse-lab": {"lakehouse-lab/lab": "lab", "lakehouse-lab/stack": "persistent"},
        "lakehouse-lab-spark": {"lakehouse-lab/lab": "lab", "lakehouse-lab/stack": "lab"},
    }
    changes = ready(run, tmp_path)
    install(tmp_path / "bin", namespaces=own)
    operations.up(run.session, add=["spark"], changes=changes)


def test_a_lab_on_this_machine_loads_nothing_of_the_clusters() -> None:
    code = (
        "import sys, stacks.lab, stacks.persistent, cli.app, cli.operations.lifecycle\n"
        "found = [m for m in sys.modules if m.startswith(('pulumi_kubernetes', 'placements.kubernetes'))]\n"
        "sys.exit(repr(found) if found else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_guide_names_settings_users_and_rights_that_there_are() -> None:
    text = (ROOT / "docs" / "guides" / "on-your-own-cluster.md").read_text(encoding="utf-8")
    known = {setting.key for setting in SETTINGS}
    set_there = set(re.findall(r"(?:--set |config set -s persistent (?:--secret )?)(\w+)", text))
    assert {"placement", "databaseUrl", "objectStoreUrl", "objectStoreKeys", "imagesFile"} <= set_there
    assert set_there <= known
    assert all(f"| {user} |" in text for user in STORE_USERS)
    secret = set(re.findall(r"--secret (\w+)", text))
    # Of further labs another guide tells.
    assert secret == {setting.key for setting in SETTINGS if setting.secret} - {"moreObjectStoreKeys"}
    for name in re.findall(r'"([\w-]+)": "registry\.example', text):
        assert name in IMAGES
