"""Questions read against the semantic layer: what they mean, what is asked back, what is named as unknown."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.semantic.layer import SemanticLayer, built_in_models, layer_of, read_model
from agent.semantic.model import Aggregate, parse_model
from agent.semantic.plan import (
    Ambiguity,
    Comparison,
    Decline,
    Grain,
    NeedsValues,
    Order,
    Outcome,
    Plan,
    plan_from_json,
    plan_to_json,
)
from agent.semantic.reading import Asked, read_question
from agent.semantic.sql import statement_of
from agent.semantic.times import read_times
from agent.semantic.words import TokenKind, plural, stem, tokens
from agent.semantic_planner import chosen_option, reading_of
from contracts.errors import UsageError

LAYER = layer_of()
TODAY = dt.date(2026, 11, 28)


def read(text: str, **more: Any) -> Outcome:
    return read_question(LAYER, Asked(text=text, today=TODAY, **more))


def plan(text: str, **more: Any) -> Plan:
    found = read(text, **more)
    assert isinstance(found, Plan), found
    return found


def sql(text: str, **more: Any) -> str:
    return " ".join(statement_of(LAYER, plan(text, **more), catalog="lake").sql.split())


def declined(text: str, **more: Any) -> str:
    found = read(text, **more)
    assert isinstance(found, Decline), found
    return found.why


# --- words -----------------------------------------------------------------------------------------------


def test_tokens_are_words_numbers_dates_quotes_and_marks() -> None:
    found = tokens("What's the customers' \"Brand#23\" over 1,500.5k since 1995-03 >= 5%")
    assert [(one.text, one.kind) for one in found][2:] == [
        ("customers", TokenKind.WORD),
        ("Brand#23", TokenKind.QUOTED),
        ("over", TokenKind.WORD),
        ("1,500.5k", TokenKind.NUMBER),
        ("since", TokenKind.WORD),
        ("1995-03", TokenKind.DATE),
        (">=", TokenKind.MARK),
        ("5%", TokenKind.NUMBER),
    ]
    assert tokens("1,500.5k")[0].number == 1_500_500
    assert tokens("word")[0].number is None


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [
        ("Orders", "order"),
        ("countries", "country"),
        ("status", "status"),
        ("business", "business"),
        ("is", "is"),
    ],
)
def test_plurals_and_case_do_not_matter(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


@pytest.mark.parametrize(("noun", "several"), [("order", "orders"), ("supply", "supplies"), ("box", "boxes")])
def test_regular_plurals(noun: str, several: str) -> None:
    assert plural(noun) == several


# --- times -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("in 1995", "1995-01-01", "1996-01-01"),
        ("in march 1996", "1996-03-01", "1996-04-01"),
        ("since 1995", "1995-01-01", None),
        ("after 1995", "1996-01-01", None),
        ("before 1995", None, "1995-01-01"),
        ("until 1995", None, "1996-01-01"),
        ("from 1994 to 1996", "1994-01-01", "1997-01-01"),
        ("between march 1994 and june 1995", "1994-03-01", "1995-07-01"),
        ("q1 1996", "1996-01-01", "1996-04-01"),
        ("second quarter of 1996", "1996-04-01", "1996-07-01"),
        ("on 1995-03-04", "1995-03-04", "1995-03-05"),
        ("in 1995-03", "1995-03-01", "1995-04-01"),
        ("this year", "2026-01-01", "2027-01-01"),
        ("last year", "2025-01-01", "2026-01-01"),
        ("last month", "2026-10-01", "2026-11-01"),
        ("last 3 months", "2026-08-28", "2026-11-29"),
        ("yesterday", "2026-11-27", "2026-11-28"),
        ("in may", "2026-05-01", "2026-06-01"),
    ],
)
def test_stretches_of_time(text: str, start: str | None, end: str | None) -> None:
    found = read_times(tokens(f"revenue {text}"), frozenset(), TODAY)
    (stretch,) = found.stretches
    assert (stretch.start and stretch.start.isoformat(), stretch.end and stretch.end.isoformat()) == (
        start,
        end,
    )


@pytest.mark.parametrize(
    "text", ["above 1995", "more than 2000", "top 1999", "may revenue", "1995.5", "in 1995-13"]
)
def test_what_is_no_stretch_of_time(text: str) -> None:
    assert read_times(tokens(text), frozenset(), TODAY).stretches == ()


@pytest.mark.parametrize(
    ("text", "grain"),
    [
        ("by month", Grain.MONTH),
        ("per years", Grain.YEAR),
        ("weekly", Grain.WEEK),
        ("over time", Grain.MONTH),
    ],
)
def test_grains(text: str, grain: Grain) -> None:
    assert read_times(tokens(f"revenue {text}"), frozenset(), TODAY).grain is grain


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_to_an_end(text: str) -> None:
    assert isinstance(read(text), Plan | Ambiguity | NeedsValues | Decline)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *" ".join(" ".join(key) for key in LAYER.phrases).split(),
                "by",
                "in",
                "top",
                "5",
                "1995",
                "not",
                "most",
                "over",
            ]
        ),
        max_size=8,
    )
)
def test_any_mix_of_known_words_gives_sql_that_parses_or_none(words: list[str]) -> None:
    found = read(" ".join(words))
    if isinstance(found, Plan):
        assert plan_from_json(plan_to_json(found)) == found
        assert statement_of(LAYER, found, catalog="lake").sql.startswith("SELECT")
        assert reading_of(LAYER, found)


# --- what is asked back ----------------------------------------------------------------------------------


def test_a_word_with_two_meanings_is_asked_back_and_the_choice_is_kept() -> None:
    asked = read("revenue by region")
    assert isinstance(asked, Ambiguity)
    assert [option.label for option in asked.options] == ["customer region", "supplier region"]
    chosen = plan("revenue by region", choices={asked.key: asked.options[1].id})
    assert chosen.dimensions[0].table == "retail.supplier_region"


def test_a_value_with_two_columns_is_asked_back_unless_a_thing_beside_it_tells() -> None:
    assert isinstance(read("revenue in France"), Ambiguity)
    assert plan("revenue of French customers").conditions[0].table == "retail.customer_nation"
    assert plan("revenue of French suppliers").conditions[0].table == "retail.supplier_nation"
    assert (
        plan("revenue from customers in France by supplier nation").conditions[0].table
        == "retail.customer_nation"
    )


def test_two_measures_of_one_name_are_asked_back_unless_what_is_beside_tells() -> None:
    assert isinstance(read("sales by year"), Ambiguity)
    assert plan("sales by supplier nation").base == "retail.line"


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("1", "a.x"),
        ("customer region", "a.x"),
        ("the Supplier region", "b.y"),
        ("supplier", "b.y"),
        ("b.y", "b.y"),
    ],
)
def test_answers_name_an_option(text: str, option: str) -> None:
    options = [{"id": "a.x", "label": "customer region"}, {"id": "b.y", "label": "supplier region"}]
    assert chosen_option(options, text) == option


@pytest.mark.parametrize("text", ["region", "3", "", "something else", "the"])
def test_answers_that_name_none_or_both_name_nothing(text: str) -> None:
    options = [{"id": "a.x", "label": "customer region"}, {"id": "b.y", "label": "supplier region"}]
    assert chosen_option(options, text) is None


# --- nothing is left out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no question"),
        ("drop table orders", "I only read"),
        ("please delete customers in Germany", "I only read"),
        ("why did revenue fall", "no language model"),
        ("total discount", "not the total"),
        ("average revenue", "there is no average of it"),
        ("top 5 orders", "by which number"),
        ("best customers", "nothing to rank"),
        ("share of revenue", "say by what"),
        ("last revenue", "no first or last"),
        ("revenue by job title", "beside all else"),
        ("customers have orders", "can't relate"),
        ("latest customers", "no date"),
        ("suppliers in 1995", "no date"),
        ("revenue in 1994 and in 1997", "lie apart"),
        ("orders over 5", "name a column"),
        ("list supplies", "not list them"),
        ("what can you do", "what is to be counted"),
    ],
)
def test_what_it_can_not_do_it_says(text: str, why: str) -> None:
    assert why in declined(text)


def test_a_word_that_nothing_explains_is_named_with_what_is_near() -> None:
    found = read("revnue by ship mode")
    assert isinstance(found, Decline)
    assert "'revnue'" in found.why
    assert "revenue?" in found.hints


def test_an_unknown_word_is_looked_up_among_values_before_it_is_refused() -> None:
    found = read("headcount of gardeners")
    assert isinstance(found, NeedsValues)
    assert ("hr.employee", "job_title") in found.dimensions
    values = dict.fromkeys(found.dimensions, ())
    assert "'gardeners'" in declined("headcount of gardeners", values=values)
    known = plan("headcount of gardeners", values={**values, ("hr.employee", "job_title"): ("Gardener",)})
    assert known.conditions[0].values == ("Gardener",)


def test_a_word_before_a_column_is_looked_up_as_its_value() -> None:
    found = read("how many employees are in the People department?")
    assert isinstance(found, NeedsValues)
    values = {("hr.department", "department"): ("People", "Audit")}
    assert plan("how many employees are in the People department?", values=values).conditions[0].values == (
        "People",
    )


def test_in_is_no_country_and_us_is_one_in_capitals() -> None:
    assert plan("purchases in EMEA").conditions[0].values == ("EMEA",)
    assert plan("purchases in US").conditions[0].values == ("US",)


# --- plans -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("lowest salary by department", "MIN(employee.salary)"),
        ("who has the highest salary", "ORDER BY highest_salary DESC, employee_name ASC LIMIT 1"),
        ("highest revenue by customer region", "ORDER BY revenue DESC, customer_region ASC"),
        ("median salary", "APPROX_PERCENTILE(employee.salary, 0.5)"),
        ("employees with salary above 100k", "employee.salary > 100000"),
        ("orders with total price at least 5", '"order".o_totalprice >= 5'),
        ("order number 7", '"order".o_orderkey = 7'),
        ('list parts with brand "Brand#23"', "part.p_brand = 'Brand#23'"),
        ("which job titles exist?", "SELECT DISTINCT employee.title"),
        ("latest 5 orders", "ORDER BY order_date DESC"),
        ("who was hired last", "ORDER BY hire_date DESC, employee_name ASC, job_title ASC LIMIT 1"),
        ("revenue by ship mode not TRUCK", "NOT COALESCE(line.l_shipmode = 'TRUCK', FALSE)"),
        ("share of employees by department", "OVER ()"),
        ("web events in march 2026", "CAST('2026-03-01 00:00:00 UTC' AS TIMESTAMP WITH TIME ZONE)"),
        ("lines shipped in 1995 by ship mode", "line.l_shipdate >= CAST('1995-01-01' AS DATE)"),
        ("5 largest orders by order value", "LIMIT 5"),
        ("customers in Germany", "customer_nation.n_name = 'GERMANY'"),
    ],
)
def test_sql_has_what_was_asked(text: str, part: str) -> None:
    assert part in sql(text, values={})


def test_values_become_literals_whatever_they_hold() -> None:
    text = 'list employees with job title "x\' OR 1=1 --"'
    assert "employee.title = 'x'' OR 1=1 --'" in sql(text)


def test_a_question_goes_on_from_the_one_before() -> None:
    first = plan("revenue by year")
    second = plan("and by month?", previous=first)
    assert second.dimensions[0].grain is Grain.MONTH
    third = plan("only for 1996", previous=second)
    assert third.dimensions == second.dimensions
    assert third.conditions[0].comparison is Comparison.RANGE
    fourth = plan("also by ship mode", previous=third)
    assert [one.name for one in fourth.dimensions] == ["order_date", "ship_mode"]
    fifth = plan("and in 1997?", previous=fourth)
    assert [one.values for one in fifth.conditions] == [("1997-01-01", "1998-01-01")]


def test_a_whole_question_is_not_mixed_with_the_one_before() -> None:
    assert plan("number of customers", previous=plan("revenue in 1996")).conditions == ()


def test_a_reading_says_how_it_was_understood() -> None:
    text = "top 3 nations by number of suppliers"
    assert reading_of(LAYER, plan(text)) == "number of suppliers by supplier nation, the highest 3"
    found = plan("average salary of analysts since 2020", values={("hr.employee", "job_title"): ("Analyst",)})
    assert reading_of(LAYER, found) == "average salary, job title is Analyst, hire date from 2020-01-01 on"


def test_the_most_of_something_is_ranked() -> None:
    found = plan("which region has the most customers")
    assert (found.order, found.limit) == (Order.DESCENDING, 1)


def test_a_measure_of_another_table_counts_when_both_are_asked_for() -> None:
    found = plan("revenue and number of orders by year")
    assert [(use.name, use.aggregate) for use in found.measures] == [
        ("revenue", None),
        ("shipped_orders", None),
    ]
    assert plan("average salary and headcount by department").measures[0].aggregate is Aggregate.AVG


# --- models ----------------------------------------------------------------------------------------------

TARGETS = """
model: sales
description: Targets
tables:
  target:
    table: raw.targets
    time: month
    joins: [{to: retail.nation, columns: {nation: n_nationkey}}]
    dimensions:
      month: {column: month, type: date}
      team: {column: team, values: {north: [northern]}}
    measures:
      goal: {column: amount, aggregate: sum, unit: money, synonyms: [target amount]}
"""


def test_a_registered_model_joins_the_sample_tables() -> None:
    layer = layer_of([read_model(TARGETS, where="targets.yaml")])
    asked = Asked(text="goal of northern teams by region", today=TODAY)
    # What "team" is called elsewhere is looked up first.
    needed = read_question(layer, asked)
    assert isinstance(needed, NeedsValues)
    found = read_question(layer, dataclasses.replace(asked, values=dict.fromkeys(needed.dimensions, ())))
    assert isinstance(found, Plan)
    statement = statement_of(layer, found, catalog="lake")
    assert statement.reads["raw.targets"] == {"amount", "team", "nation"}
    assert "retail.region" in statement.reads


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("table: raw.targets", "table: targets"), "is not a table"),
        (("aggregate: sum", "aggregate: total"), "no value of"),
        (("column: amount, aggregate: sum", "sql: amount"), "not what belongs there"),
        (("column: amount, aggregate: sum", 'sql: "sum(amount) FROM x"'), "more than its own"),
        (("column: amount, aggregate: sum", 'sql: "sum((SELECT 1))"'), "more than its own"),
        (("column: amount, aggregate: sum", 'sql: "sum(hr.salary)"'), "names a table"),
        (("column: amount, aggregate: sum", 'sql: "sum(amount"'), "no expression"),
        (("column: amount, aggregate: sum", 'sql: "sum(a), sum(b)"'), "not one expression"),
        (("type: date", "type: dates"), "no value of"),
        (("time: month", "time: team"), "is no date"),
        (("time: month", "time: year"), "is no dimension"),
        (("to: retail.nation", "to: retail.nations"), "no table that"),
        (("columns: {nation: n_nationkey}", "on: {nation: n_nationkey}"), "no key of"),
        (("model: sales", "model: Sales!"), "this is no name"),
        (("values: {north: [northern]}", "values: {NO: [norway]}"), "is no text"),
        (("description: Targets", "descripton: Targets"), "did you mean 'description'"),
        (("tables:", "tables: ["), "no YAML"),
    ],
)
def test_a_model_that_is_wrong_is_refused_with_its_place(change: tuple[str, str], why: str) -> None:
    assert change[0] in TARGETS
    with pytest.raises(UsageError, match=why):
        layer_of([read_model(TARGETS.replace(*change), where="targets.yaml")])


def test_two_ways_to_one_table_and_two_models_of_one_name_are_refused() -> None:
    twice = TARGETS.replace(
        "joins: [{",
        "joins: [{to: retail.customer_nation, columns: {a: b}}, {to: retail.customer, columns: {a: b}}, {",
    )
    with pytest.raises(UsageError, match="in two ways"):
        layer_of([read_model(twice, where="x")])
    model = read_model(TARGETS, where="x")
    with pytest.raises(UsageError, match="one name"):
        SemanticLayer([*built_in_models(), model, model])


@pytest.mark.parametrize("document", [None, [], "text", {"model": "a"}, {"model": "a", "tables": []}])
def test_what_is_no_model_is_refused(document: Any) -> None:
    with pytest.raises(UsageError):
        parse_model(document)
