"""What the audit costs a query: two twins of a running lab's Trino and OPA, one pair of them without reports.

    LAB_HOME=/tmp/bench ./lab up --set scaleFactor=0.01
    LAB_HOME=/tmp/bench python -m bench.audit --pairs 200

Both twins are started here from the lab's own files and decide on its own bundle; the audited ones report to
the lab's governor. A small statement under a row filter and masks runs on both in turn, who is first
alternating. Prints the median of the paired differences with its interval (95 %, by order statistics, so that
no shape of the noise is assumed), and the same for a decision about many candidates at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.governed import service, trino_twin
from bench.lifecycle import wait
from cli.access import user_tokens
from cli.project import open_lab
from cli.session import Session
from contracts.identity import Audience
from governance.query import TrinoSession

STATEMENT = "SELECT c_custkey, c_name, c_phone FROM lake.retail.customer WHERE c_custkey < 100"
AUDITED, PLAIN = 41050, 41060
"""The first of each twin's ports: OPA, Trino's two."""

Run = Callable[[], float]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--warm", type=int, default=60, help="runs on each side before the first pair")
    parser.add_argument("--candidates", type=int, default=20_000)
    parser.add_argument("--as", dest="persona", default="analyst_emea")
    arguments = parser.parse_args()
    session = Session(open_lab())
    home = session.lab.home
    with ExitStack() as stack:
        for base, audited in ((AUDITED, True), (PLAIN, False)):
            stack.enter_context(twins(home, base, audited=audited))
        runs = [stack.enter_context(query(session, arguments.persona, one + 1)) for one in (AUDITED, PLAIN)]
        show(f"query ({os.cpu_count()} cores)", *pairs(runs[0], runs[1], arguments.pairs, arguments.warm))
        batches = [batch(one, arguments.candidates) for one in (AUDITED, PLAIN)]
        many = pairs(batches[0], batches[1], max(10, arguments.pairs // 5), 3)
        show(f"decision about {arguments.candidates} tables", *many)


@contextmanager
def twins(home: Path, base: int, *, audited: bool) -> Iterator[None]:
    """OPA on ``base`` and a Trino that asks it on the ports after it."""
    spec = json.loads((home / "run" / "services" / "opa" / "spec.json").read_text(encoding="utf-8"))
    port = str(spec["ports"]["http"])
    with tempfile.TemporaryDirectory(prefix="lab-opa-") as folder:
        for name, content in spec["files"].items():
            text = content
            if name == "config.yaml" and not audited:
                text = json.dumps({k: v for k, v in json.loads(content).items() if k != "decision_logs"})
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600)
        command = [
            word.replace(spec["files_dir"], folder).replace(f":{port}", f":{base}") for word in spec["argv"]
        ]
        with service(command, spec["env"], Path(folder)):
            wait(f"http://127.0.0.1:{base}/health?bundles", "{}")
            instead = {f"http://127.0.0.1:{port}/v1/data": f"http://127.0.0.1:{base}/v1/data"}
            without = () if audited else ("event-listener.",)
            with trino_twin(home, base + 1, base + 2, without=without, instead=instead):
                yield


@contextmanager
def query(session: Session, persona: str, port: int) -> Iterator[Run]:
    """Runs the statement on the Trino of ``port``; each run gives its seconds."""
    outputs = session.outputs()
    token = user_tokens(session, outputs, persona, Audience.TRINO)
    with TrinoSession(f"https://127.0.0.1:{port}", token, outputs.ca_certificate, source="bench") as opened:

        def run() -> float:
            began = time.perf_counter()
            count = sum(1 for _ in opened.run(STATEMENT).rows)
            spent = time.perf_counter() - began
            if count == 0:
                raise SystemExit("no rows, so nothing was measured")
            return spent

        yield run


def batch(port: int, candidates: int) -> Run:
    """Asks the OPA of ``port`` which of many tables are visible."""
    names = [f"table_{number:06d}" for number in range(candidates)]
    asked: dict[str, Any] = {
        "action": {
            "operation": "FilterTables",
            "filterResources": [
                {"table": {"catalogName": "lake", "schemaName": "retail", "tableName": name}}
                for name in names
            ],
        },
        "context": {"identity": {"user": "engineer", "groups": ["data_engineers"]}},
    }
    body = json.dumps({"input": asked}).encode()
    client = httpx.Client(trust_env=False, timeout=60)

    def run() -> float:
        began = time.perf_counter()
        answer = client.post(f"http://127.0.0.1:{port}/v1/data/lab/trino/batch", content=body)
        spent = time.perf_counter() - began
        if len(answer.json()["result"]) != candidates:
            raise SystemExit("not every table is visible, so nothing was measured")
        return spent

    return run


def pairs(audited: Run, plain: Run, count: int, warm: int) -> tuple[list[float], list[float]]:
    """Seconds of each side, run in turn."""
    for _ in range(warm):
        audited()
        plain()
    found: tuple[list[float], list[float]] = ([], [])
    for number in range(count):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            found[side].append((audited, plain)[side]())
    return found


def show(what: str, audited: Sequence[float], plain: Sequence[float]) -> None:
    """Medians, and the paired difference with its interval, in milliseconds."""
    differences = [1000 * (a - b) for a, b in zip(audited, plain, strict=True)]
    low, high = median_interval(differences)
    a, b = 1000 * statistics.median(audited), 1000 * statistics.median(plain)
    middle = statistics.median(differences)
    print(
        f"{what}, {len(differences)} pairs: audited {a:.2f} ms, plain {b:.2f} ms; "
        f"difference {middle:+.2f} ms ({low:+.2f} to {high:+.2f}), {100 * middle / b:+.1f} %",
        flush=True,
    )


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """An interval that holds the median with at least that probability: two of the values, by the binomial
    distribution of how many lie below it."""
    ordered, n = sorted(values), len(values)
    tail, below = 0.0, 0
    while below < n // 2 and tail + math.comb(n, below) / 2**n <= (1 - level) / 2:
        tail += math.comb(n, below) / 2**n
        below += 1
    return ordered[max(0, below - 1)], ordered[min(n - 1, n - below)]


if __name__ == "__main__":
    main()
