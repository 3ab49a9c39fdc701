"""A workspace's quota of jobs bounds runs and ingests together, through restarts."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.identity import Audience
from control_plane.api.problems import BusyError
from governance.workspaces.model import (
    DEFAULT_JOBS,
    Workspace,
    WorkspaceQuota,
    WorkspaceRole,
    WorkspaceState,
    WorkspaceUsage,
    group_of,
)
from tests.unit import console_world
from tests.unit.console_jobs import SOON, Owner, make_due, rows
from tests.unit.console_trino import Answer
from tests.unit.console_world import GovernedWorld, World, database, wait_for
from tests.unit.test_console_job_faults import another, as_seen_by, await_worker

pytestmark = pytest.mark.engine
postgres_server = console_world.postgres_server
governed = console_world.governed

LEADS, PLANS = uuid4(), uuid4()


def workspace(name: str, workspace_id: UUID, jobs: int) -> Workspace:
    """A workspace as the governor shows it."""
    return Workspace(
        id=workspace_id,
        name=name,
        description="",
        namespace=name,
        group=group_of(name),
        location=None,
        owners=("engineer",),
        quota=WorkspaceQuota(jobs=jobs),
        state=WorkspaceState.READY,
        steps=(),
        error=None,
        created_by="engineer",
        created_at=datetime.now(tz=UTC),
        role=WorkspaceRole.OWNER,
        may_manage=True,
        may_set_quota=False,
        usage=WorkspaceUsage(tables=0, size_bytes=0),
    )


@pytest.fixture
def world(postgres_server: str, request: pytest.FixtureRequest) -> Iterator[World]:
    """A console of the test's own, where engineer and analyst share the workspace ``leads``."""
    with tempfile.TemporaryDirectory(prefix="lab-jobs-") as folder:
        for url in database(postgres_server, f"quotas_{abs(hash(request.node.name)) % 10**9}"):
            found = World(url, Path(folder), RUNS_PER_USER="5")
            for name in ("engineer", "analyst"):
                found.keycloak.people[name].add(group_of("leads"))
            try:
                found.start()
                await_worker(found)
                yield found
            finally:
                if found.thread.is_alive():
                    found.stop()


def note(world: World, jobs: int, name: str = "leads", workspace_id: UUID = LEADS) -> None:
    """The console hears of a quota."""
    world.console.jobs.quotas.note((workspace(name, workspace_id, jobs),))


def hold(world: World) -> threading.Event:
    """What lets statements end."""
    held = threading.Event()
    world.trino.on("INSERT", Answer(pages=[[]], update=("INSERT", 1), held=held))
    return held


def states(owner: Owner, runs: list[dict[str, Any]]) -> list[str]:
    return [owner.run(run)["state"] for run in runs]


def test_members_share_the_quota_and_the_oldest_goes_first(world: World) -> None:
    note(world, 1)
    held = hold(world)
    engineer, analyst = Owner(world, "engineer"), Owner(world, "analyst")
    first, second = engineer.start(engineer.make()), analyst.start(analyst.make())
    third = engineer.start(engineer.make())
    engineer.wait_until(first, "running")
    assert analyst.run(second)["state"] == "waiting"
    assert states(engineer, [first, third]) == ["running", "waiting"]
    assert "1 runs and ingests of workspace 'leads' may be under way at once" in analyst.log(second)
    engineer.post(f"/api/v1/job-runs/{first['id']}/stop")
    analyst.wait_until(second, "running")
    assert engineer.run(third)["state"] == "waiting"
    held.set()
    analyst.wait_until(second, "succeeded")
    engineer.wait_until(third, "succeeded")


def test_who_is_in_no_workspace_does_not_wait(world: World) -> None:
    note(world, 1)
    held = hold(world)
    engineer, steward = Owner(world, "engineer"), Owner(world, "steward")
    engineer.wait_until(engineer.start(engineer.make()), "running")
    others = [steward.start(steward.make()) for _ in range(3)]
    for run in others:
        steward.wait_until(run, "running")
    held.set()


def test_the_namespace_chooses_among_ones_own_workspaces(world: World) -> None:
    note(world, 1)
    note(world, 1, "plans", PLANS)
    world.keycloak.people["engineer"].add(group_of("plans"))
    hold(world)
    engineer = Owner(world, "engineer")

    def counted(namespace: str | None, group: str | None = None) -> str:
        work = {"kind": "sql", "statement": "INSERT INTO t SELECT 1", "namespace": namespace}
        job = engineer.post("/api/v1/jobs", {"title": "x", "work": work, "group": group}, 201)
        run = engineer.start(job)
        with rows(world) as connection:
            found = connection.execute("SELECT workspace FROM job_run WHERE id = %s", (run["id"],)).fetchone()
        assert found is not None
        return str(found[0])

    # 'retail' is no workspace of theirs, and 'finance' another's: no way around the quota.
    given = ("Plans", "leads", None, "retail", "finance")
    assert [counted(one) for one in given] == ["plans", "leads", "leads", "leads", "leads"]
    assert counted(None, group_of("plans")) == "plans"
    assert counted("leads", group_of("plans")) == "leads"
    assert counted(None, "data_engineers") == "leads"
    with rows(world) as connection:
        active = connection.execute(
            "SELECT workspace, count(*) FROM job_run WHERE state IN ('queued', 'running') "
            "GROUP BY 1 ORDER BY 1"
        ).fetchall()
    assert active == [("leads", 1), ("plans", 1)]


def test_a_changed_quota_counts_at_once_and_ends_nothing(world: World) -> None:
    held = hold(world)
    engineer = Owner(world, "engineer")
    jobs = [engineer.make() for _ in range(4)]
    runs = [engineer.start(job) for job in jobs]
    for run in runs[:DEFAULT_JOBS]:
        engineer.wait_until(run, "running")
    assert states(engineer, runs[DEFAULT_JOBS:]) == ["waiting"] * (4 - DEFAULT_JOBS)
    note(world, 3)
    engineer.wait_until(runs[2], "running")
    note(world, 1)
    assert states(engineer, runs) == ["running"] * 3 + ["waiting"]
    engineer.post(f"/api/v1/job-runs/{runs[0]['id']}/stop")
    engineer.wait_until(runs[0], "canceled")
    assert engineer.run(runs[3])["state"] == "waiting", "two still run"
    held.set()
    engineer.wait_until(runs[3], "succeeded")


def test_a_restart_in_mid_run_neither_frees_room_nor_loses_who_waits(world: World, tmp_path: Path) -> None:
    note(world, 1)
    held = hold(world)
    owner = Owner(world, "engineer")
    first, second = owner.start(owner.make()), owner.start(owner.make())
    owner.wait_until(first, "running")
    world.stop()
    again = another(world, str(tmp_path))
    again.start()
    try:
        owner = as_seen_by(owner, again)
        wait_for(lambda: "taken up again" in owner.log(first))
        assert states(owner, [first, second]) == ["running", "waiting"]
        held.set()
        ended = [owner.wait_until(run, "succeeded", "failed") for run in (first, second)]
        assert [(one["state"], one["attempt"]) for one in ended] == [("succeeded", 1)] * 2
        assert len(again.trino.of("INSERT")) == 2, "each once"
        assert ended[0]["ended_at"] <= ended[1]["started_at"]
    finally:
        again.stop()


def test_a_scheduled_run_counts_for_its_owners_workspace(world: World) -> None:
    note(world, 1)
    held = hold(world)
    engineer = Owner(world, "engineer")
    running = engineer.start(engineer.make())
    engineer.wait_until(running, "running")
    job = engineer.make(schedule=SOON)
    make_due(world, job)
    wait_for(lambda: bool(engineer.runs(job)))
    (due,) = engineer.runs(job)
    assert (due["trigger"], due["state"]) == ("schedule", "waiting")
    held.set()
    engineer.wait_until(due, "succeeded")


def test_runs_and_ingests_count_together(world: World) -> None:
    note(world, 1)
    held = hold(world)
    engineer, quotas = Owner(world, "engineer"), world.console.jobs.quotas
    run = engineer.start(engineer.make())
    engineer.wait_until(run, "running")
    store, leads = world.console.ingests._store, workspace("leads", LEADS, 1)
    values: dict[str, Any] = {"owner": "engineer", "table_name": "leads.t", "mode": "append"}

    def ingest() -> UUID:
        row = store.add(
            lambda transaction: quotas.require_room(transaction, leads),
            **values,
            workspace_id=LEADS,
            source="x.csv",
            state="running",
        )
        return row.id

    with pytest.raises(BusyError, match="1 ingests and runs of jobs of workspace 'leads' are under way"):
        ingest()
    held.set()
    engineer.wait_until(run, "succeeded")
    under_way = ingest()
    waits = engineer.start(engineer.make())
    assert waits["state"] == "waiting"
    world.console.ingests._ended(under_way, {"state": "finished"})
    engineer.wait_until(waits, "succeeded")


def test_the_governors_quota_is_heard(governed: GovernedWorld) -> None:
    """On pages, at a start by hand, and in between by who let the console run jobs for them."""
    quotas, lab = governed.console.jobs.quotas, governed.lab
    governed.keycloak.people["engineer"].add(group_of("budget"))
    governed.trino.on("INSERT", Answer(update=("INSERT", 1)))
    engineer = Owner(governed, "engineer")

    def kept() -> list[Any]:
        with rows(governed) as connection:
            return connection.execute("SELECT workspace, jobs FROM workspace_quota").fetchall()

    made = engineer.post("/api/v1/workspaces", {"name": "budget"}, 201)
    assert kept() == [("budget", DEFAULT_JOBS)]
    with governed.as_user("admin") as admin:
        path = f"/api/v1/workspaces/{made['id']}"
        admin.patch(path, json={"quota": {"jobs": 1}}).raise_for_status()
        assert kept() == [("budget", 1)]
        with lab.client() as past_the_console:
            past_the_console.workspaces.change(UUID(made["id"]), quota=WorkspaceQuota(jobs=3))
        engineer.wait_until(engineer.start(engineer.make()), "succeeded")
        assert kept() == [("budget", 3)]
        with lab.client() as past_the_console:
            past_the_console.workspaces.change(UUID(made["id"]), quota=WorkspaceQuota(jobs=5))
        asked: list[tuple[str, Audience]] = []

        async def token(owner: str, audience: Audience) -> str:
            asked.append((owner, audience))
            return governed.keycloak.token(owner, audience.value)

        asyncio.run(quotas.ask_all(token))
        assert asked == [("engineer", Audience.GOVERNOR)], "in the name of a member, once"
        assert kept() == [("budget", 5)]
        admin.post(f"{path}/removal", json={"tables": True}).raise_for_status()
        assert kept() == []
