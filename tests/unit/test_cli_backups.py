"""``lab backup`` and ``lab restore``, and a lab whose data services are inside its cluster: with a fake
engine, a kubectl that answers from a file, and a cluster that is scripted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import operations, steps
from cli.checks import cluster as cluster_checks
from cli.checks.findings import Verdict
from cli.operations import backups as backing_up
from cli.operations.removal import DestroyPlan
from cli.project import read_config
from contracts.errors import LabError, PreflightError, UsageError
from contracts.settings import Role
from contracts.versions import IMAGES
from placements.kubernetes.cluster import Cluster
from placements.kubernetes.inside import operating
from placements.kubernetes.inside.backup import Backup
from placements.kubernetes.inside.operating import Waiting
from tests.unit.cli_fakes import FakeRun, fake_run
from tests.unit.fake_kubectl import install

NEW = Backup(
    name="2026-05-04T02-17-00Z", archive_bytes=7, data_bytes=70, sha256="a" * 64, server_version=180006
)
OLD = Backup(
    name="2026-05-03T02-17-00Z", archive_bytes=6, data_bytes=60, sha256="b" * 64, server_version=180006
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """A machine with kubectl and a kubeconfig, and without a network."""
    made = fake_run(tmp_path / "labs")
    monkeypatch.setattr("cli.operations.lifecycle.fetch", lambda *_: made.calls.append("fetch"))
    monkeypatch.setattr("placements.local.artifacts.reachable", lambda _: False)
    monkeypatch.setattr(steps, "choose_block", lambda *_: 28000)
    install(tmp_path / "bin")
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\n")
    made.session.environ = {
        **made.session.environ,
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "PATH": str(tmp_path / "bin"),
    }
    return made


@pytest.fixture
def inside(run: FakeRun, tmp_path: Path) -> FakeRun:
    """A lab that keeps its data inside its cluster, up."""
    operations.up(run.session, changes=wanted(tmp_path))
    assert run.calls == ["fetch", "up persistent", "up lab"]
    run.calls.clear()
    return run


def wanted(tmp_path: Path, **more: str) -> dict[str, str]:
    images = tmp_path / "images.json"
    images.write_text(json.dumps({name: f"r.example/{name}@sha256:{'0' * 64}" for name in IMAGES}))
    return {"placement": "kubernetes", "dataServices": "inside", "imagesFile": str(images), **more}


# --- the lab


def test_it_needs_no_server_and_no_key_but_the_images(run: FakeRun, tmp_path: Path) -> None:
    changes = wanted(tmp_path)
    without = {key: value for key, value in changes.items() if key != "imagesFile"}
    with pytest.raises(PreflightError, match="digest is not known") as caught:
        operations.bootstrap(run.session, changes=without)
    assert caught.value.value == "governor, minio, postgresql"
    operations.bootstrap(run.session, changes=changes)
    assert run.calls == ["fetch", "up persistent"]
    assert read_config(run.lab, Role.PERSISTENT)["imagesFile"] == changes["imagesFile"]


def test_rights_beside_the_labs_namespace_are_asked_for(run: FakeRun, tmp_path: Path) -> None:
    install(tmp_path / "bin", rules=[], allowed=["create pods/portforward"])
    with pytest.raises(PreflightError, match="rights are missing") as caught:
        operations.bootstrap(run.session, changes=wanted(tmp_path))
    assert caught.value.value == "namespace lakehouse-lab-data"
    assert "create pods/exec" in caught.value.what
    assert "create cronjobs.batch" in caught.value.what
    assert run.calls == []


def test_settings_of_servers_that_are_not_used_and_labs_that_share_are_refused(
    run: FakeRun, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="one lab's: a backup is of the whole server"):
        operations.bootstrap(run.session, changes=wanted(tmp_path, moreLabs="team-b"))
    operations.bootstrap(run.session, changes={"moreLabs": ""})
    file = run.lab.stack_file(Role.PERSISTENT)
    file.write_text(file.read_text() + "  lakehouse-lab:databaseUrl:\n    secure: v1:abc\n")
    with pytest.raises(UsageError, match="'databaseUrl' does nothing with data services inside"):
        operations.up(run.session)


def test_what_is_kept_does_not_move_between_inside_and_external(inside: FakeRun) -> None:
    with pytest.raises(UsageError, match="does not move by itself") as caught:
        operations.bootstrap(inside.session, changes={"dataServices": "external"})
    assert caught.value.permitted == "inside"
    assert inside.calls == []
    assert read_config(inside.lab, Role.PERSISTENT)["dataServices"] == "inside"


def test_a_second_up_starts_the_tunnels_to_what_is_kept(inside: FakeRun) -> None:
    operations.up(inside.session)
    assert inside.calls == ["fetch", "start postgres,s3", "up lab"]
    inside.calls.clear()
    inside.supervisor.fail_start = True
    operations.up(inside.session)
    assert inside.calls == ["fetch", "start postgres,s3", "up persistent", "up lab"]


def test_it_is_not_destroyed_while_it_is_protected(inside: FakeRun) -> None:
    with pytest.raises(PreflightError, match="is protected") as caught:
        operations.destroy(inside.session, lambda _: None)
    assert "bootstrap --set dataProtect=false" in str(caught.value)
    assert inside.calls == []
    operations.bootstrap(inside.session, changes={"dataProtect": "false"})
    plans: list[DestroyPlan] = []
    operations.destroy(inside.session, plans.append)
    (plan,) = plans
    assert "with their volumes and all backups" in plan.removes[0]
    assert not any("your PostgreSQL" in line for line in plan.keeps)


def test_doctor_looks_at_the_data_services_as_well(inside: FakeRun, tmp_path: Path) -> None:
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    pod = {
        "kind": "Pod",
        "metadata": {"name": "postgres-0"},
        "status": {"containerStatuses": [waiting]},
    }
    install(tmp_path / "bin", objects=[pod])
    found = list(cluster_checks.pods(inside.session))
    assert {one.verdict for one in found} == {Verdict.PROBLEM}
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert any("--namespace=lakehouse-lab-data" in call for call in calls[-2:])


@pytest.mark.parametrize(
    ("free", "verdict", "said"),
    [
        (600, Verdict.OK, "600.0 MB of 1.0 GB are left"),
        (90, Verdict.WARNING, "it is nearly full: 90.0 MB of 1.0 GB are left"),
        (20, Verdict.PROBLEM, "it is full: 20.0 MB of 1.0 GB are left; what is in it is kept"),
    ],
)
def test_doctor_says_how_full_the_data_services_volumes_are(
    inside: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, verdict: Verdict, said: str
) -> None:
    room = operating.Room(claim="kept-postgres-0", total_bytes=10**9, free_bytes=free * 10**6)
    asked = []

    def asked_for(cluster: Cluster, service: str) -> operating.Room:
        asked.append((cluster.namespace, service))
        return room

    monkeypatch.setattr(operating, "room", asked_for)
    install(tmp_path / "bin", objects=[{"kind": "Pod", "metadata": {"name": "postgres-0"}}])
    (found,) = cluster_checks.volumes(inside.session)
    assert (found.subject, found.verdict, found.detail) == ("volume of postgres", verdict, said)
    assert ("patch pvc kept-postgres-0" in found.remedy) == (verdict is not Verdict.OK)
    assert asked == [("lakehouse-lab-data", "postgres")], "what does not run is told with the pods"


def test_a_volume_that_can_not_be_asked_is_a_warning(
    inside: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> operating.Room:
        raise LabError("the cluster can't be asked: container not found")

    monkeypatch.setattr(operating, "room", refused)
    install(tmp_path / "bin", objects=[{"kind": "Pod", "metadata": {"name": "s3-0"}}])
    (found,) = cluster_checks.volumes(inside.session)
    assert (found.verdict, found.subject) == (Verdict.WARNING, "volume of s3")
    assert "container not found" in found.detail


def test_servers_elsewhere_have_no_volumes_to_look_at(run: FakeRun) -> None:
    steps.prepare_project(run.session)
    assert list(cluster_checks.volumes(run.session)) == []


# --- the cluster


class Scripted(Cluster):
    """A cluster that notes what it is asked and answers what it is told, by the words asked."""

    answers: dict[str, list[str]]
    asked: list[str]

    def __init__(self, answers: dict[str, list[str]]) -> None:
        super().__init__(kubectl="kubectl", kubeconfig=None, context="", namespace="lakehouse-lab-data")
        # A cluster is frozen.
        object.__setattr__(self, "answers", answers)
        object.__setattr__(self, "asked", [])

    def run(self, *arguments: str, input_text: str | None = None) -> str:
        self.asked.append(" ".join(arguments))
        known = self.answers.get(" ".join(arguments[:2]), [""])
        return known.pop(0) if len(known) > 1 else known[0]


class Clock:
    """Time that passes by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def waiting(self) -> Waiting:
        return Waiting(sleep=self.sleep, clock=lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def job(*conditions: str) -> str:
    return json.dumps({"status": {"conditions": [{"type": c, "status": "True"} for c in conditions]}})


SAID = json.dumps({"backup": vars(NEW), "removed": [OLD.name]})


def test_a_backup_is_the_schedules_own_job_waited_for() -> None:
    within = Scripted(
        {"get job": [job(), job("Complete")], "logs job/postgres-backup-x": [f"noise\n{SAID}\n"]}
    )
    clock = Clock()
    assert operating.run_backup(within, "x", clock.waiting()) == json.loads(SAID)
    assert within.asked[0] == "create job postgres-backup-x --from=cronjob/postgres-backup"
    assert clock.now > 0


def test_a_backup_that_fails_says_what_it_said_last() -> None:
    within = Scripted(
        {"get job": [job("Failed")], "logs job/postgres-backup-x": ["PostgreSQL refuses: no room\n"]}
    )
    with pytest.raises(LabError, match="the backup failed") as caught:
        operating.run_backup(within, "x", Clock().waiting())
    assert caught.value.value == "PostgreSQL refuses: no room"


def pod(uid: str, *, ready: bool) -> str:
    condition = {"type": "Ready", "status": str(ready)}
    return json.dumps({"metadata": {"uid": uid}, "status": {"conditions": [condition]}})


def test_the_server_is_started_again_and_waited_for_until_it_is_another_pod() -> None:
    states = [pod("a", ready=True), pod("a", ready=True), "", pod("b", ready=False), pod("b", ready=True)]
    within = Scripted({"get pod": states})
    clock = Clock()
    operating.take_into_use(within, clock.waiting())
    assert clock.now == 6.0
    assert any(call.startswith("delete pod postgres-0") for call in within.asked)


def test_a_server_that_does_not_come_back_is_said_with_where_the_data_is() -> None:
    within = Scripted({"get pod": [pod("a", ready=True), pod("b", ready=False)]})
    with pytest.raises(LabError, match="does not become ready") as caught:
        operating.take_into_use(within, Clock().waiting())
    assert "folder 'before'" in str(caught.value.permitted)


def kubectl(folder: Path, script: str) -> Cluster:
    """A kubectl that is a script."""
    folder.mkdir()
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    return Cluster(kubectl=str(program), kubeconfig=None, context="", namespace="lakehouse-lab-data")


def test_a_backup_goes_into_the_servers_pod_as_it_lies_in_the_store(tmp_path: Path) -> None:
    within = kubectl(tmp_path / "bin", f'echo "$@" > {tmp_path}/arguments\ncat > {tmp_path}/stream')
    header = {"manifest_bytes": 8}
    operating.send(within, header, b"manifest", iter([b"arch", b"ive"]))
    arguments = (tmp_path / "arguments").read_text()
    assert "exec --stdin postgres-0 --container=postgres -- /opt/lakehouse-lab/python/bin/python" in arguments
    assert "server.py --receive /var/lib/lakehouse-lab/kept" in arguments
    assert (tmp_path / "stream").read_bytes() == json.dumps(header).encode() + b"\nmanifestarchive"


def test_the_pod_says_how_full_its_volume_is(tmp_path: Path) -> None:
    within = kubectl(tmp_path / "bin", f'echo "$@" > {tmp_path}/arguments\necho "[1000, 950, 50]"')
    found = operating.room(within, "s3")
    assert (found.claim, found.total_bytes, found.free_bytes) == ("kept-s3-0", 1000, 50)
    assert found.is_scarce
    arguments = (tmp_path / "arguments").read_text()
    assert "exec s3-0 --container=s3 -- /opt/lakehouse-lab/python/bin/python -c" in arguments
    assert arguments.strip().endswith("/var/lib/lakehouse-lab/kept")


@pytest.mark.parametrize("script", ["echo PG_VERSION is damaged >&2; exit 1", "cat >/dev/null; exit 3"])
def test_a_backup_that_is_not_taken_is_said_with_why(tmp_path: Path, script: str) -> None:
    within = kubectl(tmp_path / "bin", script)
    with pytest.raises(LabError, match=r"was not restored: (PG_VERSION is damaged|exit code 3)"):
        operating.send(within, {"manifest_bytes": 0}, b"", (b"x" * (1 << 20) for _ in range(4)))


# --- the commands


@pytest.fixture
def kept(inside: FakeRun, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """The lab, with two backups, and a cluster that does what it is asked."""

    @contextmanager
    def store(_: Any) -> Iterator[str]:
        inside.calls.append("open the store")
        yield "bucket"
        inside.calls.append("close the store")

    def send(cluster: Cluster, header: dict[str, Any], manifest: bytes, archive: Iterator[bytes]) -> None:
        assert cluster.namespace == "lakehouse-lab-data"
        assert header["sha256"] in (NEW.sha256, OLD.sha256)
        inside.calls.append(
            f"send {header['archive_bytes']} {manifest.decode()} {b''.join(archive).decode()}"
        )

    monkeypatch.setattr(backing_up, "_store", store)
    monkeypatch.setattr(backing_up, "_backups", lambda _: [NEW, OLD])
    monkeypatch.setattr(backing_up, "_opened", lambda *_: (b"manifest", iter([b"archive"])))
    monkeypatch.setattr(operating, "send", send)
    monkeypatch.setattr(operating, "take_into_use", lambda *_: inside.calls.append("take into use"))
    monkeypatch.setattr(operating, "run_backup", lambda *_: json.loads(SAID))
    monkeypatch.setattr(backing_up, "_answering", lambda _: 6)
    return inside


def test_a_backup_and_what_went_for_it_are_told(kept: FakeRun) -> None:
    made = operations.backup(kept.session)
    assert (made.backup.name, made.removed) == (NEW.name, (OLD.name,))
    assert [one.name for one in operations.list_backups(kept.session)] == [NEW.name, OLD.name]


@pytest.mark.parametrize(("at", "wanted"), [(None, NEW), (OLD.name, OLD)])
def test_a_restore_takes_the_newest_or_the_one_that_is_named(
    kept: FakeRun, at: str | None, wanted: Backup
) -> None:
    asked: list[str] = []
    done = operations.restore(kept.session, at=at, confirm=lambda one: asked.append(one.name))
    assert asked == [done.backup.name] == [wanted.name]
    assert done.databases == 6
    assert kept.calls == [
        "open the store",
        f"send {wanted.archive_bytes} manifest archive",
        "take into use",
        "stop postgres",
        "start postgres",
        "close the store",
    ]


def test_a_lab_that_is_up_is_not_restored(kept: FakeRun, tmp_path: Path) -> None:
    running = {"kind": "Deployment", "metadata": {"name": "trino"}}
    install(tmp_path / "bin", objects=[running])
    with pytest.raises(UsageError, match="is up, and its services would write") as caught:
        operations.restore(kept.session)
    assert caught.value.value == "trino"
    assert "lab down" in str(caught.value.next_command)
    assert kept.calls == []

    def brought_up(_: object) -> None:
        install(tmp_path / "bin", objects=[running])

    install(tmp_path / "bin")
    with pytest.raises(UsageError, match="is up"):
        operations.restore(kept.session, confirm=brought_up)
    assert not any(call.startswith("send") for call in kept.calls)


def test_an_unknown_backup_is_refused_with_those_that_there_are(kept: FakeRun) -> None:
    with pytest.raises(UsageError, match="no such backup") as caught:
        operations.restore(kept.session, at="2001-01-01T00-00-00Z")
    assert NEW.name in str(caught.value.permitted)
    assert not any(call.startswith("send") for call in kept.calls)


def test_who_does_not_confirm_changes_nothing(kept: FakeRun) -> None:
    def refuse(_: object) -> None:
        raise UsageError("that is not the lab's name")

    with pytest.raises(UsageError, match="not the lab's name"):
        operations.restore(kept.session, confirm=refuse)
    assert not any(call.startswith("send") for call in kept.calls)


def test_a_lab_that_keeps_its_data_elsewhere_is_told_who_backs_it_up(run: FakeRun) -> None:
    steps.prepare_project(run.session)
    for ask in (operations.backup, operations.list_backups, operations.restore):
        with pytest.raises(UsageError, match="not in data services inside a cluster") as caught:
            ask(run.session)
        assert "a copy of the lab's folder" in str(caught.value.permitted)


def test_tunnels_are_there_for_as_long_as_the_store_is_read(
    inside: FakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"endpoint_url": "http://127.0.0.1:28004", "region": "us-east-1", "bucket": "lab-backup"}
    keys = {"access_key": "lab-backup", "secret_key": "secret"}
    outputs = inside.engine.outputs(Role.PERSISTENT) or {}
    monkeypatch.setattr(inside.engine, "outputs", lambda *_, **__: {**outputs, "backups": {**known, **keys}})
    with backing_up._store(inside.session) as bucket:
        assert (bucket.name, bucket.secret_key) == ("lab-backup", "secret")
        assert inside.calls == ["start postgres,s3"]
    assert inside.calls == ["start postgres,s3", "stop all", "shutdown"], "the lab was down before"
    monkeypatch.setattr(inside.engine, "outputs", lambda *_, **__: outputs)
    with pytest.raises(LabError, match="no place for backups yet"), backing_up._store(inside.session):
        pass
