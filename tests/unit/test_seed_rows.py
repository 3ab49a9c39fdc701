"""What the seeds hold: made part by part, by a generator whose failure is named, and chosen by name."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from contracts.errors import LabError, UsageError
from seed import retail
from seed.catalogue import seed_tables_for, select
from seed.model import SeedOptions

OPTIONS = SeedOptions(scale_factor=0.001)


@pytest.mark.parametrize(
    ("table", "rows_per_part", "parts"),
    [("retail.orders", 140, 11), ("retail.lineitem", 2400, 3)],
)
def test_large_tables_are_made_part_by_part(
    monkeypatch: pytest.MonkeyPatch, table: str, rows_per_part: int, parts: int
) -> None:
    """At 140 rows a part customers come in parts, too."""

    def load() -> pa.Table:
        found = next(t for t in seed_tables_for(OPTIONS) if t.name == table)
        return pa.concat_tables(found.batches()[0].chunks())

    whole = load()
    monkeypatch.setattr(retail, "ROWS_PER_PART", rows_per_part)
    parted = load()
    assert (whole.column(0).num_chunks, parted.column(0).num_chunks) == (1, parts)
    keys = [(name, "ascending") for name in whole.column_names[:4]]
    assert parted.sort_by(keys).equals(whole.sort_by(keys))


def test_line_items_find_their_orders_wherever_the_generator_cuts() -> None:
    """At this scale factor its first part of the line items has orders of its second part of the orders."""
    tables = {t.name: t for t in seed_tables_for(SeedOptions(scale_factor=0.25))}
    lines = [c.select(["l_orderkey", "l_regionkey"]) for c in tables["retail.lineitem"].batches()[0].chunks()]
    orders = pa.concat_tables(
        c.select(["o_orderkey", "o_regionkey"]) for c in tables["retail.orders"].batches()[0].chunks()
    )
    assert len(lines) == 2
    found = pa.concat_tables(lines)
    places = pc.index_in(found["l_orderkey"], value_set=orders["o_orderkey"].combine_chunks())
    assert found["l_regionkey"].combine_chunks().equals(orders["o_regionkey"].take(places).combine_chunks())


def test_customers_orders_and_line_items_carry_the_customers_region() -> None:
    """Told by joining, as the generator's own columns have it."""
    rows = {
        t.name.removeprefix("retail."): pa.concat_tables(t.batches()[0].chunks())
        for t in seed_tables_for(OPTIONS)
        if t.namespace == "retail"
    }
    nations = dict(
        zip(*(rows["nation"].column(c).to_pylist() for c in ("n_nationkey", "n_regionkey")), strict=True)
    )
    customers = {r["c_custkey"]: r for r in rows["customer"].to_pylist()}
    orders = {r["o_orderkey"]: r for r in rows["orders"].to_pylist()}
    for row in customers.values():
        assert row["c_regionkey"] == nations[row["c_nationkey"]]
    for row in orders.values():
        assert row["o_regionkey"] == customers[row["o_custkey"]]["c_regionkey"]
    lines = rows["lineitem"].select(["l_orderkey", "l_regionkey"]).to_pylist()
    assert all(row["l_regionkey"] == orders[row["l_orderkey"]]["o_regionkey"] for row in lines)
    assert {row["l_regionkey"] for row in lines} == {0, 1, 2, 3, 4}


def test_a_failing_generator_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    region = next(t for t in seed_tables_for(OPTIONS) if t.name == "retail.region")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho disk full >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(retail, "_generator", lambda: str(broken))
    with pytest.raises(LabError, match="failed with status 3: disk full"):
        list(region.batches()[0].chunks())


def test_generated_files_go_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    assert retail._roomy_folder() == Path(tempfile.gettempdir())
    monkeypatch.setattr(retail, "PARTS_BYTES", 1 << 60)
    assert retail._roomy_folder() == tmp_path / "cache"
    region = next(t for t in seed_tables_for(OPTIONS) if t.name == "retail.region")
    assert sum(chunk.num_rows for chunk in region.batches()[0].chunks()) == 5


def test_names_select_and_wrong_ones_are_refused() -> None:
    tables = seed_tables_for(OPTIONS)
    assert [t.name for t in select(tables, ["hr", "web.events"])] == [
        "hr.departments",
        "hr.employees",
        "web.events",
    ]
    assert len(select(tables, ["all"])) == 11
    with pytest.raises(UsageError, match=r"did you mean 'retail\.orders'"):
        select(tables, ["retail.order"])
