"""What a change means for readers: what is counted, and how it is summed up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import sqlglot

from contracts.access import AccessData, Grant, Mask, Privilege, Rule, RuleKind
from governance.counting import CountingError, TrinoCounter
from governance.effects import Effects, Reader
from governance.impact import Counter, count_statement, differences, measure
from governance.reports import TableImpact

NOW = datetime(2030, 1, 1, tzinfo=UTC)
READ = (Privilege.SELECT,)
TABLES = {"shop.orders": ("id", "mail"), "shop.part": ("id",)}
ADA = Reader(username="ada", groups=frozenset({"readers"}))
BEN = Reader(username="ben", groups=frozenset({"others"}))


def access(*rules: Rule, privileges: tuple[Privilege, ...] = READ) -> AccessData:
    held = (Grant(group="readers", object="shop.orders", privileges=privileges),) if privileges else ()
    return AccessData(grants=(*held, Grant(group="others", object="shop.*", privileges=READ)), rules=rules)


def rows(expression: str, **changed: Any) -> Rule:
    given: dict[str, Any] = {"id": "rows", "kind": RuleKind.ROW_FILTER, "object": "shop.orders"}
    return Rule(**{**given, "expression": expression, "exempt": ("others",), **changed})


def mask(kind: Mask | None) -> Rule:
    what = RuleKind.COLUMN_DENY if kind is None else RuleKind.COLUMN_MASK
    return Rule(id="m", kind=what, object="shop.orders.mail", mask=kind, exempt=("others",))


class FakeTrino:
    """Ten rows with ids 0 to 9; evaluates ``id < n``, ``true`` and ``false``."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def row(self, sql: str, namespace: str) -> Sequence[int]:
        self.asked.append(sql)
        tree = sqlglot.parse_one(sql, dialect="trino")
        inner = tree.find(sqlglot.exp.Subquery)
        assert inner is not None
        if "broken" in sql:
            raise CountingError("line 1:1: Column 'broken' cannot be resolved")
        passing: dict[str, set[int]] = {}
        for alias in inner.this.expressions:
            text = alias.this.this.sql(dialect="trino").strip("()").lower()
            known = {"true": 10, "false": 0}
            passing[alias.alias] = set(range(known[text] if text in known else int(text.rpartition("<")[2])))
        counts = [10]
        for projection in tree.expressions[1:]:
            names = [column.name for column in projection.find_all(sqlglot.exp.Column)]
            negated = {n.this.name for n in projection.find_all(sqlglot.exp.Not)}
            kept = set(range(10))
            for name in names:
                kept = kept - passing[name] if name in negated else kept & passing[name]
            counts.append(len(kept))
        return counts


def impacts(before: AccessData, after: AccessData, counter: Counter | None) -> list[TableImpact]:
    old = Effects(before, {}, catalog="lake", now=NOW)
    new = Effects(after, {}, catalog="lake", now=NOW)
    return measure(differences(old, new, [ADA, BEN], TABLES), counter, catalog="lake")


def test_rows_gained_and_lost_are_counted() -> None:
    trino = FakeTrino()
    (one,) = impacts(access(rows("id < 3")), access(rows("id < 7")), trino)
    assert (one.username, one.table) == ("ada", "shop.orders")
    assert one.rows is not None
    assert (one.rows.total, one.rows.before, one.rows.after) == (10, 3, 7)
    assert (one.rows.gained, one.rows.lost) == (4, 0)
    assert one.widens
    assert not one.narrows
    assert len(trino.asked) == 1
    (back,) = impacts(access(rows("id < 7")), access(rows("id < 3")), trino)
    assert (back.widens, back.narrows) == (False, True)


def test_a_grant_gives_all_rows_and_columns_of_who_had_none() -> None:
    (one,) = impacts(access(mask(None), privileges=()), access(mask(None)), FakeTrino())
    assert one.rows is not None
    assert (one.rows.before, one.rows.after, one.rows.gained) == (0, 10, 10)
    looks = [(c.column, c.before, c.after, c.gained) for c in one.columns]
    assert looks == [("id", "none", "plain", True), ("mail", "none", "denied", False)]


@pytest.mark.parametrize(
    ("before", "after", "gained"),
    [
        (None, Mask.NULL, True),
        (Mask.NULL, Mask.HASH, True),
        (Mask.HASH, Mask.LAST_4, True),
        (Mask.LAST_4, Mask.EMAIL_DOMAIN, True),
        (Mask.EMAIL_DOMAIN, Mask.NULL, False),
        (Mask.NULL, None, False),
    ],
)
def test_a_clearer_look_is_gained(before: Mask | None, after: Mask | None, gained: bool) -> None:
    (one,) = impacts(access(mask(before)), access(mask(after)), FakeTrino())
    assert [column.gained for column in one.columns] == [gained]
    assert (one.widens, one.narrows) == (gained, not gained)
    assert one.rows is not None
    assert one.rows.gained == one.rows.lost == 0


def test_privileges_count() -> None:
    more = access(privileges=(Privilege.SELECT, Privilege.DELETE))
    (one,) = impacts(access(), more, FakeTrino())
    assert (one.privileges_gained, one.privileges_lost, one.widens) == (("delete",), (), True)
    (back,) = impacts(more, access(), FakeTrino())
    assert (back.privileges_lost, back.widens, back.narrows) == (("delete",), False, True)


def test_nothing_differs_and_nothing_is_asked() -> None:
    trino = FakeTrino()
    assert impacts(access(rows("id < 3")), access(rows("id < 3", description="why")), trino) == []
    assert trino.asked == []


def test_a_filter_that_can_not_be_run_is_said_and_hides_no_other() -> None:
    both = AccessData(
        grants=(
            Grant(group="readers", object="shop.orders", privileges=READ),
            Grant(group="others", object="shop.orders", privileges=READ),
        ),
        rules=(rows("id < 3"), rows("id < 3", id="theirs", exempt=("readers",))),
    )
    broken = AccessData(
        grants=both.grants, rules=(rows("broken < 3"), rows("id < 2", id="theirs", exempt=("readers",)))
    )
    ada, ben = impacts(both, broken, FakeTrino())
    assert ada.rows is not None
    assert ada.rows.error is not None
    assert "cannot be resolved" in ada.rows.error
    assert ada.widens  # what can't be counted is not said to be harmless
    assert ben.rows is not None
    assert (ben.rows.after, ben.rows.lost) == (2, 1)


def test_without_trino_a_changed_filter_counts_as_wider() -> None:
    (one,) = impacts(access(rows("id < 3")), access(rows("id < 2")), None)
    assert one.rows is None
    assert one.widens
    (none,) = impacts(access(rows("id < 3")), access(privileges=()), None)
    assert not none.widens


def test_filters_that_read_with_the_readers_rights_are_approximate() -> None:
    subquery = "id IN (SELECT id FROM shop.part)"
    (own,) = impacts(access(), access(rows(subquery)), None)
    (lifted,) = impacts(access(), access(rows(subquery, as_filter_user=True)), None)
    assert (own.approximate, lifted.approximate) == (True, False)


def test_each_predicate_is_evaluated_once() -> None:
    sql = count_statement("shop.orders", [("a", "b"), ("a", "c")], catalog="lake")
    assert sql.count("coalesce(") == 3
    assert '"lake"."shop"."orders"' in sql
    assert sqlglot.parse_one(sql, dialect="trino")


# --- Trino's protocol ---------------------------------------------------------------------------------


def counter(*answers: tuple[int, Any]) -> tuple[TrinoCounter, list[httpx.Request]]:
    left = list(answers)
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        status, body = left.pop(0)
        return httpx.Response(status, json=body)

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://trino")
    return TrinoCounter(client, catalog="lake"), asked


def test_pages_are_followed_to_the_end() -> None:
    trino, asked = counter(
        (200, {"nextUri": "http://trino/v1/1"}),
        (503, {}),
        (200, {"nextUri": "http://trino/v1/2", "data": [[10, 3]]}),
        (200, {}),
    )
    assert trino.row("SELECT 1", "shop") == [10, 3]
    assert [str(request.url) for request in asked[1:]] == ["http://trino/v1/1"] * 2 + ["http://trino/v1/2"]
    assert (asked[0].headers["X-Trino-Catalog"], asked[0].headers["X-Trino-Schema"]) == ("lake", "shop")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (((200, {"error": {"message": "Access Denied: no"}}),), "Access Denied"),
        (((401, {}),), "401"),
        (((200, {}),), "0 rows"),
    ],
)
def test_refusals_have_trinos_words(answers: Any, said: str) -> None:
    trino, _ = counter(*answers)
    with pytest.raises(CountingError, match=said):
        trino.row("SELECT 1", "shop")


def test_a_count_that_takes_too_long_is_ended() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(200, json={"nextUri": "http://trino/v1/1"})

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://trino")
    with pytest.raises(CountingError, match="longer than"):
        TrinoCounter(client, catalog="lake", timeout_s=0.0).row("SELECT 1", "shop")
    assert asked[-1] == "DELETE"
