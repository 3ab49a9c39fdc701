"""How long OPA takes over listings and masks, on the real binary: ``python -m bench.policies``.

Linear means that the time for each object stays the same from 1,000 to 20,000 objects. Times are seen by the
client, JSON and loopback included. The access data holds as many tables as are asked about, half of them
granted one by one, and a rule on each tenth. Then the decisions about one table that a query waits for, one
after the other, by the number of grants: median and 99th percentile.
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from contracts.access import AccessData, Grant, Mask, Privilege, Rule, RuleKind, TagAssignment
from contracts.settings import cache_home
from contracts.versions import OPA
from placements.local.artifacts import SilentProgress, ensure
from tests.policies.server import Opa, compiled, question, signing_keys

SIZES = (1_000, 5_000, 20_000)
GRANTS = (1_000, 100_000)
DECISIONS = 2_000
COLUMNS = 250
REPEATS = 5
GROUP = "analysts_emea"


def access_of(tables: int) -> AccessData:
    """Access data of ``tables`` tables in namespaces of a hundred."""
    names = [f"ns{index // 100}.t{index}" for index in range(tables)]
    return AccessData(
        grants=tuple(Grant(group=GROUP, object=name, privileges=(Privilege.SELECT,)) for name in names[::2]),
        tags=(
            *(TagAssignment(object=f"{name}.c1", tag="pii.email") for name in names[::10]),
            *(TagAssignment(object=f"ns0.t0.c{index}", tag="pii.phone") for index in range(2, COLUMNS)),
        ),
        rules=(
            Rule(id="email", kind=RuleKind.COLUMN_MASK, tag="pii.email", mask=Mask.EMAIL_DOMAIN),
            Rule(id="phone", kind=RuleKind.COLUMN_MASK, tag="pii.phone", mask=Mask.LAST_4),
        ),
    )


def named(index: int) -> dict[str, str]:
    """A table as Trino names it."""
    return {"catalogName": "lake", "schemaName": f"ns{index // 100}", "tableName": f"t{index}"}


def tables_question(count: int) -> Any:
    """A listing of ``count`` tables."""
    candidates = [{"table": named(index)} for index in range(count)]
    return question("a", [GROUP], "FilterTables", filterResources=candidates)


def columns_question() -> Any:
    """One listing of a wide table's columns."""
    wide = {**named(0), "columns": [f"c{index}" for index in range(COLUMNS)]}
    return question("a", [GROUP], "FilterColumns", filterResources=[{"table": wide}])


def masks_question() -> Any:
    """The masks of a wide table."""
    candidates = [
        {"column": {**named(0), "columnName": f"c{index}", "columnType": "varchar"}}
        for index in range(COLUMNS)
    ]
    return question("a", [GROUP], "GetColumnMask", filterResources=candidates)


def select_question() -> Any:
    """One SELECT."""
    return question("a", [GROUP], "SelectFromColumns", resource={"table": {**named(0), "columns": ["c1"]}})


def median_ms(ask: Callable[[], Any], repeats: int) -> float:
    """The median of ``repeats`` calls, after one that warms up."""
    ask()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def filters_question() -> Any:
    """The row filters of one table."""
    return question("a", [GROUP], "GetRowFilters", resource={"table": named(0)})


def percentiles_ms(opa: Opa, decision: str, asked: Any, repeats: int) -> tuple[float, float]:
    """Median and 99th percentile of ``repeats`` calls on one connection, after some that warm up."""
    address = urlsplit(opa.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port)
    body = json.dumps({"input": asked})
    times = []
    for _ in range(50 + repeats):
        began = time.perf_counter()
        connection.request("POST", f"/v1/data/lab/trino/{decision}", body)
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - began) * 1000)
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"OPA answers {answer.status}, so nothing was measured")
    connection.close()
    return statistics.median(times[50:]), statistics.quantiles(times[50:], n=100)[98]


def decisions(opa: Opa, revision: int) -> Table:
    """What a query waits for, by the number of grants."""
    table = Table("decision", "grants", "median ms", "99 % ms", title=f"{DECISIONS:,} single decisions")
    questions = (("allow", select_question()), ("rowFilters", filters_question()))
    for later, grants in enumerate(GRANTS):
        opa.publish(compiled(access_of(2 * grants), revision=revision + later))
        for decision, asked in questions:
            middle, late = percentiles_ms(opa, decision, asked, DECISIONS)
            table.add_row(decision, f"{grants:,}", f"{middle:.2f}", f"{late:.2f}")
    return table


def main() -> None:
    """Prints the tables."""
    table = Table("decision", "tables", "answers", "median ms", "µs per object", title="OPA decisions")
    program = ensure(OPA, cache_home(), SilentProgress()) / "opa"
    with tempfile.TemporaryDirectory() as folder, Opa.start(program, Path(folder), signing_keys()) as opa:
        for revision, size in enumerate(SIZES, start=1):
            opa.publish(compiled(access_of(size), revision=revision))
            questions = (
                ("batch FilterTables", "batch", tables_question(size), size, REPEATS),
                (f"batch FilterColumns ({COLUMNS})", "batch", columns_question(), COLUMNS, 20),
                (f"columnMasks ({COLUMNS})", "columnMasks", masks_question(), COLUMNS, 20),
                ("allow SelectFromColumns", "allow", select_question(), 1, 200),
            )
            for name, decision, asked, objects, repeats in questions:
                answer = opa.decide(decision, asked)
                taken_ms = median_ms(partial(opa.decide, decision, asked), repeats)
                answers = str(len(answer)) if isinstance(answer, list) else str(answer)
                each_us = f"{taken_ms * 1000 / objects:.1f}"
                table.add_row(name, f"{size:,}", answers, f"{taken_ms:.2f}", each_us)
        single = decisions(opa, len(SIZES) + 1)
    Console().print(table)
    Console().print(single)


if __name__ == "__main__":
    main()
