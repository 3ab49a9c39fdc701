"""What a change of access data means for readers, measured on the tables. Pure but for the counter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from contracts.access import Privilege
from contracts.errors import LabError
from contracts.identity import ROW_FILTER_USER
from governance.effects import NO_ROW, Effects, Reader
from governance.predicates import quote_identifier, subqueries
from governance.reports import ColumnImpact, ColumnUse, RowImpact, TableImpact, TableView, Visibility

_PARALLEL_TABLES = 2
_CLEARNESS = {"none": 0, "denied": 0, "null": 1, "hash": 2, "last_4": 3, "email_domain": 4, "plain": 5}


class Counter(Protocol):
    """Counts on the real tables, past every rule."""

    def row(self, sql: str, namespace: str) -> Sequence[int]:
        """The one row of a statement; unqualified tables are those of ``namespace``. Raises LabError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A reader and a table that look different before and after."""

    reader: Reader
    before: TableView
    after: TableView

    @property
    def predicates(self) -> tuple[str, str]:
        """Rows before and after as predicates; none without ``select``."""
        return _rows(self.before), _rows(self.after)


def differences(
    before: Effects, after: Effects, readers: Iterable[Reader], tables: Mapping[str, Sequence[str]]
) -> list[Difference]:
    """Readers and tables (``ns.table`` → columns) for which anything differs."""
    found = []
    for table, columns in sorted(tables.items()):
        for reader in readers:
            old, new = before.view(reader, table, columns), after.view(reader, table, columns)
            one = Difference(reader=reader, before=old, after=new)
            if (
                one.predicates[0] != one.predicates[1]
                or _looks(old) != _looks(new)
                or _privileges(old) != _privileges(new)
            ):
                found.append(one)
    return found


def measure(found: Sequence[Difference], counter: Counter | None, *, catalog: str) -> list[TableImpact]:
    """Each difference in rows and columns. One statement a table counts for all its readers."""
    by_table: dict[str, list[Difference]] = {}
    for one in found:
        by_table.setdefault(one.before.table, []).append(one)

    def count(table: str) -> dict[tuple[str, str], RowImpact]:
        pairs = sorted({one.predicates for one in by_table[table]})
        if counter is None:
            return {}
        return _count(counter, table, pairs, catalog)

    with ThreadPoolExecutor(_PARALLEL_TABLES, thread_name_prefix="impact") as pool:
        counted = dict(zip(by_table, pool.map(count, by_table), strict=True))
    return [_impact(one, counted[one.before.table].get(one.predicates)) for one in found]


def count_statement(table: str, pairs: Sequence[tuple[str, str]], *, catalog: str) -> str:
    """One row: all rows of the table, then for each pair of predicates how many pass the first, the
    second, only the second, and only the first. Each predicate is evaluated once a row; NULL is no."""
    predicates = list(dict.fromkeys(predicate for pair in pairs for predicate in pair))
    named = {predicate: f"p{index}" for index, predicate in enumerate(predicates)}
    flags = ", ".join(f"coalesce(({text}), false) AS {name}" for text, name in named.items())
    counts = []
    for old, new in pairs:
        a, b = named[old], named[new]
        counts += [f"count_if({a})", f"count_if({b})", f"count_if({b} AND NOT {a})"]
        counts.append(f"count_if({a} AND NOT {b})")
    source = ".".join(quote_identifier(part) for part in (catalog, *table.split(".")))
    # The table keeps its own name: a filter may qualify its columns with it.
    return f"SELECT count(*), {', '.join(counts)} FROM (SELECT {flags} FROM {source})"  # noqa: S608 - predicates are validated, names quoted


def _count(
    counter: Counter, table: str, pairs: Sequence[tuple[str, str]], catalog: str
) -> dict[tuple[str, str], RowImpact]:
    changed = [pair for pair in pairs if pair[0] != pair[1]]
    same = {pair: RowImpact() for pair in pairs if pair[0] == pair[1]}
    if not changed:
        return same
    namespace = table.rpartition(".")[0]
    try:
        row = counter.row(count_statement(table, changed, catalog=catalog), namespace)
    except LabError as error:
        if len(changed) == 1:
            return {**same, changed[0]: RowImpact(error=error.what)}
        # One filter that can't be run must not hide what the others do.
        alone = [_count(counter, table, [pair], catalog) for pair in changed]
        return {**same, **{pair: impact for each in alone for pair, impact in each.items()}}
    total, counts = row[0], row[1:]
    for index, pair in enumerate(changed):
        before, after, gained, lost = counts[4 * index : 4 * index + 4]
        same[pair] = RowImpact(total=total, before=before, after=after, gained=gained, lost=lost)
    return same


def _impact(one: Difference, rows: RowImpact | None) -> TableImpact:
    old, new = _looks(one.before), _looks(one.after)
    columns = tuple(
        ColumnImpact(
            column=name,
            before=old[name],
            after=new[name],
            gained=_CLEARNESS[new[name]] > _CLEARNESS[old[name]],
        )
        for name in old
        if old[name] != new[name]
    )
    before, after = one.predicates
    had, has = _privileges(one.before), _privileges(one.after)
    return TableImpact(
        username=one.reader.username,
        table=one.before.table,
        rows=rows,
        columns=columns,
        privileges_gained=tuple(sorted(has - had)),
        privileges_lost=tuple(sorted(had - has)),
        filter_before=before,
        filter_after=after,
        approximate=any(_uses_own_rights(view) for view in (one.before, one.after)),
    )


def _rows(view: TableView) -> str:
    return view.predicate if view.readable else NO_ROW


def _looks(view: TableView) -> dict[str, str]:
    return {use.column: _look(use) if view.readable else "none" for use in view.columns}


def _look(use: ColumnUse) -> str:
    return use.mask or use.visibility.value if use.visibility is Visibility.MASKED else use.visibility.value


def _privileges(view: TableView) -> frozenset[str]:
    return frozenset(use.privilege for use in view.grants) - {Privilege.SELECT.value}


def _uses_own_rights(view: TableView) -> bool:
    return any(use.identity != ROW_FILTER_USER and subqueries(use.predicate) for use in view.filters)
