"""Runs of maintenance with a real PostgreSQL: what they do and leave, and who keeps out of whose way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from governance.maintenance.catalogs import unsafe
from governance.maintenance.planning import RunningQuery
from governance.maintenance.policy import Limits, Policies
from governance.maintenance.reports import MaintenanceRun, StepOutcome
from governance.maintenance.runner import Maintainer, Subject
from governance.maintenance.seeding import merged
from governance.maintenance.store import BeingMaintainedError, MaintenanceStore
from governance.store import Store, make_engine
from tests.unit import governor_postgres
from tests.unit.maintenance_world import NOW_MS, FakeEngine, worn

pytestmark = pytest.mark.engine
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
governed = governor_postgres.store

EVERYTHING = Policies.from_document({"policies": []})
TABLE = Subject(name="web.events")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(database_url: str, governed: Store) -> Iterator[MaintenanceStore]:
    """On the newest schema."""
    engine = make_engine(database_url)
    yield MaintenanceStore(engine)
    engine.dispose()


@pytest.fixture
def engine() -> FakeEngine:
    """With one worn table."""
    found = FakeEngine()
    found.tables["web.events"] = worn()
    return found


def maintainer(store: MaintenanceStore, engine: FakeEngine, kind: str = "polaris") -> Maintainer:
    return Maintainer(store, engine, unsafe=unsafe(kind), limits=Limits())


def outcomes(run: MaintenanceRun) -> dict[str, str]:
    return {step.procedure: step.outcome.value for step in run.steps}


def test_a_run_reports_before_and_after_and_a_second_one_has_nothing_to_do(
    store: MaintenanceStore, engine: FakeEngine
) -> None:
    run = maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="ada")
    assert (run.outcome, run.asked_by, run.scheduled, run.error) == (StepOutcome.DONE, "ada", False, None)
    assert set(outcomes(run).values()) == {"done"}
    assert run.before is not None
    assert run.after is not None
    assert (run.before.files, run.after.files) == (20, 1)
    assert (run.before.manifests, run.after.manifests) == (20, 1)
    # Nine of last month go; what was current a week ago stays with all that came after it.
    assert (run.before.snapshots, run.after.snapshots) == (20, 13)
    assert all(step.statement and step.duration_s is not None for step in run.steps)
    again = maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="ada")
    assert again.outcome is StepOutcome.NOTHING
    assert set(outcomes(again).values()) == {"unneeded"}
    assert again.before == again.after == run.after
    assert store.runs() == (again, run)


def test_a_plan_does_nothing(store: MaintenanceStore, engine: FakeEngine) -> None:
    plan = maintainer(store, engine).plan(TABLE, EVERYTHING)
    assert [step.verdict for step in plan.steps] == ["run"] * 4
    assert plan.size.files == 20
    assert engine.executed == []
    assert store.runs() == ()


def test_nothing_is_removed_on_nessie(store: MaintenanceStore, engine: FakeEngine) -> None:
    run = maintainer(store, engine, "nessie").run(TABLE, EVERYTHING, asked_by="ada")
    assert outcomes(run) == {
        "optimize": "done",
        "optimize_manifests": "done",
        "expire_snapshots": "unsafe",
        "remove_orphan_files": "unsafe",
    }
    assert run.outcome is StepOutcome.DONE
    assert engine.executed == ["optimize web.events", "optimize_manifests web.events"]


def test_a_conflict_loses_nothing_and_is_tried_again(store: MaintenanceStore, engine: FakeEngine) -> None:
    engine.conflicts.add("optimize web.events")
    before = engine.tables["web.events"].files
    run = maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="schedule", scheduled=True)
    assert run.outcome is StepOutcome.CONFLICT
    assert outcomes(run) == {
        "optimize": "conflict",
        "optimize_manifests": "done",
        "expire_snapshots": "done",
        "remove_orphan_files": "done",
    }
    assert engine.tables["web.events"].files == before
    assert run.error is not None
    assert "another writer" in run.error
    engine.conflicts.clear()
    soon = datetime.now(tz=UTC) + timedelta(minutes=20)
    later = Maintainer(store, engine, unsafe={}, limits=Limits(), clock=lambda: soon)
    assert later.run_due([TABLE], EVERYTHING, LONG_AGO) == {"web.events": ""}
    assert engine.tables["web.events"].files == 1


def test_a_query_that_is_not_understood_keeps_snapshots(store: MaintenanceStore, engine: FakeEngine) -> None:
    engine.queries.append(RunningQuery(id="q1", user="ada", created_ms=NOW_MS, reads=None))
    run = maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="bob")
    assert run.outcome is StepOutcome.WAITS
    assert outcomes(run)["expire_snapshots"] == "waits"
    assert "expire_snapshots web.events" not in engine.executed


def test_a_table_that_fails_keeps_no_other_waiting(store: MaintenanceStore, engine: FakeEngine) -> None:
    for name in ("web.a", "web.b", "web.c"):
        engine.tables[name] = worn()
    engine.broken.add("web.a")
    engine.failures.add("optimize web.b")
    subjects = [Subject(name=name) for name in ("web.a", "web.b", "web.c")]
    found = maintainer(store, engine).run_due(subjects, EVERYTHING, LONG_AGO)
    assert found == {
        "web.a": "metadata of web.a can't be read",
        "web.b": "optimize: out of memory",
        "web.c": "",
    }
    last = store.last_runs()
    assert last["web.a"].outcome is last["web.b"].outcome is StepOutcome.FAILED
    assert (last["web.a"].before, last["web.a"].steps) == (None, ())
    assert outcomes(last["web.b"])["expire_snapshots"] == "done"
    assert last["web.c"].outcome is StepOutcome.DONE
    assert all(run.scheduled and run.asked_by == "schedule" for run in last.values())
    assert maintainer(store, engine).run_due(subjects, EVERYTHING, LONG_AGO) == {}


def test_two_governors_never_maintain_the_same_table(
    database_url: str, governed: Store, engine: FakeEngine
) -> None:
    pools = [make_engine(database_url) for _ in range(2)]
    first, second = (MaintenanceStore(pool) for pool in pools)
    inside, go_on = threading.Event(), threading.Event()

    class Slow(FakeEngine):
        def execute(self, sql: str) -> None:
            inside.set()
            assert go_on.wait(20)
            super().execute(sql)

    slow = Slow()
    slow.tables["web.events"] = worn()
    done: list[MaintenanceRun] = []
    running = maintainer(first, slow)
    thread = threading.Thread(target=lambda: done.append(running.run(TABLE, EVERYTHING, asked_by="one")))
    thread.start()
    try:
        assert inside.wait(20)
        engine.tables["web.other"] = worn()
        other = maintainer(second, engine)
        with pytest.raises(BeingMaintainedError, match="another run"):
            other.run(TABLE, EVERYTHING, asked_by="two")
        subjects = [TABLE, Subject(name="web.other")]
        assert other.run_due(subjects, EVERYTHING, LONG_AGO) == {"web.other": ""}
        assert not [one for one in engine.executed if one.endswith("web.events")]
    finally:
        go_on.set()
        thread.join(30)
    assert done[0].outcome is StepOutcome.DONE
    assert other.run(TABLE, EVERYTHING, asked_by="two").asked_by == "two"
    for pool in pools:
        pool.dispose()


def test_a_run_that_was_killed_is_told_as_interrupted(store: MaintenanceStore, engine: FakeEngine) -> None:
    store.begin("web.events", asked_by="schedule", scheduled=True, policy={})
    assert store.last_runs()["web.events"].outcome is StepOutcome.RUNNING
    maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="ada")
    newest, killed = store.runs(tables=["web.events"])
    assert (newest.outcome, killed.outcome) == (StepOutcome.DONE, StepOutcome.INTERRUPTED)
    assert killed.ended_at is not None


def test_a_governor_that_stops_begins_no_further_step(store: MaintenanceStore, engine: FakeEngine) -> None:
    stopping = threading.Event()
    found = Maintainer(store, engine, unsafe={}, limits=Limits(), stopping=stopping)
    stopping.set()
    run = found.run(TABLE, EVERYTHING, asked_by="ada")
    assert engine.executed == []
    assert run.outcome is StepOutcome.FAILED
    assert found.run_due([TABLE], EVERYTHING, LONG_AGO) == {}


def test_orphans_are_looked_for_again_after_their_own_interval(
    store: MaintenanceStore, engine: FakeEngine
) -> None:
    maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="ada")
    run = maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="ada")
    assert outcomes(run)["remove_orphan_files"] == "unneeded"
    later = datetime.now(tz=UTC) + timedelta(days=8)
    weekly = Maintainer(store, engine, unsafe={}, limits=Limits(), clock=lambda: later)
    assert outcomes(weekly.run(TABLE, EVERYTHING, asked_by="ada"))["remove_orphan_files"] == "done"


def test_a_shared_location_keeps_its_files(store: MaintenanceStore, engine: FakeEngine) -> None:
    shared = Subject(name="web.events", shares=("raw.copy",))
    run = maintainer(store, engine).run(shared, EVERYTHING, asked_by="ada")
    assert outcomes(run)["remove_orphan_files"] == "unsafe"
    assert outcomes(run)["expire_snapshots"] == "done"


def test_policies_have_a_history_that_can_only_be_added_to(store: MaintenanceStore) -> None:
    seed = {"policies": [{"object": "*", "every": "1d"}]}
    first = store.seed(seed, merged)
    assert (first.author, first.based_on) == ("governor", None)
    assert store.seed(seed, merged) == first
    changed = {"policies": [{"object": "*", "every": "2d"}]}
    second = store.change("ada", "less often", lambda _: changed)
    assert (second.author, second.reason, second.based_on) == ("ada", "less often", first.revision)
    assert store.change("ada", "the same", lambda living: dict(living)) == second
    newer = {"policies": [{"object": "*", "every": "3d", "keep_last": 2}]}
    third = store.seed(newer, merged)
    assert third.document == {"policies": [{"object": "*", "every": "2d", "keep_last": 2}]}
    assert [one.revision for one in store.revisions()] == [3, 2, 1]
    assert store.since() == first.created_at
    for sql in ("UPDATE maintenance_revision SET author = 'x'", "DELETE FROM maintenance_revision"):
        with pytest.raises(DBAPIError, match="append-only"), store._engine.begin() as connection:
            connection.execute(text(sql))


def test_old_runs_are_forgotten(store: MaintenanceStore, engine: FakeEngine) -> None:
    run = maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="ada")
    with store._engine.begin() as connection:
        connection.execute(text("UPDATE maintenance_run SET started_at = started_at - interval '91 days'"))
    newer = maintainer(store, engine).run(TABLE, EVERYTHING, asked_by="ada")
    assert store.forget(90) == 1
    assert [one.id for one in store.runs()] == [newer.id]
    assert newer.id != run.id
