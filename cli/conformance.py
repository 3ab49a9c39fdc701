"""The conformance suite: each sample user, each table, what they must see and what they do see.

Expectations are in ``conformance.yaml``, written apart from the rules. Numbers are never written down:
an expected count is taken from the table's reference user, whom no rule of that table touches.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import yaml

from cli.session import Session
from contracts.errors import LabError, unknown_name
from contracts.identity import lab_realm
from governance.query import DeniedError, QueryError, Rows

EXPECTATIONS = Path(__file__).with_name("conformance.yaml")
DENIED = "denied"
SAMPLE_ROWS = 200
_PARALLEL_PERSONAS = 2


class Engine(StrEnum):
    """Ways to a table."""

    TRINO = "trino"
    PYICEBERG = "pyiceberg"
    S3 = "s3"
    SPARK = "spark"


CHECKED = {
    Engine.TRINO: "rows, masks, denied columns and metadata tables, by SQL",
    Engine.PYICEBERG: "tables read whole by the catalog, with the user's token",
    Engine.S3: "files read with each key that the catalog hands to the user",
    Engine.SPARK: "tables counted by Spark, where its gateway admits the user",
}
"""What is checked by which engine, in words."""


class QueryPort(Protocol):
    """What a check asks of an engine, as one user."""

    def run(self, statement: str) -> Rows: ...


Connect = Callable[[str], AbstractContextManager[QueryPort]]
"""Opens a connection as the named sample user."""


@dataclass(frozen=True, kw_only=True)
class TableExpectation:
    """One table's expectations, by persona; ``columns`` maps column → persona → how it looks."""

    table: str
    reference: str
    rows: Mapping[str, str]
    predicates: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """The whole file. ``metadata`` maps ``table$kind`` → persona → allowed or denied, ``raw`` catalog →
    persona → tables whose files they get; ``spark`` are those whose code Spark runs."""

    tables: tuple[TableExpectation, ...]
    metadata: Mapping[str, Mapping[str, str]]
    masks: Mapping[str, str]
    raw: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    spark: frozenset[str] = frozenset()

    def opens(self, engine: Engine, catalog: str, persona: str, table: str) -> bool:
        """Whether the engine gives ``persona`` all rows of ``table`` (not for Trino, which filters)."""
        if engine is Engine.SPARK and persona not in self.spark:
            return False
        return table in self.raw[catalog].get(persona, frozenset())


@dataclass(frozen=True, kw_only=True)
class Check:
    """One cell: what was expected of ``subject`` (a table, a column or a metadata table) and found."""

    engine: Engine
    persona: str
    table: str
    subject: str
    expected: str
    found: str

    @property
    def passed(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All checks; ``passed`` when there is no difference."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def differences(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Those that were asked, in order."""
        return tuple(engine for engine in Engine if any(check.engine is engine for check in self.checks))

    def matrix(self, engine: Engine = Engine.TRINO) -> dict[str, dict[str, str]]:
        """Table → persona → rows seen, or denied, with ``!`` where anything differs from the expected."""
        cells: dict[str, dict[str, str]] = {}
        for check in self.checks:
            if check.engine is not engine:
                continue
            row = cells.setdefault(check.table, {})
            if check.subject == "rows" or check.persona not in row:
                mark = "!" if row.get(check.persona, "").endswith("!") else ""
                row[check.persona] = (check.found if check.subject == "rows" else "") + mark
            if not check.passed and not row[check.persona].endswith("!"):
                row[check.persona] += "!"
        return cells


def read_expectations(path: Path = EXPECTATIONS) -> Expectations:
    """Reads the file. Raises LabError when it names an unknown persona, predicate or mask."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    masks = {str(name): str(pattern) for name, pattern in document["masks"].items()}
    tables = tuple(_table(str(name), entry, masks) for name, entry in document["tables"].items())
    metadata = {
        str(name): _by_persona(entry, {"allowed", DENIED}) for name, entry in document["metadata"].items()
    }
    names = {table.table for table in tables}
    raw = {catalog: _raw(by_persona, names) for catalog, by_persona in document["raw"].items()}
    spark = frozenset(_known_personas(document["spark"]))
    return Expectations(tables=tables, metadata=metadata, masks=masks, raw=raw, spark=spark)


def _raw(by_persona: Mapping[str, Sequence[str]], known: set[str]) -> dict[str, frozenset[str]]:
    for tables in by_persona.values():
        for table in tables:
            if table not in known:
                raise unknown_name("table", table, known)
    return {persona: frozenset(by_persona[persona]) for persona in _known_personas(by_persona)}


def _known_personas(names: Iterable[str]) -> list[str]:
    personas = [persona.username for persona in lab_realm("lab").personas]
    for name in names:
        if name not in personas:
            raise unknown_name("sample user", name, personas)
    return list(names)


def _table(name: str, entry: Mapping[str, Any], masks: Mapping[str, str]) -> TableExpectation:
    predicates = dict(entry.get("predicates") or {})
    looks = {"plain", "null", "hashed_key", DENIED, *masks}
    return TableExpectation(
        table=name,
        reference=str(entry["reference"]),
        rows=_by_persona(entry["rows"], {"all", DENIED, *predicates}),
        predicates=predicates,
        columns={c: _by_persona(by, looks) for c, by in (entry.get("columns") or {}).items()},
    )


def _by_persona(entry: Mapping[str, str], words: set[str]) -> dict[str, str]:
    personas = [persona.username for persona in lab_realm("lab").personas]
    for persona, word in entry.items():
        if persona not in ("default", *personas):
            raise unknown_name("sample user", persona, personas)
        if word not in words:
            raise unknown_name("expectation", word, words)
    return {persona: entry.get(persona, entry["default"]) for persona in personas}


def verify(
    session: Session,
    *,
    personas: Sequence[str] = (),
    tables: Sequence[str] = (),
    engines: Sequence[str] = (),
) -> Verification:
    """Runs the suite against the running lab.

    Args:
        personas, tables: limit it to these; empty means all.
        engines: which of :class:`Engine`; empty means those that the lab runs.

    Raises:
        UsageError: a name is unknown.
        LabError: the lab is not up, or a service does not answer.
    """
    from cli.operations.conformance import raw_checks
    from cli.operations.data import sql

    expectations = read_expectations()
    chosen = _chosen_engines(engines, session.outputs().components)
    counts_as = partial(sql, session)

    def connect(who: str) -> AbstractContextManager[QueryPort]:
        return counts_as(persona=who)

    checks: list[Check] = []
    if Engine.TRINO in chosen:
        checks += check_all(expectations, connect, personas, tables).checks
    wanted = chosen_tables(expectations, tables)
    checks += raw_checks(
        session, expectations, chosen_personas(personas), wanted, [e for e in chosen if e is not Engine.TRINO]
    )
    return Verification(checks=tuple(checks))


def _chosen_engines(names: Sequence[str], components: Sequence[str]) -> list[Engine]:
    """Those named; else those that can be asked in a lab of these components."""
    for name in names:
        if name not in list(Engine):
            raise unknown_name("engine", name, [engine.value for engine in Engine])
    if names:
        return [engine for engine in Engine if engine.value in names]
    optional = (Engine.TRINO, Engine.SPARK)
    return [engine for engine in Engine if engine not in optional or engine.value in components]


def chosen_personas(names: Sequence[str]) -> list[str]:
    """Those named, else all. Raises UsageError for an unknown one."""
    return _known_personas(names) or [persona.username for persona in lab_realm("lab").personas]


def chosen_tables(expectations: Expectations, names: Sequence[str]) -> list[TableExpectation]:
    """Those named, else all. Raises UsageError for an unknown one."""
    known = [table.table for table in expectations.tables]
    for name in names:
        if name not in known:
            raise unknown_name("table", name, known)
    return [table for table in expectations.tables if not names or table.table in names]


def check_all(
    expectations: Expectations, connect: Connect, personas: Sequence[str] = (), tables: Sequence[str] = ()
) -> Verification:
    """Every persona on every table, by Trino. ``connect`` is called from several threads."""
    everyone = [persona.username for persona in lab_realm("lab").personas]
    asked = chosen_personas(personas)
    chosen = chosen_tables(expectations, tables)
    counts = reference_counts(chosen, connect, everyone)

    def one(persona: str) -> list[Check]:
        with connect(persona) as connection:
            found = [
                c for table in chosen for c in _table_checks(table, persona, connection, counts, expectations)
            ]
            wanted = {table.table for table in chosen}
            found += _metadata_checks(expectations.metadata, wanted, persona, connection)
            return found

    with ThreadPoolExecutor(_PARALLEL_PERSONAS) as pool:
        checks = [check for part in pool.map(one, asked) for check in part]
    return Verification(checks=tuple(checks))


def reference_counts(
    tables: Sequence[TableExpectation], connect: Connect, personas: Sequence[str]
) -> dict[tuple[str, str], int]:
    """Rows that each expectation stands for: (table, predicate text) → count by the reference user."""
    counts: dict[tuple[str, str], int] = {}
    for reference in sorted({table.reference for table in tables}):
        with connect(reference) as connection:
            for table in tables:
                if table.reference != reference:
                    continue
                for text in {condition(table, persona) for persona in personas} - {None}:
                    if text is not None:
                        counts[table.table, text] = int(_value(connection, table.table, "count(*)", text))
    return counts


def condition(table: TableExpectation, persona: str) -> str | None:
    """The predicate of the rows ``persona`` must see, None when the table is denied."""
    word = table.rows[persona]
    if word == DENIED:
        return None
    return "true" if word == "all" else table.predicates[word].replace("{user}", persona)


def _value(connection: QueryPort, table: str, expression: str, predicate: str) -> Any:
    result = connection.run(f"SELECT {expression} FROM {quoted(table)} WHERE {predicate}")  # noqa: S608 - all of it is the checkout's own
    return next(iter(result.rows))[0]


def quoted(table: str) -> str:
    """``namespace.name`` as SQL, with ``$`` names kept whole."""
    return ".".join(f'"{part}"' for part in table.split(".", 1))


def _table_checks(
    table: TableExpectation,
    persona: str,
    connection: QueryPort,
    counts: Mapping[tuple[str, str], int],
    expectations: Expectations,
) -> Iterator[Check]:
    wanted = condition(table, persona)
    expected = DENIED if wanted is None else str(counts[table.table, wanted])
    found = _attempt(lambda: str(_value(connection, table.table, "count(*)", "true")))
    yield _check(table.table, persona, "rows", expected, found)
    if wanted is None or found == DENIED:
        return
    # Columns that must be readable are asked for together; one that is not makes each be asked for alone.
    readable = [column for column, looks in table.columns.items() if looks[persona] != DENIED]
    together: dict[str, list[Any]] = {}
    with contextlib.suppress(LabError):
        together = _samples(connection, table.table, readable)
    for column, looks in table.columns.items():
        look = partial(_look, connection, table, column, looks[persona], expectations, together)
        yield _check(table.table, persona, column, looks[persona], _attempt(look))


def _samples(connection: QueryPort, table: str, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Some values of each column."""
    if not columns:
        return {}
    named = ", ".join(f'"{column}"' for column in columns)
    rows = list(connection.run(f"SELECT {named} FROM {quoted(table)} LIMIT {SAMPLE_ROWS}").rows)  # noqa: S608 - all of it is the checkout's own
    return {column: [row[place] for row in rows] for place, column in enumerate(columns)}


def _look(
    connection: QueryPort,
    table: TableExpectation,
    column: str,
    expected: str,
    expectations: Expectations,
    known: Mapping[str, list[Any]],
) -> str:
    """How a column's values look: the expected word when all of a sample agree with it."""
    values = known[column] if column in known else _samples(connection, table.table, [column])[column]
    if expected == DENIED:
        return "readable"
    return look_of(values, expected, expectations.masks)


def look_of(values: Sequence[Any], expected: str, masks: Mapping[str, str]) -> str:
    """``expected`` when every value fits it, else a word for what they are."""
    present = [value for value in values if value is not None]
    if not present:
        # Nothing to see proves a null mask only where there are rows at all.
        return "null" if values else (expected if expected != "null" else "no rows")
    for name, pattern in masks.items():
        if all(isinstance(value, str) and re.fullmatch(pattern, value) for value in present):
            return name
    if all(isinstance(value, int) for value in present) and max(abs(value) for value in present) > 10**10:
        # Keys of the sample tables are small; a keyed hash uses all 64 bits.
        return "hashed_key"
    return "plain"


def _metadata_checks(
    metadata: Mapping[str, Mapping[str, str]], tables: set[str], persona: str, connection: QueryPort
) -> Iterator[Check]:
    for name, by_persona in metadata.items():
        base = name.partition("$")[0]
        if base not in tables:
            continue

        def read(table: str = name) -> str:
            next(iter(connection.run(f"SELECT count(*) FROM {quoted(table)}").rows))  # noqa: S608 - all of it is the checkout's own
            return "allowed"

        yield _check(base, persona, name, by_persona[persona], _attempt(read))


def _attempt(read: Callable[[], str]) -> str:
    try:
        return read()
    except DeniedError:
        return DENIED
    except QueryError as error:
        # A table whose existence is hidden from the reader is denied as well.
        if error.name in ("TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "COLUMN_NOT_FOUND"):
            return DENIED
        return f"error: {error.what}"
    except LabError as error:
        return f"error: {error.what}"


def _check(table: str, persona: str, subject: str, expected: str, found: str) -> Check:
    return Check(
        engine=Engine.TRINO, persona=persona, table=table, subject=subject, expected=expected, found=found
    )
