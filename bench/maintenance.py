"""What maintenance is worth: a table of many small commits beside its maintained twin, queried in turn.

    python -m bench.maintenance --commits 200 --pairs 30

One Trino of the lab's own version is started on a folder of its own: no lab is needed, nothing is governed,
and files lie on the local disk, so that opening one costs less than from an object store. Two tables get the
same commits; one of them is then maintained by the lab's own code, with a retention of a second. Prints
files, bytes, manifests and snapshots of both, what the steps took, and the median of the query times with
the ratio of each pair, who is first alternating.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from string import Template

from governance.maintenance.engine import TrinoEngine
from governance.maintenance.planning import Procedure, Surroundings, Verdict, statement, step
from governance.maintenance.policy import Limits, Policy
from governance.trino import TrinoClient
from tests.live.trino_alone import CATALOG, trino_alone

_PATIENCE_S = 600.0
_POLICY = Policy(min_files=2, min_manifests=2, keep_snapshots=1, keep_orphans=1)
_LIMITS = Limits(snapshots_s=1, orphans_s=1, margin_s=1)
_QUERIES = {
    "count and sum": "SELECT count(*), sum(totalprice) FROM $t",
    "one customer": "SELECT sum(totalprice) FROM $t WHERE custkey = 370",
}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The server, timed."""

    client: TrinoClient

    def timed(self, sql: str, table: str) -> float:
        """Seconds that a statement takes; ``$t`` is the table."""
        began = time.perf_counter()
        self.client.rows(Template(sql).substitute(t=f"{CATALOG}.s.{table}"), timeout_s=_PATIENCE_S)
        return time.perf_counter() - began


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    with trino_alone() as trino:
        bench = Bench(client=trino.client())
        engine = TrinoEngine(bench.client, catalog=CATALOG)
        bench.client.rows(f"CREATE SCHEMA {CATALOG}.s", timeout_s=_PATIENCE_S)
        for table in ("worn", "kept"):
            fill(bench, table, arguments.commits)
        time.sleep(_LIMITS.snapshots_s + _LIMITS.margin_s + 1)
        show(engine, "worn", "as written")
        for procedure, spent_s in maintained(engine, "kept").items():
            print(f"  {procedure}: {spent_s:.2f} s")
        show(engine, "kept", "maintained")
        for name, sql in _QUERIES.items():
            compare(bench, name, sql, arguments.pairs)


def fill(bench: Bench, table: str, commits: int) -> None:
    """TPC-H's orders (15,000 rows), one part a commit."""
    columns = "orderkey, custkey, totalprice, orderdate, comment"
    source = f"SELECT {columns} FROM tpch.tiny.orders"  # noqa: S608 - names of this file
    bench.timed(f"CREATE TABLE $t AS {source} WHERE false", table)
    for part in range(commits):
        bench.timed(f"INSERT INTO $t {source} WHERE orderkey % {commits} = {part}", table)


def maintained(engine: TrinoEngine, table: str) -> dict[str, float]:
    """What each step took that was to be done."""
    spent: dict[str, float] = {}
    around = Surroundings(unsafe={}, running=())
    for procedure in Procedure:
        # The snapshots that the steps before made are to go, too.
        time.sleep(_LIMITS.snapshots_s + _LIMITS.margin_s + 1)
        state = engine.state(f"s.{table}", _POLICY.small_file_mib)
        planned = step(procedure, f"s.{table}", state, _POLICY, _LIMITS, around)
        if planned.verdict is Verdict.RUN:
            began = time.perf_counter()
            engine.execute(statement(f"s.{table}", planned, _POLICY))
            spent[procedure.value] = time.perf_counter() - began
    return spent


def show(engine: TrinoEngine, table: str, label: str) -> None:
    """A table's size."""
    state = engine.state(f"s.{table}", _POLICY.small_file_mib)
    print(
        f"{label}: {state.files} files, {state.bytes / 1e6:.2f} MB, {state.manifests} manifests, "
        f"{len(state.snapshots)} snapshots"
    )


def compare(bench: Bench, name: str, sql: str, pairs: int) -> None:
    """Both tables in turn, after three runs on each that don't count."""
    worn: list[float] = []
    kept: list[float] = []
    for number in range(-3, pairs):
        order = (("worn", worn), ("kept", kept)) if number % 2 else (("kept", kept), ("worn", worn))
        for table, seconds in order:
            spent_s = bench.timed(sql, table)
            if number >= 0:
                seconds.append(spent_s)
    ratios = sorted(a / b for a, b in zip(worn, kept, strict=True))
    low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
    print(
        f"{name}: {statistics.median(worn):.3f} s as written, {statistics.median(kept):.3f} s maintained; "
        f"ratio {statistics.median(ratios):.2f} (of ten pairs eight between {low:.2f} and {high:.2f})"
    )


if __name__ == "__main__":
    main()
