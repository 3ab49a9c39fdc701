"""What maintenance does to files, by the lab's own Trino on an Iceberg catalog that keeps whole metadata (as
Polaris does): nothing goes that a retained snapshot or a running query needs, and all else does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import pytest

from governance.maintenance.engine import CONFLICT, TrinoEngine
from governance.maintenance.planning import TableState
from governance.maintenance.policy import Limits, Policies
from governance.maintenance.reports import MaintenanceRun, StepOutcome
from governance.maintenance.runner import Maintainer, Subject
from governance.maintenance.store import MaintenanceStore
from governance.store import Store, make_engine
from governance.trino import TrinoClient, TrinoError
from tests.live.trino_alone import CATALOG, TrinoAlone, trino_alone
from tests.unit import governor_postgres

pytestmark = pytest.mark.live
postgres_server = governor_postgres.postgres_server
database_url = governor_postgres.database_url
governed = governor_postgres.store

LIMITS = Limits(snapshots_s=1, orphans_s=1, margin_s=1)
"""Of seconds, which no lab permits: waiting for days is no test."""
POLICIES = Policies.from_document(
    {
        "policies": [
            {
                "object": "*",
                "min_files": 4,
                "min_manifests": 4,
                "keep_snapshots": "1s",
                "keep_orphans": "1s",
            }
        ]
    }
)
ORPHANS_ALONE = Policies.from_document(
    {
        "policies": [
            {
                "object": "*",
                "compact": False,
                "rewrite_manifests": False,
                "expire_snapshots": False,
                "keep_orphans": "1s",
            }
        ]
    }
)
COMPACT_ALONE = Policies.from_document(
    {
        "policies": [
            {
                "object": "*",
                "min_files": 2,
                "rewrite_manifests": False,
                "expire_snapshots": False,
                "remove_orphans": False,
            }
        ]
    }
)
PATIENCE_S = 120.0
FILES = 20
"""Of one row each: more than Trino opens for a client that waits."""


@pytest.fixture(scope="module")
def trino() -> Iterator[TrinoAlone]:
    """One server for all of these."""
    with trino_alone() as found:
        found.client().rows(f"CREATE SCHEMA {CATALOG}.s", timeout_s=PATIENCE_S)
        yield found


@dataclass(frozen=True, kw_only=True)
class World:
    """The server, and a maintainer of its tables."""

    trino: TrinoAlone
    client: TrinoClient
    engine: TrinoEngine
    maintainer: Maintainer

    def sql(self, statement: str, table: str, **values: int) -> list[list[Any]]:
        """Rows of a statement in which ``$t`` is ``ns.table`` and ``$name`` a value."""
        text = Template(statement).substitute(t=f"{CATALOG}.{table}", **values)
        return self.client.rows(text, timeout_s=PATIENCE_S)

    def state(self, table: str) -> TableState:
        """As the engine tells it."""
        return self.engine.state(table, 64)

    def maintain(self, table: str, policies: Policies = POLICIES) -> MaintenanceRun:
        """One run."""
        return self.maintainer.run(Subject(name=table), policies, asked_by="test")

    def files(self, table: str) -> dict[str, Path]:
        """Files below the table's location, by name."""
        location = self.state(table).properties["location"].removeprefix("local:///")
        return {path.name: path for path in (self.trino.warehouse / location).rglob("*") if path.is_file()}


@pytest.fixture
def world(trino: TrinoAlone, database_url: str, governed: Store) -> Iterator[World]:
    """With a governance database of its own."""
    client = trino.client()
    pool = make_engine(database_url)
    engine = TrinoEngine(client, catalog=CATALOG)
    maintainer = Maintainer(MaintenanceStore(pool), engine, unsafe={}, limits=LIMITS)
    yield World(trino=trino, client=client, engine=engine, maintainer=maintainer)
    pool.dispose()


def outcomes(run: MaintenanceRun) -> dict[str, str]:
    return {step.procedure: step.outcome.value for step in run.steps}


def commits(world: World, table: str, count: int) -> None:
    """A table of ``count`` commits of one row each, with the numbers from zero."""
    world.sql("CREATE TABLE $t (n bigint)", table)
    for number in range(count):
        world.sql("INSERT INTO $t VALUES ($n)", table, n=number)


class Held:
    """A query under way for as long as the test wants: its client takes the first rows and lets the rest
    wait, so that Trino opens no more files until :meth:`finish`."""

    def __init__(self, trino: TrinoAlone, table: str, version: int | None) -> None:
        # Five megabytes of rows for each file; Trino holds some twenty for its client.
        sql = Template(
            "SELECT n, rpad('', 1000, 'x') FROM $table$at CROSS JOIN UNNEST(sequence(1, 5000)) AS a(i)"
        )
        at = "" if version is None else f" FOR VERSION AS OF {version}"
        self._http = trino.http("reader")
        self._answer = self._http.post(
            "/v1/statement", content=sql.substitute(table=f"{CATALOG}.{table}", at=at)
        ).json()
        self.id: str = self._answer["id"]
        self.found: set[int] = set()
        self.error: str | None = None
        deadline = time.monotonic() + PATIENCE_S
        while not self.found:
            assert time.monotonic() < deadline
            self._next()
            assert self.error is None

    def _next(self) -> bool:
        self._answer = self._http.get(self._answer["nextUri"]).json()
        self.found |= {int(row[0]) for row in self._answer.get("data") or ()}
        self.error = (self._answer.get("error") or {}).get("message")
        return "nextUri" in self._answer

    @property
    def under_way(self) -> bool:
        """Whether it is reading, as Trino says."""
        return bool(self._http.get(f"/v1/query/{self.id}").json()["state"] == "RUNNING")

    def finish(self) -> None:
        """Takes the other rows."""
        deadline = time.monotonic() + PATIENCE_S
        while self._next():
            assert time.monotonic() < deadline


def replaced(world: World, table: str) -> int:
    """A table of many commits whose files were rewritten since; a snapshot of before, past its time."""
    commits(world, table, FILES)
    old = world.state(table).snapshots[FILES - 2].id
    # Iceberg takes the files that a snapshot replaced when that snapshot goes, too: so there is another.
    world.sql("ALTER TABLE $t EXECUTE optimize", table)
    world.sql("ALTER TABLE $t EXECUTE optimize_manifests", table)
    time.sleep(4)
    return old


def test_a_query_on_an_old_snapshot_is_never_robbed_of_its_files(world: World) -> None:
    old = replaced(world, "s.read")
    query = Held(world.trino, "s.read", old)
    run = world.maintain("s.read")
    assert query.under_way
    assert outcomes(run)["expire_snapshots"] == "done"
    assert outcomes(run)["remove_orphan_files"] == "done"
    left = {one.id for one in world.state("s.read").snapshots}
    assert old in left
    query.finish()
    assert query.error is None
    assert query.found == set(range(FILES - 2))

    time.sleep(3)
    after = world.maintain("s.read")
    assert outcomes(after)["expire_snapshots"] == "done"
    assert old not in {one.id for one in world.state("s.read").snapshots}
    assert world.sql("SELECT sum(n), count(*) FROM $t", "s.read") == [[sum(range(FILES)), FILES]]


def test_the_same_query_fails_where_nobody_looks(world: World) -> None:
    """Shows that the test above can fail: the bare procedure takes the files from under the query."""
    old = replaced(world, "s.robbed")
    query = Held(world.trino, "s.robbed", old)
    world.sql("ALTER TABLE $t EXECUTE expire_snapshots(retention_threshold => '1s')", "s.robbed")
    assert query.under_way
    query.finish()
    assert query.error is not None


def test_a_query_on_what_was_current_keeps_it_when_a_run_makes_a_new_one(world: World) -> None:
    table = "s.replaced"
    commits(world, table, FILES)
    time.sleep(4)
    query = Held(world.trino, "s.replaced", None)
    run = world.maintain("s.replaced")
    assert query.under_way
    assert outcomes(run)["optimize"] == "done"
    query.finish()
    assert query.error is None
    assert query.found == set(range(FILES))


def test_retained_snapshots_are_read_after_everything_was_done(world: World) -> None:
    table = "s.kept"
    commits(world, table, 6)
    time.sleep(4)
    for number in (6, 7):
        world.sql("INSERT INTO $t VALUES ($n)", table, n=number)
    before = {one.id: one.committed_ms for one in world.state("s.kept").snapshots}
    run = world.maintain("s.kept")
    assert set(outcomes(run).values()) == {"done"}
    left = world.state("s.kept").snapshots
    assert len(left) < len(before)
    for snapshot in left:
        ((rows,),) = world.sql("SELECT count(*) FROM $t FOR VERSION AS OF $at", table, at=snapshot.id)
        assert rows >= 6
    assert world.sql("SELECT sum(n), count(*) FROM $t", table) == [[28, 8]]


def test_files_of_no_snapshot_go_when_they_are_old_and_nothing_else(world: World) -> None:
    table = "s.littered"
    commits(world, table, 2)
    known = world.files("s.littered")
    data = next(path.parent for path in known.values() if path.parent.name == "data")
    (data / "left-over.parquet").write_bytes(b"x")
    (data / "being-written.parquet").write_bytes(b"x")
    hour_ago = time.time() - 3600
    for path in (data / "left-over.parquet", *known.values()):
        os.utime(path, (hour_ago, hour_ago))
    ahead = time.time() + 3600
    os.utime(data / "being-written.parquet", (ahead, ahead))
    run = world.maintain("s.littered", ORPHANS_ALONE)
    assert outcomes(run)["remove_orphan_files"] == "done"
    left = world.files("s.littered")
    assert "left-over.parquet" not in left
    assert "being-written.parquet" in left
    assert set(known) <= set(left)


def test_a_second_run_finds_nothing_to_do(world: World) -> None:
    table = "s.twice"
    world.sql("CREATE TABLE $t (n bigint, day integer) WITH (partitioning = ARRAY['day'])", table)
    for number in range(6):
        world.sql("INSERT INTO $t VALUES ($n, 1), ($n, 2)", table, n=number)
    world.sql("DELETE FROM $t WHERE n = 3", table)
    run = world.maintain("s.twice")
    assert run.before is not None
    assert run.after is not None
    assert run.before.files == 12
    assert run.before.delete_files > 0
    assert (run.after.files, run.after.delete_files) == (2, 0)
    assert run.before.manifests > run.after.manifests
    again = world.maintain("s.twice")
    done: Mapping[str, str] = outcomes(again)
    assert (done["optimize"], done["optimize_manifests"]) == ("unneeded", "unneeded")
    assert world.sql("SELECT sum(n), count(*) FROM $t", table) == [[24, 10]]


class Writer:
    """Deletes one row after another until it is told to stop, and counts those it was told are gone."""

    def __init__(self, trino: TrinoAlone, table: str) -> None:
        self._client = trino.client("writer")
        self._table = f"{CATALOG}.{table}"
        self._stopping = threading.Event()
        self._deleted = 0
        self.errors: list[TrinoError] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for key in range(1, 2000):
            if self._stopping.is_set():
                return
            sql = Template("DELETE FROM $t WHERE n = $n").substitute(t=self._table, n=key)
            try:
                rows = self._client.rows(sql, timeout_s=PATIENCE_S)
            except TrinoError as error:
                self.errors.append(error)
            else:
                self._deleted += int(rows[0][0])

    def stop(self) -> int:
        """How many rows are gone; the writer may have met nothing but conflicts."""
        self._stopping.set()
        self._thread.join(PATIENCE_S)
        assert {error.name for error in self.errors} <= {CONFLICT}
        return self._deleted


def test_a_writer_that_comes_first_is_told_as_a_conflict(world: World) -> None:
    table = "s.contended"
    world.sql('CREATE TABLE $t AS SELECT orderkey AS n, comment FROM tpch."sf0.1".orders', table)
    writer = Writer(world.trino, table)
    run: MaintenanceRun | None = None
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and (run is None or run.outcome is not StepOutcome.CONFLICT):
            run = world.maintain(table, COMPACT_ALONE)
            assert run.outcome is not StepOutcome.FAILED, run.error
    finally:
        deleted = writer.stop()
    assert run is not None
    assert run.outcome is StepOutcome.CONFLICT, f"no conflict in {PATIENCE_S} s: {writer.errors}"
    assert run.error is not None
    assert "another writer" in run.error
    # Every row that somebody was told is gone is gone, and no other.
    assert world.sql("SELECT count(*) FROM $t", table) == [[150_000 - deleted]]
    assert outcomes(world.maintain(table, COMPACT_ALONE))["optimize"] in ("done", "unneeded")
    assert world.sql("SELECT count(*) FROM $t", table) == [[150_000 - deleted]]
