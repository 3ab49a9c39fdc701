"""Throughput and memory of ``lab load``, against plain pyiceberg on the same catalog and store.

    LAB_HOME=/tmp/bench ./lab up --core
    LAB_HOME=/tmp/bench python -m bench.load --rows 10000000 --pairs 3

Each run is a whole process: the command itself, or a short script as one would write it by hand (Arrow's CSV
reader into ``Table.append``, which has no strict types, no line numbers, holds the whole file in memory and
leaves files behind when it fails). Both load the same file as the sample user ``engineer``, with that user's
token and the storage credentials that the catalog hands out; who is first alternates, and each table is
removed afterwards. Seconds and peak resident memory are those that the kernel counted for the process.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cli.access import seeder_connection, user_tokens
from cli.project import open_lab
from cli.session import Session
from cli.user_catalog import open_user_catalog
from contracts.identity import Audience
from seed.connection import open_catalog

ROOT = Path(__file__).resolve().parents[1]
PERSONA = "engineer"


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What one load took: wall-clock seconds, and peak resident memory in MiB."""

    seconds: float
    peak_mib: float


def main() -> int:
    """Prints medians; exits with 1 when memory is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--max-mib", type=float, default=1024)
    parser.add_argument("--plain", nargs=2, metavar=("FILE", "TABLE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        plain(Path(arguments.plain[0]), arguments.plain[1])
        return 0
    pairs: list[dict[str, Spent]] = []
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        path = Path(folder) / "rows.csv"
        write_rows(path, arguments.rows)
        size_mib = path.stat().st_size / 2**20
        for number in range(arguments.pairs):
            sides = ("lab load", "plain") if number % 2 == 0 else ("plain", "lab load")
            pairs.append({side: measure(side, path, arguments.rows) for side in sides})
            said = ", ".join(f"{side} {pairs[-1][side].seconds:.1f} s" for side in sorted(sides))
            print(f"pair {number + 1}/{arguments.pairs}: {said}", flush=True)
    print(
        f"\n{arguments.rows} rows, {size_mib:.0f} MiB of CSV, {arguments.pairs} pairs, {os.cpu_count()} cores"
    )
    for side in ("lab load", "plain"):
        seconds = statistics.median(pair[side].seconds for pair in pairs)
        peak_mib = max(pair[side].peak_mib for pair in pairs)
        print(f"{side:10}{seconds:7.1f} s {arguments.rows / seconds:9.0f} rows/s  peak {peak_mib:5.0f} MiB")
    ratios = [pair["plain"].seconds / pair["lab load"].seconds for pair in pairs]
    between = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"throughput of lab load / plain: {statistics.median(ratios):.2f} ({between})")
    peak_mib = max(pair["lab load"].peak_mib for pair in pairs)
    if peak_mib > arguments.max_mib:
        print(f"peak memory {peak_mib:.0f} MiB is over {arguments.max_mib:.0f} MiB", file=sys.stderr)
        return 1
    return 0


def write_rows(path: Path, rows: int) -> None:
    """A file like those people bring: numbers, a date, a time, text with quotes here and there."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,customer,amount,day,seen_at,note\n")
        for i in range(rows):
            note = f'"said ""{i}"", twice"' if i % 50 == 0 else f"note {i * 2654435761 % 2**32:x}"
            file.write(
                f"{i},{i * 7919 % 100_003},{i % 9973}.{i % 100:02d},2026-{1 + i % 12:02d}-{1 + i % 28:02d},"
                f"2026-03-01T{i % 24:02d}:{i % 60:02d}:00Z,{note}\n"
            )


def measure(side: str, path: Path, rows: int) -> Spent:
    """One load into a table of its own, counted and removed."""
    table = f"raw.bench_{random.randrange(2**32):08x}"  # noqa: S311 - a name, no secret
    if side == "plain":
        command = [sys.executable, "-m", "bench.load", "--plain", str(path), table]
    else:
        command = [str(ROOT / "lab"), "load", str(path), "--table", table, "--as", PERSONA, "--yes"]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.stdout.read() if process.stdout else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{side} failed:\n{said.decode(errors='replace')}")
    session = Session(open_lab())
    catalog = open_catalog(seeder_connection(session, session.outputs()))
    snapshot = catalog.load_table(table).current_snapshot()
    summary = snapshot.summary if snapshot else None
    if summary is None or int(summary["total-records"] or 0) != rows:
        raise SystemExit(f"{side} did not load {rows} rows: {summary}")
    catalog.drop_table(table)
    return Spent(seconds=seconds, peak_mib=usage.ru_maxrss / 1024)


def plain(path: Path, table: str) -> None:
    """The load as one would write it by hand."""
    import pyarrow.csv

    session = Session(open_lab())
    outputs = session.outputs()
    catalog = open_user_catalog(outputs, user_tokens(session, outputs, PERSONA, Audience.CATALOG))
    read = pyarrow.csv.read_csv(path)
    catalog.create_table(table, read.schema).append(read)


if __name__ == "__main__":
    sys.exit(main())
