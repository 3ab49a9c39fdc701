"""What the rules themselves cost, and how soon a change of them holds, on a running lab.

    LAB_HOME=/tmp/bench ./lab up --set scaleFactor=1
    LAB_HOME=/tmp/bench python -m bench.rules                 # TPC-H under filters and masks
    LAB_HOME=/tmp/bench python -m bench.rules --changes 20    # from a change to its effect
    LAB_HOME=/tmp/bench python -m bench.rules --diffs 5       # ./lab policy diff

TPC-H runs as a sample user whom filters and masks reach, and beside it on a twin of the lab's Trino without
access control, with the very filters and masks that OPA answers written into each statement as subqueries.
Both must give the same rows. Statements that name a column denied to the user are left out, and named. A
change counts from the request to the governor until a query of the user's shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import sqlglot
from sqlglot import exp

from bench.governed import TWIN_HTTPS, report, tpch_queries, ungoverned_twin
from bench.processors import Processors
from cli.access import user_tokens
from cli.project import open_lab
from cli.session import Session
from contracts.identity import Audience, lab_realm
from governance.client import GovernorClient
from governance.query import DeniedError, QueryError, TrinoSession

ROOT = Path(__file__).resolve().parents[1]
NAMESPACE = "retail"
PROBE = "lake.raw.bench_change"
PAUSE_S = 0.05


def main() -> None:
    """Measures what was asked for and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--as", dest="persona", default="analyst_emea")
    parser.add_argument("--changes", type=int, help="time this many grants, masks and revocations instead")
    parser.add_argument("--diffs", type=int, help="time this many runs of `lab policy diff` instead")
    arguments = parser.parse_args()
    session = Session(open_lab())
    if arguments.changes:
        changes(session, arguments.persona, arguments.changes)
    elif arguments.diffs:
        diffs(session, arguments.diffs)
    else:
        tpch(session, arguments.persona, arguments.pairs)


def tpch(session: Session, persona: str, pairs: int) -> None:
    """TPC-H through the rules against the same with the rules written into it."""
    with ungoverned_twin(session.lab.home) as twin_pid, ExitStack() as stack:
        governed = stack.enter_context(opened(session, persona))
        twin = stack.enter_context(opened(session, persona, f"https://127.0.0.1:{TWIN_HTTPS}"))
        views = {table: view(session, persona, table, columns) for table, columns in columns_of(twin).items()}
        by_hand, refused = {}, []
        for name, statement in tpch_queries().items():
            written = written_by_hand(statement, views)
            try:
                rows = sorted(map(repr, governed.run(statement).rows))
            except DeniedError:
                refused.append(name)
                continue
            if rows != sorted(map(repr, twin.run(written).rows)):
                raise SystemExit(f"{name} gives other rows by hand, so nothing was measured:\n{written}")
            by_hand[statement] = written
        print(f"left out, since they name a column denied to {persona}: {', '.join(refused) or 'none'}")

        def through_rules(statement: str) -> float:
            return spent_s(governed, statement)

        def as_written(statement: str) -> float:
            return spent_s(twin, by_hand[statement])

        chosen = {name: text for name, text in tpch_queries().items() if text in by_hand}
        processors = Processors.of(session.lab.home, twin_pid)
        report(chosen, through_rules, as_written, processors, pairs)


@contextmanager
def opened(session: Session, persona: str, url: str | None = None) -> Iterator[TrinoSession]:
    """The lab's Trino, or the one at ``url``, as the sample user."""
    outputs = session.outputs()
    token = user_tokens(session, outputs, persona, Audience.TRINO)
    with TrinoSession(url or str(outputs.trino_url), token, outputs.ca_certificate, source="bench") as found:
        yield found


def administering(session: Session) -> GovernorClient:
    """The governor, as the sample user who may change access data."""
    outputs = session.outputs()
    return GovernorClient(outputs.governor_url, user_tokens(session, outputs, "admin", Audience.GOVERNOR))


def spent_s(trino: TrinoSession, statement: str) -> float:
    """Seconds to the last row."""
    began = time.monotonic()
    for _ in trino.run(statement).rows:
        pass
    return time.monotonic() - began


def columns_of(trino: TrinoSession) -> dict[str, list[tuple[str, str]]]:
    """Table → its columns with their types."""
    found: dict[str, list[tuple[str, str]]] = {}
    rows = trino.run(
        "SELECT table_name, column_name, data_type FROM lake.information_schema.columns "
        "WHERE table_schema = 'retail' ORDER BY table_name, ordinal_position"
    ).rows
    for table, column, kind in rows:
        found.setdefault(table, []).append((column, kind))
    return found


def view(session: Session, persona: str, table: str, columns: Sequence[tuple[str, str]]) -> str:
    """The table as a query shows it to the user: what OPA answers, as a SELECT."""
    known = lab_realm(session.lab.name).persona(persona)
    groups = list(known.groups) if known else []
    named = {"catalogName": "lake", "schemaName": NAMESPACE, "tableName": table}

    def ask(decision: str, operation: str, **action: Any) -> Any:
        port = json.loads((session.lab.home / "run/services/opa/spec.json").read_text())["ports"]["http"]
        asked = {
            "context": {"identity": {"user": persona, "groups": groups}},
            "action": {"operation": operation, **action},
        }
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/data/lab/trino/{decision}", json={"input": asked})
        return answer.raise_for_status().json()["result"]

    filters = ask("rowFilters", "GetRowFilters", resource={"table": named})
    candidates = [{"column": {**named, "columnName": name, "columnType": kind}} for name, kind in columns]
    masks = {one["index"]: one for one in ask("columnMasks", "GetColumnMask", filterResources=candidates)}
    hidden = {
        name
        for name, _ in columns
        if not ask("allow", "SelectFromColumns", resource={"table": {**named, "columns": [name]}})
    }
    shown = [
        f"{masks[index]['viewExpression']['expression']} AS {name}" if index in masks else name
        for index, (name, _) in enumerate(columns)
        if name not in hidden
    ]
    where = " AND ".join(f"({one['expression']})" for one in filters) or "true"
    return f"SELECT {', '.join(shown)} FROM lake.{NAMESPACE}.{table} WHERE {where}"  # noqa: S608 - the lab's own answers


def written_by_hand(statement: str, views: dict[str, str]) -> str:
    """The statement with each table's view in its place."""

    def replaced(node: exp.Expression) -> exp.Expression:
        if not isinstance(node, exp.Table) or node.db != NAMESPACE:
            return node
        return exp.Subquery(
            this=sqlglot.parse_one(views[node.name], dialect="trino"),
            alias=exp.TableAlias(this=exp.to_identifier(node.alias_or_name)),
        )

    return sqlglot.parse_one(statement, dialect="trino").transform(replaced).sql(dialect="trino")


def changes(session: Session, persona: str, count: int) -> None:
    """Grants a table to the user's group, masks a column of it, and takes both back, ``count`` times."""
    known = lab_realm(session.lab.name).persona(persona)
    group = known.groups[0] if known else ""
    grant = {"group": group, "object": "raw.bench_change", "privileges": ["select"]}
    tag = {"object": "raw.bench_change.email", "tag": "pii.email"}
    statement = f"SELECT email FROM {PROBE}"  # noqa: S608 - a constant name
    with (
        opened(session, "engineer") as engineer,
        opened(session, persona) as reader,
        administering(session) as governor,
    ):
        for each in (
            f"DROP TABLE IF EXISTS {PROBE}",
            f"CREATE TABLE {PROBE} AS SELECT 'ann@example.org' email",
        ):
            list(engineer.run(each).rows)

        def seen() -> str:
            try:
                return str(next(iter(reader.run(statement).rows))[0])
            except (DeniedError, QueryError):
                return "denied"

        def effect(wanted: str, **change: Any) -> float:
            began = time.monotonic()
            governor.change_access(reason="bench", widen=True, **change)
            while seen() != wanted:
                time.sleep(PAUSE_S)
            return time.monotonic() - began

        steps: dict[str, Callable[[], float]] = {
            "grant": lambda: effect("ann@example.org", add={"grants": [grant]}),
            "mask": lambda: effect("***@example.org", add={"tags": [tag]}),
            "unmask": lambda: effect("ann@example.org", remove={"tags": [tag]}),
            "revoke": lambda: effect("denied", remove={"grants": [grant]}),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(count):
            for name, step in steps.items():
                times[name].append(step())
        list(engineer.run(f"DROP TABLE {PROBE}").rows)
    for name, seconds in times.items():
        print(
            f"{name}: median {statistics.median(seconds):.2f} s, {min(seconds):.2f} to {max(seconds):.2f} s "
            f"({count} times)"
        )


def diffs(session: Session, count: int) -> None:
    """The command as typed, about access data without any rule that filters rows."""
    with administering(session) as governor:
        before = governor.access()
        bare = {
            **before.document,
            "rules": [rule for rule in before.document["rules"] if rule["kind"] != "row_filter"],
        }
        after = governor.put_access(
            bare, base_revision=before.revision, reason="bench: no filters", widen=True
        )
        governor.rollback(before.revision, reason="bench: as before", widen=True)
    span = f"{before.revision}..{after.revision}"
    seconds, lines = [], 0
    for _ in range(count):
        began = time.monotonic()
        said = subprocess.run(
            [sys.executable, "-m", "cli", "policy", "diff", span],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds.append(time.monotonic() - began)
        if said.returncode != 4:
            raise SystemExit(f"nobody gained anything, so nothing was measured: {said.stderr}")
        lines = len(said.stdout.splitlines())
    print(
        f"lab policy diff {span}, {lines} lines: median {statistics.median(seconds):.1f} s, "
        f"{min(seconds):.1f} to {max(seconds):.1f} s ({count} times)"
    )


if __name__ == "__main__":
    main()
