"""What the setting of OPA's garbage collector costs in memory and saves in time, beside Go's own.

    python -m bench.collector             # memory, by the number of grants
    python -m bench.collector --pairs 40  # time of single decisions, at 1,000 grants

Memory is what the process has resident: after its first bundle and some decisions, and at most while it
decides on and the bundle is signed anew. Of time, one OPA of each kind answers in turn, 500 decisions each,
who is first alternating: whatever else the machine does hits both. Prints medians over all pairs of the
median and the 99th percentile, their ratio, and its interval (95 %, by order statistics).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.audit import median_interval
from bench.policies import access_of, percentiles_ms, select_question
from contracts.settings import cache_home
from contracts.versions import OPA
from placements.local.artifacts import SilentProgress, ensure
from tests.policies.server import GARBAGE, Json, Opa, compiled, signing_keys

GRANTS = (1_000, 20_000, 100_000)
KINDS: dict[str, dict[str, str]] = {
    "Go's own": {},
    "GOGC=200": {"GOGC": "200"},
    "GOGC=400": {"GOGC": "400"},
    "the lab's": GARBAGE,
}
DECISIONS = 500
WARM_UP = 2_000
SIGNED_ANEW = 4


def main() -> None:
    """Measures one of both and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, help="compare times instead of memory, by that many pairs")
    arguments = parser.parse_args()
    program = ensure(OPA, cache_home(), SilentProgress()) / "opa"
    if arguments.pairs:
        times(program, arguments.pairs)
    else:
        Console().print(memory(program))


@contextmanager
def opa_with(program: Path, garbage: Mapping[str, str]) -> Iterator[Opa]:
    """One OPA with this environment of the collector."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Opa.start(program, Path(folder), signing_keys(), garbage) as opa,
    ):
        yield opa


def memory(program: Path) -> Table:
    """MiB by the number of grants."""
    columns = ("grants", "collector", "first bundle MiB", "decided MiB", "at most MiB", "s a bundle")
    table = Table(*columns, title=f"OPA's resident memory; the lab's is {_told(GARBAGE)}")
    for grants in GRANTS:
        data = compiled(access_of(2 * grants))
        for kind, garbage in KINDS.items():
            with opa_with(program, garbage) as opa:
                opa.publish(data, timeout_s=300)
                first, _ = resident_mib(opa.pid)
                decide(opa, DECISIONS)
                decided, _ = resident_mib(opa.pid)
                spent_s = sign_anew(opa, data)
                _, most = resident_mib(opa.pid)
            table.add_row(f"{grants:,}", kind, str(first), str(decided), str(most), f"{spent_s:.1f}")
    return table


def _told(garbage: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in garbage.items())


def sign_anew(opa: Opa, data: Json) -> float:
    """Some new bundles of the same data while decisions are asked for; seconds until one is in force."""
    over = threading.Event()

    def asking() -> None:
        while not over.is_set():
            decide(opa, 50)

    thread = threading.Thread(target=asking)
    thread.start()
    began = time.monotonic()
    try:
        for revision in range(2, 2 + SIGNED_ANEW):
            bundle = {**data["lab"]["bundle"], "revision": revision, "issued_at_ns": time.time_ns()}
            opa.publish({**data, "lab": {**data["lab"], "bundle": bundle}}, timeout_s=300)
    finally:
        over.set()
        thread.join()
    return (time.monotonic() - began) / SIGNED_ANEW


def decide(opa: Opa, count: int) -> tuple[float, float]:
    """Median and 99th percentile in ms of that many decisions about one table."""
    return percentiles_ms(opa, "allow", select_question(), count)


def resident_mib(pid: int) -> tuple[int, int]:
    """Resident memory of a process: now, and at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    found = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return int(found["VmRSS"]) >> 10, int(found["VmHWM"]) >> 10


def times(program: Path, pairs: int) -> None:
    """Runs the pairs and prints what they say."""
    data = compiled(access_of(2 * GRANTS[0]))
    found: dict[str, list[tuple[float, float]]] = {"Go's own": [], "the lab's": []}
    with ExitStack() as stack:
        running = {kind: stack.enter_context(opa_with(program, KINDS[kind])) for kind in found}
        for opa in running.values():
            opa.publish(data)
            decide(opa, WARM_UP)
        for number in range(pairs):
            for kind in sorted(running, reverse=number % 2 == 0):
                found[kind].append(decide(running[kind], DECISIONS))
    print(f"{pairs} pairs of {DECISIONS} decisions at {GRANTS[0]:,} grants")
    for index, what in enumerate(("median", "99 %")):
        own, lab = ([one[index] for one in found[kind]] for kind in ("Go's own", "the lab's"))
        ratios = [b / a for a, b in zip(own, lab, strict=True)]
        low, high = median_interval(ratios)
        print(
            f"{what:7} Go's own {statistics.median(own):.2f} ms, the lab's {statistics.median(lab):.2f} ms, "
            f"ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
