"""The conformance suite's engines beside Trino, on a running lab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial

from cli.access import user_tokens
from cli.conformance import DENIED, Check, Engine, Expectations, TableExpectation
from cli.conformance_raw import (
    DataFiles,
    UserCatalog,
    count_rows,
    data_files,
    is_refusal,
    key_cells,
    pyiceberg_cells,
    spark_cells,
)
from cli.session import Session
from contracts.errors import LabError
from contracts.identity import Audience
from contracts.outputs import LabOutputs
from governance.query import DeniedError, Rows

Cells = Callable[[str], Iterable[tuple[str, str]]]
"""persona → each table with what was found."""


def raw_checks(
    session: Session,
    expectations: Expectations,
    personas: Sequence[str],
    tables: Sequence[TableExpectation],
    engines: Sequence[Engine],
) -> list[Check]:
    """Every persona on every table, by engines that read files.

    Raises:
        LabError: a service does not answer.
    """
    if not engines:
        return []
    outputs = session.outputs()
    files = reference_files(session, tables)
    names = [table.table for table in tables]
    catalog = cache(partial(_catalog, session, outputs))
    ways: dict[Engine, Cells] = {
        Engine.PYICEBERG: lambda who: pyiceberg_cells(catalog(who), names),
        Engine.S3: lambda who: key_cells(catalog(who), names, files, count_rows),
        Engine.SPARK: lambda who: spark_cells(partial(_spark, session, who), names),
    }
    return [
        check
        for engine in engines
        for persona in personas
        for check in _compared(expectations, outputs.catalog_kind, engine, persona, files, ways[engine])
    ]


def reference_files(session: Session, tables: Sequence[TableExpectation]) -> dict[str, DataFiles]:
    """The files of each table, listed by Trino to its reference user."""
    from cli.operations.data import sql

    found: dict[str, DataFiles] = {}
    for reference in sorted({table.reference for table in tables}):
        with sql(session, persona=reference) as connection:
            for table in tables:
                if table.reference == reference:
                    found[table.table] = data_files(connection.run, table.table)
    return found


def _compared(
    expectations: Expectations,
    catalog: str,
    engine: Engine,
    persona: str,
    files: dict[str, DataFiles],
    cells: Cells,
) -> Iterator[Check]:
    # Outcomes of one persona must not hide those of the others.
    found = dict.fromkeys(files, "error: not reached")
    try:
        found |= dict(cells(persona))
    except DeniedError:
        found = dict.fromkeys(files, DENIED)
    except LabError as error:
        found = dict.fromkeys(files, f"error: {error.what}")
    for table, listed in files.items():
        opens = expectations.opens(engine, catalog, persona, table)
        yield Check(
            engine=engine,
            persona=persona,
            table=table,
            subject="rows",
            expected=str(listed.rows) if opens else DENIED,
            found=found[table],
        )


def _catalog(session: Session, outputs: LabOutputs, persona: str) -> UserCatalog:
    from cli.user_catalog import open_user_catalog

    token = user_tokens(session, outputs, persona, Audience.CATALOG)
    try:
        return UserCatalog(open_user_catalog(outputs, token))
    except LabError as error:
        if is_refusal(error.__cause__):
            raise DeniedError(f"denied: {error.what}") from error
        raise


@contextmanager
def _spark(session: Session, persona: str) -> Iterator[Callable[[str], Rows]]:
    from cli.operations.spark import spark_sql

    with spark_sql(session, persona) as run:
        yield run
