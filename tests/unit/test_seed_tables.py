"""Seeding converges: from every state to the declared one, and never over what people did."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import requests
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table, Transaction

import ingestion.commits
from contracts.errors import LabError
from seed import tables
from seed.catalogue import seed_tables_for
from seed.connection import Connection
from seed.model import DATA, Batch, SeedOptions, SeedReport, Status
from seed.tables import BATCH_PROPERTY, DIGEST_PROPERTY, converge

OPTIONS = SeedOptions(scale_factor=0.001)
Run = Callable[..., SeedReport]


class Lab:
    """A catalog on disk, and the seeds over a copy of their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        shutil.copytree(DATA, self.data)
        self._open: list[SqlCatalog] = []
        self.catalog = self.open()

    def open(self) -> SqlCatalog:
        made = SqlCatalog(
            "t", uri=f"sqlite:///{self.folder}/catalog.db", warehouse=f"file://{self.folder}/warehouse"
        )
        self._open.append(made)
        return made

    def close(self) -> None:
        for catalog in self._open:
            catalog.engine.dispose()

    def run(self, what: tuple[str, ...] = ("hr", "web"), reset: tuple[str, ...] = ()) -> SeedReport:
        return converge(self.open, seed_tables_for(OPTIONS, self.data), what, reset)

    def table(self, name: str) -> Table:
        return self.catalog.load_table(name)

    def rows(self, name: str) -> int:
        return int(self.table(name).scan().count())

    def statuses(self, report: SeedReport) -> dict[str, Status]:
        return {name: result.status for name, result in report.tables.items()}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.close()


def snapshots(table: Table) -> list[int]:
    return [snapshot.snapshot_id for snapshot in table.metadata.snapshots]


def test_everything_is_created_counted_and_then_unchanged(lab: Lab) -> None:
    report = lab.run(("all",))
    assert set(lab.statuses(report).values()) == {Status.CREATED}
    counts = {name: result.rows for name, result in report.tables.items()}
    assert counts == {
        "retail.region": 5,
        "retail.nation": 25,
        "retail.supplier": 10,
        "retail.customer": 150,
        "retail.part": 200,
        "retail.partsupp": 800,
        "retail.orders": 1500,
        "retail.lineitem": 6005,
        "hr.departments": 8,
        "hr.employees": 120,
        "web.events": 50_000,
    }
    assert {name: lab.rows(name) for name in counts} == counts
    again = lab.run(("all",))
    assert set(lab.statuses(again).values()) == {Status.UNCHANGED}
    assert again.seconds < 2
    assert {n: r.snapshot_id for n, r in again.tables.items()} == {
        n: r.snapshot_id for n, r in report.tables.items()
    }
    assert ("raw",) in lab.catalog.list_namespaces()


def test_tables_are_laid_out_as_declared(lab: Lab) -> None:
    lab.run(("retail.lineitem",))
    table = lab.table("retail.lineitem")
    assert [field.name for field in table.spec().fields] == ["l_regionkey_identity"]
    assert table.metadata.format_version == 2
    assert table.properties["write.parquet.compression-codec"] == "zstd"
    sort = [table.schema().find_column_name(field.source_id) for field in table.sort_order().fields]
    assert sort == ["l_shipdate", "l_orderkey", "l_linenumber"]
    assert table.schema().identifier_field_names() == {"l_orderkey", "l_linenumber"}
    files = table.inspect.files().to_pylist()
    assert len(files) == 5
    assert {file["sort_order_id"] for file in files} == {table.sort_order().order_id}
    for file in files:
        part = pa.parquet.read_table(file["file_path"].removeprefix("file://"))
        assert part.equals(part.sort_by([(name, "ascending") for name in sort]))


def test_events_come_in_snapshots_that_can_be_travelled(lab: Lab) -> None:
    lab.run(("web",))
    table = lab.table("web.events")
    found = []
    for snapshot in table.metadata.snapshots:
        assert snapshot.summary is not None
        scan = table.scan(snapshot_id=snapshot.snapshot_id, selected_fields=("event_id",))
        found.append((snapshot.summary[BATCH_PROPERTY], scan.to_arrow().num_rows))
    assert found == [("1/5", 8000), ("2/5", 17000), ("3/5", 27000), ("4/5", 38000), ("5/5", 50000)]
    rows = table.scan().to_arrow()
    assert pc.count_distinct(rows.column("event_id")).as_py() == 50_000
    assert set(rows.column("region").to_pylist()) == {"EMEA", "AMER", "APAC"}


def test_generated_rows_are_the_same_everywhere() -> None:
    # A changed number here means other rows: raise the table's revision with it.
    tables = {table.name: table for table in seed_tables_for(OPTIONS)}
    found = {}
    for name in ("web.events", "hr.employees", "hr.departments"):
        table = pa.concat_tables(chunk for batch in tables[name].batches() for chunk in batch.chunks())
        content = json.dumps(table.to_pylist(), default=str).encode()
        found[name, tables[name].revision] = hashlib.sha256(content).hexdigest()[:16]
    assert found == CONTENT_DIGESTS


CONTENT_DIGESTS = {
    ("hr.departments", 1): "4166e38d192196bc",
    ("hr.employees", 1): "05ba87309dbb4275",
    ("web.events", 1): "6157907c74d23ee4",
}


def test_a_dropped_table_comes_back_alone(lab: Lab) -> None:
    first = lab.run()
    lab.catalog.drop_table("hr.departments")
    report = lab.run()
    assert lab.statuses(report) == {
        "hr.departments": Status.CREATED,
        "hr.employees": Status.UNCHANGED,
        "web.events": Status.UNCHANGED,
    }
    assert report.tables["web.events"].snapshot_id == first.tables["web.events"].snapshot_id


def test_edits_survive_every_further_run(lab: Lab) -> None:
    lab.run()
    lab.table("hr.employees").delete("username = 'outsider'")
    report = lab.run()
    assert report.tables["hr.employees"].status is Status.UNCHANGED
    assert lab.rows("hr.employees") == 119
    lab.table("hr.departments").delete("department_id > 0")
    assert lab.run().tables["hr.departments"].status is Status.UNCHANGED
    assert lab.rows("hr.departments") == 0


def change_salary(lab: Lab) -> None:
    path = lab.data / "employees.csv"
    path.write_text(path.read_text().replace("212000.00", "212500.00"))


def test_a_changed_seed_file_changes_exactly_its_table(lab: Lab) -> None:
    before = lab.run()
    change_salary(lab)
    report = lab.run()
    assert report.changed == ("hr.employees",)
    assert report.tables["hr.employees"].status is Status.UPDATED
    table = lab.table("hr.employees")
    assert lab.rows("hr.employees") == 120
    assert table.properties[DIGEST_PROPERTY] == report.tables["hr.employees"].digest
    assert snapshots(table) == [
        before.tables["hr.employees"].snapshot_id,
        report.tables["hr.employees"].snapshot_id,
    ]
    assert lab.run().changed == ()


def test_an_edited_table_is_left_alone_when_its_seed_file_changes(lab: Lab) -> None:
    lab.run()
    lab.table("hr.employees").delete("username = 'outsider'")
    change_salary(lab)
    report = lab.run()
    assert report.changed == ()
    assert report.tables["hr.employees"].status is Status.KEPT_EDITED
    assert "lab seed --reset hr.employees" in report.notices[0]
    assert lab.rows("hr.employees") == 119
    restored = lab.run(reset=("hr.employees",))
    assert restored.tables["hr.employees"].status is Status.RESET
    assert lab.rows("hr.employees") == 120
    assert len(snapshots(lab.table("hr.employees"))) == 3
    assert lab.run().changed == ()


def test_reset_restores_several_snapshots(lab: Lab) -> None:
    lab.run(("web",))
    lab.table("web.events").delete("event_id <= 10000")
    report = lab.run((), ("web",))
    assert report.tables["web.events"].status is Status.RESET
    assert lab.rows("web.events") == 50_000
    assert lab.run(("web",)).changed == ()


def test_a_table_of_someone_elses_is_left_alone(lab: Lab) -> None:
    lab.catalog.create_namespace("hr")
    own = lab.catalog.create_table("hr.departments", pa.schema([("x", pa.int64())]))
    own.append(pa.table({"x": [1]}))
    report = lab.run(("hr.departments",))
    assert report.tables["hr.departments"].status is Status.KEPT_EDITED
    assert "not made by the seeds" in report.notices[0]
    assert lab.table("hr.departments").scan().to_arrow().to_pylist() == [{"x": 1}]


def test_an_empty_table_without_a_snapshot_is_repaired(lab: Lab) -> None:
    departments = next(t for t in seed_tables_for(OPTIONS) if t.name == "hr.departments")
    lab.catalog.create_namespace("hr")
    lab.catalog.create_table("hr.departments", departments.schema())
    assert lab.run(("hr.departments",)).tables["hr.departments"].status is Status.REPAIRED
    assert lab.rows("hr.departments") == 8


REGIONS_OF_EVENTS = 3


def data_files(lab: Lab) -> list[Path]:
    return sorted((lab.folder / "warehouse").rglob("*.parquet"))


@pytest.mark.parametrize("commits", range(5))
def test_a_load_that_stops_before_a_commit_is_resumed_and_leaves_no_file(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    stage, done = ingestion.commits._stage_snapshot, 0

    def die(*arguments: Any) -> None:
        nonlocal done
        if done == commits:
            raise KeyboardInterrupt
        done += 1
        stage(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ingestion.commits, "_stage_snapshot", die)
        with pytest.raises(KeyboardInterrupt):
            lab.run(("web",))
    assert len(data_files(lab)) == commits * REGIONS_OF_EVENTS
    resumed(lab, commits)
    assert len(data_files(lab)) == 5 * REGIONS_OF_EVENTS


@pytest.mark.parametrize("commits", range(5))
def test_a_load_that_stops_in_a_commit_is_resumed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    real = Transaction.commit_transaction
    done = 0

    def die(self: Transaction) -> Table:
        nonlocal done
        if done == commits:
            raise KeyboardInterrupt
        done += 1
        return real(self)

    from pyiceberg.table import CreateTableTransaction

    create = CreateTableTransaction.commit_transaction

    def die_creating(self: CreateTableTransaction) -> Table:
        nonlocal done
        if done == commits:
            raise KeyboardInterrupt
        done += 1
        return create(self)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "commit_transaction", die)
        patch.setattr(CreateTableTransaction, "commit_transaction", die_creating)
        with pytest.raises(KeyboardInterrupt):
            lab.run(("web",))
    assert len(data_files(lab)) == (commits + 1) * REGIONS_OF_EVENTS, "the commit may be under way"
    resumed(lab, commits)


def resumed(lab: Lab, commits: int) -> None:
    if commits == 0:
        with pytest.raises(NoSuchTableError):
            lab.table("web.events")
    else:
        assert DIGEST_PROPERTY not in lab.table("web.events").properties
    report = lab.run(("web",))
    assert report.tables["web.events"].status is (Status.REPAIRED if commits else Status.CREATED)
    assert lab.rows("web.events") == 50_000
    assert len(snapshots(lab.table("web.events"))) == 5
    assert lab.run(("web",)).changed == ()


def test_another_count_than_declared_is_refused_before_the_commit(lab: Lab) -> None:
    path = lab.data / "employees.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(LabError, match="gave 119 rows, 120 are declared"):
        lab.run(("hr.employees",))
    with pytest.raises(NoSuchTableError):
        lab.table("hr.employees")
    assert data_files(lab) == []


def test_a_table_of_an_older_layout_gets_the_new_one_with_its_new_rows(lab: Lab) -> None:
    """Without the region's column, and partitioned by year."""
    orders = next(t for t in seed_tables_for(OPTIONS) if t.name == "retail.orders")
    columns = {name: kind for name, kind in orders.columns.items() if name != "o_regionkey"}

    def old_batches() -> tuple[Batch, ...]:
        rows = pa.concat_tables(orders.batches()[0].chunks()).drop_columns(["o_regionkey"])
        return (Batch(rows=1500, chunks=lambda: iter([rows])),)

    old = dataclasses.replace(
        orders,
        columns=columns,
        required=(),
        partition={"o_orderdate": "year"},
        sort=("o_orderkey",),
        batches=old_batches,
    )
    converge(lab.open, [old])
    assert [field.name for field in lab.table("retail.orders").spec().fields] == ["o_orderdate_year"]
    report = lab.run(("retail.orders",))
    assert report.tables["retail.orders"].status is Status.UPDATED
    table = lab.table("retail.orders")
    assert [field.name for field in table.spec().fields] == ["o_regionkey_identity"]
    sort = [table.schema().find_column_name(field.source_id) for field in table.sort_order().fields]
    assert sort == list(orders.sort)
    assert lab.rows("retail.orders") == 1500
    assert len(table.inspect.files().to_pylist()) == 5
    assert table.scan().to_arrow().column("o_regionkey").null_count == 0
    assert lab.run(("retail.orders",)).changed == ()


def test_no_extremes_of_people_are_kept_beside_their_rows(lab: Lab) -> None:
    lab.run(("hr.employees",))
    (file,) = lab.table("hr.employees").inspect.files().to_pylist()
    assert not file["lower_bounds"]
    assert not file["upper_bounds"]


def test_a_catalog_that_goes_away_is_said_with_what_to_do_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise requests.ConnectionError("connection refused")

    monkeypatch.setattr(tables, "converge", gone)
    connection = Connection(
        catalog_uri="http://c", warehouse="w", token_url="t", client_id="i", client_secret="s"
    )
    with pytest.raises(LabError, match="went away while sample tables were loaded") as caught:
        tables.seed_tables(connection, OPTIONS)
    assert "lab seed" in str(caught.value.next_command)


def test_the_digest_tells_options_and_content_apart(tmp_path: Path) -> None:
    def by_name(options: SeedOptions, folder: Path = DATA) -> dict[str, str]:
        return {t.name: t.digest() for t in seed_tables_for(options, folder)}

    small, large = by_name(OPTIONS), by_name(SeedOptions(scale_factor=0.01))
    assert small == by_name(OPTIONS)
    changed = {name for name in small if small[name] != large[name]}
    assert changed == {name for name in small if name.startswith("retail.")} - {
        "retail.region",
        "retail.nation",
    }
