"""The eight TPC-H tables, made by ``tpchgen-cli`` (https://github.com/clflushopt/tpchgen-rs).

Table layouts and row counts: TPC-H specification, §1.4 and §4.2.5, https://www.tpc.org/tpch/. Customers,
orders and line items have one column more, the region of the customer: a row filter has to find what it asks
for in the row itself, and a partition that it leaves out is not read at all (docs/adr/0014).
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.types import DateType, DecimalType, IntegerType, LongType, StringType

from contracts.errors import LabError
from contracts.settings import cache_home
from seed.model import Batch, SeedOptions, SeedTable

GENERATOR = "tpchgen-cli"
ROWS_PER_PART = 750_000
"""Rows generated, sorted and written at a time. With two tables at a time that took 0.6 GiB at scale
factor 0.1, 0.8 at 0.5 and 1.2 at 1; more rows make more parts, not larger ones."""
PARTS_BYTES = 512 << 20
"""More than all the generated files that lie on disk at the same time."""

_KINDS: Mapping[str, Any] = {
    "id": LongType(),
    "int": IntegerType(),
    "money": DecimalType(15, 2),
    "date": DateType(),
    "text": StringType(),
}


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """``rows``: at scale factor 1; ``scales``: False where the count is the same at every factor;
    ``region``: the column that the customer's region is carried in, and the table partitioned by."""

    comment: str
    columns: str
    keys: tuple[str, ...]
    rows: int
    scales: bool = True
    region: str | None = None
    sort: tuple[str, ...] = ()


_LAYOUTS: Mapping[str, _Layout] = {
    "region": _Layout(
        comment="The five regions",
        columns="r_regionkey:id r_name:text r_comment:text",
        keys=("r_regionkey",),
        rows=5,
        scales=False,
    ),
    "nation": _Layout(
        comment="The 25 nations and their regions",
        columns="n_nationkey:id n_name:text n_regionkey:id n_comment:text",
        keys=("n_nationkey",),
        rows=25,
        scales=False,
    ),
    "supplier": _Layout(
        comment="Suppliers",
        columns="s_suppkey:id s_name:text s_address:text s_nationkey:id s_phone:text s_acctbal:money"
        " s_comment:text",
        keys=("s_suppkey",),
        rows=10_000,
    ),
    "customer": _Layout(
        comment="Customers with their nation, phone and balance",
        columns="c_custkey:id c_name:text c_address:text c_nationkey:id c_phone:text c_acctbal:money"
        " c_mktsegment:text c_comment:text",
        keys=("c_custkey",),
        rows=150_000,
        region="c_regionkey",
    ),
    "part": _Layout(
        comment="Parts",
        columns="p_partkey:id p_name:text p_mfgr:text p_brand:text p_type:text p_size:int"
        " p_container:text p_retailprice:money p_comment:text",
        keys=("p_partkey",),
        rows=200_000,
    ),
    "partsupp": _Layout(
        comment="Which supplier has which part",
        columns="ps_partkey:id ps_suppkey:id ps_availqty:int ps_supplycost:money ps_comment:text",
        keys=("ps_partkey", "ps_suppkey"),
        rows=800_000,
    ),
    "orders": _Layout(
        comment="Orders",
        columns="o_orderkey:id o_custkey:id o_orderstatus:text o_totalprice:money o_orderdate:date"
        " o_orderpriority:text o_clerk:text o_shippriority:int o_comment:text",
        keys=("o_orderkey",),
        rows=1_500_000,
        region="o_regionkey",
        sort=("o_orderdate", "o_orderkey"),
    ),
    "lineitem": _Layout(
        comment="Lines of orders",
        columns="l_orderkey:id l_partkey:id l_suppkey:id l_linenumber:int l_quantity:money"
        " l_extendedprice:money l_discount:money l_tax:money l_returnflag:text l_linestatus:text"
        " l_shipdate:date l_commitdate:date l_receiptdate:date l_shipinstruct:text l_shipmode:text"
        " l_comment:text",
        keys=("l_orderkey", "l_linenumber"),
        rows=6_000_000,
        region="l_regionkey",
        sort=("l_shipdate", "l_orderkey", "l_linenumber"),
    ),
}


def retail_tables(options: SeedOptions, lineitem_rows: Mapping[str, int]) -> tuple[SeedTable, ...]:
    """The tables at a scale factor. ``lineitem_rows`` declares lineitem's count by scale factor: it is
    the one table whose count does not follow from the factor."""
    generation = _Generation(options.scale_factor)
    return tuple(_table(name, layout, generation, lineitem_rows) for name, layout in _LAYOUTS.items())


def _table(
    name: str, layout: _Layout, generation: _Generation, lineitem_rows: Mapping[str, int]
) -> SeedTable:
    scale_factor = generation.scale_factor
    columns = dict(item.split(":") for item in layout.columns.split())
    if layout.region is not None:
        columns[layout.region] = "id"
    sort = layout.sort or layout.keys
    rows: int | None = layout.rows
    if name == "lineitem":
        rows = lineitem_rows.get(f"{scale_factor:g}")
    elif layout.scales:
        rows = _scaled(layout.rows, scale_factor)
    return SeedTable(
        name=f"retail.{name}",
        comment=layout.comment,
        revision=1,
        columns={column: _KINDS[kind] for column, kind in columns.items()},
        keys=layout.keys,
        required=(layout.region,) if layout.region is not None else (),
        partition={layout.region: "identity"} if layout.region is not None else {},
        sort=sort,
        source={"scale_factor": f"{scale_factor:g}"} if layout.scales else {},
        batches=lambda: (Batch(rows=rows, chunks=lambda: generation.chunks(name, sort)),),
    )


def _scaled(rows: int, scale_factor: float) -> int | None:
    """The count at a factor, None where it is not whole (the generator rounds then)."""
    count = rows * scale_factor
    return round(count) if math.isclose(count, round(count), rel_tol=1e-9) else None


class _Generation:
    """The generator's output at one scale factor.

    Each start of the generator costs a second before the first row, so all tables that fit one part
    are made by a single start, when the first of them is asked for. Larger ones are made part by part:
    at no time is more than one part of a table on disk or in memory, but for the regions of all customers.
    """

    def __init__(self, scale_factor: float) -> None:
        self.scale_factor = scale_factor
        self._lock = threading.RLock()
        self._made: dict[str, Path] = {}
        self._customers: pa.ChunkedArray | None = None

    def chunks(self, table: str, sort: tuple[str, ...]) -> Iterator[pa.Table]:
        """The table's rows, sorted within each chunk.

        Raises:
            LabError: the generator is missing or fails; its message is shown.
        """
        if self._parts(table) == 1:
            yield _sorted(self._taken(table), sort)
            return
        orders = self._regions_by_order() if table == "lineitem" else None
        for rows in self._cut(table):
            yield _sorted(self._with_region(table, rows, orders), sort)

    def _parts(self, table: str) -> int:
        layout = _LAYOUTS[table]
        rows = layout.rows * (self.scale_factor if layout.scales else 1)
        return max(1, math.ceil(rows / ROWS_PER_PART))

    def _cut(self, table: str) -> Iterator[pa.Table]:
        """A table of several parts, one after the other. The generator cuts each table elsewhere: part 1 of
        the line items has lines of orders that are in part 2 of the orders."""
        parts = self._parts(table)
        for number in range(1, parts + 1):
            with tempfile.TemporaryDirectory(prefix="lab-tpch-", dir=_roomy_folder()) as folder:
                more = ["--parts", str(parts), "--part", str(number)]
                _generate(Path(folder), [table], self.scale_factor, more)
                rows = _read(next((Path(folder) / table).glob("*.parquet")))
            yield rows

    def _taken(self, table: str) -> pa.Table:
        """The rows of a table of one part; its file is removed."""
        with self._lock:
            self._begin()
            path = self._made[table]
            if not path.exists():
                missing = [t for t, other in self._made.items() if not other.exists()]
                _generate(path.parent, missing, self.scale_factor)
            orders = self._regions_by_order() if table == "lineitem" else None
            rows = self._with_region(table, _read(path), orders)
            path.unlink()
            return rows

    def _kept(self, table: str) -> pa.Table:
        """The same, whoever took it before; its file stays."""
        self._begin()
        if not self._made[table].exists():
            _generate(self._made[table].parent, [table], self.scale_factor)
        return _read(self._made[table])

    def _begin(self) -> None:
        if not self._made:
            folder = Path(tempfile.mkdtemp(prefix="lab-tpch-", dir=_roomy_folder()))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            self._made = {t: folder / f"{t}.parquet" for t in _LAYOUTS if self._parts(t) == 1}
            _generate(folder, list(self._made), self.scale_factor)

    def _with_region(self, table: str, rows: pa.Table, orders: pa.Array | None) -> pa.Table:
        column = _LAYOUTS[table].region
        if column is None:
            return rows
        if table == "customer":
            regions = self._nation_regions().take(rows.column("c_nationkey"))
        elif table == "orders":
            regions = self._of_customers(rows)
        else:
            assert orders is not None  # noqa: S101  # line items come with their orders
            regions = orders.take(rows.column("l_orderkey")).cast(pa.int64())
        if regions.null_count:
            raise LabError(f"{GENERATOR} made rows of {table} whose customer has no region", value=table)
        return rows.append_column(column, regions)

    def _regions_by_order(self) -> pa.Array:
        """The region of each order's customer, at the place of the order's key: 8 of 32 keys are orders
        (§4.2.3), so that this is 6 MB at scale factor 1."""
        parts = [self._kept("orders")] if self._parts("orders") == 1 else self._cut("orders")
        found = np.full(_LAYOUTS["orders"].rows // 8 * 32, -1, dtype=np.int8)
        for orders in parts:
            keys = orders.column("o_orderkey").to_numpy()
            if keys.max() >= len(found):
                grown = max(int(keys.max()) + 1, 2 * len(found))
                found = np.concatenate([found, np.full(grown - len(found), -1, dtype=np.int8)])
            found[keys] = self._of_customers(orders).to_numpy()
        return pa.array(found, mask=found < 0)

    def _of_customers(self, orders: pa.Table) -> pa.ChunkedArray:
        """The region of each order's customer; customers are counted from 1 without a gap (§4.2.3)."""
        return self._customer_regions().take(pc.subtract(orders.column("o_custkey"), 1))

    def _customer_regions(self) -> pa.ChunkedArray:
        with self._lock:
            if self._customers is None:
                self._customers = self._nation_regions().take(self._customer_nations())
            return self._customers

    def _customer_nations(self) -> pa.ChunkedArray:
        if self._parts("customer") == 1:
            return _nations_by_key(self._kept("customer"))
        return pa.chunked_array(
            [chunk for rows in self._cut("customer") for chunk in _nations_by_key(rows).chunks]
        )

    def _nation_regions(self) -> pa.ChunkedArray:
        with self._lock:
            return self._kept("nation").sort_by("n_nationkey").column("n_regionkey")


def _nations_by_key(customers: pa.Table) -> pa.ChunkedArray:
    return customers.select(["c_custkey", "c_nationkey"]).sort_by("c_custkey").column("c_nationkey")


def _roomy_folder() -> Path:
    """The system's folder for temporary files, or the lab's cache where that is small (a memory disk)."""
    folder = Path(tempfile.gettempdir())
    if shutil.disk_usage(folder).free >= PARTS_BYTES:
        return folder
    cache = cache_home()
    cache.mkdir(parents=True, exist_ok=True)
    return cache


def _read(path: Path) -> pa.Table:
    rows = pq.read_table(path)
    return rows.cast(_without_views(rows.schema))


def _sorted(rows: pa.Table, sort: tuple[str, ...]) -> pa.Table:
    return rows.sort_by([(name, "ascending") for name in sort])


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Arrow can't sort tables with string views, which the generator's files declare."""
    return pa.schema(
        [item.with_type(pa.string()) if item.type == pa.string_view() else item for item in schema]
    )


def _generate(folder: Path, tables: Sequence[str], scale_factor: float, more: Sequence[str] = ()) -> None:
    command = [_generator(), "parquet", "--scale-factor", f"{scale_factor:g}", "--tables", ",".join(tables)]
    command += ["--output-dir", str(folder), "--quiet", "--overwrite", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(
            f"{GENERATOR} failed with status {done.returncode}: {done.stderr.strip()[-400:]}",
            value=f"{', '.join(tables)} at scale factor {scale_factor:g}",
            next_command="lab doctor",
        )


def _generator() -> str:
    """The program of the installed package, which need not be on PATH."""
    beside = Path(sys.executable).parent / GENERATOR
    found = str(beside) if beside.exists() else shutil.which(GENERATOR)
    if found is None:
        raise LabError(
            f"{GENERATOR} is not installed",
            permitted=f"the package {GENERATOR}",
            next_command="lab doctor --fix",
        )
    return found
