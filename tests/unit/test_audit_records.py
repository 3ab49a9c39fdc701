"""What is kept of reports, and which decisions belong to which query."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.errors import UsageError
from governance.audit.joining import Decision, Query, join, missing_indexes, notes
from governance.audit.records import STATEMENT_CHARS, decision_records, encode, query_record
from tests.unit.audit_samples import START, at, completed, created, decision, query_id, table


def test_of_a_query_its_reads_and_rules_are_kept_but_no_plan_and_no_mask() -> None:
    event = completed(
        1, table("retail.customer", "c_name", "c_phone", masked=("c_phone",), filters=1), rows=3
    )
    record = query_record(event, "lake")
    assert record["tables"] == [
        {
            "name": "retail.customer",
            "columns": ["c_name", "c_phone"],
            "masked": ["c_phone"],
            "filters": 1,
            "as_user": "ann",
            "direct": True,
        }
    ]
    assert (record["rows"], record["read_rows"], record["error"]) == (3, 1500, None)
    assert "the key" not in encode(record).decode()


def test_names_of_other_catalogs_are_whole() -> None:
    other = {**table("runtime.queries", "query"), "catalog": "system"}
    assert query_record(completed(1, other), "lake")["tables"][0]["name"] == "system.runtime.queries"


def test_what_postgresql_can_not_hold_is_replaced_and_long_statements_are_cut() -> None:
    record = query_record(created(sql="SELECT '\0\ud800'" + "x" * STATEMENT_CHARS), "lake")
    assert "\0" not in record["statement"]
    assert record["statement"].startswith("SELECT '\ufffd?'")
    assert (len(record["statement"]), record["cut"]) == (STATEMENT_CHARS, True)


def test_a_prepared_statement_is_kept_with_its_text() -> None:
    event = created(sql="EXECUTE one")
    event["metadata"]["preparedQuery"] = "SELECT ?"
    assert query_record(event, "lake")["statement"] == "EXECUTE one -- SELECT ?"


@pytest.mark.parametrize("event", [{}, [], {"metadata": {}}, {"metadata": None, "context": {}}, 7])
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(UsageError, match="no event of a query"):
        query_record(event, "lake")


def test_of_a_decision_user_object_answer_and_revision_are_kept() -> None:
    (record,) = decision_records([decision(1, allowed=False, revision=12)], "lake")
    assert (record["user"], record["operation"], record["object"]) == (
        "ann",
        "SelectFromColumns",
        "retail.customer",
    )
    assert (record["allowed"], record["revision"], record["server"]) == (False, 12, "opa-1")
    assert record["at"] == "2026-01-02T03:04:05.600000+00:00"


def test_the_table_of_masks_is_that_of_its_columns() -> None:
    event = decision(1, "GetColumnMask", None)
    column = {"catalogName": "lake", "schemaName": "retail", "tableName": "customer"}
    event["input"]["action"]["filterResources"] = [{"column": column}]
    event["result"] = {"masked": ["c_phone"]}
    (record,) = decision_records([event], "lake")
    assert (record["object"], record["allowed"], record["masked"]) == ("retail.customer", None, ["c_phone"])


@pytest.mark.parametrize(
    ("resource", "named"),
    [
        ({"catalog": {"name": "lake"}}, "lake"),
        ({"schema": {"catalogName": "lake", "schemaName": "raw"}}, "raw.*"),
        ({"function": {"functionName": "f", "catalogName": "system", "schemaName": "x"}}, "system.x.f"),
        ({"systemSessionProperty": {"name": "time_zone_id"}}, "time_zone_id"),
        ({"catalogSessionProperty": {"catalogName": "lake", "propertyName": "p"}}, "lake.p"),
        ({"user": {"user": "bob"}}, "bob"),
        ({}, ""),
    ],
)  # fmt: skip
def test_every_kind_of_object_has_a_name(resource: dict[str, Any], named: str) -> None:
    event = decision(1)
    event["input"]["action"]["resource"] = resource
    assert decision_records([event], "lake")[0]["object"] == named


@pytest.mark.parametrize(
    "odd", [{}, 7, {"decision_id": "x", "input": None}, {"decision_id": "x", "input": {}}]
)
def test_what_is_no_question_of_trino_s_is_a_gap_and_takes_nothing_along(odd: Any) -> None:
    records = decision_records([odd, decision(1)], "lake")
    assert [record["kind"] for record in records] == ["gap", "decision"]
    with pytest.raises(UsageError, match="no list of decisions"):
        decision_records({}, "lake")


def a_query(
    number: int, begun: float, ended: float | None, *tables: str, user: str = "ann", complete: bool = True
) -> Query:
    record = query_record(created(number, begun=begun, user=user), "lake")
    return Query(
        query_id=record["query_id"],
        user=user,
        begun_at=moment(begun),
        ended_at=None if ended is None else moment(ended),
        reads=frozenset((name, user) for name in tables),
        complete=complete and ended is not None,
    )


def moment(seconds: float) -> Any:
    from datetime import timedelta

    return START + timedelta(seconds=seconds)


def a_decision(
    number: int, when: float, operation: str = "SelectFromColumns", obj: str = "retail.customer", **given: Any
) -> Decision:
    values: dict[str, Any] = {"user": "ann", "query_id": None, "allowed": True, "revision": 1, **given}
    return Decision(id=f"d-{number}", at=moment(when), operation=operation, object=obj, **values)


def joined(queries: list[Query], *decisions: Decision) -> dict[int, list[tuple[str, tuple[int, ...]]]]:
    """Query number → ids of its decisions with the numbers of other queries that they fit."""
    numbers = {query_id(n): n for n in range(10)}
    return {
        numbers[name]: [(one.id, tuple(numbers[other] for other in others)) for one, others in found]
        for name, found in join(queries, decisions).items()
    }


def test_one_query_after_another_each_has_its_own() -> None:
    queries = [a_query(1, 0.5, 1.0, "retail.customer"), a_query(2, 1.5, 2.0, "retail.customer")]
    assert joined(
        queries, a_decision(1, 0.6), a_decision(2, 1.6), a_decision(3, 5.0), a_decision(4, 0.1)
    ) == {
        1: [("d-1", ())],
        2: [("d-2", ())],
    }


def test_what_fits_two_queries_is_under_both_and_says_so() -> None:
    queries = [a_query(1, 0.5, 2.0, "retail.customer"), a_query(2, 0.6, 2.0, "retail.customer")]
    both = join(queries, [a_decision(1, 1.0)])
    assert joined(queries, a_decision(1, 1.0)) == {1: [("d-1", (2,))], 2: [("d-1", (1,))]}
    assert notes(queries[0], both[query_id(1)], settled=True) == (
        f"1 of its decisions fit {query_id(2)} as well",
    )


def test_side_by_side_the_table_tells_them_apart() -> None:
    queries = [a_query(1, 0.5, 2.0, "retail.customer"), a_query(2, 0.6, 2.0, "retail.orders")]
    assert joined(queries, a_decision(1, 1.0), a_decision(2, 1.0, obj="retail.orders")) == {
        1: [("d-1", ())],
        2: [("d-2", ())],
    }


def test_another_user_s_decision_is_never_taken() -> None:
    assert joined([a_query(1, 0.5, 2.0, "retail.customer")], a_decision(1, 1.0, user="bob")) == {1: []}


def test_a_view_s_owner_is_asked_about_what_the_view_reads() -> None:
    query = Query(
        query_id=query_id(1),
        user="ann",
        begun_at=moment(0.5),
        ended_at=moment(2),
        reads=frozenset({("raw.view", "ann"), ("retail.customer", "bob")}),
        complete=True,
    )
    mine = a_decision(1, 1.0, obj="raw.view")
    owners = a_decision(2, 1.0, user="bob")
    others = a_decision(3, 1.0, user="bob", obj="retail.orders")
    assert joined([query], mine, owners, others) == {1: [("d-1", ()), ("d-2", ())]}


def test_the_session_is_decided_on_before_the_query_begins() -> None:
    query = a_query(1, 0.5, 2.0)
    asked = a_decision(1, 0.3, "ExecuteQuery", "")
    assert joined([query], asked, a_decision(2, 0.3, "AccessCatalog", "lake")) == {1: [("d-1", ())]}
    too_early = a_decision(3, -0.1, "ExecuteQuery", "")
    assert joined([query], too_early) == {1: []}


def test_a_denied_query_has_the_denial_though_it_never_said_what_it_reads() -> None:
    query = a_query(1, 0.5, 0.8, complete=False)
    assert joined([query], a_decision(1, 0.7, allowed=False)) == {1: [("d-1", ())]}


def test_an_engine_that_names_its_query_is_believed() -> None:
    queries = [a_query(1, 0.5, 2.0, "retail.customer"), a_query(2, 0.6, 2.0, "retail.customer")]
    assert joined(queries, a_decision(1, 9.0, query_id=query_id(2))) == {1: [], 2: [("d-1", ())]}


def test_a_running_query_takes_what_comes() -> None:
    assert joined([a_query(1, 0.5, None)], a_decision(1, 900.0)) == {1: [("d-1", ())]}


def test_order_of_what_came_does_not_matter() -> None:
    queries = [a_query(n, 0.5 + n / 10, 2.0, "retail.customer") for n in range(5)]
    decisions = [a_decision(n, 0.6 + n / 7) for n in range(9)]
    assert join(queries, decisions) == join(queries[::-1], decisions[::-1])


def test_a_table_without_decision_is_noted_once_all_has_come() -> None:
    query = a_query(1, 0.5, 2.0, "retail.customer", "retail.orders")
    found = join([query], [a_decision(1, 1.0)])[query_id(1)]
    assert notes(query, found, settled=True) == ("no decision on retail.orders is recorded",)
    assert notes(query, found, settled=False) == ()


def test_runs_of_missing_numbers() -> None:
    assert missing_indexes([0, 1, 4, 7], 0, 7) == [(2, 3), (5, 6)]
    assert missing_indexes([3], 3, 3) == []


def test_samples_are_json() -> None:
    assert json.loads(json.dumps(completed(1))) == completed(1)
    assert at(0.5) == "2026-01-02T03:04:05.500000Z"
