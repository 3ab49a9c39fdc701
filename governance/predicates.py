"""Row filter predicates: their placeholders, their grammar and the tables they read.

A predicate is Trino SQL with the placeholders of :class:`contracts.access.Rule`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

PLACEHOLDERS = ("catalog", "column", "user", "values")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
VALUES_STAND_IN = "stand in for values"
"""The literal that stands for ``{values}`` in a parsed predicate."""

_STAND_IN = {"user": "'stand in for a user'", "values": f"'{VALUES_STAND_IN}'"}


def quote_identifier(name: str) -> str:
    """A delimited SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(value: int | str) -> str:
    """A SQL literal: an integer as it is, a text between single quotes that are doubled within."""
    if isinstance(value, int):
        return str(int(value))
    return "'" + value.replace("'", "''") + "'"


def placeholders(expression: str) -> list[str]:
    """Names in braces, in order of appearance, known or not."""
    return _PLACEHOLDER.findall(expression)


def parts(expression: str, *, catalog: str, column: str | None) -> list[dict[str, str]]:
    """The predicate in pieces: ``{"sql": text}`` and ``{"placeholder": "user" | "values"}``.

    What is known beforehand (catalog, column) is part of the text; a value can never be read as a
    placeholder, since the text is cut before values are put in.
    """
    known = {"catalog": quote_identifier(catalog)}
    if column is not None:
        known["column"] = quote_identifier(column)
    pieces: list[dict[str, str]] = []
    text = ""
    end = 0
    for match in _PLACEHOLDER.finditer(expression):
        name = match[1]
        text += expression[end : match.start()]
        end = match.end()
        if name in ("user", "values"):
            pieces += [{"sql": text}] if text else []
            pieces.append({"placeholder": name})
            text = ""
        else:
            text += known.get(name, match[0])
    text += expression[end:]
    return [*pieces, {"sql": text}] if text else pieces


def parse(expression: str, *, catalog: str = "lake", column: str = "some_column") -> exp.Expression:
    """The predicate's syntax tree, with stand-ins for placeholders.

    Raises:
        ValueError: it is not one Trino predicate; the message says where.
    """
    sql = "".join(
        piece.get("sql") or _STAND_IN[piece["placeholder"]]
        for piece in parts(expression, catalog=catalog, column=column)
    )
    try:
        statements: Sequence[Any] = sqlglot.parse(f"SELECT 1 WHERE {sql}", dialect="trino")
    except (SqlglotError, RecursionError) as error:
        raise ValueError(_first_line(str(error))) from None
    if len(statements) != 1 or not isinstance(statements[0], exp.Select):
        raise ValueError("more than one predicate")
    select = statements[0]
    where = select.args.get("where")
    given = {key for key, value in select.args.items() if value}
    if where is None or not given <= {"expressions", "where", "kind"}:
        raise ValueError("something follows the predicate")
    predicate: exp.Expression = where.this
    used = Counter(name for name in placeholders(expression) if name in _STAND_IN)
    found = Counter(literal.name for literal in predicate.find_all(exp.Literal))
    for name, times in used.items():
        if found[_STAND_IN[name].strip("'")] != times:
            raise ValueError(f"{{{name}}} is a literal already and must not stand between quotes")
    return predicate


def tables_read(expression: str, *, catalog: str, namespace: str) -> set[str]:
    """``namespace.table`` of each table that the predicate's subqueries read.

    A table without a namespace is looked for in ``namespace``, as Trino does for a filter.

    Raises:
        ValueError: the predicate does not parse, or it reads another catalog.
    """
    tree = parse(expression, catalog=catalog)
    named = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    found: set[str] = set()
    for table in tree.find_all(exp.Table):
        if not table.db and table.name.lower() in named:
            continue
        if table.catalog and table.catalog.lower() != catalog.lower():
            raise ValueError(f"it reads catalog {table.catalog!r}, which is not the lab's")
        found.add(f"{table.db or namespace}.{table.name}".lower())
    return found


def subqueries(predicate: str) -> bool:
    """Whether a predicate reads other tables; one that does not parse counts as if it did."""
    try:
        return parse(predicate).copy().find(exp.Query) is not None
    except ValueError:
        return True


def guarded(expression: str, *, column: str | None, required: Collection[str]) -> bool:
    """Whether the predicate has to be told to Trino in the form that comes before a reader's conditions.

    Not when it reads other tables, which no form keeps in front, nor when it is but ranges of columns
    that hold no null (``required``): those come first anyhow, and keep their statistics.
    """
    if subqueries(expression):
        return False
    try:
        ranges = _ranges(parse(expression, column=column or "some_column"))
    except ValueError:
        return True
    return ranges is None or not ranges <= {name.lower() for name in required}


_COMPARED = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def _ranges(node: Any) -> set[str] | None:
    """Columns of a conjunction of comparisons with constants; None when it is anything else."""
    if isinstance(node, exp.Paren):
        return _ranges(node.this)
    if isinstance(node, exp.And):
        left, right = _ranges(node.left), _ranges(node.right)
        return None if left is None or right is None else left | right
    if isinstance(node, exp.In) and node.expressions:
        constants = all(_constant(one) for one in node.expressions)
        return _column(node.this) if constants else None
    if isinstance(node, exp.Between):
        constants = _constant(node.args["low"]) and _constant(node.args["high"])
        return _column(node.this) if constants else None
    if isinstance(node, _COMPARED):
        if _constant(node.right):
            return _column(node.left)
        return _column(node.right) if _constant(node.left) else None
    return None


def _column(node: Any) -> set[str] | None:
    return {node.name.lower()} if isinstance(node, exp.Column) else None


def _constant(node: Any) -> bool:
    if isinstance(node, exp.Neg | exp.Cast):
        return _constant(node.this)
    return isinstance(node, exp.Literal)


def leak_warning(rule: str) -> str:
    """What is to be known of a rule whose predicate reads other tables."""
    return (
        f"rule {rule} reads another table: conditions of a reader's own are evaluated before it, and can be "
        "made to tell of rows that it hides"
    )


def columns_read(expression: str, *, table: str) -> set[str]:
    """Columns of ``table`` (``ns.name``) that the predicate names outside of subqueries and lambdas, the
    tagged one left out.

    Raises:
        ValueError: the predicate does not parse.
    """
    tree = parse(expression, column="{column}").copy()
    name = table.rpartition(".")[2]
    bound = {parameter.name for function in tree.find_all(exp.Lambda) for parameter in function.expressions}
    return {
        column.name.lower()
        for column in tree.find_all(exp.Column)
        if column.find_ancestor(exp.Query) is None
        and column.table.lower() in ("", name)
        and column.name not in {"{column}", *bound}
    }


def literals(values: Mapping[str, Sequence[int | str]]) -> dict[str, list[str]]:
    """Each group's values as SQL literals, ordered and without repetition."""
    return {group: sorted({quote_literal(v) for v in given}) for group, given in sorted(values.items())}


def _first_line(text: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    return plain.strip().splitlines()[0] if plain.strip() else "it does not parse"
