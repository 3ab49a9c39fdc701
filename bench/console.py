"""What the console costs: a large result through it against Trino's own client, and its pages under load.

    LAB_HOME=/tmp/bench ./lab up console
    LAB_HOME=/tmp/bench python -m bench.console --rows 1000000 --pairs 7

Each pair runs one statement to its last row through the console's event stream and through Trino's Python
client, who is first alternating; both discard the rows, the client as the Python values that it makes, the
console's reader as lines. Then many users at once, all of them the one sample user, ask explorer pages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence

import httpx

from cli.access import user_tokens
from cli.operations import status
from cli.operations.data import trino_url
from cli.project import open_lab
from cli.session import Session
from contracts.identity import Audience
from contracts.outputs import LabOutputs
from governance.query import TrinoSession

PERSONA = "engineer"
PAGES = (
    "/api/v1/catalogs",
    "/api/v1/catalogs/lake/namespaces",
    "/api/v1/catalogs/lake/namespaces/retail/tables",
    "/api/v1/catalogs/lake/namespaces/retail/tables/customer",
    "/api/v1/search?text=cust",
)


STATEMENT = """
SELECT a * 1000 + b AS id, CAST(a AS decimal(12,2)) AS amount, 'row ' || CAST(b AS varchar) AS name,
       DATE '2026-01-01' + b * INTERVAL '1' DAY AS day
FROM UNNEST(sequence(1, THOUSANDS)) AS x(a) CROSS JOIN UNNEST(sequence(1, 1000)) AS y(b)"""
"""Four types, and no file to read."""


def statement(rows: int) -> str:
    """A result of so many rows."""
    return STATEMENT.replace("THOUSANDS", str(max(1, rows // 1000)))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    session = Session(open_lab())
    outputs = session.outputs()
    url = (outputs.component_urls or {})["control-plane"]
    token = user_tokens(session, outputs, PERSONA, Audience.CONTROL_PLANE)
    print(f"{os.cpu_count()} cores; console idle: {memory_mib(session)} MiB", flush=True)
    ratios = []
    for number in range(arguments.pairs + 1):
        runs = {"console": lambda: through_console(url, token(), arguments.rows)}
        runs["client"] = lambda: through_client(session, outputs, arguments.rows)
        order = list(runs) if number % 2 else list(reversed(runs))
        took = {name: runs[name]() for name in order}
        if number:  # The first pair warms both.
            ratios.append(took["console"] / took["client"])
        print(f"  console {took['console']:.2f} s, client {took['client']:.2f} s", flush=True)
    print(
        f"{arguments.rows} rows to the last one: console / client = {statistics.median(ratios):.3f} "
        f"(median of {len(ratios)} pairs, {min(ratios):.3f} to {max(ratios):.3f})"
    )
    latencies = asyncio.run(pages(url, token(), arguments.users, arguments.seconds))
    for page, found in latencies.items():
        cuts = statistics.quantiles(found, n=100)
        print(f"{page}: {len(found)} answers, p50 {cuts[49] * 1000:.0f} ms, p95 {cuts[94] * 1000:.0f} ms")
    print(f"console afterwards: {memory_mib(session)} MiB")


def through_console(url: str, token: str, rows: int) -> float:
    """Seconds from the request to the end of the stream."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=300, trust_env=False) as http:
        begun = time.perf_counter()
        body = {"statement": statement(rows), "catalog": "lake"}
        query_id = http.post("/api/v1/queries", json=body).raise_for_status().json()["id"]
        last = b""
        with http.stream("GET", f"/api/v1/queries/{query_id}/events") as stream:
            for part in stream.iter_bytes():
                last = (last + part)[-100_000:]
        took = time.perf_counter() - begun
    end = json.loads(last.splitlines()[-1])["query"]
    if (end["state"], end["row_count"], end["truncated"]) != ("finished", rows, False):
        raise SystemExit(f"the console gave {end['row_count']} rows, {end['state']}: {end['error']}")
    return took


def through_client(session: Session, outputs: LabOutputs, rows: int) -> float:
    """Seconds from the statement to the last row."""
    token = user_tokens(session, outputs, PERSONA, Audience.TRINO)
    with TrinoSession(trino_url(session, outputs), token, outputs.ca_certificate, source="bench") as trino:
        begun = time.perf_counter()
        count = sum(1 for _ in trino.run(statement(rows)).rows)
        took = time.perf_counter() - begun
    if count != rows:
        raise SystemExit(f"the client gave {count} rows")
    return took


async def pages(url: str, token: str, users: int, seconds: float) -> dict[str, list[float]]:
    """Latencies in seconds by page, of ``users`` who each ask one page after the other."""
    found: dict[str, list[float]] = {page: [] for page in PAGES}
    limits = httpx.Limits(max_connections=users)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=60, trust_env=False
    ) as http:
        for page in PAGES:
            (await http.get(page)).raise_for_status()
        ends = time.perf_counter() + seconds
        await asyncio.gather(*(_user(http, number, ends, found) for number in range(users)))
    return found


async def _user(http: httpx.AsyncClient, number: int, ends: float, found: dict[str, list[float]]) -> None:
    order: Sequence[str] = PAGES[number % len(PAGES) :] + PAGES[: number % len(PAGES)]
    while time.perf_counter() < ends:
        for page in order:
            begun = time.perf_counter()
            (await http.get(page)).raise_for_status()
            found[page].append(time.perf_counter() - begun)
        await asyncio.sleep(1.0)  # A person looks at what came.


def memory_mib(session: Session) -> int:
    """The console's resident size."""
    service = next(one for one in status(session).services if one.name == "control-plane")
    return int(service.memory_mib or 0)


if __name__ == "__main__":
    main()
