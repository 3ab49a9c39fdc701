"""The eight TPC-H tables, made by ``tpchgen-cli`` (https://github.com/clflushopt/tpchgen-rs).

Table layouts and row counts: TPC-H specification, §1.4 and §4.2.5, https://www.tpc.org/tpch/.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.types import DateType, DecimalType, IntegerType, LongType, StringType

from contracts.errors import LabError
from seed.model import Batch, SeedOptions, SeedTable

GENERATOR = "tpchgen-cli"
ROWS_PER_PART = 1_500_000
"""Rows generated, sorted and written at a time: lineitem then takes about 0.6 GiB at its peak."""

_KINDS: Mapping[str, Any] = {
    "id": LongType(),
    "int": IntegerType(),
    "money": DecimalType(15, 2),
    "date": DateType(),
    "text": StringType(),
}


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """``rows``: at scale factor 1; ``scales``: False where the count is the same at every factor."""

    comment: str
    columns: str
    keys: tuple[str, ...]
    rows: int
    scales: bool = True
    partition: Mapping[str, str] | None = None
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
        partition={"o_orderdate": "year"},
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
        partition={"l_shipdate": "year"},
        sort=("l_shipdate", "l_orderkey", "l_linenumber"),
    ),
}


def retail_tables(options: SeedOptions, lineitem_rows: Mapping[str, int]) -> tuple[SeedTable, ...]:
    """The tables at a scale factor. ``lineitem_rows`` declares lineitem's count by scale factor: it is
    the one table whose count does not follow from the factor."""
    return tuple(
        _table(name, layout, options.scale_factor, lineitem_rows) for name, layout in _LAYOUTS.items()
    )


def _table(name: str, layout: _Layout, scale_factor: float, lineitem_rows: Mapping[str, int]) -> SeedTable:
    columns = dict(item.split(":") for item in layout.columns.split())
    sort = layout.sort or layout.keys
    rows: int | None = layout.rows
    if name == "lineitem":
        rows = lineitem_rows.get(f"{scale_factor:g}")
    elif layout.scales:
        rows = _scaled(layout.rows, scale_factor)
    parts = max(1, math.ceil(layout.rows * scale_factor / ROWS_PER_PART)) if layout.scales else 1

    def chunks() -> Iterator[pa.Table]:
        return generated(name, scale_factor, parts, sort)

    return SeedTable(
        name=f"retail.{name}",
        comment=layout.comment,
        revision=1,
        columns={column: _KINDS[kind] for column, kind in columns.items()},
        keys=layout.keys,
        partition=layout.partition or {},
        sort=sort,
        source={"scale_factor": f"{scale_factor:g}"} if layout.scales else {},
        batches=lambda: (Batch(rows=rows, chunks=chunks),),
    )


def _scaled(rows: int, scale_factor: float) -> int | None:
    """The count at a factor, None where it is not whole (the generator rounds then)."""
    count = rows * scale_factor
    return round(count) if math.isclose(count, round(count), rel_tol=1e-9) else None


def generated(table: str, scale_factor: float, parts: int, sort: tuple[str, ...]) -> Iterator[pa.Table]:
    """Generates a table part by part; at no time is more than one part on disk or in memory.

    Raises:
        LabError: the generator is missing or fails; its message is shown.
    """
    with tempfile.TemporaryDirectory(prefix="lab-tpch-") as folder:
        for part in range(1, parts + 1):
            _generate(Path(folder), table, scale_factor, parts, part)
            for path in sorted(Path(folder).rglob("*.parquet")):
                rows = pq.read_table(path)
                path.unlink()
                yield rows.cast(_without_views(rows.schema)).sort_by([(name, "ascending") for name in sort])


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Arrow can't sort tables with string views, which the generator's files declare."""
    return pa.schema(
        [item.with_type(pa.string()) if item.type == pa.string_view() else item for item in schema]
    )


def _generate(folder: Path, table: str, scale_factor: float, parts: int, part: int) -> None:
    command = [_generator(), "parquet", "--scale-factor", f"{scale_factor:g}", "--tables", table]
    command += ["--output-dir", str(folder), "--quiet", "--overwrite"]
    if parts > 1:
        command += ["--parts", str(parts), "--part", str(part)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(
            f"{GENERATOR} failed with status {done.returncode}: {done.stderr.strip()[-400:]}",
            value=f"{table} at scale factor {scale_factor:g}",
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
