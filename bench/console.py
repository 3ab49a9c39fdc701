"""What the console costs: a large result through it against Trino's own client, its pages, and its memory.

    LAB_HOME=/tmp/bench ./lab up console agent
    LAB_HOME=/tmp/bench python -m bench.console --rows 1000000 --pairs 7

Each pair runs one statement to its last row through the console's event stream and through Trino's Python
client, who is first alternating; both discard the rows, the client as the Python values that it makes, the
console's reader as lines. Prints the median ratio with its interval (95 %, by order statistics). Then many
users at once, all of them the one sample user, ask five explorer pages one after the other, look for a
second, and ask again; they begin spread over the first second. Then pages are opened in Chromium by
somebody who is signed in and whose browser has nothing cached, until what a person uses first on them is
there and the page's own thread answers. Memory is what console and agent hold before any of it, and after
all of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, StorageState

from bench.audit import median_interval
from cli.access import user_tokens
from cli.operations import credentials, status
from cli.operations.data import trino_url
from cli.project import open_lab
from cli.session import Session
from contracts.identity import Audience
from contracts.outputs import LabOutputs
from governance.query import TrinoSession
from tests.web.browsing import chromium

PERSONA = "engineer"
PAGES = (
    "/api/v1/catalogs",
    "/api/v1/catalogs/lake/namespaces",
    "/api/v1/catalogs/lake/namespaces/retail/tables",
    "/api/v1/catalogs/lake/namespaces/retail/tables/customer",
    "/api/v1/search?text=cust",
)
OPENED = {
    "/": "a[href='/worksheet?new=1']",
    "/worksheet?new=1": ".cm-content[contenteditable=true]",
    "/explorer/lake/retail/customer": "main [role=tab]",
    "/chat": "textarea",
}
"""Pages, and what a person uses first on each, as a CSS selector."""
SERVICES = ("control-plane", "agent")
LOOK_S = 1.0
"""How long a person looks at what came before asking again."""


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
    parser.add_argument("--opens", type=int, default=7)
    arguments = parser.parse_args()
    session = Session(open_lab())
    outputs = session.outputs()
    url = (outputs.component_urls or {})["control-plane"]
    token = user_tokens(session, outputs, PERSONA, Audience.CONTROL_PLANE)
    print(f"{os.cpu_count()} cores; idle: {memory(session)}", flush=True)
    ratios = []
    for number in range(arguments.pairs + 1):
        runs = {"console": lambda: through_console(url, token(), arguments.rows)}
        runs["client"] = lambda: through_client(session, outputs, arguments.rows)
        order = list(runs) if number % 2 else list(reversed(runs))
        took = {name: runs[name]() for name in order}
        if number:  # The first pair warms both.
            ratios.append(took["console"] / took["client"])
        print(f"  console {took['console']:.2f} s, client {took['client']:.2f} s", flush=True)
    low, high = median_interval(ratios)
    print(
        f"{arguments.rows} rows to the last one: console / client = {statistics.median(ratios):.3f} "
        f"({low:.3f} to {high:.3f}, {len(ratios)} pairs)",
        flush=True,
    )
    latencies = asyncio.run(pages(url, token(), arguments.users, arguments.seconds))
    everything = [one for found in latencies.values() for one in found]
    for page, found in {**latencies, "all of them": everything}.items():
        cuts = statistics.quantiles(found, n=100)
        print(f"{page}: {len(found)} answers, p50 {cuts[49] * 1000:.0f} ms, p95 {cuts[94] * 1000:.0f} ms")
    running = {one.name for one in status(session).services}
    shown = {page: first for page, first in OPENED.items() if page != "/chat" or "agent" in running}
    for page, took_ms in interactive(session, url, shown, arguments.opens).items():
        low, high = median_interval(took_ms)
        print(
            f"{page} can be used after {statistics.median(took_ms):.0f} ms "
            f"({low:.0f} to {high:.0f}, opened {len(took_ms)} times)"
        )
    print(f"afterwards: {memory(session)}")


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
        await asyncio.gather(
            *(_user(http, number, number / users * LOOK_S, ends, found) for number in range(users))
        )
    return found


async def _user(
    http: httpx.AsyncClient, number: int, begins_after_s: float, ends: float, found: dict[str, list[float]]
) -> None:
    order: Sequence[str] = PAGES[number % len(PAGES) :] + PAGES[: number % len(PAGES)]
    await asyncio.sleep(begins_after_s)  # People do not keep step.
    while time.perf_counter() < ends:
        for page in order:
            begun = time.perf_counter()
            (await http.get(page)).raise_for_status()
            found[page].append(time.perf_counter() - begun)
        await asyncio.sleep(LOOK_S)


def interactive(session: Session, url: str, shown: dict[str, str], opens: int) -> dict[str, list[float]]:
    """Milliseconds by page from asking for it until it can be used; each time in a new browser profile."""
    with chromium() as browser:
        signed_in = sign_in(browser, session, url)
        return {
            page: [opened_ms(browser, signed_in, url + page, first) for _ in range(opens + 1)][1:]
            for page, first in shown.items()
        }


def sign_in(browser: Browser, session: Session, url: str) -> StorageState:
    """What a browser keeps after the sign-in at Keycloak's page."""
    password = next(one.password for one in credentials(session).personas if one.username == PERSONA)
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}/auth/login?next=/")
        page.locator("#username").fill(PERSONA)
        page.locator("#password").fill(password)
        page.locator("#kc-login").click()
        page.wait_for_url(f"{url}/")
        kept = context.storage_state()
    console = urlsplit(url).hostname
    return {**kept, "cookies": [one for one in kept["cookies"] if one["domain"] == console]}


def opened_ms(browser: Browser, signed_in: StorageState, url: str, first: str) -> float:
    """Milliseconds on the page's own clock, told by its own thread."""
    with browser.new_context(storage_state=signed_in) as context:
        page = context.new_page()
        page.goto(url, wait_until="commit")
        page.locator(first).first.wait_for(state="visible")
        return float(page.evaluate("performance.now()"))


def memory(session: Session) -> str:
    """Resident sizes of console and agent."""
    sizes = {one.name: int(one.memory_mib or 0) for one in status(session).services if one.name in SERVICES}
    told = ", ".join(f"{name} {mib} MiB" for name, mib in sizes.items())
    return f"{told}, together {sum(sizes.values())} MiB"


if __name__ == "__main__":
    main()
