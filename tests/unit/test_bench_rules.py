"""The benchmark of rules compares like with like: views take the place of tables, aliases stay."""

from __future__ import annotations

from bench.governed import tpch_queries
from bench.rules import NAMESPACE, written_by_hand

VIEW = "SELECT n_nationkey, n_regionkey FROM lake.retail.nation WHERE (n_regionkey IN (0, 3))"


def test_a_view_takes_the_place_of_its_table_wherever_it_is_named() -> None:
    statement = (
        "SELECT a.n_nationkey FROM retail.nation a WHERE EXISTS "
        "(SELECT 1 FROM retail.nation WHERE nation.n_regionkey = a.n_regionkey)"
    )
    written = written_by_hand(statement, {"nation": VIEW})
    assert written.count("WHERE (n_regionkey IN (0, 3))") == 2
    assert ") AS a" in written
    assert ") AS nation" in written


def test_every_query_of_tpch_can_be_written_by_hand() -> None:
    tables = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]
    views = {table: f"TABLE lake.retail.{table}" for table in tables}
    queries = tpch_queries()
    assert len(queries) == 22
    for statement in queries.values():
        written = written_by_hand(statement, views)
        assert written.count("FROM lake.retail.") == statement.count(f"{NAMESPACE}.")
