"""What SQL is run at all, what a plan costs, and what a result tells by itself."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import pytest

from agent.checks import MAX_CHARS, SqlRefusedError, check_sql, columns_told
from agent.engine import Estimate, plain, read_estimate
from agent.nodes import MAX_WIDEST_ROWS, over_limit
from agent.results import Shape, chart_of, described, implausible, rule_notes, shown, ungrounded
from agent.values import ChartKind, RuleNote

NESTED = f"SELECT {'(' * 3000}1{')' * 3000}"


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", ()),
        ("select count(*) from retail.orders;", ("retail.orders",)),
        ("WITH a AS (SELECT * FROM retail.nation) SELECT * FROM a", ("retail.nation",)),
        ("(SELECT 1) UNION ALL (SELECT n_nationkey FROM lake.retail.nation)", ("retail.nation",)),
        ("VALUES (1), (2)", ()),
        ("TABLE retail.region", ("retail.region",)),
        ('SELECT * FROM lake.retail."orders$snapshots"', ("retail.orders$snapshots",)),
        ("SELECT * FROM retail.orders FOR VERSION AS OF 1", ("retail.orders",)),
        ("SELECT x FROM unnest(ARRAY[1]) AS t(x)", ()),
        ("SELECT (SELECT max(salary) FROM hr.employees)", ("hr.employees",)),
        ("SELECT * FROM retail.orders o CROSS JOIN LATERAL (SELECT o.o_orderkey) t", ("retail.orders",)),
        ("SELECT table_name FROM information_schema.tables", ("information_schema.tables",)),
        ("-- a comment\nSELECT 'DROP TABLE x' AS text", ()),
    ],
)
def test_queries_that_read_are_run(sql: str, tables: tuple[str, ...]) -> None:
    assert check_sql(sql, catalog="lake").tables == tables


def test_tables_named_alone_are_of_the_given_namespace() -> None:
    sql = "WITH a AS (SELECT * FROM nation) SELECT * FROM a JOIN web.events ON true"
    assert set(check_sql(sql, catalog="lake", namespace="retail").tables) == {"retail.nation", "web.events"}


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "not sql at all",
        "SELECT 1; DROP TABLE retail.orders",
        "SELECT 1; SELECT 2",
        "INSERT INTO retail.orders SELECT * FROM retail.orders",
        "UPDATE retail.orders SET o_clerk = ''",
        "DELETE FROM retail.orders",
        "MERGE INTO a.b USING a.c ON true WHEN MATCHED THEN DELETE",
        "CREATE TABLE raw.x AS SELECT 1 AS a",
        "CREATE VIEW raw.v AS SELECT 1 AS a",
        "DROP TABLE retail.orders",
        "ALTER TABLE retail.orders ADD COLUMN x int",
        "TRUNCATE TABLE retail.orders",
        "GRANT SELECT ON retail.orders TO public",
        "CALL lake.system.expire_snapshots('retail', 'orders')",
        "SET SESSION AUTHORIZATION admin",
        "USE lake.retail",
        "EXECUTE IMMEDIATE 'DROP TABLE retail.orders'",
        "PREPARE p FROM DROP TABLE retail.orders",
        "EXPLAIN ANALYZE DELETE FROM retail.orders",
        "SHOW TABLES",
        "DESCRIBE retail.orders",
        "ANALYZE retail.orders",
        "SELECT * INTO raw.x FROM retail.orders",
        "WITH x AS (DELETE FROM retail.orders) SELECT 1",
        "SELECT * FROM retail.orders FOR UPDATE",
        "SELECT * FROM TABLE(lake.system.table_changes('retail', 'orders', 1, 2))",
        "SELECT * FROM TABLE(sequence(1, 2))",
        "SELECT * FROM system.runtime.queries",
        "SELECT * FROM other.retail.orders",
        "SELECT * FROM orders",
        "/* SELECT */ DROP TABLE retail.orders",
        NESTED,
        f"SELECT '{'x' * MAX_CHARS}'",
        " UNION ".join(f"TABLE a.t{number}" for number in range(31)),
    ],
)
def test_whatever_is_no_single_reading_query_of_the_lake_is_not_run(sql: str) -> None:
    with pytest.raises(SqlRefusedError):
        check_sql(sql, catalog="lake")


def test_columns_that_only_join_tell_nothing() -> None:
    sql = "SELECT a.x, sum(b.y) FROM s.a a JOIN s.b b ON a.k = b.k WHERE b.z > 1 GROUP BY 1"
    assert columns_told(sql) == {"x", "y", "z"}


# --- cost ------------------------------------------------------------------------------------------------


def node(name: str, rows: Any, size: Any, *children: Any, table: str = "") -> dict[str, Any]:
    return {
        "name": name,
        "descriptor": {"table": table} if table else {},
        "estimates": [{"outputRowCount": rows, "outputSizeInBytes": size}],
        "children": list(children),
    }


def test_a_plan_costs_what_its_scans_read_and_its_widest_step_makes() -> None:
    scan = node("TableScan", 10.0, 1000.0, table="lake:retail.orders")
    other = node("ScanFilter", 20.0, 2000.0, table="lake:retail.lineitem")
    unknown = node("ScanProject", "NaN", "NaN", table="lake:raw.x")
    plan = {"0": node("Output", 1.0, 9.0, node("CrossJoin", 200.0, "NaN", scan)), "1": other, "2": unknown}
    assert read_estimate(json.dumps(plan)) == Estimate(scanned_bytes=3000, widest_rows=200)


@pytest.mark.parametrize("text", ["", "[]", "{}", "no plan"])
def test_a_plan_that_is_not_understood_costs_nothing(text: str) -> None:
    assert read_estimate(text) == Estimate(scanned_bytes=0, widest_rows=0)


@pytest.mark.parametrize(
    ("estimate", "why"),
    [
        (Estimate(scanned_bytes=10 << 20, widest_rows=5), None),
        (Estimate(scanned_bytes=11 << 20, widest_rows=5), "11 MiB"),
        (Estimate(scanned_bytes=1, widest_rows=MAX_WIDEST_ROWS + 1), "join without a condition"),
    ],
)
def test_what_costs_too_much_is_not_run(estimate: Estimate, why: str | None) -> None:
    found = over_limit(estimate, 10)
    assert found is None if why is None else found is not None and why in found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (decimal.Decimal("12.50"), 12.5),
        (decimal.Decimal("3"), 3),
        (decimal.Decimal("12345678901234567.89"), "12345678901234567.89"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (float("nan"), "nan"),
        (b"\x01\xff", "01ff"),
        ([decimal.Decimal("1.5"), None], [1.5, None]),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        (True, True),
    ],
)
def test_values_are_json(value: Any, expected: Any) -> None:
    assert plain(value) == expected
    json.dumps(plain(value))


# --- what a result tells ---------------------------------------------------------------------------------


def shape(columns: str, types: str, *rows: Any, **more: Any) -> Shape:
    return Shape(columns=tuple(columns.split()), types=tuple(types.split()), rows=tuple(rows), **more)


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (shape("n", "bigint", (5,)), ChartKind.BIG_NUMBER),
        (shape("region n", "varchar bigint", ("A", 5), ("B", 6)), ChartKind.BAR),
        (shape("region n", "varchar bigint", ("A", 5)), ChartKind.BIG_NUMBER),
        (shape("month n", "date bigint", ("2026-01-01", 5), ("2026-02-01", 6)), ChartKind.LINE),
        (
            shape("month region n", "date varchar bigint", ("2026-01-01", "A", 5), ("2026-01-01", "B", 6)),
            ChartKind.LINE,
        ),
        (shape("x y", "double double", (1.0, 2.0), (2.0, 3.0)), ChartKind.SCATTER),
        (shape("name", "varchar", ("A",), ("B",)), ChartKind.TABLE),
        (shape("name n", "varchar bigint", *((str(i), i) for i in range(60))), ChartKind.TABLE),
        (
            shape("a b c n", "varchar varchar varchar bigint", ("A", "B", "C", 1), ("A", "B", "D", 2)),
            ChartKind.TABLE,
        ),
        (shape("n", "bigint"), ChartKind.TABLE),
    ],
)
def test_charts_suit_results(found: Shape, kind: ChartKind) -> None:
    assert chart_of(found, "title").kind is kind


def test_a_line_has_its_series() -> None:
    found = shape("month region n", "date varchar bigint", ("2026-01-01", "A", 5), ("2026-01-01", "B", 6))
    chart = chart_of(found, "n by month")
    assert (chart.x, chart.y, chart.series) == ("month", ("n",), "region")


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (shape("n", "bigint"), "No row matches"),
        (shape("d s", "varchar decimal(12,2)", ("A", None), ("B", None)), "Every value of 's' is empty"),
        (shape("d n", "varchar bigint", (None, 1), ("B", 2)), "1 row has no 'd'"),
        (
            shape("d n share", "varchar bigint double", ("A", 1, 0.5), ("B", 1, 0.4), shares=("share",)),
            "90.0%",
        ),
        (shape("n", "varchar", ("a",), truncated=True), "more rows than the first 1"),
    ],
)
def test_odd_results_are_noted(found: Shape, note: str) -> None:
    assert any(note in one for one in implausible(found)), implausible(found)


def test_a_plausible_result_has_no_note() -> None:
    assert implausible(shape("d n", "varchar bigint", ("A", 1), ("B", 2))) == []


def test_rules_are_told_together() -> None:
    notes = rule_notes(
        [
            RuleNote(table="a.b", filters=("r1",), masked=(), hidden=0),
            RuleNote(table="a.c", filters=("r2", "r1"), masked=("x", "y"), hidden=1),
        ]
    )
    assert notes == [
        "Of a.b and a.c these are the rows that you may see (rules r1 and r2).",
        "Masked for you in a.c: x and y.",
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234567, None, "1,234,567"),
        (1234.5, "money", "1,234.50"),
        (0.256, "ratio", "25.6%"),
        (None, "money", "none"),
        ("12345678901234567.89", "money", "12,345,678,901,234,568.00"),
        ("1-URGENT", None, "1-URGENT"),
        ("2026", None, "2026"),
        (0.00012, None, "0.00012"),
        (1500.4, "milliseconds", "1,500 ms"),
    ],
)
def test_values_in_a_sentence(value: Any, unit: str | None, text: str) -> None:
    assert shown(value, unit) == text


def test_a_result_in_words() -> None:
    found = shape(
        "year n", "date bigint", *((f"{year}-01-01", year) for year in range(1992, 1999)), grain="year"
    )
    text = described(found, "number of orders by year")
    assert text.startswith("Number of orders by year (7 rows): 1992 1,992; ")
    assert text.endswith("; and 2 more.")
    assert described(shape("n", "bigint"), "x") == "X: nothing matches."
    assert described(shape("a b", "bigint bigint", (1, 2)), "x") == "X: a 1, b 2."


@pytest.mark.parametrize(
    ("text", "invented"),
    [
        ("There are 1,234 customers.", []),
        ("About 1.2 thousand of 1234.", []),
        ("That is 45.7% of all.", []),
        ("In 1995 it was 0.457.", []),
        ("The top 3 are these.", []),
        ("There are 9,999 customers.", ["9,999"]),
        ("That is 12% more than the 1234 before.", ["12%"]),
        ("-1234 is not what stands there.", ["-1234"]),
    ],
)
def test_numbers_that_stand_nowhere_are_found(text: str, invented: list[str]) -> None:
    found = shape("n share", "bigint double", (1234, 0.457))
    assert ungrounded(text, found, ["how many in 1995?"]) == invented
