"""Throughput and memory of loading a CSV file, against plain pyiceberg on the same store.

Run: ``python bench/load.py [--rows 2000000] [--pairs 3]``. Each run is a process of its own; the two
sides take turns, so that a busy machine slows both. The plain side is what one would write by hand:
Arrow's CSV reader into ``Table.append``; it has no strict types, no line numbers, holds the whole file
in memory and leaves files behind when it fails.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))


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


def run_side(side: str, path: Path, folder: Path) -> None:
    """One load in this process; prints seconds and peak memory as JSON."""
    from pyiceberg.catalog.sql import SqlCatalog

    from seed.ingest import load

    catalog = SqlCatalog(
        "bench", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse"
    )
    started_s = time.monotonic()
    if side == "lab":
        rows = load([path], "raw.bench", catalog=catalog).rows
    else:
        import pyarrow.csv

        read = pyarrow.csv.read_csv(path)
        catalog.create_namespace("raw")
        table = catalog.create_table("raw.bench", read.schema)
        table.append(read)
        rows = read.num_rows
    seconds = time.monotonic() - started_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "peak_mib": peak_mib}))


def measure(side: str, path: Path) -> dict[str, float]:
    """One load in a fresh process and an empty warehouse."""
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        command = [sys.executable, __file__, "--side", side, "--file", str(path), "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        answer: dict[str, float] = json.loads(done.stdout)
        return answer


def main() -> int:
    """Prints medians; exits with 1 when memory is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--max-mib", type=float, default=1024)
    parser.add_argument("--side", choices=("lab", "plain"))
    parser.add_argument("--file", type=Path)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.side:
        run_side(arguments.side, arguments.file, arguments.folder)
        return 0
    with tempfile.TemporaryDirectory(prefix="lab-bench-") as folder:
        path = Path(folder) / "rows.csv"
        write_rows(path, arguments.rows)
        size_mib = path.stat().st_size / 2**20
        pairs = [(measure("lab", path), measure("plain", path)) for _ in range(arguments.pairs)]
    lab = statistics.median(one["seconds"] for one, _ in pairs)
    plain = statistics.median(other["seconds"] for _, other in pairs)
    ratio = statistics.median(one["seconds"] / other["seconds"] for one, other in pairs)
    peak = max(one["peak_mib"] for one, _ in pairs)
    peak_plain = max(other["peak_mib"] for _, other in pairs)
    print(f"{arguments.rows} rows, {size_mib:.0f} MiB of CSV, {arguments.pairs} pairs")
    print(f"lab load   {lab:6.1f} s  {arguments.rows / lab:9.0f} rows/s  peak {peak:5.0f} MiB")
    print(f"plain      {plain:6.1f} s  {arguments.rows / plain:9.0f} rows/s  peak {peak_plain:5.0f} MiB")
    print(f"ratio      {ratio:6.2f} (median over pairs)")
    if peak > arguments.max_mib:
        print(f"peak memory {peak:.0f} MiB is over {arguments.max_mib:.0f} MiB", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
